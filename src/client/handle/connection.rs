//! Knows a connection that many threads share, and all that can be done with it.
//! Never: how a message is written, sent or found again.

use std::fmt::Display;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use crate::client::ask;
use crate::client::error::Error;
use crate::client::handle::answer::Answer;
use crate::client::handle::book::Waiter;
use crate::client::handle::change::{Arrival, Change, Presence};
use crate::client::handle::holdings::{End, Holdings, Note, Terms};
use crate::client::handle::pump::say;
use crate::client::handle::queue::Queue;
use crate::client::handle::reader::{error_body, send_reply};
use crate::client::handle::shared::{LINGER, Shared};
use crate::client::handle::slot::Slot;
use crate::client::handle::state::{Phase, State};
use crate::client::handle::stream::Stream;
use crate::client::kept::KEPT_BYTES_MAX;
use crate::client::lines::{Draft, HEAD_BYTES, Ticket, To};
use crate::client::message::Message;
use crate::client::told::{List, NodeList, Receipt, ResolvedNode, Whoami};
use crate::client::unsendable::Unsendable;
use crate::wire::control::Register;

/// How long what concerns the daemon alone is waited for.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection to a daemon that many threads and tasks share. Clones are the same connection.
///
/// Two threads stand behind it. One reads, and runs handlers and callbacks, one after the other; one writes. A
/// caller only leaves its line with them: what is to be done at once is said in one write(2). What is to be
/// answered gives an [`Answer`], what comes again and again a [`Stream`].
///
/// A lost connection is made again ([`Reconnect`](crate::client::Reconnect)): what was held is asked for again, what
/// was on its way ends with [`Error::Lost`] and is never sent twice, and [`Handle::changes`] tells of it.
///
/// When the last clone is dropped, what is to be written is written, for 2 s at most, and all ends; a handler
/// that holds a clone keeps it from that, so that it should hold a [`WeakHandle`]. In the child of a fork a handle
/// does nothing: it may be dropped, which leaves the parent's connection as it is (the child's copy of the
/// socket is closed when the child ends, or calls exec), and the child may make one of its own.
///
/// ```
/// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
/// use std::time::Duration;
/// use telex::client::{Handle, default_address};
///
/// let handle = Handle::connect(&default_address()?)?;
/// handle.register("thermometer").wait()?;
/// handle.on("read", |_request| Ok::<_, String>(r#"{"c":20.5}"#));
/// let reply = handle.call("heating", "set", r#"{"c":21}"#, Duration::from_secs(5)).wait()?;
/// println!("{}", reply.body().unwrap_or("null"));
/// # Ok::<(), telex::client::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) owner: Arc<Owner>,
}

/// A [`Handle`] that does not keep its connection from ending.
#[derive(Clone, Debug)]
pub struct WeakHandle {
    owner: Weak<Owner>,
}

impl WeakHandle {
    /// The handle, if there is still one.
    pub fn upgrade(&self) -> Option<Handle> {
        self.owner.upgrade().map(|owner| Handle { owner })
    }
}

/// Ends the connection with the last handle.
pub(super) struct Owner {
    pub(super) shared: Arc<Shared>,
}

impl std::fmt::Debug for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Owner").field("address", &self.shared.options.address).finish_non_exhaustive()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if !self.shared.is_inherited() {
            close(&self.shared);
        }
    }
}

fn close(shared: &Shared) {
    let until = Instant::now() + LINGER;
    let mut state = shared.lock();
    state.closing.get_or_insert(until);
    shared.wake_writer(&mut state);
    shared.tell_change(&state);
    // Of what is to come the reader would keep itself waiting.
    while !shared.is_on_reader()
        && !state.is_flushed
        && !matches!(state.phase, Phase::Ended(_))
        && Instant::now() < until
    {
        state = shared.wait_for_change(state, Some(until));
    }
}

impl Handle {
    /// The same connection, without keeping it from ending.
    pub fn downgrade(&self) -> WeakHandle {
        WeakHandle { owner: Arc::downgrade(&self.owner) }
    }

