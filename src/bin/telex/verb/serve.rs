//! Knows how a command becomes a node.
//! Never: runs it itself.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;
use telex::client::{Delivery, Register};

use crate::command::Order;
use crate::context::{CONNECT_TIMEOUT, Context};
use crate::exit::Failure;
use crate::given;
use crate::groups::Groups;
use crate::keep::{Bounds, Reconnect};
use crate::serving::{Serving, Wanted};
use crate::stop::Stop;

pub(super) const EXAMPLES: &str = r#"Examples:
  telex serve upper -- tr a-z A-Z
  telex serve disk --type free --timeout 5s -- df --output=avail /
  telex serve worker --delivery one --jobs 4 -- ./work"#;

/// Make a command a node: each message is one run of it
///
/// The body of the request stands on the command's stdin. Its stdout is the answer: an object is the body of the reply (with
/// its "error", a string, as an error), other JSON is "result", anything else "result" as a string without its last LF, and
/// no output at all is null. A status other than 0 is an error, with the last line of stderr. The environment has TELEX_TYPE,
/// TELEX_FROM, TELEX_TO, TELEX_KEY, TELEX_MESSAGE_ID, TELEX_UID, TELEX_GID, TELEX_PID and TELEX_USER, as far as they are
/// known. Nothing of a message reaches a shell. A signal is a run, too, whose output goes nowhere.
///
/// At the end, by Ctrl-C or SIGTERM, all runs are killed. If the switch goes, requests are, and the signals that had come are
/// done.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Serve {
    /// The node
    name: String,
    /// all: every instance gets every message; one: they share them
    #[arg(long, value_name = "all|one", value_parser = ["all", "one"])]
    delivery: Option<String>,
    /// Join the node if it has other instances
    #[arg(long)]
    join: bool,
    /// Run at most N at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,
    /// Answer requests of this type alone; may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Kill a run, with all processes that it has started, after this time
    #[arg(long, value_name = "TIME", value_parser = given::duration)]
    timeout: Option<Duration>,
    /// Take the output as text, whatever it looks like
    #[arg(long)]
    text: bool,
    #[command(flatten)]
    reconnect: Reconnect,
    /// The command
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Serve {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let delivery = self.delivery.as_deref().map(|word| if word == "one" { Delivery::One } else { Delivery::All });
        let is_alone = delivery != Some(Delivery::One) && !self.join;
        let options = Register {
            node_id: Some(self.name.as_str().into()),
            delivery,
            exclusive: is_alone.then_some(true),
            credentials: Some(true),
            ..Register::default()
        };
        let order = Order {
            words: self.command,
            timeout: self.timeout,
            is_text: self.text,
            is_quiet: context.words.quiet,
            groups: Groups::default(),
        };
        let stop = Stop::watch()?;
        let mut serving = Serving::new(context, &stop, order, usize::from(self.jobs))?;
        let ended = self.reconnect.keep(context, CONNECT_TIMEOUT, Bounds::of(&stop), |client| {
            let name = client.register_with(&options)?;
            context.words.say(&format!("serving {name}"));
            serving.run(client, |message| {
                let is_known = self.types.is_empty() || self.types.iter().any(|known| known == message.message_type());
                match (is_known, message.is_request()) {
                    (true, _) => Wanted::Yes,
                    (false, true) => Wanted::Refused(format!(
                        "\"{}\" is not answered here; known are: {}",
                        message.message_type(),
                        self.types.join(", ")
                    )),
                    (false, false) => Wanted::No,
                }
            })
        });
        serving.finish(ended)
    }
}
