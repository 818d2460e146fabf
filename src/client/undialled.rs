//! Knows why a node cannot be spoken to directly, and how to say it to people.
//! Never: how that was tried.

use std::fmt;

/// Why a node could not be dialled; nothing was asked of it. `Display` is a sentence for people.
///
/// ```
/// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
/// use telex::client::{Error, Handle, Undialled, default_address};
///
/// let handle = Handle::connect(&default_address()?)?;
/// match handle.dial("hall") {
///     Err(Error::Undialled(why)) => {
///         assert_eq!(why, Undialled::NoEndpoints { node_id: "hall".to_owned() });
///     }
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), telex::client::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Undialled {
    /// The node is not there: the daemon remembers it. Its endpoints were not tried.
    NotUp {
        /// The node.
        node_id: String,
        /// `down` if it has unregistered, `lost` if its connection has ended.
        status: String,
    },
    /// The node registered no endpoints.
    NoEndpoints {
        /// The node.
        node_id: String,
    },
    /// At none of its endpoints the node answered.
    Unreachable {
        /// The node.
        node_id: String,
        /// The endpoints in the order in which they were tried, each with what went wrong.
        tried: Vec<(String, String)>,
    },
}

impl fmt::Display for Undialled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Undialled::NotUp { node_id, status } => write!(f, "the node \"{node_id}\" is {status}"),
            Undialled::NoEndpoints { node_id } => write!(f, "the node \"{node_id}\" has no endpoints"),
            Undialled::Unreachable { node_id, tried } => {
                write!(f, "the node \"{node_id}\" does not answer at its endpoints")?;
                tried.iter().try_for_each(|(endpoint, why)| write!(f, "; {endpoint}: {why}"))
            }
        }
    }
}

impl std::error::Error for Undialled {}
