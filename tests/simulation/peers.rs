//! Knows what peers do: sensible things, foolish things and bad ones.
//! Never: what comes of it.

use std::time::Duration;

use crate::lines;
use crate::model::{Checked, Target};
use crate::shell::{Reads, World};

const NODES: [&str; 6] = ["alpha", "beta", "gamma", "delta.one", "é", "w%%x"];
const TOPICS: [&str; 6] = ["a.b", "a.c", "a.b.c", "x", "a", "x.y.z"];
const PATTERNS: [&str; 10] = ["a.b", "a.*", "a.>", ">", "*", "*.b", "a.b.c", "x", "a.*.c", "*.>"];
const GROUPS: [&str; 2] = ["g", "h"];

/// One thing that happens.
pub(crate) fn act(world: &mut World) -> Checked {
    let numbers: Vec<u64> = world.sessions.keys().copied().collect();
    if numbers.len() < 2 {
        return connect(world);
    }
    let number = world.random.pick(&numbers);
    match world.random.below(100) {
        0..4 if numbers.len() < 9 => connect(world),
        4..5 => {
            world.half_close(number);
            Ok(())
        }
        5..6 if world.random.one_in(2) => world.hang_up(number),
        6..14 => {
            let reads = match world.is_crowded {
                true => world.random.pick(&[Reads::Nothing, Reads::Nothing, Reads::OneByte, Reads::Some]),
                false => world.random.pick(&[Reads::Nothing, Reads::OneByte, Reads::Some, Reads::Everything]),
            };
            world.note(|| format!(":{number} reads {reads:?}"));
            if let Some(session) = world.sessions.get_mut(&number) {
                session.reads = reads;
            }
            world.write(number)
        }
        14..18 => pass_time(world),
        18..22 => world.write(number),
        22..25 => {
            if world.random.one_in(30) {
                // Nothing but broken lines, which in the end is enough.
                let count = world.random.between(90, 110);
                world.send(number, &b"[]\n".repeat(count));
            }
            let bytes = faulty_line(world, number);
            world.send(number, &bytes);
            Ok(())
        }
        25..48 => {
            let line = control_line(world, number);
            send(world, number, line)
        }
        48..62 => {
            if let Some(line) = reply_line(world, number) {
                return send(world, number, line);
            }
            let line = message_line(world, number);
            send(world, number, line)
        }
        _ => {
            for _ in 0..world.random.between(1, 4) {
                let line = message_line(world, number);
                send(world, number, line)?;
            }
            Ok(())
        }
    }
}

fn connect(world: &mut World) -> Checked {
    let user = world.random.pick(&[Some(0), Some(1000), Some(1000), Some(1000), Some(1001), None]);
    let administrator = user == Some(0);
    world.connect(user, administrator).map(|_| ())
}

fn pass_time(world: &mut World) -> Checked {
    let span = match (world.random.below(6), world.time_to_deadline()) {
        (0..3, Some(left)) => left,
        (3, Some(left)) => left.saturating_sub(Duration::from_millis(1)),
        (4, _) => Duration::from_secs(world.random.between(1, 30) as u64),
        _ => Duration::from_millis(world.random.between(1, 999) as u64),
    };
    world.pass_time(span)
}

fn send(world: &mut World, number: u64, mut line: String) -> Checked {
    match world.random.below(20) {
        0 => line.push_str("\r\n"),
        1 => line.push_str("\n\n\r\n"),
        _ => line.push('\n'),
    }
    world.send(number, line.as_bytes());
    Ok(())
}

fn quoted(text: impl AsRef<str>) -> String {
    serde_json::to_string(text.as_ref()).expect("a string")
}

/// An object of what is there.
fn object(fields: &[(&str, Option<String>)]) -> String {
    let fields: Vec<String> =
        fields.iter().filter_map(|(name, raw)| raw.as_ref().map(|raw| format!("\"{name}\":{raw}"))).collect();
    format!("{{{}}}", fields.join(","))
}

