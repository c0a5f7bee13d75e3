//! A run as it goes: one line per second, one line per step of a fault.

use std::collections::BTreeSet;
use std::io::Write;

use gauntlet_chaos::{FaultEvent, FaultStep};
use gauntlet_reports::quantity::grouped;

use super::ms;
use crate::intervals::Second;
use crate::plan::Plan;
use crate::run::Progress;

/// Scheduled records per second at an instant since t = 0 (`None`: in the warm-up); `None` without schedule.
type TargetRate = Box<dyn Fn(Option<u64>) -> Option<f64>>;

/// Prints a run as it goes.
pub(in crate::cli) struct Printer<'a, W: Write> {
    out: &'a mut W,
    target: TargetRate,
    quiet: bool,
    headed: bool,
    /// Faults that act now.
    acting: BTreeSet<String>,
}

impl<'a, W: Write> Printer<'a, W> {
    pub(in crate::cli) fn new(out: &'a mut W, plan: &Plan, quiet: bool) -> Self {
        let plan = plan.clone();
        Self::with_target(out, Box::new(move |since_zero_ns| plan.rate_at(since_zero_ns)), quiet)
    }

    fn with_target(out: &'a mut W, target: TargetRate, quiet: bool) -> Self {
        Printer { out, target, quiet, headed: false, acting: BTreeSet::new() }
    }

    /// A terminal that is gone does not end a run.
    pub(in crate::cli) fn tell(&mut self, progress: &Progress<'_>) {
        let _ = match progress {
            Progress::Note(text) => writeln!(self.out, "note   {text}"),
            _ if self.quiet => Ok(()),
            Progress::Phase(text) => writeln!(self.out, "       {text}"),
            Progress::Second(second) => self.second(second),
            Progress::Fault(event) => self.fault(event),
        };
        let _ = self.out.flush();
    }

    fn second(&mut self, s: &Second) -> std::io::Result<()> {
        let row = |cells: [&str; 13]| {
            let [t, target, sent, acked, read, mb, p50, p99, p999, e2e, lag, isr, errors] = cells;
            format!(
                " {t:>8} {target:>10} {sent:>10} {acked:>10} {read:>10} {mb:>7} {p50:>7} {p99:>7} {p999:>7} {e2e:>7} \
                 {lag:>10} {isr:>7} {errors:>6}"
            )
        };
        if !self.headed {
            self.headed = true;
            let names = [
                "t", "target", "sent/s", "ack/s", "read/s", "MB/s", "p50", "p99", "p99.9", "e2e p99", "lag",
                "ISR", "errors",
            ];
            writeln!(self.out, "{}  fault", row(names))?;
        }
        // The line is about the second that has just ended.
        let since_zero_ns = s.t_s.filter(|t_s| *t_s > 0.5).map(|t_s| ((t_s - 0.5) * 1e9) as u64);
        let line = row([
            &time(s),
            &(self.target)(since_zero_ns).map_or("-".to_owned(), grouped),
            &grouped(s.sent as f64),
            &grouped(s.acked as f64),
            &grouped(s.read as f64),
            &format!("{:.1}", s.uncompressed_bytes as f64 / 1e6),
            &ms(s.p50_ms),
            &ms(s.p99_ms),
            &ms(s.p999_ms),
            &ms(s.e2e_p99_ms),
            &grouped(s.lag as f64),
            &format!("{}/{}", s.replicas_in_sync, s.replicas),
            &(s.errors + s.failed).to_string(),
        ]);
        let acting: Vec<&str> = self.acting.iter().map(String::as_str).collect();
        writeln!(self.out, "{}", format!("{line}  {}", acting.join(", ")).trim_end())
    }

    fn fault(&mut self, event: &FaultEvent) -> std::io::Result<()> {
        match &event.step {
            FaultStep::TookEffect { .. } => self.acting.insert(event.fault.clone()),
            FaultStep::Healed | FaultStep::HealFailed { .. } => self.acting.remove(&event.fault),
            FaultStep::Injecting { .. } | FaultStep::Failed { .. } | FaultStep::HealBegan => false,
        };
        match &event.step {
            FaultStep::Injecting { target } => {
                writeln!(self.out, " ▲ {}: {target}", event.fault)
            }
            step => writeln!(self.out, " ▲ {}: {}", event.fault, words(step)),
        }
    }
}

/// Seconds since t = 0; how long the warm-up has lasted while nobody knows how long it will.
fn time(s: &Second) -> String {
    match s.t_s {
        // As an integer: a rounded -0.3 is not "-0".
        Some(t_s) => (t_s.round() as i64).to_string(),
        None => format!("warm {}", s.at_s.round() as i64),
    }
}

fn words(step: &FaultStep) -> String {
    let json = serde_json::to_value(step).unwrap_or_default();
    let name = json.get("step").and_then(|s| s.as_str()).unwrap_or("?").replace('_', " ");
    match json.get("why").or_else(|| json.get("error")).and_then(|w| w.as_str()) {
        Some(why) => format!("{name}: {why}"),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(tell: impl FnOnce(&mut Printer<'_, Vec<u8>>)) -> Vec<String> {
        let mut out = Vec::new();
        tell(&mut Printer::with_target(&mut out, Box::new(|_| Some(50_000.0)), false));
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    fn fault(step: FaultStep) -> FaultEvent {
        FaultEvent { at_ns: 0, fault: "freeze".to_owned(), step }
    }

    #[test]
    fn a_second_of_an_open_warm_up_has_no_positive_time() {
        let second = |at_s, t_s| Second { at_s, t_s, ..Second::default() };
        let of = |s: &Second| time(s);
        assert_eq!(of(&second(22.9, None)), "warm 23");
        assert_eq!(of(&second(22.9, Some(-37.1))), "-37");
        assert_eq!(of(&second(60.1, Some(-0.3))), "0");
        assert_eq!(of(&second(70.1, Some(10.06))), "10");
    }

    #[test]
    fn a_line_shows_the_second_and_who_is_broken() {
        let second = Second {
            at_s: 15.06,
            t_s: Some(10.06),
            sent: 49_990,
            acked: 31_220,
            read: 31_000,
            uncompressed_bytes: 16_000_000,
            p50_ms: 4.04,
            p99_ms: 1_020.0,
            p999_ms: 10_500.0,
            e2e_p99_ms: 12.0,
            lag: 19_877,
            errors: 3,
            failed: 1,
            replicas_in_sync: 48,
            replicas: 72,
            ..Second::default()
        };
        let told = lines(|printer| {
            printer.tell(&Progress::Second(&second));
            printer.tell(&Progress::Fault(&fault(FaultStep::TookEffect { injected_ns: 1 })));
            printer.tell(&Progress::Second(&second));
            printer.tell(&Progress::Fault(&fault(FaultStep::Healed)));
            printer.tell(&Progress::Second(&second));
        });
        let row = "       10     50 000     49 990     31 220     31 000    16.0   4.0ms   1.02s   10.5s    12ms     \
                   19 877   48/72      4";
        assert_eq!(
            told,
            [
                "        t     target     sent/s      ack/s     read/s    MB/s     p50     p99   p99.9 e2e p99        \
                 lag     ISR errors  fault",
                row,
                " ▲ freeze: took effect",
                &format!("{row}  freeze"),
                " ▲ freeze: healed",
                row,
            ]
        );
    }
}
