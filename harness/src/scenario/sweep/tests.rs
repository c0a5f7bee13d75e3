use super::*;

/// A scenario that refers to `names`, with the sweep `sweep` (a flow mapping).
fn file(sweep: &str, names: &[&str]) -> Result<LoadedSweep, String> {
    // Wherever a text is taken: in the client's id.
    let used: String = names.iter().map(|name| format!("${{matrix.{name}:-none}}")).collect();
    let text = format!(
        "version: 1\nname: s\nload: {{ shape: constant, rate: 1k/s, duration: 5s }}\n\
         workload: {{ producers: {{ config: {{ client.id: \"x{used}\" }} }} }}\nsweep: {sweep}\n"
    );
    parse(&text)
}

fn parse(text: &str) -> Result<LoadedSweep, String> {
    let options = LoadOptions { cores: 2, ..LoadOptions::default() };
    match super::super::ScenarioFile::parse("s.yaml", text, &options) {
        Ok(ScenarioFile::Sweep(sweep)) => Ok(*sweep),
        Ok(_) => Err("no sweep".to_owned()),
        Err(error) => Err(error.diagnostics[0].message.clone()),
    }
}

fn labels(sweep: &LoadedSweep) -> Vec<String> {
    sweep.points.iter().map(|point| label(&sweep.axes, &point.parameters)).collect()
}

#[test]
fn every_combination_is_a_point() {
    let sweep = file("{ matrix: { a: [1, 2], b: [x, 'y z'] } }", &["a", "b"]).unwrap();
    assert_eq!(labels(&sweep), ["a=1, b=x", "a=1, b=y z", "a=2, b=x", "a=2, b=y z"]);
    let ids: Vec<&str> = sweep.points.iter().map(|point| point.id.as_str()).collect();
    assert_eq!(ids, ["p01", "p02", "p03", "p04"]);
    assert_eq!(sweep.points[3].loaded.scenario.workload.producers[0].config.client_id, "x2y z");
    let defaults = Sweep {
        repeats: 1,
        order: SweepOrder::Shuffled,
        cooldown: Duration::from_secs(10),
        max_wall: None,
        on_fail: OnFail::Continue,
        cluster: ClusterUse::Shared,
        warmup: Duration::from_secs(30),
    };
    assert_eq!(sweep.sweep, defaults);
}

/// The example of GitHub's documentation, "Expanding or adding matrix configurations".
#[test]
fn include_is_that_of_github_actions() {
    let sweep = file(
        "{ matrix: { fruit: [apple, pear], animal: [cat, dog] }, include: [{ color: green }, \
         { color: pink, animal: cat }, { fruit: apple, shape: circle }, { fruit: banana }, \
         { fruit: banana, animal: cat }] }",
        &["fruit", "animal", "color", "shape"],
    )
    .unwrap();
    assert_eq!(
        labels(&sweep),
        [
            "fruit=apple, animal=cat, color=pink, shape=circle",
            "fruit=apple, animal=dog, color=green, shape=circle",
            "fruit=pear, animal=cat, color=pink",
            "fruit=pear, animal=dog, color=green",
            "fruit=banana",
            "fruit=banana, animal=cat",
        ]
    );
}

#[test]
fn exclude_takes_parts_of_a_point_and_comes_before_include() {
    let sweep = file(
        "{ matrix: { a: [1, 2], b: [x, y] }, exclude: [{ a: 1 }], include: [{ a: 1, b: z }] }",
        &["a", "b"],
    )
    .unwrap();
    assert_eq!(labels(&sweep), ["a=2, b=x", "a=2, b=y", "a=1, b=z"]);
    let only = file("{ include: [{ a: 1 }, { a: 2 }] }", &["a"]).unwrap();
    assert_eq!(labels(&only), ["a=1", "a=2"]);
}

#[test]
fn a_lone_reference_keeps_its_type_and_grouped_digits_are_a_number() {
    let sweep = parse(
        "version: 1\nname: s\nload: { shape: constant, rate: 1k/s, duration: 5s }\n\
         workload: { producers: { config: { batch.size: '${matrix.b}', enable.idempotence: '${matrix.i}' } } }\n\
         sweep: { matrix: { b: [65_536], i: [true] } }\n",
    )
    .unwrap();
    let producers = &sweep.points[0].loaded.scenario.workload.producers[0];
    assert_eq!((producers.config.batch_size_bytes, producers.config.enable_idempotence), (65_536, true));
    assert_eq!(sweep.points[0].parameters["b"], 65_536);
    assert_eq!(sweep.points[0].parameters["i"], true);
}

#[test]
fn runs_have_topics_of_their_own() {
    let sweep = parse(
        "version: 1\nname: s\nload: { shape: constant, rate: 1k/s, duration: 5s }\n\
         topics: [{ name: a, partitions: '${matrix.p}' }, { name: 'b-${run.id}' }]\n\
         workload: { producers: { topic: a }, consumers: [{ topic: 'b-${run.id}' }] }\n\
         sweep: { matrix: { p: [1, 2] } }\n",
    )
    .unwrap();
    let scenario = sweep.points[1].loaded.scenario.with_run_id("r");
    let names: Vec<&str> = scenario.topics.iter().map(|topic| topic.name.as_str()).collect();
    assert_eq!((names, scenario.topics[0].partitions), (vec!["a-r", "b-r"], Some(2)));
    assert_eq!(scenario.workload.producers[0].topic, "a-r");
    assert_eq!(scenario.workload.consumers[0].topic, "b-r");
}

