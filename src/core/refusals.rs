//! Knows the refusals of a message that are told by more than one act: when it comes, when it has waited, and when it
//! is only asked what would become of it.
//! Never: whether a message is refused.

use crate::name::BadName;
use crate::wire::code::Code;
use crate::wire::envelope::Field;
use crate::wire::message::{Id, Refusal, excerpt};

/// An envelope has `field` twice.
pub(crate) fn doubled_field(field: Field) -> Refusal {
    let error = format!("\"{}\" is given twice; readers would differ in which one counts", field.name());
    Refusal::new(Code::DuplicateField, error)
}

/// `from` is no address of the connection's; `own` is one.
pub(crate) fn not_held(from: &str, own: &str) -> Refusal {
    let error = format!(
        "\"from\" is \"{}\", which this connection does not hold; it may be \"{own}\", or left out",
        excerpt(from)
    );
    Refusal::new(Code::NotYours, error)
}

/// A request has the id of an open one.
pub(crate) fn doubled_id(id: &Id<'_>) -> Refusal {
    let error = format!(
        "\"message_id\" is \"{}\", which is the id of a request that is still open",
        excerpt(&id.text)
    );
    Refusal::new(Code::DuplicateId, error)
}

/// `to` is no address.
pub(crate) fn bad_address(to: &str, why: BadName) -> Refusal {
    let error = format!("\"to\" is \"{}\", which {why}; expected NODE, NODE#PORT or :N", excerpt(to));
    Refusal::new(Code::BadField, error)
}

/// `to` has no instances; `meant` says how the daemon's own request of that type is spelled, if it is one.
pub(crate) fn no_node(to: &str, meant: &str) -> Refusal {
    Refusal::new(Code::NoSuchNode, format!("no node \"{}\"{meant}", excerpt(to)))
}

/// A request's topic has no subscribers; `meant` as above.
pub(crate) fn no_subscribers(topic: &str, meant: &str) -> Refusal {
    Refusal::new(Code::NoSubscribers, format!("no subscribers to \"{}\"{meant}", excerpt(topic)))
}

/// The topic is one of the daemon's.
pub(crate) fn reserved_topic(topic: &str) -> Refusal {
    let error = format!("\"topic\" is \"{}\": what begins with \"telex.\" is the daemon's", excerpt(topic));
    Refusal::new(Code::Denied, error)
}

/// All subscribers of a request's topic miss it.
pub(crate) fn all_miss(topic: &str) -> Refusal {
    let error = format!("every subscriber of \"{}\" reads too slowly to get it", excerpt(topic));
    Refusal::new(Code::Overloaded, error)
}

/// A filter drops a request to the daemon.
pub(crate) fn dropped() -> Refusal {
    Refusal::new(Code::Denied, "a filter dropped the request")
}

/// A receiver has no room, and the sender never waits.
pub(crate) fn no_room() -> Refusal {
    let error = "the queue of a receiver is full, and this connection registered with \"overflow\":\"fail\"";
    Refusal::new(Code::Overloaded, error)
}

/// A reply answers nothing that is open.
pub(crate) fn no_request(id: &Id<'_>) -> Refusal {
    let error = format!(
        "\"body.in_reply_to\" is \"{}\": no such request is open here from \"to\" (it may be answered already, over, or another's to answer)",
        excerpt(&id.text)
    );
    Refusal::new(Code::NoSuchRequest, error)
}
