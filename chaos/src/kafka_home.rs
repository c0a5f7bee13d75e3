//! Where the broker's jars and the Java to run them come from.
//!
//! Either a distribution the user points at (`--kafka-home DIR`), or Maven coordinates resolved once per version into a
//! cache that all runs of the user share. Nothing is downloaded by ourselves: `mvn` does it, with the user's settings,
//! mirrors and proxies.

mod java;
mod maven;
mod version;

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) use java::on_path;
pub use java::{Java, JavaError};
pub use maven::MavenError;
pub(crate) use maven::is_installed as is_maven_installed;
pub use version::{KafkaVersion, UnknownVersion};

use crate::files::{FileError, OnPath};

/// Which Kafka to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KafkaSource {
    /// Jars by Maven coordinates, from the cache or resolved now.
    Maven(KafkaVersion),
    /// A distribution on this host: a directory with `libs/*.jar`.
    Directory(PathBuf),
    /// An image of which nodes are containers ([`crate::docker`]): it has jars and Java of its own.
    Image(String),
}

/// The version, the directory, or the image.
impl std::fmt::Display for KafkaSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Maven(version) => version.fmt(f),
            Self::Directory(path) => path.display().fmt(f),
            Self::Image(image) => write!(f, "image {image}"),
        }
    }
}

impl Default for KafkaSource {
    fn default() -> Self {
        Self::Maven(KafkaVersion::DEFAULT)
    }
}

/// Jars that can be run: what a broker's command line needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaHome {
    /// Directory of all jars; the class path is `<libs>/*`.
    pub libs: PathBuf,
    /// Version of the broker, read from the name of its jar.
    pub version: KafkaVersion,
    /// Which logging the jars are bound to.
    pub logging: Logging,
    /// Where to keep what `StorageTool` writes for this version: beside jars of ours, nowhere for a user's directory.
    pub(crate) format_cache: Option<PathBuf>,
}

/// The SLF4J binding found beside the broker. Without any a broker logs nothing at all, and nobody learns why it died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logging {
    /// log4j 2: Kafka 4.
    Log4j2,
    /// reload4j, a log4j 1: Kafka 3.
    Reload4j,
}

/// Why there are no jars to run.
#[derive(Debug, thiserror::Error)]
pub enum KafkaHomeError {
    /// The directory is no Kafka distribution.
    #[error("{} is no Kafka distribution: {reason}; name the directory that contains libs/kafka_2.13-<version>.jar", dir.display())]
    NotADistribution {
        /// The directory that was named.
        dir: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// Maven could not resolve the version.
    #[error(transparent)]
    Maven(#[from] MavenError),
    /// They are nowhere but in an image.
    #[error("the jars of {image} are in its containers only")]
    InImage {
        /// The image.
        image: String,
    },
    /// The jars are of a version this program can't run.
    #[error(transparent)]
    Version(#[from] UnknownVersion),
    /// A file of the cache could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

impl KafkaHome {
    /// Finds the jars of `source`, resolving them with Maven into `cache` if they are not there yet (10-30 s with an empty
    /// Maven repository, about 3 s with a filled one). Safe to call from several processes at once.
    pub fn resolve(source: &KafkaSource, cache: &Path) -> Result<Self, KafkaHomeError> {
        match source {
            KafkaSource::Directory(dir) => Self::open(dir, None),
            KafkaSource::Image(image) => Err(KafkaHomeError::InImage { image: image.clone() }),
            KafkaSource::Maven(version) => {
                let dir = cached_dir(cache, version);
                if !dir.join("libs").is_dir() {
                    maven::install(version, &dir)?;
                }
                Self::open(&dir, Some(dir.join("format")))
            }
        }
    }

    /// Whether `version` is in `cache`, so that a run needs neither Maven nor a network.
    #[must_use]
    pub fn is_cached(version: &KafkaVersion, cache: &Path) -> bool {
        cached_dir(cache, version).join("libs").is_dir()
    }

    fn open(dir: &Path, format_cache: Option<PathBuf>) -> Result<Self, KafkaHomeError> {
        let libs = dir.join("libs");
        let not_a_distribution = |reason: &str| KafkaHomeError::NotADistribution {
            dir: dir.to_path_buf(),
            reason: reason.to_owned(),
        };
        let mut jars = Vec::new();
        for entry in fs::read_dir(&libs).map_err(|error| not_a_distribution(&format!("libs/: {error}")))? {
            let name = entry.on("list", &libs)?.file_name();
            jars.extend(name.to_str().map(str::to_owned));
        }
        let version = jars.iter().find_map(|jar| version_of_broker_jar(jar));
        let version = version.ok_or_else(|| not_a_distribution("no libs/kafka_2.1x-<version>.jar"))?;
        let has = |prefix: &str| jars.iter().any(|jar| jar.starts_with(prefix));
        let logging = if has("log4j-core-") && (has("log4j-slf4j-impl-") || has("log4j-slf4j2-impl-")) {
            Logging::Log4j2
        } else if has("slf4j-reload4j-") {
            Logging::Reload4j
        } else {
            return Err(not_a_distribution("no SLF4J binding among its jars, so a broker would log nothing"));
        };
        Ok(Self { libs, version: version.parse()?, logging, format_cache })
    }

    /// The Java class path, of the broker and of Kafka's tools.
    #[must_use]
    pub fn class_path(&self) -> String {
        format!("{}/*", self.libs.display())
    }
}

fn cached_dir(cache: &Path, version: &KafkaVersion) -> PathBuf {
    cache.join("kafka").join(version.to_string())
}

/// `kafka_2.13-4.3.0.jar` -> `4.3.0`. Side jars (`kafka_2.13-4.3.0-sources.jar`, `-test`) are not the broker.
fn version_of_broker_jar(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("kafka_2.")?.strip_suffix(".jar")?;
    let (_scala_minor, version) = rest.split_once('-')?;
    let side_jar =
        ["-sources", "-javadoc", "-test", "-scaladoc"].iter().any(|suffix| version.ends_with(suffix));
    (!side_jar).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distribution(jars: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("libs")).unwrap();
        for jar in jars {
            fs::write(dir.path().join("libs").join(jar), b"").unwrap();
        }
        dir
    }

    #[test]
    fn a_distribution_is_read_from_its_jar_names() {
        let dir = distribution(&[
            "kafka_2.13-4.3.0-sources.jar",
            "kafka_2.13-4.3.0.jar",
            "log4j-core-2.25.4.jar",
            "log4j-slf4j-impl-2.25.4.jar",
        ]);
        let source = KafkaSource::Directory(dir.path().to_path_buf());
        let home = KafkaHome::resolve(&source, Path::new("/nonexistent")).unwrap();
        assert_eq!(home.version.to_string(), "4.3.0");
        assert_eq!(home.logging, Logging::Log4j2);
        assert_eq!(home.format_cache, None);
    }

    #[test]
    fn what_is_missing_is_named() {
        let cases: [(&[&str], &str); 2] =
            [(&[], "no libs/kafka_2.1x"), (&["kafka_2.13-4.3.0.jar"], "no SLF4J binding")];
        for (jars, reason) in cases {
            let dir = distribution(jars);
            let source = KafkaSource::Directory(dir.path().to_path_buf());
            let error = KafkaHome::resolve(&source, Path::new("/nonexistent")).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
