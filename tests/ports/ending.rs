//! Knows how nodes come and go, and what the others are told.
//! Never: what ports say to each other.

use std::sync::mpsc::channel;
use std::time::Instant;

use telex::client::Handle;
use telex::node::{Down, Node, NodeChange, json};

use crate::support::{PATIENCE, Starter, Telexd, wait_until};
use crate::{address, connect, listener, monitor, next};

#[test]
fn the_coming_and_going_of_nodes() {
    let telexd = Telexd::start();
    let (node, old) = (connect(&telexd, "watch"), connect(&telexd, "old"));
    wait_until("both are known", || node.node_is_up("old"));
    let (sender, news) = channel();
    node.mon_nodes(move |_, change| drop(sender.send(change.clone())));
    let up = |node: &str| NodeChange::Up { node: node.to_owned() };
    let down = |node: &str| NodeChange::Down { node: node.to_owned(), why: "lost".to_owned() };
    assert_eq!(next(&news), up("old"), "it is there");
    let raw = telexd.node("raw");
    assert_eq!(next(&news), up("raw"));
    let (downs, of_port) = (monitor(&node, "raw"), monitor(&node, "raw#1"));
    drop(raw);
    assert_eq!(next(&news), down("raw"));
    for downs in [downs, of_port] {
        assert!(matches!(next(&downs), Down::NodeLost { node, .. } if node == "raw"));
    }
    assert!(matches!(next(&monitor(&node, "raw")), Down::NodeLost { .. }), "and at once, if it is gone");
    drop(old);
    let left = NodeChange::Down { node: "old".to_owned(), why: "unregistered".to_owned() };
    assert_eq!(next(&news), left);
    assert_eq!(node.known_nodes(), ["old", "raw", "watch"]);
    assert_eq!(node.up_nodes(), ["watch"]);
}

#[test]
fn what_was_asked_for_is_done_before_the_end() {
    let telexd = Telexd::start();
    let (node, short) = (connect(&telexd, "node"), connect(&telexd, "short"));
    let (port, messages) = listener(&node);
    for number in 0..1000 {
        short.snd(&port, number);
    }
    let kept = short.port();
    let downs = monitor(&node, &kept);
    // A port is monitored once the answer is there; until then nothing of it is lost, either.
    drop((short, kept));
    for number in 0..1000 {
        assert_eq!(next(&messages), [json!(number)]);
    }
    assert!(matches!(next(&downs), Down::NodeLost { .. }));
    connect(&telexd, "short");
}

#[test]
fn a_lost_connection_is_told_and_made_good() {
    let starter = Starter::new();
    let dir = tempfile::tempdir().expect("a directory");
    let socket = format!("unix:{}", dir.path().join("s").display());
    let telexd = starter.listen(&socket).state_dir(&dir.path().join("state")).start();
    let (one, other) = (connect(&telexd, "one"), connect(&telexd, "other"));
    let (port, messages) = listener(&other);
    let member = other.port();
    other.grp_reg("g", &member);
    wait_until("node and member are known", || one.node_is_up("other") && one.grp_get("g").len() == 1);
    let downs = monitor(&one, &port);
    let (sender, news) = channel();
    one.mon_nodes(move |_, change| drop(sender.send(change.clone())));
    assert_eq!(next(&news), NodeChange::Up { node: "other".to_owned() }, "it is there");
    drop(telexd);
    assert!(matches!(next(&downs), Down::NodeLost { node, .. } if node == "other"));
    let again = Instant::now();
    assert!(matches!(next(&monitor(&one, &port)), Down::NodeLost { node, .. } if node == "other"));
    assert!(again.elapsed() < PATIENCE / 3, "it is told at once");
    let why = "the connection to the daemon was lost".to_owned();
    assert_eq!(next(&news), NodeChange::Down { node: "other".to_owned(), why });
    assert!(one.grp_get("g").is_empty());
    assert_eq!((one.up_nodes(), one.known_nodes().len()), (vec!["one".to_owned()], 2));
    let again = Starter::new().listen(&socket).state_dir(&dir.path().join("state")).start();
    // Both are there again, under their names.
    let (sender, answers) = channel();
    wait_until("the port can be reached", || {
        one.snd(&port, "hello");
        messages.recv_timeout(std::time::Duration::from_millis(100)).is_ok()
    });
    one.mon(&port).call(move |_, down| drop(sender.send(down.clone())));
    other.kil(&port);
    let down = next(&answers);
    assert!(matches!(down, Down::Killed(_) | Down::NoSuchPort { .. }), "{down:?}");
    wait_until("the member is known again", || one.grp_get("g") == [member.id()]);
    assert_eq!(next(&news), NodeChange::Up { node: "other".to_owned() });
    assert!(news.try_recv().is_err());
    drop(again);
}

#[test]
fn a_connection_that_is_not_made_again_is_told() {
    let telexd = Telexd::start();
    let builder = Handle::builder().reconnect(None);
    let node = Node::connect_with(builder, &address(&telexd), "node").expect("a node");
    let other = connect(&telexd, "other");
    let (port, _messages) = listener(&other);
    let downs = [monitor(&node, &port), monitor(&node, "other")];
    wait_until("it is known", || node.node_is_up("other"));
    drop(telexd);
    for downs in downs {
        assert!(matches!(next(&downs), Down::NodeLost { node, .. } if node == "other"));
    }
    assert!(matches!(next(&monitor(&node, &port)), Down::NodeLost { .. }), "and later");
    // Its own ports live on.
    let (port, messages) = listener(&node);
    node.snd(&port, 1);
    assert_eq!(next(&messages), [json!(1)]);
}
