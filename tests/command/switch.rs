//! Knows as much of a daemon as the command needs to be tested: it routes, answers and tells errors.
//! Never: limits, filters, slow readers.
//!
//! With `TELEX_TEST_DAEMON` naming a `telexd`, that one is started in its place.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A running daemon.
pub(crate) struct Switch {
    pub(crate) address: String,
    process: Option<Child>,
    _dir: tempfile::TempDir,
}

impl Switch {
    pub(crate) fn start() -> Switch {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("telex.sock");
        let address = format!("unix:{}", path.display());
        let process = std::env::var_os("TELEX_TEST_DAEMON").map(|daemon| {
            let mut command = Command::new(daemon);
            command.args(["--listen", &address, "--state-dir"]).arg(dir.path().join("state"));
            command.current_dir(&dir).stdout(Stdio::null());
            let child = command.spawn().expect("telexd");
            let deadline = Instant::now() + Duration::from_secs(10);
            while UnixStream::connect(&path).is_err() {
                assert!(Instant::now() < deadline, "telexd does not listen");
                sleep(Duration::from_millis(5));
            }
            child
        });
        if process.is_none() {
            let listener = UnixListener::bind(&path).expect("a listener");
            spawn(move || accept(&listener));
        }
        Switch { address, process, _dir: dir }
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill().and_then(|()| process.wait()).expect("the end of telexd");
        }
    }
}

fn accept(listener: &UnixListener) {
    let state = Arc::new(Mutex::new(State::default()));
    for (number, stream) in (1..).zip(listener.incoming()) {
        let stream = stream.expect("a connection");
        let reader = BufReader::new(stream.try_clone().expect("a descriptor"));
        let state = Arc::clone(&state);
        lock(&state).peers.insert(number, Peer { stream, names: Vec::new(), patterns: Vec::new() });
        spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                let message = serde_json::from_str(&line).expect(&line);
                lock(&state).handle(number, message, &state);
            }
            lock(&state).leave(number);
        });
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("the state")
}

#[derive(Default)]
struct State {
    peers: BTreeMap<u64, Peer>,
    open: Vec<Open>,
}

struct Peer {
    stream: UnixStream,
    names: Vec<String>,
    patterns: Vec<String>,
}

/// An open request: who asked, its id, its type, and who may answer.
#[derive(Clone, PartialEq)]
struct Open {
    asker: u64,
    id: Value,
    message_type: String,
    answerers: Vec<u64>,
}

impl State {
    fn handle(&mut self, from: u64, mut message: Value, state: &Arc<Mutex<State>>) {
        let message_type = message["message_type"].as_str().expect("a type").to_owned();
        let is_reply = message_type.ends_with("_reply");
        let is_request = !is_reply && message_type != "signal";
        if message["to"].is_null() && message["topic"].is_null() {
            if is_request {
                let open =
                    Open { asker: from, id: message["message_id"].clone(), message_type, answerers: vec![] };
                let answer = self.answer(from, &open.message_type, &message["body"]);
                self.reply(&open, answer);
            }
            return;
        }
        let name = self.peers[&from].names.first().cloned().unwrap_or(format!(":{from}"));
        message["from"] = json!(name);
        if is_reply {
            let id = &message["body"]["in_reply_to"];
            let found = self.open.iter().position(|open| open.id == *id && open.answerers.contains(&from));
            match found {
                Some(at) => {
                    let asker = self.open.remove(at).asker;
                    self.say(asker, &message);
                }
                None => self.error(from, "no_such_request", &message["message_id"]),
            }
            return;
        }
        let to = self.receivers(&message);
        if is_request {
            let id = message["message_id"].clone();
            let open = Open { asker: from, id, message_type, answerers: to.clone() };
            if to.is_empty() {
                let code = if message["topic"].is_null() { "no_such_node" } else { "no_subscribers" };
                return self.reply(&open, Err(code));
            }
            self.open.push(open.clone());
            if let Some(ms) = message["timeout_ms"].as_u64() {
                let state = Arc::clone(state);
                spawn(move || {
                    sleep(Duration::from_millis(ms));
                    lock(&state).close(&open, "timeout");
                });
            }
        } else if to.is_empty() && message["topic"].is_null() {
            self.error(from, "no_such_node", &message["message_id"]);
        }
        for receiver in to {
            self.say(receiver, &message);
        }
    }

