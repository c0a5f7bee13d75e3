//! The tree back to YAML, for the run directory: what was run, after profile, `--set` and interpolation.

use super::interpolate::RUN_ID;
use super::tree::{Content, Node, Typed};

/// `root` as a block mapping that reads back as the same tree.
pub(crate) fn to_yaml(root: &Node) -> String {
    let mut yaml = String::new();
    mapping_or_list(root, 0, false, &mut yaml);
    yaml
}

/// As [`to_yaml`], of a sweep whose `${matrix.x}` were kept.
pub(crate) fn to_yaml_of_sweep(root: &Node) -> String {
    to_yaml(root).replace("$${matrix.", "${matrix.")
}

/// Writes a collection, a line per entry. `continues`: the first line has begun already, behind a `- `.
fn mapping_or_list(node: &Node, indent: usize, continues: bool, yaml: &mut String) {
    let mut pad = if continues { String::new() } else { " ".repeat(indent) };
    match &node.content {
        Content::Scalar(_) => {}
        Content::Mapping(entries) => {
            for entry in entries {
                yaml.push_str(&pad);
                // Keys hold no references, so nothing in them is escaped.
                yaml.push_str(&quoted(&entry.key));
                yaml.push(':');
                value(&entry.value, indent + 2, yaml);
                pad = " ".repeat(indent);
            }
        }
        Content::Sequence(items) => {
            for item in items {
                yaml.push_str(&pad);
                yaml.push('-');
                if is_inline(item) {
                    value(item, indent + 2, yaml);
                } else {
                    yaml.push(' ');
                    mapping_or_list(item, indent + 2, true, yaml);
                }
                pad = " ".repeat(indent);
            }
        }
    }
}

/// Writes what stands behind a colon or a dash: a scalar on the same line, a collection below it.
fn value(node: &Node, indent: usize, yaml: &mut String) {
    match &node.content {
        Content::Scalar(scalar) => {
            yaml.push(' ');
            // What is typed by its look must keep that look; every text is quoted if it has to be.
            match scalar.typed() {
                _ if scalar.secret => {
                    yaml.push_str(&serde_json::Value::from(scalar.text.as_str()).to_string())
                }
                Typed::Text(content) => yaml.push_str(&text(content)),
                _ => yaml.push_str(&scalar.text),
            }
            yaml.push('\n');
        }
        Content::Mapping(entries) if entries.is_empty() => yaml.push_str(" {}\n"),
        Content::Sequence(items) if items.is_empty() => yaml.push_str(" []\n"),
        _ => {
            yaml.push('\n');
            mapping_or_list(node, indent, false, yaml);
        }
    }
}

fn is_inline(node: &Node) -> bool {
    match &node.content {
        Content::Scalar(_) => true,
        Content::Mapping(entries) => entries.is_empty(),
        Content::Sequence(items) => items.is_empty(),
    }
}

/// A text behind a colon or a dash.
fn text(content: &str) -> String {
    // References that are still there are literal text by now, the id of the run excepted.
    quoted(&content.replace("${", "$${").replace(&format!("${RUN_ID}"), RUN_ID))
}

/// A text as a plain scalar where nothing can go wrong with that, else in double quotes (JSON strings are YAML).
fn quoted(text: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | '-' | '%');
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    let is_text = matches!(super::tree::Scalar::plain(text).typed(), Typed::Text(_));
    if starts_well && is_text && text.chars().all(safe) {
        return text.to_owned();
    }
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::tree::{Located, parse};

    fn tree(text: &str) -> Node {
        parse(Located { source: 0, column_offset: 0, text }).unwrap()
    }

    #[test]
    fn reads_back() {
        let yaml = to_yaml(&tree(
            "a: 1\nb: '1'\nc: [x, {d: 'y: z', e: []}, [1, 2], {}]\nf: {g: 'true', h: true}\ni: \"l1\\nl2 \\u00e9\"\n'j k': 'a # b'\n",
        ));
        assert_eq!(to_yaml(&tree(&yaml)), yaml);
        assert_eq!(
            yaml,
            "a: 1\nb: \"1\"\nc:\n  - x\n  - d: \"y: z\"\n    e: []\n  - - 1\n    - 2\n  - {}\nf:\n  g: \"true\"\n  h: true\n\
             i: \"l1\\nl2 é\"\n\"j k\": \"a # b\"\n"
        );
    }

    #[test]
    fn kept_values_of_a_matrix_stay_references() {
        let yaml = to_yaml_of_sweep(&tree("a: '${matrix.x}'\nb: 'x${vars.y}'\n"));
        assert_eq!(yaml, "a: \"${matrix.x}\"\nb: \"x$${vars.y}\"\n");
    }

    #[test]
    fn literal_references_stay_literal() {
        assert_eq!(to_yaml(&tree("a: 'x${vars.y}-${run.id}'")), "a: \"x$${vars.y}-${run.id}\"\n");
    }

    /// Values hold references, keys don't.
    #[test]
    fn only_values_are_escaped() {
        assert_eq!(to_yaml(&tree("'${a': '${b'")), "\"${a\": \"$${b\"\n");
    }
}
