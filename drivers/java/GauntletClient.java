// Kafka's own Java producer and consumer behind gauntlet's `driver: external`. docs/external-driver.md is the contract.
//
// No dependency besides Kafka's jars: `java -cp "$GAUNTLET_KAFKA_LIBS/*" GauntletClient.java`; the script `run` does that.

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.Properties;
import java.util.Set;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.ApiException;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;

public final class GauntletClient {
    private static final byte[] EMPTY = new byte[0];

    public static void main(String[] arguments) throws Exception {
        Out out = new Out(System.out);
        // Nothing that a library prints may get between the lines.
        System.setOut(System.err);
        try {
            work(new Lines(System.in), out);
        } catch (Exception error) {
            // Kafka's exceptions have no stack trace.
            System.err.println(error);
            out.line("fatal " + oneLine(error.toString()));
            out.close();
            Runtime.getRuntime().halt(1);
        }
        out.close();
        System.exit(0);
    }

    private static void work(Lines in, Out out) throws Exception {
        int length = in.next();
        String first = length < 0 ? "" : new String(in.bytes, in.begin, length, StandardCharsets.UTF_8);
        if (!first.startsWith("plan ")) {
            throw new IOException("the first line is no plan");
        }
        JsonNode plan = new ObjectMapper().readTree(first.substring(5));
        if (plan.get("protocol").asInt() != 1) {
            throw new IOException("this program speaks protocol 1");
        }
        Properties config = new Properties();
        plan.get("config").fieldNames().forEachRemaining(n -> config.put(n, plan.get("config").get(n).asText()));
        if (plan.get("role").asText().equals("producer")) {
            new Producer(plan, config, out).run(in);
        } else {
            new Consumer(plan, config, out).run(in);
        }
    }

    private static String oneLine(String text) {
        return text.replace('\n', ' ').replace('\r', ' ');
    }

    /** gauntlet is gone: nothing more may be sent. */
    private static void die() {
        Runtime.getRuntime().halt(1);
    }

    // ---------------------------------------------------------------------------------------------------------- producer

    private static final class Producer {
        /** A broker says the same of every attempt, so none of them is in the log. */
        private static final Set<Errors> SAME_EVERY_TIME = Set.of(
            Errors.MESSAGE_TOO_LARGE, Errors.RECORD_LIST_TOO_LARGE, Errors.INVALID_RECORD, Errors.INVALID_TIMESTAMP,
            Errors.UNSUPPORTED_COMPRESSION_TYPE, Errors.INVALID_REQUIRED_ACKS, Errors.INVALID_TOPIC_EXCEPTION,
            Errors.POLICY_VIOLATION);

        private final String topic;
        private final KafkaProducer<byte[], byte[]> producer;
        private final Reports reports;

        Producer(JsonNode plan, Properties config, Out out) {
            topic = plan.get("topic").asText();
            // While buffer.memory is full gauntlet's records wait, as they do for every driver, and fail when they are too old.
            config.putIfAbsent("max.block.ms", config.getProperty("delivery.timeout.ms"));
            producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
            reports = new Reports(out);
            producer.partitionsFor(topic);
            out.line("ready");
        }

        void run(Lines in) throws Exception {
            while (true) {
                int length = in.next();
                if (length < 0) {
                    die();
                }
                if (in.is("end")) {
                    break;
                }
                send(in);
            }
            producer.flush();
            producer.close();
            reports.flush();
        }

        /** {@code send ID PARTITION TIMESTAMP KEY VALUE [NAME:VALUE ...]} */
        private void send(Lines in) {
            in.skip("send");
            long id = in.number();
            int partition = (int) in.number();
            long timestamp = in.number();
            byte[] key = in.decoded();
            byte[] value = in.decoded();
            List<Header> headers = null;
            while (in.hasMore()) {
                String name = new String(in.decodedUntil((byte) ':'), StandardCharsets.UTF_8);
                headers = headers == null ? new ArrayList<>() : headers;
                headers.add(new RecordHeader(name, in.decoded()));
            }
            ProducerRecord<byte[], byte[]> record =
                new ProducerRecord<>(topic, partition, timestamp, key, value, headers);
            try {
                producer.send(record, (metadata, error) -> ended(id, metadata, error));
            } catch (RuntimeException error) {
                // The client did not take it: too large, no metadata in time, closed.
                reports.notSent(id, error);
            }
        }

        private void ended(long id, RecordMetadata metadata, Exception error) {
            if (error == null) {
                reports.acked(id, metadata.hasOffset() ? metadata.offset() : -1);
                return;
            }
            Errors code = error instanceof ApiException ? Errors.forException(error) : Errors.UNKNOWN_SERVER_ERROR;
            // Of all others, only the last attempt is known: an earlier one may be in the log.
            reports.error(SAME_EVERY_TIME.contains(code) ? "failed " : "unknown ", id, code.name(), error);
        }
    }

    /** Folds acks of neighbours. What is not folded on is written as soon as the writer comes to it. */
    private static final class Reports {
        private final Out out;
        private long first = -1;
        private long next = -1;
        private long offset;

        Reports(Out out) {
            this.out = out;
            out.before = this::flush;
        }

