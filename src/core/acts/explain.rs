//! Knows what would become of a message, without anything coming of that (PROTOCOL.md section 7, `explain`).
//! Never: changes anything.

use crate::core::acts::share::Reach;
use crate::core::gate::{Explained, Gate, Judged, Ruling, Verdict};
use crate::core::parcel::{Parcel, meant, names_itself};
use crate::core::refusals::{
    all_miss, bad_address, doubled_field, doubled_id, dropped, no_node, no_request, no_room, no_subscribers,
    not_held, reserved_topic,
};
use crate::core::rows::Standing;
use crate::core::table::search::Subscriber;
use crate::core::{Core, SessionKey};
use crate::limits::PAGE_ENTRIES_MAX;
use crate::name::NodeAddress;
use crate::topic::is_reserved;
use crate::wire::code::Code;
use crate::wire::control::Ask;
use crate::wire::envelope::{Envelope, Field};
use crate::wire::json::Object;
use crate::wire::message::{Id, Kind, Message, Refusal, Target};
use crate::wire::refuse::write_refusal;
use crate::wire::rewrite::read_rewritten;

/// Where a message would go.
#[derive(Default)]
struct Way {
    receivers: Vec<SessionKey>,
    /// Of them one would get it.
    is_any: bool,
    /// They subscribe to its topic.
    is_to_topic: bool,
    /// So many would get it: of a group one.
    count: usize,
}

impl Core {
    /// Answers `explain`.
    pub(super) fn explain(
        &mut self,
        parcel: &Parcel<'_>,
        message: &str,
        speaker: Option<u64>,
        gate: &mut dyn Gate,
    ) -> Result<(), Refusal> {
        let speaker = self.speaker_to_explain(parcel.sender, speaker)?;
        let mut rulings = Vec::new();
        let way = self.explain_line(speaker, message.as_bytes(), gate, &mut rulings);
        let (way, refusal) = match way {
            Ok(way) => (way, None),
            Err(refusal) => (Way::default(), Some(refusal)),
        };
        self.desk.works(4 * way.receivers.len());
        let mut page = self.page(PAGE_ENTRIES_MAX);
        for &receiver in &way.receivers {
            if !page.add(|entry| self.write_receiver(entry, receiver, way.is_to_topic)) {
                break;
            }
        }
        let mut body = Vec::new();
        let mut report = Object::begin(&mut body);
        match &refusal {
            Some(refusal) => report.object("refusal", |told| write_refusal(told, refusal)),
            None => report.null("refusal"),
        };
        report.array("verdicts", &rulings, write_ruling);
        page.write_to(&mut report, "receivers");
        report.boolean("any_of", way.is_any).boolean("more", page.more);
        self.say_report(parcel.sender, parcel.asked(), &body);
        Ok(())
    }

    /// The connection that the message would be of: the asker's, or one of its own user's; any for an administrator.
    fn speaker_to_explain(&self, asker: SessionKey, number: Option<u64>) -> Result<SessionKey, Refusal> {
        let Some(number) = number else { return Ok(asker) };
        let shown = self.user_to_show(asker);
        let found = self.sessions.here(number).filter(|&key| {
            let user = self.sessions.get(key).map(|session| session.caller.user());
            key == asker || shown.as_ref().is_none_or(|own| user.is_some_and(|user| user.is_same(own)))
        });
        found.ok_or_else(|| {
            let error =
                format!("\"body.as\" is \":{number}\": no such connection is here that you may ask about");
            Refusal::new(Code::NoSuchNode, error)
        })
    }

    fn explain_line(
        &mut self,
        speaker: SessionKey,
        line: &[u8],
        gate: &mut dyn Gate,
        rulings: &mut Vec<Ruling>,
    ) -> Result<Way, Refusal> {
        let envelope =
            Envelope::scan(line).map_err(|_| Refusal::new(Code::BadJson, "it is no JSON object"))?;
        if let Some(field) = envelope.doubled() {
            return Err(doubled_field(field));
        }
        let message = Message::read(&envelope)?;
        if message.kind == Kind::Request
            && let Some(id) = &message.id
            && self.is_open(speaker, id)
        {
            return Err(doubled_id(id));
        }
        let own = self.address_of(speaker);
        let from = message.from.as_deref().unwrap_or(&own);
        if !self.holds(speaker, from) && !names_itself(&message) {
            return Err(not_held(from, &own));
        }
        let Some(session) = self.sessions.get(speaker) else { return Ok(Way::default()) };
        let Explained { rulings: said, verdict } =
            gate.explain(&Judged::new(session, &self.registry, from, &message));
        rulings.extend(said);
        match verdict {
            Verdict::Pass => self.explain_way(speaker, &message),
            Verdict::Drop if message.kind == Kind::Request && message.target == Target::Daemon => {
                Err(dropped())
            }
            Verdict::Drop => Ok(Way::default()),
            Verdict::Reject { filter, reason } => {
                Err(Refusal { filter: Some(filter), ..Refusal::new(Code::Denied, reason) })
            }
            Verdict::Replace(line) => {
                let failed = || Refusal::new(Code::Internal, "a filter would fail at it");
                let envelope = Envelope::scan(&line).map_err(|_| failed())?;
                let message = read_rewritten(&message, &envelope).map_err(|_| failed())?;
                self.explain_way(speaker, &message)
            }
        }
    }

