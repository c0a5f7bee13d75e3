// A producer and consumer on franz-go, for `gauntlet bench`: writes or reads one topic, and prints one line of JSON.
//
// Set up for speed as its author's own benchmark is: records come from a pool, and nothing is allocated per record. Paced, a
// record's latency begins when it was to be sent, whether or not the client took it then.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/bits"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

var (
	consume     = flag.Bool("consume", false, "read instead of write")
	brokers     = flag.String("brokers", "", "addresses, separated by commas")
	topic       = flag.String("topic", "", "topic to write to or read from")
	payloads    = flag.String("payloads", "", "file of payloads, one per line (writing)")
	codec       = flag.String("codec", "none", "none, gzip, snappy, lz4, or zstd (writing)")
	linger      = flag.Duration("linger", 0, "how long a batch waits for more (writing)")
	batchBytes  = flag.Int("batch-bytes", 1000012, "largest batch (writing)")
	buffered    = flag.Int("buffered-records", 10000, "records that may wait or be under way (writing)")
	partitioner = flag.String("partitioner", "uniform", "uniform, sticky, or round-robin (writing)")
	rate        = flag.Int64("rate", 0, "records per second; 0: as fast as it goes (writing)")
	duration    = flag.Duration("duration", 10*time.Second, "how long to write")
	warmup      = flag.Duration("warmup", 0, "latencies of records of this time do not count (writing)")
	records     = flag.Int64("records", 0, "how many to read")
	fetchBytes  = flag.Int("fetch-max-bytes", 50<<20, "largest answer to a fetch (reading)")
	fetches     = flag.Int("concurrent-fetches", 0, "fetches under way at once; 0: one per broker (reading)")
)

type result struct {
	Records  int64   `json:"records"`
	Failed   int64   `json:"failed"`
	Error    string  `json:"error"`
	Seconds  float64 `json:"seconds"`
	P50Ms    float64 `json:"p50_ms"`
	P99Ms    float64 `json:"p99_ms"`
	P999Ms   float64 `json:"p999_ms"`
	MaxMs    float64 `json:"max_ms"`
	Measured int64   `json:"measured"`
}

func main() {
	flag.Parse()
	run := produceAll
	if *consume {
		run = consumeAll
	}
	found, err := run()
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(found)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func client(more ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(strings.Split(*brokers, ",")...)}, more...)...)
}

// entry is a record of the pool, with what its promise has to know.
type entry struct {
	record   kgo.Record
	intended int64
	promise  func(*kgo.Record, error)
}

type producer struct {
	pool     sync.Pool
	begun    time.Time
	from     int64
	latency  histogram
	acked    atomic.Int64
	failed   atomic.Int64
	firstErr atomic.Pointer[string]
}

func newProducer() *producer {
	p := &producer{from: warmup.Nanoseconds()}
	p.pool.New = func() any {
		e := &entry{}
		e.promise = func(_ *kgo.Record, err error) { p.ended(e, err) }
		return e
	}
	return p
}

func (p *producer) now() int64 { return int64(time.Since(p.begun)) }

func (p *producer) ended(e *entry, err error) {
	if err != nil {
		text := err.Error()
		p.firstErr.CompareAndSwap(nil, &text)
		p.failed.Add(1)
	} else {
		p.acked.Add(1)
		if e.intended >= p.from {
			p.latency.add((p.now() - e.intended) / 1000)
		}
	}
	e.record = kgo.Record{}
	p.pool.Put(e)
}

func produceAll() (result, error) {
	lines, err := readPayloads()
	if err != nil {
		return result{}, err
	}
	compression, err := compressionCodec()
	if err != nil {
		return result{}, err
	}
	spread, err := recordPartitioner()
	if err != nil {
		return result{}, err
	}
	cl, err := client(
		kgo.DefaultProduceTopic(*topic),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchCompression(compression),
		kgo.ProducerBatchMaxBytes(int32(*batchBytes)),
		kgo.ProducerLinger(*linger),
		kgo.MaxBufferedRecords(*buffered),
		kgo.RecordPartitioner(spread),
	)
	if err != nil {
		return result{}, err
	}
	defer cl.Close()
	p := newProducer()
	p.begun = time.Now()
	p.send(cl, lines)
	if err := cl.Flush(context.Background()); err != nil {
		return result{}, err
	}
	found := result{Records: p.acked.Load(), Failed: p.failed.Load(), Seconds: time.Since(p.begun).Seconds()}
	if first := p.firstErr.Load(); first != nil {
		found.Error = *first
	}
	found.P50Ms, found.P99Ms, found.P999Ms = p.latency.quantileMs(0.5), p.latency.quantileMs(0.99), p.latency.quantileMs(0.999)
	found.MaxMs, found.Measured = float64(p.latency.max.Load())/1000, p.latency.count()
	return found, nil
}

