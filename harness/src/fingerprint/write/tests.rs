//! Scenarios that were written from made-up samples: golden files, and what the scenario parser makes of them.

use std::collections::BTreeMap;

use gauntlet_wire::codec::Codec;

use super::super::sample::{BatchSeen, Bound, HeaderSeen, KeySeen, Packed, RecordSeen, Sample, Span};
use super::super::topic::Described;
use super::super::{Fingerprint, Written};
use crate::scenario::types::{Acks, Body, Compression, Key, KeyDistribution, Lifecycle, Shape, Size};
use crate::scenario::{LoadOptions, Scenario};

/// The committed text; `UPDATE=1 cargo test` writes it.
fn assert_golden(name: &str, written: &Written) {
    let path = format!("{}/tests/fingerprint/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &written.yaml).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == written.yaml, "{path} differs: UPDATE=1 cargo test\n{}", written.yaml);
}

fn parse(written: &Written) -> Scenario {
    let options = LoadOptions { cores: 2, ..LoadOptions::default() };
    Scenario::parse("written.yaml", &written.yaml, &options).unwrap().scenario
}

fn described(config: &[(&str, &str)]) -> Described {
    Described {
        name: "Orders.v2".to_owned(),
        partitions: 4,
        replication_factor: 2,
        brokers: 6,
        config: Ok(config.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()),
    }
}

fn batch(number: u32, codec: Codec) -> BatchSeen {
    BatchSeen {
        partition: number % 4,
        codec,
        producer_id: i64::from(number % 2),
        records: 50,
        stored_bytes: 5_000,
        uncompressed_bytes: 10_000,
        spread_ms: Some(7),
        transactional: false,
    }
}

/// 20,000 records in 10 s on four partitions. Seven of ten have one of three keys, the others one of 150.
fn busy() -> Sample {
    let record = |k: u32| RecordSeen {
        partition: k % 4,
        timestamp_ms: 1_795_271_484_000 + i64::from(k / 2),
        key: Some(KeySeen {
            hash: u64::from(if k % 10 < 7 { k % 3 } else { 3 + k * 7 % 500 }),
            bytes: 12,
            by_default_partitioner: true,
        }),
        value_bytes: Some(20 + k * 31 % 900),
    };
    let lengths = BTreeMap::from([(16, 20_000)]);
    let header = HeaderSeen { records: 20_000, lengths, ..HeaderSeen::default() };
    Sample {
        partitions: 4,
        records: (0..20_000).map(record).collect(),
        batches: (0..400).map(|number| batch(number, Codec::Lz4)).collect(),
        headers: BTreeMap::from([(b"trace \"id\"".to_vec(), header)]),
        zstd: Packed { uncompressed_bytes: 4_000_000, stored_bytes: 1_700_000 },
        fetched_bytes: 2_000_000,
        bound: Bound::Records,
        span: Span { from_ms: 1_795_271_484_000, until_ms: 1_795_271_493_999 },
        ..Sample::default()
    }
}

#[test]
fn a_busy_topic() {
    let config = [("min.insync.replicas", "2"), ("retention.ms", "${x}"), ("cleanup.policy", "compact")];
    let written = Fingerprint::of(&busy(), described(&config)).scenario().unwrap();
    assert_golden("busy", &written);
    let scenario = parse(&written);
    assert_eq!(scenario.name, "like-orders-v2");
    let topic = &scenario.topics[0];
    assert_eq!((topic.partitions, topic.replication_factor), (Some(4), Some(2)));
    assert_eq!(
        (topic.name.as_str(), topic.lifecycle),
        ("gauntlet-like-orders-v2-${run.id}", Lifecycle::PerRun)
    );
    let producers = &scenario.workload.producers[0];
    let Key::Keys { cardinality, distribution: KeyDistribution::Hot { hot_keys, hot_share }, size } =
        producers.key
    else {
        panic!("{:?}", producers.key)
    };
    assert_eq!((hot_keys, hot_share.get(), size.map(|s| s.get())), (3, 0.7, Some(12)));
    assert_eq!(cardinality, 153);
    let Size::Weighted(sizes) = &producers.payload.size else { panic!("{:?}", producers.payload.size) };
    assert!(sizes.iter().all(|s| s.size.get() >= 34), "{sizes:?}");
    let config = &producers.config;
    assert_eq!((config.acks, config.enable_idempotence), (Acks::All, true));
    assert_eq!((config.compression, producers.count), (Compression::Lz4, 2));
    assert_eq!((config.batch_size_bytes, config.linger.as_ns()), (10_240, 7_000_000));
    assert_eq!(producers.payload.headers["trace \"id\""].len(), 16);
    let Shape::Constant { rate, .. } = scenario.load.shape else { panic!("{:?}", scenario.load.shape) };
    assert!((1_990..=2_010).contains(&rate.per_s()), "{rate}");
    assert!((written.calibrated.unwrap().reached_ratio - 0.5).abs() < 0.01, "{:?}", written.calibrated);
}

/// The rate of its first half is a quarter of that of the second; no keys, no codec, producers without ids.
#[test]
fn a_plain_topic_with_a_step() {
    let record = |k: u32| RecordSeen {
        partition: k % 4,
        timestamp_ms: 1_795_271_484_000 + i64::from(if k < 4_000 { k } else { 4_000 + (k - 4_000) / 4 }),
        key: None,
        value_bytes: Some(100),
    };
    let plain =
        |number: u32| BatchSeen { producer_id: -1, stored_bytes: 10_000, ..batch(number, Codec::None) };
    let sample = Sample {
        partitions: 4,
        records: (0..20_000).map(record).collect(),
        batches: (0..400).map(plain).collect(),
        zstd: Packed { uncompressed_bytes: 4_000_000, stored_bytes: 1_200_000 },
        fetched_bytes: 4_000_000,
        span: Span { from_ms: 1_795_271_484_000, until_ms: 1_795_271_491_999 },
        ..Sample::default()
    };
    let config = Err("DescribeConfigs on it is not allowed to us".to_owned());
    let written = Fingerprint::of(&sample, Described { config, ..described(&[]) }).scenario().unwrap();
    assert_golden("plain", &written);
    let scenario = parse(&written);
    let producers = &scenario.workload.producers[0];
    assert_eq!((producers.count, producers.config.enable_idempotence), (1, false));
    assert_eq!(producers.payload.size, Size::Fixed(crate::units::Bytes::new(100)));
    assert!(matches!(producers.payload.body, Body::Random(_)));
    let Shape::Stages(stages) = &scenario.load.shape else { panic!("{:?}", scenario.load.shape) };
    let records: f64 = std::iter::once(0)
        .chain(stages.iter().map(|stage| stage.target.per_s()))
        .zip(stages)
        .map(|(from, stage)| (from + stage.target.per_s()) as f64 / 2.0 * stage.duration.as_ns() as f64 / 1e9)
        .sum();
    assert!((records / 20_000.0 - 1.0).abs() < 0.02, "{records} records are sent of 20,000");
}

#[test]
fn the_least_that_can_be_known() {
    let record = RecordSeen { partition: 0, timestamp_ms: 5, key: None, value_bytes: None };
    let span = Span { from_ms: 5, until_ms: 5 };
    let sample = Sample { partitions: 1, records: vec![record], span, ..Sample::default() };
    let found = Fingerprint::of(&sample, Described { partitions: 1, ..described(&[]) });
    let written = found.scenario().unwrap();
    assert_eq!(parse(&written).workload.producers[0].key, Key::None);
    // No batch is in the sample as a whole, so nothing is said that only batches tell.
    assert!(written.calibrated.is_none());
    for unmeasured in ["random_fraction", "enable.idempotence", "batch.size", "linger.ms"] {
        assert!(!written.yaml.contains(&format!("{unmeasured}:")), "{}", written.yaml);
    }
    assert!(found.doubts().iter().any(|doubt| doubt.starts_with("how producers are set")));
    assert!(
        found.doubts().iter().any(|doubt| doubt.starts_with("tombstones: 100.0 %")),
        "{:?}",
        found.doubts()
    );
}

/// Larger than a request by default, and than the least that everything else allows.
#[test]
fn large_records_have_room() {
    let mut sample = busy();
    for record in &mut sample.records {
        record.value_bytes = Some(3 << 20);
    }
    let written = Fingerprint::of(&sample, described(&[])).scenario().unwrap();
    let scenario = parse(&written);
    assert_eq!(scenario.workload.producers[0].config.max_request_size_bytes, 4 << 20);
    assert_eq!(scenario.topics[0].config["max.message.bytes"], (4u32 << 20).to_string());
}

/// Names of headers come from records: they must not become YAML, nor commands for a terminal.
#[test]
fn names_of_headers_stay_names() {
    let mut sample = busy();
    let header = sample.headers.pop_first().unwrap().1;
    let name = "x\nload: { shape: unlimited }\r# \u{1b}]0;title\u{7}\u{9b}2J\u{85}\u{202e}";
    sample.headers.insert(name.as_bytes().to_vec(), header);
    let found = Fingerprint::of(&sample, described(&[]));
    let written = found.scenario().unwrap();
    let scenario = parse(&written);
    assert_eq!(scenario.workload.producers[0].payload.headers.keys().collect::<Vec<_>>(), [name]);
    assert!(!written.yaml.lines().any(|line| line.starts_with("load: { shape: unlimited")));
    let controls = |text: &str| text.chars().filter(|c| c.is_control() && *c != '\n').count();
    assert_eq!(controls(&written.yaml), 0, "{}", written.yaml);
}

/// What a sample lacks is named; a limit that came first is not taken for a broker that did not answer.
#[test]
fn what_a_sample_lacks_is_named() {
    let sample = Sample {
        unread_partitions: vec![1],
        unreached_partitions: vec![2],
        half_read_partitions: vec![3],
        disordered_partitions: vec![0],
        trouble: Some("read orders-3 on broker 2: NOT_LEADER_OR_FOLLOWER".to_owned()),
        bound: Bound::Unreadable,
        nothing_in_common: true,
        compacted_batches: 4,
        odd_times: 5,
        ..busy()
    };
    let doubts = Fingerprint::of(&sample, described(&[])).doubts();
    for (begin, part) in [
        ("nothing could be read of 1 partitions (1)", "on broker 2"),
        ("1 partitions (3) could not be read to the end", "on broker 2"),
        ("a limit was reached before 1 partitions (2)", "raise it"),
        ("1 partitions (0) are not in the order", "by offset"),
        ("rate and shares are without 5 records", "not among those"),
        ("there is no time of which every partition", "raise the limits"),
        ("what compaction has removed (4 batches", "has left"),
    ] {
        let said = doubts.iter().any(|doubt| doubt.starts_with(begin) && doubt.contains(part));
        assert!(said, "{begin}: {doubts:#?}");
    }
    let compacted = Fingerprint::of(&busy(), described(&[("cleanup.policy", "compact")])).doubts();
    assert!(compacted.iter().any(|doubt| doubt.starts_with("what compaction")), "{compacted:#?}");
}

#[test]
fn what_is_written_is_nothing_of_the_records() {
    let json = serde_json::to_string(&Fingerprint::of(&busy(), described(&[]))).unwrap();
    assert!(!json.contains("hash"), "{json}");
    assert!(json.contains("\"distribution\":\"hot\"") && json.contains("\"bound\":\"records\""), "{json}");
}
