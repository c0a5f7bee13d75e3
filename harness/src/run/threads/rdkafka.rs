//! Threads of clients of librdkafka: one per producer and reader, besides those that librdkafka starts itself.

use std::thread::JoinHandle;

use crossbeam_channel::Sender;
use gauntlet_wire::Security;
use gauntlet_wire::producer::Acks;

use super::{LoopFailure, Member, Routes, Shared, ThreadError, read_in_window, spawn};
use crate::load::{Interval, ProducerLoad, Reader};
use crate::plan::{Plan, ReaderBlock};
use crate::rdkafka::connect::ClientPlan;
use crate::rdkafka::notes::Notes;
use crate::rdkafka::produce::{ProducerSetup, run_producer};
use crate::rdkafka::read::{ReaderSetup, run_reader};
use crate::rdkafka::settings::Setting;
use crate::run::RunError;
use crate::rundir::{RDKAFKA_LOG, RunDir};

/// Starts what takes in the log lines and statistics of the plan's clients, if it has any of librdkafka.
pub(in crate::run) fn start_notes(
    plan: &Plan,
    dir: &RunDir,
    intervals: &Sender<Interval>,
    security: &Security,
) -> Result<Option<Notes>, RunError> {
    let producers = plan.producers.iter().map(|block| &block.driver);
    let mut drivers = producers.chain(plan.readers.iter().map(|block| &block.driver));
    if !drivers.any(|driver| driver.rdkafka().is_some()) {
        return Ok(None);
    }
    let (notes, clerk) = Notes::new(dir.append(RDKAFKA_LOG)?, security, intervals.clone());
    // It ends with the last of the clients; nobody has to wait for it.
    spawn("the log of librdkafka", "rdkafka-notes".to_owned(), move || clerk.run())?;
    Ok(Some(notes))
}

fn client(client_id: &str, settings: &[Setting], bootstrap: &[String], security: &Security) -> ClientPlan {
    ClientPlan {
        settings: settings.to_vec(),
        bootstrap: bootstrap.to_vec(),
        client_id: client_id.to_owned(),
        security: security.clone(),
    }
}

/// A client of this run, and where it tells what it has to tell.
fn made(
    shared: &Shared,
    settings: &[Setting],
    client_id: &str,
    what: &str,
) -> Result<(ClientPlan, Notes), ThreadError> {
    let notes = shared.notes.clone().ok_or_else(|| ThreadError::Loop {
        what: what.to_owned(),
        source: "nobody takes what librdkafka has to tell; this is a bug in gauntlet".into(),
    })?;
    Ok((client(client_id, settings, &shared.bootstrap, &shared.security), notes))
}

/// Starts one producer.
pub(super) fn start_producer(
    member: &Member<'_>,
    settings: &[Setting],
    routes: &[Routes],
    shared: &Shared,
) -> Result<(String, JoinHandle<Result<(), LoopFailure>>), ThreadError> {
    let index = member.records.producer;
    let what = format!("producer {index}");
    let client_id = format!("{}-producer-{index}", member.block.links.client_id);
    let (client, notes) = made(shared, settings, &client_id, &what)?;
    let setup = ProducerSetup {
        client,
        unacknowledged: member.block.acks == Acks::None,
        delivery_timeout: member.block.delivery_timeout,
        notes,
    };
    let load = member.load(routes, shared);
    let body = move || {
        ProducerLoad::finish(run_producer(setup, load)?);
        Ok(())
    };
    let handle = spawn(&what, format!("produce-{index}"), body)?;
    Ok((what, handle))
}

/// Starts one reader.
pub(super) fn start_reader(
    what: &str,
    index: u16,
    block: &ReaderBlock,
    settings: &[Setting],
    reader: Reader,
    shared: &Shared,
) -> Result<JoinHandle<Result<Reader, LoopFailure>>, ThreadError> {
    let client_id = format!("{}-reader-{index}", block.links.client_id);
    let (client, notes) = made(shared, settings, &client_id, what)?;
    let setup = ReaderSetup { client, notes };
    let watermarks = shared.watermarks(&reader.plan().topic);
    let client = move |reader| Ok(run_reader(setup.clone(), reader)?);
    spawn(what, format!("read-{index}"), move || read_in_window(reader, watermarks, client))
}
