//! Knows what can go wrong when a node is configured, and how to say it to people.
//! Never: what a caller does about it.

use std::fmt;

use crate::client;
use crate::name::BadName;
use crate::profile::source::Source;
#[cfg(feature = "profiles")]
use crate::toml_file::ConfigError;

/// Why a node could not be configured. `Display` is a sentence for people; that of `File` has a line for each
/// fault.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The file of the profiles is at fault; all its faults are told, each with its line and key.
    #[cfg(feature = "profiles")]
    File(ConfigError),
    /// No profile was named, and the host has no name that could be its.
    NoProfile,
    /// No node ID can come of this.
    NodeId {
        /// The node ID, its patterns not filled in.
        node_id: String,
        /// Where it comes from.
        source: Source,
        /// What is wrong with it.
        why: BadName,
    },
    /// No switch could be reached.
    Unreachable {
        /// What went wrong at each address, in their order.
        tries: Vec<client::Error>,
    },
    /// The switch was reached, and refused what a node needs: as a rule, the name.
    Client(client::Error),
    /// A service could not be started.
    Service {
        /// The name of its function.
        function: String,
        /// Its error, or what it panicked of.
        why: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "profiles")]
            Error::File(faults) => faults.fmt(f),
            Error::NoProfile => {
                f.write_str("the host has no name that could be the profile's: name a profile")
            }
            Error::NodeId { node_id, source, why } => {
                write!(f, "the node ID \"{node_id}\" ({source}) {why}")
            }
            Error::Unreachable { tries } => {
                let tries: Vec<String> = tries.iter().map(ToString::to_string).collect();
                f.write_str(&tries.join("; "))
            }
            Error::Client(error) => error.fmt(f),
            Error::Service { function, why } => write!(f, "the service \"{function}\" failed: {why}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            #[cfg(feature = "profiles")]
            Error::File(faults) => Some(faults),
            Error::Client(error) => Some(error),
            Error::NodeId { why, .. } => Some(why),
            _ => None,
        }
    }
}

#[cfg(feature = "profiles")]
impl From<ConfigError> for Error {
    fn from(faults: ConfigError) -> Error {
        Error::File(faults)
    }
}
