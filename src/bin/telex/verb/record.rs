//! Knows how what a tap says gets into a file.
//! Never: what of it can be replayed.

use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use clap::Args;
use nix::poll::PollFlags;
use telex::client::{Client, Message};

use crate::answer::{Members, ask};
use crate::context::{CONNECT_TIMEOUT, Context};
use crate::exit::{Failure, until_told};
use crate::given;
use crate::notice::notice;
use crate::output::{Words, counted, safe_json};
use crate::recording::Recording;
use crate::stop::Stop;
use crate::stream::deadline_after;
use crate::tapping::Filters;
use crate::wait::wait;

pub(super) const EXAMPLES: &str = r#"Examples:
  telex record traffic.jsonl
  telex record - --plain --to heating -W 10m | gzip > heating.gz"#;

/// Record the messages that clients send
///
/// For administrators. Each message is a line of JSON: time, sender, line (the message as a text) and verdict. It goes on
/// until Ctrl-C, and then says how many messages there were, and how many the daemon had no room to tell.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Record {
    /// The file; - is stdout
    file: String,
    /// The messages alone, as they were sent; they cannot be replayed
    #[arg(long, conflicts_with = "snap")]
    plain: bool,
    /// Overwrite the file
    #[arg(long)]
    force: bool,
    /// End after N messages
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after this time
    #[arg(short = 'W', long = "wait", value_name = "TIME", value_parser = given::duration)]
    wait: Option<Duration>,
    #[command(flatten)]
    filters: Filters,
}

impl Record {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        context.talk(CONNECT_TIMEOUT, |client| {
            ask(client, "tap", &self.filters.body())?;
            let deadline = self.wait.and_then(deadline_after);
            let stop = Stop::watch()?;
            let recording = Recording::create(&self.file, self.force)?;
            let is_shown = self.file == "-" && std::io::stdout().is_terminal();
            let mut recorder = Recorder { recording, is_plain: self.plain, is_shown, taken: 0, missed: 0 };
            context.words.say("recording");
            let ended = self.go_on(client, &mut recorder, &stop, deadline, context.words);
            // What has come is kept, however it ended.
            let ended = if self.count.is_some() { ended } else { until_told(ended) };
            let ended = recorder.recording.finish().and(ended);
            let (lines, missed) = (recorder.recording.lines(), recorder.missed);
            context.words.say(&format!("{} recorded, {missed} missed", counted(lines, "message")));
            ended
        })
    }

    fn go_on(
        &self,
        client: &mut Client,
        recorder: &mut Recorder,
        stop: &Stop,
        deadline: Option<Instant>,
        words: Words,
    ) -> Result<(), Failure> {
        /// So many are taken before it is looked whether it is enough.
        const AT_ONCE: usize = 256;
        let stdout = std::io::stdout();
        loop {
            for _ in 0..AT_ONCE {
                let Some(message) = client.next(Some(Duration::ZERO))? else {
                    recorder.recording.flush()?;
                    let files = [
                        (client.as_fd(), PollFlags::POLLIN),
                        (stop.as_fd(), PollFlags::POLLIN),
                        (stdout.as_fd(), PollFlags::empty()),
                    ];
                    let watched = if self.file == "-" { &files[..] } else { &files[..2] };
                    match wait(watched, deadline)? {
                        Some(0) => continue,
                        Some(1) => return stop.check(),
                        None => return Ok(()),
                        Some(_) => return Err(Failure::reader_gone()),
                    }
                };
                recorder.take(&message, words)?;
                if self.count == Some(recorder.taken) {
                    return Ok(());
                }
            }
            stop.check()?;
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Ok(());
            }
        }
    }
}

struct Recorder {
    recording: Recording,
    is_plain: bool,
    /// Whether it goes to a terminal.
    is_shown: bool,
    taken: u64,
    missed: u64,
}

impl Recorder {
    fn take(&mut self, message: &Message, words: Words) -> Result<(), Failure> {
        let body = message.body_value();
        if message.from().is_none() && body["event"] == "lagged" {
            self.missed += body["count"].as_u64().unwrap_or_default();
        }
        let is_copy = message.from().is_none() && body["event"] == "tap";
        let Some(line) = body["line"].as_str().filter(|_| is_copy) else {
            notice(message).into_iter().for_each(|notice| words.say(&notice));
            return Ok(());
        };
        let told = match self.is_plain {
            true => line.to_owned(),
            false => told(message).unwrap_or_default(),
        };
        self.taken += 1;
        self.recording.line(&if self.is_shown { safe_json(&told) } else { told })
    }
}

/// What is kept of what the daemon says of a message.
fn told(message: &Message) -> Option<String> {
    let members: Members = serde_json::from_str(message.body()?).ok()?;
    let kept = ["time", "sender", "line", "line_bytes", "verdict"].into_iter();
    let kept = kept.filter_map(|name| Some(format!("\"{name}\":{}", members.raw(name)?)));
    Some(format!("{{{}}}", kept.collect::<Vec<_>>().join(",")))
}
