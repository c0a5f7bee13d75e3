//! Overlays: profiles and `--set`, put over the file by RFC 7396 merge patch, node by node.
//!
//! A mapping is merged key by key, anything else replaces what was there, and null removes. The nodes that win keep
//! their own place, so an error in a profile points into the profile.

use super::diagnostic::{Problem, Span, did_you_mean};
use super::tree::{Content, Entry, Located, Node, Scalar, Segment, parse, parse_path};

/// Puts `patch` over `target` (RFC 7396, section 2).
pub(crate) fn merge(target: &mut Node, patch: Node) {
    let Content::Mapping(patch_entries) = patch.content else {
        *target = patch;
        return;
    };
    if !matches!(target.content, Content::Mapping(_)) {
        *target = Node { span: patch.span, content: Content::Mapping(Vec::new()) };
    }
    let Content::Mapping(entries) = &mut target.content else { return };
    for Entry { key, key_span, value } in patch_entries {
        let position = entries.iter().position(|entry| entry.key == key);
        match position {
            Some(position) if value.is_null() => {
                entries.remove(position);
            }
            Some(position) => merge(&mut entries[position].value, value),
            None if value.is_null() => {}
            None => {
                // Merged into nothing, because the nulls inside a new mapping are removals too.
                let mut fresh = Node { span: value.span, content: Content::Scalar(Scalar::plain("")) };
                merge(&mut fresh, value);
                entries.push(Entry { key, key_span, value: fresh });
            }
        }
    }
}

/// Takes `profiles:` out of `root` and puts the chosen one over it, the ones that it inherits from first.
///
/// Returns the names of all profiles.
pub(crate) fn apply_profile(root: &mut Node, chosen: Option<&str>) -> Result<Vec<String>, ProfileError> {
    let profiles = remove(root, "profiles");
    let entries = match profiles.map(|node| (node.span, node.content)) {
        None => Vec::new(),
        Some((_, Content::Mapping(entries))) => entries,
        Some((span, _)) => {
            let message = "invalid value for `profiles`";
            return Err(Problem::new(span, message, "expected a map from names to overlays").into());
        }
    };
    let names: Vec<String> = entries.iter().map(|entry| entry.key.clone()).collect();
    let Some(chosen) = chosen else { return Ok(names) };
    if !names.iter().any(|name| name == chosen) {
        return Err(ProfileError::Unknown { chosen: chosen.to_owned(), names });
    }
    for mut overlay in lineage(&entries, chosen)?.into_iter().rev() {
        remove(&mut overlay, "inherits");
        merge(root, overlay);
    }
    Ok(names)
}

/// Why a profile can't be applied.
#[derive(Debug)]
pub(crate) enum ProfileError {
    /// Asked for one that the file doesn't have.
    Unknown { chosen: String, names: Vec<String> },
    /// The file is wrong.
    Problem(Problem),
}

