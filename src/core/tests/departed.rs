//! Connections that have ended on both sides while a line of them waits, and such as are killed.

use super::*;

fn narrow() -> Limits {
    let stall_timeout = Duration::from_secs(3600);
    Limits { max_line_bytes: 1024, max_queue_bytes: 4096, stall_timeout, ..Limits::default() }
}

fn signal(to: &str) -> Value {
    json!({"message_type": "signal", "to": to, "body": "x".repeat(900)})
}

/// The last lines of a service wait for a receiver that does not read, and it ends on both sides.
fn departs(bench: &mut Bench, service: SessionKey, receiver: &str) {
    while bench.core.wants_bytes(service) {
        bench.says(service, signal(receiver));
    }
    bench.handles(Input::Broke { session: service });
}

fn register(node_id: &str, exclusive: bool) -> Value {
    json!({"message_type": "register", "body": {"node_id": node_id, "exclusive": exclusive}})
}

fn codes(heard: &[Value]) -> Vec<Value> {
    let word = |line: &Value| match line["body"]["event"].is_null() {
        true => line["body"]["code"].clone(),
        false => json!([line["body"]["event"], line["body"]["unique_id"]]),
    };
    heard.iter().map(word).collect()
}

#[test]
fn the_name_of_a_dead_service_is_free_for_its_restart() {
    let mut bench = Bench::with(narrow());
    let (receiver, monitor) = (bench.connects_as(user(2)), bench.connects());
    bench.asks(monitor, json!({"message_type": "monitor", "body": {"node_id": "*"}}));
    let mut kept = Vec::new();
    for number in 3..53 {
        let service = bench.connects_as(user(1));
        let heard = bench.asks(service, register("service", true));
        assert_eq!(heard[0]["body"]["error"], Value::Null, "{heard:?}");
        departs(&mut bench, service, ":1");
        let unique_id = format!(":{number}");
        assert_eq!(
            codes(&bench.hears(monitor)),
            [json!(["node_up", unique_id]), json!(["node_down", unique_id])]
        );
        kept.push(service);
        bench.core.check();
    }
    // Another user's would be taken for one of these.
    let other = bench.connects_as(user(3));
    assert_eq!(codes(&bench.asks(other, register("service", false))), ["name_taken"]);
    let mut from = Vec::new();
    for _ in 0..200 {
        from.extend(bench.hears(receiver).into_iter().map(|line| line["from"].clone()));
        bench.turn();
    }
    assert!(from.len() > 50 && from.iter().all(|from| from == "service"), "{from:?}");
    for session in kept {
        bench.handles(Input::Ended { session });
    }
    assert_eq!((bench.core.connections(), bench.core.registry.here()), (3, 0));
    assert_eq!(codes(&bench.asks(other, register("service", false))), [Value::Null]);
}

