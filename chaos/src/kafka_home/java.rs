//! Finding a Java that runs the brokers.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A `java` launcher and the feature version it reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Java {
    /// The launcher.
    pub program: PathBuf,
    /// 17 for "17.0.15", 8 for "1.8.0_402".
    pub feature_version: u32,
}

/// Why no broker can be run with the Java of this host.
#[derive(Debug, thiserror::Error)]
pub enum JavaError {
    /// Nothing to run.
    #[error("no java found ({looked_at}); install a JRE {java_min} or newer, or set JAVA_HOME")]
    NotFound {
        /// Where it was looked for.
        looked_at: String,
        /// The oldest version that would do.
        java_min: u32,
    },
    /// It could not be executed.
    #[error("cannot run {}: {source}; check JAVA_HOME", program.display())]
    NotRunnable {
        /// The launcher that was tried.
        program: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It ran, but did not say which version it is.
    #[error("{} -version gave no version but {output:?}; check JAVA_HOME", program.display())]
    NoVersion {
        /// The launcher that was tried.
        program: PathBuf,
        /// What it printed.
        output: String,
    },
    /// Too old for the Kafka that was asked for.
    #[error("{} is Java {found}, but this Kafka needs {java_min} or newer; set JAVA_HOME to a newer one", program.display())]
    TooOld {
        /// The launcher that was tried.
        program: PathBuf,
        /// Its feature version.
        found: u32,
        /// The oldest that would do.
        java_min: u32,
    },
}

impl Java {
    /// Takes `$JAVA_HOME/bin/java` if JAVA_HOME is set, else `java` on the PATH, and checks that it is at least `java_min`.
    pub fn find(java_min: u32) -> Result<Self, JavaError> {
        let java = match env::var_os("JAVA_HOME").filter(|home| !home.is_empty()) {
            // A JAVA_HOME that is set and wrong is an error, not a reason to run some other Java in silence.
            Some(home) => Self::probe(&Path::new(&home).join("bin/java"))?,
            None => Self::probe(&on_path("java").ok_or_else(|| JavaError::NotFound {
                looked_at: "JAVA_HOME is not set, and the PATH has none".to_owned(),
                java_min,
            })?)?,
        };
        if java.feature_version < java_min {
            return Err(JavaError::TooOld { program: java.program, found: java.feature_version, java_min });
        }
        Ok(java)
    }

    fn probe(program: &Path) -> Result<Self, JavaError> {
        let run = Command::new(program).arg("-version").output();
        let run = run.map_err(|source| JavaError::NotRunnable { program: program.to_path_buf(), source })?;
        // The version goes to stderr, for historical reasons.
        let output = String::from_utf8_lossy(&run.stderr);
        let feature_version = parse_feature_version(&output).ok_or_else(|| JavaError::NoVersion {
            program: program.to_path_buf(),
            output: output.lines().next().unwrap_or_default().to_owned(),
        })?;
        Ok(Self { program: program.to_path_buf(), feature_version })
    }
}

/// The first executable file called `name` on the PATH.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let is_executable = |path: &PathBuf| {
        path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join(name)).find(is_executable)
}

/// `openjdk version "17.0.15" 2025-04-15` -> 17; up to Java 8 the number after "1." counts (JEP 223).
fn parse_feature_version(output: &str) -> Option<u32> {
    let (_, rest) = output.split_once("version \"")?;
    let (version, _) = rest.split_once('"')?;
    let mut parts = version.split(['.', '_', '-', '+']);
    match parts.next()?.parse().ok()? {
        1 => parts.next()?.parse().ok(),
        feature => Some(feature),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_all_ages() {
        for (output, feature) in [
            ("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime", Some(17)),
            ("Picked up JAVA_TOOL_OPTIONS: -Dx\njava version \"1.8.0_402\"", Some(8)),
            ("openjdk version \"25\" 2025-09-16", Some(25)),
            ("openjdk version \"22-ea\" 2024-03-19", Some(22)),
            ("command not found", None),
        ] {
            assert_eq!(parse_feature_version(output), feature, "{output}");
        }
    }
}
