//! Knows the service: what is done about what peers send, and about what becomes of them.
//! Never: the fields of a noun.
//!
//! Each act is a part of [`Core`](crate::core::Core), and calls only those below it:
//!
//! | act | does |
//! | --- | --- |
//! | `intake` | makes lines of bytes and messages of lines, and finds out whose they are |
//! | `settle` | carries out what messages lead to beyond themselves, and what time alone brings about |
//! | `judge` | has messages judged, and does with them what is said |
//! | `route` | finds the receivers of a message, or why there are none |
//! | `control`, `register` | answers requests to the daemon |
//! | `explain` | tells what would become of a message |
//! | `beyond` | keeps administrators' connections beyond all bounds within theirs |
//! | `publish` | brings messages to the subscribers of their topics |
//! | `stop` | tells everybody of the end |
//! | `leave` | takes connections in and away |
//! | `report` | spells what the daemon knows |
//! | `presence` | tells monitors what comes and goes |
//! | `answer` | opens requests, and ends them |
//! | `fates` | tells senders what was not delivered |
//! | `held`, `share` | read a line that has waited again; pick the instances of a node |
//! | `speaker` | finds the connection of a message that was handed over without it |
//! | `say` | says lines of the daemon's own |
//! | `rights` | knows what a connection may ask for |
//! | `memory` | looks whether too much is kept |
//! | `carry` | writes all state down for another process, and reads it there |
//! | `tell` | tells plugins what happens to connections |

mod answer;
mod beyond;
#[cfg(feature = "daemon")]
mod carry;
mod control;
mod explain;
mod fates;
mod held;
mod intake;
mod judge;
mod leave;
mod memory;
mod presence;
mod publish;
mod register;
mod report;
mod rights;
mod route;
mod say;
mod settle;
mod share;
mod speaker;
mod stop;
mod tell;

#[cfg(feature = "daemon")]
pub use carry::STATE_VERSION;
pub(super) use intake::Scratch;
