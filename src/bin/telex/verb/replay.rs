//! Knows how a recording is sent again, and how its progress and its end are told.
//! Never: sends anything of a file that has a line at fault.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use telex::client::{Client, Error, To};

use crate::context::{CONNECT_TIMEOUT, Context, Form};
use crate::exit::{Exit, Failure};
use crate::given;
use crate::output::{Results, counted};
use crate::progress::Progress;
use crate::recording::{Again, Recorded, Source};
use crate::replaying::Replaying;
use crate::socket::raise_descriptor_limit;
use crate::stop::Stop;
use crate::stream::deadline_after;

pub(super) const EXAMPLES: &str = r#"Examples:
  telex replay traffic.jsonl
  telex replay traffic.jsonl --speed max --as-them"#;

/// Send the messages of a recording again
///
/// Requests, signals and publications are sent in their order and with the time between them that they had, each
/// recorded sender's over a connection of its own. Replies are left out, and what was for the daemon itself. It ends when
/// all requests have been answered.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Replay {
    /// What telex record has written
    file: String,
    /// Send this many times as fast as it was recorded; max (or 0) is as fast as it goes
    #[arg(long, value_name = "TIMES", default_value = "1", value_parser = speed)]
    speed: Speed,
    /// From the nodes that sent it, which must not be there; else the senders have no names
    #[arg(long)]
    as_them: bool,
    /// Wait so long for the answers after the last message
    #[arg(short = 'W', long = "wait", value_name = "TIME", default_value = "70s", value_parser = given::duration)]
    wait: Duration,
}

/// A recorded pause that is made longer than this would be beyond what a clock can tell.
const TIMES_MIN: f64 = 1e-6;

/// How many times as fast as it was; none is as fast as it goes.
#[derive(Clone, Copy, Debug)]
struct Speed(Option<f64>);

fn speed(text: &str) -> Result<Speed, String> {
    match text.parse::<f64>() {
        _ if text == "max" => Ok(Speed(None)),
        Ok(0.0) => Ok(Speed(None)),
        Ok(times) if times.is_finite() && times >= TIMES_MIN => Ok(Speed(Some(times))),
        _ => Err(given::pointed("it is a number, such as 0.5 or 10, and 0.000001 at least, or max", text, 0)),
    }
}

/// What stands in a recording.
#[derive(Default)]
struct Contents {
    /// The senders, and the nodes that they sent from.
    senders: BTreeMap<String, HashSet<String>>,
    began: Option<f64>,
    messages: u64,
    replies: u64,
    to_daemon: u64,
}

impl Contents {
    fn add(&mut self, recorded: &Recorded) {
        match recorded.again() {
            Again::Reply => self.replies += 1,
            Again::ToDaemon => self.to_daemon += 1,
            Again::Sent => {
                self.messages += 1;
                self.began.get_or_insert(recorded.time);
                let names = self.senders.entry(recorded.sender.clone()).or_default();
                names.extend(recorded.node().map(str::to_owned));
            }
        }
    }
}

