//! Resolving the broker's jars with the user's own `mvn`.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::java::on_path;
use super::version::KafkaVersion;
use crate::files::{FileError, FileLock, OnPath, create_private_dir, last_lines};

/// A cold resolution was seen to take 10-30 s; a download that hangs must still end.
const RESOLVE_LIMIT: Duration = Duration::from_secs(600);

/// Why Maven gave no jars.
#[derive(Debug, thiserror::Error)]
pub enum MavenError {
    /// Neither cached jars nor a Maven to fetch them.
    #[error(
        "the jars of Kafka {version} are not in the cache and there is no mvn on the PATH; install Maven, or name a distribution with --kafka-home"
    )]
    NotInstalled {
        /// The version that was wanted.
        version: KafkaVersion,
    },
    /// `mvn` could not be executed.
    #[error("cannot run {}: {source}", program.display())]
    NotRunnable {
        /// The program that was tried.
        program: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// `mvn` ran and failed.
    #[error(
        "mvn could not resolve Kafka {version} ({how}); it said:\n{}\ncheck the version and mvn's settings (network, mirrors), or name a distribution with --kafka-home",
        indented(last_lines)
    )]
    Failed {
        /// The version that was wanted.
        version: KafkaVersion,
        /// Exit status or time limit.
        how: String,
        /// The end of what it printed.
        last_lines: Vec<String>,
    },
    /// A file of the cache could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

fn indented(lines: &[String]) -> String {
    lines.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

/// Whether there is an `mvn` to fetch jars with.
pub(crate) fn is_installed() -> bool {
    on_path("mvn").is_some()
}

/// Fetches the jars of `version` so that `dir/libs` either holds all of them or does not exist.
pub(super) fn install(version: &KafkaVersion, dir: &Path) -> Result<(), MavenError> {
    let mvn = on_path("mvn").ok_or_else(|| MavenError::NotInstalled { version: version.clone() })?;
    install_with(&mvn, version, dir)
}

/// Resolves beside `dir` and renames at the end. A lock makes a second run wait for the first instead of fetching the same
/// jars again.
fn install_with(mvn: &Path, version: &KafkaVersion, dir: &Path) -> Result<(), MavenError> {
    let _lock = FileLock::acquire(&beside(dir, "lock"))?;
    if dir.join("libs").is_dir() {
        return Ok(());
    }
    let temporary = beside(dir, "part");
    if temporary.exists() {
        // We hold the lock, so whoever left this is dead.
        fs::remove_dir_all(&temporary).on("remove directory", &temporary)?;
    }
    create_private_dir(&temporary)?;
    let pom = temporary.join("pom.xml");
    fs::write(&pom, render_pom(version)).on("write", &pom)?;
    let log = temporary.join("mvn.log");
    let status = resolve(mvn, &temporary, &log)?;
    let broker_jar = temporary.join("libs").join(format!("kafka_2.13-{version}.jar"));
    let how = match status {
        Some(status) if status.success() && broker_jar.is_file() => {
            return Ok(fs::rename(&temporary, dir).on("rename to", dir)?);
        }
        Some(status) if status.success() => format!("no {}", broker_jar.display()),
        Some(status) => status.to_string(),
        None => format!("stopped after {} s", RESOLVE_LIMIT.as_secs()),
    };
    Err(MavenError::Failed { version: version.clone(), how, last_lines: last_lines(&log, 12) })
}

/// `4.3.0` -> `4.3.0.lock`. (`with_extension` would take `.0` for an extension, and 4.3.0 and 4.3.1 would meet.)
fn beside(dir: &Path, extension: &str) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push(format!(".{extension}"));
    PathBuf::from(name)
}

/// Runs mvn in `dir`; `None` if it had to be stopped.
fn resolve(mvn: &Path, dir: &Path, log: &Path) -> Result<Option<ExitStatus>, MavenError> {
    let output = File::create(log).on("create", log)?;
    let errors = output.try_clone().on("open", log)?;
    let libs = dir.join("libs");
    let not_runnable = |source| MavenError::NotRunnable { program: mvn.to_path_buf(), source };
    let mut child = Command::new(mvn)
        .args(["-q", "-B", "-Dstyle.color=never", "dependency:copy-dependencies"])
        .arg(format!("-DoutputDirectory={}", libs.display()))
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .map_err(not_runnable)?;
    let deadline = Instant::now() + RESOLVE_LIMIT;
    loop {
        if let Some(status) = child.try_wait().map_err(not_runnable)? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            child.kill().and_then(|()| child.wait()).map_err(not_runnable)?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The pom whose dependencies are what a broker needs.
///
/// Kafka's own artifacts bring the SLF4J API but no binding, and without one a broker logs nothing. Kafka 4 is built on
/// log4j 2 (KIP-653), Kafka 3 on reload4j.
fn render_pom(version: &KafkaVersion) -> String {
    let version_text = version.to_string();
    let binding = if version.is_four() {
        ["org.apache.logging.log4j", "log4j-slf4j-impl", "2.25.4"]
    } else {
        ["org.slf4j", "slf4j-reload4j", "1.7.36"]
    };
    let dependencies = [
        ["org.apache.kafka", "kafka_2.13", &version_text],
        ["org.apache.kafka", "kafka-tools", &version_text],
        binding,
    ];
    let dependencies: String = dependencies
        .map(|[group, artifact, version]| {
            format!(
                "    <dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version></dependency>\n"
            )
        })
        .concat();
    format!(
        "<project>\n  <modelVersion>4.0.0</modelVersion>\n  \
         <groupId>gauntlet</groupId>\n  <artifactId>broker-jars</artifactId>\n  <version>1</version>\n  \
         <packaging>pom</packaging>\n  <dependencies>\n{dependencies}  </dependencies>\n</project>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pom_of_kafka_4() {
        let expected = r#"<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>gauntlet</groupId>
  <artifactId>broker-jars</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.3.0</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>4.3.0</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.25.4</version></dependency>
  </dependencies>
</project>
"#;
        assert_eq!(render_pom(&KafkaVersion::DEFAULT), expected);
    }

    #[test]
    fn kafka_3_logs_through_reload4j() {
        let pom = render_pom(&"3.9.1".parse().unwrap());
        assert!(pom.contains("<artifactId>slf4j-reload4j</artifactId><version>1.7.36</version>"), "{pom}");
        assert!(!pom.contains("log4j-slf4j-impl"));
    }

    #[test]
    fn a_failed_mvn_is_quoted_and_leaves_no_libs() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("4.3.0");
        // Any program that refuses mvn's options will do.
        let error = install_with(Path::new("/bin/ls"), &KafkaVersion::DEFAULT, &dir).unwrap_err().to_string();
        assert!(error.contains("  /bin/ls: "), "{error}");
        assert!(error.contains("--kafka-home"), "{error}");
        assert!(!dir.exists());
    }

    #[test]
    fn patch_releases_do_not_share_their_side_files() {
        let sides: Vec<_> = ["4.3.0", "4.3.1"].map(|version| beside(Path::new(version), "lock")).to_vec();
        assert_eq!(sides, [Path::new("4.3.0.lock"), Path::new("4.3.1.lock")]);
    }
}
