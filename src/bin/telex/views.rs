//! Knows what a snapshot of a daemon looks like: the tables of `top`, and the lines above them.
//! Never: the terminal.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use crate::output::{safe, size, span, waited};
use crate::table::Table;
use crate::watch::Snapshot;

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Nodes,
    Connections,
    Topics,
    Users,
    Errors,
}

impl View {
    pub(crate) const ALL: [View; 5] =
        [View::Nodes, View::Connections, View::Topics, View::Users, View::Errors];

    pub(crate) fn name(self) -> &'static str {
        match self {
            View::Nodes => "nodes",
            View::Connections => "connections",
            View::Topics => "topics",
            View::Users => "users",
            View::Errors => "errors",
        }
    }

    /// Its columns, as a table takes them.
    pub(crate) fn columns(self) -> &'static [&'static str] {
        match self {
            View::Nodes => {
                &["NODE", ">INSTANCES", ">IN/S", ">OUT/S", ">OPEN", ">QUEUE", ">OLDEST", ">MISSED"]
            }
            View::Connections => &[
                "=ID", "NODES", ">?PID", "PROCESS", "USER", ">IN/S", ">OUT/S", ">?OPEN", ">QUEUE", ">OLDEST",
                ">MISSED", "PAUSED",
            ],
            View::Topics => &["TOPIC", ">MESSAGES/S", ">BYTES/S", ">SUBSCRIBERS", ">MISSED"],
            View::Users => &[
                "USER",
                ">CONNECTIONS",
                ">IN/S",
                ">OUT/S",
                ">BYTES IN/S",
                ">BYTES OUT/S",
                ">QUEUE",
                ">OLDEST",
                ">MISSED",
            ],
            View::Errors => &["CODE", ">/S", ">COUNT"],
        }
    }

    /// The column that it is sorted by at first.
    pub(crate) fn sorted_by(self) -> usize {
        self.columns().iter().position(|column| column.ends_with("/S")).unwrap_or_default()
    }
}

/// What stands in a cell.
#[derive(Clone, Debug)]
enum Cell {
    Text(String),
    /// A number, and how it is shown.
    Number(f64, String),
}

impl Cell {
    fn text(value: &Value) -> Cell {
        Cell::Text(value.as_str().unwrap_or("-").to_owned())
    }

    fn count(count: f64) -> Cell {
        Cell::Number(count, format!("{count:.0}"))
    }

    fn rate(rate: f64) -> Cell {
        Cell::Number(rate, shown_rate(rate))
    }

    fn bytes(bytes: f64) -> Cell {
        Cell::Number(bytes, size(&json!(bytes as u64)))
    }

    fn ms(ms: f64) -> Cell {
        Cell::Number(ms, waited(ms))
    }

    fn shown(self) -> String {
        match self {
            Cell::Text(text) | Cell::Number(_, text) => text,
        }
    }

    /// Large numbers come first, and texts in the order of their letters.
    fn order(&self, other: &Cell) -> Ordering {
        match (self, other) {
            (Cell::Number(one, _), Cell::Number(two, _)) => two.total_cmp(one),
            (Cell::Text(one), Cell::Text(two)) => one.cmp(two),
            (Cell::Number(..), Cell::Text(_)) => Ordering::Less,
            (Cell::Text(_), Cell::Number(..)) => Ordering::Greater,
        }
    }
}

fn shown_rate(rate: f64) -> String {
    match rate {
        0.0 => "0".to_owned(),
        ..100.0 => format!("{rate:.1}"),
        _ => format!("{rate:.0}"),
    }
}

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_default()
}

/// What a connection, or several, do.
#[derive(Clone, Copy, Default)]
struct Doing {
    lines_in: f64,
    lines_out: f64,
    bytes_in: f64,
    bytes_out: f64,
    missed: f64,
}

impl Doing {
    /// How much that is since then; all of it if there is no then.
    fn of(connection: &Value, before: Option<&Value>, seconds: f64) -> Doing {
        let rate = |key: &str| {
            let then = before.map_or(0.0, |before| number(before, key));
            (number(connection, key) - then).max(0.0) / seconds
        };
        Doing {
            lines_in: rate("lines_in"),
            lines_out: rate("lines_out"),
            bytes_in: rate("bytes_in"),
            bytes_out: rate("bytes_out"),
            missed: rate("missed"),
        }
    }

