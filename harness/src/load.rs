//! The load: workloads that producers pull from, sinks that readers push into, and the control they share.

pub(crate) mod chunk;
pub mod control;
pub mod folding;
pub(crate) mod lanes;
pub mod producer;
pub mod reader;
pub mod records;

pub use control::{ClientStats, Control, Interval, Origin};
pub use producer::{ProducerLoad, ProducerPlan};
pub use reader::{Reader, ReaderPlan};
