//! The result of a recheck.

use std::io::Write;

use gauntlet_reports::quantity::grouped;

use super::result::findings;
use crate::recheck::RecheckRecord;

/// The verdict of the check alone first, then what `run.json` has otherwise.
pub(in crate::cli) fn rechecked(out: &mut impl Write, record: &RecheckRecord) -> std::io::Result<()> {
    let verify = &record.verify;
    writeln!(
        out,
        "{}  run {} checked again: {} acked, {} checked in {} partitions, judged {}",
        record.verdict,
        record.run_id,
        grouped(verify.acked as f64),
        grouped(verify.checked as f64),
        record.partitions,
        record.guarantee
    )?;
    for reason in record.reasons.iter().filter(|reason| reason.exit.code() != 0) {
        writeln!(out, " · {}", reason.text)?;
    }
    findings(out, &record.findings, &record.not_looked_for)?;
    match &record.differences {
        None => writeln!(out, "run.json has no result of a check to compare with"),
        Some(differences) if differences.is_empty() => writeln!(out, "the same as in run.json"),
        Some(differences) => differences
            .iter()
            .try_for_each(|d| writeln!(out, "differs  {}: {} in run.json, {} now", d.what, d.then, d.now)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use gauntlet_reports::record::{FindingRecord, Reason, VerifyCounts};
    use gauntlet_reports::{ExitReason, Verdict};

    use super::*;
    use crate::recheck::Difference;

    fn record() -> RecheckRecord {
        RecheckRecord {
            run_id: "20260102-030405-cafe".to_owned(),
            by: "0.1.0".to_owned(),
            verdict: Verdict::Violation,
            guarantee: "durable, unique, ordered".to_owned(),
            partitions: 12,
            complete: true,
            verify: VerifyCounts { lost: 5, acked: 340_000, checked: 339_995, ..VerifyCounts::default() },
            findings: vec![FindingRecord {
                class: "lost".to_owned(),
                count: 5,
                judgement: "violation".to_owned(),
                examples: vec!["orders-3: producer 0, pseq 17 to 21, acked at 1204".to_owned()],
            }],
            not_looked_for: vec!["zombie-write".to_owned()],
            reasons: vec![Reason { exit: ExitReason::Violation, text: "5 x lost".to_owned() }],
            differences: Some(vec![
                Difference { what: "lost".to_owned(), then: 4, now: 5 },
                Difference { what: "lost (violation)".to_owned(), then: 4, now: 5 },
            ]),
        }
    }

    fn passed(differences: Option<Vec<Difference>>) -> RecheckRecord {
        RecheckRecord {
            verdict: Verdict::Pass,
            verify: VerifyCounts { acked: 340_000, checked: 340_000, ..VerifyCounts::default() },
            findings: Vec::new(),
            not_looked_for: Vec::new(),
            reasons: Vec::new(),
            differences,
            ..record()
        }
    }

    /// `UPDATE=1` writes the golden file.
    #[test]
    fn the_verdict_of_the_check_and_what_is_otherwise() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/terminal/recheck.txt");
        let mut shown = Vec::new();
        for record in [record(), passed(Some(Vec::new())), passed(None)] {
            rechecked(&mut shown, &record).unwrap();
            writeln!(shown).unwrap();
        }
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&golden, &shown).unwrap();
        }
        assert_eq!(String::from_utf8(shown).unwrap(), std::fs::read_to_string(&golden).unwrap());
    }
}
