//! Knows which process is at the other end of a Unix socket, from the kernel.
//! Never: what it may do.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::sync::LazyLock;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

/// What the kernel shows in place of users and groups that this process's user namespace does not map.
static OVERFLOW: LazyLock<(Option<u32>, Option<u32>)> = LazyLock::new(|| (overflow("uid"), overflow("gid")));

/// The process at the other end of a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its user; none if it cannot be told from others, because it is not mapped.
    pub uid: Option<u32>,
    /// Its group, likewise.
    pub gid: Option<u32>,
    /// Its process.
    pub pid: i32,
}

/// The process that opened this Unix socket's other end, as it was at that moment (SO_PEERCRED, unix(7)).
pub fn identify(socket: impl AsFd) -> io::Result<Peer> {
    let peer = getsockopt(&socket, PeerCredentials)?;
    let (no_uid, no_gid) = *OVERFLOW;
    let uid = Some(peer.uid()).filter(|uid| no_uid != Some(*uid));
    let gid = Some(peer.gid()).filter(|gid| no_gid != Some(*gid));
    Ok(Peer { uid, gid, pid: peer.pid() })
}

/// The number shown for all that are not mapped (`/proc/sys/kernel/overflowuid`, `overflowgid`); none if all are.
fn overflow(kind: &str) -> Option<u32> {
    const USUAL: u32 = 65_534;
    let map = fs::read_to_string(format!("/proc/self/{kind}_map")).unwrap_or_default();
    if maps_all(&map) {
        return None;
    }
    let number = fs::read_to_string(format!("/proc/sys/kernel/overflow{kind}"));
    Some(number.ok().and_then(|number| number.trim().parse().ok()).unwrap_or(USUAL))
}

/// Whether a map of users or groups (user_namespaces(7)) leaves none out. One that cannot be read may.
fn maps_all(map: &str) -> bool {
    let counts = map.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok());
    counts.sum::<u64>() >= u64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_of_a_map() {
        assert!(maps_all("         0          0 4294967295\n"));
        assert!(maps_all("0 0 1000\n1000 5000 4294966295\n"));
        assert!(!maps_all("         0       1000          1\n"));
        assert!(!maps_all(""), "it is hidden");
    }
}
