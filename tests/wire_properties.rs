//! Lines, envelopes and messages against the oracles, over generated input. `PROPTEST_CASES` runs
//! more (or fewer) cases of each property.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use telex::wire::envelope::{Broken, Envelope};
use telex::wire::frame::{Deframer, Frame};
use telex::wire::message::{Message, Target};
use telex::wire::rewrite::Changes;

mod oracle;

fn cases(usual: u32) -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => default,
        None => ProptestConfig { cases: usual, ..default },
    }
}

/// Text made from bytes that were drawn, so that fewer bytes make a smaller text; when they are used
/// up, every choice is the first one.
struct Drawn<'a> {
    bytes: std::slice::Iter<'a, u8>,
    text: String,
}

impl Drawn<'_> {
    fn byte(&mut self) -> u8 {
        self.bytes.next().copied().unwrap_or(0)
    }

    /// A number below `count`.
    fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count
    }

    fn one_of<'s>(&mut self, texts: &[&'s str]) -> &'s str {
        texts[self.below(texts.len())]
    }

    fn put(&mut self, texts: &[&str]) {
        let text = self.one_of(texts);
        self.text.push_str(text);
    }

    fn space(&mut self) {
        self.put(&["", "", "", "", "", " ", "\t", "\r", "\n", " \t\r\n ", "      "]);
    }

    fn line(&mut self) {
        self.space();
        match self.below(16) {
            15 => self.value(0),
            // As many levels as are allowed, give or take two.
            14 => {
                let levels = 126 + self.below(5);
                self.tower(levels);
            }
            _ => self.object(0),
        }
        self.space();
    }

    fn value(&mut self, around: usize) {
        match self.below(12) {
            0..=2 => self.put(&["null", "true", "false"]),
            3..=5 => self.number(),
            6..=8 => self.string(),
            9 => self.array(around),
            10 => self.object(around),
            _ if around < 20 => {
                let levels = [1, 2, 60, 124, 125, 126, 127, 128][self.below(8)];
                self.tower(levels);
            }
            _ => self.put(&["[]", "{}", "[ ]", "{\t}"]),
        }
    }

    fn array(&mut self, around: usize) {
        self.text.push('[');
        self.space();
        for at in 0..self.below(5) {
            if at > 0 {
                self.text.push(',');
                self.space();
            }
            self.value(around + 1);
            self.space();
        }
        self.text.push(']');
    }

    fn object(&mut self, around: usize) {
        self.text.push('{');
        self.space();
        for at in 0..self.below(7) {
            if at > 0 {
                self.text.push(',');
                self.space();
            }
            self.key();
            self.space();
            self.text.push(':');
            self.space();
            self.value(around + 1);
            self.space();
        }
        self.text.push('}');
    }

    /// Arrays and objects inside each other.
    fn tower(&mut self, levels: usize) {
        let kinds: Vec<bool> = (0..levels).map(|_| self.below(2) == 0).collect();
        for (level, is_object) in kinds.iter().enumerate() {
            match (is_object, level + 1 == levels) {
                (true, false) => self.text.push_str(["{\"body\":", "{\"in_reply_to\" : "][level % 2]),
                (true, true) => self.text.push('{'),
                (false, _) => self.text.push('['),
            }
        }
        kinds.iter().rev().for_each(|is_object| self.text.push(if *is_object { '}' } else { ']' }));
    }

    fn number(&mut self) {
        self.put(&["", "", "-"]);
        self.put(&["0", "7", "10", "3600000", "123456789012345678901234567890"]);
        self.put(&["", "", "", ".0", ".50", ".123456789012345678901234567890"]);
        self.put(&["", "", "", "e1", "E+0", "e-999", "E0009"]);
    }

    fn key(&mut self) {
        const NAMES: [&str; 13] = [
            "body",
            "in_reply_to",
            "message_id",
            "message_type",
            "from",
            "to",
            "topic",
            "timeout_ms",
            "key",
            "sender",
            "spool_id",
            "",
            "too",
        ];
        if self.below(5) == 4 {
            return self.string();
        }
        let name = self.one_of(&NAMES);
        let escaped = if self.below(3) == 2 { self.below(16) } else { 16 };
        self.text.push('"');
        for (at, letter) in name.chars().enumerate() {
            match at == escaped {
                true => self.text.push_str(&format!("\\u{:04x}", letter as u32)),
                false => self.text.push(letter),
            }
        }
        self.text.push('"');
    }

    fn string(&mut self) {
        self.text.push('"');
        for _ in 0..self.below(5) {
            match self.below(9) {
                0 | 1 => {
                    let length = self.below(80);
                    self.text.extend(std::iter::repeat_n('x', length));
                }
                2 => self.put(&["ä", "日本", "😀", "\u{7f}", "\u{2028}", "\u{ffff}", "\u{feff}"]),
                3 => self.put(&["\\\"", "\\\\", "\\/", "\\b", "\\f", "\\n", "\\r", "\\t"]),
                4 => {
                    let unit = u32::from(self.byte()) << 8 | u32::from(self.byte());
                    // Of the surrogates, the first halves: now and then one that is alone.
                    if let 0xdc00..=0xdfff = unit {
                        self.put(&["\\u0000", "\\uFFFF"])
                    } else {
                        self.unit(unit)
                    }
                }
                5 => {
                    let low = u32::from(self.byte());
                    self.unit(0xd800 + low);
                    self.unit(0xdc00 + low);
                }
                6 => self.put(&["{", "}", "[", "]", ",", ":", "/", "'", " "]),
                _ => self.put(&["signal", "_reply", "error", "null", "a.b", "*", "7"]),
            }
        }
        self.text.push('"');
    }

    fn unit(&mut self, unit: u32) {
        let escape = match self.below(2) {
            0 => format!("\\u{unit:04x}"),
            _ => format!("\\u{unit:04X}"),
        };
        self.text.push_str(&escape);
    }

    /// An envelope whose fields are right or nearly right.
    fn message(&mut self) {
        const IDS: [&str; 6] = ["\"m-1\"", "7", "-0", "\"\\u00e4\\n\"", "1.0", "2e1"];
        self.text.push('{');
        let message_type = self.one_of(&["ask", "signal", "x_reply", "_reply", "sign\\u0061l", "error"]);
        if self.below(10) != 9 {
            self.text.push_str("\"message_type\":");
            let longest = if message_type.ends_with("_reply") { 261 } else { 255 };
            match self.below(4) {
                3 => self.edge(longest, message_type),
                _ => self.text.push_str(&format!("\"{message_type}\"")),
            }
        } else {
            self.text.push_str("\"none\":0");
        }
        for _ in 0..self.below(6) {
            self.text.push(',');
            let field = self.one_of(&["message_id", "from", "to", "topic", "timeout_ms", "key", "body", "x"]);
            self.text.push_str(&format!("\"{field}\":"));
            match (field, self.below(6)) {
                (_, 5) => self.value(1),
                (_, 4) => self.text.push_str("null"),
                ("message_id", 3) => self.digits(),
                ("message_id", _) => self.put(&IDS),
                ("from" | "to", 3) => self.edge(511, "#p"),
                ("topic", 3) => self.edge(255, ".t"),
                ("key", 3) => self.edge(255, "\\u00e4"),
                ("timeout_ms", _) => self.put(&["1", "3600000", "3600001", "0", "-1", "5.0", "1e3", "\"5\""]),
                ("topic", _) => self.put(&["\"a.b\"", "\"t\"", "\"a.*\"", "\">\"", "\".a\"", "\"a*\""]),
                ("body", _) => self.body(&IDS),
                _ => self.put(&["\"a\"", "\":7\"", "\"node#port\"", "\"\\ud83d\\ude00\"", "\"\""]),
            }
        }
        if self.below(3) == 2 {
            self.text.push_str(",\"body\":");
            self.body(&IDS);
        }
        if self.below(12) == 11 {
            self.put(&[",\"sender\":{}", ",\"spool_id\":null"]);
        }
        self.text.push('}');
    }

    fn body(&mut self, ids: &[&str]) {
        self.text.push_str("{\"error\":null");
        for _ in 0..self.below(3) {
            self.put(&[",\"in_reply_to\":", ",\"in_reply_t\\u006f\" : "]);
            match self.below(6) {
                5 => self.digits(),
                4 => self.edge(255, "i"),
                3 => self.put(&["null", "\"\"", "{\"in_reply_to\":1}"]),
                _ => self.put(ids),
            }
        }
        self.text.push('}');
    }

    /// A string of about `longest` bytes when decoded, with `end` at its end.
    fn edge(&mut self, longest: usize, end: &str) {
        let decoded: String = serde_json::from_str(&format!("\"{end}\"")).expect("a string");
        let length = longest - decoded.len() - 1 + self.below(3);
        self.text.push_str(&format!("\"{}{end}\"", "x".repeat(length)));
    }

    fn digits(&mut self) {
        self.put(&["", "-"]);
        let count = 254 + self.below(3);
        self.text.push_str(&"9".repeat(count));
    }
}

