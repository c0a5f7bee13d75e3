//! Some of Kafka's APIs, as a rule names them.

use kafka_protocol::messages::ApiKey;
use serde::{Deserialize, Serialize};

/// A set of API keys. Kafka has fewer than 128.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<String>", try_from = "Vec<String>")]
pub struct Apis(u128);

/// A name that no API has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Kafka has no API called {0}")]
pub struct NoSuchApi(pub String);

impl Apis {
    /// Names of all APIs that Kafka has, in the order of their keys.
    #[must_use]
    pub fn names() -> Vec<String> {
        ApiKey::iter().map(|api| format!("{api:?}")).collect()
    }

    /// Those of these names, as Kafka's protocol guide has them: `Produce`, `Fetch`, `EndTxn`.
    ///
    /// # Errors
    /// [`NoSuchApi`] with the first name that is none.
    pub fn named(names: &[String]) -> Result<Self, NoSuchApi> {
        let mut set = Self::default();
        for name in names {
            let api = ApiKey::iter().find(|api| format!("{api:?}") == *name);
            set.0 |= api.and_then(|api| bit(api as i16)).ok_or_else(|| NoSuchApi(name.clone()))?;
        }
        Ok(set)
    }

    /// Whether the API of this key is one of them.
    pub(crate) fn has(self, key: i16) -> bool {
        bit(key).is_some_and(|bit| self.0 & bit != 0)
    }
}

fn bit(key: i16) -> Option<u128> {
    1u128.checked_shl(u32::try_from(key).ok()?)
}

impl From<Apis> for Vec<String> {
    fn from(apis: Apis) -> Self {
        ApiKey::iter().filter(|api| apis.has(*api as i16)).map(|api| format!("{api:?}")).collect()
    }
}

impl TryFrom<Vec<String>> for Apis {
    type Error = NoSuchApi;

    fn try_from(names: Vec<String>) -> Result<Self, NoSuchApi> {
        Self::named(&names)
    }
}

impl std::fmt::Display for Apis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&Vec::from(*self).join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_api_is_a_set_of_its_own() {
        let names = Apis::names();
        assert!(names.len() > 70 && names[..3] == ["Produce", "Fetch", "ListOffsets"], "{names:?}");
        for (name, api) in names.iter().zip(ApiKey::iter()) {
            let set = Apis::named(std::slice::from_ref(name)).unwrap();
            assert!(ApiKey::iter().all(|other| set.has(other as i16) == (other == api)));
            assert_eq!(set.to_string(), *name);
        }
        assert_eq!(
            Apis::named(&["Fetch".to_owned(), "produce".to_owned()]),
            Err(NoSuchApi("produce".to_owned()))
        );
        assert!(!Apis(u128::MAX).has(-1) && !Apis(u128::MAX).has(128));
    }

    #[test]
    fn a_set_is_written_by_name() {
        let set = Apis::named(&["EndTxn".to_owned(), "Produce".to_owned()]).unwrap();
        let text = serde_json::to_string(&set).unwrap();
        assert_eq!(text, r#"["Produce","EndTxn"]"#);
        assert_eq!(serde_json::from_str::<Apis>(&text).unwrap(), set);
        assert!(serde_json::from_str::<Apis>(r#"["Nothing"]"#).is_err());
    }
}
