//! Knows what holds of the core's state between two calls: that each sum is the sum, and that what two nouns know
//! of each other is the same.
//! Never: changes anything, or mends it.

use std::collections::HashSet;

use crate::core::Core;
use crate::core::phase::{Pause, Phase};
use crate::core::table::registry::NodeKey;
use crate::core::table::timers::Timer;

/// Panics if anything does not hold.
pub(crate) fn check(core: &Core) {
    core.sessions.check();
    core.registry.check();
    core.topics.check();
    core.requests.check();
    core.rows.check(&core.sessions);
    core.desk.after.check();
    core.post.check(&core.sessions, core.desk.after.outboxes());
    check_sessions(core);
    check_names(core);
    check_timers(core);
}

fn check_sessions(core: &Core) {
    for (key, session) in core.sessions.iter() {
        let (number, inbound, pauses) = (session.caller.number, &session.inbound, session.inbound.pauses);
        assert_eq!(inbound.walk.is_some(), pauses.contains(Pause::Walk), ":{number}");
        assert_ne!(session.phase, Phase::Gone, ":{number}");
        if session.phase.acts() {
            assert!(!(session.outbound.broken && pauses.contains(Pause::Answers)), ":{number}");
        } else {
            assert!(session.holdings.names.is_empty() && session.holdings.subscriptions == 0, ":{number}");
            assert!(inbound.held.is_none() && session.row.is_none(), ":{number}");
        }
        if session.departed {
            assert!(session.outbound.broken && session.holdings.subscriptions == 0, ":{number}");
            assert!(session.row.is_none() && !session.is_here(), ":{number}");
        } else if session.is_here() {
            assert!(inbound.held.is_none() || !session.outbound.broken, ":{number} has not departed");
        }
        if session.phase == Phase::Owed {
            assert_eq!(core.requests.owed_by(key), 0, ":{number} has left and owes answers");
        }
    }
}

fn check_names(core: &Core) {
    let mut held: HashSet<(NodeKey, u64)> = HashSet::new();
    for (_, session) in core.sessions.iter() {
        let names = &session.holdings.names;
        held.extend(names.iter().map(|&node| (node, session.caller.number)));
        let first = names.first().and_then(|&node| core.registry.get(node)).map(|node| &node.name);
        assert_eq!(session.caller.address, *first.unwrap_or(&session.caller.unique_id));
    }
    let mut instances = 0;
    for (key, node) in core.registry.iter() {
        let departed = node.departed().iter().map(|instance| (instance, true));
        for (instance, departed) in node.instances.iter().map(|instance| (instance, false)).chain(departed) {
            assert_eq!(core.sessions.number_of(instance.session), Some(instance.number), "{}", node.name);
            assert!(held.contains(&(key, instance.number)), ":{} holds no {}", instance.number, node.name);
            assert_eq!(core.sessions.has_departed(instance.session), departed, ":{}", instance.number);
            instances += 1;
        }
    }
    assert_eq!(instances, held.len(), "names that are held, and instances");
}

fn check_timers(core: &Core) {
    let set: HashSet<Timer> = core.desk.timers.iter().map(|(_, timer)| timer).collect();
    for key in core.requests.keys() {
        let has_end = core.requests.deadline(key).is_some();
        assert!(!has_end || set.contains(&Timer::Request(key)), "an open request has no timer");
    }
    for (key, session) in core.sessions.iter() {
        if let Some(held) = session.inbound.held.as_deref().filter(|held| held.deadline.is_some()) {
            assert!(set.contains(&Timer::Held(key, held.ticket)), "a request that waits has no timer");
        }
        if session.is_watched() && !session.is_being_measured() {
            assert!(set.contains(&Timer::Progress(key)), "a session that is watched has no timer");
        }
    }
    for key in core.kept_back.keys() {
        assert!(core.sessions.get(key).is_some(), "one that is kept back is gone");
        assert!(set.contains(&Timer::KeptBack(key)), "one that is kept back has no timer");
    }
    assert!(!core.budget.under_pressure || set.contains(&Timer::Pressure));
}
