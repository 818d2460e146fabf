//! Knows what the system says of the process at the other end of a connection.
//! Never: more than may be read; what cannot be known is a dash.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::unistd::{SysconfVar, Uid, User, sysconf};
use serde_json::Value;

const UNKNOWN: &str = "-";

/// The process of a connection, and its user and unit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: String,
    pub(crate) name: String,
    pub(crate) user: String,
    pub(crate) unit: String,
}

impl Process {
    /// What is known of the one that an entry of the daemon's names by `pid`, `uid` and `since`.
    pub(crate) fn of(entry: &Value) -> Process {
        let unknown = || UNKNOWN.to_owned();
        let (pid, uid, since) = (entry["pid"].as_u64(), entry["uid"].as_u64(), entry["since"].as_f64());
        // By now the number may be another process's.
        let own = pid.filter(|&pid| is_same(pid, uid, since));
        Process {
            pid: pid.map_or_else(unknown, |pid| pid.to_string()),
            name: own.and_then(name).unwrap_or_else(unknown),
            user: uid.map_or_else(unknown, user),
            unit: own.and_then(unit).unwrap_or_else(unknown),
        }
    }
}

/// Whether the process of this number is the one that connected: it is the user's, and was there by then.
fn is_same(pid: u64, uid: Option<u64>, since: Option<f64>) -> bool {
    let owner = fs::metadata(format!("/proc/{pid}")).map(|of| u64::from(of.uid()));
    let began = began(pid);
    matches!((owner, uid), (Ok(owner), Some(uid)) if owner == uid)
        && matches!((began, since), (Some(began), Some(since)) if began.as_secs_f64() <= since + 0.02)
}

/// When a process began, since 1970, to a hundredth of a second (proc(5)).
fn began(pid: u64) -> Option<Duration> {
    const START_TIME: usize = 19;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may have brackets and spaces in it.
    let ticks: u32 = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(START_TIME)?.parse().ok()?;
    let hertz: u32 = sysconf(SysconfVar::CLK_TCK).ok()??.try_into().ok()?;
    Some(booted()? + Duration::from_secs(1) * ticks / hertz)
}

/// When the machine was started, since 1970.
fn booted() -> Option<Duration> {
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let seconds: f64 = uptime.split_ascii_whitespace().next()?.parse().ok()?;
    SystemTime::now().duration_since(UNIX_EPOCH).ok()?.checked_sub(Duration::from_secs_f64(seconds))
}

fn name(pid: u64) -> Option<String> {
    Some(fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim_end_matches('\n').to_owned())
}

/// The name of a user, or its number.
pub(crate) fn user(uid: u64) -> String {
    let known = u32::try_from(uid).ok().and_then(|uid| User::from_uid(Uid::from_raw(uid)).ok().flatten());
    known.map_or_else(|| uid.to_string(), |user| user.name)
}

/// The unit of systemd's that a process belongs to (cgroup v2, systemd.unit(5)).
fn unit(pid: u64) -> Option<String> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    unit_of(groups.lines().find_map(|line| line.strip_prefix("0::"))?)
}

fn unit_of(path: &str) -> Option<String> {
    let is_unit = |part: &&str| [".service", ".scope", ".slice"].iter().any(|end| part.ends_with(end));
    path.split('/').rev().find(is_unit).filter(|unit| !unit.ends_with(".slice")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn this_process_is_known_and_no_later_one() {
        let (pid, uid) = (std::process::id(), nix::unistd::getuid().as_raw());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs_f64();
        let own = Process::of(&json!({"pid": pid, "uid": uid, "since": now}));
        assert_ne!((&*own.name, &*own.user), (UNKNOWN, UNKNOWN));
        let earlier = Process::of(&json!({"pid": pid, "uid": uid, "since": now - 1e6}));
        assert_eq!((earlier.name, earlier.pid), (UNKNOWN.to_owned(), pid.to_string()));
        let others = Process::of(&json!({"pid": pid, "uid": uid + 1, "since": now}));
        assert_eq!(others.name, UNKNOWN);
        let none = Process::of(&json!({"unique_id": ":7"}));
        assert_eq!((&*none.pid, &*none.user, &*none.unit), (UNKNOWN, UNKNOWN, UNKNOWN));
    }

    #[test]
    fn units() {
        assert_eq!(unit_of("/system.slice/web.service"), Some("web.service".to_owned()));
        let session = "/user.slice/user-1000.slice/session-4.scope";
        assert_eq!(unit_of(session), Some("session-4.scope".to_owned()));
        assert_eq!(unit_of("/system.slice/web.service/worker"), Some("web.service".to_owned()));
        assert_eq!(unit_of("/user.slice"), None);
        assert_eq!(unit_of("/"), None);
    }
}
