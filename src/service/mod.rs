//! Knows services: programs that answer under a name, directly and through the switch, with the same functions.
//! Never: what the messages of an application mean.
//!
//! A [`Service`] is a node that listens itself. It registers its name and where it listens, so that others find it
//! by the name alone: [`Handle::dial`](crate::client::Handle::dial) gives them a connection to it that has no daemon
//! in between, [`Handle::talk`](crate::client::Handle::talk) uses that or the daemon, whichever there is, and
//! [`Handle::call`](crate::client::Handle::call) goes through the daemon as to any node. A
//! [cluster](crate::cluster) can spread requests over services, too.
//!
//! The functions of a service are handed each message and, over Unix sockets, what the kernel knows of its sender.
//! They run on threads of their own; the messages of one caller are handled one after the other, those of several
//! at the same time. One more thread speaks with all direct connections, one takes what comes through the switch, and
//! two belong to the connection to the daemon: with four [workers](Builder::workers) that makes eight, however
//! many connections there are.
//!
//! What a direct peer can make a service keep is bounded, and what is too much or takes too long costs that peer its
//! connection, not others theirs. The [page of the protocol](crate::protocol), section 16, has the bounds, and what
//! is said over a direct connection. A TCP port or an abstract name can be taken by any user once the service has
//! gone, and a socket file only by users with write access to its directory; so a service that others rely on listens
//! in a directory of its own user.
//!
//! # A service and its client
//!
//! ```no_run
#![doc = include_str!("../../tests/service/thermometer.rs")]
//! ```
//!
//! # A pool of workers
//!
//! Work that is shared needs no listening: the daemon chooses an instance for each message.
//!
//! ```no_run
#![doc = include_str!("../../tests/service/pool.rs")]
//! ```
//!
//! # Under systemd
//!
//! [`inherit`](Builder::inherit) takes the sockets of a `.socket` unit, a service says when it is
//! [ready](Builder::start) (`Type=notify`), and [`run`](Service::run) serves until SIGTERM:
//!
//! ```
//! # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
//! use telex::client::default_address;
//! use telex::service::Service;
//!
//! let service = Service::builder("thermometer")
//!     .inherit()
//!     .on("read", |_request| Ok::<_, String>(r#"{"c":20.5}"#))
//!     .start(&default_address()?)?;
//! # std::thread::spawn(|| loop {
//! #     std::thread::sleep(std::time::Duration::from_millis(200));
//! #     nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM).unwrap();
//! #     // If that was too early, it is done again; the end takes less.
//! #     std::thread::sleep(std::time::Duration::from_secs(10));
//! # });
//! service.run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Coming from Net::Server::Framework
//!
//! - A registry with one row for each name: the daemon, at which any number of instances may have a name. One that
//!   has gone is `down` or `lost`, and is not dialled.
//! - `c_connect` is [`dial`](crate::client::Handle::dial), which also finds daemons at Unix sockets, and asks who
//!   answers before anything is sent.
//! - `talk` is [`talk`](crate::client::Handle::talk); its answer is the reply or an error, never a bare number.
//! - Fields that are checked before a command is dispatched: the first lines of a function, whose error is the
//!   reply. The daemon's plugins decide which messages are allowed.
//! - `pre_server_close` and its like: what a program does before [`start`](Builder::start) and after
//!   [`run`](Service::run).

mod answers;
mod base;
mod builder;
mod hall;
mod hear;
mod notify;
mod peer;
mod signals;
mod stream;
mod through;
mod work;

pub use base::Service;
pub use builder::Builder;
