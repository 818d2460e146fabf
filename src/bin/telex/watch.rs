//! Knows how a daemon is looked at again and again, on a thread of its own.
//! Never: how it is shown.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use telex::address::Address;
use telex::client::Client;

use crate::answer::{ask, ask_pages};
use crate::exit::{Exit, Failure};
use crate::process::Process;

/// How long a connection is waited for before it is tried anew.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// So many topics are looked at.
const TOPICS_MAX: u32 = 1000;

/// What a daemon has told of itself.
pub(crate) struct Snapshot {
    pub(crate) at: Instant,
    pub(crate) stats: Value,
    /// As `list` tells them, with details.
    pub(crate) nodes: Vec<Value>,
    /// As `connections` tells them, with `process` and `user` in addition.
    pub(crate) connections: Vec<Value>,
    /// As `topics` tells them; or why it does not.
    pub(crate) topics: Result<Value, String>,
}

/// Looks at the daemon as often as this, and makes the connection again when it is lost. An error is why there is no news.
pub(crate) fn watch(client: Client, address: Address, every: Duration) -> Receiver<Result<Snapshot, String>> {
    let (tell, told) = channel();
    thread::spawn(move || {
        let (mut client, mut processes) = (Some(client), Processes::default());
        loop {
            let news = match client.as_mut() {
                Some(client) => look(client, &mut processes).map_err(|failure| failure.words),
                None => match Client::connect_within(&address, CONNECT_TIMEOUT) {
                    Ok(again) => {
                        client = Some(again);
                        continue;
                    }
                    Err(error) => Err(error.to_string()),
                },
            };
            if news.is_err() {
                client = None;
            }
            if tell.send(news).is_err() {
                return;
            }
            thread::sleep(every);
        }
    });
    told
}

/// The processes of connections, each looked up once.
type Processes = HashMap<String, (String, String)>;

fn look(client: &mut Client, processes: &mut Processes) -> Result<Snapshot, Failure> {
    let stats = ask(client, "stats", &json!({}))?.body_value();
    let (mut nodes, mut connections) = (Vec::new(), Vec::new());
    ask_pages(client, "list", json!({"details": true}), ("nodes", "node_id"), |_, node| {
        nodes.push(node.clone());
        Ok(())
    })?;
    let mut known = Processes::new();
    ask_pages(client, "connections", json!({}), ("connections", "unique_id"), |_, connection| {
        let mut connection = connection.clone();
        let id = connection["unique_id"].as_str().unwrap_or_default().to_owned();
        let (process, user) = processes.remove(&id).unwrap_or_else(|| {
            let Process { name, user, .. } = Process::of(&connection);
            (name, user)
        });
        (connection["process"], connection["user"]) = (json!(process), json!(user));
        known.insert(id, (process, user));
        connections.push(connection);
        Ok(())
    })?;
    *processes = known;
    let topics = match ask(client, "topics", &json!({"limit": TOPICS_MAX})) {
        Ok(reply) => Ok(reply.body_value()),
        Err(failure) if failure.exit == Exit::Denied => Err(failure.words),
        Err(failure) => return Err(failure),
    };
    // What else comes is said to all, and does not matter here.
    while let Some(_said) = client.next(Some(Duration::ZERO)).map_err(Failure::from)? {}
    Ok(Snapshot { at: Instant::now(), stats, nodes, connections, topics })
}