fn drawn(bytes: Vec<u8>, fill: fn(&mut Drawn<'_>)) -> String {
    let mut drawn = Drawn { bytes: bytes.iter(), text: String::new() };
    fill(&mut drawn);
    drawn.text
}

fn line() -> impl Strategy<Value = String> {
    vec(any::<u8>(), 1..200).prop_map(|bytes| drawn(bytes, |drawn| drawn.line()))
}

fn message() -> impl Strategy<Value = String> {
    vec(any::<u8>(), 1..60).prop_map(|bytes| drawn(bytes, |drawn| drawn.message()))
}

#[derive(Clone, Debug)]
enum Edit {
    Flip(Index, u8),
    Put(Index, u8),
    Insert(Index, u8),
    Delete(Index),
    Truncate(Index),
    /// Copies a piece to another place.
    Splice(Index, usize, Index),
    Cut(Index, usize),
}

fn json_byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        4 => select(&b"{}[]\",:\\/u0123456789dDcCaAeEfbnrt+-. \t\r\n"[..]),
        1 => any::<u8>(),
    ]
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit = prop_oneof![
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Edit::Flip(at, bit)),
        (any::<Index>(), json_byte()).prop_map(|(at, byte)| Edit::Put(at, byte)),
        (any::<Index>(), json_byte()).prop_map(|(at, byte)| Edit::Insert(at, byte)),
        any::<Index>().prop_map(Edit::Delete),
        any::<Index>().prop_map(Edit::Truncate),
        (any::<Index>(), 1..20_usize, any::<Index>())
            .prop_map(|(from, size, to)| Edit::Splice(from, size, to)),
        (any::<Index>(), 1..9_usize).prop_map(|(at, size)| Edit::Cut(at, size)),
    ];
    vec(edit, 1..4)
}

