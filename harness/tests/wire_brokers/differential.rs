//! Ours against others, for each codec: what we write is read by Kafka's tools, and what Kafka's producer and
//! librdkafka write is read by our fetcher.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use gauntlet_chaos::LocalCluster;
use gauntlet_wire::batch::{BatchBuilder, RecordSpec};
use gauntlet_wire::codec::Codec;
use gauntlet_wire::monotonic_ns;
use gauntlet_wire::producer::{
    BatchOutcome, ProducerConfig, ProducerStats, Settled, TakeRequest, Turn, Workload, run_producers,
};
use libtest_mimic::{Failed, Trial};

use crate::cluster::{LIMIT, SharedCluster, TestResult, Topic};
use crate::judge::{ReadRecord, read_records};
use crate::load::config;
use crate::tools::{kafka_tool, kcat, run};

const RECORDS: usize = 200;
const RECORDS_PER_BATCH: usize = 25;

pub(crate) fn trials(shared: &Arc<SharedCluster>) -> Vec<Trial> {
    vec![
        shared.trial("kafka_reads_what_we_write", kafka_reads_what_we_write),
        shared.trial("we_read_what_kafka_writes", we_read_what_kafka_writes),
        // Without the program nothing is tested, and the summary says so.
        shared
            .trial("we_read_what_librdkafka_writes", we_read_what_librdkafka_writes)
            .with_ignored_flag(kcat().is_none())
            .with_kind(if kcat().is_none() { "kcat is not installed" } else { "" }),
    ]
}

/// A record that every client can take in and print as text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sample {
    key: Option<String>,
    value: String,
    headers: Vec<(String, String)>,
}

/// Keys and headers of every number from none on; values from a few bytes to several compression blocks.
fn samples(codec: Codec) -> Vec<Sample> {
    let sample = |i: usize| {
        let repeats = if i % 67 == 5 { 9_000 } else { i % 23 };
        let filler: String = (0..repeats).map(|k| format!("{}-{k};", codec.name())).collect();
        Sample {
            key: (!i.is_multiple_of(3)).then(|| format!("key-{i}")),
            value: format!("value-{i}-{filler}"),
            headers: (0..i % 4).map(|h| (format!("header{h}"), format!("of-{i}"))).collect(),
        }
    };
    (0..RECORDS).map(sample).collect()
}

/// The console consumer and the log dump tool, which decode by Kafka's own code, read all five topics.
fn kafka_reads_what_we_write(cluster: &Arc<LocalCluster>) -> TestResult {
    let mut fleet = Vec::new();
    let mut topics = Vec::new();
    for codec in Codec::ALL {
        let topic = Topic::create(
            cluster,
            &format!("ours-{}", codec.name()),
            1,
            &[("max.message.bytes", "9000000")],
        )?;
        let config = ProducerConfig { codec, ..config(cluster.bootstrap(), &topic) };
        fleet.push((
            config,
            SampleLoad { samples: samples(codec), next: 0, begin_ns: monotonic_ns(), acked: Vec::new() },
        ));
        topics.push(topic);
    }
    for (load, codec) in run_producers(fleet)?.into_iter().zip(Codec::ALL) {
        let expected: Vec<(usize, i64)> =
            (0..RECORDS).step_by(RECORDS_PER_BATCH).map(|first| (first, first as i64)).collect();
        assert_eq!(load.acked, expected, "{}: first record and offset of each batch", codec.name());
    }
    for (topic, codec) in topics.iter().zip(Codec::ALL) {
        topic.ends(cluster)?;
        let printed = consume(cluster, topic)?;
        let expected: Vec<String> =
            samples(codec).iter().enumerate().map(|(offset, sample)| as_printed(offset, sample)).collect();
        expect_same_lines(codec, &printed.lines().map(str::to_owned).collect::<Vec<_>>(), &expected)?;
    }
    let dumps = dump(cluster, &topics)?;
    for (topic, codec) in topics.iter().zip(Codec::ALL) {
        check_dump(codec, dumps.get(&topic.name).ok_or("a file was not dumped")?)?;
    }
    Ok(())
}

fn consume(cluster: &LocalCluster, topic: &Topic) -> Result<String, Failed> {
    let mut command = kafka_tool(cluster, "org.apache.kafka.tools.consumer.ConsoleConsumer")?;
    command.args(["--bootstrap-server", &cluster.bootstrap().join(","), "--topic", &topic.name]);
    command.args(["--partition", "0", "--offset", "earliest", "--timeout-ms", "30000"]);
    command.args(["--max-messages", &RECORDS.to_string()]);
    for what in ["partition", "offset", "headers", "key", "value"] {
        command.args(["--formatter-property", &format!("print.{what}=true")]);
    }
    run(&mut command, "")
}

