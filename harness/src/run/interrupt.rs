//! ^C and SIGTERM: the first ends the load, undoes faults and judges what there is; the second ends the process at
//! once, and the supervisor does the undoing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};

/// Whether somebody asked to stop.
#[derive(Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Whether somebody asked to stop.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Asks to stop.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Listens for signals. The second one of either kind exits with `code`, without unwinding: closing the lifeline
    /// makes the supervisor undo faults and end the brokers.
    pub fn listen(code: u8) -> std::io::Result<Arc<Self>> {
        let interrupt = Interrupt::default();
        for signal in [SIGINT, SIGTERM] {
            // Order matters: the check must come before the flag is set by the same signal.
            signal_hook::flag::register_conditional_shutdown(
                signal,
                i32::from(code),
                Arc::clone(&interrupt.0),
            )?;
            signal_hook::flag::register(signal, Arc::clone(&interrupt.0))?;
        }
        Ok(Arc::new(interrupt))
    }
}