fn edit(bytes: &mut Vec<u8>, edits: &[Edit]) {
    for edit in edits {
        if bytes.is_empty() {
            return;
        }
        let place = |at: &Index| at.index(bytes.len());
        match edit {
            Edit::Flip(at, bit) => {
                let at = place(at);
                bytes[at] ^= 1 << bit;
            }
            Edit::Put(at, byte) => {
                let at = place(at);
                bytes[at] = *byte;
            }
            Edit::Insert(at, byte) => bytes.insert(place(at), *byte),
            Edit::Delete(at) => drop(bytes.remove(place(at))),
            Edit::Truncate(at) => bytes.truncate(place(at)),
            Edit::Splice(from, size, to) => {
                let (from, to) = (place(from), place(to));
                let piece = bytes[from..bytes.len().min(from + size)].to_vec();
                bytes.splice(to..to, piece);
            }
            Edit::Cut(at, size) => {
                let at = place(at);
                bytes.drain(at..bytes.len().min(at + size));
            }
        }
    }
}

/// What a deframer says of `stream`; a line that is too long is nothing.
fn lines(deframer: &mut Deframer, mut stream: &[u8], cap: usize) -> Vec<Option<Vec<u8>>> {
    std::iter::from_fn(|| deframer.next(&mut stream, cap).map(owned)).collect()
}