    fn add(&mut self, other: &Doing) {
        self.lines_in += other.lines_in;
        self.lines_out += other.lines_out;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.missed += other.missed;
    }
}

/// A snapshot beside the one before it.
pub(crate) struct Views<'a> {
    now: &'a Snapshot,
    before: Option<&'a Snapshot>,
    seconds: f64,
    /// By unique id.
    connections: HashMap<&'a str, &'a Value>,
    /// By unique id; nothing at first.
    doing: HashMap<&'a str, Doing>,
}

impl<'a> Views<'a> {
    pub(crate) fn new(now: &'a Snapshot, before: Option<&'a Snapshot>) -> Views<'a> {
        let seconds = before.map_or(1.0, |before| now.at.duration_since(before.at).as_secs_f64().max(0.001));
        let id = |connection: &'a Value| connection["unique_id"].as_str().unwrap_or_default();
        let by_id = |snapshot: &'a Snapshot| snapshot.connections.iter().map(|one| (id(one), one));
        let connections: HashMap<&str, &Value> = by_id(now).collect();
        let then: HashMap<&str, &Value> = before.into_iter().flat_map(by_id).collect();
        let doing = connections.iter().filter(|_| before.is_some());
        let doing = doing.map(|(id, one)| (*id, Doing::of(one, then.get(id).copied(), seconds))).collect();
        Views { now, before, seconds, connections, doing }
    }

    fn doing(&self, entry: &Value) -> Doing {
        entry["unique_id"].as_str().and_then(|id| self.doing.get(id)).copied().unwrap_or_default()
    }

    /// How often a counter of `stats` counts in a second.
    fn rate(&self, path: &str) -> f64 {
        let count =
            |snapshot: &Snapshot| snapshot.stats.pointer(path).and_then(Value::as_f64).unwrap_or_default();
        self.before.map_or(0.0, |before| (count(self.now) - count(before)).max(0.0) / self.seconds)
    }

    /// What the daemon does as a whole, in lines.
    pub(crate) fn summary(&self) -> Vec<String> {
        let stats = &self.now.stats;
        let count = |path: &str| stats.pointer(path).and_then(Value::as_u64).unwrap_or_default();
        let rate = |path: &str| shown_rate(self.rate(path));
        let errors = |snapshot: &Snapshot| -> f64 {
            snapshot.stats["errors"]
                .as_object()
                .into_iter()
                .flatten()
                .filter_map(|(_, count)| count.as_f64())
                .sum()
        };
        let errors =
            self.before.map_or(0.0, |before| (errors(self.now) - errors(before)).max(0.0) / self.seconds);
        vec![
            format!(
                "up {}, {} connections, {} nodes, {} subscriptions, {} open requests, memory {}",
                span(number(stats, "uptime")),
                count("/connections/now"),
                count("/nodes"),
                count("/subscriptions"),
                count("/open_requests"),
                size(&stats["memory_bytes"]),
            ),
            format!(
                "lines (bytes) per second: in {} ({}), out {} ({}); missed {}, errors {}",
                rate("/lines_in"),
                size(&json!(self.rate("/bytes_in") as u64)),
                rate("/lines_out"),
                size(&json!(self.rate("/bytes_out") as u64)),
                rate("/missed"),
                shown_rate(errors),
            ),
            format!(
                "queued {}, the oldest for {}; {} senders paused",
                size(&stats["queue_bytes"]),
                waited(number(stats, "oldest_ms")),
                count("/paused"),
            ),
            format!("slow readers: {}", self.slow()),
        ]
    }

    /// The connections that do not keep up, the slowest first.
    fn slow(&self) -> String {
        /// What has waited for less is no trouble.
        const OLD_MS: f64 = 1000.0;
        let is_slow = |one: &&Value| {
            number(one, "oldest_ms") >= OLD_MS || one["paused"] == "answers" || self.doing(one).missed > 0.0
        };
        let mut slow: Vec<&Value> = self.now.connections.iter().filter(is_slow).collect();
        slow.sort_by(|one, two| number(two, "oldest_ms").total_cmp(&number(one, "oldest_ms")));
        let told = slow.iter().map(|one| {
            let id = one["unique_id"].as_str().unwrap_or_default();
            let name = one["node_ids"][0].as_str().unwrap_or(id);
            format!("{} {} {}", safe(name), size(&one["queue_bytes"]), waited(number(one, "oldest_ms")))
        });
        let told: Vec<String> = told.collect();
        if told.is_empty() { "none".to_owned() } else { told.join(", ") }
    }

    /// The table of a view, the line with the names of its columns first.
    pub(crate) fn table(&self, view: View, sorted_by: usize, width: usize) -> Vec<String> {
        let mut rows = match view {
            View::Nodes => self.nodes(),
            View::Connections => self.connections(),
            View::Topics => match &self.now.topics {
                Ok(topics) => topics_of(topics),
                Err(why) => return vec![safe(why)],
            },
            View::Users => self.users(),
            View::Errors => self.errors(),
        };
        rows.sort_by(|one, two| one[sorted_by].order(&two[sorted_by]).then_with(|| one[0].order(&two[0])));
        let mut table = Table::new(view.columns());
        for row in rows {
            table.row(row.into_iter().map(Cell::shown));
        }
        table.lines(width)
    }

    fn nodes(&self) -> Vec<Vec<Cell>> {
        let row = |node: &Value| {
            let instances = node["instances"].as_array().map(Vec::as_slice).unwrap_or_default();
            let mut doing = Doing::default();
            instances.iter().for_each(|one| doing.add(&self.doing(one)));
            let sum = |key: &str| instances.iter().map(|one| number(one, key)).sum::<f64>();
            let oldest = instances.iter().map(|one| number(one, "oldest_ms")).fold(0.0, f64::max);
            let missed = instances.iter().map(|one| self.missed(one)).sum();
            vec![
                Cell::text(&node["node_id"]),
                Cell::count(instances.len() as f64),
                Cell::rate(doing.lines_in),
                Cell::rate(doing.lines_out),
                Cell::count(sum("open_requests")),
                Cell::bytes(sum("queue_bytes")),
                Cell::ms(oldest),
                Cell::count(missed),
            ]
        };
        self.now.nodes.iter().map(row).collect()
    }

    /// How much the connection of an instance has missed in all.
    fn missed(&self, instance: &Value) -> f64 {
        let connection = instance["unique_id"].as_str().and_then(|id| self.connections.get(id));
        connection.map_or(0.0, |connection| number(connection, "missed"))
    }

    fn connections(&self) -> Vec<Vec<Cell>> {
        let row = |one: &Value| {
            let names: Vec<&str> =
                one["node_ids"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let doing = self.doing(one);
            vec![
                Cell::text(&one["unique_id"]),
                Cell::Text(if names.is_empty() { "-".to_owned() } else { names.join(",") }),
                one["pid"].as_f64().map_or_else(|| Cell::Text("-".to_owned()), Cell::count),
                Cell::text(&one["process"]),
                Cell::text(&one["user"]),
                Cell::rate(doing.lines_in),
                Cell::rate(doing.lines_out),
                Cell::count(number(one, "open_requests")),
                Cell::bytes(number(one, "queue_bytes")),
                Cell::ms(number(one, "oldest_ms")),
                Cell::count(number(one, "missed")),
                Cell::text(if one["leaving"] == true { &Value::Null } else { &one["paused"] }),
            ]
        };
        self.now.connections.iter().map(row).collect()
    }

    fn users(&self) -> Vec<Vec<Cell>> {
        let mut users: BTreeMap<&str, (Vec<&Value>, Doing)> = BTreeMap::new();
        for one in &self.now.connections {
            let (connections, doing) = users.entry(one["user"].as_str().unwrap_or("-")).or_default();
            connections.push(one);
            doing.add(&self.doing(one));
        }
        let row = |(user, (all, doing)): (&str, (Vec<&Value>, Doing))| {
            let sum = |key: &str| all.iter().map(|one| number(one, key)).sum::<f64>();
            vec![
                Cell::Text(user.to_owned()),
                Cell::count(all.len() as f64),
                Cell::rate(doing.lines_in),
                Cell::rate(doing.lines_out),
                Cell::bytes(doing.bytes_in),
                Cell::bytes(doing.bytes_out),
                Cell::bytes(sum("queue_bytes")),
                Cell::ms(all.iter().map(|one| number(one, "oldest_ms")).fold(0.0, f64::max)),
                Cell::count(sum("missed")),
            ]
        };
        users.into_iter().map(row).collect()
    }

    fn errors(&self) -> Vec<Vec<Cell>> {
        let errors = self.now.stats["errors"].as_object().into_iter().flatten();
        let row = |(code, count): (&String, &Value)| {
            let rate = self.rate(&format!("/errors/{code}"));
            vec![Cell::Text(code.clone()), Cell::rate(rate), Cell::count(count.as_f64().unwrap_or_default())]
        };
        errors.map(row).collect()
    }
}

