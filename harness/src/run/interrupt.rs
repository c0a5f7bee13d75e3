//! ^C and SIGTERM: the first ends the load, undoes faults and judges what there is; the second ends the process at
//! once, and the supervisor does the undoing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Whether somebody asked to stop.
#[derive(Debug, Default)]
pub struct Interrupt(AtomicBool);

/// Which signal it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The first: the run comes to its end early.
    ToStop,
    /// Another one: the process ends now.
    ToLeave,
}

impl Interrupt {
    /// Whether somebody asked to stop.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Listens for signals, and calls `say` at each, in a thread of its own. The second one of either kind exits with
    /// `code`, without unwinding: closing the lifeline makes the supervisor undo faults and end the brokers.
    ///
    /// # Errors
    /// No thread, or no handler.
    pub fn listen(code: u8, say: impl Fn(Asked) + Send + 'static) -> std::io::Result<Arc<Self>> {
        let interrupt = Arc::new(Interrupt::default());
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let heard = Arc::clone(&interrupt);
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for _ in signals.forever() {
                if heard.0.swap(true, Ordering::Relaxed) {
                    say(Asked::ToLeave);
                    signal_hook::low_level::exit(i32::from(code));
                }
                say(Asked::ToStop);
            }
        })?;
        Ok(interrupt)
    }
}