impl Replay {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let source = Source::open(&self.file)?;
        let mut contents = Contents::default();
        source.read(|recorded| {
            contents.add(&recorded);
            Ok(())
        })?;
        if self.as_them {
            let names: BTreeSet<&String> = contents.senders.values().flatten().collect();
            context.talk(CONNECT_TIMEOUT, |client| names.into_iter().try_for_each(|name| is_free(client, name)))?;
        }
        let address = context.address()?;
        let stop = Stop::watch()?;
        let mut replaying = Replaying::new(contents.messages, &stop, context.words);
        let none = HashSet::new();
        raise_descriptor_limit();
        for (sender, names) in &contents.senders {
            replaying.join(&address, sender, if self.as_them { names } else { &none })?;
        }
        let began = Instant::now();
        let ended = self.send(&mut replaying, &source, &contents);
        replaying.progress.end();
        let stopped = |failure| Failure { words: "it was ended before its time".to_owned(), ..failure };
        let ended = ended.and_then(|is_done| if is_done { Ok(()) } else { stop.check().map_err(stopped) });
        let told = self.tell(replaying, &contents, began.elapsed(), context)?;
        ended.and(told)
    }

    /// Sends it all, and waits for the answers. False if the user wants an end before.
    fn send(&self, replaying: &mut Replaying<'_>, source: &Source, contents: &Contents) -> Result<bool, Failure> {
        let mut is_wanted = replaying.settle(deadline_after(CONNECT_TIMEOUT))?;
        let began = Instant::now();
        source.read(|recorded| {
            if !is_wanted || recorded.again() != Again::Sent {
                return Ok(());
            }
            let after = recorded.time - contents.began.unwrap_or_default();
            // A clock that was set back is as if no time had passed.
            let after = self.speed.0.map(|times| Duration::try_from_secs_f64((after / times).max(0.0)));
            let due = after.and_then(|after| began.checked_add(after.unwrap_or(Duration::MAX)));
            // Before it is waited for long.
            let is_long = due.is_some_and(|due| due > Instant::now() + Progress::EVERY);
            replaying.progress.show(replaying.outcome.sent, is_long);
            is_wanted = replaying.send(&recorded, due)?;
            Ok(())
        })?;
        Ok(is_wanted && replaying.finish(deadline_after(self.wait))?)
    }

    /// Tells what has become of it; the error is what all that went wrong comes to.
    fn tell(
        &self,
        replaying: Replaying<'_>,
        contents: &Contents,
        took: Duration,
        context: &Context,
    ) -> Result<Result<(), Failure>, Failure> {
        let unanswered = replaying.unanswered();
        let outcome = replaying.outcome;
        // The file may hold others by now.
        let not_sent = contents.messages.saturating_sub(outcome.sent);
        let (mut results, seconds) = (Results::new(), took.as_secs_f64());
        if context.form() == Form::Json {
            let left_out = json!({"replies": contents.replies, "to_daemon": contents.to_daemon});
            let told = json!({
                "sent": outcome.sent, "not_sent": not_sent, "left_out": left_out,
                "answers": outcome.answers, "errors": outcome.errors, "unanswered": unanswered,
                "came": outcome.came, "seconds": seconds,
            });
            results.line(&told.to_string())?;
        } else {
            let errors = outcome.errors.iter().map(|(code, count)| format!("{count} {code}"));
            let errors = errors.collect::<Vec<_>>().join(", ");
            results.line(&format!("{} of {} messages sent in {seconds:.1} s", outcome.sent, contents.messages))?;
            results.line(&format!("left out: {} replies, {} to the daemon", contents.replies, contents.to_daemon))?;
            results.line(&format!("answers: {}, unanswered: {unanswered}", outcome.answers))?;
            results.line(&format!("errors: {}", if errors.is_empty() { "none" } else { &errors }))?;
        }
        results.flush()?;
        let ended = outcome.end(context.words);
        let late = || format!("no answer came in time to {}", counted(unanswered, "request"));
        let lost = || format!("{} could not be sent", counted(not_sent, "message"));
        Ok(ended.and(match (unanswered, not_sent) {
            (0, 0) => Ok(()),
            (0, _) => Err(Failure::new(Exit::Refused, lost())),
            _ => Err(Failure::new(Exit::Timeout, late())),
        }))
    }
}

/// Refuses a node that is there.
fn is_free(client: &mut Client, name: &str) -> Result<(), Failure> {
    let body = json!({"node_id": name}).to_string();
    let told = match client.call(To::Daemon, "resolve", &body, CONNECT_TIMEOUT) {
        Err(Error::NoSuchNode(_)) => return Ok(()),
        told => told?.body_value(),
    };
    match told["instances"].as_array() {
        Some(instances) if !instances.is_empty() => {
            Err(Failure::new(Exit::Denied, format!("\"{name}\" is there: its messages are not sent as from it beside it")))
        }
        _ => Ok(()),
    }
}
