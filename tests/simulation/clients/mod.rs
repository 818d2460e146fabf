//! Knows how one seed becomes the life of a few clients and their daemon, without sockets: connections break, bytes
//! wait, daemons come and go, answers come late, twice or never, time passes.
//! Never: what is right; that is the ledger's.

mod acts;
mod client;
mod end;
mod ledger;
mod links;

use std::collections::VecDeque;
use std::time::Duration;

use telex::client::{Arrival, WhileAway};
use telex::limits::Limits;

use crate::clients::client::{Client, next};
use crate::clients::ledger::Ledger;
use crate::clients::links::Daemon;
use crate::model::Checked;
use crate::random::Random;
use crate::run::{no_panic, number_from};

/// As many as fit about 5 s of one core.
pub(crate) const SEEDS: u64 = 400;
const LOG_LINES: usize = 60;

/// What runs amounted to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) calls: u64,
    pub(crate) answered: u64,
    pub(crate) losses: u64,
    pub(crate) signals: usize,
    pub(crate) published: usize,
    pub(crate) missed: usize,
    pub(crate) names_lost: usize,
}

impl Summary {
    pub(crate) fn add(&mut self, other: &Summary) {
        self.calls += other.calls;
        self.answered += other.answered;
        self.losses += other.losses;
        self.signals += other.signals;
        self.published += other.published;
        self.missed += other.missed;
        self.names_lost += other.names_lost;
    }
}

pub(crate) struct World {
    random: Random,
    daemon: Daemon,
    clients: Vec<Client>,
    ledger: Ledger,
    log: VecDeque<String>,
    traces: bool,
    names_lost: usize,
    /// Each name is one client's, and no call goes to several.
    is_plain: bool,
}

/// One run, or the report of what a client did wrong.
pub(crate) fn run(seed: u64) -> Result<Summary, String> {
    let mut world = World::new(Random::new(seed));
    let acts = number_from("TELEX_SIM_ACTIONS").unwrap_or_else(|| world.random.between(100, 500) as u64);
    let mut done = 0;
    let outcome = no_panic(|| {
        while done < acts {
            done += 1;
            world.act()?;
        }
        world.come_to_rest()
    });
    world.note("the end".to_owned());
    match outcome {
        Ok(()) => Ok(world.summary()),
        Err(divergence) => Err(format!(
            "DIVERGENCE: seed {seed} of the clients, act {done} of {acts}\n{divergence}\n\nthe last steps:\n{}\n\n\
             again: TELEX_SIM_SEED={seed} cargo test --test simulation clients_keep",
            world.log.make_contiguous().join("\n"),
        )),
    }
}

impl World {
    fn new(mut random: Random) -> World {
        let clients = random.between(2, 4) as u64;
        let limits = Limits {
            max_line_bytes: 4000,
            max_queue_bytes: random.between(8000, 20_000),
            // One request may go to all of them.
            max_requests: random.between(4, 8),
            ..Limits::default()
        };
        let mut daemon = Daemon::new(limits);
        daemon.repeats = random.one_in(2);
        let is_plain = random.one_in(3);
        let client = |number| {
            let meanwhile = random.pick(&[WhileAway::Wait, WhileAway::Wait, WhileAway::Fail]);
            let mut client = Client::new(number, meanwhile, random.pick(&[300, 1500, 1 << 20]));
            client.gave_up = !is_plain;
            client
        };
        let clients = (0..clients).map(client).collect();
        let traces = std::env::var_os("TELEX_SIM_TRACE").is_some();
        let (ledger, log) = (Ledger::default(), VecDeque::new());
        World { random, daemon, clients, ledger, log, traces, names_lost: 0, is_plain }
    }

    #[expect(clippy::print_stdout, reason = "a trace was asked for")]
    fn note(&mut self, text: String) {
        if self.traces {
            self.daemon.trace.replace(Vec::new()).into_iter().flatten().for_each(|line| println!("{line}"));
            println!("{text}");
        }
        self.log.push_back(text);
        if self.log.len() > LOG_LINES {
            self.log.pop_front();
        }
    }

