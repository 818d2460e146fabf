//! Knows the words of the command line and what they add up to.
//! Never: does any of it.

use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use telex::client::To;
use telex::duration;

use crate::exit::{Failure, codes};

/// The longest timeout of a request.
const TIMEOUT_MAX: Duration = Duration::from_millis(telex::limits::TIMEOUT_MS_MAX);

/// Talk to a running telexd: send messages, call nodes, listen, list.
#[derive(Parser)]
#[command(name = "telex", version, after_help = codes(), max_term_width = 100)]
pub(crate) struct Cli {
    /// Where the daemon is: unix:/path, unix:@name or tcp:host:port [default: $TELEX_ADDRESS, else
    /// unix:/run/telexd/telex.sock for root; for others unix:$XDG_RUNTIME_DIR/telex.sock if a daemon answers
    /// there, else the same as for root]
    #[arg(long, global = true, value_name = "ADDR")]
    pub(crate) address: Option<String>,
    /// No words on stderr, the exit code tells all; of `list` the names alone
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    Send(SendArgs),
    Call(CallArgs),
    Listen(ListenArgs),
    List(ListArgs),
}

/// What all messages that are sent have in common.
#[derive(Args)]
struct Sent {
    /// Register as NAME first, to be the sender
    #[arg(long, value_name = "NAME")]
    from: Option<String>,
    /// A body is plain text and sent as a JSON string
    #[arg(long)]
    text: bool,
    /// How long to wait for the reply, or at the end until the daemon has taken everything; up to 1h
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = timeout)]
    timeout: Duration,
}

const SEND_EXAMPLES: &str = r#"Examples:
  telex send kitchen '{"lamp":"on"}'
  telex send --topic sensor.kitchen.temp '{"c":21}'
  journalctl -f -o json | telex send --from journal logger"#;

/// Send signals to a node, or to the subscribers of a topic
///
/// A signal expects no answer. The command ends with 0 only when the daemon has taken every one of them
/// and reported no error; that a topic has no subscribers is none.
#[derive(Args)]
#[command(
    override_usage = "telex send [OPTIONS] NODE [BODY]\n       telex send [OPTIONS] --topic TOPIC [BODY]",
    after_help = SEND_EXAMPLES
)]
pub(crate) struct SendArgs {
    /// The node, then the body: JSON, or any text with --text; '' is the empty string. Without a body,
    /// or with "-", each line of stdin is one
    #[arg(value_names = ["NODE", "BODY"], num_args = 0..=2, allow_negative_numbers = true)]
    words: Vec<String>,
    /// To the subscribers of TOPIC, in place of NODE
    #[arg(long)]
    topic: Option<String>,
    #[command(flatten)]
    sent: Sent,
}

const CALL_EXAMPLES: &str = r#"Examples:
  telex call heating set '{"c":21}'
  telex call --timeout 2m --text backup run nightly
  telex call --daemon whoami"#;

/// Send a request to a node and print the body of its reply
///
/// The reply's body is one line of JSON on stdout. Of several instances the first to reply counts. An
/// error that is answered stands on stderr.
#[derive(Args)]
#[command(
    override_usage = "telex call [OPTIONS] NODE TYPE [BODY]\n       telex call [OPTIONS] --topic TOPIC TYPE [BODY]\n       telex call [OPTIONS] --daemon TYPE [BODY]",
    after_help = CALL_EXAMPLES
)]
pub(crate) struct CallArgs {
    /// The node, the type of the request, and the body: JSON, or any text with --text; '' is the empty
    /// string, "-" all of stdin. Without one the request has none
    #[arg(value_names = ["NODE", "TYPE", "BODY"], num_args = 1..=3, required = true, allow_negative_numbers = true)]
    words: Vec<String>,
    /// Ask the daemon itself, in place of NODE (register, resolve, list, whoami, ping, stats, ...)
    #[arg(long, conflicts_with = "topic")]
    daemon: bool,
    /// Ask the subscribers of TOPIC, in place of NODE
    #[arg(long)]
    topic: Option<String>,
    #[command(flatten)]
    sent: Sent,
}