/// A line of Kafka's `DefaultMessageFormatter`.
fn as_printed(offset: usize, sample: &Sample) -> String {
    let headers: Vec<String> = sample.headers.iter().map(|(key, value)| format!("{key}:{value}")).collect();
    let headers = if headers.is_empty() { "NO_HEADERS".to_owned() } else { headers.join(",") };
    let key = sample.key.as_deref().unwrap_or("null");
    format!("Partition:0\tOffset:{offset}\t{headers}\t{key}\t{}", sample.value)
}

fn expect_same_lines(codec: Codec, printed: &[String], expected: &[String]) -> TestResult {
    let first_difference = printed.iter().zip(expected).find(|(a, b)| a != b);
    if printed.len() == expected.len() && first_difference.is_none() {
        return Ok(());
    }
    let (lines, wanted) = (printed.len(), expected.len());
    Err(format!(
        "{}: {lines} lines of {wanted}; the first that differs: {first_difference:.600?}",
        codec.name()
    )
    .into())
}

/// The lines of `kafka-dump-log` for the first segment of each topic, in one run of the tool.
fn dump(cluster: &LocalCluster, topics: &[Topic]) -> Result<BTreeMap<String, Vec<String>>, Failed> {
    let data_dir = cluster.nodes()[0].data_dir.as_ref().ok_or("no log.dirs")?;
    let segment = |topic: &Topic| data_dir.join(format!("{}-0", topic.name)).join("00000000000000000000.log");
    let files: Vec<PathBuf> = topics.iter().map(segment).collect();
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let mut command = kafka_tool(cluster, "org.apache.kafka.tools.DumpLogSegments")?;
    command.args(["--deep-iteration", "--print-data-log", "--files", &names.join(",")]);
    let mut dumps: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut current = None;
    for line in run(&mut command, "")?.lines() {
        if let Some(file) = line.strip_prefix("Dumping ") {
            current = topics.iter().find(|topic| file.contains(&format!("/{}-0/", topic.name)));
        } else if let Some(topic) = current {
            dumps.entry(topic.name.clone()).or_default().push(line.to_owned());
        }
    }
    Ok(dumps)
}

/// Every batch: codec, checksum, count, sequence; every record: sequence, key and value.
fn check_dump(codec: Codec, lines: &[String]) -> TestResult {
    let batches: Vec<&String> = lines.iter().filter(|line| line.starts_with("baseOffset:")).collect();
    assert_eq!(batches.len(), RECORDS / RECORDS_PER_BATCH);
    for (i, batch) in batches.iter().enumerate() {
        let (first, last) = (i * RECORDS_PER_BATCH, (i + 1) * RECORDS_PER_BATCH - 1);
        let wanted = [
            format!("baseOffset: {first} lastOffset: {last} count: {RECORDS_PER_BATCH} "),
            format!("baseSequence: {first} lastSequence: {last} producerId: "),
            "producerEpoch: 0 ".to_owned(),
            "isTransactional: false isControl: false ".to_owned(),
            "magic: 2 ".to_owned(),
            format!("compresscodec: {} ", codec.name()),
            "isvalid: true".to_owned(),
        ];
        for part in wanted {
            assert!(batch.contains(&part), "{part:?} in {batch}");
        }
        assert!(!batch.contains("producerId: -1"), "{batch}");
    }
    let records: Vec<&String> = lines.iter().filter(|line| line.starts_with("| offset:")).collect();
    assert_eq!(records.len(), RECORDS);
    for (i, (line, sample)) in records.iter().zip(samples(codec)).enumerate() {
        assert!(line.starts_with(&format!("| offset: {i} ")), "{line:.200}");
        assert!(line.contains(&format!(" sequence: {i} ")), "{line:.200}");
        let key = sample.key.map(|key| format!(" key: {key} ")).unwrap_or_default();
        assert!(line.contains(&key), "{line:.200}");
        let value = format!(" payload: {}", sample.value);
        assert!(line.ends_with(&value), "{line:.200} should end with {value:.200}");
    }
    Ok(())
}

/// Kafka's console producer.
fn we_read_what_kafka_writes(cluster: &Arc<LocalCluster>) -> TestResult {
    for codec in Codec::ALL {
        let topic = Topic::create(cluster, &format!("kafkas-{}", codec.name()), 1, &[])?;
        let samples: Vec<Sample> = samples(codec).into_iter().map(|s| without_long_value(&s)).collect();
        let mut command = kafka_tool(cluster, "org.apache.kafka.tools.ConsoleProducer")?;
        command.args(["--bootstrap-server", &cluster.bootstrap().join(","), "--topic", &topic.name]);
        command.args(["--compression-codec", codec.name(), "--timeout", "50"]);
        for property in ["parse.key=true", "parse.headers=true", "null.marker=NULL"] {
            command.args(["--reader-property", property]);
        }
        let line = |sample: &Sample| {
            let headers: Vec<String> =
                sample.headers.iter().map(|(key, value)| format!("{key}:{value}")).collect();
            let headers = if headers.is_empty() { "NULL".to_owned() } else { headers.join(",") };
            format!("{headers}\t{}\t{}\n", sample.key.as_deref().unwrap_or("NULL"), sample.value)
        };
        run(&mut command, &samples.iter().map(line).collect::<String>())?;
        expect_read(cluster, &topic, codec, &samples)?;
    }
    Ok(())
}