fn topics_of(topics: &Value) -> Vec<Vec<Cell>> {
    let seconds = number(topics, "seconds").max(0.001);
    let row = |topic: &Value| {
        vec![
            Cell::text(&topic["topic"]),
            Cell::rate(number(topic, "messages") / seconds),
            Cell::bytes(number(topic, "bytes") / seconds),
            Cell::count(number(topic, "subscribers")),
            Cell::count(number(topic, "missed")),
        ]
    };
    topics["topics"].as_array().into_iter().flatten().map(row).collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn connection(id: &str, names: &[&str], lines_in: u64, oldest_ms: u64) -> Value {
        json!({"unique_id": id, "node_ids": names, "user": "alice", "lines_in": lines_in, "lines_out": 0,
               "queue_bytes": 2048, "oldest_ms": oldest_ms, "missed": 0, "paused": null})
    }

    fn snapshot(at: Instant, connections: Vec<Value>, errors: Value) -> Snapshot {
        let node = |name: &str, ids: &[&str]| {
            let instances: Vec<Value> = ids.iter().map(|id| json!({"unique_id": id})).collect();
            json!({"node_id": name, "instances": instances})
        };
        let nodes = vec![node("a", &[":1"]), node("b", &[":2", ":3"])];
        let stats = json!({"lines_in": 0, "errors": errors});
        Snapshot { at, stats, nodes, connections, topics: Err("denied \u{1b}[2J".to_owned()) }
    }

    fn words(lines: &[String]) -> Vec<Vec<&str>> {
        lines.iter().map(|line| line.split_whitespace().collect()).collect()
    }

    #[test]
    fn rates_are_what_has_changed_in_the_time() {
        let (then, now) = (Instant::now(), Instant::now() + Duration::from_secs(2));
        let before = vec![connection(":1", &["a"], 10, 0), connection(":2", &["b"], 10, 0)];
        // One of them is new.
        let after = vec![
            connection(":1", &["a"], 14, 0),
            connection(":2", &["b"], 10, 1500),
            connection(":3", &["b"], 100, 0),
        ];
        let before = snapshot(then, before, json!({"timeout": 1}));
        let after = snapshot(now, after, json!({"timeout": 1, "denied": 6}));
        let seconds = now.duration_since(then).as_secs_f64();
        let views = Views::new(&after, Some(&before));
        let nodes = views.table(View::Nodes, View::Nodes.sorted_by(), 80);
        let nodes = words(&nodes);
        // The busiest is the first one; it has two instances.
        assert_eq!((nodes[1][0], nodes[1][1], nodes[2][0]), ("b", "2", "a"));
        assert_eq!((nodes[1][2], nodes[2][2]), (&*shown_rate(100.0 / seconds), &*shown_rate(4.0 / seconds)));
        let users = views.table(View::Users, 0, 80);
        assert_eq!(words(&users)[1][..3], ["alice", "3", &shown_rate(104.0 / seconds)]);
        let errors = views.table(View::Errors, View::Errors.sorted_by(), 80);
        assert_eq!(
            (words(&errors)[1][0], words(&errors)[2][..].join(" ")),
            ("denied", "timeout 0 1".to_owned())
        );
        // Texts come in the order of their letters.
        assert!(views.table(View::Nodes, 0, 80)[1].starts_with("a "));
        assert_eq!(views.table(View::Topics, 0, 80), ["denied \\u{1b}[2J"]);
        assert_eq!(views.summary().last().expect("a line"), "slow readers: b 2.0KiB 1500ms");
        // The first snapshot has nothing to be compared with.
        let first = Views::new(&before, None);
        assert_eq!(words(&first.table(View::Nodes, 0, 80))[1][2], "0");
    }
}
