//! docs/faults.md says what docs/evidence/faults.json says, and nothing else. `UPDATE=1` writes it; `ci/faults` does both.

#![expect(clippy::unwrap_used, reason = "test code: clippy only knows functions with #[test] as such")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

#[test]
fn the_page_is_what_the_evidence_says() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let evidence = std::fs::read(docs.join("evidence/faults.json")).unwrap();
    let page = render(&serde_json::from_slice(&evidence).unwrap());
    let file = docs.join("faults.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(page == committed, "docs/faults.md is not what docs/evidence/faults.json says: run ci/faults");
}

fn text<'a>(of: &'a Value, name: &str) -> &'a str {
    of[name].as_str().unwrap_or_else(|| panic!("{name} in {of}"))
}

fn seconds(of: &Value, name: &str) -> String {
    format!("{:.2} s", of[name].as_f64().unwrap_or_else(|| panic!("{name} in {of}")))
}

fn render(evidence: &Value) -> String {
    let rows = evidence["rows"].as_array().unwrap();
    let key = |row: &Value| ["cluster", "fault", "target"].map(|name| text(row, name).to_owned());
    let killed: BTreeMap<_, &Value> =
        rows.iter().filter(|row| row["row"] == "killed_run").map(|row| (key(row), row)).collect();
    let faults: Vec<&Value> = rows.iter().filter(|row| row["row"] == "fault").collect();
    assert_eq!(killed.len(), faults.len(), "every fault has its killed run");
    let mut page = format!(
        "# Faults, as seen on real brokers\n\n\
         Written by `{}` at {} from commit {}: Kafka {}, Java {}, {}, {}.\n\n\
         Each row was injected on a running cluster, seen to act by somebody who did not inject it, healed, and healed again, which \
         changed no process, and after operations of the cluster nothing that brokers tell. Then the run was killed with SIGKILL in the middle of the fault: the last column is how long its \
         supervisor took until no process and no data of the cluster were left, with nothing left in the undo journal. Brokers \
         are missed after 3 s here (`broker.session.timeout.ms`); with several victims or turns, the longest counts.\n",
        text(evidence, "command"),
        text(evidence, "written_at"),
        text(evidence, "commit"),
        faults.first().map_or("?", |row| text(row, "kafka")),
        text(evidence, "java"),
        text(evidence, "host"),
        text(evidence, "kernel"),
    );
    let mut clusters: Vec<&str> = Vec::new();
    for row in &faults {
        if !clusters.contains(&text(row, "cluster")) {
            clusters.push(text(row, "cluster"));
        }
    }
    for cluster in clusters {
        let columns = "| Fault | Of | Seen | Acts after | Whole again after | Killed: all gone after |";
        write!(page, "\n## {cluster}\n\n{columns}\n|---|---|---|---|---|---|\n").unwrap();
        for row in faults.iter().filter(|row| text(row, "cluster") == cluster) {
            line(&mut page, row, killed[&key(row)]);
        }
    }
    page
}

fn line(page: &mut String, row: &Value, killed: &Value) {
    writeln!(
        page,
        "| `{}` | {} | {} | {} | {} | {} |",
        text(row, "fault"),
        text(row, "target"),
        text(row, "seen"),
        seconds(row, "acts_after_s"),
        seconds(row, "heals_in_s"),
        seconds(killed, "all_gone_s"),
    )
    .unwrap();
}