fn owned(frame: Frame<'_>) -> Option<Vec<u8>> {
    match frame {
        Frame::Whole(line) => Some(line.to_vec()),
        Frame::Joined(line) => Some(line),
        Frame::TooLong => None,
    }
}

fn check_line(line: &[u8]) {
    oracle::envelope::check(line);
    oracle::message::check(line);
}

const TARGETS: [Option<(&str, &str)>; 6] = [
    None,
    Some(("", "")),
    Some(("to", "node")),
    Some(("to", "\"\\\n")),
    Some(("topic", "a.b")),
    Some(("topic", "\u{7f}😀")),
];

proptest! {
    #![proptest_config(cases(8000))]

    #[test]
    fn short_lines_are_the_same_however_they_are_cut(
        stream in vec(select(&b"\n\n\r\rab\xff"[..]), 0..60),
        cap in 0..8_usize,
        cuts in vec(1..6_usize, 0..8),
    ) {
        oracle::frame::check(&stream, cap, &cuts);
    }

    #[test]
    fn generated_lines_are_judged_alike(line in line()) {
        check_line(line.as_bytes());
    }

    #[test]
    fn damaged_lines_are_judged_alike(line in line(), edits in edits()) {
        let mut bytes = line.into_bytes();
        edit(&mut bytes, &edits);
        check_line(&bytes);
    }

    #[test]
    fn messages_are_read_alike(message in message()) {
        check_line(message.as_bytes());
    }

    #[test]
    fn damaged_messages_are_read_alike(message in message(), edits in edits()) {
        let mut bytes = message.into_bytes();
        edit(&mut bytes, &edits);
        check_line(&bytes);
    }

    #[test]
    fn pointers_find_alike(json in line(), steps in vec(any::<u8>(), 0..24)) {
        oracle::pointer::check(&json, &steps);
    }

    #[test]
    fn lines_are_written_anew_alike(
        line in prop_oneof![line(), message()],
        target in select(&TARGETS[..]),
        message_type in option::of(select(&["ask", "signal", "\u{1}\"\\😀\n", ""][..])),
        body in option::of(select(&["null", "[1,\r\n 2]", "{\"to\":\n\"x\"}", "\"\\n\u{e4}\"", " 1e9 "][..])),
    ) {
        let target = target.map(|(name, text)| match name {
            "to" => Target::Address(text.into()),
            "topic" => Target::Topic(text.into()),
            _ => Target::Daemon,
        });
        oracle::rewrite::check(&line, &Changes { target, message_type, body });
    }

    #[test]
    fn any_json_bytes_are_judged_alike(bytes in vec(json_byte(), 0..24)) {
        check_line(&bytes);
    }
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn long_lines_are_the_same_however_they_are_cut(
        lines in vec((vec(any::<u8>(), 0..300), select(&["\n", "\r\n", "\r\r\n", "\n\n", "\r"][..])), 0..12),
        cap in 0..400_usize,
        cuts in vec(1..500_usize, 0..8),
    ) {
        let stream = lines.into_iter().flat_map(|(line, end)| [line, end.as_bytes().to_vec()]).flatten();
        oracle::frame::check(&stream.collect::<Vec<u8>>(), cap, &cuts);
    }

    /// A cut at every place of a stream, and a byte at a time.
    #[test]
    fn lines_are_the_same_for_every_single_cut(
        stream in vec(select(&b"\n\r\rabc"[..]), 1..30),
        cap in 0..6_usize,
    ) {
        for cut in 1..=stream.len() {
            oracle::frame::check(&stream, cap, &[cut, stream.len()]);
        }
        oracle::frame::check(&stream, cap, &[1]);
    }

    /// Refusing the unfinished line takes nothing else with it.
    #[test]
    fn a_refused_line_is_the_only_one_that_is_missing(
        stream in vec(select(&b"\n\n\rabc"[..]), 0..40),
        at in any::<Index>(),
        cap in 1..9_usize,
    ) {
        let (before, after) = stream.split_at(at.index(stream.len() + 1));
        let begun = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |lf| lf + 1);
        let ended = match before.len() - begun {
            0 => 0,
            _ => after.iter().position(|&byte| byte == b'\n').map_or(after.len(), |lf| lf + 1),
        };
        let mut deframer = Deframer::default();
        let mut got = lines(&mut deframer, before, cap);
        deframer.refuse_partial();
        assert_eq!(deframer.kept_bytes(), 0);
        got.extend(lines(&mut deframer, after, cap));
        got.extend(deframer.finish(cap).map(owned));

        let mut deframer = Deframer::default();
        let mut wanted = lines(&mut deframer, &before[..begun], cap);
        // That it was too long may have been said before it was refused.
        let mut begin = Deframer::default();
        wanted.extend(lines(&mut begin, &before[begun..], cap));
        wanted.extend(lines(&mut deframer, &after[ended..], cap));
        wanted.extend(deframer.finish(cap).map(owned));
        assert_eq!(got, wanted);
    }

    #[test]
    fn any_bytes_are_judged_alike(bytes in vec(any::<u8>(), 0..80)) {
        check_line(&bytes);
    }

    #[test]
    fn the_beginnings_of_a_line_end_too_early(line in prop_oneof![line(), message()]) {
        if !matches!(oracle::envelope::judge(line.as_bytes()), oracle::envelope::Verdict::BadJson) {
            oracle::envelope::check_truncations(&line);
        }
    }
}

