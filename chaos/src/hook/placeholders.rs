//! What stands for the broker in a command: `{broker.id}`.
//!
//! Braces around anything that could not be a name (`{print $1}`, `{}`, `{a,b}`) and those of `${NAME}` are the shell's, and stay. `{{NAME}}`
//! is a literal `{NAME}`.

use super::HookedBroker;

/// All placeholders.
pub const PLACEHOLDERS: [&str; 4] = ["broker.id", "broker.host", "broker.port", "fault.name"];

/// A piece of a word.
enum Part<'t> {
    Text(&'t str),
    Placeholder(&'t str),
}

/// The first placeholder in `word` that is none of [`PLACEHOLDERS`], without its braces.
#[must_use]
pub fn unknown_placeholder(word: &str) -> Option<&str> {
    parts(word).into_iter().find_map(|part| match part {
        Part::Placeholder(name) if !PLACEHOLDERS.contains(&name) => Some(name),
        Part::Placeholder(_) | Part::Text(_) => None,
    })
}

/// Puts the values for `broker` into `word`.
pub(super) fn fill(word: &str, broker: &HookedBroker<'_>) -> Result<String, String> {
    let mut filled = String::with_capacity(word.len());
    for part in parts(word) {
        match part {
            Part::Text(text) => filled.push_str(text),
            Part::Placeholder(name) => filled.push_str(&value(name, broker)?),
        }
    }
    Ok(filled)
}

fn value(name: &str, broker: &HookedBroker<'_>) -> Result<String, String> {
    let (host, port) = broker
        .addr
        .rsplit_once(':')
        .ok_or_else(|| format!("broker {} advertises {}, which is not host:port", broker.id, broker.addr))?;
    let value = match name {
        "broker.id" => broker.id.to_string(),
        "broker.host" => host.trim_start_matches('[').trim_end_matches(']').to_owned(),
        "broker.port" => port.to_owned(),
        "fault.name" => broker.fault.to_owned(),
        _ => return Err(format!("there is no placeholder {{{name}}}")),
    };
    // Brokers say their host names themselves, and the command may be for a shell.
    let harmless = |c: char| c.is_ascii_alphanumeric() || "-._:#".contains(c);
    let is_harmless = value.chars().all(harmless) && value.starts_with(|c: char| c.is_ascii_alphanumeric());
    match is_harmless {
        true => Ok(value),
        false => Err(format!(
            "{name} of broker {} is {value:?}, which is not put into a command: only letters, digits and - . _ : # are",
            broker.id
        )),
    }
}

fn parts(word: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = word;
    // Where the text before the next placeholder ends.
    let mut at = 0;
    while let Some(open) = rest[at..].find('{').map(|open| at + open) {
        let name = name_behind(&rest[open + 1..]);
        let (before, is_escaped) = (&rest[..open], rest[open + 1..].starts_with('{'));
        if is_escaped && let Some(name) = name_behind(&rest[open + 2..]) {
            let end = open + 2 + name.len() + 2;
            if rest[..end.min(rest.len())].ends_with("}}") {
                parts.push(Part::Text(before));
                parts.push(Part::Text(&rest[open + 1..end - 1]));
                (rest, at) = (&rest[end..], 0);
                continue;
            }
        }
        match name.filter(|_| !before.ends_with('$')) {
            Some(name) => {
                parts.push(Part::Text(before));
                parts.push(Part::Placeholder(name));
                (rest, at) = (&rest[open + name.len() + 2..], 0);
            }
            None => at = open + 1,
        }
    }
    parts.push(Part::Text(rest));
    parts
}

/// The name that ends with the next closing brace, if that could be one.
fn name_behind(text: &str) -> Option<&str> {
    let name = &text[..text.find('}')?];
    let of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(of_name)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(word: &str) -> Result<String, String> {
        fill(word, &HookedBroker { id: 2, addr: "[fe80::1]:9093", fault: "freeze#1" })
    }

    #[test]
    fn values_are_put_in_and_what_is_the_shells_stays() {
        for (word, expected) in [
            ("kafka@{broker.host}", "kafka@fe80::1"),
            ("{broker.id}{broker.port}", "29093"),
            ("log-{fault.name}.txt", "log-freeze#1.txt"),
            ("awk '{print $1}' {}", "awk '{print $1}' {}"),
            ("${HOME}/{broker.id} {a,b}", "${HOME}/2 {a,b}"),
            ("{{broker.id}} {{broker.id}", "{broker.id} {2"),
            ("{", "{"),
            ("ä{broker.id}ö", "ä2ö"),
        ] {
            assert_eq!(filled(word).as_deref(), Ok(expected), "{word}");
        }
    }

    #[test]
    fn names_that_nobody_knows_are_found() {
        assert_eq!(unknown_placeholder("{broker.id} {brokr.host}"), Some("brokr.host"));
        assert_eq!(unknown_placeholder("{id}"), Some("id"));
        for fine in ["{broker.id}", "{{id}}", "${id}", "{ id }", "x"] {
            assert_eq!(unknown_placeholder(fine), None, "{fine}");
        }
    }

    #[test]
    fn what_a_broker_calls_itself_is_no_command() {
        for addr in ["$(reboot):9092", "a;b:9092", "-oProxyCommand=x:9092", "a b:9092", ":9092", "nothing"] {
            let filled = fill("{broker.host}", &HookedBroker { id: 1, addr, fault: "a" });
            assert!(filled.is_err(), "{addr}: {filled:?}");
        }
    }
}
