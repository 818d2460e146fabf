//! Knows what PROTOCOL.md says of an event and of a line: its form, who may say it, and the gate.
//! Never: where a message goes.

use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;

use crate::lines;
use crate::model::{About, Checked, Class, Conn, Event, Expect, Judgement, Kind, Msg, Pass, Target};

/// What the simulation's gate says. It is told by the body alone, so that gate and model agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    Pass,
    Drop,
    Reject,
    /// It goes elsewhere: of requests and signals alone, and not of those to the daemon.
    Redirect(Target),
}

pub(crate) fn verdict(body: &str) -> Judged {
    if body.contains("\"gate\":\"drop\"") {
        Judged::Drop
    } else if body.contains("\"gate\":\"reject\"") {
        Judged::Reject
    } else {
        redirection(body).map_or(Judged::Pass, Judged::Redirect)
    }
}

fn redirection(body: &str) -> Option<Target> {
    let fields = if body.starts_with('{') { lines::split(body) } else { Vec::new() };
    let gate = lines::split(lines::field(&fields, "gate")?);
    let to = lines::text(&gate, "to").map(Target::Address);
    to.or_else(|| lines::text(&gate, "topic").map(Target::Topic))
}

/// What a message is when it is to go elsewhere: all but one field as it came.
fn redirected(message: &Msg, target: Target) -> Msg {
    let (name, text) = match &target {
        Target::Address(to) => ("to", to),
        Target::Topic(topic) => ("topic", topic),
        Target::Daemon => return message.clone(),
    };
    let text = serde_json::to_string(text).expect("a string");
    let mut new = message.clone();
    for (key, raw) in new.fields.iter_mut().filter(|(key, _)| key == "to" || key == "topic") {
        new.raw = new.raw.replacen(&format!("\"{key}\":{raw}"), &format!("\"{name}\":{text}"), 1);
        (*key, *raw) = (name.to_owned(), text.clone());
    }
    Msg { target, ..new }
}

/// Whether a connection over TCP has not said anything right yet: a first line that is wrong ends it.
fn is_strange(conn: &Conn) -> bool {
    conn.user.is_none() && !conn.greeted && !conn.skipping
}

