use super::*;
use crate::core::peer::User;

fn sessions() -> [SessionKey; 3] {
    let mut sessions: SlotMap<SessionKey, ()> = SlotMap::with_key();
    std::array::from_fn(|_| sessions.insert(()))
}

fn claim(name: &str, session: SessionKey, uid: u32) -> Claim<'_> {
    let instance = Instance { session, number: 0, user: User::Uid(uid), since: Duration::ZERO };
    Claim {
        name,
        instance,
        delivery: None,
        exclusive: None,
        replace: false,
        shared_by_any: false,
        endpoints: None,
        meta: None,
    }
}

#[test]
fn one_user_per_node_unless_any_may_share() {
    let [a, b, c] = sessions();
    let mut registry = Registry::default();
    assert!(registry.register(claim("n", a, 1), 9).is_ok_and(|done| done.joined));
    assert!(registry.register(claim("n", a, 1), 9).is_ok_and(|done| !done.joined));
    assert!(registry.register(claim("n", b, 1), 9).is_ok());
    assert_eq!(registry.register(claim("n", c, 2), 9).err(), Some(Taken::ByOthers));
    assert!(registry.register(Claim { shared_by_any: true, ..claim("n", c, 2) }, 9).is_ok());
    let replace = Claim { replace: true, shared_by_any: true, ..claim("n", a, 1) };
    assert_eq!(registry.register(replace, 9).err(), Some(Taken::ByOthers));
}

#[test]
fn a_departed_connection_keeps_the_name_from_other_users() {
    let [a, b, c] = sessions();
    let mut registry = Registry::default();
    let now = Duration::ZERO;
    let with_endpoints = Claim { endpoints: Some(vec!["unix:/x".into()]), ..claim("n", a, 1) };
    let node = registry.register(with_endpoints, 9).expect("new").node;
    registry.depart(node, a, now);
    registry.check();
    assert_eq!(registry.register(claim("n", c, 2), 9).err(), Some(Taken::ByDeparted));
    assert!(registry.register(Claim { shared_by_any: true, ..claim("n", c, 2) }, 9).is_ok());
    assert!(registry.unregister(node, c, Status::Lost, now));
    // What is remembered of it may be forgotten meanwhile; the key of the node stays.
    registry.forget_gone(usize::MAX);
    registry.check();
    assert_eq!(registry.find("n"), Some(node));
    assert!(registry.get(node).is_some_and(|node| !node.is_known() && node.endpoints.is_empty()));
    let alone = Claim { exclusive: Some(true), ..claim("n", b, 1) };
    assert!(registry.register(alone, 9).is_ok(), "its own user's");
    let late =
        registry.register_departed(Claim { replace: true, ..claim("n", a, 1) }).expect("the same user's");
    assert!(!late.joined && late.ousted.is_empty());
    assert_eq!(registry.register_departed(claim("n", c, 2)).err(), Some(Taken::ByDeparted));
    assert!(registry.release(node, a) && !registry.release(node, a));
    assert_eq!(registry.register_departed(claim("n", c, 2)).err(), Some(Taken::ByOthers));
    registry.unregister(node, b, Status::Lost, now);
    registry.check();
    assert_eq!((registry.find("n"), registry.kept_bytes()), (None, 0));
    let late = registry.register_departed(claim("late", a, 1)).expect("new").node;
    registry.check();
    assert!(registry.release(late, a) && registry.find("late").is_none());
}

#[test]
fn delivery_and_exclusive() {
    let [a, b, _] = sessions();
    let mut registry = Registry::default();
    let one = |session| Claim { delivery: Some(Delivery::One), ..claim("n", session, 1) };
    let all = |session| Claim { delivery: Some(Delivery::All), ..claim("n", session, 1) };
    let alone = |session| Claim { exclusive: Some(true), ..claim("n", session, 1) };
    let node = registry.register(claim("n", a, 1), 9).expect("new").node;
    assert!(registry.register(one(a), 9).is_ok(), "an only instance may change it");
    assert_eq!(registry.register(all(b), 9).err(), Some(Taken::Delivery(Delivery::One)));
    assert!(registry.register(claim("n", b, 1), 9).is_ok(), "who names none takes the node's");
    assert_eq!(registry.register(all(a), 9).err(), Some(Taken::Delivery(Delivery::One)));
    assert_eq!(registry.register(alone(a), 9).err(), Some(Taken::Shared));
    registry.unregister(node, b, Status::Down, Duration::ZERO);
    assert!(registry.register(alone(a), 9).is_ok());
    assert_eq!(registry.register(one(b), 9).err(), Some(Taken::Exclusively));
    let taken = registry.register(Claim { replace: true, ..claim("n", b, 1) }, 9).expect("taken over");
    assert_eq!(taken.ousted.iter().map(|instance| instance.session).collect::<Vec<_>>(), [a]);
    assert!(registry.register(claim("n", a, 1), 9).is_ok(), "the new one did not ask to be alone");
    registry.unregister(node, a, Status::Down, Duration::ZERO);
    registry.unregister(node, b, Status::Down, Duration::ZERO);
    assert_eq!((registry.find("n"), registry.kept_bytes()), (None, 0));
    let node = registry.register(claim("n", a, 1), 9).expect("new").node;
    assert_eq!(registry.get(node).map(|node| node.delivery), Some(Delivery::All));
}

#[test]
fn the_youngest_with_endpoints_are_remembered() {
    let [a, ..] = sessions();
    let mut registry = Registry::default();
    for name in ["x", "y", "z", "plain"] {
        let endpoints = (name != "plain").then(|| vec!["unix:/x".into()]);
        let node = registry.register(Claim { endpoints, ..claim(name, a, 1) }, 2).expect("new").node;
        assert!(registry.unregister(node, a, Status::Lost, Duration::from_secs(5)));
        assert!(!registry.unregister(node, a, Status::Lost, Duration::ZERO));
    }
    let names: Vec<_> = registry.nodes_after(None, "").map(|(_, node)| &*node.name).collect();
    assert_eq!(names, ["y", "z"]);
    assert_eq!(registry.here(), 0);
    let y = registry.find("y").and_then(|key| registry.get(key)).expect("remembered");
    assert_eq!((y.status, y.last_seen), (Status::Lost, Duration::from_secs(5)));
}

#[test]
fn in_order() {
    let [a, ..] = sessions();
    let mut registry = Registry::default();
    for name in ["b.2", "a", "b.1", "c"] {
        registry.register(claim(name, a, 1), 9).expect("new");
    }
    let names =
        |after, prefix| registry.nodes_after(after, prefix).map(|(_, node)| &*node.name).collect::<Vec<_>>();
    assert_eq!(names(None, ""), ["a", "b.1", "b.2", "c"]);
    assert_eq!(names(Some("b.1"), ""), ["b.2", "c"]);
    assert_eq!(names(Some("a"), "b."), ["b.1", "b.2"]);
    assert_eq!(names(Some("b.1"), "b."), ["b.2"]);
    assert_eq!(names(Some("c"), "b."), [""; 0]);
}
