//! Knows how a story is played on a stage, and how to tell where it went wrong.
//! Never: what the stage is made of.

use std::time::Duration;

use serde_json::Value;

use super::expect::Names;
use super::transcript::{Expected, How, Reading, Step, Transcript};

/// Something that clients can connect to: the core, or a process.
pub(crate) trait Stage {
    fn connects(&mut self, client: &str, how: How);
    fn sends(&mut self, client: &str, bytes: &[u8]);
    fn reads(&mut self, client: &str, reading: Reading);
    fn half_closes(&mut self, client: &str);
    fn hangs_up(&mut self, client: &str);
    /// The next that comes to a client; waits for it.
    fn hears(&mut self, client: &str) -> Heard;
    /// The next that has come to a client when all that was to come has come.
    fn has_heard(&mut self, client: &str) -> Heard;
    fn pass(&mut self, time: Duration);
    /// The first reload that waits is done.
    fn reloads(&mut self, outcome: &Result<Value, String>);
    fn stop(&mut self);
    /// All clients that have connected and not hung up.
    fn clients(&self) -> Vec<String>;
    /// What may help to understand a failure.
    fn testimony(&mut self) -> String;
}

/// What a client hears.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A line without its LF.
    Line(Vec<u8>),
    /// The beginning of a line, and then the end.
    Cut(Vec<u8>),
    /// The end: the daemon has closed the connection.
    Closed,
    Nothing,
}

/// Has all stories played that can be told over Unix sockets, or over TCP.
pub(crate) fn play_all(tcp: bool, play: impl Fn(&Transcript, bool) -> Result<(), String>) {
    let stories = Transcript::all();
    let stories = stories.iter().filter(|story| !(tcp && story.unix_only));
    let failures: Vec<_> = stories.filter_map(|story| play(story, tcp).err()).collect();
    assert!(failures.is_empty(), "{} stories failed\n\n{}", failures.len(), failures.join("\n"));
}

/// Plays the story; the error says where it went wrong, and how.
pub(crate) fn play(story: &Transcript, stage: &mut dyn Stage) -> Result<(), String> {
    let mut names = Names::default();
    let mut closed = Vec::new();
    let mut last_line = 0;
    for (number, step) in &story.steps {
        last_line = *number;
        let played = play_step(step, stage, &mut names);
        played.map_err(|why| tell(story, *number, step, &why, stage))?;
        match step {
            Step::IsClosed(client, _) => closed.push(client.clone()),
            Step::Connects(client, _) => closed.retain(|other| other != client),
            _ => {}
        }
    }
    for client in stage.clients() {
        let heard = stage.has_heard(&client);
        let is_right = match heard {
            Heard::Nothing => true,
            Heard::Closed => closed.contains(&client),
            Heard::Line(_) | Heard::Cut(_) => false,
        };
        if !is_right {
            let why = format!("when the story was over, {client} got {}", show(&heard));
            return Err(tell(story, last_line, "(its end)", &why, stage));
        }
    }
    Ok(())
}

fn tell(
    story: &Transcript,
    number: usize,
    step: impl std::fmt::Debug,
    why: &str,
    stage: &mut dyn Stage,
) -> String {
    let name = &story.name;
    let step = format!("{step:?}");
    let step: String = step.chars().take(300).collect();
    format!("tests/transcripts/{name}:{number}: {why}\n  step: {step}\n{}", stage.testimony())
}

fn play_step(step: &Step, stage: &mut dyn Stage, names: &mut Names) -> Result<(), String> {
    match step {
        Step::Connects(client, how) => stage.connects(client, *how),
        Step::Sends(client, bytes) => stage.sends(client, &names.replace(bytes)?),
        Step::Reads(client, reading) => stage.reads(client, *reading),
        Step::HalfCloses(client) => stage.half_closes(client),
        Step::HangsUp(client) => stage.hangs_up(client),
        Step::Pass(time) => stage.pass(*time),
        Step::Reloads(outcome) => stage.reloads(outcome),
        Step::Stops => stage.stop(),
        Step::IsClosed(client, within_a_line) => {
            let heard = stage.hears(client);
            if !matches!((&heard, within_a_line), (Heard::Closed, false) | (Heard::Cut(_), true)) {
                return Err(format!("{client} is not closed, but got {}", show(&heard)));
            }
        }
        Step::Gets(client, Expected::Nothing) => {
            let heard = stage.has_heard(client);
            if !matches!(heard, Heard::Nothing) {
                return Err(format!("{client} got {}", show(&heard)));
            }
        }
        Step::Gets(client, Expected::Exactly(text)) => match stage.hears(client) {
            Heard::Line(line) if line == text.as_bytes() => {}
            heard => return Err(format!("expected: {text}\n  came:     {}", show(&heard))),
        },
        Step::Gets(client, Expected::Like(wanted)) => {
            let heard = stage.hears(client);
            let told = |why: &str| {
                format!("{why}\n  expected: {}\n  came:     {}", cut(&wanted.to_string()), show(&heard))
            };
            let Heard::Line(line) = &heard else { return Err(told("no line")) };
            let found: Value = serde_json::from_slice(line).map_err(|_| told("the line is no JSON"))?;
            names.compare(wanted, &found).map_err(|why| told(&why))?;
        }
    }
    Ok(())
}

fn show(heard: &Heard) -> String {
    match heard {
        Heard::Line(line) => cut(&String::from_utf8_lossy(line)),
        Heard::Cut(line) => cut(&String::from_utf8_lossy(line)) + " (cut short, and closed)",
        Heard::Closed => "(closed)".to_owned(),
        Heard::Nothing => "(nothing)".to_owned(),
    }
}

fn cut(text: &str) -> String {
    const CHARS_MAX: usize = 1000;
    match text.char_indices().nth(CHARS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
    }
}
