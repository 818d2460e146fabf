//! Knows the exit codes, and which one each failure has.
//! Never: what was being done.

use std::process::ExitCode;

use telex::address::Address;
use telex::client::{Error, Refused};
use telex::wire::code::Code;

use crate::output::{Words, counted, safe};

/// The outcome, as scripts see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Refused = 1,
    Usage = 2,
    NoSuchNode = 3,
    Denied = 4,
    Timeout = 5,
    NodeGone = 6,
    Overloaded = 7,
    Unreachable = 8,
    HungUp = 129,
    Interrupted = 130,
    Terminated = 143,
}

const MEANINGS: &[(Exit, &str)] = &[
    (Exit::Done, "done"),
    (Exit::Refused, "another error that the daemon or the node answered, or a file that failed"),
    (Exit::Usage, "the command line or a body is wrong, be it that telex or the daemon says so"),
    (Exit::NoSuchNode, "no such node, or no subscribers"),
    (Exit::Denied, "denied: not allowed, not yours, the name is taken, not authenticated"),
    (Exit::Timeout, "timeout"),
    (Exit::NodeGone, "the node went away before it had answered"),
    (Exit::Overloaded, "overloaded, or too many of something"),
    (Exit::Unreachable, "the daemon cannot be reached, or ended the connection and did not say why"),
    (Exit::HungUp, "SIGHUP came before the work was done"),
    (
        Exit::Interrupted,
        "Ctrl-C came before the work was done, such as the count that -n names; what goes on until it is \
     ended ends with 0",
    ),
    (Exit::Terminated, "SIGTERM came before the work was done"),
];

/// The exit codes, for the help.
pub(crate) fn codes() -> String {
    let line = |(exit, meaning): &(Exit, &str)| format!("\n  {:>3}  {meaning}", *exit as u8);
    std::iter::once("Exit codes:".to_owned()).chain(MEANINGS.iter().map(line)).collect()
}

impl Exit {
    /// What a refusal counts as. A node's own words have no class, whatever they look like.
    pub(crate) fn of_refusal(refused: &Refused) -> Exit {
        refused.code().filter(|_| refused.by_daemon()).map_or(Exit::Refused, Exit::of_word)
    }

    /// The one that another run of the command ended with.
    pub(crate) fn of_code(code: i32) -> Exit {
        let known = MEANINGS.iter().map(|(exit, _)| *exit).find(|exit| *exit as i32 == code);
        known.unwrap_or(Exit::Refused)
    }

