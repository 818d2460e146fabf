//! Knows what can go wrong for a client, and how to say it to people.
//! Never: what a caller does about it.

use std::time::Duration;
use std::{fmt, io};

use crate::address::{Address, BadAddress};
use crate::client::fault::Fault;
use crate::client::refused::Refused;
use crate::client::undialled::Undialled;
use crate::client::unsendable::Unsendable;
use crate::wire::code::{Code, each_code};

macro_rules! error {
    ($($(#[$meaning:meta])* $code:ident => $word:literal,)*) => {
        /// Why a client could not do what it was asked for: what the daemon says, by its code; what a node says;
        /// what went wrong on this side. `Display` is a sentence for people.
        ///
        /// ```
        /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
        /// use std::time::Duration;
        /// use telex::client::{Client, Error, default_address};
        ///
        /// let mut client = Client::connect(&default_address()?)?;
        /// match client.call("heating", "set", r#"{"c":21}"#, Duration::from_secs(5)) {
        ///     Ok(reply) => println!("{}", reply.line()),
        ///     Err(Error::NoSuchNode(_)) => println!("there is no heating"),
        ///     Err(Error::Denied(why)) if why.filter().is_some() => println!("a plugin says: {}", why.error()),
        ///     Err(Error::Node(why)) => println!("the heating says: {} ({:?})", why.error(), why.code()),
        ///     Err(error) => return Err(error),
        /// }
        /// # Ok::<(), Error>(())
        /// ```
        #[derive(Debug)]
        #[non_exhaustive]
        pub enum Error {
            $($(#[$meaning])* $code(Box<Refused>),)*
            /// The daemon told an error with a code that this library does not know.
            Other {
                /// The code; empty if there was none.
                code: String,
                /// The sentence for people.
                error: String,
                /// All of it.
                refused: Box<Refused>,
            },
            /// A node answered with an error. Sentence and code are its own, whatever they look like.
            Node(Box<Refused>),
            /// The environment names no usable address.
            Address(BadAddress),
            /// No connection to the daemon could be made.
            Connect {
                /// The address that was tried.
                address: Address,
                /// What the system said; of several addresses of a host, about the last one tried.
                source: io::Error,
            },
            /// A daemon is there, and its socket may not be used by this user.
            NoPermission {
                /// The address that was tried.
                address: Address,
                /// The group whose members may, by its name or, if it has none, its number; `None` if it cannot be
                /// told.
                group: Option<String>,
            },
            /// A service could not be spoken to directly; nothing was asked of it.
            Undialled(Undialled),
            /// The connection failed.
            Io {
                /// What failed, such as `reading`.
                doing: &'static str,
                /// What the system said.
                source: io::Error,
            },
            /// The daemon has ended the connection. What it said before can still be had from
            /// [`Client::next`](crate::client::Client::next).
            Closed {
                /// The error that was its last word, if it was one: too many connections, a plugin that refuses
                /// this one, an administrator's `kill`.
                why: Option<Box<Refused>>,
            },
            /// The connection was lost while the request was on its way: whether it was carried out is not known.
            /// [`Handle`](crate::client::Handle) alone gives this.
            Lost {
                /// The daemon's last word, if it was an error about the connection.
                why: Option<Box<Refused>>,
            },
            /// There is no connection just now, and nothing was sent. [`Handle`](crate::client::Handle) alone gives this.
            Away,
            /// The node ID that messages of this connection come from was taken by another one while the connection was
            /// lost, and is not regained yet; nothing was sent. [`Handle`](crate::client::Handle) alone gives this.
            NameLost {
                /// The node ID.
                node_id: String,
            },
            /// The message cannot be sent; nothing of it was.
            Unsendable(Unsendable),
            /// This side waited, and gave up: not even the daemon answered, which would have told a
            /// [`Timeout`](Error::Timeout) by then; or there was no room to send for so long.
            GaveUp {
                /// How long was waited.
                after: Duration,
            },
            /// More came than is kept ([`KEPT_BYTES_MAX`](crate::client::KEPT_BYTES_MAX)) while something else was
            /// done. None of that is lost: take it by [`Client::next`](crate::client::Client::next), then go on. A
            /// signal or reply that ends so was not sent; a call may have been, and its reply is dropped.
            KeptFull,
            /// What came is not the protocol. The next line can be read.
            Fault(Fault),
        }

        impl From<Box<Refused>> for Error {
            fn from(refused: Box<Refused>) -> Error {
                if !refused.by_daemon() {
                    return Error::Node(refused);
                }
                let code = refused.code().unwrap_or_default();
                match Code::of(code) {
                    $(Some(Code::$code) => Error::$code(refused),)*
                    None => {
                        let (code, error) = (code.to_owned(), refused.error().to_owned());
                        Error::Other { code, error, refused }
                    }
                }
            }
        }

        impl Error {
            /// The answer that told the error; `None` if it is none of the daemon's or a node's, but of this side.
            pub fn refused(&self) -> Option<&Refused> {
                match self {
                    $(Error::$code(refused))|* => Some(refused),
                    Error::Other { refused, .. } | Error::Node(refused) => Some(refused),
                    _ => None,
                }
            }
        }
    };
}

each_code!(error);

impl Error {
    /// Whether the daemon told an error with this code, as an answer or as the reason why it ended the
    /// connection. [`Error::GaveUp`] counts as `timeout`.
    pub fn is(&self, code: Code) -> bool {
        match self {
            Error::GaveUp { .. } => code == Code::Timeout,
            Error::Closed { why } | Error::Lost { why } => why.as_ref().is_some_and(|why| why.is(code)),
            told => told.refused().is_some_and(|refused| refused.is(code)),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Address(bad) => bad.fmt(f),
            Error::Connect { address, source } => write!(f, "cannot reach {address}: {source}"),
            Error::NoPermission { address, group: Some(group) } => {
                write!(f, "cannot reach {address}: permission denied; its group \"{group}\" may, and root")
            }
            Error::NoPermission { address, group: None } => {
                write!(f, "cannot reach {address}: permission denied")
            }
            Error::Lost { why: None } => f.write_str("the connection was lost before the answer came"),
            Error::Lost { why: Some(why) } => {
                write!(f, "the connection was lost before the answer came: {why}")
            }
            Error::Away => f.write_str("there is no connection to the daemon just now"),
            Error::NameLost { node_id } => write!(f, "the name \"{node_id}\" was lost to another connection"),
            Error::Io { doing, source } => write!(f, "{doing} failed: {source}"),
            Error::Closed { why: None } => f.write_str("the daemon ended the connection"),
            Error::Closed { why: Some(why) } => write!(f, "the daemon ended the connection: {why}"),
            Error::Undialled(why) => why.fmt(f),
            Error::Unsendable(why) => why.fmt(f),
            Error::GaveUp { after } => write!(f, "the daemon did not react within {} s", after.as_secs_f64()),
            Error::KeptFull => f.write_str("too many messages came that were not taken"),
            Error::Fault(fault) => fault.fmt(f),
            told => told.refused().map_or(Ok(()), |refused| refused.fmt(f)),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Connect { source, .. } | Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<Unsendable> for Error {
    fn from(why: Unsendable) -> Error {
        Error::Unsendable(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::message::Message;

    fn told(from: &str, fields: &str) -> Error {
        let line = format!(
            r#"{{"message_type":"ask_reply","from":{from},"body":{{"in_reply_to":1,"error":"no",{fields}}}}}"#
        );
        Refused::check(Message::read(line.into()).expect("a message")).expect_err("an error").into()
    }

    #[test]
    fn every_code_is_a_variant() {
        for code in Code::ALL {
            let error = told("null", &format!(r#""code":"{}""#, code.word()));
            assert!(format!("{error:?}").starts_with(&format!("{code:?}(")), "{error:?}");
            assert!(error.is(*code) && error.refused().is_some(), "{error:?}");
            assert_eq!(error.to_string(), format!("no ({})", code.word()));
        }
    }

    #[test]
    fn codes_of_later_daemons_and_words_of_nodes_are_no_known_code() {
        let error = told("null", r#""code":"too_hot","degrees":99"#);
        let Error::Other { code, error, refused } = &error else { panic!("{error:?}") };
        assert_eq!((code.as_str(), error.as_str()), ("too_hot", "no"));
        assert_eq!(refused.message().body_value()["degrees"], 99);
        let error = told("\"hall\"", r#""code":"timeout""#);
        let Error::Node(why) = &error else { panic!("{error:?}") };
        assert_eq!((why.code(), error.is(Code::Timeout)), (Some("timeout"), false));
    }

    #[test]
    fn what_belongs_to_a_code_is_at_hand() {
        let Error::Denied(why) = told("null", r#""code":"denied","filter":"acl""#) else {
            panic!("no denied")
        };
        assert_eq!((why.filter().as_deref(), why.count()), (Some("acl"), None));
        let Error::NodeGone(why) = told("null", r#""code":"node_gone","count":3"#) else {
            panic!("not gone")
        };
        assert_eq!(why.count(), Some(3));
        let Error::BadJson(why) = told("null", r#""code":"bad_json","column":7"#) else { panic!("no JSON") };
        assert_eq!(why.column(), Some(7));
    }

    #[test]
    fn each_side_has_its_own_word_for_a_time_that_is_over() {
        let ours = Error::GaveUp { after: Duration::from_secs(2) };
        assert!(ours.is(Code::Timeout) && ours.refused().is_none());
        assert!(matches!(told("null", r#""code":"timeout""#), Error::Timeout(_)));
    }
}
