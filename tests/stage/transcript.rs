//! Knows the form of a transcript: a story of what clients of the daemon do and see, line by line.
//! Never: who plays it.
//!
//! ```text
//! # A comment.
//! core only: why the story cannot be played with a process    (head: before all that happens)
//! unix only: why it has to be a Unix socket                   (head)
//! no cuts: why it matters how its input is cut                (head)
//! set max_queue_bytes=8192 shared_names=any                   (head: settings of the daemon)
//!
//! a connects                        over the socket that the driver chooses, as the driver's user
//! b connects over tcp               `over tcp`, `over unix`, `as uid 1001` (core only)
//! a> {"message_type":"whoami"}      a line that a sends, its LF added
//! a>> "half a li\r\n\xff"           bytes as they are; \n \r \t \" \\ and \xNN are escapes
//! a< {"message_type":"whoami_reply","body":{"unique_id":"$me"}}       a line that a gets
//! a<= {"message_type":"signal"}     a line that a gets, byte for byte
//! a< nothing                        all that was to come to a has come
//! 10 times: a> {"message_id":{{i}},"message_type":"ask","to":"b"}     {{i}}: 1 to 10
//! 30s pass                          also ms
//! a reads nothing                   what is for a stays in the daemon (core only)
//! a reads 500 bytes                 so much more, and then nothing again (core only)
//! a reads again
//! a half-closes
//! a hangs up
//! a is closed                       by the daemon, all lines before that being expected
//! a is closed within a line         so that it gets a part of it
//! the reload ends with {"applied":["max_names"],"restart":[]}        the first one that waits (core only)
//! the reload fails: what is wrong                                    the same
//! the daemon is told to stop
//! ```
//!
//! An expected line is JSON: each member of an object must be there and match, others may be there
//! too; arrays match whole. A string `"*"` matches anything, `"<absent>"` says that the member must
//! not be there, any other string with `*` in it stands for strings, `*` being any run of
//! characters. `"$name"` takes what is there at first and is equal to it from then on, also in the
//! lines that are sent, there with its quotes. `{{text*1000}}` is a text repeated. Every line that a
//! client gets has to be expected, in its order.

use std::path::Path;
use std::time::Duration;

/// A story.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    /// The file's name.
    pub(crate) name: String,
    /// Not to be played with a process.
    pub(crate) core_only: bool,
    /// Not to be played over TCP.
    pub(crate) unix_only: bool,
    /// Not to be played with its input cut into other pieces.
    pub(crate) no_cuts: bool,
    /// Keys and values.
    pub(crate) settings: Vec<String>,
    /// What happens, each with its line number.
    pub(crate) steps: Vec<(usize, Step)>,
}

/// Something that happens.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Connects(String, How),
    /// What it sends, `"$name"` not yet replaced.
    Sends(String, Vec<u8>),
    Gets(String, Expected),
    Reads(String, Reading),
    HalfCloses(String),
    HangsUp(String),
    /// Whether within a line.
    IsClosed(String, bool),
    Pass(Duration),
    /// What comes of the first reload that waits: what its reply has, or what is wrong.
    Reloads(Result<serde_json::Value, String>),
    Stops,
}

/// How a client connects.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct How {
    /// Over TCP or not; none: as the driver likes.
    pub(crate) tcp: Option<bool>,
    /// As another user.
    pub(crate) uid: Option<u32>,
}

/// What a client is to get.
#[derive(Clone, Debug)]
pub(crate) enum Expected {
    Like(serde_json::Value),
    Exactly(String),
    Nothing,
}

/// How much a client reads from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Nothing,
    Bytes(usize),
    Everything,
}

impl Transcript {
    /// All stories, in the order of their names.
    pub(crate) fn all() -> Vec<Transcript> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
        let files = std::fs::read_dir(&folder).expect("tests/transcripts");
        let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
        paths.sort();
        if let Some(wanted) = std::env::var_os("TRANSCRIPT") {
            paths.retain(|path| path.file_name() == Some(&wanted));
        }
        paths.iter().map(|path| Transcript::load(path)).collect()
    }

    fn load(path: &Path) -> Transcript {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(path).expect("a readable file");
        Transcript::parse(name, &text).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Reads a story; the error names file and line.
    pub(crate) fn parse(name: String, text: &str) -> Result<Transcript, String> {
        let mut story = Transcript { name, ..Transcript::default() };
        for (number, line) in (1..).zip(text.lines()) {
            let fault = |why: String| format!("tests/transcripts/{}:{number}: {why}: {line}", story.name);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let is_head = story.steps.is_empty();
            if is_head && line.starts_with("core only: ") {
                story.core_only = true;
            } else if is_head && line.starts_with("unix only: ") {
                story.unix_only = true;
            } else if is_head && line.starts_with("no cuts: ") {
                story.no_cuts = true;
            } else if is_head && let Some(settings) = line.strip_prefix("set ") {
                story.settings.extend(settings.split(' ').map(str::to_owned));
            } else {
                let steps = read_step(line).map_err(fault)?;
                story.steps.extend(steps.into_iter().map(|step| (number, step)));
            }
        }
        story.check()
    }

    /// What a process cannot play has to say so.
    fn check(self) -> Result<Transcript, String> {
        const REAL_TIME_MAX: Duration = Duration::from_secs(2);
        let passed: Duration = self.steps.iter().map(|(_, step)| step.takes()).sum();
        let needs_core = |(_, step): &(usize, Step)| match step {
            Step::Connects(_, how) => how.uid.is_some(),
            Step::Reads(..) | Step::Reloads(_) => true,
            _ => false,
        };
        let name = &self.name;
        match self.core_only || (passed < REAL_TIME_MAX && !self.steps.iter().any(needs_core)) {
            true => Ok(self),
            false => Err(format!("tests/transcripts/{name}: no process can play this: add `core only: why`")),
        }
    }
}

