//! The stories of `tests/transcripts`, played with the core alone: its shell is this file, its time
//! is virtual. Each is played with its input in whole lines, several lines at a time, byte by byte,
//! and cut anywhere, which must change nothing. When everybody has gone, nothing may be left.
//!
//! `TRANSCRIPT=key.txt cargo test --test core_transcripts` plays one.
//!
//! The stories have a gate, which is told what to do with a message by the member `gate` of its body:
//! `"drop"`, `"reject"` (the reason is who sent it, as the gate sees him), what is to be replaced
//! (`{"to":"b","topic":"t","message_type":"ask","body":{}}`, each where it is to be another), or the whole
//! line that is to go on (`{"line":"…"}`), right or not. Of such messages alone it keeps count.

mod stage;

use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use telex::clock::Now;
use telex::config::{CommandLine, Config, Machine};
use telex::core::{
    About, Core, Counters, Gate, Identity, Input, Judged, Order, Outcome, Peer, Reloaded, SessionKey, Token,
    Transport, Verdict, Work,
};
use telex::limits::Limits;
use telex::wire::envelope::Field;
use telex::wire::json::unescape;
use telex::wire::message::{Message, Target};
use telex::wire::pointer;
use telex::wire::rewrite::{Changes, rewrite};

use stage::play::{Heard, Stage, play, play_all};
use stage::transcript::{How, Reading, Transcript};

/// Who the daemon runs as, and every client that does not say who it is.
const OWN_UID: u32 = 1000;

/// How what clients send is cut into pieces for the core.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// As the story has it, line by line.
    Lines,
    /// All that a client sends before something else happens.
    Glued,
    Bytes,
    /// Anywhere, and glued or not, as chance will have it, from this seed.
    Anywhere(u64),
    /// Line by line, and between all steps the core is saved and another one restored from that.
    Carried,
}

const CUTS: [Cut; 7] =
    [Cut::Lines, Cut::Carried, Cut::Glued, Cut::Bytes, Cut::Anywhere(1), Cut::Anywhere(2), Cut::Anywhere(3)];

#[test]
fn every_story_over_unix_sockets() {
    play_all(false, play_with_all_cuts);
}

#[test]
fn every_story_over_tcp() {
    play_all(true, play_with_all_cuts);
}

fn play_with_all_cuts(story: &Transcript, tcp: bool) -> Result<(), String> {
    let mut first = None;
    let cuts = if story.no_cuts { &CUTS[..2] } else { &CUTS };
    // What is restored takes less memory than what has grown.
    let counts_memory = story.settings.iter().any(|setting| setting.starts_with("max_memory_bytes"));
    for &cut in cuts {
        if counts_memory && matches!(cut, Cut::Carried) {
            continue;
        }
        let mut shell = Shell::new(story, tcp, cut);
        play(story, &mut shell).map_err(|error| format!("{error}  (cut: {cut:?})"))?;
        let heard = shell.heard();
        if first.get_or_insert_with(|| heard.clone()) != &heard && !matches!(cut, Cut::Glued) {
            return Err(format!("tests/transcripts/{}: another outcome with {cut:?}", story.name));
        }
        shell.everybody_leaves().map_err(|error| format!("tests/transcripts/{}: {error}", story.name))?;
    }
    Ok(())
}

#[test]
fn the_readme_names_every_story() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let readme = std::fs::read_to_string(folder.join("README.md")).expect("a README.md");
    let words = || readme.split(|c: char| c.is_whitespace() || "`,|()".contains(c));
    for named in words().filter(|word| word.ends_with(".txt") && *word != "*.txt") {
        assert!(folder.join(named).exists(), "README.md names {named}, which is not there");
    }
    for file in std::fs::read_dir(&folder).expect("tests/transcripts") {
        let name = file.expect("a file").file_name().into_string().expect("a plain name");
        assert!(name == "README.md" || words().any(|word| word == name), "README.md lacks {name}");
    }
}

