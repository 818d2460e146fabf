//! Knows nodes that are configured from a profile.
//! Never: what is wrong with a file.

use std::sync::mpsc::channel;

use telex::address::Address;
use telex::node::{Node, NodeChange, Port, Value, json};
use telex::profile::{Configure, Error, Profiles};

use crate::support::{Starter, Telexd, wait_until};
use crate::{address, connect, next};

/// Makes a port that is the member of a group by its function's name.
fn member(group: &'static str) -> impl Fn(&Port, &[Value]) -> Result<(), String> {
    move |port, args| {
        assert!(args.is_empty());
        port.rcv_default(|_, _| {});
        port.node().grp_reg(group, port);
        Ok(())
    }
}

#[test]
fn a_service_is_handed_the_arguments_that_stand_in_the_profile() {
    let telexd = Telexd::start();
    let text = "[global]\naddress = ['HERE']\n[profile.worker]\n\
                services = ['plain', ['full', 'a', 7, [1.5, true], { k = 'v' }], ['plain']]\n";
    let (told, handed) = channel();
    let function = |name: &'static str| {
        let told = told.clone();
        move |_: &Port, args: &[Value]| told.send((name, args.to_vec())).map_err(|_| "gone")
    };
    let configure = written(&telexd, text).profile("worker");
    let _node =
        configure.offer("plain", function("plain")).offer("full", function("full")).start().expect("a node");
    let full = vec![json!("a"), json!(7), json!([1.5, true]), json!({"k": "v"})];
    assert_eq!(
        handed.try_iter().collect::<Vec<_>>(),
        [("plain", vec![]), ("full", full), ("plain", vec![])],
        "in their order, each before the node is there"
    );
}

fn written(telexd: &Telexd, text: &str) -> Configure {
    let path = telexd.dir().join("profiles.toml");
    let text = text.replace("HERE", &telexd.addresses[0]);
    std::fs::write(&path, text).expect("a file");
    Node::configure().profiles(Profiles::load(&path).expect("profiles"))
}

#[test]
fn a_profile_says_where_the_node_is_what_it_is_called_and_what_it_starts() {
    let telexd = Telexd::start();
    let text = "[global]\naddress = ['HERE']\n[profile.base]\nservices = ['one', 'one', 'two']\n\
                [profile.worker]\nparent = 'base'\n";
    let configure = written(&telexd, text).profile("worker").services(["absent"]);
    let node = configure.offer("one", member("one")).offer("two", member("two")).start().expect("a node");
    assert!(node.id().starts_with("worker/") && node.id().len() > "worker/".len(), "{}", node.id());
    let other = connect(&telexd, "other");
    wait_until("the services are there", || {
        other.grp_get("one").len() == 2 && other.grp_get("two").len() == 1
    });
    let again = written(&telexd, text).profile("worker").offer("one", member("x")).offer("two", member("x"));
    assert_ne!(again.start().expect("a second node").id(), node.id());
}

#[test]
fn a_service_that_fails_is_the_error_and_ends_the_node() {
    let telexd = Telexd::start();
    let configure = |service: &str| {
        let configure = Node::configure()
            .profiles(Profiles::default())
            .profile("x")
            .node_id("x")
            .address([address(&telexd)]);
        configure
            .services(["good", service])
            .offer("good", member("good"))
            .offer("refuses", |_, _| Err("no paper"))
            .offer("panics", |_, _| -> Result<(), String> { panic!("no ink") })
    };
    for (service, wrong) in [
        ("refuses", "no paper"),
        ("panics", "no ink"),
        ("absent", "the program offers no function of that name"),
    ] {
        let error = configure(service).start().expect_err(service);
        assert!(
            matches!(&error, Error::Service { function, why } if function == service && why == wrong),
            "{error}"
        );
        assert_eq!(error.to_string(), format!("the service \"{service}\" failed: {wrong}"));
    }
    // Its name is free, and its ports are no members.
    let node = configure("good").start().expect("a node");
    wait_until("the services are there", || node.grp_get("good").len() == 2);
}

