//! Knows how the body of a message is given: as an argument, or on stdin.
//! Never: what it is for.

use std::io::{BufRead, ErrorKind, Read};
use std::time::Duration;

use clap::Args;
use telex::client::{self, Client, Unsendable};

use crate::exit::Failure;
use crate::given;

/// What all messages that are sent have in common.
#[derive(Args)]
pub(crate) struct Sent {
    /// Register as NAME first, to be the sender
    #[arg(long, value_name = "NAME")]
    pub(crate) from: Option<String>,
    /// A body is plain text and sent as a JSON string
    #[arg(long)]
    pub(crate) text: bool,
    /// How long to wait for the reply, or at the end until the daemon has taken everything; up to 1h
    #[arg(long, short = 'W', value_name = "TIME", default_value = "60s", value_parser = given::timeout)]
    pub(crate) timeout: Duration,
}

impl Sent {
    /// Becomes the sender that is wanted.
    pub(crate) fn register(&self, client: &mut Client) -> Result<(), Failure> {
        if let Some(name) = &self.from {
            client.register(name)?;
        }
        Ok(())
    }

    /// The body that an argument gives, of which `-` is all of stdin; empty for none. A blank one would be sent as
    /// none, and can mean one thing only.
    pub(crate) fn body(&self, argument: Option<&str>) -> Result<String, Failure> {
        let given = match argument {
            Some("-") => {
                let mut text = String::new();
                let read = std::io::stdin().read_to_string(&mut text);
                read.map_err(|error| Failure::file("stdin", &error))?;
                // The LF that ends the last line belongs to the file and not to the text.
                text.truncate(text.strip_suffix('\n').unwrap_or(&text).len());
                text
            }
            Some(blank) if !self.text && blank.trim_ascii().is_empty() => "\"\"".to_owned(),
            Some(body) => body.to_owned(),
            None => return Ok(String::new()),
        };
        Ok(if self.text { client::text(&given) } else { given })
    }
}

/// Why something with this body cannot be sent, with what would help.
pub(crate) fn unsendable(why: &Unsendable, body: &str, line: Option<u64>, text: bool) -> Failure {
    let mut words = line.map(|line| format!("line {line} of stdin: ")).unwrap_or_default();
    words += &why.to_string();
    match why {
        Unsendable::BadBody { at, .. } if !text => {
            words += "; --text sends it as a string";
            Failure::usage(given::pointed(&words, body, *at))
        }
        _ => Failure::usage(words),
    }
}

/// The bodies that the lines of stdin are, each with the number of its line. Blank lines are none, unless they are text.
pub(crate) fn bodies(is_text: bool) -> impl Iterator<Item = Result<(u64, String), Failure>> {
    let lines = std::io::stdin().lock().lines().zip(1..);
    lines.filter_map(move |(line, number)| match line {
        Ok(line) if is_text => Some(Ok((number, client::text(&line)))),
        Ok(line) => (!line.trim().is_empty()).then_some(Ok((number, line))),
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            Some(Err(Failure::usage(format!("line {number} of stdin: it is not UTF-8"))))
        }
        Err(error) => Some(Err(Failure::file("stdin", &error))),
    })
}
