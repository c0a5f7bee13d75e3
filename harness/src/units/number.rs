//! Decimal numbers with exact scaling: `1.5` of a unit of 1000 is 1500, without a detour through floating point.

/// Splits `text` into the number at its start and what follows it. `None` if it does not start with a digit.
pub(super) fn split(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '_' || c == '.')).unwrap_or(text.len());
    text.starts_with(|c: char| c.is_ascii_digit()).then(|| text.split_at(end))
}

/// `number` times `unit`, if that is a whole number below 2^64. Underscores may group digits.
pub(super) fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, decimals) = match number.split_once('.') {
        Some((_, "")) => return None,
        Some((whole, decimals)) => (whole, decimals.trim_end_matches('0')),
        None => (number, ""),
    };
    let mut scale = 1u128;
    for _ in 0..decimals.len() {
        // 10^24 is far beyond what any unit can make whole.
        scale = scale.checked_mul(10).filter(|scale| *scale <= 10u128.pow(18))?;
    }
    let digits = u128::from(digits(whole)?) * scale
        + u128::from(if decimals.is_empty() { 0 } else { digits(decimals)? });
    let product = digits.checked_mul(u128::from(unit))?;
    if product % scale != 0 {
        return None;
    }
    u64::try_from(product / scale).ok()
}

/// The value of digits with underscores between them.
pub(super) fn digits(text: &str) -> Option<u64> {
    if !text.starts_with(|c: char| c.is_ascii_digit()) || text.ends_with('_') || text.contains("__") {
        return None;
    }
    let plain: String = text.chars().filter(|c| *c != '_').collect();
    plain.bytes().all(|byte| byte.is_ascii_digit()).then(|| plain.parse().ok())?
}

/// Whether `text` is a number and nothing else.
pub(super) fn is_bare(text: &str) -> bool {
    split(text).is_some_and(|(_, rest)| rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_exactly() {
        assert_eq!(scaled("1.5", 1000), Some(1500));
        assert_eq!(scaled("1_000", 60), Some(60_000));
        assert_eq!(scaled("0.1", 1_000_000_000), Some(100_000_000));
        assert_eq!(scaled("0.0005", 1000), None, "half a unit of the smallest kind is no whole number");
        assert_eq!(scaled("18446744073709551615", 1), Some(u64::MAX));
        assert_eq!(scaled("18446744073709551616", 1), None);
        assert_eq!(scaled("1.", 10), None);
        assert_eq!(scaled("1.2.3", 10), None);
        assert_eq!(scaled("1__0", 1), None);
        assert_eq!(scaled("0.1234567890123456789012345", 1), None);
    }
}