fn next_sequence(world: &mut World, number: u64) -> u64 {
    world.sessions.get_mut(&number).map_or(0, |session| {
        session.sequence += 1;
        session.sequence
    })
}

/// An id that is mostly new, and sometimes of an open request of this or of another connection.
fn id(world: &mut World, number: u64, sequence: u64) -> Option<String> {
    match world.random.below(40) {
        0..4 => None,
        4..7 => {
            let open: Vec<String> = world
                .model()
                .requests
                .iter()
                .filter_map(|request| lines::field(&request.message.fields, "message_id").map(str::to_owned))
                .collect();
            match open.is_empty() {
                true => Some(format!("{sequence}")),
                false => Some(world.random.pick(&open)),
            }
        }
        7..20 => Some(format!("{}", number * 100_000 + sequence)),
        _ => Some(format!("\"{number}-{sequence}\"")),
    }
}

/// One of the sender's own addresses, or none.
fn from(world: &mut World, number: u64) -> Option<String> {
    let conn = world.model().conn(number)?;
    let mut own = conn.names.clone();
    own.push(conn.unique_id());
    match world.random.below(10) {
        0..5 => None,
        5 => Some("null".to_owned()),
        6 => {
            let port = format!("{}#p", world.random.pick(&own));
            Some(quoted(&port))
        }
        _ => Some(quoted(world.random.pick(&own))),
    }
}

fn filler(world: &mut World) -> String {
    let most = world.limits.max_line_bytes;
    let len = match world.random.below(8) {
        1..4 if world.is_crowded => most / 2 + world.random.below(most / 2),
        0 => world.random.below(most),
        1..4 => world.random.below(most / 2),
        _ => world.random.below(40),
    };
    let unit = world.random.pick(&["x", "é", "\\u00e9", "\\n", " "]);
    unit.repeat(len.saturating_sub(150) / unit.len())
}

fn body(world: &mut World, number: u64, sequence: u64, extra: &str) -> String {
    let pad = filler(world);
    let gate = match world.random.below(40) {
        0 => ",\"gate\":\"drop\"".to_owned(),
        1 => ",\"gate\":\"reject\"".to_owned(),
        // The space is for the model, which is not to take this for the message's own field.
        2 => format!(",\"gate\":{{\"to\" :{}}}", quoted(address(world))),
        3 => format!(",\"gate\":{{\"topic\" :{}}}", quoted(world.random.pick(&TOPICS))),
        _ => String::new(),
    };
    let odd = world.random.pick(&["", "", " ", ", \"n\" : 1.50e3", ",\"deep\":[{},[[]]]"]);
    format!("{{\"s\":[{number},{sequence}]{extra}{gate},\"pad\":\"{pad}\"{odd}}}")
}

fn address(world: &mut World) -> String {
    let numbers: Vec<u64> = world.sessions.keys().copied().collect();
    let held: Vec<String> = world.model().nodes.keys().cloned().collect();
    let mut address = match world.random.below(10) {
        1..7 if world.is_crowded => match held.first() {
            Some(first) if world.random.one_in(2) => first.clone(),
            _ => format!(":{}", numbers[0]),
        },
        0 => world.random.pick(&NODES).to_owned(),
        1..4 => format!(":{}", world.random.pick(&numbers)),
        4 if world.random.one_in(4) => {
            format!(":{}", world.random.between(1, world.next_number as usize + 3))
        }
        _ if held.is_empty() => world.random.pick(&NODES).to_owned(),
        _ => world.random.pick(&held),
    };
    if world.random.one_in(6) {
        address.push_str("#port#x");
    }
    address
}

