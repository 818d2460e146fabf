//! Knows who is at the other end of a connection, as the kernel vouches for it.
//! Never: what they may do.

/// Who opened a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What the connection runs over.
    pub transport: Transport,
    /// Who it is.
    pub identity: Identity,
    /// Whether `kill`, `tap` and `reload` are open to it.
    pub administrator: bool,
}

/// What a connection runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
pub enum Identity {
    /// Of the process that connected, as SO_PEERCRED says (unix(7)). The pid is for display only:
    /// it may be another process by now.
    #[expect(missing_docs, reason = "the names are the kernel's")]
    Kernel { uid: u32, gid: u32, pid: i32 },
    /// Nobody asked: TCP without authentication.
    Anonymous,
}

/// The user a connection counts as: who may share a node ID, and whose connections are counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum User {
    /// A uid of this machine.
    Uid(u32),
    /// All of TCP without authentication.
    Anonymous,
}

impl Peer {
    /// The uid, where the kernel has said.
    pub fn uid(&self) -> Option<u32> {
        match self.identity {
            Identity::Kernel { uid, .. } => Some(uid),
            Identity::Anonymous => None,
        }
    }

    /// The user this peer counts as.
    pub fn user(&self) -> User {
        match self.identity {
            Identity::Kernel { uid, .. } => User::Uid(uid),
            Identity::Anonymous => User::Anonymous,
        }
    }
}
