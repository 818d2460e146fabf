//! Knows what is worth telling of a cluster at work, and how to say it to people.
//! Never: what listens.

use std::fmt;

use crate::cluster::connector::RequestId;
use crate::cluster::error::Error;
use crate::cluster::servers::Server;

/// Something that happened inside a cluster, for its `debug` callback. `Display` is a line for people.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A connection is being made.
    Opening(&'a Server),
    /// A connection is made.
    Opened(&'a Server),
    /// A connection could not be made, or has ended, and why.
    Ended(&'a Server, &'a str),
    /// A server is passed over from now on.
    Out(&'a Server),
    /// A server is used again.
    Back(&'a Server),
    /// A request is sent, and which of its tries this is.
    Sent(RequestId, &'a Server, u32),
    /// A try has failed, and another one will be made.
    Retried(RequestId, &'a Error),
    /// A request has failed.
    Failed(RequestId, &'a Error),
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Opening(server) => write!(f, "connects to {server}"),
            Event::Opened(server) => write!(f, "is connected to {server}"),
            Event::Ended(server, why) => write!(f, "has no connection to {server}: {why}"),
            Event::Out(server) => write!(f, "passes over {server}"),
            Event::Back(server) => write!(f, "uses {server} again"),
            Event::Sent(id, server, 1) => write!(f, "sends request {} to {server}", id.number()),
            Event::Sent(id, server, nth) => {
                write!(f, "sends request {} to {server}, try {nth}", id.number())
            }
            Event::Retried(id, why) => write!(f, "tries request {} again: {why}", id.number()),
            Event::Failed(id, why) => write!(f, "gives up request {}: {why}", id.number()),
        }
    }
}