    fn explain_way(&mut self, speaker: SessionKey, message: &Message<'_>) -> Result<Way, Refusal> {
        let is_request = message.kind == Kind::Request;
        let way = match (&message.kind, &message.target) {
            (Kind::Reply(answered), target) => return self.explain_reply(speaker, answered, target),
            (_, Target::Daemon) => return self.explain_control(speaker, message),
            (_, Target::Address(to)) => self.explain_address(speaker, to, message)?,
            (_, Target::Topic(topic)) => self.explain_topic(topic, message)?,
        };
        if is_request {
            self.check_request_count(speaker, way.count)?;
        }
        // Subscribers miss a signal then.
        match self.is_overloaded() && (is_request || !way.is_to_topic) {
            true => Err(self.out_of_memory()),
            false => Ok(way),
        }
    }

    fn explain_control(&self, speaker: SessionKey, message: &Message<'_>) -> Result<Way, Refusal> {
        if message.kind == Kind::Request {
            let ask = Ask::read(&message.message_type, message.envelope.raw(Field::Body))?;
            self.check_rights(speaker, &ask, &message.message_type)?;
        }
        Ok(Way::default())
    }

    fn explain_address(&self, speaker: SessionKey, to: &str, message: &Message<'_>) -> Result<Way, Refusal> {
        let mut way = Way::default();
        match NodeAddress::parse(to).map_err(|why| bad_address(to, why))? {
            NodeAddress::Unique(number) => way.receivers.extend(self.sessions.here(number)),
            NodeAddress::Node(name) => {
                if let Some(node) = self.registry.find(name) {
                    let has_room = |core: &Core, receiver| core.would_have_room(receiver);
                    let key = message.key.as_deref();
                    let (_, reach) = self.would_pick(node, key, has_room, &mut way.receivers);
                    way.is_any = reach == Reach::AnyOf;
                }
            }
        }
        if way.receivers.is_empty() {
            return Err(no_node(to, &meant(message, to)));
        }
        let never_waits = self.sessions.get(speaker).is_some_and(|session| session.holdings.never_waits);
        let has_room = |&receiver: &SessionKey| self.would_have_room(receiver);
        let goes = match way.is_any {
            true => way.receivers.iter().any(has_room),
            false => way.receivers.iter().all(has_room),
        };
        way.count = if way.is_any { 1 } else { way.receivers.len() };
        match never_waits && !goes {
            true => Err(no_room()),
            false => Ok(way),
        }
    }

    fn would_have_room(&self, receiver: SessionKey) -> bool {
        let most = self.desk.limits.max_queue_bytes;
        let session = self.sessions.get(receiver);
        session.is_some_and(|session| session.has_room(receiver, most, Standing::default()))
    }

    /// All that subscribe: of a group that would share it each member is one.
    fn explain_topic(&mut self, topic: &str, message: &Message<'_>) -> Result<Way, Refusal> {
        if is_reserved(topic) {
            return Err(reserved_topic(topic));
        }
        let mut search = self.topics.new_search();
        let (effort, is_over) = self.topics.search(&mut search, topic, self.desk.tuning.publish_step);
        self.desk.works(effort);
        let found = if is_over { self.topics.found(&search) } else { &[] };
        if found.is_empty() && is_over && message.kind == Kind::Request {
            return Err(no_subscribers(topic, &meant(message, topic)));
        }
        let mut receivers: Vec<_> = found.iter().map(|subscriber: &Subscriber| subscriber.session).collect();
        receivers.dedup();
        let has_room = |&receiver: &SessionKey| self.has_topic_room(receiver);
        if message.kind == Kind::Request && is_over && !receivers.iter().any(has_room) {
            return Err(all_miss(topic));
        }
        Ok(Way { receivers, is_to_topic: true, count: self.topics.count(&search), ..Way::default() })
    }

    fn explain_reply(
        &mut self,
        speaker: SessionKey,
        id: &Id<'_>,
        target: &Target<'_>,
    ) -> Result<Way, Refusal> {
        let asker = self.find_owed(speaker, id, target).and_then(|leg| self.requests.asker_of(leg));
        let asker = asker.ok_or_else(|| no_request(id))?;
        Ok(Way { receivers: vec![asker], ..Way::default() })
    }

    fn write_receiver(&self, entry: &mut Object<'_>, receiver: SessionKey, is_to_topic: bool) {
        if let Some(session) = self.sessions.get(receiver) {
            entry.string("unique_id", &session.caller.unique_id);
            self.write_node_ids(entry, receiver);
            let has_room = match is_to_topic {
                true => self.has_topic_room(receiver),
                false => self.would_have_room(receiver),
            };
            entry.boolean("has_room", has_room);
        }
    }
}

fn write_ruling(out: &mut Vec<u8>, ruling: &Ruling) {
    let mut entry = Object::begin(out);
    entry.string("filter", &ruling.filter);
    match ruling.verdict {
        Some(verdict) => entry.string("verdict", verdict),
        None => entry.null("verdict"),
    };
    match &ruling.reason {
        Some(reason) => entry.string("reason", reason),
        None => entry.null("reason"),
    };
    entry.end();
}
