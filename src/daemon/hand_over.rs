//! Knows how a daemon hands all that it has to the process that goes on: when, in which order, and by which way.
//! Never: what the core's state is, or how the other process goes on.
//!
//! SIGUSR2 asks for it. There are two ways. Where the service manager keeps descriptors of a service that restarts, they
//! are left with it, and it starts the other process (sd_notify(3), `FDSTORE=1`). Elsewhere this process becomes the
//! other one (execve(2)), once a trial run has said that it could start.

use std::env;
use std::ffi::OsString;
use std::io::{self, BufWriter};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Now;
use crate::core::{Core, Input, Level, Outcome, STATE_VERSION, SessionKey};
use crate::daemon::reload::Reloading;
use crate::daemon::switch::Switch;
use crate::daemon::{Daemon, End, Fatal, wakes};
use crate::listen::Place;
use crate::net::Stream;
use crate::sys::{self, BackgroundTask, Outgoing};

/// How far a hand-over has come.
#[derive(Debug)]
pub(super) enum HandingOver {
    /// A signal has asked for it.
    Asked,
    /// The program is run for a trial; the error is what is wrong.
    Trying(BackgroundTask<Result<(), String>>),
    /// It is done behind this turn.
    Ready,
}

/// What goes in front of the core's state: what the descriptors are of, in their order.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Passed {
    /// What an administrator has put in the place of the configuration's, and until when that holds.
    pub(super) log_level: Option<(Level, Option<Duration>)>,
    /// The next connection's number: the state directory may be another one.
    pub(super) next_number: u64,
    pub(super) listeners: Vec<Place>,
    pub(super) connections: Vec<SessionKey>,
}

/// Connections that are passed, and closed here, at a time.
const BATCH: usize = 250;
/// Set in the units: the service manager keeps descriptors. It tells so itself only since systemd 254 (`$FDSTORE`).
const STORE: &str = "TELEX_STORE";
/// Where the process that this one becomes finds the descriptors: their numbers.
const DESCRIPTORS: &str = "TELEX_STATE_FD";
/// What a program that is tried finds the version of the state in that it is to go on with.
const VERSION: &str = "TELEX_STATE_VERSION";
/// A trial that takes longer has failed.
const TRIAL_MAX: Duration = Duration::from_secs(30);

/// The descriptors that the process which has become this one has left. To be called once, before anything is opened.
/// Fails if one of them is not open.
pub fn left_to_this_process() -> io::Result<Vec<OwnedFd>> {
    match env::var(DESCRIPTORS) {
        Ok(numbers) => sys::inherited_by_number(&numbers),
        Err(_) => Ok(Vec::new()),
    }
}

impl Daemon {
    /// Goes on with a hand-over that was asked for, as far as it has come.
    pub(super) fn go_on_with_hand_over(&mut self) {
        let Some(handing_over) = self.handing_over.take() else { return };
        if self.stop_at.is_some() {
            return;
        }
        self.handing_over = match handing_over {
            HandingOver::Asked if has_store() => Some(HandingOver::Ready),
            HandingOver::Asked => {
                self.give_descriptors_up();
                match BackgroundTask::start(try_program, wakes(&self.waker)) {
                    Ok(task) => Some(HandingOver::Trying(task)),
                    Err(error) => self.refuse_hand_over(&error.to_string()),
                }
            }
            HandingOver::Trying(task) => match task.outcome() {
                None => Some(HandingOver::Trying(task)),
                Some(Ok(Ok(()))) => Some(HandingOver::Ready),
                Some(Ok(Err(why))) => self.refuse_hand_over(&why),
                Some(Err(error)) => self.refuse_hand_over(&error.to_string()),
            },
            HandingOver::Ready => Some(HandingOver::Ready),
        };
    }

    /// At the limit of open files it takes some all the same.
    fn give_descriptors_up(&mut self) {
        self.sockets.keep_for_files(0);
        self.sockets.keep_back(0);
    }

    fn refuse_hand_over(&mut self, why: &str) -> Option<HandingOver> {
        self.keep_descriptors();
        self.switch
            .log
            .error(&format!("this process goes on, as the program cannot take over from it: {why}"));
        None
    }

    /// Whether it is time to hand over.
    pub(super) fn hands_over(&self) -> bool {
        matches!(self.handing_over, Some(HandingOver::Ready))
    }