        void acked(long id, long at) {
            synchronized (out) {
                boolean follows = id == next && (at < 0 ? offset < 0 : offset >= 0 && at == offset + (next - first));
                if (!follows) {
                    flush();
                    first = id;
                    offset = at;
                }
                next = id + 1;
                out.wake();
            }
        }

        void error(String word, long id, String code, Exception error) {
            String why = oneLine(String.valueOf(error.getMessage()));
            synchronized (out) {
                flush();
                out.line(word + id + ' ' + code + ' ' + why);
            }
        }

        void notSent(long id, Exception error) {
            error("failed ", id, "CLIENT", error);
        }

        void flush() {
            synchronized (out) {
                if (first < 0) {
                    return;
                }
                String range = next - first == 1 ? String.valueOf(first) : first + "-" + (next - 1);
                first = -1;
                out.line("acked " + range + ' ' + (offset < 0 ? -1 : offset));
                next = -1;
            }
        }
    }

    // ---------------------------------------------------------------------------------------------------------- consumer

    private static final class Consumer {
        private static final long WATERMARKS_EVERY_NS = 50_000_000;

        private final KafkaConsumer<byte[], byte[]> consumer;
        private final List<TopicPartition> assigned = new ArrayList<>();
        private final Map<TopicPartition, Long> positions = new HashMap<>();
        private final Out out;
        private volatile boolean ended;

        Consumer(JsonNode plan, Properties config, Out out) {
            this.out = out;
            config.put("enable.auto.commit", "false");
            // gauntlet is to know when a position is no longer in the log; unless a scenario wants to see what another setting loses.
            config.putIfAbsent("auto.offset.reset", "none");
            config.put("allow.auto.create.topics", "false");
            consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
            String topic = plan.get("topic").asText();
            consumer.partitionsFor(topic);
            for (JsonNode one : plan.get("assigned")) {
                TopicPartition partition = new TopicPartition(topic, one.get("partition").asInt());
                assigned.add(partition);
                positions.put(partition, one.get("offset").asLong());
            }
            consumer.assign(assigned);
            positions.forEach(consumer::seek);
            out.line("ready");
        }

        void run(Lines in) {
            Thread listener = new Thread(() -> listen(in), "listener");
            listener.setDaemon(true);
            listener.start();
            long watermarksNs = System.nanoTime();
            try {
                while (!ended) {
                    try {
                        hand(consumer.poll(Duration.ofMillis(50)));
                    } catch (OffsetOutOfRangeException error) {
                        findBack(error.offsetOutOfRangePartitions().keySet());
                    }
                    if (System.nanoTime() - watermarksNs >= 0) {
                        watermarksNs = System.nanoTime() + WATERMARKS_EVERY_NS;
                        assigned.forEach(this::watermark);
                    }
                }
            } catch (WakeupException woken) {
                // `end` came.
            }
            consumer.close();
        }

        private void listen(Lines in) {
            try {
                if (in.next() < 0 || !in.is("end")) {
                    die();
                }
            } catch (IOException error) {
                die();
            }
            ended = true;
            consumer.wakeup();
        }

        private void hand(ConsumerRecords<byte[], byte[]> records) {
            for (TopicPartition partition : records.partitions()) {
                for (ConsumerRecord<byte[], byte[]> record : records.records(partition)) {
                    Header identity = record.headers().lastHeader("gauntlet-identity");
                    out.record(partition.partition(), record.offset(), record.value(), identity);
                    positions.put(partition, record.offset() + 1);
                }
            }
            for (TopicPartition partition : assigned) {
                // Markers of transactions, and what compaction has removed, are passed without a record.
                long position = consumer.position(partition);
                if (position > positions.get(partition)) {
                    positions.put(partition, position);
                    out.line("position " + partition.partition() + ' ' + position);
                }
            }
        }

        private void watermark(TopicPartition partition) {
            OptionalLong lag = consumer.currentLag(partition);
            if (lag.isPresent()) {
                out.line("watermark " + partition.partition() + ' ' + (positions.get(partition) + lag.getAsLong()));
            }
        }

        /** Goes on where the log is now. */
        private void findBack(Set<TopicPartition> partitions) {
            Map<TopicPartition, Long> begins = consumer.beginningOffsets(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            for (TopicPartition partition : partitions) {
                long at = positions.get(partition);
                long to = Math.max(begins.get(partition), Math.min(at, ends.get(partition)));
                if (to != at) {
                    out.line((to > at ? "expired " : "truncated ") + partition.partition() + ' ' + to);
                    positions.put(partition, to);
                }
                consumer.seek(partition, to);
            }
        }
    }

    // ------------------------------------------------------------------------------------------------------------- pipes

    /** Standard input, line by line and word by word, without an object for each. */
    private static final class Lines {
        byte[] bytes = new byte[1 << 17];
        int begin;
        private int at;
        private int lineEnd = -1;
        private int filled;
        private final InputStream in;

        Lines(InputStream in) {
            this.in = in;
        }

