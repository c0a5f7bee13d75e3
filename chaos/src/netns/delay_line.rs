//! A delay line: a device that is plugged into the bridge, and a thread that puts back late what was led into it.
//!
//! The device is a TAP: what the kernel sends to it we read, and what we write enters the bridge, which delivers it as if it had come
//! from its sender. So bridge, addresses and connections know nothing of it, and every packet is late: those that open a connection, and
//! acknowledgements. `sch_netem` does the same in the kernel, but kernels of virtual machines and containers often lack that module, and have
//! TAP devices, as VPNs need them. One way for all was chosen over a second one that only some could test.
//!
//! The device is gone when nobody holds it open any more, so a killed supervisor leaves none.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::libc;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sched::{CloneFlags, setns};
use nix::sys::time::TimeSpec;

use super::enter::{NAMES, Namespace};
use super::filter::Line;
use super::late::Late;
use super::layout::BRIDGE;
use super::tools::{Tool, ToolError, run};
use crate::clock::monotonic_ns;

/// Where TAP devices are made.
pub(super) const TAP_DEVICES: &str = "/dev/net/tun";
/// What waits for our thread at most, packets: a device of this kind has room for 500 otherwise.
const QUEUE: &str = "10000";
/// The largest that can be read: segments of TCP are cut to the device's MTU by the kernel.
const FRAME_MAX: usize = 64 << 10;
/// So many are read before those that are due are looked at again.
const READ_AT_ONCE: usize = 256;
/// How long the bridge may take to notice that something was plugged in. A busy kernel takes up to a second.
const PLUG_IN_LIMIT: Duration = Duration::from_secs(30);

/// A delay line that works, until it is dropped: what waits then is sent on at once, in its order.
#[derive(Debug)]
pub(super) struct DelayLine {
    /// Closed to end the thread.
    running: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl DelayLine {
    /// Makes a line and plugs it into the bridge of `switch`.
    pub(super) fn plug_in(switch: &str, line: &Line) -> Result<Self, String> {
        let failed = |error: io::Error| format!("cannot make a delay line in {switch}: {error}");
        let tap = tap_in(switch, &line.name).map_err(failed)?;
        let (running, ended) = UnixStream::pair().map_err(failed)?;
        let late = Late::new(line, monotonic_ns());
        let thread = thread::Builder::new()
            .name(line.name.clone())
            .spawn(move || carry(&tap, &ended, late))
            .map_err(failed)?;
        let made = Self { running: Some(running), thread: Some(thread) };
        attach(switch, &line.name)?;
        Ok(made)
    }
}

impl Drop for DelayLine {
    fn drop(&mut self) {
        drop(self.running.take());
        // A thread that panicked has told so, and its device is gone.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A new TAP device of this name in the namespace `switch`. It is there as long as the file is open, wherever that is.
fn tap_in(switch: &str, name: &str) -> io::Result<File> {
    let switch = File::open(format!("{NAMES}/{switch}"))?;
    let name = name.to_owned();
    // A namespace is that of a thread, and who opens the device decides where it is.
    let opened = thread::spawn(move || {
        setns(switch, CloneFlags::CLONE_NEWNET)?;
        tap(&name)
    });
    opened.join().unwrap_or_else(|_| Err(io::Error::other("the thread that opens it has panicked")))
}

/// A new TAP device in the namespace of this thread.
pub(super) fn tap(name: &str) -> io::Result<File> {
    nix::ioctl_write_ptr_bad!(
        set_interface,
        nix::request_code_write!(b'T', 202, size_of::<libc::c_int>()),
        libc::ifreq
    );
    let tap = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(TAP_DEVICES)?;
    // SAFETY: all of a `ifreq` are integers, bytes and pointers, of which zeros are valid values.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    // Frames with their Ethernet headers, and nothing in front of them.
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: TUNSETIFF reads an `ifreq`, which lives through the call, and the descriptor is that of the device.
    unsafe { set_interface(tap.as_raw_fd(), &raw const request) }?;
    Ok(tap)
}

/// Makes the device `name` a port of the bridge, and waits until what it sends is passed on.
fn attach(switch: &str, name: &str) -> Result<(), String> {
    let inside = Namespace::Named(switch.to_owned());
    let ip = |args: &str| run(Tool::Ip, Some(&inside), &args.split(' ').collect::<Vec<_>>(), "");
    let wired = || -> Result<(), ToolError> {
        ip(&format!("link set {name} txqueuelen {QUEUE} master {BRIDGE}"))?;
        // What it sends is from others, whose ports the bridge knows; and it is sent what is led here, nothing else.
        ip(&format!(
            "link set {name} type bridge_slave learning off flood off mcast_flood off bcast_flood off"
        ))?;
        ip(&format!("link set {name} up")).map(|_| ())
    };
    wired().map_err(|error| error.to_string())?;
    let begun = Instant::now();
    while !ip(&format!("-d link show dev {name}"))
        .map_err(|error| error.to_string())?
        .contains("state forwarding")
    {
        if begun.elapsed() > PLUG_IN_LIMIT {
            return Err(format!("the bridge in {switch} does not pass on what {name} sends"));
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// The thread: until the other end of `ended` is closed, or the device is gone.
fn carry(tap: &File, ended: &UnixStream, mut late: Late) {
    let mut frame = vec![0; FRAME_MAX];
    loop {
        for _ in 0..READ_AT_ONCE {
            let Ok(length) = (&*tap).read(&mut frame) else { break };
            late.take(&frame[..length], monotonic_ns());
        }
        send_due(tap, &mut late, monotonic_ns());
        match wait(tap, ended, late.due_ns()) {
            Woken::Ready => {}
            Woken::Ended => return send_due(tap, &mut late, u64::MAX),
            Woken::Gone => return,
        }
    }
}

/// What the device does not take is lost, as on a wire.
fn send_due(mut tap: &File, late: &mut Late, now_ns: u64) {
    while let Some(frame) = late.next_due(now_ns) {
        let _ = tap.write(&frame);
    }
}

/// Why the thread goes on.
enum Woken {
    /// There may be something to read, or something due.
    Ready,
    /// It is told to end.
    Ended,
    /// Its device is gone.
    Gone,
}

/// Waits for a frame, the end, or `due_ns`.
fn wait(tap: &File, ended: &UnixStream, due_ns: Option<u64>) -> Woken {
    let left = due_ns.map(|due_ns| Duration::from_nanos(due_ns.saturating_sub(monotonic_ns())));
    let mut waited =
        [PollFd::new(tap.as_fd(), PollFlags::POLLIN), PollFd::new(ended.as_fd(), PollFlags::POLLIN)];
    // An interruption is as good as anything else to look again.
    if ppoll(&mut waited, left.map(TimeSpec::from), None).is_err() {
        return Woken::Ready;
    }
    let [tap, ended] = waited.map(|one| one.revents().unwrap_or(PollFlags::empty()));
    if !ended.is_empty() {
        Woken::Ended
    } else if tap.intersects(PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL) {
        Woken::Gone
    } else {
        Woken::Ready
    }
}