    /// Hands everything over. Behind this there is nothing left to serve with.
    pub(super) fn hand_over(mut self, now: Now) -> Result<End, Fatal> {
        self.come_to_rest(now);
        self.give_descriptors_up();
        let Daemon { mut sockets, switch, signals, service_manager, .. } = self;
        let Switch { core, plugins, mut log, mut numbers, .. } = switch;
        log.for_plugins(false);
        for note in plugins.end() {
            log.note(note);
        }
        if let Err(error) = numbers.close() {
            log.warn(&error.to_string());
        }
        let connections = sockets.give_away();
        let passed = Passed {
            log_level: log.asked_level(),
            next_number: numbers.next(),
            listeners: sockets.listeners().iter().map(|bound| bound.place().clone()).collect(),
            connections: connections.iter().map(|(key, _)| *key).collect(),
        };
        let listeners: Vec<_> = sockets.listeners().iter().map(AsFd::as_fd).collect();
        let left = leave(&passed, core, now)
            .and_then(|outgoing| pass(outgoing, &listeners, connections))
            .map_err(Fatal::doing("handing over"));
        let (descriptors, refused) = left?;
        if refused > 0 {
            log.error(&format!("{refused} connections are closed: the kernel has no room to pass them on"));
        }
        drop(log);
        match has_store() {
            true => {
                service_manager
                    .store(&descriptors)
                    .map_err(Fatal::doing("leaving all with the service manager"))?;
                Ok(End::HandedOver)
            }
            false => {
                signals.leave_to_next().map_err(Fatal::doing("blocking signals"))?;
                Err(Fatal::doing("becoming the program anew")(become_program(&descriptors)))
            }
        }
    }

    /// Leaves nothing under way beside the loop: what has been taken is a connection, what has been asked of the daemon
    /// itself is answered, and no order is left.
    fn come_to_rest(&mut self, now: Now) {
        self.switch.accept(&mut self.sockets, now);
        self.sockets.stop_accepting();
        while let Some(newcomer) = self.sockets.next_newcomer() {
            self.switch.welcome(newcomer, &mut self.sockets, now);
        }
        self.tell_settings(now);
        let tokens = self.reloading.take().map(Reloading::tokens).unwrap_or_default();
        for token in tokens.into_iter().chain(std::mem::take(&mut self.switch.reloads)) {
            let outcome = Outcome::Failed("the daemon restarts, and reads its configuration at its start");
            self.switch.tell(Input::Done { token, outcome }, &mut self.sockets, now);
        }
        let connections = self.switch.core.connections();
        self.switch.log.notice(&format!("handing over, with {connections} connections"));
        self.switch.plugins.stopping();
        self.switch.carry_out(&mut self.sockets, now);
        self.switch.publish_log(&mut self.sockets, now);
        self.switch.write_all(&mut self.sockets, now);
        self.switch.hand_over_log(now);
        self.switch.carry_out(&mut self.sockets, now);
    }
}

/// Writes all state down.
fn leave(passed: &Passed, core: Core, now: Now) -> io::Result<Outgoing> {
    let number = u64::try_from(now.mono.as_nanos()).unwrap_or(u64::MAX);
    let mut out = BufWriter::with_capacity(1 << 18, Outgoing::new(STATE_VERSION, number)?);
    postcard::to_io(passed, &mut out).map_err(io::Error::other)?;
    core.save(&mut out)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)
}

/// Passes all sockets, and closes them here. Gives what the other process needs, and how many could not be passed.
fn pass(
    mut outgoing: Outgoing,
    listeners: &[BorrowedFd<'_>],
    connections: Vec<(SessionKey, Stream)>,
) -> io::Result<(Vec<OwnedFd>, usize)> {
    let mut refused = outgoing.pass(0, listeners)?;
    let mut place = listeners.len();
    let mut rest = connections.into_iter();
    loop {
        let batch: Vec<_> = rest.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            return Ok((outgoing.finish()?, refused));
        }
        let descriptors: Vec<_> = batch.iter().map(|(_, stream)| stream.as_fd()).collect();
        refused += outgoing.pass(place as u64, &descriptors)?;
        place += batch.len();
    }
}

fn has_store() -> bool {
    env::var_os(STORE).is_some() && env::var_os("NOTIFY_SOCKET").is_some()
}

/// The program as it was started: whatever is at its path by now.
fn program() -> Command {
    let mut words = env::args_os();
    let mut command = Command::new(words.next().unwrap_or_else(|| OsString::from("telexd")));
    command.args(words);
    for variable in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", DESCRIPTORS, VERSION] {
        command.env_remove(variable);
    }
    command
}

/// Runs the program with `--check`, and says what is wrong if it could not start, or could not read the state.
fn try_program() -> Result<(), String> {
    let mut command = program();
    command.arg("--check").env_remove("NOTIFY_SOCKET").env(VERSION, STATE_VERSION.to_string());
    let done = sys::run(&mut command, TRIAL_MAX);
    let (status, said) = done.map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    match status.success() {
        true => Ok(()),
        false => Err(said.trim_end().to_owned()),
    }
}

/// Fails if the process that has this one check its configuration would hand a state over that this program does not
/// read.
pub(super) fn check_version() -> io::Result<()> {
    match env::var(VERSION) {
        Ok(version) if version != STATE_VERSION.to_string() => {
            let text =
                format!("the version of its state is {version}, and this program reads {STATE_VERSION}");
            Err(io::Error::new(io::ErrorKind::Unsupported, text))
        }
        _ => Ok(()),
    }
}

/// Becomes the program anew; comes back only if that fails.
fn become_program(descriptors: &[OwnedFd]) -> io::Error {
    let numbers = match sys::inherit(descriptors) {
        Ok(numbers) => numbers,
        Err(error) => return error,
    };
    program().env(DESCRIPTORS, numbers).exec()
}
