//! Knows what would become of a message, without anything coming of that (PROTOCOL.md section 7, `explain`).
//! Never: changes anything.

use crate::core::acts::share::{Reach, bad_address};
use crate::core::gate::{Explained, Gate, Judged, Ruling, Verdict};
use crate::core::parcel::{Parcel, names_itself};
use crate::core::rows::Standing;
use crate::core::table::topics::Subscriber;
use crate::core::{Core, SessionKey};
use crate::limits::PAGE_ENTRIES_MAX;
use crate::name::NodeAddress;
use crate::topic::is_reserved;
use crate::wire::code::Code;
use crate::wire::complaint::form_meant;
use crate::wire::control::Ask;
use crate::wire::envelope::{Envelope, Field};
use crate::wire::json::Object;
use crate::wire::message::{Id, Kind, Message, Refusal, Target, excerpt};
use crate::wire::refuse::write_refusal;
use crate::wire::rewrite::read_rewritten;

/// Where a message would go.
#[derive(Default)]
struct Way {
    receivers: Vec<SessionKey>,
    /// Of them one would get it.
    is_any: bool,
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
            if !page.add(|entry| self.write_receiver(entry, receiver)) {
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
            let error = format!("\"{}\" is given twice", field.name());
            return Err(Refusal::new(Code::DuplicateField, error));
        }
        let message = Message::read(&envelope)?;
        let own = self.address_of(speaker);
        let from = message.from.as_deref().unwrap_or(&own);
        if !self.holds(speaker, from) && !names_itself(&message) {
            let error = format!("\"from\" is \"{}\", which the connection does not hold", excerpt(from));
            return Err(Refusal::new(Code::NotYours, error));
        }
        let Some(session) = self.sessions.get(speaker) else { return Ok(Way::default()) };
        let Explained { rulings: said, verdict } =
            gate.explain(&Judged::new(session, &self.registry, from, &message));
        rulings.extend(said);
        match verdict {
            Verdict::Pass => self.explain_way(speaker, &message),
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
        if is_request
            && let Some(id) = &message.id
            && self.is_open(speaker, id)
        {
            let error =
                format!("\"message_id\" is \"{}\", which is the id of an open request", excerpt(&id.text));
            return Err(Refusal::new(Code::DuplicateId, error));
        }
        let way = match (&message.kind, &message.target) {
            (Kind::Reply(answered), target) => return self.explain_reply(speaker, answered, target),
            (_, Target::Daemon) => return self.explain_control(speaker, message),
            (_, Target::Address(to)) => self.explain_address(speaker, to, message)?,
            (_, Target::Topic(topic)) => self.explain_topic(topic, message)?,
        };
        if is_request {
            let count = if way.is_any { 1 } else { way.receivers.len() };
            self.check_request_count(speaker, count)?;
        }
        match self.is_overloaded() {
            true => Err(self.out_of_memory()),
            false => Ok(way),
        }
    }

    fn explain_control(&self, speaker: SessionKey, message: &Message<'_>) -> Result<Way, Refusal> {
        if message.kind == Kind::Request {
            let ask = Ask::read(&message.message_type, message.envelope.raw(Field::Body))?;
            if ask.is_for_administrators() {
                self.check_administrator(speaker, &message.message_type)?;
            }
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
            let meant = form_meant(&message.message_type, Some(to)).filter(|_| message.kind == Kind::Request);
            let error = format!("no node \"{}\"{}", excerpt(to), meant.unwrap_or_default());
            return Err(Refusal::new(Code::NoSuchNode, error));
        }
        let never_waits = self.sessions.get(speaker).is_some_and(|session| session.holdings.never_waits);
        let has_room = |&receiver: &SessionKey| self.would_have_room(receiver);
        let goes = match way.is_any {
            true => way.receivers.iter().any(has_room),
            false => way.receivers.iter().all(has_room),
        };
        match never_waits && !goes {
            true => Err(Refusal::new(Code::Overloaded, "the queue of a receiver is full")),
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
            let error =
                format!("\"topic\" is \"{}\": what begins with \"telex.\" is the daemon's", excerpt(topic));
            return Err(Refusal::new(Code::Denied, error));
        }
        let mut search = self.topics.new_search();
        let (effort, is_over) = self.topics.search(&mut search, topic, self.desk.tuning.publish_step);
        self.desk.works(effort);
        let found = if is_over { self.topics.found(&search) } else { &[] };
        if found.is_empty() && is_over && message.kind == Kind::Request {
            let error = format!("nobody subscribes to \"{}\"", excerpt(topic));
            return Err(Refusal::new(Code::NoSubscribers, error));
        }
        let mut receivers: Vec<_> = found.iter().map(|subscriber: &Subscriber| subscriber.session).collect();
        receivers.dedup();
        Ok(Way { receivers, is_any: false })
    }

    fn explain_reply(
        &mut self,
        speaker: SessionKey,
        id: &Id<'_>,
        target: &Target<'_>,
    ) -> Result<Way, Refusal> {
        let asker = self.find_owed(speaker, id, target).and_then(|leg| self.requests.asker_of(leg));
        match asker {
            Some(asker) => Ok(Way { receivers: vec![asker], is_any: false }),
            None => {
                let error = format!(
                    "\"body.in_reply_to\" is \"{}\": no such request is open here",
                    excerpt(&id.text)
                );
                Err(Refusal::new(Code::NoSuchRequest, error))
            }
        }
    }

    fn write_receiver(&self, entry: &mut Object<'_>, receiver: SessionKey) {
        if let Some(session) = self.sessions.get(receiver) {
            entry.string("unique_id", &session.caller.unique_id);
            self.write_node_ids(entry, receiver);
            entry.boolean("has_room", self.would_have_room(receiver));
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
