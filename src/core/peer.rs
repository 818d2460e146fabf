//! Knows who is at the other end of a connection, as the kernel vouches for it.
//! Never: what they may do.

use crate::wire::json::Object;

/// The peer of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub struct Peer {
    /// What the connection runs over.
    pub transport: Transport,
    /// Its identity.
    pub identity: Identity,
    /// Whether `kill`, `tap` and `reload` are open to it.
    pub administrator: bool,
}

/// What a connection runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub enum Transport {
    /// A Unix stream socket.
    Unix,
    /// TCP.
    Tcp,
}

impl Transport {
    /// The word on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Transport::Unix => "unix",
            Transport::Tcp => "tcp",
        }
    }
}

/// What is known of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub enum Identity {
    /// Of the process that connected, as SO_PEERCRED says (unix(7)).
    Kernel {
        /// Its user; none if that is not mapped in the daemon's user namespace (user_namespaces(7)): then the
        /// kernel shows every such user as the same one.
        uid: Option<u32>,
        /// Its group; none if that is not mapped.
        gid: Option<u32>,
        /// For display only: it may be another process by now.
        pid: i32,
    },
    /// Unknown: TCP without authentication.
    Anonymous,
}

/// The user a connection counts as: connections of one user may share a node ID, and are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub enum User {
    /// A uid of this machine.
    Uid(u32),
    /// All whose uids are not mapped. They may be any users, so no two of them are the same one; but for bounds
    /// per user they count together.
    Unmapped,
    /// All of TCP without authentication.
    Anonymous,
}

impl User {
    /// Whether connections of these two users are one user's.
    pub fn is_same(&self, other: &User) -> bool {
        self == other && *self != User::Unmapped
    }
}

impl Peer {
    /// The uid, if the kernel has said.
    pub fn uid(&self) -> Option<u32> {
        match self.identity {
            Identity::Kernel { uid, .. } => uid,
            Identity::Anonymous => None,
        }
    }

    /// Writes `uid`, `gid` and `pid`, if the kernel has said.
    pub(crate) fn write_identity(&self, object: &mut Object<'_>) {
        match &self.identity {
            Identity::Kernel { uid, gid, pid } => {
                if let Some(uid) = uid {
                    object.number("uid", *uid);
                }
                if let Some(gid) = gid {
                    object.number("gid", *gid);
                }
                object.number("pid", *pid);
            }
            Identity::Anonymous => {}
        }
    }

    /// The user this peer counts as.
    pub fn user(&self) -> User {
        match self.identity {
            Identity::Kernel { uid, .. } => uid.map_or(User::Unmapped, User::Uid),
            Identity::Anonymous => User::Anonymous,
        }
    }
}