fn message_line(world: &mut World, number: u64) -> String {
    let sequence = next_sequence(world, number);
    let is_request = world.random.one_in(2);
    let topic = world.random.one_in(4);
    let to = match topic {
        true => None,
        false => Some(quoted(address(world))),
    };
    let topic = topic.then(|| quoted(world.random.pick(&TOPICS)));
    let id = id(world, number, sequence);
    let message_type = match is_request {
        true => world.random.pick(&["\"get\"", "\"set\"", "\"g\\u0065t\""]),
        false => "\"signal\"",
    };
    let timeout = (is_request && world.random.one_in(2))
        .then(|| world.random.pick(&["1", "500", "2000", "30000", "3600000"]).to_owned());
    let key = world.random.one_in(6).then(|| quoted(format!("k{}", world.random.below(5))));
    let from = from(world, number);
    let body = match world.random.below(10) {
        0 => None,
        _ => Some(body(world, number, sequence, "")),
    };
    let mut fields: Vec<(&str, Option<String>)> = vec![
        ("message_id", id),
        ("message_type", Some(message_type.to_owned())),
        ("from", from),
        ("to", to),
        ("topic", topic),
        ("timeout_ms", timeout),
        ("key", key),
        ("x-trace", world.random.one_in(6).then(|| " {\"a\" : null}".to_owned())),
        ("body", body),
    ];
    if world.random.one_in(4) {
        let at = world.random.below(fields.len());
        fields.rotate_left(at);
    }
    object(&fields)
}

/// A reply: mostly right, sometimes the wrong one's, doubled, to `:N`, or to nothing at all.
fn reply_line(world: &mut World, number: u64) -> Option<String> {
    let open: Vec<_> = world
        .model()
        .requests
        .iter()
        .filter(|request| request.waiting.contains(&number))
        .map(|request| (request.message.clone(), request.asker))
        .collect();
    let all: Vec<_> =
        world.model().requests.iter().map(|request| (request.message.clone(), request.asker)).collect();
    let from_all = open.is_empty() || world.random.one_in(12);
    let pool = if from_all { &all } else { &open };
    if pool.is_empty() || (from_all && !world.random.one_in(3)) {
        return None;
    }
    let (request, asker) = world.random.pick(pool);
    let id = world.model().id_of(&request)?;
    let raw_id = match id.split_at(1) {
        ("i", digits) => digits.to_owned(),
        (_, text) => quoted(text),
    };
    let raw_id = match world.random.below(20) {
        0 => "\"nothing\"".to_owned(),
        1 => quoted(&raw_id),
        _ => raw_id,
    };
    let to = match world.random.below(10) {
        0..3 => Some(format!(":{asker}")),
        3 if world.random.one_in(3) => Some(address(world)),
        4 if world.random.one_in(6) => None,
        _ => Some(request.from.clone()),
    };
    let mut lines = Vec::new();
    for _ in 0..if world.random.one_in(10) { 2 } else { 1 } {
        let sequence = next_sequence(world, number);
        let extra = format!(",\"in_reply_to\":{raw_id},\"error\":null");
        let body = body(world, number, sequence, &extra);
        let from = from(world, number);
        let own_id = (!world.random.one_in(4)).then(|| format!("\"{number}-{sequence}\""));
        let message_type = quoted(format!("{}_reply", request.message_type));
        let topic = matches!(request.target, Target::Topic(_)) && world.random.one_in(20);
        lines.push(object(&[
            ("message_id", own_id),
            ("message_type", Some(message_type)),
            ("from", from),
            ("to", to.as_deref().filter(|_| !topic).map(quoted)),
            ("topic", topic.then(|| "\"a.b\"".to_owned())),
            ("body", Some(body)),
        ]));
    }
    Some(lines.join("\n"))
}

