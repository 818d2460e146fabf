//! Knows who is at the other end of a Unix socket, as the core takes it.
//! Never: how the kernel tells.

use std::io;
use std::os::fd::AsFd;

use crate::core::Identity;
use crate::listen::{self, Peer};

/// The process that opened this Unix socket's other end, as it was at that moment.
pub fn identify(socket: impl AsFd) -> io::Result<Identity> {
    listen::identify(socket).map(|Peer { uid, gid, pid }| Identity::Kernel { uid, gid, pid })
}
