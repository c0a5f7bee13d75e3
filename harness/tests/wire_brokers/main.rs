//! The wire client on real brokers: read and written by other clients, disturbed by a proxy, and through faults.
//!
//! - `differential`: what we write is read by Kafka's own tools, and what other clients write is read by us
//! - `expiry`: brokers that forget a producer append its batch twice, and are the ones to blame
//! - `recovery`: a proxy spoils single Produce requests; the checker counts what became of every record
//! - `secured`: TLS, log-ins and ACLs, on a cluster of its own
//! - `survival`: brokers are killed and paused under load; a quota slows the producer down
//!
//! The supervisor of the brokers is the running executable, started again; hence the own `main` (`harness = false`).

mod cluster;
mod differential;
mod expiry;
mod judge;
mod load;
mod proxy;
mod recovery;
mod secured;
mod survival;
mod tools;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use cluster::{SUPERVISE, SharedCluster};
use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if args.first().and_then(|arg| arg.to_str()) == Some(SUPERVISE) {
        return gauntlet_chaos::supervisor_main(args.into_iter().skip(1));
    }
    let mut arguments = Arguments::from_args();
    // The tests share one cluster, and some of them take its brokers down.
    arguments.test_threads = Some(1);
    let shared = Arc::new(SharedCluster::plain());
    let secured = Arc::new(secured::cluster());
    let forgetful = Arc::new(expiry::cluster());
    let mut trials = differential::trials(&shared);
    trials.extend(recovery::trials(&shared));
    trials.extend(survival::trials(&shared));
    trials.extend(secured::trials(&secured));
    trials.extend(expiry::trials(&forgetful));
    let conclusion = libtest_mimic::run(&arguments, trials);
    let all = [&shared, &secured, &forgetful];
    match all.into_iter().try_for_each(|cluster| cluster.shutdown()) {
        Ok(()) => conclusion.exit_code(),
        Err(error) => {
            cluster::report(&format!("a shared cluster: {:?}", error.message()));
            ExitCode::FAILURE
        }
    }
}
