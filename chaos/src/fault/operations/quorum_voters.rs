//! Who votes in a quorum that is dynamic (KIP-853), and how that is changed: what adding and removing a voter have in common, as each undoes
//! the other.

use gauntlet_wire::{ErrorCode, QuorumMember, QuorumMembers};

use super::Admin;
use super::admin::CONTROLLER_LIMIT;
use crate::error::ChaosError;
use crate::local::LocalCluster;

/// The listener of controllers, as every node of ours calls it.
const LISTENER: &str = "CONTROLLER";

/// Voters and observers now. Refuses a cluster whose quorum is static, or that is not ours to change.
pub(super) fn members(nodes: &LocalCluster, admin: &Admin) -> Result<QuorumMembers, ChaosError> {
    if !nodes.has_dynamic_quorum() {
        return Err(super::refused("the voters of the quorum are static".to_owned()));
    }
    admin.ask(None, |connection| connection.quorum_members())
}

/// Waits until node `id` is an observer that has read what was there before; gives it.
fn observer(id: i32, admin: &Admin) -> Result<QuorumMember, ChaosError> {
    let there = admin.ask(None, |connection| connection.quorum_members())?.high_watermark;
    admin.until_seen(None, &format!("controller {id} has read the quorum's log"), |connection| {
        let members = connection.quorum_members()?;
        let found = members.observers.iter().find(|observer| observer.id == id);
        Ok(match found {
            Some(observer) if observer.log_end_offset >= there => None,
            Some(observer) => Some(format!("it is at {} of {there}", observer.log_end_offset)),
            None => Some("it is no observer".to_owned()),
        })
    })?;
    let members = admin.ask(None, |connection| connection.quorum_members())?;
    let found = members.observers.into_iter().find(|observer| observer.id == id);
    found.ok_or_else(|| super::refused(format!("controller {id} is no observer any more")))
}

/// Makes node `id`, which runs, a voter, and waits until every broker that answers says so; gives when. Harmless if it is one.
pub(super) fn add(nodes: &LocalCluster, id: i32, admin: &Admin) -> Result<u64, ChaosError> {
    let node = &nodes.local_node(id)?.node;
    if !members(nodes, admin)?.voters.iter().any(|voter| voter.id == id) {
        let observer = observer(id, admin)?;
        let port = node
            .controller_port
            .ok_or_else(|| super::refused(format!("{} is no controller", node.name())))?;
        let host = node.host.to_string();
        admin.ask(None, |connection| {
            let listener = (LISTENER, host.as_str(), port);
            match connection.add_voter(id, observer.directory, listener, CONTROLLER_LIMIT) {
                // Asked again because the answer got lost.
                Err(error) if error.code() == Some(ErrorCode::DUPLICATE_VOTER) => Ok(()),
                other => other,
            }
        })?;
    }
    until_votes(id, true, admin)
}

/// Has node `id` vote no longer, and waits until every broker that answers says so; gives when. Harmless if it does not.
pub(super) fn remove(nodes: &LocalCluster, id: i32, admin: &Admin) -> Result<u64, ChaosError> {
    if let Some(voter) = members(nodes, admin)?.voters.iter().find(|voter| voter.id == id) {
        admin.ask(None, |connection| match connection.remove_voter(id, voter.directory) {
            // Asked again because the answer got lost.
            Err(error) if error.code() == Some(ErrorCode::VOTER_NOT_FOUND) => Ok(()),
            other => other,
        })?;
    }
    until_votes(id, false, admin)
}

fn until_votes(id: i32, votes: bool, admin: &Admin) -> Result<u64, ChaosError> {
    let (what, lacks) = match votes {
        true => (format!("controller {id} votes"), "it does not"),
        false => (format!("controller {id} does not vote"), "it does"),
    };
    admin.until_seen(None, &what, |connection| {
        let members = connection.quorum_members()?;
        if members.leader.is_none() {
            return Ok(Some("the quorum has no leader".to_owned()));
        }
        let is_voter = members.voters.iter().any(|voter| voter.id == id);
        Ok((is_voter != votes).then(|| lacks.to_owned()))
    })
}