const LISTEN_EXAMPLES: &str = r#"Examples:
  telex listen kitchen
  telex listen --topic 'sensor.*.temp' --body
  telex listen --topic 'job.done.>' --group loggers --count 1 --timeout 5s"#;

/// Print the messages to a node or to topics, one line each
///
/// Each message is one line of JSON, as it came, and written at once. What the daemon itself says (that
/// messages were missed, that it shuts down) stands on stderr. Requests are printed too, but not answered.
#[derive(Args)]
#[command(
    override_usage = "telex listen [OPTIONS] NAME\n       telex listen [OPTIONS] [NAME] --topic PATTERN...",
    after_help = LISTEN_EXAMPLES
)]
pub(crate) struct ListenArgs {
    /// The node to become an instance of
    #[arg(required_unless_present = "topics")]
    pub(crate) name: Option<String>,
    /// Subscribe to PATTERN, in which * is any one token and > at the end one or more; may be repeated
    #[arg(long = "topic", value_name = "PATTERN")]
    pub(crate) topics: Vec<String>,
    /// Share the topics' messages with all who name this group: each goes to one
    #[arg(long, requires = "topics")]
    pub(crate) group: Option<String>,
    /// Print the bodies alone (null where a message has none)
    #[arg(long)]
    pub(crate) body: bool,
    /// End with 0 after N messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// End with 5 after this time
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub(crate) timeout: Option<Duration>,
}

const LIST_EXAMPLES: &str = r#"Examples:
  telex list
  telex list 'web-*' --json
  telex list --all -q"#;

/// List the nodes
///
/// A table on a terminal, else one line of JSON for each node.
#[derive(Args)]
#[command(after_help = LIST_EXAMPLES)]
pub(crate) struct ListArgs {
    /// Only nodes whose names match, where * is any run of characters
    pub(crate) pattern: Option<String>,
    /// Also nodes that are known but gone
    #[arg(long)]
    pub(crate) all: bool,
    /// A table, wherever it goes
    #[arg(long, conflicts_with = "json")]
    pub(crate) table: bool,
    /// JSON, wherever it goes
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) json: bool,
}

/// Where a message goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    Daemon,
    Node(String),
    Topic(String),
}

impl Destination {
    pub(crate) fn to(&self) -> To<'_> {
        match self {
            Destination::Daemon => To::Daemon,
            Destination::Node(address) => To::Node(address),
            Destination::Topic(topic) => To::Topic(topic),
        }
    }
}

/// What `send` is to do.
pub(crate) struct SendOrder {
    pub(crate) to: Destination,
    pub(crate) from: Option<String>,
    /// Without one: the lines of stdin.
    pub(crate) body: Option<String>,
    pub(crate) text: bool,
    pub(crate) timeout: Duration,
}

/// What `call` is to do.
pub(crate) struct CallOrder {
    pub(crate) to: Destination,
    pub(crate) from: Option<String>,
    pub(crate) message_type: String,
    /// `-` is all of stdin.
    pub(crate) body: Option<String>,
    pub(crate) text: bool,
    pub(crate) timeout: Duration,
}

impl SendArgs {
    pub(crate) fn read(self) -> Result<SendOrder, Failure> {
        let mut words = self.words.into_iter();
        let to = match self.topic {
            Some(topic) => Destination::Topic(topic),
            None => Destination::Node(words.next().ok_or_else(|| {
                Failure::usage("the receiver is missing. Right is: telex send NODE [BODY], or --topic TOPIC in place of NODE")
            })?),
        };
        let Sent { from, text, timeout } = self.sent;
        let body = words.next().filter(|body| body != "-").map(|body| given(body, text));
        if words.next().is_some() {
            return Err(Failure::usage("with --topic there is no NODE: telex send --topic TOPIC [BODY]"));
        }
        Ok(SendOrder { to, from, body, text, timeout })
    }
}

