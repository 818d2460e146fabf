//! Knows how messages that come are shown, and when it is enough.
//! Never: answers them.

use std::time::Instant;

use telex::client::Client;

use crate::args::ListenArgs;
use crate::exit::{Exit, Failure};
use crate::notice::notice;
use crate::output::{Results, Words};

pub(crate) fn run(
    listen: &ListenArgs,
    connect: impl FnOnce() -> Result<Client, Failure>,
    words: Words,
) -> Result<(), Failure> {
    let deadline = listen.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut client = connect()?;
    // Subscribed first: whoever sees the node come up may publish to it at once.
    for topic in &listen.topics {
        client.subscribe(topic, listen.group.as_deref())?;
    }
    match &listen.name {
        Some(name) => words.say(&format!("listening as {}", client.register(name)?)),
        None => words.say(&format!("listening to {}", listen.topics.join(", "))),
    }
    let mut results = Results::new();
    let mut count = 0;
    while listen.count.is_none_or(|most| count < most) {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let Some(message) = client.next(left)? else {
            let words = format!("{count} messages came in time");
            return Err(Failure::new(Exit::Timeout, words));
        };
        if let Some(notice) = notice(&message) {
            words.say(&notice);
            continue;
        }
        let line = if listen.body { message.body().unwrap_or("null") } else { message.line() };
        results.line(line)?;
        results.flush()?;
        count += 1;
    }
    Ok(())
}
