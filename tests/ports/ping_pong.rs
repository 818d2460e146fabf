use std::sync::mpsc::channel;

use telex::address::Address;
use telex::client::Error;
use telex::node::{Node, json};

/// Plays `rounds` rounds between two nodes, and gives the balls that came back.
pub fn ping_pong(address: &Address, rounds: u64) -> Result<Vec<u64>, Error> {
    // Each node has a thread of its own; it might be in another process as well.
    let table = Node::connect(address, "table")?;
    table.offer("player", |port, _| {
        port.rcv("ping", |port, message| {
            if let [ball, opponent] = message {
                port.node().snd(opponent.as_str().unwrap_or_default(), json!(["pong", ball]));
            }
        });
        Ok::<_, String>(())
    });

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
    guest.snd(&opponent, json!(["ping", 1, port.id()]));
    // It ends with the port, whose handler holds the sender.
    Ok(balls.iter().collect())
}
