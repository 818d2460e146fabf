//! Knows the process groups of commands that run, and how they are ended.
//! Never: what a command is run for.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// The groups of the commands that one verb runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups(Arc<Mutex<Running>>);

#[derive(Debug, Default)]
struct Running {
    groups: Vec<Group>,
    /// No command is started any more.
    is_over: bool,
}

/// The processes of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    leader: Pid,
    is_for_request: bool,
}

impl Groups {
    /// Starts a command in a group of its own.
    pub(crate) fn start(&self, command: &mut Command, is_for_request: bool) -> io::Result<(Child, Group)> {
        let mut running = self.running();
        if running.is_over {
            return Err(io::Error::other("not started, since all is to end"));
        }
        let child = command.process_group(0).spawn()?;
        let leader = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
        let group = Group { leader, is_for_request };
        running.groups.push(group);
        Ok((child, group))
    }

    /// The command has ended; what it has left behind may go on.
    pub(crate) fn forget(&self, group: Group) {
        self.running().groups.retain(|one| *one != group);
    }

    /// Kills the commands that run for requests.
    pub(crate) fn kill_requests(&self) {
        self.running().groups.iter().filter(|group| group.is_for_request).for_each(Group::kill);
    }

    /// Kills all commands; no other is started from now on.
    pub(crate) fn kill_all(&self) {
        let mut running = self.running();
        running.is_over = true;
        running.groups.iter().for_each(Group::kill);
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Group {
    /// Kills its processes; they may be gone.
    pub(crate) fn kill(&self) {
        let _ = killpg(self.leader, Signal::SIGKILL);
    }
}
