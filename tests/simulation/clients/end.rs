//! Knows how a run comes to rest, and what has to be the same on both sides then.
//! Never: how it came about.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use telex::client::Whoami;

use crate::clients::World;
use crate::clients::client::{Client, poll};
use crate::model::Checked;

/// Longer than anything waits.
const SECONDS: u32 = 45;

impl World {
    /// All connect, everything is read, and all that waits for time to pass comes to its end.
    pub(crate) fn come_to_rest(&mut self) -> Checked {
        self.note("to rest".to_owned());
        for _ in 0..SECONDS {
            self.carry_all()?;
            self.pass_time(Duration::from_secs(1))?;
        }
        self.carry_all()?;
        for client in &self.clients {
            let (number, calls, asks) = (client.number, client.calls.len(), client.asks.len());
            if !client.driven.is_up() {
                return Err(format!("c{number} is not up at the end"));
            }
            if calls + asks + client.gatherings.len() > 0 {
                return Err(format!("c{number} waits for {calls} calls and {asks} requests to the daemon"));
            }
        }
        self.ledger.look_for_lost(&self.clients)?;
        self.look_at_names()?;
        self.look_at_monitors()?;
        self.look_at_holdings()
    }

    fn carry_all(&mut self) -> Checked {
        for _ in 0..40 {
            let numbers: Vec<u64> = self.daemon.links.keys().copied().collect();
            for number in numbers {
                self.read(number, usize::MAX);
                let is_seen = self.clients.iter().all(|client| client.link != Some(number));
                if is_seen && self.daemon.links[&number].is_done() {
                    self.daemon.links.remove(&number);
                }
            }
            for at in 0..self.clients.len() {
                self.connect(at);
                self.carry(at, usize::MAX)?;
            }
            self.look()?;
        }
        Ok(())
    }

    /// What each client is told it is.
    fn whoamis(&mut self) -> Result<Vec<Whoami>, String> {
        let mut asked: Vec<_> = self.clients.iter().map(|client| client.driven.handle().whoami()).collect();
        self.carry_all()?;
        let told = asked.iter_mut().enumerate().map(|(number, answer)| match poll(answer) {
            Some(Ok(whoami)) => Ok(whoami),
            other => Err(format!("c{number} is not told what it is: {other:?}")),
        });
        told.collect()
    }

    /// Each client holds the names that it was told it does.
    fn look_at_names(&mut self) -> Checked {
        let whoamis = self.whoamis()?;
        for (whoami, client) in whoamis.iter().zip(&self.clients) {
            let is_known = |name: &&String| !client.vague.contains(*name);
            let held: BTreeSet<&String> = whoami.node_ids.iter().filter(is_known).collect();
            let told: BTreeSet<&String> =
                client.names.difference(&client.lost_names).filter(is_known).collect();
            if held != told {
                return Err(format!("c{} holds {held:?}, and was told {told:?}", client.number));
            }
        }
        Ok(())
    }

    fn look_at_monitors(&mut self) -> Checked {
        let nodes = self.ask("list", "")["nodes"].as_array().cloned().unwrap_or_default();
        let mut all = Vec::new();
        for node in &nodes {
            let name = node["node_id"].as_str().unwrap_or_default();
            let instances = node["instances"].as_array().into_iter().flatten().filter_map(Value::as_str);
            all.extend(instances.map(|unique_id| (name.to_owned(), unique_id.to_owned())));
        }
        for client in &self.clients {
            for one in &client.monitors {
                let is_watched = |(name, _): &&(String, String)| telex::name::matches(&one.pattern, name);
                let right: BTreeSet<_> = all.iter().filter(is_watched).cloned().collect();
                if one.up != right {
                    return Err(format!(
                        "the monitor {} of c{} knows {:?}, and there is {right:?}",
                        one.pattern, client.number, one.up
                    ));
                }
            }
        }
        Ok(())
    }

    /// The daemon keeps for the clients what they hold, and nothing else.
    fn look_at_holdings(&mut self) -> Checked {
        if self.clients.iter().any(|client| client.is_vague) {
            return Ok(());
        }
        let whoamis = self.whoamis()?;
        let connections = self.connections();
        for (client, unique_id) in self.clients.iter().zip(whoamis.iter().map(|whoami| &whoami.unique_id)) {
            let kept = connections.iter().find(|one| one["unique_id"] == **unique_id);
            let kept = kept.map_or(&Value::Null, |one| &one["subscriptions"]);
            let right = holdings(client) + monitors(client);
            if *kept != right {
                let number = client.number;
                return Err(format!("the daemon keeps {kept} things for c{number}, which holds {right}"));
            }
        }
        let right: usize = self.clients.iter().map(holdings).sum();
        let stats = self.ask("stats", "");
        if stats["subscriptions"] != right {
            return Err(format!(
                "the daemon keeps {} subscriptions, and clients hold {right}",
                stats["subscriptions"]
            ));
        }
        Ok(())
    }

    /// All connections, as the daemon tells them.
    fn connections(&mut self) -> Vec<Value> {
        let mut connections: Vec<Value> = Vec::new();
        loop {
            let last =
                connections.last().map(|last| format!(",\"body\":{{\"after\":{}}}", last["unique_id"]));
            let page = self.ask("connections", &last.unwrap_or_default());
            connections.extend(page["connections"].as_array().into_iter().flatten().cloned());
            if page["more"] != true {
                return connections;
            }
        }
    }

    /// The body of the answer to a request with these fields.
    fn ask(&mut self, what: &str, fields: &str) -> Value {
        let line = format!("{{\"message_type\":\"{what}\"{fields}}}");
        let answer = self.daemon.ask(&line, &mut self.random);
        let answer: Value =
            answer.lines().find_map(|line| serde_json::from_str(line).ok()).unwrap_or_default();
        answer["body"].clone()
    }
}

/// How many subscriptions a client holds, the same ones once.
fn holdings(client: &Client) -> usize {
    let held = client.subscriptions.iter().map(|one| (one.pattern.clone(), one.group));
    held.collect::<BTreeSet<_>>().len()
}

/// How many monitors it holds, likewise.
fn monitors(client: &Client) -> usize {
    client.monitors.iter().map(|one| &one.pattern).collect::<BTreeSet<_>>().len()
}
