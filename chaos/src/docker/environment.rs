//! Broker properties as environment variables, as the image `apache/kafka` (KIP-975) and those of its kind read them: `KAFKA_`, then
//! the name in capitals with `.` as `_`, `_` as `__` and `-` as `___`. A start script in the image writes a properties file from them, line by
//! line as they are, so values are escaped as in such a file.

use std::collections::BTreeMap;

/// The variable that the images format storage by. It is no property.
const CLUSTER_ID: &str = "CLUSTER_ID";
const PREFIX: &str = "KAFKA_";
/// Variables of that form that are about the JVM or the image, and no properties.
const NO_PROPERTIES: [&str; 11] = [
    "KAFKA_GC_LOG_OPTS",
    "KAFKA_HEAP_OPTS",
    "KAFKA_JMX_HOSTNAME",
    "KAFKA_JMX_OPTS",
    "KAFKA_JVM_PERFORMANCE_OPTS",
    "KAFKA_LOG4J_LOGGERS",
    "KAFKA_LOG4J_OPTS",
    "KAFKA_LOG4J_ROOT_LOGLEVEL",
    "KAFKA_OPTS",
    "KAFKA_TOOLS_LOG4J_LOGLEVEL",
    "KAFKA_VERSION",
];

/// The variable of a property; `None` if the images would take it for another one, as those with capitals.
#[must_use]
pub fn variable(property: &str) -> Option<String> {
    let mut name = PREFIX.to_owned();
    for c in property.chars() {
        match c {
            '.' => name.push('_'),
            '_' => name.push_str("__"),
            '-' => name.push_str("___"),
            c => name.extend(c.to_uppercase()),
        }
    }
    (property_of(&name) == property && !NO_PROPERTIES.contains(&name.as_str())).then_some(name)
}

/// Whether a property can be told to a container.
#[must_use]
pub fn is_expressible(property: &str) -> bool {
    variable(property).is_some()
}

/// What the image makes of a variable.
fn property_of(variable: &str) -> String {
    let name = variable.replace(PREFIX, "").to_lowercase();
    name.replace('_', ".").replace("...", "-").replace("..", "_")
}

/// The variables of a node: its properties, whose values are escaped already, and those of the JVM. What is not
/// expressible is left out; specs that have such a property are refused.
pub(crate) fn environment(
    properties: &BTreeMap<String, String>,
    cluster_id: &str,
    jvm_flags: &[String],
) -> BTreeMap<String, String> {
    let of_property = |(name, value): (&String, &String)| Some((variable(name)?, value.clone()));
    let mut environment: BTreeMap<String, String> = properties.iter().filter_map(of_property).collect();
    let (heap, others): (Vec<&str>, Vec<&str>) =
        jvm_flags.iter().map(String::as_str).partition(|flag| flag.starts_with("-Xm"));
    environment.insert("KAFKA_HEAP_OPTS".to_owned(), heap.join(" "));
    environment.insert("KAFKA_JVM_PERFORMANCE_OPTS".to_owned(), others.join(" "));
    environment.insert(CLUSTER_ID.to_owned(), cluster_id.to_owned());
    environment
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_kafka_have_the_variables_that_its_image_documents() {
        for (property, expected) in [
            ("node.id", "KAFKA_NODE_ID"),
            ("transaction.state.log.replication.factor", "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR"),
            ("listener.name.a_b.c-d", "KAFKA_LISTENER_NAME_A__B_C___D"),
        ] {
            assert_eq!(variable(property).as_deref(), Some(expected));
        }
        // Other properties would come out, or none.
        for ambiguous in ["a._b", "a.-b", "Upper.case", "a..b", "heap.opts", "opts", "my.kafka.x"] {
            assert_eq!(variable(ambiguous), None, "{ambiguous}");
        }
    }

    proptest! {
        /// What is told arrives as what it was, whatever it is called.
        #[test]
        fn a_variable_names_one_property(property in "[a-z._-]{1,12}", other in "[a-z._-]{1,12}") {
            if let Some(name) = variable(&property) {
                prop_assert_eq!(property_of(&name), property.clone());
                prop_assert!(variable(&other).is_none_or(|of_other| (of_other == name) == (other == property)));
            }
        }
    }

    #[test]
    fn the_jvm_is_told_apart() {
        let properties = [("node.id".to_owned(), "2".to_owned())].into();
        let flags = ["-Xms512m", "-Xmx512m", "-XX:+UseSerialGC"].map(str::to_owned);
        let environment = environment(&properties, "id", &flags);
        let expected = [
            ("CLUSTER_ID", "id"),
            ("KAFKA_HEAP_OPTS", "-Xms512m -Xmx512m"),
            ("KAFKA_JVM_PERFORMANCE_OPTS", "-XX:+UseSerialGC"),
            ("KAFKA_NODE_ID", "2"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(environment, expected.into());
    }
}
