//! Knows which instances of a node a message goes to: to all, or to one of them (PROTOCOL.md section 4).
//! Never: how it gets there.

use crate::core::table::node::Instance;
use crate::core::table::registry::NodeKey;
use crate::core::{Core, SessionKey};
use crate::wire::control::Delivery;

/// What the receivers that were found for a message are to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Each gets it.
    Each,
    /// One of them gets it, but none has room.
    AnyOf,
}

impl Core {
    /// Finds the instances of a node that a message with this `key` goes to.
    pub(super) fn pick_instances(
        &mut self,
        node: NodeKey,
        key: Option<&str>,
        has_room: impl Fn(&Core, SessionKey) -> bool,
        receivers: &mut Vec<SessionKey>,
    ) -> Reach {
        let (picked, reach) = self.would_pick(node, key, has_room, receivers);
        self.desk.effort.call += receivers.len().saturating_sub(1);
        if let Some(at) = picked
            && let Some(known) = self.registry.get_mut(node)
        {
            known.turn = at + 1;
        }
        reach
    }

    /// The same, and nothing changes. Says which place among the instances was picked, if one was.
    pub(super) fn would_pick(
        &self,
        node: NodeKey,
        key: Option<&str>,
        has_room: impl Fn(&Core, SessionKey) -> bool,
        receivers: &mut Vec<SessionKey>,
    ) -> (Option<usize>, Reach) {
        let Some(known) = self.registry.get(node) else { return (None, Reach::Each) };
        let instances = &known.instances;
        let (picked, reach) = match (known.delivery, key) {
            (Delivery::All, _) => (None, Reach::Each),
            (Delivery::One, Some(key)) => (pick_by_key(instances, key), Reach::Each),
            (Delivery::One, None) => (self.pick_idle(instances, known.turn, has_room), Reach::AnyOf),
        };
        let Some(at) = picked else {
            receivers.extend(instances.iter().map(|instance| instance.session));
            return (None, reach);
        };
        receivers.push(instances[at].session);
        (Some(at), Reach::Each)
    }

    /// Of the instances with room the one with the fewest open requests; of equal ones the first
    /// from `next` on.
    fn pick_idle(
        &self,
        instances: &[Instance],
        next: usize,
        has_room: impl Fn(&Core, SessionKey) -> bool,
    ) -> Option<usize> {
        let count = instances.len();
        let rank = |turn: usize| {
            let at = (next + turn) % count;
            let session = instances[at].session;
            has_room(self, session).then(|| (self.requests.owed_by(session), turn, at))
        };
        (0..count).filter_map(rank).min().map(|(.., at)| at)
    }
}

/// Rendezvous hashing: of all instances the one that ranks highest for this key, so that one that
/// leaves moves its own keys only.
fn pick_by_key(instances: &[Instance], key: &str) -> Option<usize> {
    // FNV-1a, then SplitMix64's finisher: fixed, so that the choice outlives a restart.
    let fnv = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let rank = |number: u64| {
        let mut mixed = fnv ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    (0..instances.len()).max_by_key(|&at| (rank(instances[at].number), instances[at].number))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::peer::User;

    #[test]
    fn a_key_moves_only_with_its_instance() {
        let instance = |number| Instance {
            session: SessionKey::default(),
            number,
            user: User::Anonymous,
            since: Duration::ZERO,
        };
        let all: Vec<_> = (1..=5).map(instance).collect();
        let mut moved = 0;
        let mut shares = [0; 5];
        for key in (0..1000).map(|n| format!("key-{n}")) {
            let picked = all[pick_by_key(&all, &key).expect("one")].number;
            shares[picked as usize - 1] += 1;
            let without_3: Vec<_> = all.iter().filter(|instance| instance.number != 3).cloned().collect();
            let then = without_3[pick_by_key(&without_3, &key).expect("one")].number;
            moved += usize::from(then != picked);
            assert!(then == picked || picked == 3, "{key}");
        }
        assert_eq!(moved, shares[2]);
        assert!(shares.iter().all(|share| (130..280).contains(share)), "{shares:?}");
    }
}
