//! Numbers as people read them. A value that is missing is a dash; a no-break space keeps a number and its unit together.

use crate::metric::Unit;

/// What stands for a value that was not measured.
pub(super) const MISSING: &str = "–";

/// `1234567` -> `1,234,567`.
pub(super) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A rate in things per second: `1,000,000/s`; one decimal below ten.
pub(super) fn rate(value_per_s: f64) -> String {
    if value_per_s > 0.0 && value_per_s < 10.0 {
        return format!("{value_per_s:.1}/s");
    }
    format!("{}/s", whole(value_per_s))
}

/// A non-negative number, rounded, with separators.
pub(super) fn whole(value: f64) -> String {
    // The cast saturates: what is negative or not a number is no count, and is shown as 0.
    count(value.round() as u64)
}

/// Short, for axes: `250k`, `1.5M`.
pub(super) fn compact(value: f64) -> String {
    let (scaled, suffix) = match value.abs() {
        v if v >= 1e9 => (value / 1e9, "G"),
        v if v >= 1e6 => (value / 1e6, "M"),
        v if v >= 1e3 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = format!("{scaled:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}{suffix}")
}

/// A length of time given in milliseconds, to three digits: `41.2 ms`, `9.81 s`, `3 min 12 s`.
pub(super) fn millis(value_ms: f64) -> String {
    match value_ms {
        v if v < 0.0005 => "0\u{a0}ms".to_owned(),
        v if v < 0.995 => format!("{v:.2}\u{a0}ms"),
        v if v < 999.5 => format!("{}\u{a0}ms", three_digits(v)),
        v if v < 119_950.0 => format!("{}\u{a0}s", three_digits(v / 1e3)),
        v => {
            let seconds = (v / 1e3).round() as u64;
            match seconds / 3600 {
                0 => format!("{}\u{a0}min\u{a0}{:02}\u{a0}s", seconds / 60, seconds % 60),
                hours => format!("{hours}\u{a0}h\u{a0}{:02}\u{a0}min", seconds / 60 % 60),
            }
        }
    }
}

/// A length of time given in seconds.
pub(super) fn seconds(value_s: f64) -> String {
    millis(value_s * 1e3)
}

/// A moment, in seconds since t = 0.
pub(super) fn moment(at_s: f64) -> String {
    let sign = if at_s <= -0.05 { "−" } else { "" };
    let tenths = (at_s.abs() * 10.0).round() as u64;
    format!("{sign}{}.{}\u{a0}s", count(tenths / 10), tenths % 10)
}

fn three_digits(value: f64) -> String {
    match value {
        v if v >= 99.95 => format!("{v:.0}"),
        v if v >= 9.995 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

/// A size: `1.24 MB`, decimal as Kafka's own tools print rates.
pub(super) fn bytes(value: u64) -> String {
    match value as f64 {
        v if v >= 1e12 => format!("{:.2}\u{a0}TB", v / 1e12),
        v if v >= 1e9 => format!("{:.2}\u{a0}GB", v / 1e9),
        v if v >= 1e6 => format!("{:.2}\u{a0}MB", v / 1e6),
        v if v >= 1e3 => format!("{:.1}\u{a0}kB", v / 1e3),
        _ => format!("{value}\u{a0}B"),
    }
}

/// A share of one as a percentage. Never rounded up to 100 % or down to 0 %: 999,999 of 1,000,000 are not all.
pub(super) fn percent(ratio: f64) -> String {
    let percent = ratio * 100.0;
    match percent {
        p if p > 99.0 && p < 100.0 => format!("{:.3}\u{a0}%", p.min(99.999)),
        p if p > 0.0 && p < 0.1 => format!("{:.3}\u{a0}%", p.max(0.001)),
        p => format!("{p:.1}\u{a0}%"),
    }
}

/// A value in the unit of its metric.
pub(super) fn quantity(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Count => three_digits(value),
        Unit::PerSecond => rate(value),
        Unit::BytesPerSecond => format!("{}/s", bytes(value.max(0.0) as u64)),
        Unit::Milliseconds => millis(value),
        Unit::Seconds => seconds(value),
        Unit::Nanoseconds => format!("{value:.0}\u{a0}ns"),
        Unit::Ratio => percent(value),
        Unit::Mebibytes => format!("{value:.0}\u{a0}MiB"),
    }
}

/// `show` of a value that may be missing.
pub(super) fn or_missing(value: Option<f64>, show: impl Fn(f64) -> String) -> String {
    value.filter(|v| v.is_finite()).map_or_else(|| MISSING.to_owned(), show)
}

/// `1 fault`, `2 faults`.
pub(super) fn plural(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { many })
}

/// At most `limit` characters; what is cut is shown by an ellipsis.
pub(super) fn shortened(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let kept: String = text.chars().take(limit.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// Percent-encoding (RFC 3986, section 2.1) of everything but unreserved characters, the slash and the comma.
pub(super) fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/' | b',') {
            out.push(char::from(byte));
        } else {
            out += &format!("%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spaced(text: &str) -> String {
        text.replace('\u{a0}', " ")
    }

    #[test]
    fn numbers_have_three_digits_and_a_unit() {
        assert_eq!(count(0), "0");
        assert_eq!(count(364_600_000), "364,600,000");
        assert_eq!(rate(1_000_000.4), "1,000,000/s");
        assert_eq!(rate(2.5), "2.5/s");
        assert_eq!(compact(1_500_000.0), "1.5M");
        assert_eq!(compact(250_000.0), "250k");
        assert_eq!(compact(0.0), "0");
        assert_eq!(compact(20.0), "20");
        for (ms, shown) in [
            (0.0, "0 ms"),
            (0.42, "0.42 ms"),
            (8.663, "8.66 ms"),
            (41.23, "41.2 ms"),
            (999.4, "999 ms"),
            (999.9, "1.00 s"),
            (9_812.0, "9.81 s"),
            (65_400.0, "65.4 s"),
            (192_000.0, "3 min 12 s"),
            (7_260_000.0, "2 h 01 min"),
        ] {
            assert_eq!(spaced(&millis(ms)), shown);
        }
        assert_eq!(spaced(&moment(-12.34)), "−12.3 s");
        assert_eq!(spaced(&moment(3_600.0)), "3,600.0 s");
        assert_eq!(spaced(&bytes(1_240_000)), "1.24 MB");
    }

    #[test]
    fn almost_all_is_not_all() {
        assert_eq!(spaced(&percent(0.999_999_9)), "99.999 %");
        assert_eq!(spaced(&percent(1.0)), "100.0 %");
        assert_eq!(spaced(&percent(0.000_000_1)), "0.001 %");
        assert_eq!(spaced(&percent(0.0)), "0.0 %");
        assert_eq!(spaced(&percent(0.5292)), "52.9 %");
    }

    #[test]
    fn what_is_missing_is_a_dash() {
        assert_eq!(or_missing(None, millis), "–");
        assert_eq!(or_missing(Some(f64::NAN), millis), "–");
        assert_eq!(shortened("kill-leader", 8), "kill-le…");
        assert_eq!(shortened("é", 1), "é");
    }
}
