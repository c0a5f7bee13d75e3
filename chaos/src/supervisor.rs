//! The process between a run and its brokers.
//!
//! Brokers must never outlive the run that started them, however it ends. No code inside the run can promise that: SIGKILL
//! runs no destructor. So brokers are children of a *supervisor*, the same executable started again with a hidden argument,
//! which outlives the run by the time that it needs to clean up:
//!
//! - It holds the reading end of a pipe (its stdin) whose writing end only the run has: the **lifeline**. When the run ends
//!   in any way, the kernel closes the lifeline, and the supervisor heals (resumes what is paused, by its own knowledge and by
//!   the run's undo journal, which it then marks), stops its brokers and removes their data.
//! - It is in a session of its own and so are its brokers' process groups: ^C in the terminal reaches neither, and the run
//!   decides in which order things end. SIGTERM is an orderly shutdown.
//! - It is the brokers' parent, so it alone reaps them: an unreaped pid is never reused, and "the process is gone" is
//!   something that `waitid` said, not a guess.
//! - If the supervisor itself is killed, the kernel kills the brokers: each asked for `PR_SET_PDEATHSIG` (the
//!   head of `children.rs` says why that is sound here). Then only the data directory is left behind; the next clean-up takes it.
//!
//! Requests are JSON lines over a Unix socket in the cluster's directory; each connection is served on its own, so a slow
//! stop of one broker never delays the kill of another.
//!
//! Where faults of the network are planned, the supervisor also has the proxy in front of the nodes ([`crate::proxy`]); where
//! those of disk or clock are, it gives the orders of the nodes' shims ([`crate::shim`]).
//!
//! Layout: `protocol` the messages, `control` the socket, `client` the run's side, `server` the process itself,
//! `children` spawning, signalling and reaping, `page_cache` what of the brokers' logs stays in memory.

mod children;
mod client;
mod control;
mod page_cache;
mod protocol;
mod server;

pub(crate) use children::spawn as spawn_node;
pub(crate) use client::end_detached;
pub use client::{Launcher, Supervisor, SupervisorConfig, SupervisorError};
pub use protocol::{ExitRecord, NodeCommand, NodeState, NodeStatus, SignalTimes};
#[cfg(test)]
pub(crate) use server::IDENTITY_FILE;
pub(crate) use server::read_identity;
pub use server::{supervisor_main, supervisor_main_with};
