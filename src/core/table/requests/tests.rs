use super::*;

fn sessions() -> [SessionKey; 4] {
    let mut sessions: SlotMap<SessionKey, ()> = SlotMap::with_key();
    std::array::from_fn(|_| sessions.insert(()))
}

fn id(text: &str) -> Id<'static> {
    Id { integer: false, text: text.to_owned().into() }
}

impl Requests {
    fn answer_to(&mut self, receiver: SessionKey, to: &str, id: &Id<'_>) -> Option<Answered> {
        self.find_leg(receiver, to, id).and_then(|leg| self.answer(leg))
    }

    fn answer_asker(&mut self, receiver: SessionKey, asker: SessionKey, id: &Id<'_>) -> Option<Answered> {
        self.find_leg_to(receiver, asker, id).and_then(|leg| self.answer(leg))
    }
}

fn asked(asker: SessionKey, from: &str, text: &str) -> Asked {
    Asked { asker, from: from.into(), id: id(text), message_type: "ask".into() }
}

#[test]
fn the_last_answer_closes() {
    let [a, b, c, _] = sessions();
    let mut requests = Requests::default();
    requests.open(asked(a, "a", "1"), &[b, c], None);
    assert!(requests.find_open(a, &id("1")).is_some() && requests.find_owed(b, "a", &id("1")).is_some());
    assert_eq!((requests.asked_by(a), requests.owed_by(b), requests.owed_by(c)), (2, 1, 1));
    assert_eq!(requests.answer_to(a, "a", &id("1")), None);
    assert_eq!(requests.answer_to(b, "x", &id("1")), None);
    assert_eq!(requests.answer_to(b, "a", &id("1")), Some(Answered { asker: a, closed: false }));
    assert_eq!(requests.answer_to(b, "a", &id("1")), None);
    assert_eq!(requests.answer_asker(c, a, &id("1")), Some(Answered { asker: a, closed: true }));
    assert_eq!((requests.len(), requests.asked_by(a), requests.owed_by(c)), (0, 0, 0));
    assert_eq!(requests.kept_bytes(), 0);
    assert!(requests.by_asker.len() == 0 && requests.by_receiver.len() == 0 && requests.legs.is_empty());
}

#[test]
fn tables_that_have_grown_find_all_that_is_in_them() {
    let [a, b, c, _] = sessions();
    let mut requests = Requests::default();
    let ids: Vec<_> = (0..1000).map(|nth| id(&nth.to_string())).collect();
    for id in &ids {
        requests.open(Asked { id: id.clone(), ..asked(a, "a", "") }, &[b, c], None);
    }
    assert_eq!((requests.asked_by(a), requests.owed_by(b)), (2000, 1000));
    for id in ids.iter().rev() {
        assert_eq!(requests.answer_to(b, "a", id), Some(Answered { asker: a, closed: false }));
    }
    for id in &ids {
        assert!(requests.find_open(a, id).is_some() && requests.find_owed(b, "a", id).is_none());
        assert_eq!(requests.find_owed(c, "a", id), requests.find_open(a, id));
        assert_eq!(requests.answer_asker(c, a, id), Some(Answered { asker: a, closed: true }));
    }
    assert!(requests.by_asker.len() == 0 && requests.by_receiver.len() == 0);
    assert_eq!((requests.len(), requests.kept_bytes()), (0, 0));
}

#[test]
fn the_number_of_an_asker_finds_no_other_askers_request() {
    let [a, a2, b, c] = sessions();
    let mut requests = Requests::default();
    requests.open(asked(a, "a", "1"), &[b], None);
    requests.open(asked(a2, "a", "1"), &[c], None);
    assert_eq!(requests.answer_asker(b, a2, &id("1")), None);
    assert!(requests.answer_asker(b, a, &id("1")).is_some());
}

#[test]
fn leaving_ends_what_nobody_else_can_answer() {
    let [a, b, c, _] = sessions();
    let mut requests = Requests::default();
    requests.open(asked(a, "a", "1"), &[b], None);
    requests.open(asked(a, "a", "2"), &[b, c], None);
    requests.open(asked(c, "c", "3"), &[b], None);
    let over: Vec<_> = requests.strike_off(b, 9).into_iter().map(|(what, _)| what.id).collect();
    assert_eq!(over, [id("1"), id("3")]);
    assert_eq!(requests.strike_off(c, 1), [(asked(a, "a", "2"), false)]);
    assert_eq!(requests.len(), 0);
}

#[test]
fn a_request_that_came_to_nobody_counts() {
    let [a, ..] = sessions();
    let mut requests = Requests::default();
    let unheard = requests.open(asked(a, "a", "1"), &[], None);
    assert_eq!(requests.asked_by(a), 1);
    requests.close(unheard);
    assert_eq!((requests.asked_by(a), requests.kept_bytes()), (0, 0));
}

#[test]
fn an_asker_that_is_gone_is_forgotten() {
    let [a, b, c, _] = sessions();
    let mut requests = Requests::default();
    let first = requests.open(asked(a, "a", "1"), &[b, c], None);
    let second = requests.open(asked(a, "a", "2"), &[c], None);
    assert_eq!(requests.close(second), Some((asked(a, "a", "2"), false)));
    assert_eq!(requests.asker_left(a), 1);
    assert!(!requests.contains(first));
    assert_eq!((requests.owed_by(b), requests.owed_by(c), requests.legs.len()), (0, 0, 0));
}