fn control_line(world: &mut World, number: u64) -> String {
    let sequence = next_sequence(world, number);
    let id = id(world, number, sequence);
    let is_administrator = world.model().conn(number).is_some_and(|conn| conn.administrator);
    let names = world.model().conn(number).map(|conn| conn.names.clone()).unwrap_or_default();
    let mut from_raw = from(world, number);
    let pattern = world.random.pick(&["*", "a*", "*a", "alpha", "w*x", "*e*t*"]).to_owned();
    let topic = |world: &mut World| quoted(world.random.pick(&PATTERNS));
    let group = world.random.one_in(2).then(|| quoted(world.random.pick(&GROUPS)));
    let (message_type, body) = match world.random.below(40) {
        0..12 => {
            let name = match world.random.below(16) {
                0 => "%u".to_owned(),
                1 => "job-%u-%n".to_owned(),
                2 => "bad%x".to_owned(),
                3 => world.random.pick(&[":7", "a#b", "telex.x", "\u{7f}"]).to_owned(),
                _ => world.random.pick(&NODES).to_owned(),
            };
            let mut node_id = Some(quoted(&name));
            match world.random.below(4) {
                0 => {
                    from_raw = Some(quoted(&name));
                    node_id = None;
                }
                1 if world.random.one_in(3) => from_raw = Some(quoted(world.random.pick(&NODES))),
                _ => {}
            }
            let sometimes = |world: &mut World, one_in: usize, values: &[&str]| {
                world.random.one_in(one_in).then(|| world.random.pick(values).to_owned())
            };
            let body = object(&[
                ("node_id", node_id),
                ("delivery", sometimes(world, 3, &["\"one\"", "\"one\"", "\"all\"", "\"some\""])),
                ("exclusive", sometimes(world, 10, &["true", "false", "1"])),
                ("replace", sometimes(world, 10, &["true", "true", "false", "null"])),
                ("credentials", sometimes(world, 4, &["true", "true", "false"])),
                ("overflow", sometimes(world, 6, &["\"fail\"", "\"fail\"", "\"wait\""])),
                ("remote_id", sometimes(world, 10, &["7"])),
            ]);
            ("register", body)
        }
        12..14 => {
            let name = match names.is_empty() {
                true => NODES[0].to_owned(),
                false => world.random.pick(&names),
            };
            ("unregister", object(&[("node_id", Some(quoted(&name)))]))
        }
        14..21 => ("subscribe", object(&[("topic", Some(topic(world))), ("group", group)])),
        21..23 => ("unsubscribe", object(&[("topic", Some(topic(world))), ("group", group)])),
        23..26 => ("monitor", object(&[("node_id", Some(quoted(&pattern)))])),
        26 => ("unmonitor", object(&[("node_id", Some(quoted(&pattern)))])),
        27..29 => ("resolve", object(&[("node_id", Some(quoted(world.random.pick(&NODES))))])),
        29 => {
            ("list", object(&[("match", group.map(|_| quoted(&pattern))), ("limit", Some("3".to_owned()))]))
        }
        30 => ("subscribers", object(&[("topic", Some(quoted(world.random.pick(&TOPICS))))])),
        31 => ("whoami", "{}".to_owned()),
        32..35 => ("ping", body(world, number, sequence, "")),
        35 => ("stats", "{}".to_owned()),
        36 => ("nonsense", "{}".to_owned()),
        37 if is_administrator || world.random.one_in(3) => {
            let unique = world.random.one_in(2);
            let numbers: Vec<u64> = world.sessions.keys().copied().collect();
            let other = format!(":{}", world.random.pick(&numbers));
            let node = world.random.pick(&NODES).to_owned();
            let body = object(&[
                ("node_id", (!unique).then(|| quoted(&node))),
                ("unique_id", unique.then(|| quoted(&other))),
                ("reason", Some("\"it is time\"".to_owned())),
            ]);
            ("kill", body)
        }
        38 => {
            let kind = world.random.pick(&["tap", "tap", "untap"]);
            let body = object(&[
                ("to", world.random.one_in(3).then(|| quoted(&pattern))),
                ("topic", world.random.one_in(4).then(|| "\"a*\"".to_owned())),
                ("message_type", world.random.one_in(3).then(|| "\"*e*\"".to_owned())),
            ]);
            (kind, body)
        }
        _ => ("ping", "null".to_owned()),
    };
    object(&[
        ("message_id", id),
        ("message_type", Some(quoted(message_type))),
        ("from", from_raw),
        ("to", world.random.one_in(5).then(|| "null".to_owned())),
        ("body", Some(body)),
    ])
}

