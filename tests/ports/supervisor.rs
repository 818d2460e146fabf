use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use telex::address::Address;
use telex::client::Error;
use telex::node::{Down, Node, json};

/// What the supervisor tells.
#[derive(Debug)]
pub enum News {
    Started(String),
    Died(Down),
}

/// The node that offers workers.
pub fn factory(address: &Address) -> Result<Node, Error> {
    let factory = Node::connect(address, "factory")?;
    factory.offer("worker", |port, _| {
        port.rcv("divide", |port, message| {
            let (dividend, divisor) = (message[0].as_i64(), message[1].as_i64());
            // By zero it panics, which kills the port, and not the node.
            let quotient = dividend.zip(divisor).map(|(dividend, divisor)| dividend / divisor);
            port.node().snd(message[2].as_str().unwrap_or_default(), json!(["quotient", quotient]));
        });
        port.rcv("enough", |port, _| port.node().kil(port));
        Ok::<_, String>(())
    });
    Ok(factory)
}

/// Starts a worker at the factory, and another one whenever it dies.
pub fn supervise(node: &Node, news: Sender<News>) {
    let worker = node.spawn("factory", "worker", json!([]));
    node.mon(&worker).call({
        let news = news.clone();
        move |node, down| {
            let _ = news.send(News::Died(down.clone()));
            match down {
                // One that ends normally has done its work.
                Down::Killed(reason) if reason.is_empty() => {}
                // Its node may come back.
                Down::NodeLost { .. } => {
                    node.after(Duration::from_millis(100), |node| supervise(node, news));
                }
                _ => supervise(node, news),
            }
        }
    });
    let _ = news.send(News::Started(worker));
}

/// Has a supervised worker fail at a job, and the next one end well.
pub fn office(address: &Address) -> Result<Vec<News>, Error> {
    let office = Node::connect(address, "office")?;
    let (sender, receiver) = channel();
    supervise(&office, sender);
    let mut story = Vec::new();
    for news in receiver {
        if let News::Started(worker) = &news {
            let is_first = story.is_empty();
            let job = if is_first { json!(["divide", 1, 0, "office#none"]) } else { json!("enough") };
            office.snd(worker, job);
        }
        story.push(news);
    }
    Ok(story)
}

/// Plays that between two nodes.
pub fn supervised(address: &Address) -> Result<Vec<News>, Error> {
    let _factory = factory(address)?;
    office(address)
}