// Reading the clock costs as much as producing a record, almost.
const clockEvery = 32

func (p *producer) send(cl *kgo.Client, lines [][]byte) {
	end := duration.Nanoseconds()
	now := p.now()
	for i := int64(0); ; i++ {
		intended := now
		if *rate > 0 {
			intended = i / *rate * int64(time.Second) + i%*rate*int64(time.Second) / *rate
			for intended > now && intended < end {
				// Many records are due after a sleep; sleeping for each would take all the time there is.
				time.Sleep(time.Millisecond)
				now = p.now()
			}
		} else if i%clockEvery == 0 {
			now = p.now()
			intended = now
		}
		if intended >= end {
			return
		}
		e := p.pool.Get().(*entry)
		e.intended = intended
		e.record.Value = lines[int(i%int64(len(lines)))]
		cl.Produce(context.Background(), &e.record, e.promise)
	}
}

func readPayloads() ([][]byte, error) {
	file, err := os.Open(*payloads)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var lines [][]byte
	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, 16<<20)
	for scanner.Scan() {
		lines = append(lines, append([]byte(nil), scanner.Bytes()...))
	}
	if len(lines) == 0 && scanner.Err() == nil {
		return nil, fmt.Errorf("%s holds no payload", *payloads)
	}
	return lines, scanner.Err()
}

func compressionCodec() (kgo.CompressionCodec, error) {
	switch *codec {
	case "none":
		return kgo.NoCompression(), nil
	case "gzip":
		return kgo.GzipCompression(), nil
	case "snappy":
		return kgo.SnappyCompression(), nil
	case "lz4":
		return kgo.Lz4Compression(), nil
	case "zstd":
		return kgo.ZstdCompression(), nil
	}
	return kgo.CompressionCodec{}, fmt.Errorf("unknown codec %q", *codec)
}

func recordPartitioner() (kgo.Partitioner, error) {
	switch *partitioner {
	case "uniform":
		return kgo.UniformBytesPartitioner(64<<10, true, true, nil), nil
	case "sticky":
		return kgo.StickyPartitioner(), nil
	case "round-robin":
		return kgo.RoundRobinPartitioner(), nil
	}
	return nil, fmt.Errorf("unknown partitioner %q", *partitioner)
}

// consumeAll reads every partition from its start, by assignment. Time runs from the first records to the last.
func consumeAll() (result, error) {
	opts := []kgo.Opt{
		kgo.ConsumeTopics(*topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxBytes(int32(*fetchBytes)),
	}
	if *fetches > 0 {
		opts = append(opts, kgo.MaxConcurrentFetches(*fetches))
	}
	cl, err := client(opts...)
	if err != nil {
		return result{}, err
	}
	defer cl.Close()
	var read, bytes int64
	var first time.Time
	for read < *records {
		polled := cl.PollFetches(context.Background())
		if errs := polled.Errors(); len(errs) > 0 {
			return result{}, errs[0].Err
		}
		if first.IsZero() && polled.NumRecords() > 0 {
			first = time.Now()
		}
		polled.EachRecord(func(r *kgo.Record) {
			read++
			bytes += int64(len(r.Value))
		})
	}
	return result{Records: read, Seconds: time.Since(first).Seconds()}, nil
}

// histogram counts microseconds in buckets that are at most 1/512 of their value wide. Promises may end on several threads.
type histogram struct {
	buckets [linear + 54*half]atomic.Int64
	max     atomic.Int64
}

const (
	linear = 1024
	half   = linear / 2
)

func (h *histogram) add(us int64) {
	if us < 0 {
		us = 0
	}
	h.buckets[bucketOf(us)].Add(1)
	for {
		max := h.max.Load()
		if us <= max || h.max.CompareAndSwap(max, us) {
			return
		}
	}
}

func bucketOf(us int64) int {
	if us < linear {
		return int(us)
	}
	shift := bits.Len64(uint64(us)) - 10
	return linear + (shift-1)*half + int(us>>shift) - half
}

// highest is the largest value of a bucket.
func highest(bucket int) int64 {
	if bucket < linear {
		return int64(bucket)
	}
	shift := (bucket-linear)/half + 1
	return (int64((bucket-linear)%half+half)+1)<<shift - 1
}

func (h *histogram) count() int64 {
	var count int64
	for i := range h.buckets {
		count += h.buckets[i].Load()
	}
	return count
}

func (h *histogram) quantileMs(q float64) float64 {
	left := int64(q * float64(h.count()))
	for i := range h.buckets {
		left -= h.buckets[i].Load()
		if left < 0 {
			return float64(highest(i)) / 1000
		}
	}
	return float64(h.max.Load()) / 1000
}
