use super::*;

fn sessions() -> [SessionKey; 4] {
    let mut sessions: SlotMap<SessionKey, ()> = SlotMap::with_key();
    std::array::from_fn(|_| sessions.insert(()))
}

fn pick(topics: &mut Topics, topic: &str) -> Vec<SessionKey> {
    pick_of(topics, topic, |_| true)
}

fn find(topics: &Topics, topic: &str) -> Search {
    let mut search = Search::default();
    topics.begin(&mut search);
    // A branch at a time, as little as one step may do.
    while !topics.search(&mut search, topic, 1).1 {}
    search
}

fn pick_of(topics: &mut Topics, topic: &str, has_room: impl Fn(SessionKey) -> bool) -> Vec<SessionKey> {
    let (search, mut receivers) = (find(topics, topic), Vec::new());
    topics.pick(&search, has_room, &mut receivers);
    topics.check();
    receivers
}

#[test]
fn wildcards() {
    let [a, ..] = sessions();
    for (pattern, topic, matches) in [
        ("a.b", "a.b", true),
        ("a.b", "a", false),
        ("a.b", "a.b.c", false),
        ("*", "a", true),
        ("*", "a.b", false),
        ("a.*.c", "a.b.c", true),
        ("a.*.c", "a.b.d", false),
        (">", "a", true),
        (">", "a.b", true),
        ("a.>", "a", false),
        ("a.>", "a.b", true),
        ("a.>", "a.b.c", true),
        ("*.>", "a.b", true),
        ("*.>", "a", false),
        ("a>", "a>", true),
        ("a>", "a.b", false),
    ] {
        let mut topics = Topics::default();
        assert!(topics.subscribe((a, 1), pattern, None));
        assert!(!topics.subscribe((a, 1), pattern, None), "once is enough");
        assert_eq!(!pick(&mut topics, topic).is_empty(), matches, "{pattern} {topic}");
        assert_eq!(topics.subscribed_to(a, topic).eq([None]), matches, "{pattern} {topic}");
        assert!(topics.unsubscribe((a, 1), pattern, None));
        assert!(!topics.unsubscribe((a, 1), pattern, None));
        assert_eq!(topics.kept_bytes(), 0, "{pattern}: nothing is left");
    }
}

#[test]
fn one_message_for_overlapping_subscriptions() {
    let [a, b, ..] = sessions();
    let mut topics = Topics::default();
    for pattern in ["a.b", "a.*", ">"] {
        topics.subscribe((b, 2), pattern, None);
    }
    topics.subscribe((a, 1), "a.>", None);
    assert_eq!(pick(&mut topics, "a.b"), [a, b]);
    topics.session_left(b, 2);
    assert_eq!(topics.len(), 1);
    assert_eq!(pick(&mut topics, "a.b"), [a]);
    topics.session_left(a, 1);
    assert_eq!((topics.len(), topics.branches.len()), (0, 1));
}

#[test]
fn groups_take_turns() {
    let [a, b, c, d] = sessions();
    let mut topics = Topics::default();
    topics.subscribe((a, 1), "t", Some("g"));
    topics.subscribe((b, 2), ">", Some("g"));
    topics.subscribe((c, 3), "*", Some("g"));
    assert_eq!((0..4).map(|_| pick(&mut topics, "t")[0]).collect::<Vec<_>>(), [a, b, c, a]);
    assert_eq!(pick_of(&mut topics, "t", |session| session != b), [c], "without room is passed over");
    assert_eq!(pick_of(&mut topics, "t", |_| false), [a], "while another has some");
    topics.subscribe((d, 4), "t", None);
    assert_eq!(pick(&mut topics, "t"), [b, d]);
    topics.subscribe((c, 3), "t", None);
    assert_eq!(pick(&mut topics, "t"), [c, d], "who subscribes plainly too counts for its group");
    assert_eq!(topics.found(&find(&topics, "t")).len(), 5);
    for (session, number) in [(a, 1), (b, 2), (c, 3), (d, 4)] {
        topics.session_left(session, number);
    }
    assert!(topics.groups.is_empty());
}

#[test]
fn one_member_may_stand_for_two_groups() {
    let [a, b, ..] = sessions();
    let mut topics = Topics::default();
    topics.subscribe((a, 1), "t", Some("g"));
    topics.subscribe((a, 1), "t", Some("h"));
    topics.subscribe((b, 2), "t", Some("h"));
    assert_eq!(pick(&mut topics, "t"), [a]);
}
