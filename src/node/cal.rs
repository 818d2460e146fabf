//! Knows how a port is asked something that it answers.
//! Never: what.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::node::base::{Node, Port};
use crate::node::down::CalError;
use crate::node::monitor::Monitor;
use crate::node::said::elements;

type OnAnswer = Box<dyn FnOnce(&Node, Result<&[Value], CalError>) + Send>;

/// A `cal` that is under way.
struct Cal {
    callback: Option<OnAnswer>,
    monitor: Option<Monitor>,
}

impl Node {
    /// Sends `message` to a port with the ID of a new port appended, and hands `callback` the first message
    /// that comes there, or what went wrong; once. The new port is dead by then: later answers are dropped.
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// use std::time::Duration;
    /// use telex::client::default_address;
    /// use telex::node::{Node, json};
    ///
    /// let node = Node::connect(&default_address()?, "asker/%u")?;
    /// node.offer("adder", |port, _| {
    ///     port.rcv("add", |port, message| {
    ///         let [a, b] = [0, 1].map(|at| message[at].as_i64().unwrap_or_default());
    ///         port.node().snd(message[2].as_str().unwrap_or_default(), a + b);
    ///     });
    ///     Ok::<_, String>(())
    /// });
    /// let adder = node.spawn(node.id(), "adder", json!([]));
    /// let (told, sums) = std::sync::mpsc::channel();
    /// node.cal(&adder, json!(["add", 1, 2]), Duration::from_secs(5), move |_, answer| match answer {
    ///     Ok(sum) => told.send(sum[0].clone()).unwrap_or_default(),
    ///     Err(error) => eprintln!("{error}"),
    /// });
    /// assert_eq!(sums.recv().unwrap(), 3);
    /// # Ok::<(), telex::client::Error>(())
    /// ```
    pub fn cal(
        &self,
        port: impl AsRef<str>,
        message: impl Into<Value>,
        timeout: Duration,
        callback: impl FnOnce(&Node, Result<&[Value], CalError>) + Send + 'static,
    ) {
        let cal = Arc::new(Mutex::new(Cal { callback: Some(Box::new(callback)), monitor: None }));
        let answers = self.port();
        let ours = Arc::clone(&cal);
        answers.rcv_default(move |port, answer| finish(&ours, port, Ok(answer)));
        let (ours, id) = (Arc::clone(&cal), answers.id().to_owned());
        let monitor = self.mon(&port).call(move |node, down| {
            finish(&ours, &of(node, &id), Err(down.clone().into()));
        });
        // It may be over already.
        let mut state = cal.lock().unwrap_or_else(PoisonError::into_inner);
        match state.callback {
            Some(_) => state.monitor = Some(monitor),
            None => monitor.end(),
        }
        drop(state);
        let mut message = elements(message.into());
        message.push(answers.id().into());
        self.snd(port, message);
        answers.after(timeout, move |port| finish(&cal, port, Err(CalError::TimedOut { after: timeout })));
    }
}

fn of(node: &Node, id: &str) -> Port {
    Port { node: node.clone(), id: id.into() }
}

fn finish(cal: &Mutex<Cal>, port: &Port, answer: Result<&[Value], CalError>) {
    let (callback, monitor) = {
        let mut state = cal.lock().unwrap_or_else(PoisonError::into_inner);
        (state.callback.take(), state.monitor.take())
    };
    let Some(callback) = callback else { return };
    if let Some(monitor) = monitor {
        monitor.end();
    }
    port.node.kil(port);
    callback(&port.node, answer);
}
