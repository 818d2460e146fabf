//! Knows how a daemon goes on with all that another process has handed over to it (`hand_over`).
//! Never: what the core's state is.

use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;

use crate::clock::Now;
use crate::core::{Core, Input, STATE_VERSION, SessionKey};
use crate::daemon::Daemon;
use crate::daemon::hand_over::Passed;
use crate::daemon::log::Log;
use crate::listen::{Inherited, Place};
use crate::net::{self, Bound, Stream, is_listening};
use crate::sys::{self, Found, Incoming, State};

/// What was found, and is not taken yet: a start that fails leaves it to the next one.
#[derive(Debug)]
pub(super) struct TakingOver {
    incoming: Incoming,
    passed: Passed,
}

/// What came from outside at the start, by what it is for.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    /// Listening sockets of the service manager.
    pub(super) listeners: Vec<OwnedFd>,
    /// What another process of the service has left.
    pub(super) left: Vec<OwnedFd>,
    /// Names of descriptors that the service manager is to keep no longer.
    pub(super) forgotten: Vec<String>,
}

/// Sorts what the service manager has handed over. What it has kept and is of no use is closed: a later version may have
/// left it.
pub(super) fn sort(inherited: Vec<Inherited>, log: &mut Log) -> Sorted {
    let mut sorted = Sorted::default();
    for Inherited { socket, name } in inherited {
        if name == sys::HANDOVER {
            sorted.left.push(socket);
            sorted.forgotten = vec![name];
        } else if is_of_socket_unit(&name) || is_listening(&socket) == Some(true) {
            // One that does not listen is told of where it is adopted.
            sorted.listeners.push(socket);
        } else {
            log.warn(&format!(
                "the service manager has kept a descriptor {name:?}, which is of no use and is closed"
            ));
            sorted.forgotten.push(name);
        }
    }
    sorted
}

/// Whether a descriptor has a name that one of a socket unit has (systemd.socket(5), `FileDescriptorName=`), or none.
fn is_of_socket_unit(name: &str) -> bool {
    name.ends_with(".socket") || ["connection", "unknown"].contains(&name)
}

impl TakingOver {
    /// Looks through what another process has left, and has a core go on with its state; one that is `fresh` if there is
    /// none. A state that cannot be gone on with is never guessed at: its connections are closed.
    pub(super) fn find(
        left: Vec<OwnedFd>,
        fresh: impl Fn() -> Core,
        log: &mut Log,
    ) -> (Core, Option<TakingOver>) {
        let Found { incoming, mut refused, mut abandoned } = Incoming::find(STATE_VERSION, left);
        let mut goes_on = None;
        if let Some(incoming) = incoming {
            let read = postcard::take_from_bytes::<Passed>(incoming.state()).map_err(io::Error::other);
            match read.and_then(|(passed, state)| Ok((passed, fresh().restore(state)?))) {
                Ok((passed, core)) => goes_on = Some((core, TakingOver { incoming, passed })),
                Err(error) => {
                    refused.push(format!("it cannot be read: {error}"));
                    let taken = incoming.take().unwrap_or_default();
                    abandoned.extend(taken.into_iter().map(|(_, descriptor)| descriptor));
                }
            }
        }
        for why in refused {
            log.error(&format!("a state that was handed over is not gone on with: {why}"));
        }
        match close_all(abandoned) {
            0 => {}
            closed => log.error(&format!("{closed} connections that were handed over are closed")),
        }
        match goes_on {
            Some((core, taking_over)) => (core, Some(taking_over)),
            None => (fresh(), None),
        }
    }

    /// The next connection's number.
    pub(super) fn next_number(&self) -> u64 {
        self.passed.next_number
    }

    /// Where the listeners listen that come with it.
    pub(super) fn places(&self) -> &[Place] {
        &self.passed.listeners
    }

    /// Takes all of it: from now on no other process can. Gives the listeners as far as `wants` them; the files of others
    /// are removed.
    pub(super) fn take(self, wants: impl Fn(&Place) -> bool, log: &mut Log) -> io::Result<Taken> {
        let TakingOver { incoming, passed } = self;
        let mut taken = Taken::default();
        if let Some((level, until)) = passed.log_level {
            log.set_level_until(level, until);
        }
        for (at, descriptor) in incoming.take()? {
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            if let Some(place) = passed.listeners.get(at) {
                match wants(place) {
                    true => taken.listeners.push(net::take_over(descriptor, place.clone())?),
                    false => forget(place, log),
                }
            } else if let Some(&key) = passed.connections.get(at - passed.listeners.len())
                && let Ok(stream) = Stream::passed(descriptor)
            {
                // One that cannot be gone on with is lost, and no other with it.
                taken.connections.push((key, stream));
            }
        }
        let there: HashSet<_> = taken.connections.iter().map(|(key, _)| *key).collect();
        taken.lost.extend(passed.connections.into_iter().filter(|key| !there.contains(key)));
        Ok(taken)
    }
}

/// What has been taken.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) listeners: Vec<Bound>,
    pub(super) connections: Vec<(SessionKey, Stream)>,
    /// Connections that could not be passed.
    pub(super) lost: Vec<SessionKey>,
}

/// Closes what is a connection, and says how many those were.
fn close_all(descriptors: Vec<OwnedFd>) -> usize {
    // Shutting a listener down would end it for the service manager, too.
    let is_connection = |descriptor: &OwnedFd| is_listening(descriptor) == Some(false);
    let connections =
        descriptors.into_iter().filter(is_connection).filter_map(|one| Stream::passed(one).ok());
    connections.map(Stream::close).count()
}

fn forget(place: &Place, log: &mut Log) {
    if let Err(error) = place.remove_file() {
        log.warn(&format!("cannot remove the socket of {}: {error}", place.address));
    }
}

impl Daemon {
    /// Goes on with the connections that were taken over.
    pub(super) fn go_on_with(
        &mut self,
        connections: Vec<(SessionKey, Stream)>,
        mut lost: Vec<SessionKey>,
        now: Now,
    ) {
        self.switch.log.notice(&format!("taken over, with {} connections", connections.len()));
        let mut keys = Vec::with_capacity(connections.len());
        for (key, stream) in connections {
            match self.sockets.take_over(key, stream) {
                Ok(()) => keys.push(key),
                Err(_) => lost.push(key),
            }
        }
        let switch = &mut self.switch;
        switch.core.replay(&mut |happened| switch.plugins.happened(&happened));
        for session in keys {
            // An order to resume it may have been on its way.
            switch.tell(Input::Resumed { session }, &mut self.sockets, now);
            // Whether it has room is told only behind a write that finds none.
            switch.flush(session, &mut self.sockets, now);
        }
        for key in lost {
            switch.lose(key, &mut self.sockets, now);
        }
        let limits = Box::new(self.config.limits.clone());
        switch.tell(Input::LimitsChanged(limits), &mut self.sockets, now);
    }

    /// The service manager is not to hand over again what has been taken.
    pub(super) fn forget_what_was_left(&mut self, names: Vec<String>) {
        for name in names {
            self.service_manager.tell(State::Forget(name));
        }
    }
}
