//! Services as servers of a cluster, in processes that are stopped, killed and started again.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use telex::client::switches::{Ask, Switches};
use telex::cluster::{Message, Settings};

use super::process::Part;
use super::support::{PATIENCE, Telexd};
use super::{echo, unix};

#[test]
fn a_service_that_is_stopped_or_killed_is_passed_over_and_comes_back() {
    let telexd = Telexd::start();
    let mut process = Part::Echo.start(&telexd, "svc");
    let steady = echo("svc").listen(unix(telexd.dir(), "steady")).start_alone().expect("a service");
    let list = format!("unix:{},{}", telexd.dir().join("echo").display(), steady.addresses()[0]);
    let settings = Settings {
        timeout: Some(Duration::from_millis(500)),
        probe_interval: Duration::from_millis(50),
        ..Settings::of(&list).expect("a list")
    };
    let cluster = Switches::new(settings).expect("a cluster");
    let (sender, events) = channel();
    cluster.set_debug(move |event| {
        let _ = sender.send(event.to_string());
    });
    let ask = |number: u32| {
        let asked = Message::new(Ask::new("svc", "echo", &number.to_string())).retry();
        let reply = cluster.send(asked).expect("a reply").expect("one is wanted");
        assert_eq!(reply.result(), Some(&*number.to_string()));
    };
    let comes_back = || {
        let until = Instant::now() + PATIENCE;
        let is_back = |event: &String| event.starts_with("uses unix:") && event.ends_with("echo again");
        while !is_back(&events.recv_timeout(until - Instant::now()).expect("it comes back")) {}
    };
    (0..10).for_each(ask);
    process.suspend();
    let began = Instant::now();
    (0..50).for_each(ask);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    process.resume();
    comes_back();
    (0..10).for_each(ask);
    process.kill();
    (0..10).for_each(ask);
    let _process = Part::Echo.start(&telexd, "svc");
    comes_back();
    (0..10).for_each(ask);
}