#[test]
fn it_is_recorded_once_and_plugins_hear_of_it_behind_its_last_line() {
    let mut bench = Bench::with(narrow());
    bench.core.tell_happenings(true);
    let (receiver, service) = (bench.connects(), bench.connects());
    bench.registers(service, "service");
    bench.hears(service);
    bench.happenings();
    while bench.core.wants_bytes(service) {
        bench.says(service, signal(":1"));
    }
    bench.says(service, json!({"message_type": "subscribe", "body": {"topic": "t"}}));
    bench.registers(service, "late");
    bench.handles(Input::Broke { session: service });
    let left = json!([2, "service", 0, {"reason": "lost", "node_ids": ["service"]}]);
    assert_eq!(bench.notes(), [(Event::Left, left)]);
    // A plugin that comes now may still have to judge what it sends.
    let here = ["1  Connected", "2 service Connected", r#"2 service Registered { node_id: "service" }"#];
    assert_eq!(bench.replay(), here);
    bench.hears(receiver);
    bench.handles(Input::Resumed { session: service });
    bench.handles(Input::Ended { session: service });
    let orders = bench.orders();
    let happened =
        orders.iter().filter_map(|order| if let Order::Happened(it) = order { Some(told(it)) } else { None });
    let told =
        [r#"2 service,late Registered { node_id: "late" }"#, "2 service,late Disconnected { reason: Lost }"];
    assert_eq!(happened.collect::<Vec<_>>(), told);
    let noted =
        orders.iter().filter_map(|order| if let Order::Note(note) = order { Some(note.event) } else { None });
    assert_eq!(noted.collect::<Vec<_>>(), [Event::Closed]);
    assert_eq!((bench.core.connections(), bench.core.topics.len()), (1, 0));
}

#[test]
fn connections_that_have_departed_count_only_beyond_as_many_again() {
    let mut bench = Bench::with(Limits { max_connections_per_uid: 3, ..narrow() });
    let receiver = bench.connects_as(user(2));
    let opens = |bench: &Bench, uid| bench.core.would_open(&user(uid));
    let mut departed = 0;
    while opens(&bench, 1) {
        let service = bench.connects_as(user(1));
        departs(&mut bench, service, ":1");
        departed += 1;
    }
    assert_eq!(departed, 6);
    assert!(opens(&bench, 2), "another user");
    while bench.core.connections() > 1 {
        bench.hears(receiver);
        for order in bench.orders() {
            if let Order::Resume(session) = order {
                bench.handles(Input::Resumed { session });
                bench.handles(Input::Ended { session });
            }
        }
    }
    assert!(opens(&bench, 1));
}

/// Of a node that holds very many names, each name is found by another way.
#[test]
fn one_that_held_many_names_may_send_from_all_of_them() {
    let mut bench = Bench::with(narrow());
    let (receiver, service, restart) = (bench.connects(), bench.connects(), bench.connects());
    let names: Vec<String> = (0..20).map(|nth| format!("n{nth}")).collect();
    names.iter().for_each(|name| bench.registers(service, name));
    bench.hears(service);
    departs(&mut bench, service, ":1");
    names.iter().for_each(|name| bench.registers(restart, name));
    assert!(bench.hears(restart).iter().all(|line| line["body"]["error"].is_null()));
    // What it had sent has not been read to its end.
    let mut from = bench.hears(receiver);
    bench.turn();
    for name in &names {
        bench.says(service, json!({"message_type": "signal", "from": name, "to": ":1"}));
    }
    bench.handles(Input::Ended { session: service });
    from.extend(bench.hears(receiver));
    let from: Vec<_> =
        from.iter().skip_while(|line| !line["body"].is_null()).map(|line| &line["from"]).collect();
    assert_eq!(from, names.iter().collect::<Vec<_>>());
    assert_eq!(bench.core.registry.here(), 20);
}

#[test]
fn what_it_asks_to_hold_takes_nothing_from_its_restart() {
    let mut bench = Bench::with(narrow());
    let (receiver, service) = (bench.connects(), bench.connects());
    bench.registers(service, "service");
    bench.hears(service);
    while bench.core.wants_bytes(service) {
        bench.says(service, signal(":1"));
    }
    let replace =
        json!({"node_id": "service", "replace": true, "endpoints": ["unix:/old"], "delivery": "one"});
    bench.says(service, json!({"message_type": "register", "body": replace}));
    bench.says(service, json!({"message_type": "register", "body": {"node_id": "new", "replace": true}}));
    bench.handles(Input::Broke { session: service });
    let restart = bench.connects();
    for name in ["service", "new"] {
        assert_eq!(bench.asks(restart, register(name, true))[0]["body"]["error"], Value::Null);
    }
    bench.hears(receiver);
    bench.turn();
    bench.handles(Input::Ended { session: service });
    assert_eq!((bench.core.connections(), bench.hears(restart).len()), (2, 0));
    let resolved = bench.asks(restart, json!({"message_type": "resolve", "body": {"node_id": "service"}}));
    let resolved = &resolved[0]["body"];
    assert_eq!((&resolved["delivery"], &resolved["endpoints"]), (&json!("all"), &json!([])));
    assert_eq!(resolved["instances"][0]["unique_id"], ":3");
}

fn kill(node_id: &str) -> Value {
    json!({"message_type": "kill", "body": {"node_id": node_id}})
}

#[test]
fn what_a_killed_connection_did_not_take_is_told_before_its_end() {
    let mut bench = Bench::new();
    let (administrator, victim, sender) = (bench.connects(), bench.connects(), bench.connects());
    bench.registers(victim, "v");
    bench.asks(sender, json!({"message_type": "monitor", "body": {"node_id": "v"}}));
    bench.says(sender, json!({"message_id": "s", "message_type": "signal", "to": "v"}));
    bench.says(sender, json!({"message_id": "q", "message_type": "ask", "to": "v"}));
    assert_eq!(bench.asks(administrator, kill("v"))[0]["body"]["killed"], 1);
    // It may still take something in this turn.
    assert_eq!(bench.hears(sender), [Value::Null; 0]);
    assert!(bench.core.has_condemned() && bench.core.next_deadline() > Some(Duration::ZERO));
    assert!(
        !bench.core.wants_bytes(administrator),
        "what comes behind the kill is handled behind all that it leads to"
    );
    bench.core.reap();
    assert_eq!(
        codes(&bench.hears(sender)),
        [json!("node_gone"), json!("node_gone"), json!(["node_down", ":2"])]
    );
    assert_eq!(bench.core.connections(), 2);
    bench.turn();
    assert!(bench.core.wants_bytes(administrator));
}

#[test]
fn a_killed_connection_that_takes_all_leaves_nothing_to_be_told_of() {
    let mut bench = Bench::new();
    let (administrator, victim, sender) = (bench.connects(), bench.connects(), bench.connects());
    bench.registers(victim, "v");
    bench.asks(sender, json!({"message_type": "monitor", "body": {"node_id": "v"}}));
    bench.says(sender, json!({"message_id": "s", "message_type": "signal", "to": "v"}));
    bench.says(administrator, kill("v"));
    assert_eq!(codes(&bench.hears(victim)[2..]), ["denied"]);
    assert_eq!(codes(&bench.hears(sender)), [json!(["node_down", ":2"])]);
    bench.core.reap();
    assert_eq!(bench.core.connections(), 2);
}

/// It breaks before the last try to write to it has been made.
#[test]
fn a_killed_connection_that_breaks_is_told_of_in_the_same_order() {
    let mut bench = Bench::new();
    let (administrator, victims) = (bench.connects(), [bench.connects(), bench.connects()]);
    let sender = bench.connects();
    for victim in victims {
        bench.registers(victim, "v");
    }
    bench.asks(sender, json!({"message_type": "monitor", "body": {"node_id": "v"}}));
    bench.says(sender, json!({"message_id": "s", "message_type": "signal", "to": "v"}));
    bench.says(administrator, kill("v"));
    bench.handles(Input::Broke { session: victims[1] });
    assert_eq!(bench.hears(sender), [Value::Null; 0], "the first one is still to be told of");
    bench.handles(Input::Broke { session: victims[0] });
    let fates =
        [json!("node_gone"), json!(["node_down", ":2"]), json!("node_gone"), json!(["node_down", ":3"])];
    assert_eq!(codes(&bench.hears(sender)), fates);
    bench.core.reap();
    assert_eq!(bench.core.connections(), 2);
}