impl CallArgs {
    pub(crate) fn read(self) -> Result<CallOrder, Failure> {
        let mut words = self.words.into_iter();
        let to = match self.topic {
            Some(topic) => Destination::Topic(topic),
            None if self.daemon => Destination::Daemon,
            None => Destination::Node(words.next().unwrap_or_default()),
        };
        let message_type = words.next().ok_or_else(|| {
            Failure::usage(
                "what type of request? Right is: telex call NODE TYPE [BODY], or --daemon in place of NODE",
            )
        })?;
        let Sent { from, text, timeout } = self.sent;
        let body = words.next().map(|body| given(body, text));
        if words.next().is_some() {
            return Err(Failure::usage(
                "with --daemon or --topic there is no NODE: telex call --daemon TYPE [BODY]",
            ));
        }
        Ok(CallOrder { to, from, message_type, body, text, timeout })
    }
}

/// A body as it was given. What is blank would be sent as none, and can mean one thing only.
fn given(body: String, text: bool) -> String {
    if !text && body.trim_ascii().is_empty() { "\"\"".to_owned() } else { body }
}

/// Reads the time of a request.
fn timeout(text: &str) -> Result<Duration, String> {
    let timeout = duration::parse(text).map_err(|bad| bad.to_string())?;
    if timeout > TIMEOUT_MAX { Err("1h is the most".to_owned()) } else { Ok(timeout) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// The words of a line, with the quotes of a shell.
    fn split(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        for (at, part) in line.split('\'').enumerate() {
            for (index, piece) in part.split(if at % 2 == 0 { ' ' } else { '\0' }).enumerate() {
                if index > 0 {
                    words.push(String::new());
                }
                words.last_mut().expect("a word").push_str(piece);
            }
        }
        words.retain(|word| !word.is_empty());
        words
    }

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(split(line))
    }

    #[test]
    fn the_definition_holds() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_example_is_right() {
        let mut count = 0;
        for examples in [SEND_EXAMPLES, CALL_EXAMPLES, LISTEN_EXAMPLES, LIST_EXAMPLES] {
            for line in examples.lines().skip(1) {
                let command = line.rsplit("| ").next().expect("a command");
                let read = match parse(command).expect(line).command {
                    Command::Send(send) => send.read().map(drop),
                    Command::Call(call) => call.read().map(drop),
                    Command::Listen(_) | Command::List(_) => Ok(()),
                };
                assert!(read.is_ok(), "{line}");
                count += 1;
            }
        }
        assert_eq!(count, 12);
    }

    #[test]
    fn words_find_their_places() {
        let send = |line: &str| match parse(line).expect(line).command {
            Command::Send(send) => send.read().map(|send| (send.to, send.body)).map_err(|f| f.words),
            _ => panic!("{line}"),
        };
        let node = || Destination::Node("a".to_owned());
        assert_eq!(send("telex send a"), Ok((node(), None)));
        assert_eq!(send("telex send a -"), Ok((node(), None)));
        assert_eq!(send("telex send a -5"), Ok((node(), Some("-5".to_owned()))));
        assert_eq!(
            send("telex send --topic t 1"),
            Ok((Destination::Topic("t".to_owned()), Some("1".to_owned())))
        );
        assert!(send("telex send --topic t a 1").is_err());
        assert!(send("telex send").is_err());
        let call = |line: &str| match parse(line).expect(line).command {
            Command::Call(call) => {
                call.read().map(|call| (call.to, call.message_type, call.body)).map_err(|f| f.words)
            }
            _ => panic!("{line}"),
        };
        assert_eq!(call("telex call a ask"), Ok((node(), "ask".to_owned(), None)));
        assert_eq!(
            call("telex call --daemon resolve -"),
            Ok((Destination::Daemon, "resolve".to_owned(), Some("-".to_owned())))
        );
        assert!(call("telex call a").is_err());
        assert!(call("telex call --daemon a ask 1").is_err());
    }

    #[test]
    fn what_does_not_go_together() {
        for line in [
            "telex",
            "telex call",
            "telex call --daemon --topic t ask",
            "telex listen",
            "telex listen a --group g",
            "telex listen a --count 0",
            "telex listen a --timeout soon",
            "telex list --json --table",
            "telex list --json -q",
            "telex send a 1 2",
            "telex send a --timeout 2h",
            "telex call a ask --timeout 2h",
            "telex nonsense",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
