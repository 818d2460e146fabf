use std::sync::mpsc::channel;

use telex::address::Address;
use telex::client::Error;
use telex::node::{Node, json};

/// The node that offers a player.
pub fn table(address: &Address) -> Result<Node, Error> {
    let table = Node::connect(address, "table")?;
    table.offer("player", |port, _| {
        port.rcv("ping", |port, message| {
            if let [ball, opponent] = message {
                port.node().snd(opponent.as_str().unwrap_or_default(), json!(["pong", ball]));
            }
        });
        Ok::<_, String>(())
    });
    Ok(table)
}

/// Plays `rounds` rounds against a player at the table, and gives the balls that came back.
pub fn guest(address: &Address, rounds: u64) -> Result<Vec<u64>, Error> {
    let guest = Node::connect(address, "guest")?;
    let opponent = guest.spawn("table", "player", json!([]));
    let (sender, balls) = channel();
    let (port, to) = (guest.port(), opponent.clone());
    port.rcv("pong", move |port, message| {
        let ball = message[0].as_u64().unwrap_or_default();
        // The receiver is gone if nothing waits any more.
        let _ = sender.send(ball);
        if ball < rounds {
            port.node().snd(&to, json!(["ping", ball + 1, port.id()]));
        } else {
            port.node().kil(port);
        }
    });
    // If the player dies, or its node is lost, the port dies of it.
    port.link(&opponent);
    guest.snd(&opponent, json!(["ping", 1, port.id()]));
    // It ends with the port, whose handler holds the sender.
    Ok(balls.iter().collect())
}

/// Plays between two nodes. Each has a thread of its own; they might be in two processes as well.
pub fn ping_pong(address: &Address, rounds: u64) -> Result<Vec<u64>, Error> {
    let _table = table(address)?;
    guest(address, rounds)
}