/// kcat has the same headers for all messages of a call, and a key for each.
fn we_read_what_librdkafka_writes(cluster: &Arc<LocalCluster>) -> TestResult {
    let program = kcat().ok_or("kcat is not installed")?;
    for codec in Codec::ALL {
        let topic = Topic::create(cluster, &format!("librdkafkas-{}", codec.name()), 1, &[])?;
        let sample = |(i, sample): (usize, Sample)| Sample {
            key: Some(sample.key.clone().unwrap_or_else(|| format!("other-{i}"))),
            headers: vec![
                ("from".to_owned(), "kcat".to_owned()),
                ("codec".to_owned(), codec.name().to_owned()),
            ],
            ..without_long_value(&sample)
        };
        let samples: Vec<Sample> = samples(codec).into_iter().enumerate().map(sample).collect();
        let mut command = Command::new(&program);
        command.args(["-P", "-b", &cluster.bootstrap().join(","), "-t", &topic.name, "-p", "0"]);
        command.args(["-z", codec.name(), "-K", "\t", "-X", "linger.ms=50"]);
        command.args(["-H", "from=kcat", "-H", &format!("codec={}", codec.name())]);
        let line = |s: &Sample| format!("{}\t{}\n", s.key.as_deref().unwrap_or_default(), s.value);
        run(&mut command, &samples.iter().map(line).collect::<String>())?;
        expect_read(cluster, &topic, codec, &samples)?;
    }
    Ok(())
}

fn expect_read(cluster: &LocalCluster, topic: &Topic, codec: Codec, samples: &[Sample]) -> TestResult {
    let record = |(offset, sample): (usize, &Sample)| ReadRecord {
        offset: offset as i64,
        key: sample.key.clone().map(String::into_bytes),
        value: Some(sample.value.clone().into_bytes()),
        headers: sample.headers.iter().map(|(k, v)| (k.clone(), Some(v.clone().into_bytes()))).collect(),
        codec: Some(codec),
    };
    let expected: Vec<ReadRecord> = samples.iter().enumerate().map(record).collect();
    let read = read_records(cluster, topic)?;
    let first_difference = read.iter().zip(&expected).find(|(a, b)| a != b);
    if read.len() == expected.len() && first_difference.is_none() {
        return Ok(());
    }
    Err(format!("{}: {} records; the first that differs: {first_difference:.900?}", topic.name, read.len())
        .into())
}

/// Console tools send line by line; a line of hundreds of kilobytes makes a batch of its own, which proves nothing here.
fn without_long_value(sample: &Sample) -> Sample {
    Sample { value: sample.value.chars().take(2_000).collect(), ..sample.clone() }
}

/// Writes samples to partition 0, all due at once, in batches of [`RECORDS_PER_BATCH`].
struct SampleLoad {
    samples: Vec<Sample>,
    next: usize,
    begin_ns: u64,
    /// First record of each batch and its offset, in the order of the acks.
    acked: Vec<(usize, i64)>,
}

impl Workload for SampleLoad {
    type Tag = usize;

    fn next_intended_ns(&self, _partition: usize) -> Option<u64> {
        (self.next < self.samples.len()).then_some(self.begin_ns)
    }

    fn due_bytes(&self, _partition: usize, _now_ns: u64, enough: usize) -> usize {
        enough
    }

    fn take(&mut self, _request: &TakeRequest, _turn: Turn<'_>, builder: &mut BatchBuilder) -> Option<usize> {
        let first = self.next;
        self.next = (first + RECORDS_PER_BATCH).min(self.samples.len());
        for sample in &self.samples[first..self.next] {
            let headers: Vec<(&str, &[u8])> =
                sample.headers.iter().map(|(key, value)| (key.as_str(), value.as_bytes())).collect();
            let spec = RecordSpec {
                timestamp_ms: 1_700_000_000_000,
                key: sample.key.as_deref().map(str::as_bytes),
                value_bytes: sample.value.len(),
                own_header: None,
                headers: &headers,
            };
            builder.append(&spec, |value| value.copy_from_slice(sample.value.as_bytes()));
        }
        (self.next > first).then_some(first)
    }

    fn expire_unsent(&mut self, _: usize, _: u64, _: Option<u64>, _: Turn<'_>) {
        // What was not sent is missing from `acked`.
        self.next = self.samples.len();
    }

    fn settled(&mut self, settled: &Settled<usize>, _turn: Turn<'_>) {
        if let BatchOutcome::Acked { base_offset: Some(offset) } = settled.outcome {
            self.acked.push((settled.tag, offset));
        }
    }

    fn turned(&mut self, _turn: Turn<'_>, _stats: &ProducerStats) -> u64 {
        u64::MAX
    }

    fn give_up_ns(&self) -> Option<u64> {
        Some(self.begin_ns + (LIMIT + Duration::from_secs(1)).as_nanos() as u64)
    }
}
