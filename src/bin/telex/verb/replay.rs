//! Knows how a recording is sent again, and how its progress and its end are told.
//! Never: sends anything of a file that has a line at fault.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use telex::client::{Client, Error, To};
use telex::duration;

use crate::context::{CONNECT_TIMEOUT, Context, Form};
use crate::exit::{Exit, Failure};
use crate::stop::Stop;
use crate::output::{Results, Words};
use crate::recording::{Again, Recorded, read};
use crate::replaying::Replaying;
use crate::socket::raise_descriptor_limit;
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
    /// So many times as fast as it was; max (or 0) is as fast as it goes
    #[arg(long, value_name = "TIMES", default_value = "1", value_parser = speed)]
    speed: Speed,
    /// From the nodes that sent it, which must not be there; else the senders have no names
    #[arg(long)]
    as_them: bool,
    /// Wait so long for the answers after the last message
    #[arg(short = 'W', long = "wait", value_name = "TIME", default_value = "70s", value_parser = duration::parse)]
    wait: Duration,
}

/// How many times as fast as it was; none is as fast as it goes.
#[derive(Clone, Copy, Debug)]
struct Speed(Option<f64>);

fn speed(text: &str) -> Result<Speed, String> {
    match text.parse::<f64>() {
        _ if text == "max" => Ok(Speed(None)),
        Ok(0.0) => Ok(Speed(None)),
        Ok(times) if times.is_finite() && times > 0.0 => Ok(Speed(Some(times))),
        _ => Err("it is a number, such as 0.5 or 10, or max".to_owned()),
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
        let mut contents = Contents::default();
        read(&self.file, |recorded| {
            contents.add(&recorded);
            Ok(())
        })?;
        if self.as_them {
            let names: BTreeSet<&String> = contents.senders.values().flatten().collect();
            context.talk(CONNECT_TIMEOUT, |client| names.into_iter().try_for_each(|name| is_free(client, name)))?;
        }
        let address = context.address()?;
        let stop = Stop::watch()?;
        let mut replaying = Replaying::new(&stop, context.words);
        let none = HashSet::new();
        raise_descriptor_limit();
        for (sender, names) in &contents.senders {
            replaying.join(&address, sender, if self.as_them { names } else { &none })?;
        }
        let began = Instant::now();
        let ended = self.send(&mut replaying, &contents, context.words);
        let told = self.tell(replaying, &contents, began.elapsed(), context)?;
        ended.and(told)
    }

    fn send(&self, replaying: &mut Replaying<'_>, contents: &Contents, words: Words) -> Result<(), Failure> {
        let mut is_wanted = replaying.settle(deadline_after(CONNECT_TIMEOUT))?;
        let mut progress = Progress::new(contents.messages, words);
        let began = Instant::now();
        let sent = read(&self.file, |recorded| {
            if !is_wanted || recorded.again() != Again::Sent {
                return Ok(());
            }
            let after = recorded.time - contents.began.unwrap_or_default();
            // A clock that was set back is as if no time had passed.
            let after = self.speed.0.map(|times| Duration::try_from_secs_f64((after / times).max(0.0)));
            let due = after.and_then(|after| began.checked_add(after.unwrap_or(Duration::MAX)));
            // Before it is waited for long.
            let is_long = due.is_some_and(|due| due > Instant::now() + Progress::EVERY);
            progress.show(replaying.outcome.sent, is_long);
            is_wanted = replaying.send(&recorded, due)?;
            Ok(())
        });
        let is_wanted = sent.and_then(|()| Ok(is_wanted && replaying.finish(deadline_after(self.wait))?));
        progress.end();
        match is_wanted? {
            true => Ok(()),
            false => Err(Failure::new(Exit::Refused, "it was ended before its time")),
        }
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
        let (mut results, seconds) = (Results::new(), took.as_secs_f64());
        if context.form() == Form::Json {
            let left_out = json!({"replies": contents.replies, "to_daemon": contents.to_daemon});
            let told = json!({
                "sent": outcome.sent, "not_sent": contents.messages - outcome.sent, "left_out": left_out,
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
        let late = || Failure::new(Exit::Timeout, format!("{unanswered} requests were not answered in time"));
        Ok(ended.and(if unanswered == 0 { Ok(()) } else { Err(late()) }))
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

/// How far it is, on a line of a terminal. A bar of its own needs no more than this, and is quiet where words are.
struct Progress {
    all: u64,
    is_shown: bool,
    next: Instant,
}

impl Progress {
    const EVERY: Duration = Duration::from_millis(100);
    const WIDTH: u64 = 40;

    fn new(all: u64, words: Words) -> Progress {
        Progress { all, is_shown: std::io::stderr().is_terminal() && !words.quiet, next: Instant::now() }
    }

    fn show(&mut self, sent: u64, is_due: bool) {
        if !self.is_shown || !is_due && Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + Progress::EVERY;
        let full = (sent * Progress::WIDTH / self.all.max(1)) as usize;
        let empty = Progress::WIDTH as usize - full;
        let bar = format!("\r[{}{}] {sent} of {}", "#".repeat(full), " ".repeat(empty), self.all);
        // Nothing depends on it.
        let _ = std::io::stderr().write_all(bar.as_bytes());
    }

    fn end(&self) {
        if self.is_shown {
            // The line is erased.
            let _ = std::io::stderr().write_all(b"\r\x1b[K");
        }
    }
}
