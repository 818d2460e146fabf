//! Knows what clients owe their owners: each call ends once and with its own answer, nothing comes twice, and what did
//! not come is told.
//! Never: how it comes about.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use telex::client::{Error, Message, Ticket, WhileAway};

use crate::clients::client::{Call, Client, Item, poll};
use crate::model::Checked;

/// How much longer than the daemon a client waits.
const GRACE: Duration = Duration::from_secs(1);

/// Something that was sent and is not answered.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) ticket: Ticket,
    /// The client it went to, for a signal; its topic, for a publication.
    pub(crate) to: Option<u64>,
    pub(crate) topic: String,
    /// How often the connections of sender and receiver had ended.
    ends: [u64; 2],
}

/// All that was sent, by sender and number.
#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) last: u64,
    pub(crate) sent: BTreeMap<(u64, u64), Sent>,
    /// The calls that ended without having been sent.
    unsent: BTreeSet<u64>,
    pub(crate) ended_calls: u64,
    pub(crate) answered_calls: u64,
}

impl Ledger {
    pub(crate) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub(crate) fn sent(
        &mut self,
        clients: &[Client],
        from: u64,
        number: u64,
        ticket: Ticket,
        to: Result<u64, String>,
    ) {
        let ends_of = |number: u64| clients[number as usize].ends;
        let ends = [ends_of(from), to.as_ref().map_or(0, |to| ends_of(*to))];
        let (to, topic) = match to {
            Ok(to) => (Some(to), String::new()),
            Err(topic) => (None, topic),
        };
        self.sent.insert((from, number), Sent { ticket, to, topic, ends });
    }

    /// Looks at the calls of a client that have ended by now, and at those that should have.
    pub(crate) fn look_at_calls(&mut self, client: &mut Client, now: Duration) -> Checked {
        let mut ended = Vec::new();
        for (at, call) in client.calls.iter_mut().enumerate() {
            if let Some(outcome) = call.answer.as_mut().and_then(poll) {
                ended.push((at, outcome));
            }
        }
        for (at, outcome) in ended.into_iter().rev() {
            let call = client.calls.remove(at);
            self.judge(client, &call, &outcome, now)?;
        }
        let called_back = std::mem::take(&mut client.heard.lock().expect("a note").called_back);
        for (id, outcome) in called_back {
            let Some(at) = client.calls.iter().position(|call| call.id == id) else {
                return Err(format!("call {id} of c{} was called back twice: {outcome:?}", client.number));
            };
            let call = client.calls.remove(at);
            self.judge(client, &call, &outcome, now)?;
        }
        let late = client.calls.iter().find(|call| now >= call.at + call.timeout + GRACE);
        late.map_or(Ok(()), |call| Err(format!("call {} of c{} never ends", call.id, client.number)))
    }

    fn judge(
        &mut self,
        client: &mut Client,
        call: &Call,
        outcome: &Result<Message, Error>,
        now: Duration,
    ) -> Checked {
        let (id, is_over) = (call.id, now >= call.at + call.timeout);
        self.ended_calls += 1;
        let error = match outcome {
            Ok(reply) if reply.body_value()["call"] == id => {
                self.answered_calls += 1;
                return Ok(());
            }
            Ok(reply) => return Err(format!("call {id} got another's answer: {}", reply.line())),
            Err(error) => error,
        };
        let is_right = match error {
            Error::NoSuchNode(_) | Error::NoSubscribers(_) | Error::NodeGone(_) | Error::Overloaded(_) => {
                true
            }
            Error::Timeout(_) => is_over,
            Error::GaveUp { .. } => {
                client.gave_up = true;
                is_over
            }
            Error::TooManyRequests(_) => client.gave_up,
            Error::Lost { .. } => client.lost[0] > call.losses,
            Error::Away => {
                self.unsent.insert(id);
                client.meanwhile == WhileAway::Fail
            }
            Error::NameLost { .. } => {
                self.unsent.insert(id);
                true
            }
            _ => false,
        };
        if is_right {
            Ok(())
        } else {
            Err(format!("call {id} of c{} ended by {error:?} at {now:?}", client.number))
        }
    }

    /// No call was answered twice by one client, nor at all if it was not sent.
    pub(crate) fn look_at_answers(&self, client: &Client) -> Checked {
        let heard = client.heard.lock().expect("a note");
        for (id, count) in &heard.calls {
            if *count > 1 || self.unsent.contains(id) {
                let of = if *count > 1 { "twice" } else { "although it was not sent" };
                return Err(format!("call {id} came to c{} {of}", client.number));
            }
        }
        Ok(())
    }

    /// At the end: what did not come was told.
    pub(crate) fn look_for_lost(&self, clients: &[Client]) -> Checked {
        for (&(from, number), sent) in &self.sent {
            let sender = &clients[from as usize];
            let Some(to) = sent.to else { continue };
            let receiver = &clients[to as usize];
            let is_told =
                sender.undelivered.contains(&sent.ticket) || [sender.ends, receiver.ends] != sent.ends;
            let has_come = receiver.heard.lock().expect("a note").all_signals.contains(&(from, number));
            if !is_told && !has_come {
                return Err(format!("signal {number} of c{from} to c{to} was lost in silence"));
            }
        }
        clients.iter().try_for_each(|client| self.look_at_subscriptions(client, clients))
    }

    /// What a subscription did not get, it was told to be missing at that place.
    fn look_at_subscriptions(&self, client: &Client, clients: &[Client]) -> Checked {
        for one in client.subscriptions.iter().filter(|one| one.group.is_none()) {
            let got: BTreeMap<(u64, u64), usize> = one
                .items
                .iter()
                .enumerate()
                .filter_map(|(at, item)| match *item {
                    Item::Published(from, number) => Some(((from, number), at)),
                    Item::Missed => None,
                })
                .collect();
            for (&(from, number), sent) in &self.sent {
                let sender = &clients[from as usize];
                let is_wanted = sent.to.is_none()
                    && number > one.from
                    && telex::topic::matches(&one.pattern, &sent.topic)
                    && sender.ends == sent.ends[0]
                    && !sender.undelivered.contains(&sent.ticket);
                if !is_wanted || got.contains_key(&(from, number)) {
                    continue;
                }
                let behind = got.range((from, 0)..(from, number)).next_back().map_or(0, |(_, at)| at + 1);
                let ahead =
                    got.range((from, number)..(from + 1, 0)).next().map_or(one.items.len(), |(_, at)| *at);
                if !one.items[behind..ahead].contains(&Item::Missed) {
                    return Err(format!(
                        "publication {number} of c{from} did not come by {} of c{}, and it was not told; since {} came {:?}",
                        one.pattern, client.number, one.from, one.items
                    ));
                }
            }
        }
        Ok(())
    }
}
