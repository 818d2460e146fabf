//! Knows why a request of a cluster has failed, and how to say it to people.
//! Never: what is done about it.

use std::fmt;

/// Why a request failed. `Display` is a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What kind of failure the last try ended in.
    pub kind: ErrorKind,
    /// The server of the last try, as an address; none if there was no try.
    pub server: Option<String>,
    /// How many tries there were, the first one included.
    pub tries: u32,
    /// Whether a server may have executed the request, in any try.
    pub may_be_executed: bool,
    /// What happened, for people.
    pub why: String,
}

/// What kind of failure a request ended in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The balance needs a key, and the message has none.
    NoKey,
    /// Every server is inactive.
    NoServer,
    /// The message cannot be sent to any server: it is too long, or its body is faulty.
    Unsendable,
    /// The server could not be reached.
    Connect,
    /// The connection ended before the answer came.
    Lost,
    /// No answer came in time.
    Timeout,
    /// The server answered that it does not do it.
    Refused,
    /// [`disconnect_all`](crate::cluster::Cluster::disconnect_all) was called, or the cluster is gone.
    Disconnected,
    /// A call that waits was made inside a callback, whose thread is the one that would end the wait.
    InCallback,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(server) = &self.server {
            write!(f, "{server}: ")?;
        }
        f.write_str(&self.why)?;
        match self.tries {
            0 | 1 => Ok(()),
            tries => write!(f, " (try {tries})"),
        }
    }
}

impl std::error::Error for Error {}

impl Error {
    /// A failure without a try.
    pub(crate) fn untried(kind: ErrorKind, why: &str) -> Error {
        Error { kind, server: None, tries: 0, may_be_executed: false, why: why.to_owned() }
    }
}