#[test]
fn the_first_switch_that_can_be_reached_is_taken_and_one_is_always_kept() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| format!("unix:{}", dir.path().join(name).display());
    let addresses = ["nowhere", "a", "b"].map(|name| Address::parse(&at(name)).expect("an address"));
    let configure =
        || Node::configure().profiles(Profiles::default()).profile("node").address(addresses.clone());
    let error = configure().start().expect_err("no switch");
    let Error::Unreachable { tries } = &error else { panic!("{error}") };
    assert_eq!(tries.len(), 3);
    for name in ["nowhere", "a", "b"] {
        assert!(error.to_string().contains(&at(name)), "{error}");
    }
    let start = |name: &str| Starter::new().listen(&at(name)).start();
    let mut a = Some(start("a"));
    let mut b = None;
    let node = configure().start().expect("a node");
    let (sender, news) = channel();
    node.mon_nodes(move |_, change| drop(sender.send(change.clone())));
    // Each switch in turn goes when the other one has come.
    for round in 0..4 {
        let (old, new, name) = if round % 2 == 0 { (&mut a, &mut b, "b") } else { (&mut b, &mut a, "a") };
        *new = Some(start(name));
        drop(old.take());
        let watcher = connect(new.as_ref().expect("a switch"), &format!("watcher{round}"));
        wait_until("the node is at the other switch", || watcher.node_is_up(node.id()));
        while next(&news) != (NodeChange::Up { node: format!("watcher{round}") }) {}
    }
}

#[test]
fn nodes_of_one_profile_can_come_to_each_others_switch() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| format!("unix:{}", dir.path().join(name).display());
    let [a, b] = ["a", "b"].map(|name| Starter::new().listen(&at(name)).start());
    // Each is the first connection of its switch.
    let start = |names: [&str; 2]| {
        let addresses = names.map(|name| Address::parse(&at(name)).expect("an address"));
        Node::configure()
            .profiles(Profiles::default())
            .profile("p")
            .address(addresses)
            .start()
            .expect("a node")
    };
    let (first, second) = (start(["a", "b"]), start(["b", "a"]));
    drop(a);
    let watcher = connect(&b, "watcher");
    wait_until("both are there", || watcher.node_is_up(first.id()) && watcher.node_is_up(second.id()));
    let port = second.port();
    port.rcv_default(|port, message| port.node().snd(message[0].as_str().unwrap_or_default(), "here"));
    let (listener, messages) = crate::listener(&first);
    wait_until("they reach each other", || {
        first.snd(&port, listener.as_str());
        messages.recv_timeout(std::time::Duration::from_millis(100)).is_ok()
    });
}

#[test]
fn a_name_that_is_taken_is_no_reason_to_try_another_switch() {
    let (first, second) = (Telexd::start(), Telexd::start());
    let _holder = connect(&first, "taken");
    let addresses = [address(&first), address(&second)];
    let configure =
        Node::configure().profiles(Profiles::default()).profile("p").node_id("taken").address(addresses);
    let error = configure.start().expect_err("it is taken");
    assert!(matches!(error, Error::Client(_)), "{error}");
    assert!(error.to_string().contains("taken"), "{error}");
}

#[test]
fn the_host_is_the_profile_by_default_and_the_program_may_insist() {
    let telexd = Telexd::start();
    let host = nix::unistd::gethostname().expect("a host").into_string().expect("UTF-8");
    let text = format!("[profile.'{host}']\nnode_id = 'the host'\naddress = ['HERE']");
    let configure = || written(&telexd, &text).node_id("the program");
    assert_eq!(configure().settings().expect("settings").profile, host);
    assert_eq!(configure().start().expect("a node").id(), "the host");
    assert_eq!(configure().force().start().expect("a node").id(), "the program");
}
