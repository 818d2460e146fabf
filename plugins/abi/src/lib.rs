//! What telexd and its plugins say to each other, and what it takes to write a plugin in Rust.
//!
//! A plugin is a library (`crate-type = ["cdylib"]`) with a type that implements [`Plugin`] and some of
//! [`Log`], [`Filter`] and [`Events`], and one line that exports it:
//!
//! ```
//! use telex_plugin::{Call, Filter, Host, Message, Plugin, Verdict};
//!
//! struct Curfew;
//!
//! impl Plugin for Curfew {
//!     fn create(_: Host, _config: &str) -> Result<Curfew, String> {
//!         Ok(Curfew)
//!     }
//! }
//!
//! impl Filter for Curfew {
//!     fn judge(&mut self, message: &Message<'_>, _: &Call<'_>) -> Verdict {
//!         match message.message_type() {
//!             "play_music" => Verdict::Reject("it is late".into()),
//!             _ => Verdict::Pass,
//!         }
//!     }
//! }
//!
//! telex_plugin::export!(Curfew, filter);
//! ```
//!
//! No `unsafe` is needed, and a panic does not take the daemon down: it is a fault of this one call.
//! Everything but [`Plugin::create`] and `Drop` runs on the thread of the daemon's loop and must not block.
//!
//! # Tests
//!
//! With the feature `testing`, among the dev-dependencies, there is a fake daemon. It calls a plugin as
//! telexd does, through what the library exports, so that `cargo test` needs nothing else:
//!
//! ```toml
//! [dev-dependencies]
//! telex-plugin = { path = "../telex/plugins/abi", features = ["testing"] }
//! ```
//!
//! ```
//! # use telex_plugin::{Call, Filter, Host, Level, Message, Plugin, Verdict};
//! use telex_plugin::testing::{FakeDaemon, Peer};
//! # struct Curfew(Host);
//! # impl Plugin for Curfew {
//! #     fn create(host: Host, _: &str) -> Result<Curfew, String> { Ok(Curfew(host)) }
//! # }
//! # impl Filter for Curfew {
//! #     fn judge(&mut self, message: &Message<'_>, _: &Call<'_>) -> Verdict {
//! #         if message.message_type() != "play_music" { return Verdict::Pass }
//! #         self.0.log(Level::Info, message.from());
//! #         Verdict::Reject("it is late".into())
//! #     }
//! # }
//! # telex_plugin::export!(Curfew, filter);
//!
//! let mut daemon = FakeDaemon::start(&telex_plugin, "{}").expect("an instance");
//! let verdict = daemon.judge(&Peer::default(), r#"{"message_type":"play_music","to":"den"}"#);
//! assert_eq!(verdict, Some(Verdict::Reject("it is late".into())));
//! assert_eq!(daemon.logged(), [(Level::Info, "alice".into())]);
//! ```
//!
//! The contract itself is `include/telex_plugin.h`; [`raw`] has the same in Rust, for who loads plugins.

mod glue;
mod pattern;
pub mod raw;
#[cfg(feature = "testing")]
pub mod testing;
mod view;

use std::fmt;

#[doc(hidden)]
pub use glue::{Exported, Table, descriptor, dry, events, filter, log};
pub use pattern::matches;
pub use view::{Call, Event, Host, Message, Peer, Record};

/// What every plugin is. Its instance is dropped when it is no longer needed: what it still has to
/// write is to be written by then, and its threads to have ended.
pub trait Plugin: Sized + Send + 'static {
    /// Makes an instance. `config` is the plugin's `config` of the configuration, a JSON object. May block,
    /// and may be called while another instance lives. The error is told to the administrator.
    fn create(host: Host, config: &str) -> Result<Self, String>;
}

/// Takes records of the daemon's log: `telex.log/1`.
pub trait Log: Plugin {
    /// Takes one record. What was lost and counted is no fault.
    fn record(&mut self, record: &Record<'_>) -> Result<(), Fault>;

    /// Comes once in each turn of the daemon's loop in which there was a record: now is the time to
    /// write what was gathered.
    fn flush(&mut self) -> Result<(), Fault> {
        Ok(())
    }
}

/// Judges messages: `telex.filter/1`.
pub trait Filter: Plugin {
    /// Judges a message of a peer, once, before it goes anywhere.
    fn judge(&mut self, message: &Message<'_>, call: &Call<'_>) -> Verdict;

    /// The messages that are to be judged: those that match one of these; all where there is none.
    /// Asked for once, when the instance has been made.
    fn interests(&self) -> Vec<Interest> {
        Vec::new()
    }
}

/// Hears what happens: `telex.events/1`.
pub trait Events: Plugin {
    /// Hears of one thing. [`Heard::Refused`] refuses the connection of a [`Kind::Connected`].
    fn event(&mut self, event: &Event<'_>, call: &Call<'_>) -> Heard;

    /// What it wants to hear of. Asked for once, when the instance has been made.
    fn wants(&self) -> &'static [Kind];
}

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// It is gone, and nobody is told. Of a request to the daemon: as `Reject`.
    Drop,
    /// It is refused, and its sender told why.
    Reject(String),
    /// It goes on, changed.
    Replace(Replacement),
    /// The filter could not judge it; what becomes of the message the configuration says (`on_fault`).
    Fault,
}

/// What of a message is replaced; what is none stays. Of a reply that may be the body alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replacement {
    /// An address, in place of `to` or `topic`.
    pub to: Option<String>,
    /// A topic, in place of `to` or `topic`.
    pub topic: Option<String>,
    /// A type of the same category: a request stays a request, and a signal cannot be anything else.
    pub message_type: Option<String>,
    /// A JSON value.
    pub body: Option<String>,
}

