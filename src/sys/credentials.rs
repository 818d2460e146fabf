//! Knows which process is at the other end of a Unix socket, from the kernel.
//! Never: what it may do.

use std::io;
use std::os::fd::AsFd;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use crate::core::Identity;

/// The process that opened this Unix socket's other end, as it was at that moment (SO_PEERCRED,
/// unix(7)).
pub fn identify(socket: impl AsFd) -> io::Result<Identity> {
    let peer = getsockopt(&socket, PeerCredentials)?;
    Ok(Identity::Kernel { uid: peer.uid(), gid: peer.gid(), pid: peer.pid() })
}
