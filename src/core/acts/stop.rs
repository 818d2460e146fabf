//! Knows how the service ends: all that wait for anything are told, and all connections of the end (PROTOCOL.md section 14).
//! Never: how long what is queued may take.

use crate::core::acts::held::with_held;
use crate::core::after::{After, Stop};
use crate::core::desk::LINE_EFFORT;
use crate::core::order::Reason;
use crate::core::phase::Pause;
use crate::core::{Core, SessionKey};
use crate::wire::code::Code;
use crate::wire::message::Refusal;

impl Core {
    /// Ends the service. What is queued can still be written.
    pub(in crate::core) fn stop(&mut self) {
        self.desk.stopping = true;
        let stop = Box::new(Stop::Held(self.sessions.in_order(), 0));
        let rest = if self.desk.is_free() { self.go_on_stopping(stop) } else { Some(stop) };
        if let Some(rest) = rest {
            self.desk.after.push(After::Stop(rest));
        }
    }

    /// Goes on with the end of the service; gives what is left of that when the time is up.
    pub(super) fn go_on_stopping(&mut self, mut stop: Box<Stop>) -> Option<Box<Stop>> {
        loop {
            if self.desk.left() == 0 {
                return Some(stop);
            }
            *stop = match *stop {
                Stop::Held(all, at) if at < all.len() => {
                    self.refuse_waiting(all[at]);
                    Stop::Held(all, at + 1)
                }
                Stop::Held(..) => {
                    self.end_waiting();
                    Stop::Requests(self.requests.keys(), 0)
                }
                Stop::Requests(all, at) if at < all.len() => {
                    if let Some((asked, replied)) = self.requests.close(all[at]) {
                        self.end_request(&asked, replied, &ending());
                        self.desk.settles(LINE_EFFORT);
                    }
                    Stop::Requests(all, at + 1)
                }
                Stop::Requests(..) => {
                    let nodes = self.registry.nodes_after(None, "");
                    Stop::Nodes(
                        nodes.map(|(_, node)| (node.name.clone(), node.instances.clone())).collect(),
                        0,
                    )
                }
                Stop::Nodes(all, at) if at < all.len() => {
                    let (node_id, instances) = &all[at];
                    // One that has left meanwhile is told of by its own news.
                    for instance in instances {
                        if self.sessions.is_here(instance.session) {
                            self.tell_down(node_id, instance.number, Reason::Shutdown);
                        }
                    }
                    self.desk.settles(1);
                    Stop::Nodes(all, at + 1)
                }
                Stop::Nodes(..) => {
                    let everybody = Stop::Everybody(self.sessions.in_order(), 0);
                    if !self.desk.after.is_empty() {
                        // Behind the news that are still to be told.
                        self.desk.after.push(After::Stop(Box::new(everybody)));
                        return None;
                    }
                    everybody
                }
                Stop::Everybody(all, at) if at < all.len() => {
                    self.desk.said_shutdown = true;
                    self.say_shutdown(all[at]);
                    Stop::Everybody(all, at + 1)
                }
                Stop::Everybody(..) => return None,
            };
        }
    }

    /// Tells a sender that waits for room that its line goes nowhere.
    fn refuse_waiting(&mut self, key: SessionKey) {
        self.desk.settles(1);
        if let Some(held) = self.rows.drop_held(&mut self.sessions, &mut self.desk, key) {
            with_held(key, &held, self.desk.mono(), |parcel| self.refuse(parcel, &ending()));
            self.desk.settles(LINE_EFFORT);
        }
    }

    /// None waits any more, so none can be too slow for any.
    fn end_waiting(&mut self) {
        self.rows.end_all(&mut self.sessions);
        for (_, session) in self.sessions.iter_mut() {
            session.forget_watch();
        }
    }

    fn say_shutdown(&mut self, key: SessionKey) {
        let walk = self.sessions.get_mut(key).and_then(|session| {
            session.inbound.pauses.end(Pause::Walk);
            session.inbound.walk.take()
        });
        if let Some(walk) = walk {
            self.say_error_reply(key, walk.asked.borrowed(), &ending());
        }
        self.say_signal(key, "shutdown", |_| {});
        self.desk.settles(2 * LINE_EFFORT);
    }
}

fn ending() -> Refusal {
    Refusal::new(Code::NodeGone, "the daemon is ending")
}
