//! What a loop sleeps on until one of its clients has something for it: an eventfd that librdkafka writes to.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// A loop's bell. librdkafka rings it when a queue that it is tied to gets something and nobody has looked since.
#[derive(Debug)]
pub struct Wakeup {
    fd: OwnedFd,
}

impl Wakeup {
    /// A new one.
    ///
    /// # Errors
    /// The operating system has no descriptor left.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes two numbers, and returns a descriptor or -1.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made, and nobody else has it.
        Ok(Wakeup { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Sleeps until it rings, or for `limit`. What rings while nobody sleeps is not lost.
    ///
    /// # Errors
    /// The operating system refuses to wait.
    pub fn wait(&self, limit: Duration) -> io::Result<()> {
        let mut asked = libc::pollfd { fd: self.fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let limit = libc::timespec {
            tv_sec: limit.as_secs().min(i32::MAX as u64) as libc::time_t,
            tv_nsec: limit.subsec_nanos().into(),
        };
        // SAFETY: one descriptor is passed, which lives as long as self; no signal mask.
        let ready = unsafe { libc::ppoll(&raw mut asked, 1, &raw const limit, std::ptr::null()) };
        if ready < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) };
        }
        if ready > 0 {
            let mut rung = 0u64;
            // SAFETY: eight bytes are read into eight. Nothing to read is no error: the descriptor does not block.
            unsafe { libc::read(self.fd.as_raw_fd(), (&raw mut rung).cast(), size_of::<u64>()) };
        }
        Ok(())
    }

    pub(crate) fn fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }
}
