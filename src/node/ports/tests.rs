//! Knows what becomes of ports, row by row.

use serde_json::{Value, json};

use super::*;

type Here = Ports<&'static str, &'static str>;

fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(elements) => elements,
        other => vec![other],
    }
}

/// A node "n" with these ports, each with a default handler of its name.
fn node(names: &[&'static str]) -> Here {
    let mut ports = Ports::new("n");
    for name in names {
        assert!(ports.create(name));
        ports.receive(name, None, Some(*name));
    }
    ports
}

/// All that is to be done, as text.
fn orders(ports: &mut Here) -> Vec<String> {
    let text = |order| match order {
        Order::Run { name, handler, message } => format!("run {name}/{handler} {}", Value::from(message)),
        Order::Call { callback, down } => format!("call {callback} {}", Value::from(down.reason())),
        Order::Send { to, message } => format!("send {to} {}", Value::from(message)),
        Order::Tell { node, event } => format!("tell {node} {}", event.write()),
        Order::Ask { target, ask } => format!("ask {target} {ask}"),
        Order::Unask { target } => format!("unask {target}"),
        Order::Ended { port } => format!("ended {port}"),
    };
    std::iter::from_fn(|| ports.order()).map(text).collect()
}

#[test]
fn a_handler_is_taken_away() {
    let mut ports = node(&[]);
    assert!(ports.create("a"));
    for tag in ["x", "y"] {
        ports.receive("a", Some(tag.to_owned()), Some("h"));
    }
    ports.receive("a", Some("x".to_owned()), None);
    ports.send("n#a", list(json!(["x"])));
    assert_eq!(orders(&mut ports), [""; 0], "there is another tag");
    ports.receive("a", Some("y".to_owned()), None);
    ports.send("n#a", list(json!(["y"])));
    assert_eq!(orders(&mut ports), ["ended n#a"], "there is none");
}

#[test]
fn a_node_gives_signs_of_life_as_a_port_does() {
    let mut ports = node(&[]);
    for (number, target) in [(1, "m"), (2, "m#a"), (3, "n")] {
        ports.watch(number, target, Action::Call("c"));
    }
    orders(&mut ports);
    assert!(ports.beat(1) && ports.beat(2) && !ports.beat(3), "this node is there");
    let beat = |port: &str| format!(r#"tell m {{"event":"port_beat","port":"{port}"}}"#);
    assert_eq!(orders(&mut ports), [beat("m"), beat("m#a")]);
    ports.heard("m");
    assert!(ports.beat(1) && !ports.beat(2));
    let lost = r#"call c ["transport_error","m","it gives no sign of life"]"#;
    assert_eq!(orders(&mut ports), [beat("m"), "unask m#a".to_owned(), lost.to_owned()]);
}

#[test]
fn a_missing_port_is_told_at_once() {
    let mut ports = node(&[]);
    ports.watch(1, "n#a", Action::Call("c"));
    assert_eq!(orders(&mut ports), [r#"call c ["no_such_port","there is no such port","n#a"]"#]);
    ports.watch(2, "m#a", Action::Call("c"));
    assert_eq!(orders(&mut ports), ["ask m#a 1"]);
    ports.asked("m#a", 1, Err(Down::NoSuchPort { port: "m#a".to_owned() }));
    assert_eq!(orders(&mut ports), [r#"call c ["no_such_port","there is no such port","m#a"]"#]);
    assert!(!node(&[]).monitored("a", "m"));
}

#[test]
fn a_node_that_is_not_there_or_goes() {
    let mut ports = node(&["a"]);
    for (number, target) in [(1, "m#a"), (2, "m#b"), (3, "m"), (4, "mm#a"), (5, "n")] {
        ports.watch(number, target, Action::Call("c"));
    }
    assert_eq!(orders(&mut ports), ["ask m#a 1", "ask m#b 2", "ask m 3", "ask mm#a 4"]);
    assert!(ports.monitored("a", "m"));
    ports.node_down("m", "it is gone");
    assert_eq!(orders(&mut ports), [r#"call c ["transport_error","m","it is gone"]"#; 3]);
    ports.kill("n#a", vec![]);
    assert_eq!(orders(&mut ports), ["ended n#a"], "the node that is gone is told nothing");
    ports.node_down("m", "again");
    assert!(orders(&mut ports).is_empty(), "once");
    ports.interrupted("all is lost", false);
    assert_eq!(orders(&mut ports), [r#"call c ["transport_error","mm","all is lost"]"#]);
}

#[test]
fn an_answer_that_is_older_than_the_monitor_ends_nothing() {
    let mut ports = node(&[]);
    ports.watch(1, "m#a", Action::Call("old"));
    ports.target_down("m#a", &Down::Killed(vec![]));
    ports.watch(2, "m#a", Action::Call("new"));
    assert_eq!(orders(&mut ports), ["ask m#a 1", "call old []", "ask m#a 2"]);
    ports.asked("m#a", 1, Err(Down::NoSuchPort { port: "m#a".to_owned() }));
    ports.asked("m#a", 2, Ok(()));
    assert!(orders(&mut ports).is_empty());
}

#[test]
fn messages_that_were_lost_unseen_are_told_on_both_sides() {
    let mut ports = node(&["a"]);
    assert!(ports.monitored("a", "m"));
    ports.watch(1, "m#b", Action::Call("c"));
    orders(&mut ports);
    ports.interrupted("too much", true);
    let told = r#"tell m {"event":"port_down","port":"n#a","reason":["transport_error","n","too much"]}"#;
    assert_eq!(orders(&mut ports), [r#"call c ["transport_error","m","too much"]"#, told]);
    assert!(ports.is_alive("a"));
}

#[test]
fn without_a_reason_linked_ports_live() {
    let mut ports = node(&["a", "b"]);
    ports.watch(1, "n#a", Action::Kill("n#b".to_owned()));
    ports.watch(2, "n#a", Action::Call("c"));
    ports.watch(3, "n#a", Action::Kill("m#x".to_owned()));
    ports.kill("n#a", vec![]);
    assert_eq!(orders(&mut ports), ["ended n#a", "call c []"]);
    assert!(ports.is_alive("b") && !ports.is_alive("a"));
}

#[test]
fn with_a_reason_the_whole_chain_dies_of_it() {
    for reason in [json!([null]), json!([""]), json!(["hot", {"c": 80}])] {
        let mut ports = node(&["a", "b", "c"]);
        ports.watch(1, "n#a", Action::Kill("n#b".to_owned()));
        ports.watch(2, "n#b", Action::Kill("n#c".to_owned()));
        ports.watch(3, "n#c", Action::Call("told"));
        ports.watch(4, "n#c", Action::Kill("m#x".to_owned()));
        assert!(ports.monitored("c", "o"));
        ports.kill("n#a", list(reason.clone()));
        assert_eq!(
            orders(&mut ports),
            [
                "ended n#a".to_owned(),
                "ended n#b".to_owned(),
                "ended n#c".to_owned(),
                format!(r#"tell o {{"event":"port_down","port":"n#c","reason":{reason}}}"#),
                format!("call told {reason}"),
                format!(r#"tell m {{"event":"port_kill","port":"m#x","reason":{reason}}}"#),
            ]
        );
    }
}

#[test]
fn a_chain_of_any_length_and_a_circle_end() {
    let mut ports: Here = Ports::new("n");
    let count = 100_000;
    (0..count).for_each(|number| assert!(ports.create(&number.to_string())));
    for number in 0..count {
        let (target, next) = (format!("n#{number}"), format!("n#{}", (number + 1) % count));
        ports.watch(number, &target, Action::Kill(next));
    }
    ports.kill("n#7", vec!["x".into()]);
    assert_eq!(orders(&mut ports).len(), count as usize);
    assert!(ports.ports.is_empty() && ports.watches.is_empty());
}

#[test]
fn a_handler_that_fails_takes_nothing_more_and_dies_behind_what_it_sent() {
    let mut ports = node(&["a", "b"]);
    ports.deafen("a");
    ports.send("n#a", list(json!(["x"])));
    ports.send("n#b", list(json!(["last words"])));
    assert_eq!(orders(&mut ports), [r#"run b/b ["last words"]"#]);
    assert!(!ports.is_alive("a"));
    ports.watch(1, "n#a", Action::Call("c"));
    ports.kill("n#a", list(json!(["die", "text"])));
    assert_eq!(orders(&mut ports), ["ended n#a", r#"call c ["die","text"]"#]);
}

#[test]
fn a_message_to_a_port_without_a_handler_kills_it() {
    let mut ports: Here = Ports::new("n");
    ports.create("a");
    ports.watch(1, "n#a", Action::Call("c"));
    ports.send("n#a", vec![]);
    let told = r#"call c ["die","received a message on a port without a handler"]"#;
    assert_eq!(orders(&mut ports), ["ended n#a", told]);
}

#[test]
fn tags_and_the_default() {
    let mut ports: Here = Ports::new("n");
    ports.create("a");
    ports.receive("a", Some("ping".to_owned()), Some("ping"));
    ports.send("n#a", list(json!(["pong", 1])));
    ports.send("n#a", list(json!([1])));
    ports.send("n#a", vec![]);
    assert!(orders(&mut ports).is_empty(), "tags only: another one or none is ignored");
    ports.receive("a", None, Some("default"));
    for message in [json!(["ping", 1]), json!(["pong", 1]), json!([])] {
        ports.send("n#a", list(message));
    }
    assert_eq!(
        orders(&mut ports),
        ["run a/ping [1]", r#"run a/default ["pong",1]"#, "run a/default []"],
        "the default gets it whole"
    );
    ports.receive("a", Some("ping".to_owned()), Some("other"));
    ports.send("n#a", list(json!(["ping"])));
    assert_eq!(orders(&mut ports), ["run a/other []"]);
}

#[test]
fn a_message_with_the_parts_of_the_reason_appended() {
    let mut ports = node(&["a", "b"]);
    ports.watch(1, "n#a", Action::Send("n#b".to_owned(), list(json!(["died", 1]))));
    ports.watch(2, "n#a", Action::Send("m#x".to_owned(), list(json!(["died"]))));
    ports.kill("n#a", list(json!(["hot", null])));
    assert_eq!(
        orders(&mut ports),
        ["ended n#a", r#"run b/b ["died",1,"hot",null]"#, r#"send m#x ["died","hot",null]"#]
    );
    ports.create("c");
    ports.watch(3, "n#c", Action::Send("n#b".to_owned(), list(json!(["died"]))));
    ports.kill("n#c", vec![]);
    assert_eq!(orders(&mut ports), ["ended n#c", r#"run b/b ["died"]"#], "also for an empty reason");
}

#[test]
fn a_port_that_could_not_be_made_is_told_with_its_error_whenever_it_is_asked() {
    let mut ports: Here = Ports::new("n");
    ports.create("a");
    ports.fail("a", list(json!(["die", "no paper"])));
    ports.watch(1, "n#a", Action::Call("c"));
    assert_eq!(orders(&mut ports), ["ended n#a", r#"call c ["die","no paper"]"#]);
    assert!(ports.monitored("a", "m"));
    let told = r#"tell m {"event":"port_down","port":"n#a","reason":["die","no paper"]}"#;
    assert_eq!(orders(&mut ports), [told]);
    (0..FAILED_MAX).for_each(|number| ports.fail(&number.to_string(), vec![]));
    assert!(!ports.monitored("a", "m"), "so many are remembered");
}

#[test]
fn several_monitors_are_each_told_once_and_one_is_asked_for() {
    let mut ports = node(&["a"]);
    ports.watch(1, "n#a", Action::Call("one"));
    ports.watch(2, "n#a", Action::Call("two"));
    ports.kill("n#a", vec![]);
    ports.kill("n#a", vec![]);
    assert_eq!(orders(&mut ports), ["ended n#a", "call one []", "call two []"]);
    ports.watch(3, "m#a", Action::Call("three"));
    ports.watch(4, "m#a", Action::Call("four"));
    ports.unwatch(3);
    assert_eq!(orders(&mut ports), ["ask m#a 1"]);
    ports.unwatch(4);
    assert_eq!(orders(&mut ports), ["unask m#a"], "when the last one is released");
    ports.target_down("m#a", &Down::Killed(vec![]));
    ports.unwatch(4);
    assert!(orders(&mut ports).is_empty());
}

#[test]
fn other_nodes_are_told_once_and_not_at_all_when_they_want_it_no_more() {
    let mut ports = node(&["a", "b"]);
    assert!(ports.monitored("a", "m") && ports.monitored("a", "m") && ports.monitored("b", "m"));
    ports.unmonitored("b", "m");
    ports.kill("n#a", vec![]);
    ports.kill("n#b", vec![]);
    let told = r#"tell m {"event":"port_down","port":"n#a","reason":[]}"#;
    assert_eq!(orders(&mut ports), ["ended n#a", told, "ended n#b"]);
}

#[test]
fn what_acts_on_a_port_ends_with_it() {
    let mut ports = node(&["server", "client"]);
    ports.watch(1, "n#server", Action::Kill("n#client".to_owned()));
    ports.watch(2, "m#server", Action::Send("n#client".to_owned(), vec![]));
    ports.kill("n#client", vec![]);
    assert_eq!(orders(&mut ports), ["ask m#server 1", "ended n#client", "unask m#server"]);
    assert!(ports.watches.is_empty() && ports.ports["server"].watches.is_empty());
    ports.watch(3, "n#server", Action::Kill("n#client".to_owned()));
    assert!(ports.watches.is_empty(), "nor does it begin behind its end");
}

#[test]
fn messages_and_kills_for_other_nodes() {
    let mut ports = node(&[]);
    ports.send("m#a", list(json!(["x"])));
    ports.kill("m#a", vec![]);
    ports.send("n#gone", list(json!(["x"])));
    ports.kill("n#gone", vec![]);
    let told = r#"tell m {"event":"port_kill","port":"m#a","reason":[]}"#;
    assert_eq!(orders(&mut ports), [r#"send m#a ["x"]"#, told]);
}

#[test]
fn a_node_that_is_frozen_is_found_out_by_a_beat() {
    let mut ports = node(&["a"]);
    ports.watch(1, "m#a", Action::Call("c"));
    orders(&mut ports);
    assert!(ports.beat(1));
    ports.heard("m#a");
    assert!(ports.beat(1));
    assert_eq!(orders(&mut ports), [r#"tell m {"event":"port_beat","port":"m#a"}"#; 2]);
    assert!(!ports.beat(1), "the last one was not answered");
    let told = r#"call c ["transport_error","m","it gives no sign of life"]"#;
    assert_eq!(orders(&mut ports), ["unask m#a", told]);
    ports.watch(2, "n#a", Action::Call("c"));
    ports.watch(3, "m", Action::Call("c"));
    assert!(!ports.beat(1) && !ports.beat(2) && ports.beat(3));
}