    /// What a code of the daemon's counts as.
    pub(crate) fn of_word(code: &str) -> Exit {
        let Some(code) = Code::of(code) else { return Exit::Refused };
        match code {
            // What it says this of was typed: all else is in the right form.
            Code::BadField | Code::MissingField | Code::LineTooLong => Exit::Usage,
            Code::NoSuchNode | Code::NoSubscribers => Exit::NoSuchNode,
            Code::Denied | Code::NotYours | Code::NameTaken | Code::AuthRequired | Code::AuthFailed => {
                Exit::Denied
            }
            Code::Timeout => Exit::Timeout,
            Code::NodeGone => Exit::NodeGone,
            Code::TooManyRequests | Code::TooManyNames | Code::TooManySubscriptions => Exit::Overloaded,
            Code::Overloaded | Code::SpoolFull => Exit::Overloaded,
            Code::BadJson | Code::NotAnObject | Code::DuplicateField | Code::UnknownType => Exit::Refused,
            Code::NoSuchRequest | Code::DuplicateId | Code::DeliveryMismatch => Exit::Refused,
            Code::NoSuchJob | Code::Internal => Exit::Refused,
            // Of a later library.
            _ => Exit::Refused,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why the command ends without having done what was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// For stderr; empty if all has been said.
    pub(crate) words: String,
    /// Whether the daemon ended the connection.
    pub(crate) is_end: bool,
}

impl Failure {
    pub(crate) fn new(exit: Exit, words: impl Into<String>) -> Failure {
        Failure { exit, words: words.into(), is_end: false }
    }

    /// Whether it is a lost connection that another one may stand in for: none that an administrator ended.
    pub(crate) fn is_loss(&self) -> bool {
        self.is_end && self.exit != Exit::Denied
    }

    /// Whether the command was told to end.
    pub(crate) fn is_stop(&self) -> bool {
        matches!(self.exit, Exit::HungUp | Exit::Interrupted | Exit::Terminated)
    }

    /// With the line of stdin that it is about.
    pub(crate) fn at(self, line: Option<u64>) -> Failure {
        match line {
            Some(line) => Failure { words: format!("line {line}: {}", self.words), ..self },
            None => self,
        }
    }

    pub(crate) fn usage(words: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, words)
    }

    /// No connection: says where it was tried, and what to do.
    pub(crate) fn unreachable(address: &Address, error: &Error) -> Failure {
        const SYSTEM: &str = "/run/telexd/telex.sock";
        if matches!(error, Error::NoPermission { .. }) {
            return Failure::new(Exit::Denied, error.to_string());
        }
        let mut words = format!("{error}\nIs telexd running there? Try: telexd --listen {address}");
        let system = Address::Unix(SYSTEM.into());
        if *address != system && std::path::Path::new(SYSTEM).exists() {
            words += &format!("\nThis machine has a daemon at {system}: use --address or TELEX_ADDRESS");
        } else {
            words += "\nFor a daemon elsewhere use --address or TELEX_ADDRESS";
        }
        Failure::new(Exit::Unreachable, words)
    }

    /// The reader of stdout wants no more: an end before its time, and a success.
    pub(crate) fn reader_gone() -> Failure {
        Failure::new(Exit::Done, "")
    }

    /// Reading or writing a file failed.
    pub(crate) fn file(name: &str, error: &std::io::Error) -> Failure {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Failure::reader_gone(),
            _ => Failure::new(Exit::Refused, format!("{name}: {error}")),
        }
    }
}

/// The end of what goes on until it is told to end: its work is done then.
pub(crate) fn until_told(ended: Result<(), Failure>) -> Result<(), Failure> {
    ended.or_else(|failure| if failure.is_stop() { Ok(()) } else { Err(failure) })
}

/// What went wrong in several things of which each was tried.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    /// The exit code so far, and how many had something to tell.
    exit: Option<Exit>,
    count: u64,
}

/// So many failures are told one by one.
const TOLD_MAX: u64 = 10;

impl Failures {
    /// Tells one, and takes note of it.
    pub(crate) fn add(&mut self, failure: &Failure, words: Words) {
        self.count += u64::from(!failure.words.is_empty());
        if self.count <= TOLD_MAX {
            words.fail(&failure.words);
        }
        // Of several outcomes the first failure's, if they are all of one kind.
        self.exit = match self.exit {
            None => Some(failure.exit),
            Some(exit) if exit == failure.exit => Some(exit),
            Some(_) => Some(Exit::Refused),
        };
    }

    /// Tells how many more there were, and what all of it comes to.
    pub(crate) fn end(self, words: Words) -> Result<(), Failure> {
        if self.count > TOLD_MAX {
            words.say(&counted(self.count - TOLD_MAX, "more error"));
        }
        self.exit.map_or(Ok(()), |exit| Err(Failure::new(exit, "")))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let exit = match &error {
            Error::GaveUp { .. } => Exit::Timeout,
            Error::KeptFull => Exit::Overloaded,
            Error::Address(_) | Error::Unsendable(_) => Exit::Usage,
            Error::Closed { why } => why.as_deref().map_or(Exit::Unreachable, Exit::of_refusal),
            Error::NoPermission { .. } => Exit::Denied,
            // Else there is no connection, or none any more.
            other => other.refused().map_or(Exit::Unreachable, Exit::of_refusal),
        };
        match error {
            // Why is a message of its own, which is told as it comes.
            Error::Closed { .. } => {
                Failure { is_end: true, ..Failure::new(exit, Error::Closed { why: None }.to_string()) }
            }
            Error::Io { .. } => Failure { is_end: true, ..Failure::new(exit, error.to_string()) },
            // A line end in the words of others begins no line here.
            error => Failure::new(exit, safe(&error.to_string())),
        }
    }
}
