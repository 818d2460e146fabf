use std::sync::mpsc::{Receiver, Sender, channel};

use telex::address::Address;
use telex::client::Error;
use telex::node::{Node, Port, json};

/// A participant of the chat.
pub struct Guest {
    node: Node,
    port: Port,
    /// How many participants there are, told at every change.
    counts: Receiver<usize>,
}

impl Guest {
    /// Enters the room; what is said there goes to `heard`, with the name of the guest that hears it.
    pub fn enter(address: &Address, name: &str, heard: Sender<String>) -> Result<Guest, Error> {
        let node = Node::connect(address, name)?;
        let port = node.port();
        port.rcv("say", move |port, words| {
            if let [speaker, text] = words {
                let (speaker, text) = (speaker.as_str().unwrap_or("?"), text.as_str().unwrap_or("?"));
                let _ = heard.send(format!("{}: <{speaker}> {text}", port.node().id()));
            }
        });
        let (sender, counts) = channel();
        node.grp_mon("chat.lobby", move |_, group| {
            let _ = sender.send(group.members.len());
        });
        node.grp_reg("chat.lobby", &port);
        Ok(Guest { node, port, counts })
    }

    /// Waits until there are so many in the room.
    pub fn wait_for_guests(&self, wanted: usize) {
        self.counts.iter().find(|count| *count == wanted);
    }

    /// Says something to all in the room, itself among them.
    pub fn say(&self, text: &str) {
        for member in self.node.grp_get("chat.lobby") {
            self.node.snd(member, json!(["say", self.node.id(), text]));
        }
    }

    pub fn leave(&self) {
        self.node.kil(&self.port);
    }
}

/// Lets two nodes talk, and gives what both have heard.
pub fn chat(address: &Address) -> Result<Vec<String>, Error> {
    let (heard, log) = channel();
    let alice = Guest::enter(address, "alice", heard.clone())?;
    let bob = Guest::enter(address, "bob", heard)?;
    alice.wait_for_guests(2);
    bob.wait_for_guests(2);
    alice.say("hello");
    let mut lines: Vec<String> = log.iter().take(2).collect();
    alice.leave();
    bob.wait_for_guests(1);
    bob.say("anybody?");
    lines.extend(log.iter().take(1));
    Ok(lines)
}
