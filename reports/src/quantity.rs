//! Quantities on the right-hand side of an expectation, and how values are printed.

use crate::metric::Unit;

/// Parses a limit for a metric of `unit` into that unit.
///
/// The error says what would be right.
pub fn parse(text: &str, unit: Unit) -> Result<f64, String> {
    let digits =
        text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '_' | '-'))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let suffix = suffix.trim();
    let value: f64 =
        number.replace('_', "").parse().map_err(|_| format!("`{text}` is not {}", example(unit)))?;
    let factor = factor(suffix, unit).ok_or_else(|| format!("`{text}` is not {}", example(unit)))?;
    Ok(value * factor)
}

/// What one of `suffix` is in `unit`.
fn factor(suffix: &str, unit: Unit) -> Option<f64> {
    let decimal = |s: &str| match s {
        "" => Some(1.0),
        "k" => Some(1e3),
        "M" => Some(1e6),
        "G" => Some(1e9),
        _ => None,
    };
    let time_ns = |s: &str| match s {
        "ns" => Some(1.0),
        "us" | "µs" => Some(1e3),
        "ms" => Some(1e6),
        "s" => Some(1e9),
        "m" | "min" => Some(60e9),
        "h" => Some(3_600e9),
        _ => None,
    };
    let bytes = |s: &str| match s {
        "B" => Some(1.0),
        "kB" | "KB" => Some(1e3),
        "MB" => Some(1e6),
        "GB" => Some(1e9),
        "KiB" => Some(1024.0),
        "MiB" => Some(1_048_576.0),
        "GiB" => Some(1_073_741_824.0),
        _ => None,
    };
    match unit {
        Unit::Count => decimal(suffix),
        Unit::PerSecond => decimal(suffix.strip_suffix("/s")?),
        Unit::BytesPerSecond => bytes(suffix.strip_suffix("/s")?),
        Unit::Milliseconds => time_ns(suffix).map(|ns| ns / 1e6),
        Unit::Seconds => time_ns(suffix).map(|ns| ns / 1e9),
        Unit::Nanoseconds => time_ns(suffix),
        Unit::Ratio if suffix == "%" => Some(0.01),
        Unit::Ratio => suffix.is_empty().then_some(1.0),
        Unit::Mebibytes => bytes(suffix).map(|b| b / 1_048_576.0),
    }
}

fn example(unit: Unit) -> &'static str {
    match unit {
        Unit::Count => "a count, such as 0 or 200_000",
        Unit::PerSecond => "a rate, such as 50k/s or 1_000_000/s",
        Unit::BytesPerSecond => "a rate in bytes, such as 10MB/s",
        Unit::Milliseconds | Unit::Seconds => "a duration, such as 50ms or 60s",
        Unit::Nanoseconds => "a duration, such as 300ns",
        Unit::Ratio => "a share, such as 0.99 or 1%",
        Unit::Mebibytes => "a size, such as 256MiB",
    }
}

/// Prints a value of `unit` for people.
pub fn show(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Count => grouped(value),
        Unit::PerSecond => format!("{}/s", grouped(value.round())),
        Unit::BytesPerSecond => format!("{:.1} MB/s", value / 1e6),
        Unit::Milliseconds => format!("{} ms", significant(value)),
        Unit::Seconds => format!("{} s", significant(value)),
        Unit::Nanoseconds => format!("{value:.0} ns"),
        Unit::Ratio => format!("{value:.4}"),
        Unit::Mebibytes => format!("{value:.0} MiB"),
    }
}

/// Three significant digits below a thousand, whole numbers above.
fn significant(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// `1234567` -> `1 234 567`.
pub fn grouped(value: f64) -> String {
    let whole = format!("{:.0}", value.abs());
    let mut out = String::new();
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i) % 3 == 0 {
            out.push(' ');
        }
        out.push(digit);
    }
    if value <= -0.5 { format!("-{out}") } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_parsed_in_the_unit_of_the_metric() {
        assert_eq!(parse("50ms", Unit::Milliseconds), Ok(50.0));
        assert_eq!(parse("1.5s", Unit::Milliseconds), Ok(1500.0));
        assert_eq!(parse("60s", Unit::Seconds), Ok(60.0));
        assert_eq!(parse("990_000/s", Unit::PerSecond), Ok(990_000.0));
        assert_eq!(parse("1M/s", Unit::PerSecond), Ok(1e6));
        assert_eq!(parse("0.01%", Unit::Ratio), Ok(0.0001));
        assert_eq!(parse("0", Unit::Count), Ok(0.0));
        assert_eq!(parse("200k", Unit::Count), Ok(200_000.0));
        assert_eq!(parse("1MiB", Unit::Mebibytes), Ok(1.0));
    }

    #[test]
    fn a_missing_unit_is_told_with_an_example() {
        assert_eq!(
            parse("50", Unit::Milliseconds),
            Err("`50` is not a duration, such as 50ms or 60s".to_owned())
        );
        for (text, unit) in
            [("50ms", Unit::Count), ("5", Unit::PerSecond), ("", Unit::Count), ("1e3", Unit::Count)]
        {
            assert!(parse(text, unit).is_err(), "{text}");
        }
    }

    #[test]
    fn people_can_read_it() {
        assert_eq!(show(15_000_000.0, Unit::Count), "15 000 000");
        assert_eq!(show(71.44, Unit::Seconds), "71.4 s");
        assert_eq!(show(8.0, Unit::Milliseconds), "8.00 ms");
        assert_eq!(show(999_999.6, Unit::PerSecond), "1 000 000/s");
    }
}
