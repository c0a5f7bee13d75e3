//! Connections that were there are lost, and one end is not told, or neither; new ones are served: `network.half-open`.

use std::collections::BTreeMap;
use std::time::Duration;

use gauntlet_wire::{ConnectOptions, Connection};

use super::Direction;
use super::probe::{Seen, seen_of};
use crate::error::ChaosError;

/// Time for a slow answer of the broker itself, to a connection that is not lost.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How long nothing is heard on a connection that is lost. A broker answers within milliseconds.
const SILENCE: Duration = Duration::from_millis(500);

/// A connection to each of `brokers`, before it is lost.
pub(super) fn connect(
    brokers: &BTreeMap<i32, String>,
    who: &ConnectOptions,
) -> Result<BTreeMap<i32, Connection>, ChaosError> {
    let options = ConnectOptions { client_id: "gauntlet-probe".to_owned(), timeout: PATIENCE, ..who.clone() };
    let connect = |(id, addr): (&i32, &String)| match Connection::connect(addr, &options) {
        Ok(connection) => Ok((*id, connection)),
        Err(error) => {
            Err(ChaosError::NotSeenToAct { why: format!("broker {id} takes no connection: {error}") })
        }
    };
    brokers.iter().map(connect).collect()
}

/// What a client saw on `connection`, which was open before, that it should not have. It is told of the end if it is what the broker sends that
/// gets nowhere, and that alone.
pub(super) fn contradiction(mut connection: Connection, direction: Direction) -> Option<String> {
    if let Err(error) = connection.set_timeout(SILENCE) {
        return Some(error.to_string());
    }
    let seen = seen_of(|| connection.metadata(Some(&[])));
    match (&seen, direction) {
        (Seen::Silence, Direction::Both | Direction::To) | (Seen::Closed, Direction::From) => None,
        (Seen::Silence | Seen::Reset | Seen::Closed | Seen::Answered { .. } | Seen::Other(_), _) => {
            Some(format!("{seen} on a connection that was there before"))
        }
    }
}

/// What a client saw that has connected since.
pub(super) fn contradiction_of_new(seen: &Seen) -> Option<String> {
    match seen {
        Seen::Answered { .. } => None,
        Seen::Silence | Seen::Reset | Seen::Closed | Seen::Other(_) => {
            Some(format!("{seen} on a new connection"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_connection_is_answered() {
        assert_eq!(contradiction_of_new(&Seen::Answered { after: Duration::from_millis(3) }), None);
        let silent = contradiction_of_new(&Seen::Silence).unwrap();
        assert_eq!(silent, "was not answered on a new connection");
    }
}