impl Pass<'_> {
    pub(crate) fn event(&mut self, event: Event<'_>) -> Checked {
        // Whether there was memory can be told by what was seen alone. Where that is not all, nothing
        // more can be said.
        let handles_lines = matches!(event, Event::Received(..) | Event::Ended(_) | Event::Resumed(_));
        let is_settled = |number: &u64| self.conn(*number).is_none_or(|conn| conn.queue.is_empty());
        if self.m.tight && handles_lines && !self.seen.blind.iter().all(is_settled) {
            self.m.is_lost = true;
        }
        match event {
            Event::Opened { number, user, administrator } => {
                let conn = Conn { number, user, administrator, ..Conn::default() };
                self.m.conns.insert(number, Rc::new(conn));
            }
            Event::Received(number, bytes) if !self.m.stopped => {
                self.change(number).backlog.extend(bytes);
                self.work(number)?;
            }
            Event::Ended(number) if !self.m.stopped => {
                self.change(number).ended = true;
                if self.conn(number).is_some_and(|conn| !conn.queue.is_empty()) {
                    self.watch(number);
                }
                self.work(number)?;
            }
            Event::Broke(number) => self.broke(number)?,
            Event::Resumed(number) if !self.m.stopped => self.resumed(number)?,
            Event::TimePassed => self.time_passed()?,
            Event::Measured(number) => self.measured(number)?,
            Event::StopAsked => self.stop()?,
            Event::Wrote(number, count) => self.wrote(number, count)?,
            Event::Reaped => self.reaped()?,
            // What came meanwhile is handled first.
            Event::HeldUp => {}
            Event::Received(..) | Event::Ended(_) | Event::Resumed(_) => {}
        }
        self.settle()
    }

    /// Handles what a connection has sent, as far as it can be handled now.
    pub(crate) fn work(&mut self, number: u64) -> Checked {
        loop {
            self.settle()?;
            let Some(conn) = self.conn(number) else { return Ok(()) };
            if conn.leaving || !self.m.dying.is_empty() {
                return Ok(());
            }
            if self.m.is_blocked(conn) {
                // There is nothing more to read from one who has ended but for a line without its end:
                // whether he has to read his answers before he may leave is not promised.
                let waits = conn.held.is_some() || conn.roll_call.is_some() || conn.backlog.contains(&b'\n');
                if waits || !conn.ended || self.choose(2) == 0 {
                    return Ok(());
                }
            }
            let Some(conn) = self.conn(number) else { return Ok(()) };
            let begins = conn.backlog.iter().find(|byte| !byte.is_ascii_whitespace());
            if is_strange(conn) && begins.is_some_and(|&byte| byte != b'{') {
                return self.broken(number, "bad_json");
            }
            let asks_without_reading = conn.second > self.m.short_answer_bytes && !conn.broke;
            if self.m.tight && asks_without_reading && self.choose(2) == 1 {
                // Memory is short, or has been when its answers came.
                return Ok(());
            }
            let Some(conn) = self.conn(number) else { return Ok(()) };
            let line = conn.backlog.iter().position(|&byte| byte == b'\n');
            let (skipping, ended) = (conn.skipping, conn.ended);
            match line {
                Some(at) => {
                    let mut line: Vec<u8> = self.change(number).backlog.drain(..=at).collect();
                    line.pop();
                    match skipping {
                        true => self.change(number).skipping = false,
                        false if self.is_dropped(number) => {
                            self.push(number, Class::Answer, refused_half("overloaded"))?;
                        }
                        false => self.line(number, &line)?,
                    }
                    self.tire();
                }
                None if ended => {
                    let rest: Vec<u8> = self.change(number).backlog.drain(..).collect();
                    if rest.is_empty() || skipping {
                        return self.leave(number, "lost");
                    }
                    self.line(number, &rest)?;
                }
                None => return self.look_at_half_line(number),
            }
        }
    }

    /// A line that is too long already, or for which there is no memory, may be refused before its
    /// end has come, and its bytes thrown away; when is not promised.
    fn look_at_half_line(&mut self, number: u64) -> Checked {
        let Some(conn) = self.conn(number) else { return Ok(()) };
        if conn.skipping {
            self.change(number).backlog.clear();
            return Ok(());
        }
        let too_long = conn.backlog.len() > self.m.limits.max_line_bytes;
        let no_memory = self.m.tight && !conn.backlog.is_empty();
        if too_long && self.next_fits(number, &refused_half("line_too_long")) {
            self.broken(number, "line_too_long")?;
            if self.m.conns.contains_key(&number) {
                self.skip(number);
            }
        } else if no_memory && self.next_fits(number, &refused_half("overloaded")) {
            self.skip(number);
            self.push(number, Class::Answer, refused_half("overloaded"))?;
        }
        Ok(())
    }

    /// Of a line whose end has not been looked at yet, as it is not its sender's turn, what came first may be
    /// refused for want of memory, and the line with it.
    fn is_dropped(&mut self, number: u64) -> bool {
        self.m.tight && self.next_fits(number, &refused_half("overloaded")) && self.choose(2) == 1
    }

    fn skip(&mut self, number: u64) {
        let conn = self.change(number);
        conn.skipping = true;
        conn.backlog.clear();
    }

    fn broken(&mut self, number: u64, code: &'static str) -> Checked {
        self.push(
            number,
            Class::Answer,
            Expect::Error { codes: vec![code], about: About::Null, count: None },
        )?;
        let conn = self.change(number);
        let is_strange = is_strange(conn);
        conn.broken_lines += 1;
        // What it has been told of its lines it may still read.
        if conn.broken_lines == 100 || is_strange { self.leave(number, "broken") } else { Ok(()) }
    }

    fn line(&mut self, number: u64, line: &[u8]) -> Checked {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return Ok(());
        }
        if line.len() > self.m.limits.max_line_bytes {
            return self.broken(number, "line_too_long");
        }
        let Ok(line) = std::str::from_utf8(line) else { return self.broken(number, "bad_json") };
        match serde_json::from_str(line) {
            Ok(Value::Object(_)) => {}
            Ok(_) => return self.broken(number, "not_an_object"),
            Err(_) => return self.broken(number, "bad_json"),
        }
        self.change(number).broken_lines = 0;
        self.change(number).greeted = true;
        let fields = lines::split(line);
        let Some(message) = self.read(number, line, fields)? else { return Ok(()) };
        self.judge(message)
    }

    /// The message of a line; where it is at fault its sender is told.
    fn read(&mut self, number: u64, line: &str, fields: Vec<(String, String)>) -> Checked<Option<Rc<Msg>>> {
        let Some(conn) = self.conn(number) else { return Ok(None) };
        const ENVELOPE: [&str; 10] = [
            "message_id",
            "message_type",
            "from",
            "to",
            "topic",
            "body",
            "timeout_ms",
            "key",
            "sender",
            "spool_id",
        ];
        let raw = |name: &str| lines::field(&fields, name);
        let message_type = raw("message_type").and_then(|raw| serde_json::from_str::<String>(raw).ok());
        let message_type = message_type.filter(|text| {
            (1..=255).contains(&text.len()) || (text.ends_with("_reply") && text.len() <= 261)
        });
        let id = raw("message_id").map(lines::id);
        let is_request = message_type
            .as_deref()
            .is_some_and(|text| text != "signal" && text != "error" && !text.ends_with("_reply"));

        for name in ENVELOPE {
            if fields.iter().filter(|(key, _)| key == name).count() > 1 {
                let expect = Expect::Error { codes: vec!["duplicate_field"], about: About::Any, count: None };
                self.push(number, Class::Answer, expect)?;
                return Ok(None);
            }
        }
        if is_request
            && let Some(Some(id)) = &id
            && self
                .m
                .requests
                .iter()
                .any(|request| request.asker == number && self.m.id_of(&request.message).as_ref() == Some(id))
        {
            let about = match lines::text(&fields, "from") {
                // This is looked at before whose the address is.
                Some(from) => About::Claim(Some(id.clone()), from),
                None => About::Id(id.clone()),
            };
            self.push(
                number,
                Class::Answer,
                Expect::Error { codes: vec!["duplicate_id"], about, count: None },
            )?;
            return Ok(None);
        }

        let mut codes: Vec<&'static str> = Vec::new();
        match (&message_type, raw("message_type")) {
            (None, None) => codes.push("missing_field"),
            (None, Some(_)) => codes.push("bad_field"),
            (Some(_), _) => {}
        }
        if id == Some(None) {
            codes.push("bad_field");
        }
        if raw("sender").is_some() || raw("spool_id").is_some() || message_type.as_deref() == Some("error") {
            codes.push("not_yours");
        }
        let text_of = |name: &str, max: usize| -> Result<Option<String>, ()> {
            match raw(name) {
                None => Ok(None),
                Some(raw) => match serde_json::from_str::<String>(raw) {
                    Ok(text) if (1..=max).contains(&text.len()) => Ok(Some(text)),
                    _ => Err(()),
                },
            }
        };
        let nullable = |name: &str| if raw(name) == Some("null") { Ok(None) } else { text_of(name, 511) };
        let to = nullable("to").unwrap_or_else(|()| {
            codes.push("bad_field");
            None
        });
        let topic = text_of("topic", 255).unwrap_or_else(|()| {
            codes.push("bad_field");
            None
        });
        if let Some(topic) = &topic
            && (to.is_some()
                || topic.split('.').any(|token| token.is_empty() || token == "*" || token == ">"))
        {
            codes.push("bad_field");
        }
        let key = text_of("key", 255).unwrap_or_else(|()| {
            codes.push("bad_field");
            None
        });
        let timeout = match raw("timeout_ms").map(|raw| raw.parse::<u64>()) {
            None => None,
            Some(Ok(ms)) if (1..=3_600_000).contains(&ms) => Some(Duration::from_millis(ms)),
            Some(_) => {
                codes.push("bad_field");
                None
            }
        };
        let kind = match message_type.as_deref() {
            Some("signal") => Kind::Signal,
            Some(text) if text.ends_with("_reply") => Kind::Reply,
            _ => Kind::Request,
        };
        let mut in_reply_to = None;
        if kind == Kind::Reply {
            let body = match raw("body") {
                Some(body) if body.starts_with('{') => lines::split(body),
                _ => Vec::new(),
            };
            match lines::field(&body, "in_reply_to").map(lines::id) {
                None => codes.push("missing_field"),
                Some(None) => codes.push("bad_field"),
                Some(id) => in_reply_to = id,
            }
        }
        let from = nullable("from").unwrap_or_else(|()| {
            codes.push("bad_field");
            None
        });
        let registers = to.is_none()
            && topic.is_none()
            && message_type.as_deref() == Some("register")
            && kind == Kind::Request;
        if let Some(from) = &from
            && !conn.owns(from)
            && !registers
        {
            codes.push("not_yours");
        }
        let target = match (to, topic) {
            (_, Some(topic)) => Target::Topic(topic),
            (Some(to), None) => Target::Address(to),
            (None, None) => Target::Daemon,
        };
        let from = from.unwrap_or_else(|| conn.address());
        if !codes.is_empty() {
            let about = match id {
                None => About::Any,
                Some(None) => About::Null,
                Some(Some(id)) => About::Id(id),
            };
            let expect = match (is_request, message_type) {
                (true, Some(of)) => Expect::Refusal { of, codes, about },
                _ => Expect::Error { codes, about, count: None },
            };
            self.push(number, Class::Answer, expect)?;
            return Ok(None);
        }
        self.m.serials += 1;
        Ok(Some(Rc::new(Msg {
            serial: self.m.serials,
            sender: number,
            raw: line.to_owned(),
            kind,
            message_type: message_type.unwrap_or_default(),
            id: id.flatten(),
            from,
            target,
            key,
            timeout,
            in_reply_to,
            fields,
        })))
    }

    /// The gate: each message once, before it goes anywhere.
    fn judge(&mut self, message: Rc<Msg>) -> Checked {
        let body = lines::field(&message.fields, "body").unwrap_or_default().to_owned();
        let due = Judgement { number: message.sender, message_type: message.message_type.clone(), body };
        match self.seen.judged.get(self.judged) {
            Some(judgement) if *judgement == due => self.judged += 1,
            other => return Err(format!("the gate was asked {other:?} and not {due:?}")),
        }
        let mut verdict = verdict(&due.body);
        if let Judged::Redirect(target) = verdict {
            verdict = Judged::Pass;
            if message.kind != Kind::Reply && message.target != Target::Daemon {
                let new = Rc::new(redirected(&message, target));
                if new.raw.len() > self.m.limits.max_line_bytes {
                    self.tap(&message)?;
                    return self.refuse(&message, &["internal"]);
                }
                self.tap(&new)?;
                return self.route(new, None);
            }
        }
        self.tap(&message)?;
        match verdict {
            Judged::Pass | Judged::Redirect(_) => self.route(message, None),
            Judged::Reject => self.refuse(&message, &["denied"]),
            Judged::Drop if message.kind != Kind::Request => Ok(()),
            Judged::Drop if message.target == Target::Daemon => self.refuse(&message, &["denied"]),
            // While memory is short it is not kept open for nothing.
            Judged::Drop if self.m.tight && self.is_refused_next(&message, "overloaded") => {
                self.refuse(&message, &["overloaded"])
            }
            Judged::Drop if self.m.asked_by(message.sender) >= self.m.limits.max_requests => {
                self.refuse(&message, &["too_many_requests"])
            }
            Judged::Drop => self.open_request(&message, Vec::new(), self.deadline(&message)),
        }
    }

    pub(crate) fn deadline(&self, message: &Msg) -> Duration {
        self.m.now + message.timeout.unwrap_or(self.m.limits.request_timeout)
    }

    /// Tells a sender that its message goes nowhere: a request by its error reply, anything else by
    /// an `error` line.
    pub(crate) fn refuse(&mut self, message: &Rc<Msg>, codes: &[&'static str]) -> Checked {
        self.tell(message, codes).map(|_| ())
    }

    /// The same of a message that had been let in, and waited: where nobody is left to be told that
    /// is counted.
    pub(crate) fn refuse_held(&mut self, message: &Rc<Msg>, code: &'static str) -> Checked {
        if !self.tell(message, &[code])? {
            self.m.untold += 1;
        }
        Ok(())
    }

    fn tell(&mut self, message: &Rc<Msg>, codes: &[&'static str]) -> Checked<bool> {
        let (about, codes) = (About::Message(message.clone()), codes.to_vec());
        let expect = match message.kind {
            Kind::Request => Expect::Refusal { of: message.message_type.clone(), codes, about },
            _ => Expect::Error { codes, about, count: None },
        };
        self.push(message.sender, Class::Answer, expect)
    }

    /// Copies for those who tap.
    fn tap(&mut self, message: &Rc<Msg>) -> Checked {
        let value = |name: &str| match name {
            "from" => Some(message.from.clone()),
            "to" => match &message.target {
                Target::Address(to) => Some(to.clone()),
                _ => None,
            },
            "topic" => match &message.target {
                Target::Topic(topic) => Some(topic.clone()),
                _ => None,
            },
            _ => Some(message.message_type.clone()),
        };
        let tapping: Vec<u64> = self
            .m
            .conns
            .values()
            .filter(|conn| conn.number != message.sender && !conn.leaving)
            .filter(|conn| {
                conn.taps.iter().any(|tap| {
                    // A field that is not there is as good as an empty one.
                    tap.iter().all(|(name, pattern)| matches(pattern, &value(name).unwrap_or_default()))
                })
            })
            .map(|conn| conn.number)
            .collect();
        for number in tapping {
            let expect = Expect::Tapped(message.clone());
            self.push_topic(number, expect)?;
        }
        Ok(())
    }
}

fn refused_half(code: &'static str) -> Expect {
    Expect::Error { codes: vec![code], about: About::Null, count: None }
}

/// `*` matches any run of characters.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => text.strip_prefix(head).is_some_and(|text| {
            (0..=text.len()).filter(|&at| text.is_char_boundary(at)).any(|at| matches(rest, &text[at..]))
        }),
    }
}
