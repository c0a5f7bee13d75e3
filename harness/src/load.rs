//! The load: workloads that producers pull from, sinks that readers push into, and the control they share.

pub mod control;
pub mod producer;
pub mod reader;
pub mod records;

pub use control::{ClientStats, Control, Interval, Origin};
pub use producer::{ProducerLoad, ProducerPlan};
pub use reader::{Reader, ReaderPlan};
