//! Knows the order of steps of a cluster: choose, queue, send, judge what became of it, choose again.
//! Never: reads a clock, or knows a wire.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::cluster::book::{Book, Done};
use crate::cluster::check::check;
use crate::cluster::connector::{Connector, Fact, Fate, LinkId, LinkOptions, RequestId, Try, TryId};
use crate::cluster::error::{Error, ErrorKind};
use crate::cluster::event::Event;
use crate::cluster::member::{Due, Link, Member, Patience};
use crate::cluster::message::Message;
use crate::cluster::pending::{Pending, State};
use crate::cluster::roster::Roster;
use crate::cluster::settings::{Settings, TimeoutOf};

type Debug = Box<dyn FnMut(&Event<'_>) + Send>;

/// Requests spread over servers, on any wire. The [module](crate::cluster) tells the theory and shows one.
///
/// It runs in calls alone: after [`submit`](Cluster::submit), after the connector has something to tell, and when
/// [`next_deadline`](Cluster::next_deadline) has come, [`step`](Cluster::step) is to be called, and
/// [`next_done`](Cluster::next_done) emptied. `now` is the time since any fixed moment, and never goes back.
///
/// ```
/// use std::time::Duration;
/// use telex::cluster::{Cluster, ErrorKind, Message, Settings};
/// # use telex::cluster::{Connector, Fact, LinkId, LinkOptions, Server, Try};
/// # #[derive(Default)]
/// # struct Silent(Option<Fact<()>>);
/// # impl Connector for Silent {
/// #     type Request = &'static str;
/// #     type Answer = ();
/// #     fn open(&mut self, link: LinkId, _: &Server, _: &LinkOptions) { self.0 = Some(Fact::Opened(link)) }
/// #     fn send(&mut self, _: LinkId, _: Try, _: &&'static str) {}
/// #     fn probe(&mut self, _: LinkId) {}
/// #     fn close(&mut self, _: LinkId) {}
/// #     fn answer(&mut self) -> Option<Fact<()>> { self.0.take() }
/// # }
///
/// // A wire on which connections are made, and nothing is ever answered.
/// let mut cluster = Cluster::new(Settings::of("a:1,b:1*2")?, Silent::default());
/// cluster.set_debug(|event| eprintln!("the cluster {event}"));
/// assert!(cluster.set_weight(0, 2) && cluster.set_active(1, false, Duration::ZERO));
/// cluster.submit(Message::new("ping"), Duration::ZERO);
/// cluster.step(Duration::ZERO);
/// assert_eq!(cluster.next_deadline(), Some(Duration::from_secs(2)));
/// cluster.step(Duration::from_secs(2));
/// let error = cluster.next_done().and_then(|done| done.outcome.err()).expect("a time-out");
/// assert_eq!((error.kind, error.may_be_executed, cluster.is_out(0)), (ErrorKind::Timeout, true, true));
/// cluster.set_timeout(None);
/// cluster.disconnect_all();
/// assert!(cluster.connector().answer().is_none());
/// # Ok::<(), telex::cluster::BadServers>(())
/// ```
pub struct Cluster<C: Connector> {
    settings: Settings,
    connector: C,
    roster: Roster,
    book: Book<C::Request, C::Answer>,
    last_link: u64,
    debug: Option<Debug>,
}

impl<C: Connector> fmt::Debug for Cluster<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl<C: Connector> Cluster<C> {
    /// A cluster without connections: each is made when it is first needed.
    pub fn new(mut settings: Settings, connector: C) -> Cluster<C> {
        for least_one in [&mut settings.max_parallel, &mut settings.max_parallel_per_server] {
            *least_one = (*least_one).max(1);
        }
        settings.max_request_retries = settings.max_request_retries.max(1);
        Cluster {
            roster: Roster::new(settings.balance, &settings.servers, settings.seed),
            settings,
            connector,
            book: Book::new(),
            last_link: 0,
            debug: None,
        }
    }

    /// The connector, to be told what came over the wire.
    pub fn connector(&mut self) -> &mut C {
        &mut self.connector
    }

    /// Has `debug` called with each [`Event`] from now on. It must not wait.
    pub fn set_debug(&mut self, debug: impl FnMut(&Event<'_>) + Send + 'static) {
        self.debug = Some(Box::new(debug));
    }

    /// Sets how long an answer may take; `None`: for ever. It holds for tries that are sent from now on, and for
    /// silence at once.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.settings.timeout = timeout;
    }

    /// Takes the server at this place of the list, from 0 on, out of the balance or back into it. What waits for it
    /// goes to others; what is in flight goes on. False if there is no such place.
    pub fn set_active(&mut self, server: usize, is_active: bool, now: Duration) -> bool {
        let Some(member) = self.roster.members.get_mut(server) else { return false };
        member.is_active = is_active;
        if !is_active {
            self.move_waiting(server, now);
        }
        true
    }

    /// Sets the weight of the server at this place of the list, from 0 on. False, and nothing changes, if there is no
    /// such place or the weight is not from 1 to [`WEIGHT_MAX`](crate::cluster::WEIGHT_MAX).
    pub fn set_weight(&mut self, server: usize, weight: u32) -> bool {
        self.roster.set_weight(server, weight)
    }

    /// Whether the server at this place of the list is passed over because it failed and has answered no probe since.
    pub fn is_out(&self, server: usize) -> bool {
        self.roster.members.get(server).is_some_and(Member::is_out)
    }

    /// Takes a request. Each one is done exactly once, by [`next_done`](Cluster::next_done), never before this returns.
    pub fn submit(&mut self, message: Message<C::Request, C::Answer>, now: Duration) -> RequestId {
        let has_choice = self.roster.members.len() > 1;
        let lacks_key = message.key.is_none() && self.settings.balance.needs_key() && has_choice;
        let id = self.book.add(message);
        if lacks_key {
            let why = format!("the balance {} needs a key", self.settings.balance);
            self.fail(id, ErrorKind::NoKey, &why, false, now);
        }
        self.admit(now);
        id
    }

    /// Hears what the connector has to tell, and does what is due.
    pub fn step(&mut self, now: Duration) {
        loop {
            if let Some(fact) = self.connector.answer() {
                self.take(fact, now);
            } else if !self.do_due(now) {
                return;
            }
            self.admit(now);
        }
    }

    /// When [`step`](Cluster::step) is wanted at the latest, even if nothing comes; `None`: not before something does.
    pub fn next_deadline(&self) -> Option<Duration> {
        let of_requests = self.book.next_due().map(|(at, _)| at);
        self.roster.next_deadline(self.patience()).into_iter().chain(of_requests).min()
    }

    /// The next request that is done.
    pub fn next_done(&mut self) -> Option<Done<C::Answer>> {
        self.book.next_done()
    }

    /// Ends all connections. Every request that is not done is done with
    /// [`ErrorKind::Disconnected`]; the next one connects anew.
    pub fn disconnect_all(&mut self) {
        for member in &mut self.roster.members {
            if let Some(link) = member.link.id() {
                self.connector.close(link);
            }
            *member = Member { is_active: member.is_active, ..Member::new(member.server.clone()) };
        }
        for id in self.book.ids() {
            let Some(pending) = self.book.get(id) else { continue };
            let error = self.error(pending, ErrorKind::Disconnected, "all connections were ended");
            self.book.finish(id, Err(error));
        }
    }

    fn patience(&self) -> Patience {
        let silence = self.settings.timeout.filter(|_| self.settings.timeout_of == TimeoutOf::Silence);
        Patience { silence, keepalive: self.settings.tcp_keepalive }
    }

    fn tell<'e>(&'e mut self, event: impl FnOnce(&'e [Member]) -> Event<'e>) {
        if let Some(debug) = &mut self.debug {
            debug(&event(&self.roster.members));
        }
    }

    // Choosing.

    /// Lets requests begin while there may be more of them.
    fn admit(&mut self, now: Duration) {
        while self.book.under_way() < self.settings.max_parallel
            && let Some(id) = self.book.next_waiting()
        {
            self.place(id, now);
        }
    }

    /// Begins a try.
    fn place(&mut self, id: RequestId, now: Duration) {
        let Some(pending) = self.book.get_mut(id) else { return };
        let key = pending.message.key.as_deref().unwrap_or_default();
        let Some(server) = self.roster.choose(key, &pending.tried) else {
            return self.fail(id, ErrorKind::NoServer, "every server is inactive", false, now);
        };
        pending.tried.push(server);
        self.book.advance(id, State::Queued { server });
        self.roster.members[server].waiting.insert(id);
        self.pump(server, now);
    }

    /// Sends what waits for a server, as much as may be in flight; connects for it first.
    fn pump(&mut self, server: usize, now: Duration) {
        let most = self.settings.max_parallel_per_server;
        let member = &mut self.roster.members[server];
        let link = match member.link {
            Link::Closed if member.waiting.is_empty() => return,
            Link::Closed => return self.open(server, now),
            Link::Opening { .. } => return,
            Link::Open(link) => link,
        };
        while self.roster.members[server].in_flight.len() < most
            && let Some(id) = self.roster.members[server].waiting.pop_first()
        {
            self.send(id, server, link, now);
        }
    }

    fn open(&mut self, server: usize, now: Duration) {
        self.last_link += 1;
        let link = LinkId(self.last_link);
        let connect_timeout = self.settings.connect_timeout;
        let options = LinkOptions { connect_timeout, tcp_nodelay: self.settings.tcp_nodelay };
        let member = &mut self.roster.members[server];
        member.link = Link::Opening { link, until: now.saturating_add(connect_timeout) };
        self.connector.open(link, &member.server, &options);
        self.tell(|members| Event::Opening(&members[server].server));
    }

    fn send(&mut self, id: RequestId, server: usize, link: LinkId, now: Duration) {
        let Some(pending) = self.book.get(id) else { return };
        let nth = pending.tries();
        let timeout = self.settings.timeout.filter(|_| self.settings.timeout_of == TimeoutOf::Request);
        let until = timeout.map(|timeout| now.saturating_add(timeout));
        let member = &mut self.roster.members[server];
        member.in_flight.insert(id);
        member.moved = now;
        let (no_reply, key) = (pending.message.no_reply, pending.message.key.as_deref());
        let one = Try { id: TryId { request: id, nth }, no_reply, timeout, key };
        self.connector.send(link, one, &pending.message.request);
        self.book.advance(id, State::InFlight { server, since: now, until });
        self.tell(|members| Event::Sent(id, &members[server].server, nth));
    }

    // Facts.

    fn take(&mut self, fact: Fact<C::Answer>, now: Duration) {
        match fact {
            Fact::Opened(link) => self.opened(link, now),
            Fact::Ended { link, why } => {
                if let Some(server) = self.roster.server_of(link) {
                    self.lose(server, ErrorKind::Lost, &why, now);
                }
            }
            Fact::Probed(link) => {
                if let Some(server) = self.roster.server_of(link) {
                    self.roster.members[server].probe_ends = None;
                    self.well(server, now);
                }
            }
            Fact::Written(id) => {
                let wants_reply = |it: &Pending<_, _>| !it.message.no_reply;
                if self.book.get(id.request).is_some_and(wants_reply) {
                    return;
                }
                if let Some(server) = self.came_back(id) {
                    self.roster.members[server].moved = now;
                    self.finish(id.request, Ok(None));
                    self.pump(server, now);
                }
            }
            Fact::Answered { id, answer } => {
                if let Some(server) = self.came_back(id) {
                    self.roster.members[server].moved = now;
                    self.well(server, now);
                    self.answered(id.request, answer, now);
                    self.pump(server, now);
                }
            }
            Fact::Failed { id, fate, why } => {
                if let Some(server) = self.came_back(id) {
                    self.roster.members[server].moved = now;
                    self.well(server, now);
                    self.failed(id.request, fate, &why, now);
                    self.pump(server, now);
                }
            }
        }
    }

    fn opened(&mut self, link: LinkId, now: Duration) {
        let Some(server) = self.roster.server_of(link) else { return };
        let member = &mut self.roster.members[server];
        member.link = Link::Open(link);
        (member.heard, member.moved) = (now, now);
        let is_out = member.is_out();
        self.tell(|members| Event::Opened(&members[server].server));
        if is_out {
            self.probe(server, now);
        }
        self.pump(server, now);
    }

    /// Takes a try that is in flight off its server, and says which that is. A try that is over is none of these.
    fn came_back(&mut self, id: TryId) -> Option<usize> {
        let pending = self.book.get(id.request)?;
        match pending.state {
            State::InFlight { server, .. } if pending.tries() == id.nth => {
                self.roster.members[server].in_flight.remove(&id.request);
                Some(server)
            }
            _ => None,
        }
    }

    /// Something came from a server, which is used again if it was out.
    fn well(&mut self, server: usize, now: Duration) {
        let member = &mut self.roster.members[server];
        member.heard = now;
        if member.out_until.take().is_some() {
            self.tell(|members| Event::Back(&members[server].server));
        }
    }

    fn answered(&mut self, id: RequestId, answer: C::Answer, now: Duration) {
        let Some(pending) = self.book.get_mut(id) else { return };
        pending.may_be_executed = true;
        let asks_again = pending.message.is_retry.as_ref().is_some_and(|is_retry| is_retry(&answer));
        match asks_again && pending.may_go_on(self.settings.max_request_retries) && pending.message.retry {
            true => self.try_again(id, now),
            false => self.finish(id, Ok(Some(answer))),
        }
    }

    /// Tries a request again whose try has failed, or gives it up.
    fn failed(&mut self, id: RequestId, fate: Fate, why: &str, now: Duration) {
        let tries_max = self.settings.max_request_retries;
        let Some(pending) = self.book.get_mut(id) else { return };
        let (kind, is_final) = match fate {
            Fate::NotExecuted => (ErrorKind::Refused, false),
            Fate::Unknown(kind) => (kind, false),
            Fate::Final(kind) => (kind, true),
        };
        pending.may_be_executed |= matches!(fate, Fate::Unknown(_));
        let goes_on = !is_final && pending.may_go_on(tries_max);
        self.fail(id, kind, why, goes_on, now);
    }

    fn fail(&mut self, id: RequestId, kind: ErrorKind, why: &str, goes_on: bool, now: Duration) {
        let Some(pending) = self.book.get(id) else { return };
        let error = self.error(pending, kind, why);
        match goes_on {
            true => {
                self.tell(|_| Event::Retried(id, &error));
                self.try_again(id, now);
            }
            false => self.finish(id, Err(error)),
        }
    }

    fn error(&self, pending: &Pending<C::Request, C::Answer>, kind: ErrorKind, why: &str) -> Error {
        let server = pending.tried.last().map(|&server| self.roster.members[server].server.to_string());
        let may_be_executed = pending.may_be_executed
            || matches!(pending.state, State::InFlight { .. }) && kind == ErrorKind::Disconnected;
        Error { kind, server, tries: pending.tries(), may_be_executed, why: why.to_owned() }
    }

    fn try_again(&mut self, id: RequestId, now: Duration) {
        let delay = self.settings.retry_delay;
        if delay.is_zero() {
            return self.place(id, now);
        }
        self.book.advance(id, State::Delayed { until: now.saturating_add(delay) });
    }

    fn finish(&mut self, id: RequestId, outcome: Result<Option<C::Answer>, Error>) {
        if let Err(error) = &outcome {
            self.tell(|_| Event::Failed(id, error));
        }
        self.book.finish(id, outcome);
    }

    /// A link is over: what was in flight on it has failed. If it never was open, so has what waited for it; else that
    /// goes to other servers.
    fn lose(&mut self, server: usize, kind: ErrorKind, why: &str, now: Duration) {
        let member = &mut self.roster.members[server];
        let was_open = matches!(member.link, Link::Open(_));
        (member.link, member.probe_ends) = (Link::Closed, None);
        let in_flight = std::mem::take(&mut member.in_flight);
        self.tell(|members| Event::Ended(&members[server].server, why));
        let unreached =
            if was_open { BTreeSet::new() } else { std::mem::take(&mut self.roster.members[server].waiting) };
        self.put_out(server, now);
        for id in in_flight {
            self.failed(id, Fate::Unknown(kind), why, now);
        }
        for id in unreached {
            let goes_on = self.book.get(id).is_some_and(|it| it.may_go_on(self.settings.max_request_retries));
            self.fail(id, ErrorKind::Connect, why, goes_on, now);
        }
    }

    /// Passes a server over until it answers a probe. What waits for it goes to others.
    fn put_out(&mut self, server: usize, now: Duration) {
        let member = &mut self.roster.members[server];
        let is_new = !member.is_out();
        member.out_until = Some(now.saturating_add(self.settings.probe_interval));
        if is_new {
            self.tell(|members| Event::Out(&members[server].server));
        }
        self.move_waiting(server, now);
    }

    /// Chooses again for what waits for a server; that was no try.
    fn move_waiting(&mut self, server: usize, now: Duration) {
        for id in std::mem::take(&mut self.roster.members[server].waiting) {
            if let Some(pending) = self.book.get_mut(id) {
                pending.tried.pop();
                self.place(id, now);
            }
        }
    }

    fn probe(&mut self, server: usize, now: Duration) {
        let member = &mut self.roster.members[server];
        match member.link {
            Link::Open(link) => {
                member.probe_ends = Some(now.saturating_add(self.settings.connect_timeout));
                self.connector.probe(link);
            }
            Link::Closed => self.open(server, now),
            Link::Opening { .. } => {}
        }
    }

    // Time.

    /// Does one thing that is due; false if nothing is.
    fn do_due(&mut self, now: Duration) -> bool {
        if let Some((at, id)) = self.book.next_due()
            && at <= now
        {
            self.time_is_over(id, now);
            return true;
        }
        let Some((server, due)) = self.roster.due(self.patience(), now) else { return false };
        match due {
            Due::Probe => self.probe(server, now),
            Due::ConnectTimeout(link) => {
                self.cut(server, link, ErrorKind::Connect, "connecting took too long", now)
            }
            Due::ProbeTimeout(link) => {
                self.cut(server, link, ErrorKind::Lost, "it does not answer a probe", now)
            }
            Due::Silence(link) => {
                self.cut(server, link, ErrorKind::Timeout, "it was silent for too long", now)
            }
        }
        true
    }

    fn cut(&mut self, server: usize, link: LinkId, kind: ErrorKind, why: &str, now: Duration) {
        self.connector.close(link);
        self.lose(server, kind, why, now);
    }

    /// The delay before a try is over, or the time for an answer. A server that has not said a word since it was asked
    /// is passed over.
    fn time_is_over(&mut self, id: RequestId, now: Duration) {
        let Some(pending) = self.book.get(id) else { return };
        let State::InFlight { server, since, .. } = pending.state else { return self.place(id, now) };
        let member = &mut self.roster.members[server];
        member.in_flight.remove(&id);
        if member.heard <= since && !member.is_out() {
            self.put_out(server, now);
            self.probe(server, now);
        }
        self.failed(id, Fate::Unknown(ErrorKind::Timeout), "no answer came in time", now);
        self.pump(server, now);
    }

    /// Panics if any bound or symmetry of the state does not hold. It looks at everything.
    #[doc(hidden)]
    pub fn check(&self) {
        check(&self.settings, &self.book, &self.roster);
    }
}