/// Each byte of a line in turn becomes each other byte, and gets each byte in front of it.
#[test]
fn every_byte_in_every_place() {
    for line in [
        r#"{"to":"\u00e4\n\ud83d\ude00ä","x":[-1.0e+5,true],"body":{"in_reply_to":0}} "#,
        r#" [ false , null, {}, 10, "" ]"#,
    ] {
        for at in 0..line.len() {
            for byte in 0..=255 {
                let mut bytes = line.as_bytes().to_vec();
                bytes[at] = byte;
                oracle::envelope::check(&bytes);
                bytes.insert(at + 1, line.as_bytes()[at]);
                oracle::envelope::check(&bytes);
            }
        }
    }
}

/// A generator that only makes one kind of line would let every property hold.
#[test]
fn the_generators_reach_every_verdict() {
    let mut runner = TestRunner::deterministic();
    let mut draw = |strategy: &BoxedStrategy<String>| {
        let tree = strategy.new_tree(&mut runner).expect("no filter refuses");
        tree.current()
    };
    let (lines, messages) = (line().boxed(), message().boxed());
    let (mut objects, mut others, mut broken, mut doubled, mut answers, mut deep) = (0, 0, 0, 0, 0, 0);
    let mut led_on = 0;
    for _ in 0..2000 {
        let line = draw(&lines);
        led_on += u32::from(oracle::pointer::check(&line, &[1; 9]) >= 3);
        match Envelope::scan(line.as_bytes()) {
            Ok(envelope) => {
                objects += 1;
                doubled += u32::from(envelope.doubled().is_some());
                answers += u32::from(envelope.in_reply_to().is_some());
                deep += u32::from(line.matches(['{', '[']).count() >= 128);
            }
            Err(Broken::NotAnObject) => others += 1,
            Err(Broken::BadJson { .. }) => broken += 1,
        }
    }
    let counts = [objects, others, broken, doubled, answers, deep, led_on];
    assert!(objects > 1000 && counts.iter().all(|&count| count >= 10), "{counts:?}");

    let (mut read, mut codes) = (0, std::collections::BTreeMap::<_, u32>::new());
    for _ in 0..2000 {
        let line = draw(&messages);
        let Ok(envelope) = Envelope::scan(line.as_bytes()) else { continue };
        match Message::read(&envelope) {
            Ok(_) => read += 1,
            Err(refusal) => *codes.entry(refusal.code.word()).or_default() += 1,
        }
    }
    let words: Vec<_> = codes.keys().copied().collect();
    assert_eq!(words, ["bad_field", "missing_field", "not_yours"]);
    assert!(read > 400 && codes.values().all(|&count| count >= 20), "{read} read, {codes:?}");
}
