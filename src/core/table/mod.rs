//! Knows the tables that the service is made of: who holds, subscribes, owes, watches, and when.
//! Never: a session's insides, or a queue.

pub(crate) mod node;
pub(crate) mod registry;
pub(crate) mod requests;
pub(crate) mod search;
pub(crate) mod spread;
pub(crate) mod timers;
pub(crate) mod topics;
pub(crate) mod watchers;