#[test]
fn resolved_sweeps_read_back_to_the_same() {
    let sweep =
        file("{ matrix: { a: [1, '2'], b: [x, y] }, exclude: [{ a: 1, b: x }], repeats: 2 }", &["a", "b"])
            .unwrap();
    let again = parse(&sweep.resolved_yaml).unwrap();
    assert_eq!((labels(&again), &again.sweep), (labels(&sweep), &sweep.sweep));
    assert_eq!(again.resolved_yaml, sweep.resolved_yaml);
    for (one, other) in sweep.points.iter().zip(&again.points) {
        assert_eq!(one.loaded.scenario, other.loaded.scenario);
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (sweep, message) in [
        ("{}", "the sweep has no points"),
        ("{ matrix: {} }", "the sweep has no points"),
        ("{ matrix: { a: [] } }", "`sweep.matrix.a` has no value"),
        ("{ matrix: { a: 1 } }", "invalid value for `sweep.matrix.a`"),
        ("{ matrix: { a: [1, 1] } }", "`sweep.matrix.a` has a value twice"),
        ("{ matrix: { a: [65536, 65_536] } }", "`sweep.matrix.a` has a value twice"),
        ("{ matrix: { a: [[1]] } }", "a value of the sweep is a list or a map"),
        ("{ matrix: { a b: [1] } }", "invalid name `a b` in the sweep"),
        ("{ matrix: { a: [1], z: [1] } }", "`matrix.z` changes nothing"),
        ("{ matrix: { a: [1] }, include: [{ z: 1 }] }", "`matrix.z` changes nothing"),
        (
            "{ matrix: { a: [1] }, exclude: [{ b: 1 }] }",
            "`sweep.exclude` names `b`, which the matrix has not",
        ),
        ("{ matrix: { a: [1] }, exclude: [{ a: 2 }] }", "an item of `sweep.exclude` removes no point"),
        ("{ matrix: { a: [1] }, exclude: [{ a: 1 }] }", "the sweep has no points"),
        ("{ include: [{ a: 1 }, { a: 1 }] }", "two points of the sweep are the same"),
        ("{ matrix: { a: [1] }, repeats: 0 }", "`sweep.repeats` is 0"),
        ("{ matrix: { a: [1] }, repeats: 1001 }", "the sweep has 1 points, 1001 times each"),
        ("{ matrix: { a: [1] }, max_wall: 0s }", "`sweep.max_wall` is 0"),
        ("{ matrix: { a: [1] }, repeat: 3 }", "unknown field `repeat` in `sweep`"),
    ] {
        let names = if sweep.contains("{ a:") { &["a"][..] } else { &[] };
        assert_eq!(file(sweep, names).map(|s| labels(&s)), Err(message.to_owned()), "{sweep}");
    }
    let many: Vec<String> = (0..17).map(|n| n.to_string()).collect();
    let many = many.join(", ");
    let sweep = format!("{{ matrix: {{ a: [{many}], b: [{many}] }} }}");
    assert_eq!(file(&sweep, &["a", "b"]).unwrap_err(), "the sweep has 289 points");
    let axes: Vec<String> = (0..12).map(|n| format!("a{n}: [{many}]")).collect();
    let huge = format!("{{ matrix: {{ {} }} }}", axes.join(", "));
    assert_eq!(file(&huge, &[]).unwrap_err(), "the matrix is too large", "and is not made first");
}

#[test]
fn faults_and_foreign_clusters_decide_who_shares_one() {
    let with = |cluster: &str, faults: &str, sweep: &str| {
        parse(&format!(
            "version: 1\nname: s\nload: {{ shape: constant, rate: '${{matrix.r}}', duration: 9s }}\n\
             cluster: {cluster}\nfaults: {faults}\nsweep: {{ matrix: {{ r: [1k/s] }}, {sweep} }}\n"
        ))
        .map(|loaded| (loaded.sweep.cluster, loaded.sweep.warmup))
    };
    let (local, foreign) = ("{ local: {} }", "{ bootstrap_servers: 'localhost:9092' }");
    let faults = "[{ name: f, at: 1s, action: broker.pause, target: { id: 1 }, for: 1s }]";
    assert_eq!(with(local, "[]", ""), Ok((ClusterUse::Shared, Duration::from_secs(30))));
    assert_eq!(with(local, faults, ""), Ok((ClusterUse::PerPoint, Duration::ZERO)));
    let refused = |message: &str| Err(message.to_owned());
    assert_eq!(with(local, faults, "cluster: shared"), refused("a sweep with faults can't share a cluster"));
    assert_eq!(
        with(foreign, "[]", "cluster: per-point"),
        refused("`sweep.cluster: per-point` needs a local cluster")
    );
    assert_eq!(
        with(local, "[]", "cluster: per-point, warmup: 5s"),
        refused("`sweep.warmup` does not fit a cluster per point")
    );
}
