//! Knows what has to hold of what peers have read, however the core's work was spread and whatever came in
//! between: whose line comes behind which, and that each message, request and instance is told of once.
//! Never: when the core does what, or in how many parts. What is exact there is the model's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

use crate::handling::matches;
use crate::lines::{self, Seen};
use crate::model::Checked;
use crate::routing::covers;

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum To {
    Daemon,
    Unique(u64),
    Node,
    Topic(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Signal,
    Reply,
}

/// A message that was sent, and what has been read of what came of it.
#[derive(Debug)]
struct Sent {
    by: u64,
    to: To,
    kind: Kind,
    read_by: Vec<u64>,
    /// Replies of peers, and of the daemon.
    replies: usize,
    own_replies: usize,
    /// `error` lines about it alone.
    errors: usize,
}

/// A `list` that is not answered yet.
#[derive(Debug)]
struct List {
    pattern: String,
    /// Names that are there from before it was sent until now.
    throughout: BTreeSet<String>,
}

/// What one connection has said and read.
#[derive(Debug, Default)]
struct Reader {
    /// It has read all that it was owed until its end, as far as is known.
    is_clean: bool,
    /// The number of the last message from each sender.
    last: BTreeMap<u64, u64>,
    /// Its requests to the daemon that are not answered, in their order.
    asked: VecDeque<String>,
    monitors: Option<String>,
    /// Instances that it knows to be there.
    up: BTreeSet<(String, u64)>,
    /// Connections that it knows to be gone.
    gone: BTreeSet<u64>,
    /// How many messages to each receiver were lost, and of all topics.
    lost: BTreeMap<u64, u64>,
    lagged: u64,
    /// Requests that it has read and not answered: the asker's address, and their ids.
    owes: Vec<(String, String)>,
    /// What it subscribes to, and how many messages had been sent before.
    subscriptions: Vec<(String, usize)>,
    names: BTreeSet<String>,
    /// How many messages had been sent, and handled, when it was there for certain.
    was_here_at: usize,
    /// Its place in the order in which connections were closed.
    closed: usize,
    /// How many had been closed when it sent its last.
    ended: Option<usize>,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    readers: BTreeMap<u64, Reader>,
    sent: BTreeMap<String, Sent>,
    /// Ids in the order in which they were sent.
    order: Vec<String>,
    /// What was asked of the daemon, by id.
    asked: BTreeMap<String, Value>,
    lists: BTreeMap<String, List>,
    /// Lines of peers that were read.
    pub(crate) read: u64,
    pub(crate) answered_lists: u64,
    closed: usize,
    /// Connections that ended on both sides.
    hung_up: BTreeSet<u64>,
}

impl Ledger {
    pub(crate) fn opened(&mut self, number: u64) {
        self.readers.insert(number, Reader { is_clean: true, ..Reader::default() });
    }

    /// It sends nothing more, and may go as soon as it is owed nothing.
    pub(crate) fn ends(&mut self, number: u64) {
        self.loses_names(number);
        let closed = self.closed;
        if let Some(reader) = self.readers.get_mut(&number) {
            reader.ended.get_or_insert(closed);
        }
    }

    pub(crate) fn closed(&mut self, number: u64) {
        self.loses_names(number);
        self.closed += 1;
        if let Some(reader) = self.readers.get_mut(&number) {
            reader.closed = self.closed;
        }
    }

    /// It has ended on both sides: it is told to be gone before the last of its lines are handled if these have to
    /// wait, which may be answers.
    pub(crate) fn hangs_up(&mut self, number: u64) {
        self.hung_up.insert(number);
        self.is_unclean(number);
    }

    /// It may not have read all that it was owed, or not have been heard to the end.
    pub(crate) fn is_unclean(&mut self, number: u64) {
        if let Some(reader) = self.readers.get_mut(&number) {
            reader.is_clean = false;
        }
        self.loses_names(number);
    }

    /// From now on nothing is certain of the names that a connection held.
    pub(crate) fn loses_names(&mut self, number: u64) {
        let Some(reader) = self.readers.get_mut(&number) else { return };
        let mut names = std::mem::take(&mut reader.names);
        let asked = reader.asked.iter().filter_map(|id| self.asked.get(id));
        names.extend(asked.filter_map(|body| body["node_id"].as_str().map(str::to_owned)));
        for name in names {
            self.loses_name(&name);
        }
    }

    /// An administrator may have closed any.
    pub(crate) fn loses_all(&mut self) {
        for number in self.readers.keys().copied().collect::<Vec<_>>() {
            self.loses_names(number);
        }
    }

    fn loses_name(&mut self, name: &str) {
        for list in self.lists.values_mut() {
            list.throughout.remove(name);
        }
        for reader in self.readers.values_mut() {
            reader.names.remove(name);
        }
        // Nor of those that are still to be taken.
        for body in self.asked.values_mut().filter(|body| body["node_id"] == name) {
            body["may_go"] = true.into();
        }
    }

    pub(crate) fn sends(&mut self, by: u64, id: &str, to: To, kind: Kind) {
        let sent = Sent { by, to, kind, read_by: Vec::new(), replies: 0, own_replies: 0, errors: 0 };
        self.sent.insert(id.to_owned(), sent);
        self.order.push(id.to_owned());
    }

    /// A request to the daemon.
    pub(crate) fn asks(&mut self, by: u64, id: &str, message_type: &str, mut body: Value) {
        self.sends(by, id, To::Daemon, Kind::Request);
        if let Some(reader) = self.readers.get_mut(&by) {
            reader.asked.push_back(id.to_owned());
        }
        match message_type {
            "unregister" | "register" if body["replace"] != false => {
                self.loses_name(body["node_id"].as_str().unwrap_or_default());
                body["ends"] = true.into();
            }
            "kill" => {
                self.loses_all();
                body["kills"] = true.into();
            }
            "list" => {
                let pattern = body["match"].as_str().unwrap_or("*").to_owned();
                let throughout = self.readers.values().flat_map(|reader| reader.names.iter().cloned());
                let throughout = throughout.filter(|name| matches(&pattern, name)).collect();
                self.lists.insert(id.to_owned(), List { pattern, throughout });
            }
            _ => {}
        }
        self.asked.insert(id.to_owned(), body);
    }

    /// A request that a connection has read and not answered: the asker's address, and its id.
    pub(crate) fn takes_owed(&mut self, number: u64, at: usize) -> Option<(String, String)> {
        let owes = &mut self.readers.get_mut(&number)?.owes;
        (!owes.is_empty()).then(|| owes.swap_remove(at % owes.len()))
    }

    pub(crate) fn may_monitor(&self, number: u64) -> bool {
        self.readers.get(&number).is_some_and(|reader| reader.monitors.is_none())
    }

    pub(crate) fn monitors(&mut self, number: u64, pattern: &str) {
        if let Some(reader) = self.readers.get_mut(&number) {
            reader.monitors = Some(pattern.to_owned());
        }
    }

    /// A connection has read a line.
    pub(crate) fn reads(&mut self, number: u64, line: &[u8]) -> Checked {
        let line = Seen::parse(line)?;
        let about = |fault: String| format!(":{number} {fault}: {}", line.raw);
        let read = match (line.is_own(), line.text("message_type").unwrap_or_default().as_str()) {
            (false, message_type) => self.reads_message(number, message_type, &line),
            (true, "signal") => self.reads_signal(number, &line),
            (true, "error") => self.reads_error(number, &line),
            (true, message_type) => self.reads_answer(number, message_type, &line),
        };
        read.map_err(about)
    }

    fn reader(&mut self, number: u64) -> Checked<&mut Reader> {
        self.readers.get_mut(&number).ok_or_else(|| "reads and is not there".to_owned())
    }

    fn reads_message(&mut self, number: u64, message_type: &str, line: &Seen) -> Checked {
        self.read += 1;
        let id = line.text("message_id").unwrap_or_default();
        let mark = lines::field(&line.body, "s").and_then(|raw| serde_json::from_str::<Vec<u64>>(raw).ok());
        let Some(&[sender, sequence]) = mark.as_deref() else { return Err("reads no mark".to_owned()) };
        let may_wait = self.hung_up.contains(&sender);
        let reader = self.reader(number)?;
        let last = reader.last.entry(sender).or_default();
        if sequence <= *last {
            return Err(format!("reads number {sequence} behind {last}"));
        }
        *last = sequence;
        // Lines of one that hung up may have had to wait.
        if reader.gone.contains(&sender) && !may_wait {
            return Err(format!("reads of :{sender}, which is gone"));
        }
        let sent = self.sent.get_mut(&id).ok_or("reads what was never sent")?;
        sent.read_by.push(number);
        if sent.kind == Kind::Request {
            let from = line.text("from").unwrap_or_default();
            self.reader(number)?.owes.push((from, id));
        } else if message_type.ends_with("_reply") {
            let answered = line.body_text("in_reply_to").unwrap_or_default();
            self.answered(number, &answered)?.replies += 1;
        }
        Ok(())
    }

    fn answered(&mut self, number: u64, id: &str) -> Checked<&mut Sent> {
        let sent = self.sent.get_mut(id).filter(|sent| sent.by == number);
        sent.ok_or_else(|| format!("reads an answer to {id:?}, which it did not send"))
    }

    fn reads_signal(&mut self, number: u64, line: &Seen) -> Checked {
        let reader = self.reader(number)?;
        let of = || {
            let name = line.body_text("node_id").unwrap_or_default();
            let unique = line.body_text("unique_id").unwrap_or_default();
            (name, unique.trim_start_matches(':').parse::<u64>().unwrap_or_default())
        };
        match line.body_text("event").as_deref() {
            Some("lagged") => {
                reader.lagged += line.body_value("count").and_then(|count| count.as_u64()).unwrap_or(0);
            }
            Some("node_up") if !reader.up.insert(of()) => {
                return Err("is told twice of an instance".to_owned());
            }
            Some("node_down") => {
                let instance = of();
                if !reader.up.remove(&instance) {
                    return Err("is told of the end of an instance that it has not heard of".to_owned());
                }
                if !matches!(line.body_text("reason").as_deref(), Some("unregistered" | "replaced")) {
                    reader.gone.insert(instance.1);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn reads_error(&mut self, number: u64, line: &Seen) -> Checked {
        let about = line.body_text("in_reply_to");
        if let Some(count) = line.body_value("count").and_then(|count| count.as_u64()) {
            let text = line.body_text("error").unwrap_or_default();
            let receiver = text.split(':').next_back().and_then(|rest| rest.split(' ').next()?.parse().ok());
            let receiver: u64 = receiver.ok_or("is told of a loss to nobody")?;
            *self.reader(number)?.lost.entry(receiver).or_default() += count;
            return Ok(());
        }
        match about {
            Some(id) => self.answered(number, &id)?.errors += 1,
            // A part of a line that there was no memory for, or a farewell.
            None => self.is_unclean(number),
        }
        Ok(())
    }

    fn reads_answer(&mut self, number: u64, message_type: &str, line: &Seen) -> Checked {
        let id = line.body_text("in_reply_to").ok_or("reads an answer to nothing")?;
        let sent = self.answered(number, &id)?;
        sent.own_replies += 1;
        let (to, text) = (sent.to.clone(), line.body_text("error").unwrap_or_default());
        if let To::Unique(receiver) = to
            && text.starts_with("all that could have answered")
            && self.reader(number)?.gone.contains(&receiver)
            && !self.hung_up.contains(&receiver)
        {
            return Err(format!("is told of a request's end behind that of :{receiver}"));
        }
        if to != To::Daemon {
            return Ok(());
        }
        let sent_before = self.order.len();
        let body = self.asked.remove(&id).unwrap_or_default();
        let reader = self.reader(number)?;
        match reader.asked.iter().position(|asked| *asked == id) {
            Some(at) if at == 0 || !reader.is_clean => drop(reader.asked.drain(..=at)),
            _ => return Err(format!("reads the answer to {id:?} before that to {:?}", reader.asked.front())),
        }
        let list = self.lists.remove(&id);
        if line.body_text("code").is_some() {
            if message_type == "monitor_reply" {
                self.reader(number)?.monitors = None;
            }
            return Ok(());
        }
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        match message_type {
            "register_reply" if body["may_go"] != true => {
                let name = text("node_id");
                let may_end = |other: &Value| other["ends"] == true && other["node_id"] == name;
                if !self.asked.values().any(|other| other["kills"] == true || may_end(other)) {
                    self.reader(number)?.names.insert(name);
                }
            }
            "subscribe_reply" if body["group"].is_null() => {
                self.reader(number)?.subscriptions.push((text("topic"), sent_before));
            }
            "list_reply" => {
                self.answered_lists += 1;
                return list.map_or(Ok(()), |list| reads_list(&list, line));
            }
            _ => {}
        }
        Ok(())
    }

    /// All that was sent has been handled, and these are there.
    pub(crate) fn comes_to_rest(&mut self, here: impl Iterator<Item = u64>) {
        let sent = self.order.len();
        for number in here {
            if let Some(reader) = self.readers.get_mut(&number) {
                reader.was_here_at = sent;
            }
        }
    }

    /// What every connection that is there has been told, if it monitors, is what is there.
    pub(crate) fn check_monitors(&self, here: &BTreeSet<(String, u64)>, readers: &[u64]) -> Checked {
        for number in readers {
            let Some(reader) = self.readers.get(number).filter(|reader| reader.is_clean) else { continue };
            let Some(pattern) = &reader.monitors else { continue };
            let due: BTreeSet<_> = here.iter().filter(|(name, _)| matches(pattern, name)).cloned().collect();
            if due != reader.up {
                return Err(format!(":{number} monitors {pattern:?}: {:?} and not {due:?}", reader.up));
            }
        }
        Ok(())
    }

    /// All have gone, and have read what they were owed: each message has met its one fate. Of so many none was
    /// left to be told.
    pub(crate) fn check_fates(&self, untold: u64) -> Checked {
        let mut open: BTreeMap<(u64, u64), i64> = BTreeMap::new();
        for (id, sent) in &self.sent {
            let sender = &self.readers[&sent.by];
            if sent.read_by.len() != sent.read_by.iter().collect::<BTreeSet<_>>().len() {
                return Err(format!("{id:?} was read twice: {sent:?}"));
            }
            if !sender.is_clean {
                continue;
            }
            let answers = sent.replies + sent.own_replies + sent.errors;
            let is_right = match (&sent.to, sent.kind) {
                (To::Daemon, _) => (sent.own_replies, answers) == (1, 1),
                (To::Unique(_), Kind::Request) => answers == 1,
                (_, Kind::Request) => sent.errors == 0 && (sent.own_replies == 1) != (sent.replies > 0),
                (To::Unique(receiver), _) => {
                    let told = sent.read_by.len() + sent.errors;
                    *open.entry((sent.by, *receiver)).or_default() += 1 - told as i64;
                    told <= 1
                }
                (_, _) => true,
            };
            if !is_right {
                return Err(format!("{id:?} has no right end: {sent:?}"));
            }
        }
        for (&number, reader) in self.readers.iter().filter(|(_, reader)| reader.is_clean) {
            for (&receiver, &lost) in &reader.lost {
                *open.entry((number, receiver)).or_default() -= lost as i64;
            }
            self.check_subscriptions(number, reader)?;
        }
        let all: i64 = open.values().sum();
        // One who may have gone by then need not be told.
        open.retain(|(sender, receiver), open| {
            let ended = self.readers[sender].ended.unwrap_or(usize::MAX);
            *open < 0 || self.readers[receiver].closed <= ended
        });
        let gone_before: i64 = all - open.values().sum::<i64>();
        if gone_before > untold as i64 {
            return Err(format!("{gone_before} were not told, and {untold} are counted"));
        }
        match open.iter().find(|(_, open)| **open != 0) {
            None => Ok(()),
            Some(((sender, receiver), open)) => {
                let is_theirs = |sent: &Sent| {
                    (sent.by, &sent.to) == (*sender, &To::Unique(*receiver)) && sent.kind != Kind::Request
                };
                let untold = self
                    .sent
                    .iter()
                    .filter(|(_, sent)| is_theirs(sent) && sent.read_by.is_empty() && sent.errors == 0);
                let untold: Vec<_> = untold.map(|(id, _)| id).collect();
                let lost = self.readers[sender].lost.get(receiver);
                Err(format!(
                    "of what :{sender} sent to :{receiver} the fates of {open} are missing: of {untold:?} it was told {lost:?}"
                ))
            }
        }
    }

    /// A subscriber gets what is published while it subscribes, or is told how much it missed.
    fn check_subscriptions(&self, number: u64, reader: &Reader) -> Checked {
        let mut missing = Vec::new();
        for (at, id) in self.order.iter().enumerate() {
            let sent = &self.sent[id];
            let To::Topic(topic) = &sent.to else { continue };
            let is_due = at < reader.was_here_at
                && reader.subscriptions.iter().any(|(pattern, since)| *since <= at && covers(pattern, topic));
            let is_sure = sent.kind == Kind::Signal && self.readers[&sent.by].is_clean;
            if is_due && is_sure && !sent.read_by.contains(&number) {
                missing.push(id);
            }
        }
        match missing.len() as u64 > reader.lagged {
            true => Err(format!(":{number} has not got {missing:?}, and was told of {}", reader.lagged)),
            false => Ok(()),
        }
    }
}

fn reads_list(list: &List, line: &Seen) -> Checked {
    let nodes = line.body_value("nodes").unwrap_or_default();
    let names = nodes.as_array().into_iter().flatten().filter_map(|node| node["node_id"].as_str());
    let names: Vec<&str> = names.collect();
    if !names.is_sorted_by(|one, next| one < next) {
        return Err("is given names out of their order, or twice".to_owned());
    }
    if let Some(other) = names.iter().find(|name| !matches(&list.pattern, name)) {
        return Err(format!("is given {other:?}, which does not match"));
    }
    let has_more = line.body_value("more") == Some(Value::Bool(true));
    let is_due = |name: &&String| !has_more || names.last().is_some_and(|last| name.as_str() <= *last);
    match list.throughout.iter().filter(is_due).find(|name| !names.contains(&name.as_str())) {
        Some(name) => Err(format!("is not given {name:?}, which was there all the time")),
        None => Ok(()),
    }
}