    fn receivers(&self, message: &Value) -> Vec<u64> {
        let has = |number: u64, peer: &Peer| match (message["to"].as_str(), message["topic"].as_str()) {
            (Some(to), _) => {
                to == format!(":{number}")
                    || peer.names.iter().any(|name| Some(&**name) == to.split('#').next())
            }
            (_, Some(topic)) => peer.patterns.iter().any(|pattern| matches(pattern, topic)),
            _ => false,
        };
        self.peers.iter().filter(|(number, peer)| has(**number, peer)).map(|(number, _)| *number).collect()
    }

    fn answer(&mut self, from: u64, message_type: &str, body: &Value) -> Result<Value, &'static str> {
        let peer = self.peers.get_mut(&from).expect("a peer");
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        Ok(match message_type {
            "register" if text("node_id").starts_with("telex.") => return Err("denied"),
            "register" => {
                peer.names.push(text("node_id"));
                json!({"node_id": text("node_id"), "unique_id": format!(":{from}")})
            }
            "subscribe" => {
                peer.patterns.push(text("topic"));
                json!({})
            }
            "whoami" => json!({"unique_id": format!(":{from}"), "node_ids": peer.names}),
            "ping" => json!({"body": body}),
            "list" => {
                let mut nodes: BTreeMap<&str, Vec<String>> = BTreeMap::new();
                for (number, peer) in &self.peers {
                    for name in &peer.names {
                        nodes.entry(name).or_default().push(format!(":{number}"));
                    }
                }
                let pattern = body["match"].as_str().unwrap_or("*");
                nodes.retain(|name, _| telex::name::matches(pattern, name));
                let node = |(name, instances)| json!({"node_id": name, "status": "up", "delivery": "all", "instances": instances});
                json!({"nodes": nodes.into_iter().map(node).collect::<Vec<_>>(), "more": false})
            }
            _ => return Err("unknown_type"),
        })
    }

    fn reply(&mut self, open: &Open, answer: Result<Value, &'static str>) {
        let mut body = answer.unwrap_or_else(|code| json!({"error": format!("it is {code}"), "code": code}));
        body["in_reply_to"] = open.id.clone();
        if body["error"].is_null() {
            body["error"] = Value::Null;
        }
        let message_type = format!("{}_reply", open.message_type);
        self.say(open.asker, &json!({"message_type": message_type, "from": null, "body": body}));
    }

    fn error(&mut self, to: u64, code: &str, id: &Value) {
        let body = json!({"error": format!("it is {code}"), "code": code, "in_reply_to": id});
        self.say(to, &json!({"message_type": "error", "from": null, "body": body}));
    }

    fn close(&mut self, open: &Open, code: &'static str) {
        if let Some(at) = self.open.iter().position(|other| other.id == open.id && other.asker == open.asker)
        {
            let open = self.open.remove(at);
            self.reply(&open, Err(code));
        }
    }

    fn leave(&mut self, number: u64) {
        self.peers.remove(&number);
        self.open.retain(|open| open.asker != number);
        for open in &mut self.open {
            open.answerers.retain(|answerer| *answerer != number);
        }
        for open in self.open.clone() {
            if open.answerers.is_empty() {
                self.close(&open, "node_gone");
            }
        }
    }

    fn say(&mut self, to: u64, message: &Value) {
        if let Some(peer) = self.peers.get_mut(&to) {
            // One who has gone is noticed by his own thread.
            let _ = peer.stream.write_all(format!("{message}\n").as_bytes());
        }
    }
}

fn matches(pattern: &str, topic: &str) -> bool {
    let mut tokens = topic.split('.');
    for wanted in pattern.split('.') {
        match (wanted, tokens.next()) {
            (">", Some(_)) => return true,
            (_, None) => return false,
            (wanted, Some(token)) if wanted != "*" && wanted != token => return false,
            _ => {}
        }
    }
    tokens.next().is_none()
}
