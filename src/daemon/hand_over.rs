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
use std::process::{Command, Stdio};
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
    pub(super) listeners: Vec<Place>,
    pub(super) connections: Vec<SessionKey>,
}

/// Connections that are passed, and closed here, at a time.
const BATCH: usize = 250;
/// Set in the units: the service manager keeps descriptors. It tells so itself only since systemd 254 (`$FDSTORE`).
const STORE: &str = "TELEX_STORE";
/// Where the process that this one becomes finds the descriptors: their numbers.
const DESCRIPTORS: &str = "TELEX_STATE_FD";

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
            HandingOver::Asked => match BackgroundTask::start(try_program, wakes(&self.waker)) {
                Ok(task) => Some(HandingOver::Trying(task)),
                Err(error) => self.refuse_hand_over(&error.to_string()),
            },
            HandingOver::Trying(task) => match task.outcome() {
                None => Some(HandingOver::Trying(task)),
                Some(Ok(Ok(()))) => Some(HandingOver::Ready),
                Some(Ok(Err(why))) => self.refuse_hand_over(&why),
                Some(Err(error)) => self.refuse_hand_over(&error.to_string()),
            },
            HandingOver::Ready => Some(HandingOver::Ready),
        };
    }

    fn refuse_hand_over(&mut self, why: &str) -> Option<HandingOver> {
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
        let Daemon { mut sockets, switch, .. } = self;
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
                sys::store(&descriptors).map_err(Fatal::doing("leaving all with the service manager"))?;
                Ok(End::HandedOver)
            }
            false => Err(Fatal::doing("becoming the program anew")(become_program(&descriptors))),
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
    for variable in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", DESCRIPTORS] {
        command.env_remove(variable);
    }
    command
}

/// Runs the program with `--check`, and says what is wrong if it could not start.
fn try_program() -> Result<(), String> {
    let mut command = program();
    command.arg("--check").env_remove("NOTIFY_SOCKET").stdin(Stdio::null()).stdout(Stdio::null());
    let done = command.output().map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    match done.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&done.stderr).trim_end().to_owned()),
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
