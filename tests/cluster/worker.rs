//! Knows a node that works on requests, and counts how often it executed each.
//! Never: what asks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use telex::address::Address;
use telex::client::{Client, Error, Message};

use super::support::wait_until;

/// A node `worker` at a daemon, on a thread; it comes back whenever the daemon does.
pub(crate) struct Worker {
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    counts: Mutex<BTreeMap<u64, u32>>,
    silenced: AtomicUsize,
    is_here: AtomicBool,
    is_over: AtomicBool,
}

impl Worker {
    /// Starts it and waits until it has registered.
    pub(crate) fn start(address: &str) -> Worker {
        let address = Address::parse(address).expect("an address");
        let state = Arc::new(State::default());
        let of_thread = Arc::clone(&state);
        let thread = spawn(move || {
            while !of_thread.is_over.load(Ordering::Relaxed) {
                // The daemon may be away.
                if of_thread.work(&address).is_err() {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        });
        wait_until("a worker", || state.is_here.load(Ordering::Relaxed));
        Worker { state, thread: Some(thread) }
    }

    /// How often it executed which tag.
    pub(crate) fn counts(&self) -> BTreeMap<u64, u32> {
        self.state.counts.lock().expect("counts").clone()
    }

    /// How many requests it left without an answer.
    pub(crate) fn silenced(&self) -> usize {
        self.state.silenced.load(Ordering::Relaxed)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::Relaxed);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

impl State {
    fn work(&self, address: &Address) -> Result<(), Error> {
        let mut client = Client::connect(address)?;
        client.register("worker")?;
        self.is_here.store(true, Ordering::Relaxed);
        while !self.is_over.load(Ordering::Relaxed) {
            if let Some(message) = client.next(Some(Duration::from_millis(20)))? {
                self.execute(&mut client, &message)?;
            }
        }
        Ok(())
    }

    fn execute(&self, client: &mut Client, message: &Message) -> Result<(), Error> {
        let body = message.body_value();
        if let Some(tag) = body["tag"].as_u64() {
            *self.counts.lock().expect("counts").entry(tag).or_default() += 1;
        }
        if let Some(ms) = body["pause_ms"].as_u64() {
            std::thread::sleep(Duration::from_millis(ms));
        }
        match message.is_request() {
            _ if body["silent"] == true => {
                self.silenced.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            true if body["fail"] == true => client.reply_error(message, "as you wish"),
            true => client.reply(message, message.body().unwrap_or("{}")),
            false => Ok(()),
        }
    }
}
