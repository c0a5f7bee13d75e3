//! Asks for the active controller, through whichever broker answers.

use gauntlet_wire::Connection;

use super::Shared;
use crate::clock::monotonic_ns;
use crate::history::Change;

/// Watches until told to stop. A broker that does not answer is no news about the controller: the next one is asked.
pub(super) fn watch(shared: &Shared) {
    let options = shared.config.connect_options();
    let mut last_said = None;
    // It shares brokers with the eyes: one question more is nothing to a broker.
    for (broker, addr) in shared.config.brokers.iter().cycle() {
        let Ok(mut connection) = Connection::connect(addr, &options) else {
            if shared.pause() { continue } else { return }
        };
        while let Ok(quorum) = connection.quorum() {
            let said = (quorum.leader, quorum.leader_epoch);
            let changed = last_said != Some(said);
            last_said = Some(said);
            let change = Change::Controller { leader: quorum.leader, epoch: quorum.leader_epoch };
            let seen = if changed { vec![(monotonic_ns(), change)] } else { Vec::new() };
            shared.store(*broker, seen, None);
            if !shared.pause() {
                return;
            }
        }
        if !shared.pause() {
            return;
        }
    }
}
