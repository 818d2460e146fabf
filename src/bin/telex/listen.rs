//! Knows how messages that come are shown, and when it is enough.
//! Never: answers them.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::PollFlags;
use telex::client::{Client, Message};

use crate::args::ListenArgs;
use crate::exit::{Exit, Failure};
use crate::notice::notice;
use crate::output::{Results, Words};
use crate::wait::{Ready, wait};

pub(crate) fn run(listen: &ListenArgs, client: &mut Client, words: Words) -> Result<(), Failure> {
    let deadline = listen.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    // Subscribed first: what sees the node come up may publish to it at once.
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
        let Some(message) = next(client, deadline)? else {
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

/// The next message; `None` at the deadline. The end if nothing reads stdout any more, also while nothing
/// comes.
fn next(client: &mut Client, deadline: Option<Instant>) -> Result<Option<Message>, Failure> {
    loop {
        if let Some(message) = client.next(Some(Duration::ZERO))? {
            return Ok(Some(message));
        }
        let stdout = std::io::stdout();
        match wait(client.as_fd(), stdout.as_fd(), PollFlags::empty(), deadline)? {
            Ready::Client => {}
            Ready::Other => return Err(Failure::reader_gone()),
            Ready::Nothing => return Ok(None),
        }
    }
}
