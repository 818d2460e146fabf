//! Knows whether the files are still there by which clients and other daemons find this one, and makes them again.
//! Never: what goes over a socket.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use crate::clock::Now;
use crate::config::Listen;
use crate::daemon::{Daemon, FILES, place};
use crate::sys::Watch;

/// When it is tried again to make a file that could not be made. The file system may be mounted by then.
const RETRY: Duration = Duration::from_secs(1);

/// The socket files and the file of the state, as far as they are watched.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// None if the kernel has none to give.
    watch: Option<Watch>,
    /// When they are to be looked at; none: when the kernel tells that something has changed.
    look_at: Option<Duration>,
    /// What is wrong with them, as the log has it.
    told: Vec<String>,
}

impl Reach {
    /// Something has changed: they are to be looked at.
    pub(super) fn changed(&mut self, now: Now) {
        self.look_at = Some(now.mono);
    }

    /// When they are to be looked at next, if that is known.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.look_at
    }
}

impl Daemon {
    /// Watches the files from now on.
    pub(super) fn watch_files(&mut self, now: Now) {
        let watching = Watch::new().and_then(|watch| {
            self.sockets.watch_descriptor(watch.as_fd(), FILES)?;
            Ok(watch)
        });
        match watching {
            Ok(watch) => self.reach.watch = Some(watch),
            Err(error) => self.switch.log.warn(&format!(
                "it cannot be noticed if a socket file or the state directory is removed: {error}"
            )),
        }
        self.look_after_files(now);
    }

    /// Makes the files again that are gone, and says what cannot be done, once.
    pub(super) fn look_after_files(&mut self, now: Now) {
        if let Some(watch) = &self.reach.watch {
            watch.clear();
        }
        let mut wrong = Vec::new();
        self.reach.look_at = None;
        for at in 0..self.sockets.listeners().len() {
            self.look_after_socket(at, now, &mut wrong);
        }
        self.look_after_state(now, &mut wrong);
        for text in wrong.iter().filter(|text| !self.reach.told.contains(text)) {
            self.switch.log.warn(text);
        }
        self.reach.told = wrong;
    }

    fn look_after_socket(&mut self, at: usize, now: Now, wrong: &mut Vec<String>) {
        let bound = &self.sockets.listeners()[at];
        let Some(path) = bound.file().map(Path::to_owned) else { return };
        if bound.has_file() {
            return self.watch_file(&path, now, wrong);
        }
        let name = path.display();
        if !bound.is_own() {
            return wrong.push(format!(
                "the socket file {name}, which the service manager has made, was removed: no client can connect \
                 before `systemctl restart telexd.socket`"
            ));
        }
        if self.started_with.listen == Listen::default() {
            // The daemon makes the directory of its default place itself. If that fails, so does what follows.
            let _ = place::address();
        }
        match bound.bind_again().and_then(|fresh| self.sockets.replace_listener(at, fresh)) {
            Ok(()) => {
                self.switch.log.warn(&format!("the socket file {name} was removed, and is made again"));
                self.watch_file(&path, now, wrong);
            }
            Err(error) => {
                self.reach.look_at = Some(now.mono + RETRY);
                wrong.push(format!(
                    "the socket file {name} was removed, and no client can connect: it cannot be made again, which \
                     is tried each second: {error}"
                ));
            }
        }
    }

    fn look_after_state(&mut self, now: Now, wrong: &mut Vec<String>) {
        let numbers = &mut self.switch.numbers;
        let path = numbers.path().to_owned();
        if numbers.has_file() {
            return self.watch_file(&path, now, wrong);
        }
        match numbers.make_again() {
            Ok(()) => {
                self.switch.log.warn(&format!("{} was removed, and is made again", path.display()));
                self.watch_file(&path, now, wrong);
            }
            Err(error) => {
                self.reach.look_at = Some(now.mono + RETRY);
                wrong.push(format!(
                    "{} was removed, and cannot be made again, which is tried each second: {error}",
                    path.display()
                ));
            }
        }
    }

    fn watch_file(&mut self, path: &Path, now: Now, wrong: &mut Vec<String>) {
        match self.reach.watch.as_ref().map(|watch| watch.add(path)) {
            // It has just been removed.
            Some(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => self.reach.changed(now),
            Some(Err(error)) => {
                wrong.push(format!("it cannot be noticed if {} is removed: {error}", path.display()));
            }
            None | Some(Ok(())) => {}
        }
    }
}
