//! What a scalar means under YAML 1.2's core schema (chapter 10.3.2 of the specification).

/// A scalar as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    /// Written without quotes: its type follows from its look. A quoted scalar is a string.
    pub(crate) plain: bool,
    /// A reference that stays one: what it stands for is secret.
    pub(crate) secret: bool,
}

/// The type and value of a scalar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Typed<'t> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(&'t str),
}

impl Scalar {
    /// A scalar whose type follows from its look.
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), plain: true, secret: false }
    }

    /// A string, whatever it looks like.
    pub(crate) fn quoted(text: impl Into<String>) -> Self {
        Self { text: text.into(), plain: false, secret: false }
    }

    /// The value. Numbers too large for 64 bits are text.
    pub(crate) fn typed(&self) -> Typed<'_> {
        let text = self.text.as_str();
        if !self.plain {
            return Typed::Text(text);
        }
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Typed::Null,
            "true" | "True" | "TRUE" => return Typed::Bool(true),
            "false" | "False" | "FALSE" => return Typed::Bool(false),
            _ => {}
        }
        integer(text).or_else(|| float(text)).unwrap_or(Typed::Text(text))
    }
}

fn integer(text: &str) -> Option<Typed<'_>> {
    if let Some(digits) = text.strip_prefix("0x") {
        return unsigned(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return unsigned(digits, 8);
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if text.starts_with('-') {
        return text.parse().ok().map(Typed::Signed);
    }
    unsigned(digits, 10)
}

fn unsigned(digits: &str, radix: u32) -> Option<Typed<'static>> {
    // `from_str_radix` would take a sign of its own.
    let valid = digits.chars().all(|digit| digit.is_digit(radix));
    valid.then(|| u64::from_str_radix(digits, radix).ok()).flatten().map(Typed::Unsigned)
}

/// Decimal forms only: no field takes an infinity, so those stay text and are refused as such.
fn float(text: &str) -> Option<Typed<'_>> {
    let numeric = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-');
    if !text.bytes().all(numeric) || !text.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|value: &f64| value.is_finite()).map(Typed::Float)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        for (text, typed) in [
            ("", Typed::Null),
            ("~", Typed::Null),
            ("true", Typed::Bool(true)),
            ("off", Typed::Text("off")),
            ("no", Typed::Text("no")),
            ("12", Typed::Unsigned(12)),
            ("+12", Typed::Unsigned(12)),
            ("-12", Typed::Signed(-12)),
            ("0x1f", Typed::Unsigned(31)),
            ("0o17", Typed::Unsigned(15)),
            ("1.5", Typed::Float(1.5)),
            ("1e3", Typed::Float(1000.0)),
            ("4.3.0", Typed::Text("4.3.0")),
            ("1_000", Typed::Text("1_000")),
            (".inf", Typed::Text(".inf")),
            ("1e999", Typed::Text("1e999")),
            ("18446744073709551616", Typed::Float(18446744073709551616.0)),
        ] {
            assert_eq!(Scalar::plain(text).typed(), typed, "{text}");
        }
    }

    #[test]
    fn quoted_scalars_are_strings() {
        let scalar = Scalar::quoted("12");
        assert_eq!(scalar.typed(), Typed::Text("12"));
    }
}
