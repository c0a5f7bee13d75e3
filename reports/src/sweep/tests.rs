use super::*;

/// Two batch sizes, the larger one first, by two codecs; everything passed.
pub(crate) fn sweep(repeats: u16) -> SweepRecord {
    let parameters = |batch: u32, codec: &str| {
        BTreeMap::from([("batch".to_owned(), batch.into()), ("codec".to_owned(), codec.into())])
    };
    let points: Vec<PointRecord> = [(65_536, "none"), (65_536, "lz4"), (16_384, "none"), (16_384, "lz4")]
        .into_iter()
        .enumerate()
        .map(|(index, (batch, codec))| PointRecord {
            id: format!("p{:02}", index + 1),
            parameters: parameters(batch, codec),
            verdict: Some(Verdict::Pass),
        })
        .collect();
    let runs = (1..=repeats).flat_map(|repeat| {
        points.iter().enumerate().map(move |(index, point)| {
            let n = f64::from(repeat) + index as f64;
            SlotRecord {
                attempts: 1,
                state: SlotState::Done,
                verdict: Some(Verdict::Pass),
                exit_code: Some(0),
                dir: Some(format!("{}-r{repeat}", point.id)),
                wall_s: Some(20.0 + n),
                figures: Some(Figures {
                    throughput: Some(1_000.0 * n),
                    p99_ms: Some(50.0 / n),
                    ours_ratio: Some(0.001),
                    ..Figures::default()
                }),
                ..SlotRecord::new(&point.id, repeat)
            }
        })
    });
    let runs = runs.collect();
    let mut record = SweepRecord {
        schema_version: SWEEP_SCHEMA_VERSION,
        state: RunState::Running,
        verdict: None,
        exit_code: None,
        reasons: Vec::new(),
        name: "batch-x-codec".to_owned(),
        description: None,
        sweep_id: "20261121-210000-abcd".to_owned(),
        seed: 7,
        started_at: "2026-11-21T21:00:00Z".to_owned(),
        wall_s: 100.0,
        gauntlet: "0.1.0".to_owned(),
        scenario_sha256: "00".repeat(32),
        kafka_home: None,
        only: Vec::new(),
        axes: vec!["batch".to_owned(), "codec".to_owned()],
        repeats,
        order: "shuffled".to_owned(),
        cooldown_s: 10.0,
        max_wall_s: None,
        p99_limit_ms: None,
        points,
        runs,
        warmups: Vec::new(),
    };
    record.conclude(RunState::Done, Vec::new());
    record
}

fn reason(exit: ExitReason, text: &str) -> Reason {
    Reason { exit, text: text.to_owned() }
}

#[test]
fn a_sweep_is_as_good_as_its_worst_run() {
    let mut record = sweep(2);
    assert_eq!((record.verdict, record.exit_code), (Some(Verdict::Pass), Some(0)));
    let run = &mut record.runs[3];
    run.verdict = Some(Verdict::Inconclusive);
    run.reasons = vec![reason(ExitReason::Inconclusive, "the host was busy")];
    record.conclude(RunState::Done, Vec::new());
    assert_eq!((record.verdict, record.exit_code), (Some(Verdict::Inconclusive), Some(5)));
    let run = &mut record.runs[0];
    run.verdict = Some(Verdict::Fail);
    run.reasons = vec![reason(ExitReason::ExpectationFailed, "produce.latency p99 < 5ms: 9 ms")];
    record.conclude(RunState::Done, Vec::new());
    assert_eq!((record.verdict, record.exit_code), (Some(Verdict::Fail), Some(99)));
    assert_eq!(
        record.reasons[0].text,
        "p01 (batch=65536, codec=none), run 1: produce.latency p99 < 5ms: 9 ms"
    );
    let of_points: Vec<_> = record.points.iter().map(|p| p.verdict.unwrap()).collect();
    assert_eq!(of_points, [Verdict::Fail, Verdict::Pass, Verdict::Pass, Verdict::Inconclusive]);
}

#[test]
fn what_was_not_run_is_no_pass() {
    let mut record = sweep(1);
    record.runs[2] = SlotRecord::new("p03", 1);
    record.conclude(RunState::Done, Vec::new());
    assert_eq!((record.verdict, record.exit_code), (Some(Verdict::Inconclusive), Some(5)));
    assert_eq!(record.reasons[0].text, "1 of 4 runs have no result");
    assert_eq!(record.points[2].verdict, None);
    record.conclude(RunState::Aborted, vec![reason(ExitReason::Aborted, "a signal")]);
    assert_eq!(record.exit_code, Some(105));
}

#[test]
fn the_file_reads_back() {
    let record = sweep(2);
    let json = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<SweepRecord>(&json).unwrap(), record);
}

#[test]
fn a_line_per_run_in_the_order_of_points() {
    let mut record = sweep(2);
    record.points[0].parameters.insert("codec".to_owned(), "a,\"b\"".into());
    let csv = csv::csv(&record);
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 9);
    assert!(
        lines[0]
            .starts_with("point,repeat,matrix.batch,matrix.codec,state,verdict,exit_code,throughput_per_s,")
    );
    assert!(lines[1].starts_with("p01,1,65536,\"a,\"\"b\"\"\",done,PASS,0,1000,,50,"), "{}", lines[1]);
    assert!(lines[2].starts_with("p01,2,"), "{}", lines[2]);
    assert!(csv.ends_with("p04-r2\r\n"));
}