    /// Looks at all that has come to its owner by now.
    fn look(&mut self) -> Checked {
        let now = self.daemon.now;
        for client in &mut self.clients {
            let lost = client.lost_names.len();
            client.hear_changes()?;
            self.names_lost += client.lost_names.len().saturating_sub(lost);
            client.hear_answers(self.ledger.last);
            client.hear_streams()?;
            self.ledger.look_at_calls(client, now)?;
            self.ledger.look_at_answers(client)?;
            while let Some(arrival) = next(&mut client.inbox) {
                let Arrival::Message(message) = arrival else { continue };
                if message.message_type() != "late" || message.topic().is_some() {
                    return Err(format!("c{} got what is not its own: {}", client.number, message.line()));
                }
                let id = message.body_value()["call"].as_u64().unwrap_or_default();
                *client.heard.lock().expect("a note").calls.entry(id).or_default() += 1;
                client.owed.push(message);
            }
            acts::look_at_gatherings(client, now)?;
        }
        Ok(())
    }

    /// Some bytes go some way.
    fn carry(&mut self, at: usize, most: usize) -> Checked {
        let client = &mut self.clients[at];
        let Some(number) = client.link else { return Ok(()) };
        if let Some(link) = self.daemon.links.get_mut(&number).filter(|link| !link.is_cut) {
            let room = link.room.saturating_sub(link.up.len());
            let output = client.driven.output();
            let count = output.len().min(most).min(room);
            link.up.extend(&output[..count]);
            if count > 0 {
                client.driven.wrote(count);
            }
        }
        if self.random.one_in(2) {
            self.read(number, most);
        }
        self.daemon.write(number, most, &mut self.random);
        self.receive(at, most)
    }

    /// The daemon reads from a connection.
    fn read(&mut self, number: u64, most: usize) {
        if self.daemon.read(number, most) {
            // What was for the client behind it may have gone there.
            self.clients.iter_mut().for_each(|client| client.ends += 1);
        }
    }

    fn receive(&mut self, at: usize, most: usize) -> Checked {
        let client = &mut self.clients[at];
        let Some(number) = client.link else { return Ok(()) };
        let Some(link) = self.daemon.links.get_mut(&number) else { return Ok(()) };
        let count = link.down.len().min(most);
        let bytes: Vec<u8> = link.down.drain(..count).collect();
        let is_over = link.is_over();
        let was_up = client.driven.is_up();
        if !bytes.is_empty()
            && let Err(error) = client.driven.received(&bytes)
        {
            return Err(format!("c{at}: {error}"));
        }
        if client.driven.is_up() && !was_up {
            client.restored[0] += 1;
            self.note(format!("c{at} is up"));
        }
        if is_over || self.clients[at].driven.is_broken() {
            self.lose(at);
        }
        Ok(())
    }

    fn lose(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let Some(number) = client.link.take() else { return };
        client.ends += 1;
        // Its last line may have no end.
        let was_up = client.driven.is_up();
        if client.driven.lost() {
            client.restored[0] += u64::from(!was_up);
            client.lost[0] += 1;
        }
        self.daemon.cut(number, &mut self.random);
        self.note(format!("c{at} has lost its connection"));
    }

    fn pass_time(&mut self, span: Duration) -> Checked {
        self.daemon.pass_time(span);
        for at in 0..self.clients.len() {
            self.clients[at].driven.set_time(self.daemon.now);
            if self.clients[at].driven.is_broken() {
                self.lose(at);
            }
        }
        self.look()
    }

    fn summary(&self) -> Summary {
        let count =
            |is_signal| self.ledger.sent.values().filter(|sent| sent.to.is_some() == is_signal).count();
        let items = |client: &Client| {
            let items = client.subscriptions.iter().flat_map(|one| &one.items);
            items.filter(|item| **item == client::Item::Missed).count()
        };
        Summary {
            calls: self.ledger.ended_calls,
            answered: self.ledger.answered_calls,
            losses: self.clients.iter().map(|client| client.lost[0]).sum(),
            signals: count(true),
            published: count(false),
            missed: self.clients.iter().map(items).sum(),
            names_lost: self.names_lost,
        }
    }
}
