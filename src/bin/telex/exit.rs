//! Knows the exit codes, and which one each failure has.
//! Never: what was being done.

use std::process::ExitCode;

use telex::address::Address;
use telex::client::{Error, Refused};

/// The outcome, as scripts see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    Refused,
    Usage,
    NoSuchNode,
    Denied,
    Timeout,
    NodeGone,
    Overloaded,
    Unreachable,
    /// Who reads stdout wants no more: a success.
    BrokenPipe,
}

/// The codes, for the help.
pub(crate) const CODES: &str = "\
Exit codes:
  0  done
  1  another error that the daemon or the node answered, or a file that failed
  2  the command line or a body is wrong, be it that telex or the daemon says so
  3  no such node, or nobody subscribes
  4  denied: not allowed, not yours, the name is taken, not authenticated
  5  timeout
  6  the node went away before it had answered
  7  overloaded, or too many of something
  8  the daemon cannot be reached, or ended the connection";

impl Exit {
    fn code(self) -> u8 {
        match self {
            Exit::Done | Exit::BrokenPipe => 0,
            Exit::Refused => 1,
            Exit::Usage => 2,
            Exit::NoSuchNode => 3,
            Exit::Denied => 4,
            Exit::Timeout => 5,
            Exit::NodeGone => 6,
            Exit::Overloaded => 7,
            Exit::Unreachable => 8,
        }
    }

    /// What a refusal counts as. A node's own words have no class, whatever they look like.
    pub(crate) fn of_refusal(refused: &Refused) -> Exit {
        if !refused.by_daemon() {
            return Exit::Refused;
        }
        match refused.code().unwrap_or_default() {
            // What it says this of was typed: all else is in the right form.
            "bad_field" | "missing_field" | "line_too_long" => Exit::Usage,
            "no_such_node" | "no_subscribers" => Exit::NoSuchNode,
            "denied" | "not_yours" | "name_taken" | "auth_required" | "auth_failed" => Exit::Denied,
            "timeout" => Exit::Timeout,
            "node_gone" => Exit::NodeGone,
            "overloaded" | "spool_full" => Exit::Overloaded,
            code if code.starts_with("too_many_") => Exit::Overloaded,
            _ => Exit::Refused,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// Why the command ends without having done what was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// For stderr; empty where all has been said.
    pub(crate) words: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, words: impl Into<String>) -> Failure {
        Failure { exit, words: words.into() }
    }

    pub(crate) fn usage(words: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, words)
    }

    /// No connection: says where it was tried, and what to do.
    pub(crate) fn unreachable(address: &Address, error: &Error) -> Failure {
        const SYSTEM: &str = "/run/telexd/telex.sock";
        let mut words = format!("{error}\nIs telexd running there? Try: telexd --listen {address}");
        let system = Address::Unix(SYSTEM.into());
        if *address != system && std::path::Path::new(SYSTEM).exists() {
            words += &format!("\nThis machine has a daemon at {system}: use --address or TELEX_ADDRESS");
        } else {
            words += "\nFor a daemon elsewhere use --address or TELEX_ADDRESS";
        }
        Failure::new(Exit::Unreachable, words)
    }

    /// Reading or writing a file failed. A pipe that nobody reads any more is no failure.
    pub(crate) fn file(name: &str, error: &std::io::Error) -> Failure {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Failure::new(Exit::BrokenPipe, ""),
            _ => Failure::new(Exit::Refused, format!("{name}: {error}")),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let exit = match &error {
            Error::Refused(refused) => Exit::of_refusal(refused),
            Error::Timeout { .. } => Exit::Timeout,
            Error::KeptFull => Exit::Overloaded,
            Error::Address(_) | Error::Unsendable(_) => Exit::Usage,
            Error::Connect { .. } | Error::Io { .. } | Error::Closed | Error::Fault(_) => Exit::Unreachable,
        };
        Failure::new(exit, error.to_string())
    }
}