impl Step {
    fn takes(&self) -> Duration {
        if let Step::Pass(time) = self { *time } else { Duration::ZERO }
    }
}

fn read_step(line: &str) -> Result<Vec<Step>, String> {
    if let Some((count, step)) = line.split_once(" times: ") {
        let count: usize = count.parse().map_err(|_| "no number of times".to_owned())?;
        return (1..=count).map(|i| read_one(step, i)).collect();
    }
    Ok(vec![read_one(line, 1)?])
}

fn read_one(line: &str, i: usize) -> Result<Step, String> {
    let (who, what) = line.split_once(' ').ok_or("neither client nor time")?;
    let line = |text: &str| expand(text, i);
    let client = |mark: &str| who.strip_suffix(mark).map(str::to_owned);
    if let Some(client) = client("<=") {
        return Ok(Step::Gets(client, Expected::Exactly(line(what)?)));
    } else if let Some(client) = client("<") {
        return Ok(Step::Gets(client, expected(&line(what)?)?));
    } else if let Some(client) = client(">>") {
        return Ok(Step::Sends(client, unescape(&line(what)?)?));
    } else if let Some(client) = client(">") {
        return Ok(Step::Sends(client, (line(what)? + "\n").into_bytes()));
    } else if let Some(error) = what.strip_prefix("reload fails: ") {
        return Ok(Step::Reloads(Err(error.to_owned())));
    } else if let Some(outcome) = what.strip_prefix("reload ends with ") {
        let outcome = serde_json::from_str(outcome).map_err(|error| error.to_string())?;
        return Ok(Step::Reloads(Ok(outcome)));
    } else if what == "pass" {
        return duration(who).map(Step::Pass).ok_or("no time".to_owned());
    }
    let client = who.to_owned();
    let words: Vec<_> = what.split(' ').collect();
    Ok(match words[..] {
        ["connects", ref how @ ..] => Step::Connects(client, read_how(how)?),
        ["half-closes"] => Step::HalfCloses(client),
        ["hangs", "up"] => Step::HangsUp(client),
        ["is", "closed"] => Step::IsClosed(client, false),
        ["is", "closed", "within", "a", "line"] => Step::IsClosed(client, true),
        ["reads", "nothing"] => Step::Reads(client, Reading::Nothing),
        ["reads", "again"] => Step::Reads(client, Reading::Everything),
        ["reads", count, "bytes"] => {
            let count = count.parse().map_err(|_| "no number of bytes".to_owned())?;
            Step::Reads(client, Reading::Bytes(count))
        }
        ["daemon", "is", "told", "to", "stop"] if who == "the" => Step::Stops,
        _ => return Err("nothing that can happen".to_owned()),
    })
}

fn read_how(words: &[&str]) -> Result<How, String> {
    Ok(match words {
        [] => How::default(),
        ["over", "tcp"] => How { tcp: Some(true), ..How::default() },
        ["over", "unix"] => How { tcp: Some(false), ..How::default() },
        ["as", "uid", uid] => {
            How { uid: Some(uid.parse().map_err(|_| "no uid".to_owned())?), tcp: Some(false) }
        }
        _ => return Err("no way to connect".to_owned()),
    })
}

fn expected(text: &str) -> Result<Expected, String> {
    if text == "nothing" {
        return Ok(Expected::Nothing);
    }
    serde_json::from_str(text).map(Expected::Like).map_err(|error| error.to_string())
}

fn duration(text: &str) -> Option<Duration> {
    match text.strip_suffix("ms") {
        Some(ms) => ms.parse().ok().map(Duration::from_millis),
        None => text.strip_suffix('s')?.parse().ok().map(Duration::from_secs),
    }
}

/// Puts `i` for `{{i}}`, and a text n times for `{{text*n}}`.
fn expand(text: &str, i: usize) -> Result<String, String> {
    let text = text.replace("{{i}}", &i.to_string());
    let mut out = String::new();
    let mut rest = &*text;
    while let Some((before, behind)) = rest.split_once("{{") {
        // `}}` may be part of what is repeated: it is the first one behind a number.
        let ends = behind.match_indices("}}").map(|(end, _)| (&behind[..end], &behind[end + 2..]));
        let mut repeated =
            ends.filter_map(|(inner, rest)| inner.rsplit_once('*').map(|(text, n)| (text, n, rest)));
        match repeated.find_map(|(text, n, rest)| Some((text, n.parse::<usize>().ok()?, rest))) {
            Some((text, n, behind)) => {
                out += before;
                out += &text.repeat(n);
                rest = behind;
            }
            // Two braces of JSON.
            None => {
                out += before;
                out += "{{";
                rest = behind;
            }
        }
    }
    Ok(out + rest)
}

fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).ok_or("no quotes")?;
    let mut out = Vec::new();
    let mut rest = inner.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        if *first != b'\\' {
            out.push(*first);
            continue;
        }
        let (escape, behind) = rest.split_first().ok_or("half an escape")?;
        rest = behind;
        out.push(match escape {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'"' | b'\\' => *escape,
            b'x' => {
                let (digits, behind) = rest.split_at_checked(2).ok_or("half an escape")?;
                rest = behind;
                let digits = std::str::from_utf8(digits).map_err(|error| error.to_string())?;
                u8::from_str_radix(digits, 16).map_err(|error| error.to_string())?
            }
            _ => return Err("no such escape".to_owned()),
        });
    }
    Ok(out)
}
