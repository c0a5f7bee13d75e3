//! The program behind a producer or reader over the whole run: where one ends, another follows, until that makes no sense.

use std::sync::Arc;
use std::time::Duration;

use gauntlet_chaos::client::ClientOrder;
use gauntlet_wire::lateness::Lateness;
use gauntlet_wire::monotonic_ns;

use super::launch::{Assignment, Launch};
use super::lines::{self, Line};
use super::program::{Broken, ExternalError, Left, Next, Program};
use super::programs::Programs;

/// How long a program may take until it is ready: a JVM that compiles its source first, on a host that does other things.
const READY_LIMIT: Duration = Duration::from_secs(120);
/// How long it may take to end once it was told.
pub(super) const END_LIMIT: Duration = Duration::from_secs(10);
/// One that has ended is not followed by another sooner.
pub(super) const PAUSE_NS: u64 = 1_000_000_000;
/// Ends without any progress in between, after which there is no other.
const DEATHS_MAX: u32 = 5;
/// Sleeping is exact to about as much.
const GRANULARITY_NS: u64 = 1_000_000;
/// Loops wake at least so often.
const LONGEST_SLEEP_NS: u64 = 20_000_000;

/// See the head of this file.
#[derive(Debug)]
pub struct Partner {
    launch: Launch,
    state: State,
    /// Since there was progress.
    deaths: u32,
    membership: Membership,
    /// Programs whose places others have taken: nobody listens to what they say, and they are ended with the last.
    zombies: Vec<Program>,
}

/// What faults know of it, for as long as it has its part.
#[derive(Debug)]
struct Membership {
    programs: Arc<Programs>,
    name: String,
}

impl Membership {
    fn of(launch: &Launch) -> Self {
        launch.programs.enter(&launch.who);
        Membership { programs: Arc::clone(&launch.programs), name: launch.who.name.clone() }
    }

    fn ready(&self, program: Option<&Program>) {
        self.programs.ready(&self.name, program.map(Program::identity));
    }

    fn order(&self) -> ClientOrder {
        self.programs.order_of(&self.name)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.programs.leave(&self.name);
    }
}

#[derive(Debug)]
enum State {
    Starting { program: Program, until_ns: u64 },
    Ready(Program),
    Gone { not_before_ns: u64 },
}

/// What a wait for `ready` came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Ready,
    NotYet,
    Over,
}

impl Partner {
    /// Starts a program and waits until it is ready.
    ///
    /// # Errors
    /// It does not get ready, or is not needed any more.
    pub fn start(
        launch: Launch,
        plan: &Assignment,
        is_needed: impl Fn() -> bool,
    ) -> Result<Self, ExternalError> {
        const STEP_NS: u64 = 50_000_000;
        let mut program = Program::start(&launch, plan)?;
        let until_ns = monotonic_ns() + READY_LIMIT.as_nanos() as u64;
        loop {
            match wait_for_ready(&mut program)? {
                Start::Ready => break,
                Start::Over => return Err(never_ready(&mut program)),
                Start::NotYet if monotonic_ns() >= until_ns => return Err(not_ready(&mut program)),
                Start::NotYet if !is_needed() => {
                    return Err(ExternalError::NotNeeded { program: program.name().to_owned() });
                }
                Start::NotYet => program.wait(STEP_NS)?,
            }
        }
        let membership = Membership::of(&launch);
        membership.ready(Some(&program));
        Ok(Partner { launch, state: State::Ready(program), deaths: 0, membership, zombies: Vec::new() })
    }

    /// How it is started.
    #[must_use]
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// The program, if it takes work.
    pub fn ready(&mut self) -> Option<&mut Program> {
        match &mut self.state {
            State::Ready(program) => Some(program),
            State::Starting { .. } | State::Gone { .. } => None,
        }
    }

    /// Something was done: what ends from now on is the first again.
    pub fn note_progress(&mut self) {
        self.deaths = 0;
    }

    /// The program is over, or says that it can't go on. There will be another one.
    ///
    /// # Errors
    /// That has been so too often.
    pub fn bury(&mut self) -> Result<(), ExternalError> {
        let not_before_ns = monotonic_ns() + PAUSE_NS;
        let (State::Ready(mut program) | State::Starting { mut program, .. }) =
            std::mem::replace(&mut self.state, State::Gone { not_before_ns })
        else {
            return Ok(());
        };
        self.membership.ready(None);
        let how = program.bury();
        if self.membership.order() == ClientOrder::StayDown {
            // A fault has ended it.
            return Ok(());
        }
        self.deaths += 1;
        if self.deaths < DEATHS_MAX {
            return Ok(());
        }
        let (program, words) = (program.name().to_owned(), program.last_words());
        Err(ExternalError::KeepsDying { program, times: self.deaths, how, words })
    }

