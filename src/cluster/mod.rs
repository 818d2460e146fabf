//! Knows how requests are spread over servers: balances, queues, tries, time-outs, probes.
//! Never: a wire, a clock, or a thread.
//!
//! A [`Cluster`] is pure: it sends through a [`Connector`], gets facts from it, and is told the time with each call.
//! So it runs on any wire and any loop, and its time-outs are tested without waiting. The one over telex
//! switches, with threads and sockets, is [`client::switches`](crate::client::switches).
//!
//! # Theory
//!
//! A request is *submitted*, waits until fewer than `max_parallel` are under way, and makes its first *try*: the
//! balance chooses a server, it waits until fewer than `max_parallel_per_server` are in flight there, and is
//! sent. All queues are first come, first served. A try ends in an answer or in a failure.
//!
//! - **Another try** is made until there were `max_request_retries` in all, after `retry_delay`, on a server that has
//!   not been tried while there is one; with a key that is the next on the balance's own walk. What a server
//!   *may have executed* is tried again only if its message says [`retry`](Message::retry); it may have whenever
//!   the connection ended or the time was over before the answer came. What was certainly not executed (no
//!   connection was made, or the server said so) is tried again in any case.
//! - **Out**: a server is passed over when its connection fails, or when the time of a request is over and not a
//!   word has come from it since. It is probed every `probe_interval`, and used again when it answers. If all
//!   servers are out, they are used all the same: their failures say more than a refusal would.
//! - **Time** in queues does not count. Each try has `timeout`, or with [`TimeoutOf::Silence`] each connection.
//!   So a request is done after at most `max_request_retries` × (`connect_timeout` + `timeout` + `retry_delay`)
//!   and its time in queues.
//! - **Every request is done exactly once**, with an answer or an [`Error`] that tells the server, the
//!   number of tries, and whether it may have been executed.
//!
//! ```
//! use std::collections::VecDeque;
//! use std::time::Duration;
//! use telex::cluster::{Cluster, Connector, Fact, LinkId, LinkOptions, Message, Server, Settings, Try};
//!
//! /// Servers that answer at once with their own names.
//! #[derive(Default)]
//! struct Echo {
//!     names: Vec<String>,
//!     facts: VecDeque<Fact<String>>,
//! }
//!
//! impl Connector for Echo {
//!     type Request = &'static str;
//!     type Answer = String;
//!
//!     fn open(&mut self, link: LinkId, server: &Server, _: &LinkOptions) {
//!         self.names.push(server.to_string());
//!         self.facts.push_back(Fact::Opened(link));
//!     }
//!
//!     fn send(&mut self, link: LinkId, one: Try<'_>, request: &&'static str) {
//!         let answer = format!("{request} from {}", self.names[link.number() as usize - 1]);
//!         self.facts.push_back(Fact::Answered { id: one.id, answer });
//!     }
//!
//!     fn probe(&mut self, link: LinkId) {
//!         self.facts.push_back(Fact::Probed(link));
//!     }
//!
//!     fn close(&mut self, _: LinkId) {}
//!
//!     fn answer(&mut self) -> Option<Fact<String>> {
//!         self.facts.pop_front()
//!     }
//! }
//!
//! let mut cluster = Cluster::new(Settings::of("a:1,b:1")?, Echo::default());
//! let now = Duration::ZERO;
//! cluster.submit(Message::new("hello"), now);
//! cluster.submit(Message::new("hello"), now);
//! cluster.step(now);
//! let answers: Vec<_> = std::iter::from_fn(|| cluster.next_done()?.outcome.ok()?).collect();
//! assert_eq!(answers, ["hello from tcp:a:1", "hello from tcp:b:1"]);
//! # Ok::<(), telex::cluster::BadServers>(())
//! ```
//!
//! # Over telex
//!
//! The servers are switches, or services that listen themselves; one list may have both.
//!
//! ```no_run
#![doc = include_str!("../../tests/cluster/bank.rs")]
//! ```
//!
//! # Coming from MR::IProto
//!
//! | MR::IProto 0.0.24 | here |
//! | --- | --- |
//! | `servers` split at each colon; no IPv6, no Unix sockets; spaces stay | [`servers`] has them; errors name entry and column |
//! | `round-robin` draws in random order; weights are ignored | [`Balance::RoundRobin`] is in turn and by weight; theirs is [`Balance::Random`] |
//! | `hash-crc32`, `ketama` | the same servers for the same keys while all are used |
//! | a server that is out is still drawn by `round-robin` and `ketama` | all balances pass it over |
//! | `hash-crc32` takes a random server after 20 inactive places | the next in the order of the list |
//! | an unknown balance name means `round-robin` | [`Balance::of`] gives `None` |
//! | a failed server stays out until the program puts it back | until it answers a probe |
//! | servers of one name are one object in the process; the first settings count | clusters share nothing |
//! | `max_request_retries` 0 means 2 | it means 1 |
//! | a retry may go to the same server | to another one while there is one |
//! | without `retry` one try is all | one that may have executed it; [`Error::may_be_executed`] tells |
//! | `is_retry` asks again; after the last try its answer is the result | the same |
//! | 10 in flight for each server, not settable; a synchronous bulk sends all at once | `max_parallel_per_server`, for all |
//! | `timeout` is the silence of a connection; 0 means never | of each try, or [`TimeoutOf::Silence`]; `None` means never |
//! | `connect_timeout` beside `servers` has no effect | it has |
//! | a failed synchronous retry gives undef without an error; `send_bulk` gives one result fewer | one result for each request |
//! | `disconnect_all` forgets the callbacks in flight | each is told [`ErrorKind::Disconnected`] |
//! | the hash message is used up by sending it | a [`Message`] is given away |

mod balance;
mod book;
mod check;
mod checksum;
mod connector;
mod dispatch;
mod error;
mod event;
mod member;
mod message;
mod pending;
mod random;
mod roster;
mod servers;
mod settings;
#[cfg(test)]
mod tests;

pub use balance::Balance;
pub use book::Done;
pub use connector::{Connector, Fact, Fate, LinkId, LinkOptions, RequestId, Try, TryId};
pub use dispatch::Cluster;
pub use error::{Error, ErrorKind};
pub use event::Event;
pub use message::{Call, Message};
pub use servers::{BadServers, Server, WEIGHT_MAX, servers};
pub use settings::{Settings, TimeoutOf};