        /** Goes to the next line. Returns its length, or -1 where there is none. */
        int next() throws IOException {
            begin = lineEnd + 1;
            int scanned = begin;
            while (true) {
                for (int i = scanned; i < filled; i++) {
                    if (bytes[i] == '\n') {
                        lineEnd = i;
                        at = begin;
                        return lineEnd - begin;
                    }
                }
                System.arraycopy(bytes, begin, bytes, 0, filled - begin);
                filled -= begin;
                begin = 0;
                scanned = filled;
                if (filled == bytes.length) {
                    bytes = Arrays.copyOf(bytes, 2 * filled);
                }
                int read = in.read(bytes, filled, bytes.length - filled);
                if (read < 0) {
                    return -1;
                }
                filled += read;
            }
        }

        boolean is(String word) {
            return lineEnd - begin == word.length()
                && new String(bytes, begin, word.length(), StandardCharsets.US_ASCII).equals(word);
        }

        boolean hasMore() {
            return at < lineEnd;
        }

        void skip(String word) {
            int end = wordEnd((byte) ' ');
            if (!new String(bytes, at, end - at, StandardCharsets.US_ASCII).equals(word)) {
                throw new IllegalStateException("a line begins with neither `send` nor `end`");
            }
            at = end + 1;
        }

        long number() {
            int end = wordEnd((byte) ' ');
            boolean negative = bytes[at] == '-';
            long number = 0;
            for (int i = negative ? at + 1 : at; i < end; i++) {
                number = 10 * number + bytes[i] - '0';
            }
            at = end + 1;
            return negative ? -number : number;
        }

        byte[] decoded() {
            return decodedUntil((byte) ' ');
        }

        /** {@code -} is none, {@code =} is empty, everything else is base64. */
        byte[] decodedUntil(byte separator) {
            int end = wordEnd(separator);
            int from = at;
            at = end + 1;
            if (end - from == 1) {
                return bytes[from] == '-' ? null : EMPTY;
            }
            ByteBuffer decoded = Base64.getDecoder().decode(ByteBuffer.wrap(bytes, from, end - from));
            byte[] whole = decoded.array();
            return whole.length == decoded.limit() ? whole : Arrays.copyOf(whole, decoded.limit());
        }

        private int wordEnd(byte separator) {
            int end = at;
            while (end < lineEnd && bytes[end] != separator) {
                end++;
            }
            return end;
        }
    }

    /** Standard output: lines are gathered, and a thread of its own writes all there are as soon as it can. */
    private static final class Out {
        private static final int WAITING_BYTES_MAX = 1 << 22;

        private byte[] lines = new byte[1 << 16];
        private int filled;
        private boolean dirty;
        private boolean closed;
        private final OutputStream to;
        private final Thread writer = new Thread(this::write, "writer");
        Runnable before = () -> { };

        Out(OutputStream to) {
            this.to = to;
            writer.setDaemon(true);
            writer.start();
        }

        synchronized void line(String text) {
            byte[] encoded = text.getBytes(StandardCharsets.UTF_8);
            append(encoded, encoded.length);
            append((byte) '\n');
            wake();
        }

        /** {@code read PARTITION OFFSET VALUE [IDENTITY]} */
        synchronized void record(int partition, long offset, byte[] value, Header identity) {
            while (filled > WAITING_BYTES_MAX) {
                try {
                    wait();
                } catch (InterruptedException error) {
                    die();
                }
            }
            byte[] words = ("read " + partition + ' ' + offset + ' ').getBytes(StandardCharsets.US_ASCII);
            append(words, words.length);
            encode(value);
            if (identity != null) {
                append((byte) ' ');
                encode(identity.value());
            }
            append((byte) '\n');
            wake();
        }

        /** Has the writer look, when nobody is at it. */
        synchronized void wake() {
            if (!dirty) {
                dirty = true;
                notifyAll();
            }
        }

        private void encode(byte[] value) {
            if (value == null || value.length == 0) {
                append((byte) (value == null ? '-' : '='));
                return;
            }
            byte[] encoded = Base64.getEncoder().encode(value);
            append(encoded, encoded.length);
        }

        private void append(byte one) {
            room(1);
            lines[filled++] = one;
        }

        private void append(byte[] more, int length) {
            room(length);
            System.arraycopy(more, 0, lines, filled, length);
            filled += length;
        }

        private void room(int length) {
            if (filled + length > lines.length) {
                lines = Arrays.copyOf(lines, Math.max(2 * lines.length, filled + length));
            }
        }

        private void write() {
            byte[] spare = new byte[1 << 16];
            try {
                while (true) {
                    byte[] full;
                    int length;
                    synchronized (this) {
                        while (!dirty && !closed) {
                            wait();
                        }
                        before.run();
                        dirty = false;
                        full = lines;
                        length = filled;
                        lines = spare;
                        filled = 0;
                        notifyAll();
                        if (length == 0 && closed) {
                            return;
                        }
                    }
                    to.write(full, 0, length);
                    to.flush();
                    spare = full;
                }
            } catch (IOException | InterruptedException error) {
                // gauntlet no longer listens.
                die();
            }
        }

        void close() throws InterruptedException {
            synchronized (this) {
                closed = true;
                notifyAll();
            }
            writer.join();
        }
    }
}