    /// Whether another program is to take the place of the one that was ready: that one is left as it is, and heard no more.
    pub fn is_replaced(&mut self) -> bool {
        let State::Ready(program) = &self.state else { return false };
        match self.membership.order() {
            ClientOrder::Replace(group) if group.leader == program.identity() => {}
            _ => return false,
        }
        self.membership.ready(None);
        if let State::Ready(program) = std::mem::replace(&mut self.state, State::Gone { not_before_ns: 0 }) {
            program.scribe().gauntlet("another one takes its place; what it says from now on is not heard");
            self.zombies.push(program);
        }
        true
    }

    /// Keeps their pipes from filling up, which would halt them.
    fn tend_zombies(&mut self) -> Result<(), ExternalError> {
        let mut over = Vec::new();
        for (i, zombie) in self.zombies.iter_mut().enumerate() {
            zombie.flush()?;
            zombie.wait(0)?;
            if zombie.read(|_, _| Ok(Next::Line))? == Left::Over {
                over.push(i);
            }
        }
        // Dropped, they are buried.
        over.into_iter().rev().for_each(|i| drop(self.zombies.swap_remove(i)));
        Ok(())
    }

    /// Starts another program when it is time, and waits for it in passing. True if it has just become ready.
    ///
    /// # Errors
    /// It can't be started, or does not get ready.
    pub fn tend(&mut self, plan: impl FnOnce(&Assignment) -> Assignment) -> Result<bool, ExternalError> {
        let now_ns = monotonic_ns();
        match &mut self.state {
            State::Ready(_) => Ok(false),
            State::Gone { not_before_ns } if now_ns < *not_before_ns => Ok(false),
            State::Gone { .. } if self.membership.order() == ClientOrder::StayDown => Ok(false),
            State::Gone { .. } => {
                let program = Program::start(&self.launch, &plan(&self.launch.plan))?;
                self.state = State::Starting { program, until_ns: now_ns + READY_LIMIT.as_nanos() as u64 };
                Ok(false)
            }
            State::Starting { program, until_ns } => match wait_for_ready(program)? {
                Start::NotYet if now_ns >= *until_ns => Err(not_ready(program)),
                Start::NotYet => Ok(false),
                Start::Over => self.bury().map(|()| false),
                Start::Ready => {
                    if let State::Starting { program, .. } =
                        std::mem::replace(&mut self.state, State::Gone { not_before_ns: 0 })
                    {
                        self.membership.ready(Some(&program));
                        self.state = State::Ready(program);
                    }
                    Ok(true)
                }
            },
        }
    }

    /// Sleeps until the program has something to say, at `until_ns` at the latest, and notes in `lateness` what was late about
    /// it. Returns the time.
    ///
    /// # Errors
    /// The operating system refuses to wait.
    pub fn sleep_until(&mut self, until_ns: u64, lateness: &mut Lateness) -> Result<u64, ExternalError> {
        self.tend_zombies()?;
        let began_ns = monotonic_ns();
        let timeout_ns = until_ns.saturating_sub(began_ns).min(LONGEST_SLEEP_NS);
        lateness.poll_begins(began_ns);
        match &mut self.state {
            State::Ready(program) | State::Starting { program, .. } => program.wait(timeout_ns)?,
            State::Gone { .. } => std::thread::sleep(Duration::from_nanos(timeout_ns)),
        }
        let now_ns = monotonic_ns();
        lateness.poll_ended(now_ns, timeout_ns + GRANULARITY_NS, true);
        Ok(now_ns)
    }

    /// Tells the program that this is all, and waits for its end. What it still says goes to `take`.
    ///
    /// # Errors
    /// What it says breaks the contract.
    pub fn finish(self, take: impl FnMut(&[u8], u64) -> Result<Next, Broken>) -> Result<(), ExternalError> {
        match self.state {
            State::Ready(program) => program.finish(END_LIMIT, take)?,
            State::Starting { .. } | State::Gone { .. } => {}
        }
        self.zombies.into_iter().try_for_each(|zombie| zombie.finish(END_LIMIT, |_, _| Ok(Next::Line)))
    }
}

/// Reads up to `ready`, and not further.
fn wait_for_ready(program: &mut Program) -> Result<Start, ExternalError> {
    program.flush()?;
    let mut start = Start::NotYet;
    let scribe = program.scribe().clone();
    let left = program.read(|line, _| match lines::parse(line)? {
        Line::Ready => {
            start = Start::Ready;
            Ok(Next::Stop)
        }
        Line::Log(text) => {
            scribe.log(text);
            Ok(Next::Line)
        }
        Line::Fatal(text) => {
            scribe.log(&format!("fatal: {text}"));
            start = Start::Over;
            Ok(Next::Stop)
        }
        _ => Err(Broken::OutOfPlace),
    })?;
    if start == Start::NotYet && left == Left::Over { Ok(Start::Over) } else { Ok(start) }
}

fn never_ready(program: &mut Program) -> ExternalError {
    let how = program.bury();
    ExternalError::NeverReady { program: program.name().to_owned(), how, words: program.last_words() }
}

fn not_ready(program: &mut Program) -> ExternalError {
    program.bury();
    let (limit_s, words) = (READY_LIMIT.as_secs(), program.last_words());
    ExternalError::NotReady { program: program.name().to_owned(), limit_s, words }
}