#[test]
fn faults_in_a_transcript_are_told() {
    for (text, fault) in [
        ("a> x\nb<\n", "t:2: neither client nor time"),
        ("a< {\n", "t:1: EOF while parsing"),
        ("a waves\n", "t:1: nothing that can happen"),
        ("a>> \"\\q\"\n", "t:1: no such escape"),
        ("3s pass\n", "no process can play this"),
        ("a reads nothing\n", "no process can play this"),
        ("the reload fails: x\n", "no process can play this"),
        ("the reload ends with {\n", "t:1: EOF while parsing"),
    ] {
        let error = Transcript::parse("t".into(), text).expect_err(text);
        assert!(error.contains(fault), "{error}");
    }
    let story = Transcript::parse("t".into(), "a connects\na> {\"message_type\":\"ping\"}\n").expect("right");
    let told = |text: &str| {
        let mut story =
            Transcript { steps: story.steps.clone(), ..Transcript::parse("t".into(), "").unwrap() };
        story.steps.extend(Transcript::parse("t".into(), text).expect(text).steps);
        play(&story, &mut Shell::new(&story, false, Cut::Lines)).expect_err(text)
    };
    assert!(told("").contains("a got {\"message_id\":"), "{}", told(""));
    assert!(told("a< nothing").contains("t:1: a got {\"message_id\""));
    assert!(told("a is closed").contains("t:1: a is not closed, but got"));
    let wrong = told("a< {\"message_type\":\"ping_reply\",\"body\":{\"error\":\"x\"}}");
    assert!(wrong.contains("t:1: body.error is null, not \"x\"\n  expected: {"), "{wrong}");
    assert!(told("a< {\"x\":\"$x\"}").contains("x is absent"));
    assert!(told("a< {\"body\":{\"error\":\"<absent>\"}}").contains("body.error is null"));
    assert!(told("a< {}\na< {}").contains("t:2: no line"));
}

/// A gate that messages tell what to do with them.
#[derive(Default)]
struct ToldGate {
    counters: Counters,
}

impl Gate for ToldGate {
    fn judge(&mut self, judged: &Judged<'_>) -> Verdict {
        let body = judged.message.envelope.raw(Field::Body).unwrap_or("null");
        let told = pointer::find(body, "/gate").expect("a pointer");
        let counters = &mut self.counters;
        let verdict = match told {
            None => return Verdict::Pass,
            Some("\"drop\"") => {
                counters.drop += 1;
                Verdict::Drop
            }
            Some("\"reject\"") => {
                counters.reject += 1;
                let node_ids: Vec<_> = judged.node_ids().collect();
                let reason = format!("{} {} {node_ids:?}", judged.number, judged.unique_id);
                Verdict::Reject { filter: "told".to_owned(), reason }
            }
            Some(told) => {
                counters.replace += 1;
                Verdict::Replace(replaced(judged.message, told))
            }
        };
        counters.calls += 1;
        verdict
    }

    fn counters(&self) -> Vec<Counters> {
        match self.counters.calls {
            0 => Vec::new(),
            _ => vec![Counters { name: "told".to_owned(), ..self.counters.clone() }],
        }
    }
}

fn replaced(message: &Message<'_>, told: &str) -> Vec<u8> {
    let member = |name: &str| pointer::find(told, &format!("/{name}")).expect("a pointer");
    let text = |name: &str| member(name).map(unescape);
    if let Some(line) = text("line") {
        return line.into_owned().into_bytes();
    }
    let to = member("to").map(|to| match to {
        "null" => Target::Daemon,
        to => Target::Address(unescape(to)),
    });
    let target = to.or_else(|| text("topic").map(Target::Topic));
    let message_type = text("message_type");
    let changes = Changes { target, message_type: message_type.as_deref(), body: member("body") };
    rewrite(message.envelope, &changes)
}