    /// Ends the connection for all clones, as the drop of the last one does, and waits for that, for 2 s at most.
    /// What still waits for an answer ends with [`Error::Lost`].
    pub fn close(&self) {
        close(self.shared());
    }

    /// Whether the connection has ended for good.
    pub fn is_closed(&self) -> bool {
        let state = self.shared().lock();
        state.closing.is_some() || matches!(state.phase, Phase::Ended(_))
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.owner.shared
    }

    /// Sends a request; the answer is still to come. The daemon is told the timeout (1 ms to 1 h) and answers when
    /// it has passed; if not even that comes, the answer is [`Error::GaveUp`] a second later. Of the replies of
    /// several instances the first counts. Requests beyond what the daemon lets be open wait for their turn.
    pub fn call<'a>(
        &self,
        to: impl Into<To<'a>>,
        message_type: &str,
        body: &str,
        timeout: Duration,
    ) -> Answer {
        self.ask(to.into(), message_type, body, timeout, None, Ok)
    }

    /// Sends a request and collects every reply until `timeout` is over, as instances of a node or subscribers of
    /// a topic give them. Replies that tell an error are [`Error::Node`]; what comes last may be the daemon's
    /// word that nothing is there to answer. That no reply came is an end without any.
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// use std::time::Duration;
    /// use telex::client::{Handle, To, default_address};
    ///
    /// let handle = Handle::connect(&default_address()?)?;
    /// let mut replies = handle.gather(To::Topic("sensors"), "read", "", Duration::from_secs(1));
    /// for reply in replies.iter() {
    ///     println!("{}", reply?.line());
    /// }
    /// # Ok::<(), telex::client::Error>(())
    /// ```
    pub fn gather<'a>(
        &self,
        to: impl Into<To<'a>>,
        message_type: &str,
        body: &str,
        timeout: Duration,
    ) -> Stream<Result<Message, Error>> {
        let queue = Queue::new(KEPT_BYTES_MAX, |_| Err(Error::KeptFull));
        let waiter = Waiter::Many(Arc::clone(&queue));
        let asked =
            self.locked(|state, now| state.request(to.into(), message_type, body, timeout, waiter, now));
        if let Err(error) = asked {
            queue.push(Err(error), 0);
            queue.end();
        }
        Stream::new(self.shared(), queue, || {})
    }

    /// Sends a signal. It blocks while there is no room for it (1 MiB is still to be written), until
    /// [`Builder::send_timeout`](crate::client::Builder::send_timeout) is over, and is then [`Error::GaveUp`]. What
    /// cannot be delivered is told by [`Change::Undelivered`] with the ticket that this gives.
    pub fn send<'a>(&self, to: impl Into<To<'a>>, body: &str) -> Result<Ticket, Error> {
        let to = to.into();
        let mut line = Vec::with_capacity(body.len() + HEAD_BYTES);
        let ticket = self.shared().lines.signal(to, body, &mut line)?;
        say(self.shared(), |state| state.check(to), &line)?;
        Ok(ticket)
    }

    /// Sends a signal to all that subscribe to `topic`; that nothing does is no error.
    pub fn publish(&self, topic: &str, body: &str) -> Result<Ticket, Error> {
        self.send(To::Topic(topic), body)
    }

    /// Publishes a signal whose answer comes when it is in the queues of all that get it: how many these are, and how many
    /// missed it. A daemon that knows no receipts does not answer: [`Error::GaveUp`] a second after `timeout`.
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// use std::time::Duration;
    /// use telex::client::{Handle, Receipt, default_address};
    ///
    /// let handle = Handle::connect(&default_address()?)?;
    /// let receipt = handle.publish_for_receipt("nothing.hears.this", "1", Duration::from_secs(5));
    /// assert_eq!(receipt.wait()?, Receipt { receivers: 0, missed: 0 });
    /// # Ok::<(), telex::client::Error>(())
    /// ```
    pub fn publish_for_receipt(&self, topic: &str, body: &str, timeout: Duration) -> Answer<Receipt> {
        let draft = self.shared().lines.draft_for_receipt(topic, body, timeout);
        self.await_answer(To::Topic(topic), draft, None, |answer| Ok(Receipt::read(&answer)))
    }

    /// Becomes an instance of the node `node_id`, in which `%n` is the host's name and `%u` something unique. Gives
    /// the node ID that came out.
    pub fn register(&self, node_id: &str) -> Answer<String> {
        self.register_with(&Register { node_id: Some(node_id.into()), ..Register::default() })
    }

    /// The same, under other terms. After a lost connection the node ID that came out is registered again, under
    /// the same terms but for `replace`.
    pub fn register_with(&self, options: &Register<'_>) -> Answer<String> {
        let note = Some(Note::Registered(Terms::of(options)));
        self.ask(To::Daemon, "register", &ask::register(options), CONTROL_TIMEOUT, note, |reply| {
            Ok(reply.body_value()["node_id"].as_str().unwrap_or_default().to_owned())
        })
    }

    /// Is an instance of `node_id` no more. If another connection has taken the name, it is not tried again to get
    /// it back.
    pub fn unregister(&self, node_id: &str) -> Answer<()> {
        self.end(|holdings| holdings.unregister(node_id))
    }

    /// Subscribes to a pattern of topics: `*` is any one token, `>` at the end one or more. Of the connections that
    /// subscribe with the same `group` one gets each message. The subscription keeps up to
    /// [`KEPT_BYTES_MAX`](crate::client::KEPT_BYTES_MAX), counts what finds no room, and ends when it is dropped, or by
    /// [`Handle::unsubscribe`].
    /// Requests to a topic come by it, too, unless a handler takes them; [`Handle::reply`] answers them.
    pub fn subscribe(&self, pattern: &str, group: Option<&str>) -> Answer<Stream<Arrival>> {
        let queue = Queue::new(KEPT_BYTES_MAX, |count| Arrival::Missed(Some(count)));
        let (shared, ours) = (Arc::downgrade(self.shared()), Arc::clone(&queue));
        let stream = Stream::new(self.shared(), queue.clone(), move || {
            undo(&shared, |holdings| holdings.drop_subscription(&ours));
        });
        let slot = Slot::new();
        let waiter = Waiter::One(Arc::clone(&slot), None);
        let asked = self.locked(|state, now| {
            // Messages may come ahead of the reply.
            state.holdings.subscribe(pattern, group, &queue);
            let body = ask::subscribe(pattern, group);
            state.request(To::Daemon, "subscribe", &body, CONTROL_TIMEOUT, waiter, now)
        });
        self.answer(asked, slot, move |_| Ok(stream))
    }

    /// Ends the subscriptions of this handle with this pattern and group. What has come by them can still be
    /// taken; then their streams end, and what is under way is dropped. They end at once, whatever the answer is. It
    /// comes after the last message that the daemon sends for them.
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// use telex::client::{Handle, default_address};
    ///
    /// let handle = Handle::connect(&default_address()?)?;
    /// let mut news = handle.subscribe("news.>", None).wait()?;
    /// handle.unsubscribe("news.>", None).wait()?;
    /// news.iter().for_each(|last| println!("{last:?}"));
    /// assert!(news.is_ended());
    /// # Ok::<(), telex::client::Error>(())
    /// ```
    pub fn unsubscribe(&self, pattern: &str, group: Option<&str>) -> Answer<()> {
        self.end(|holdings| holdings.unsubscribe(pattern, group))
    }

    /// Watches the nodes whose IDs match `pattern`, in which `*` is any run of characters: what is there comes
    /// first, then what changes. It ends when it is dropped, or by [`Handle::unmonitor`].
    pub fn monitor(&self, pattern: &str) -> Answer<Stream<Presence>> {
        let queue = Queue::new(KEPT_BYTES_MAX, Presence::Missed);
        let (shared, ours) = (Arc::downgrade(self.shared()), Arc::clone(&queue));
        let stream = Stream::new(self.shared(), queue.clone(), move || {
            undo(&shared, |holdings| holdings.drop_monitor(&ours));
        });
        let slot = Slot::new();
        let waiter = Waiter::One(Arc::clone(&slot), Some(Note::Monitored(pattern.to_owned())));
        let asked = self.locked(|state, now| {
            state.holdings.monitor(pattern, &queue);
            state.request(To::Daemon, "monitor", &ask::node_id(pattern), CONTROL_TIMEOUT, waiter, now)
        });
        self.answer(asked, slot, move |_| Ok(stream))
    }

    /// Ends the monitors of this handle with this pattern, as [`Handle::unsubscribe`] ends subscriptions.
    pub fn unmonitor(&self, pattern: &str) -> Answer<()> {
        self.end(|holdings| holdings.unmonitor(pattern))
    }

    /// The nodes that are there, page by page.
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// use telex::client::{Handle, List, default_address};
    ///
    /// let handle = Handle::connect(&default_address()?)?;
    /// let mut after = None;
    /// loop {
    ///     let page = handle.list(&List { after: after.as_deref(), ..List::default() }).wait()?;
    ///     page.nodes.iter().for_each(|node| println!("{}", node.node_id));
    ///     match page.nodes.last() {
    ///         Some(last) if page.more => after = Some(last.node_id.clone()),
    ///         _ => break,
    ///     }
    /// }
    /// # Ok::<(), telex::client::Error>(())
    /// ```
    pub fn list(&self, list: &List<'_>) -> Answer<NodeList> {
        self.ask(To::Daemon, "list", &list.body(), CONTROL_TIMEOUT, None, |reply| Ok(NodeList::read(&reply)))
    }

    /// What is known of a node. [`Error::NoSuchNode`] if nothing is.
    pub fn resolve(&self, node_id: &str) -> Answer<ResolvedNode> {
        let body = ask::node_id(node_id);
        self.ask(To::Daemon, "resolve", &body, CONTROL_TIMEOUT, None, |reply| Ok(ResolvedNode::read(&reply)))
    }

    /// A barrier: when it is answered, the daemon has handled all that was sent before.
    pub fn ping(&self) -> Answer<()> {
        self.ask(To::Daemon, "ping", "", CONTROL_TIMEOUT, None, |_| Ok(()))
    }

    /// What the daemon knows of this connection, and tells of itself.
    pub fn whoami(&self) -> Answer<Whoami> {
        self.ask(To::Daemon, "whoami", "", CONTROL_TIMEOUT, None, |reply| Ok(Whoami::read(&reply)))
    }

    /// Answers requests of the type `message_type` from now on, in place of an earlier handler. What it gives is
    /// the body of the reply: the members of an object, any other JSON as `result`, an empty text nothing; an
    /// error is a sentence for people. A handler that panics has its request answered by an error. Handlers run
    /// one after the other on the thread that reads: one that takes long holds up all that comes. To answer
    /// later or elsewhere, leave the type without a handler and take the [`inbox`](Handle::inbox).
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// use telex::client::{Handle, default_address};
    ///
    /// let handle = Handle::connect(&default_address()?)?;
    /// let mut c = 20;
    /// handle.on("set", move |request| match request.body_value()["c"].as_i64() {
    ///     Some(wanted @ 5..=25) => {
    ///         c = wanted;
    ///         Ok(format!(r#"{{"c":{c}}}"#))
    ///     }
    ///     _ => Err("\"c\" must be a number from 5 to 25"),
    /// });
    /// # Ok::<(), telex::client::Error>(())
    /// ```
    pub fn on<B: Into<String>, E: Display>(
        &self,
        message_type: &str,
        mut answer: impl FnMut(&Message) -> Result<B, E> + Send + 'static,
    ) {
        let answerer = Arc::new(Mutex::new(move |request: &Message| {
            answer(request).map(Into::into).map_err(|error| error.to_string())
        }));
        let before = self.shared().lock().answerers.insert(message_type.to_owned(), answerer);
        // It may hold a handle, whose end needs the lock.
        drop(before);
    }

    /// Takes the signals to this connection from now on, in place of an earlier handler: all but those that
    /// come by a subscription or a monitor. It runs as the handlers of [`Handle::on`] do.
    pub fn on_signal(&self, listener: impl FnMut(&Message) + Send + 'static) {
        let before = self.shared().lock().listener.replace(Arc::new(Mutex::new(listener)));
        drop(before);
    }

    /// What comes to this connection and no handler takes. While there is no inbox, such requests are answered by
    /// an error, and such signals dropped.
    pub fn inbox(&self) -> Stream<Arrival> {
        let queue = Queue::new(KEPT_BYTES_MAX, |count| Arrival::Missed(Some(count)));
        self.shared().lock().inboxes.push(Arc::downgrade(&queue));
        self.end_if_ended(&queue);
        Stream::new(self.shared(), queue, || {})
    }

    /// What becomes of the connection, from now on.
    pub fn changes(&self) -> Stream<Change> {
        let queue = Queue::new(1 << 20, Change::Missed);
        self.shared().lock().changes.push(Arc::downgrade(&queue));
        self.end_if_ended(&queue);
        Stream::new(self.shared(), queue, || {})
    }

    fn end_if_ended<T>(&self, queue: &Queue<T>) {
        if matches!(self.shared().lock().phase, Phase::Ended(_)) {
            queue.end();
        }
    }

    /// Replies to a request that came by a subscription or an inbox. `body` is as in [`Handle::on`]; it blocks as
    /// [`Handle::send`] does.
    pub fn reply(&self, request: &Message, body: &str) -> Result<(), Error> {
        send_reply(self.shared(), request, body).map(drop)
    }

    /// Replies to such a request that it failed; `error` is a sentence for people.
    pub fn reply_error(&self, request: &Message, error: &str) -> Result<(), Error> {
        self.reply(request, &error_body(error))
    }

    pub(super) fn ask<T>(
        &self,
        to: To<'_>,
        message_type: &str,
        body: &str,
        timeout: Duration,
        note: Option<Note>,
        read: impl FnOnce(Message) -> Result<T, Error> + Send + 'static,
    ) -> Answer<T> {
        let draft = self.shared().lines.draft(to, message_type, body, timeout);
        self.await_answer(to, draft, note, read)
    }

    /// Sends what is drafted, if it may be sent to `to`.
    fn await_answer<T>(
        &self,
        to: To<'_>,
        draft: Result<Draft, Unsendable>,
        note: Option<Note>,
        read: impl FnOnce(Message) -> Result<T, Error> + Send + 'static,
    ) -> Answer<T> {
        let slot = Slot::new();
        let waiter = Waiter::One(Arc::clone(&slot), note);
        let asked = self.locked(|state, now| {
            state.check(to)?;
            Ok(state.take(draft?, waiter, now))
        });
        self.answer(asked, slot, read)
    }

    /// Ends what is held, and asks the daemon to.
    fn end(&self, end: impl FnOnce(&mut Holdings) -> End) -> Answer<()> {
        let slot = Slot::new();
        let asked = self.locked(|state, now| {
            let end = end(&mut state.holdings);
            state.end(end, Arc::clone(&slot), CONTROL_TIMEOUT, now)
        });
        self.answer(asked, slot, |_| Ok(()))
    }

    /// Does something with the state, and has the writer see to it: also if it has to wait, since it may be the
    /// first whose time is over.
    fn locked<T>(&self, act: impl FnOnce(&mut State, Instant) -> T) -> T {
        let now = self.shared().now();
        let mut state = self.shared().lock();
        let done = act(&mut state, now);
        self.shared().wake_writer(&mut state);
        done
    }

    fn answer<T>(
        &self,
        asked: Result<u64, Error>,
        slot: Arc<Slot>,
        read: impl FnOnce(Message) -> Result<T, Error> + Send + 'static,
    ) -> Answer<T> {
        match asked {
            Ok(_) => Answer::new(self.shared(), slot, read),
            Err(error) => Answer::new(self.shared(), Slot::filled(Err(error)), read),
        }
    }
}

/// Ends what is held and wanted no more, and tells the daemon, if it is to be told.
fn undo(shared: &Weak<Shared>, end: impl FnOnce(&mut Holdings) -> Option<End>) {
    if let Some(shared) = shared.upgrade() {
        let now = shared.now();
        let mut state = shared.lock();
        if let Some(end) = end(&mut state.holdings) {
            // What the daemon cannot be told has ended all the same.
            let _ = state.end(end, Slot::new(), CONTROL_TIMEOUT, now);
            shared.wake_writer(&mut state);
        }
    }
}