impl From<Problem> for ProfileError {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// The overlay of `chosen`, that of the profile it inherits from, and so on.
fn lineage(profiles: &[Entry], chosen: &str) -> Result<Vec<Node>, Problem> {
    let mut overlays = Vec::new();
    let mut seen = Vec::new();
    let mut next = profiles.iter().find(|entry| entry.key == chosen);
    while let Some(profile) = next {
        if profile.value.entries().is_none() {
            let message = format!("invalid value for profile `{}`", profile.key);
            return Err(Problem::new(profile.value.span, message, "expected a map of what to change"));
        }
        overlays.push(profile.value.clone());
        seen.push(profile.key.as_str());
        let Some(parent) = profile.value.get("inherits") else { break };
        let name = parent.text().unwrap_or_default();
        if seen.contains(&name) {
            let message = format!("profile `{}` inherits from itself", seen[0]);
            return Err(Problem::new(parent.span, message, format!("{} -> {name}", seen.join(" -> "))));
        }
        next = profiles.iter().find(|entry| entry.key == name);
        if next.is_none() {
            let names = profiles.iter().map(|entry| entry.key.as_str());
            let label = did_you_mean(name, names).unwrap_or_else(|| "no profile has this name".to_owned());
            let message = format!("profile `{}` inherits from unknown profile `{name}`", profile.key);
            return Err(Problem::new(parent.span, message, label));
        }
    }
    Ok(overlays)
}

/// Takes `key` out of a mapping.
pub(crate) fn remove(node: &mut Node, key: &str) -> Option<Node> {
    let Content::Mapping(entries) = &mut node.content else { return None };
    let position = entries.iter().position(|entry| entry.key == key)?;
    Some(entries.remove(position).value)
}

/// Puts the argument of one `--set path=value` over `root`. `source` is its index among the sources.
pub(crate) fn apply_set(root: &mut Node, argument: &str, source: usize) -> Result<(), Problem> {
    let whole = Span { source, line: 1, column: 1, len: argument.chars().count().max(1) };
    let form = || {
        Problem::new(
            whole,
            "`--set` needs a path and a value",
            "write it like load.rate=50k/s or faults[0].at=20s",
        )
    };
    let (path, text) = argument.split_once('=').ok_or_else(form)?;
    let segments = parse_path(path).ok_or_else(form)?;
    let path_len = path.chars().count();
    let value = if text.trim().is_empty() {
        let span = Span { column: path_len + 2, len: 1, ..whole };
        Node { span, content: Content::Scalar(Scalar::plain("")) }
    } else {
        parse(Located { source, column_offset: path_len + 1, text })?
    };
    let path_span = Span { len: path_len, ..whole };
    set(root, &segments, value, path_span)
}

fn set(node: &mut Node, segments: &[Segment], value: Node, span: Span) -> Result<(), Problem> {
    let Some((segment, rest)) = segments.split_first() else {
        merge(node, value);
        return Ok(());
    };
    match (segment, &mut node.content) {
        (Segment::Index(0), Content::Mapping(_)) => set(node, rest, value, span),
        (Segment::Index(index), Content::Sequence(items)) => {
            let len = items.len();
            let Some(item) = items.get_mut(*index) else {
                let label =
                    format!("the list has {len} item{}, counted from 0", if len == 1 { "" } else { "s" });
                return Err(Problem::new(span, format!("there is no item [{index}]"), label));
            };
            set(item, rest, value, span)
        }
        (Segment::Index(index), _) => {
            Err(Problem::new(span, format!("there is no item [{index}]"), "this is not a list"))
        }
        (Segment::Key(key), Content::Sequence(_)) => {
            let label = format!("say which item, for example `[0].{key}`");
            Err(Problem::new(span, format!("`{key}` is looked for in a list"), label))
        }
        (Segment::Key(key), _) => {
            let mut inner = match node.get(key) {
                Some(existing) => existing.clone(),
                None => Node { span, content: Content::Scalar(Scalar::plain("")) },
            };
            set(&mut inner, rest, value, span)?;
            replace(node, key, inner, span);
            Ok(())
        }
    }
}

/// Makes `value` the value of `key`; null removes the key. What is no mapping becomes one.
fn replace(node: &mut Node, key: &str, value: Node, key_span: Span) {
    if !matches!(node.content, Content::Mapping(_)) {
        *node = Node { span: key_span, content: Content::Mapping(Vec::new()) };
    }
    let Content::Mapping(entries) = &mut node.content else { return };
    let position = entries.iter().position(|entry| entry.key == key);
    match position {
        Some(position) if value.is_null() => {
            entries.remove(position);
        }
        Some(position) => entries[position].value = value,
        None if value.is_null() => {}
        None => entries.push(Entry { key: key.to_owned(), key_span, value }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Node {
        parse(Located { source: 0, column_offset: 0, text }).unwrap()
    }

    fn plain(node: &Node) -> String {
        match &node.content {
            Content::Scalar(scalar) => scalar.text.clone(),
            Content::Sequence(items) => {
                format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(","))
            }
            Content::Mapping(entries) => {
                let pairs: Vec<_> =
                    entries.iter().map(|entry| format!("{}:{}", entry.key, plain(&entry.value))).collect();
                format!("{{{}}}", pairs.join(","))
            }
        }
    }

    /// The test cases of RFC 7396, appendix A, as far as their documents are mappings.
    #[test]
    fn merges_like_the_rfc() {
        for (target, patch, result) in [
            ("{a: b}", "{a: c}", "{a:c}"),
            ("{a: b}", "{b: c}", "{a:b,b:c}"),
            ("{a: b}", "{a: null}", "{}"),
            ("{a: b, b: c}", "{a: null}", "{b:c}"),
            ("{a: [b]}", "{a: c}", "{a:c}"),
            ("{a: c}", "{a: [b]}", "{a:[b]}"),
            ("{a: {b: c}}", "{a: {b: d, c: null}}", "{a:{b:d}}"),
            ("{a: [{b: c}]}", "{a: [1]}", "{a:[1]}"),
            ("{e: null}", "{a: 1}", "{e:null,a:1}"),
            ("{}", "{a: {bb: {ccc: null}}}", "{a:{bb:{}}}"),
        ] {
            let mut node = tree(target);
            merge(&mut node, tree(patch));
            assert_eq!(plain(&node), result, "{target} with {patch}");
        }
    }

    #[test]
    fn sets_reach_into_lists_and_properties() {
        let mut root = tree("{faults: [{at: 1s}], one: {x: 1, y: 2}}");
        for argument in
            ["faults[0].at=2s", "one[0].x=null", "load.rate=5/s", "c.config.batch.size=7", "one.z=[1, 2]"]
        {
            apply_set(&mut root, argument, 1).unwrap();
        }
        assert_eq!(
            plain(&root),
            "{faults:[{at:2s}],one:{y:2,z:[1,2]},load:{rate:5/s},c:{config:{batch.size:7}}}"
        );
        let at = root.span_of("faults[0].at");
        assert_eq!((at.source, at.column), (1, 14), "points at the value inside the argument");
        for argument in ["faults[1].at=2s", "faults.at=2s", "one[1].x=1", "load", "=1"] {
            assert!(apply_set(&mut root, argument, 1).is_err(), "{argument}");
        }
    }

    #[test]
    fn profiles_inherit() {
        let text = "{a: 0, b: 0, profiles: {p: {a: 1, b: 1}, q: {inherits: p, b: 2}, r: {inherits: s}, s: {inherits: r}}}";
        let mut root = tree(text);
        let names = apply_profile(&mut root, Some("q")).unwrap();
        assert_eq!(plain(&root), "{a:1,b:2}");
        assert_eq!(names, ["p", "q", "r", "s"]);
        assert!(
            matches!(apply_profile(&mut tree(text), Some("r")), Err(ProfileError::Problem(_))),
            "a cycle"
        );
        assert!(matches!(apply_profile(&mut tree(text), Some("x")), Err(ProfileError::Unknown { .. })));
    }
}