/// A shell around the core, as the daemon's, with clients in place of sockets.
struct Shell {
    core: Core,
    about: About,
    limits: Limits,
    gate: ToldGate,
    now: Now,
    cut: Cut,
    tcp: bool,
    numbers: u64,
    clients: BTreeMap<String, Client>,
    names: BTreeMap<SessionKey, String>,
    ready: VecDeque<SessionKey>,
    /// What nobody has answered.
    reloads: VecDeque<Token>,
    /// Whose bytes have not been handed in yet, for more to come.
    glued: Option<String>,
    chance: u64,
    drain_timeout: Duration,
    stop_at: Option<Duration>,
    /// What clients that have hung up had read.
    gone: Vec<(u64, Vec<u8>)>,
}

struct Client {
    number: u64,
    session: Option<SessionKey>,
    /// Sent and not handed in.
    sent: VecDeque<u8>,
    ends: bool,
    ended: bool,
    broke: bool,
    resumes: bool,
    queued: bool,
    reading: Reading,
    /// All that it has read; lines before `at` have been looked at.
    read: Vec<u8>,
    at: usize,
}

impl Shell {
    fn new(story: &Transcript, tcp: bool, cut: Cut) -> Shell {
        let set = story.settings.iter().flat_map(|setting| ["--set", setting]);
        let command_line = CommandLine::parse(["telexd"].into_iter().chain(set)).expect("settings");
        let machine = Machine { host_name: "alpha".into(), has_group: |_| false };
        let config = Config::load(&command_line, &machine).expect("settings");
        let host = config.host.unwrap_or(machine.host_name);
        let about = About { version: "0", host, drain_timeout: config.drain_timeout };
        let now = Now { mono: Duration::from_secs(1000), wall: Duration::from_secs(1_700_000_000) };
        Shell {
            core: Core::new(about.clone(), config.limits.clone(), now),
            about,
            limits: config.limits,
            gate: ToldGate::default(),
            now,
            cut,
            tcp,
            numbers: 0,
            clients: BTreeMap::new(),
            names: BTreeMap::new(),
            ready: VecDeque::new(),
            reloads: VecDeque::new(),
            glued: None,
            chance: if let Cut::Anywhere(seed) = cut { seed } else { 0 },
            drain_timeout: config.drain_timeout,
            stop_at: None,
            gone: Vec::new(),
        }
    }