/// A line with one fault, of every class.
fn faulty_line(world: &mut World, number: u64) -> Vec<u8> {
    let id = format!("\"f{}\"", world.random.word());
    let to = quoted(address(world));
    let long = "x".repeat(world.limits.max_line_bytes + world.random.below(300));
    let line = match world.random.below(30) {
        0 => "{\"message_type\":\"get\",}".to_owned(),
        1 => format!("{{\"message_type\":\"get\",\"message_id\":{id}"),
        2 => "{\"message_type\":\"signal\",\"to\":\"\\ud800\"}".to_owned(),
        3 => return b"{\"message_type\":\"signal\",\"to\":\"\xff\"}\n".to_vec(),
        4 => "[1,2]".to_owned(),
        5 => "null".to_owned(),
        6 => format!("{{\"message_id\":{id},\"to\":{to}}}"),
        7 => format!("{{\"message_type\":5,\"message_id\":{id}}}"),
        8 => format!("{{\"message_type\":\"get\",\"message_id\":1.5,\"to\":{to}}}"),
        9 => format!("{{\"message_type\":\"get\",\"message_id\":null,\"to\":{to}}}"),
        10 => format!("{{\"message_type\":\"get\",\"message_id\":{id},\"to\":\"\"}}"),
        11 => format!("{{\"message_type\":\"get\",\"message_id\":{id},\"to\":{to},\"topic\":\"a\"}}"),
        12 => format!("{{\"message_type\":\"signal\",\"message_id\":{id},\"topic\":\"a.*\"}}"),
        13 => format!("{{\"message_type\":\"get\",\"message_id\":{id},\"topic\":\"a..b\"}}"),
        14 => format!("{{\"message_type\":\"get\",\"message_id\":{id},\"to\":{to},\"timeout_ms\":0}}"),
        15 => format!("{{\"message_type\":\"get\",\"message_id\":{id},\"to\":{to},\"timeout_ms\":3600001}}"),
        16 => format!("{{\"message_type\":\"get\",\"message_id\":{id},\"to\":{to},\"key\":\"\"}}"),
        17 => format!("{{\"message_type\":\"get\",\"message_id\":{id},\"to\":{to},\"\\u0074o\":\"x\"}}"),
        18 => format!("{{\"message_type\":\"signal\",\"to\":{to},\"body\":1,\"body\":2}}"),
        19 => format!("{{\"message_type\":\"get\",\"message_id\":{id},\"from\":\"forged\",\"to\":{to}}}"),
        20 => format!("{{\"message_type\":\"signal\",\"from\":\":999\",\"to\":{to}}}"),
        21 => format!("{{\"message_type\":\"signal\",\"sender\":{{}},\"to\":{to}}}"),
        22 => format!("{{\"message_type\":\"get\",\"message_id\":{id},\"spool_id\":\"1\",\"to\":{to}}}"),
        23 => format!("{{\"message_type\":\"error\",\"message_id\":{id},\"to\":{to}}}"),
        24 => format!("{{\"message_type\":\"get_reply\",\"message_id\":{id},\"to\":{to}}}"),
        25 => format!(
            "{{\"message_type\":\"get_reply\",\"message_id\":{id},\"to\":{to},\"body\":{{\"in_reply_to\":true}}}}"
        ),
        26 | 27 => format!("{{\"message_type\":\"signal\",\"to\":{to},\"body\":\"{long}\"}}"),
        28 => long,
        _ => {
            // A fault in a request whose id is that of an open one.
            let open = world.model().requests.iter().find(|request| request.asker == number);
            let open = open
                .and_then(|request| lines::field(&request.message.fields, "message_id").map(str::to_owned));
            format!("{{\"message_type\":\"get\",\"message_id\":{},\"timeout_ms\":-1}}", open.unwrap_or(id))
        }
    };
    let mut line = line.into_bytes();
    line.push(b'\n');
    line
}