/// What an event led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It was heard.
    Yes,
    /// The connection is refused, for this reason.
    Refused(String),
    /// It could not be handled.
    Fault,
}

/// A call failed. What there is to say of it goes to [`Host::log`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault;

/// Messages that a filter wants to see: those that match all patterns that are given. `*` stands for any
/// run of characters; a field that a message does not have is an empty text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// On `message_type`.
    pub message_type: Option<String>,
    /// On `to`.
    pub to: Option<String>,
    /// On `topic`.
    pub topic: Option<String>,
    /// On `from`, as stamped.
    pub from: Option<String>,
}

/// How much a record matters, as in syslog(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something failed.
    Error,
    /// A peer misbehaves, or something runs short.
    Warning,
    /// Normal, but worth a look.
    Notice,
    /// Comings and goings.
    Info,
    /// For who looks for a fault.
    Debug,
}

impl Level {
    /// The number of syslog(3): 3 to 7.
    pub fn number(self) -> i32 {
        match self {
            Level::Error => raw::ERR,
            Level::Warning => raw::WARNING,
            Level::Notice => raw::NOTICE,
            Level::Info => raw::INFO,
            Level::Debug => raw::DEBUG,
        }
    }

    /// The level of a number of syslog(3); what is worse than an error is one too.
    pub fn from_number(number: i32) -> Level {
        match number {
            ..=raw::ERR => Level::Error,
            raw::WARNING => Level::Warning,
            raw::NOTICE => Level::Notice,
            raw::INFO => Level::Info,
            _ => Level::Debug,
        }
    }

    /// `error`, `warning`, `notice`, `info`, `debug`.
    pub fn word(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Notice => "notice",
            Level::Info => "info",
            Level::Debug => "debug",
        }
    }
}

/// What a connection runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A Unix stream socket.
    Unix,
    /// TCP.
    Tcp,
}

/// The category of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// Something that is to be answered.
    Request,
    /// Something that is not.
    Signal,
    /// An answer.
    Reply,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A connection has been opened.
    Connected,
    /// It holds one more node ID.
    Registered,
    /// It holds one no more, and goes on.
    Unregistered,
    /// It has one more subscription.
    Subscribed,
    /// And one less; not told of those that end with their connection.
    Unsubscribed,
    /// A connection is gone, with its node IDs (still named in its peer) and subscriptions.
    Disconnected,
    /// The daemon is about to serve.
    Started,
    /// It is about to end.
    Stopping,
    /// The configuration has been read again, and is as before for this plugin. Whoever wants this
    /// event goes on with the same instance; for all others a new one is made.
    Reloaded,
    /// The time of [`Host::set_timer`] has passed.
    Timer,
}

impl Kind {
    const ALL: [Kind; 10] = [
        Kind::Connected,
        Kind::Registered,
        Kind::Unregistered,
        Kind::Subscribed,
        Kind::Unsubscribed,
        Kind::Disconnected,
        Kind::Started,
        Kind::Stopping,
        Kind::Reloaded,
        Kind::Timer,
    ];

    /// The number in `telex_event.kind`.
    pub fn number(self) -> u32 {
        match self {
            Kind::Connected => raw::CONNECTED,
            Kind::Registered => raw::REGISTERED,
            Kind::Unregistered => raw::UNREGISTERED,
            Kind::Subscribed => raw::SUBSCRIBED,
            Kind::Unsubscribed => raw::UNSUBSCRIBED,
            Kind::Disconnected => raw::DISCONNECTED,
            Kind::Started => raw::STARTED,
            Kind::Stopping => raw::STOPPING,
            Kind::Reloaded => raw::RELOADED,
            Kind::Timer => raw::TIMER,
        }
    }

    /// The kind of a number in `telex_event.kind`.
    pub fn from_number(number: u32) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

/// Where a signal of the daemon's own goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// To an address.
    To(&'a str),
    /// To a topic.
    Topic(&'a str),
}

/// Why the daemon did not do what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// This is no right value for that.
    BadValue,
    /// A bound has been reached.
    TooMany,
    /// Not now.
    NotNow,
}

impl Refused {
    fn from_number(number: i32) -> Result<(), Refused> {
        match number {
            raw::OK => Ok(()),
            raw::TOO_MANY => Err(Refused::TooMany),
            raw::NOT_NOW => Err(Refused::NotNow),
            _ => Err(Refused::BadValue),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::BadValue => "this is no right value",
            Refused::TooMany => "a bound has been reached",
            Refused::NotNow => "this is not possible now",
        })
    }
}

impl std::error::Error for Refused {}

/// Exports a type as the plugin of this library: `export!(Type, filter, events)`, with the extensions that
/// it implements (`log`, `filter`, `events`). Once in a library.
#[macro_export]
macro_rules! export {
    ($plugin:ty, $($extension:ident),+ $(,)?) => {
        #[cfg(panic = "abort")]
        compile_error!(concat!(
            "a plugin that aborts on a panic would take the daemon down with it: ",
            "build with panic = \"unwind\"",
        ));

        impl $crate::Exported for $plugin {
            fn table(id: &str) -> Option<$crate::Table> {
                $(
                    if id == $crate::$extension::ID {
                        return Some($crate::$extension::table::<$plugin>());
                    }
                )+
                None
            }
        }

        /// What the daemon looks for.
        #[unsafe(no_mangle)]
        #[allow(non_upper_case_globals, unsafe_code)]
        pub static telex_plugin: $crate::Descriptor = $crate::descriptor::<$plugin>(
            concat!(env!("CARGO_PKG_NAME"), "\0"),
            concat!(env!("CARGO_PKG_VERSION"), "\0"),
        );
    };
}

/// A descriptor that can be a static: its pointers are to what lives for ever.
#[doc(hidden)]
pub use glue::Descriptor;