    /// SplitMix64.
    fn chance(&mut self) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.chance ^ (self.chance >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn client(&mut self, name: &str) -> &mut Client {
        self.clients.get_mut(name).unwrap_or_else(|| panic!("{name} has not connected"))
    }

    fn of(&mut self, session: SessionKey) -> Option<&mut Client> {
        self.clients.get_mut(self.names.get(&session)?)
    }

    /// Turns until nobody has anything to do.
    fn run(&mut self) {
        self.glued = None;
        loop {
            self.core.handle(Input::TimePassed, self.now, &mut self.gate);
            self.obey();
            for _ in 0..self.ready.len() {
                let Some(session) = self.ready.pop_front() else { break };
                self.serve(session);
                self.obey();
                while let Some(session) = self.core.next_large() {
                    self.flush(session);
                }
            }
            while let Some(session) = self.core.next_dirty() {
                self.flush(session);
            }
            self.core.reap();
            self.obey();
            if self.stop_at.is_some_and(|at| self.now.mono >= at || self.core.is_drained()) {
                self.clients.values_mut().for_each(|client| client.session = None);
                self.ready.clear();
            }
            if self.ready.is_empty() {
                return;
            }
        }
    }

    fn obey(&mut self) {
        self.carry_out();
        if matches!(self.cut, Cut::Carried) {
            let fresh = || Core::new(self.about.clone(), self.limits.clone(), self.now);
            let mut saved = Vec::new();
            std::mem::replace(&mut self.core, fresh()).save(&mut saved).expect("it is saved");
            self.core = fresh().restore(&saved).expect("what was saved");
            self.core.check();
        }
    }

    fn carry_out(&mut self) {
        while let Some(effect) = self.core.next_order() {
            match effect {
                Order::Note(_) | Order::Happened(_) => {}
                Order::Do(token, Work::Reload) => self.reloads.push_back(token),
                // They are of the process alone.
                Order::Do(_, Work::Settings | Work::LogLevel(..)) => {}
                // Here nothing lies between the core and who reads.
                Order::Measure(session) => {
                    self.core.handle(Input::Measured { session, unread: 0 }, self.now, &mut self.gate);
                }
                Order::Resume(session) => {
                    if let Some(client) = self.of(session) {
                        client.resumes = true;
                        self.enqueue(session);
                    }
                }
                Order::Close(session) => {
                    if let Some(client) = self.of(session) {
                        client.session = None;
                    }
                }
            }
        }
    }

    fn enqueue(&mut self, session: SessionKey) {
        if let Some(client) = self.of(session)
            && !std::mem::replace(&mut client.queued, true)
        {
            self.ready.push_back(session);
        }
    }

    /// One thing that is to be done for a connection, as in the daemon.
    fn serve(&mut self, session: SessionKey) {
        let wants_bytes = self.core.wants_bytes(session);
        let chance = self.chance();
        let (cut, now) = (self.cut, self.now);
        let Some(client) = self.of(session).filter(|client| client.session == Some(session)) else { return };
        client.queued = false;
        if std::mem::take(&mut client.resumes) {
            self.core.handle(Input::Resumed { session }, now, &mut self.gate);
        } else if wants_bytes && !client.sent.is_empty() {
            let most = client.sent.len();
            let count = match cut {
                Cut::Lines | Cut::Glued | Cut::Carried => most,
                Cut::Bytes => 1,
                Cut::Anywhere(_) => 1 + chance as usize % most,
            };
            let bytes: Vec<u8> = client.sent.drain(..count).collect();
            self.core.handle(Input::Received { session, bytes: &bytes }, now, &mut self.gate);
        } else if wants_bytes && client.ends && !client.ended {
            client.ended = true;
            self.core.handle(Input::Ended { session }, now, &mut self.gate);
        }
        let is_readable = |client: &mut Client| !client.sent.is_empty() || (client.ends && !client.ended);
        if self.core.wants_bytes(session) && self.of(session).is_some_and(is_readable) {
            self.enqueue(session);
        }
    }

    /// Writes as much as the client reads.
    fn flush(&mut self, session: SessionKey) {
        loop {
            let mut pieces = [IoSlice::new(b""); 4];
            let filled = self.core.transmit(session, &mut pieces);
            let mut bytes: Vec<u8> =
                pieces[..filled].iter().flat_map(|piece| piece.iter().copied()).collect();
            let now = self.now;
            let Some(client) = self.of(session).filter(|client| !client.broke) else { return };
            match &mut client.reading {
                Reading::Everything => {}
                Reading::Nothing => return,
                Reading::Bytes(left) => {
                    bytes.truncate(*left);
                    *left -= bytes.len();
                }
            }
            if bytes.is_empty() {
                return;
            }
            client.read.extend_from_slice(&bytes);
            self.core.wrote(session, bytes.len(), now);
        }
    }

    fn next(&mut self, name: &str) -> Heard {
        let client = self.client(name);
        let rest = &client.read[client.at..];
        match rest.iter().position(|&byte| byte == b'\n') {
            Some(end) => {
                let line = rest[..end].to_vec();
                client.at += end + 1;
                Heard::Line(line)
            }
            None if client.session.is_some() => Heard::Nothing,
            None if rest.is_empty() => Heard::Closed,
            None => {
                let cut = rest.to_vec();
                client.at += cut.len();
                Heard::Cut(cut)
            }
        }
    }

    /// All that everybody has read, but for two things that are a matter of how their input came:
    /// counters, and in what order connections that go on at the same time were given ids.
    fn heard(&self) -> Vec<(u64, String)> {
        let now = self.clients.values().map(|client| (client.number, client.read.clone()));
        let mut heard: Vec<_> = self.gone.iter().cloned().chain(now).collect();
        heard.sort();
        let plain = |line: &str| {
            let mut parts = line.split("\":0-");
            let first = parts.next().unwrap_or_default().to_owned();
            parts.fold(first, |out, part| out + part.trim_start_matches(|c: char| c.is_ascii_digit()))
        };
        let all = |read: Vec<u8>| {
            let text = String::from_utf8_lossy(&read).into_owned();
            let lines = text.split_inclusive('\n').filter(|line| !line.contains("stats_reply"));
            lines.map(plain).collect::<String>()
        };
        heard.into_iter().map(|(number, read)| (number, all(read))).collect()
    }

    /// When all have gone, one who comes then must find nothing of them.
    fn everybody_leaves(&mut self) -> Result<(), String> {
        if self.stop_at.is_some() {
            return Ok(());
        }
        for name in self.clients() {
            self.hangs_up(&name);
        }
        if self.core.connections() > 0 {
            return Err(format!("{} connections are left of nobody", self.core.connections()));
        }
        // What is kept of its own lines would be counted.
        self.cut = Cut::Lines;
        self.connects("last", How { tcp: Some(false), uid: Some(OWN_UID) });
        for message_type in ["list", "stats"] {
            let line = format!("{{\"message_type\":\"{message_type}\",\"body\":{{\"all\":true}}}}\n");
            self.sends("last", line.as_bytes());
            self.run();
        }
        let mut bodies = Vec::new();
        while let Heard::Line(line) = self.next("last") {
            let line: Value = serde_json::from_slice(&line).map_err(|error| error.to_string())?;
            bodies.push(line["body"].clone());
        }
        let [list, stats] = &bodies[..] else { return Err(format!("{bodies:?} at the end")) };
        for counter in ["nodes", "subscriptions", "open_requests", "paused", "queue_bytes"] {
            if stats[counter] != 0 {
                return Err(format!("{counter} is {} with nobody there", stats[counter]));
            }
        }
        let remembers = list["nodes"].as_array().is_none_or(|nodes| !nodes.is_empty());
        match stats["connections"]["now"] == 1 && (remembers || stats["memory_bytes"] == 0) {
            true => Ok(()),
            false => Err(format!("something is left with nobody there: {stats}")),
        }
    }
}

impl Stage for Shell {
    fn connects(&mut self, name: &str, how: How) {
        self.run();
        self.numbers += 1;
        let number = self.numbers;
        let uid = how.uid.unwrap_or(OWN_UID);
        let peer = match how.tcp.unwrap_or(self.tcp) {
            true => Peer { transport: Transport::Tcp, identity: Identity::Anonymous, administrator: false },
            false => Peer {
                transport: Transport::Unix,
                identity: Identity::Kernel { uid: Some(uid), gid: Some(uid), pid: number as i32 },
                administrator: uid == 0 || uid == OWN_UID,
            },
        };
        let mut client = Client {
            number,
            session: None,
            sent: VecDeque::new(),
            ends: false,
            ended: false,
            broke: false,
            resumes: false,
            queued: false,
            reading: Reading::Everything,
            read: Vec::new(),
            at: 0,
        };
        match self.core.open(number, peer, self.now) {
            Ok(session) => {
                client.session = Some(session);
                self.names.insert(session, name.to_owned());
            }
            Err(line) => client.read = [&line[..], b"\n"].concat(),
        }
        if let Some(before) = self.clients.insert(name.to_owned(), client) {
            self.gone.push((before.number, before.read));
        }
        self.run();
    }

