//! Whether a Docker engine answers, and whether it has an image.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use super::DockerError;
use super::client::{Access, ClientError, PROMPT};
use crate::netns::Unable;

/// How long getting an image may take: some hundred MB.
const PULL_LIMIT: Duration = Duration::from_secs(900);
/// What is said to users whose scenarios ask for it, besides what they may have to install.
const OTHERWISE: &str = "or use `cluster: { local: … }`";

/// An engine that answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    /// Its version, `20.10.24`.
    pub version: String,
    /// Where it keeps images, containers and volumes, unless it is on another machine.
    pub root: PathBuf,
}

/// The engine that the environment names, or the usual one; looked at once.
///
/// # Errors
/// Why there is none that a cluster could be started in, and what helps.
pub fn engine() -> Result<&'static Engine, &'static Unable> {
    static ANSWER: OnceLock<Result<Engine, Unable>> = OnceLock::new();
    ANSWER.get_or_init(look).as_ref()
}

/// Why no cluster can be started in containers here; `None` if it can.
pub fn why_not() -> Option<&'static Unable> {
    engine().err()
}

fn look() -> Result<Engine, Unable> {
    let told = Access::of_this_process()
        .run(&["info", "--format", "{{.ServerVersion}} {{.OSType}} {{.DockerRootDir}}"], PROMPT)
        .map_err(|error| understood(&error))?;
    let mut fields = told.splitn(3, ' ');
    match (fields.next(), fields.next(), fields.next()) {
        (Some(version), Some("linux"), Some(root)) => {
            Ok(Engine { version: version.to_owned(), root: PathBuf::from(root) })
        }
        _ => Err(Unable {
            why: format!("the Docker engine is not one of Linux: {told:?}"),
            next_step: format!("name another with DOCKER_HOST, {OTHERWISE}"),
        }),
    }
}

fn understood(error: &ClientError) -> Unable {
    let (why, next_step) = match error {
        ClientError::Missing => (error.to_string(), "install Docker (Debian: docker.io), start its engine"),
        ClientError::Refused { said, .. } if said.contains("permission denied") => (
            "this user may not talk to the Docker engine".to_owned(),
            "run gauntlet as root or as a member of group docker",
        ),
        ClientError::Refused { said, .. } => {
            (format!("no Docker engine answers: {said}"), "start dockerd, name the engine with DOCKER_HOST")
        }
        ClientError::Late { .. } | ClientError::NotRunnable { .. } => {
            (format!("no Docker engine answers: {error}"), "restart it")
        }
    };
    Unable { why, next_step: format!("{next_step}, {OTHERWISE}") }
}

/// Makes sure that the engine has `image`, which it may have to get from a registry.
pub(crate) fn ensure_image(image: &str) -> Result<(), DockerError> {
    let access = Access::of_this_process();
    if access.run(&["image", "inspect", "--format", "{{.Id}}", image], PROMPT).is_ok() {
        return Ok(());
    }
    let pulled = access.run(&["pull", "--quiet", image], PULL_LIMIT);
    pulled.map(|_| ()).map_err(|error| DockerError::NoImage {
        image: image.to_owned(),
        why: match error {
            ClientError::Refused { said, .. } => said,
            other => other.to_string(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_with_the_next_step() {
        let missing = understood(&ClientError::Missing);
        assert!(missing.next_step.contains("docker.io"), "{missing:?}");
        let refused = |said: &str| {
            understood(&ClientError::Refused { command: "docker info".to_owned(), said: said.to_owned() })
        };
        let denied = refused("permission denied while trying to connect to the Docker daemon socket");
        assert!(denied.next_step.contains("group docker"), "{denied:?}");
        let down = refused("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.");
        assert!(down.why.contains("no Docker engine answers: Cannot connect"), "{down:?}");
        for unable in [missing, denied, down] {
            assert!(unable.next_step.contains("local"), "{unable:?}");
        }
    }
}