    fn sends(&mut self, name: &str, bytes: &[u8]) {
        if self.glued.as_deref() != Some(name) {
            self.run();
        }
        let glues = match self.cut {
            Cut::Glued => true,
            Cut::Anywhere(_) => self.chance().is_multiple_of(2),
            Cut::Lines | Cut::Bytes | Cut::Carried => false,
        };
        let client = self.client(name);
        client.sent.extend(bytes);
        if let Some(session) = client.session {
            self.enqueue(session);
        }
        match glues {
            true => self.glued = Some(name.to_owned()),
            false => self.run(),
        }
    }

    fn reads(&mut self, name: &str, reading: Reading) {
        self.run();
        let client = self.client(name);
        client.reading = reading;
        if let Some(session) = client.session {
            self.flush(session);
        }
        self.obey();
        self.run();
    }

    fn half_closes(&mut self, name: &str) {
        if self.glued.as_deref() != Some(name) {
            self.run();
        }
        let client = self.client(name);
        client.ends = true;
        if let Some(session) = client.session {
            let now = self.now;
            self.core.handle(Input::Ending { session }, now, &mut self.gate);
            self.enqueue(session);
        }
        self.run();
    }

    fn hangs_up(&mut self, name: &str) {
        if self.glued.as_deref() != Some(name) {
            self.run();
        }
        let client = self.client(name);
        (client.ends, client.broke) = (true, true);
        if let Some(session) = client.session {
            // That it is gone is told before what it had sent can be read.
            self.core.handle(Input::Broke { session }, self.now, &mut self.gate);
            self.enqueue(session);
        }
        self.obey();
        self.run();
        if let Some(client) = self.clients.remove(name) {
            self.gone.push((client.number, client.read[..client.at].to_vec()));
            // One that is still to be served keeps its place until then.
            if client.session.is_some() {
                self.clients.insert(format!("{name} (gone)"), client);
                self.names.values_mut().filter(|of| *of == name).for_each(|of| of.push_str(" (gone)"));
            }
        }
    }

    fn hears(&mut self, name: &str) -> Heard {
        self.has_heard(name)
    }

    fn has_heard(&mut self, name: &str) -> Heard {
        self.run();
        self.next(name)
    }

    fn pass(&mut self, time: Duration) {
        self.run();
        let until = self.now.mono + time;
        while let Some(next) = self.core.next_deadline().into_iter().chain(self.stop_at).min()
            && next <= until
        {
            let step = next.saturating_sub(self.now.mono);
            self.now = Now { mono: self.now.mono + step, wall: self.now.wall + step };
            self.run();
            if self.stop_at.is_some_and(|at| self.now.mono >= at) {
                break;
            }
        }
        let step = until - self.now.mono;
        self.now = Now { mono: until, wall: self.now.wall + step };
        self.run();
    }

    fn reloads(&mut self, outcome: &Result<Value, String>) {
        self.run();
        let token = self.reloads.pop_front().expect("a reload waits");
        fn names<'a>(outcome: &'a Value, which: &str) -> Vec<&'a str> {
            let names = outcome[which].as_array().expect("names of settings");
            names.iter().map(|name| name.as_str().expect("a name")).collect()
        }
        let outcome = outcome.as_ref().map(|outcome| (names(outcome, "applied"), names(outcome, "restart")));
        let outcome = match &outcome {
            Ok((applied, restart)) => Outcome::Reloaded(Reloaded { applied, restart }),
            Err(error) => Outcome::Failed(error),
        };
        self.core.handle(Input::Done { token, outcome }, self.now, &mut self.gate);
        self.run();
    }

    fn stop(&mut self) {
        self.run();
        self.stop_at = Some(self.now.mono + self.drain_timeout);
        self.core.handle(Input::StopAsked, self.now, &mut self.gate);
        self.run();
    }

    fn clients(&self) -> Vec<String> {
        self.clients.keys().filter(|name| !name.ends_with(" (gone)")).cloned().collect()
    }

    fn testimony(&mut self) -> String {
        String::new()
    }
}
