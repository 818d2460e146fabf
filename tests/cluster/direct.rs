//! A cluster whose servers are services, spoken to without a switch; and keys that go on to the instances of a node.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use telex::address::Address;
use telex::client::switches::{Ask, Request, SendError, Switches};
use telex::client::{Delivery, Handle, Message as Received, Register};
use telex::cluster::{ErrorKind, Message, Settings};
use telex::service::{Builder, Service};

use super::bank::balances;
use super::support::{PATIENCE, Telexd, wait_until};
use super::{kind_of, tag_of};

/// How often a service has seen which key, or tag.
type Seen = Arc<Mutex<BTreeMap<String, u32>>>;

fn counting(node_id: &str, seen: &Seen) -> Builder {
    let seen = Arc::clone(seen);
    Service::builder(node_id).notify(false).on("work", move |request: &Received| {
        let body = request.body_value();
        let name = request.key().map_or_else(|| body["tag"].to_string(), str::to_owned);
        *seen.lock().expect("counts").entry(name).or_default() += 1;
        std::thread::sleep(Duration::from_millis(body["pause_ms"].as_u64().unwrap_or_default()));
        match body["fail"] == true {
            true => Err("as you wish"),
            false => Ok(request.body().unwrap_or_default().to_owned()),
        }
    })
}

fn work(tag: u64) -> Request {
    Message::new(Ask::direct("work", &format!(r#"{{"tag":{tag}}}"#)))
}

fn list(services: &[&Service]) -> String {
    services.iter().map(|service| service.addresses()[0].to_string()).collect::<Vec<_>>().join(",")
}

fn count(seen: &Seen) -> u32 {
    seen.lock().expect("counts").values().sum()
}

#[test]
fn services_of_any_name_share_the_work() {
    let dir = tempfile::tempdir().expect("a directory");
    let places = [
        Address::Unix(dir.path().join("one")),
        Address::Abstract(format!("telex-test-two-{}", std::process::id())),
        Address::parse("127.0.0.1:0").expect("an address"),
    ];
    let seen: Vec<Seen> = (0..3).map(|_| Seen::default()).collect();
    let services: Vec<Service> = places
        .into_iter()
        .zip(&seen)
        .enumerate()
        .map(|(nth, (place, seen))| {
            counting(&format!("worker-{nth}"), seen).listen(place).start_alone().expect("a service")
        })
        .collect();
    let all: Vec<&Service> = services.iter().collect();
    let cluster = Switches::new(Settings::of(&list(&all)).expect("a list")).expect("a cluster");
    let outcomes = cluster.send_bulk((0..90).map(work));
    assert_eq!(outcomes.into_iter().map(tag_of).collect::<Vec<_>>(), (0..90).collect::<Vec<_>>());
    assert_eq!(seen.iter().map(count).collect::<Vec<_>>(), [30, 30, 30]);
    // Its own error is an answer; what it does not do, or is not, is an error of the cluster.
    let refused = cluster.send(Message::new(Ask::direct("work", r#"{"fail":true}"#)));
    assert!(matches!(refused, Err(SendError::Refused(why)) if why.error() == "as you wish"));
    let nobody = cluster.send(Message::new(Ask::new("nobody", "work", "")));
    let Err(SendError::Failed(why)) = nobody else { panic!("{nobody:?}") };
    assert_eq!((why.kind, why.may_be_executed, why.tries), (ErrorKind::Refused, false, 2), "{why}");
    assert_eq!(kind_of(cluster.send(Message::new(Ask::direct("register", "")))), ErrorKind::Refused);
    cluster.send(Ask::signal("worker-0", "1").key("k")).expect("written");
}

#[test]
fn a_service_that_goes_is_passed_over_until_it_is_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let seen = [Seen::default(), Seen::default()];
    let start = |nth: usize| {
        let place = Address::Unix(dir.path().join(nth.to_string()));
        counting("worker", &seen[nth]).listen(place).start_alone().expect("a service")
    };
    let (first, second) = (start(0), start(1));
    let settings = Settings::of(&list(&[&first, &second])).expect("a list");
    let settings = Settings { probe_interval: Duration::from_millis(50), ..settings };
    let cluster = Switches::new(settings).expect("a cluster");
    (0..10).for_each(|tag| assert_eq!(tag_of(cluster.send(work(tag))), tag));
    drop(first);
    (10..30).for_each(|tag| assert_eq!(tag_of(cluster.send(work(tag).retry())), tag));
    let before = count(&seen[0]);
    let _first = start(0);
    wait_until("it is back", || {
        assert_eq!(tag_of(cluster.send(work(1))), 1);
        count(&seen[0]) > before
    });
    drop(second);
    (30..50).for_each(|tag| assert_eq!(tag_of(cluster.send(work(tag).retry())), tag));
}

#[test]
fn what_one_key_names_stays_together_at_the_instances_of_a_node() {
    let telexd = Telexd::start();
    let daemon = Address::parse(&telexd.addresses[0]).expect("an address");
    let seen: Vec<Seen> = (0..4).map(|_| Seen::default()).collect();
    let terms = Register { delivery: Some(Delivery::One), ..Register::default() };
    let start =
        |seen: &Seen| counting("worker", seen).terms(terms.clone()).start(&daemon).expect("a service");
    let _workers: Vec<Service> = seen.iter().map(start).collect();
    let cluster = Switches::new(Settings::of(&telexd.addresses[0]).expect("a list")).expect("a cluster");
    let long = "ä".repeat(200);
    let keys: Vec<String> = (0..40).map(|nth| format!("key {nth}")).chain([long]).collect();
    let ask = |key: &String| Message::new(Ask::new("worker", "work", r#"{"tag":1}"#)).key(key.clone());
    for _ in 0..3 {
        let outcomes = cluster.send_bulk(keys.iter().map(ask));
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    }
    let seen: Vec<_> = seen.iter().map(|seen| seen.lock().expect("counts").clone()).collect();
    assert!(seen.iter().all(|seen| !seen.is_empty()), "{seen:?}");
    assert!(seen.iter().flat_map(BTreeMap::values).all(|times| *times == 3), "{seen:?}");
    // The same key comes to the same instance, whichever way it is said.
    let handle = Handle::connect(&daemon).expect("a connection");
    let keyed = telex::client::To::Keyed { node: "worker", key: "key 7" };
    handle.call(keyed, "work", "", PATIENCE).wait().expect("a reply");
}

#[test]
fn a_cluster_that_is_busy_lets_its_servers_wait() {
    let dir = tempfile::tempdir().expect("a directory");
    let blob = format!("\"{}\"", "x".repeat(500_000));
    let service = Service::builder("large").notify(false).listen(Address::Unix(dir.path().join("large")));
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    let service = service.on("blob", move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        Ok::<_, String>(blob.clone())
    });
    let service = service.start_alone().expect("a service");
    let settings = Settings::of(&list(&[&service])).expect("a list");
    let settings = Settings { max_parallel_per_server: 100, timeout: Some(PATIENCE), ..settings };
    let cluster = Switches::new(settings).expect("a cluster");
    let (sender, outcomes) = channel();
    for _ in 0..100 {
        let sender = sender.clone();
        cluster.send_then(Message::new(Ask::direct("blob", "")), move |outcome| {
            std::thread::sleep(Duration::from_millis(10));
            let _ = sender.send(outcome.is_ok());
        });
    }
    let (began, mut most) = (Instant::now(), 0);
    for heard in 0..100 {
        assert!(outcomes.recv_timeout(PATIENCE).expect("an outcome"));
        most = most.max(made.load(Ordering::Relaxed) - heard);
    }
    // What the service has begun, what lies in sockets, what is read ahead; not all of it.
    assert!(most < 60, "{most} answers were made ahead, in {:?}", began.elapsed());
}

#[test]
fn the_example_of_the_documentation() {
    let telexd = Telexd::start();
    let dir = tempfile::tempdir().expect("a directory");
    let bank = || {
        let balance = |request: &Received| {
            let body = request.body_value();
            body.as_str().map(|account| account.len().to_string()).ok_or("no account")
        };
        Service::builder("bank").notify(false).on("balance", balance)
    };
    let through =
        bank().start(&Address::parse(&telexd.addresses[0]).expect("an address")).expect("a service");
    let direct = bank().listen(Address::Unix(dir.path().join("bank"))).start_alone().expect("a service");
    let servers = format!("{},{}", telexd.addresses[0], direct.addresses()[0]);
    let accounts = ["a", "bb", "ccc", "dddd", "eeeee"];
    assert_eq!(balances(&servers, &accounts).expect("balances"), [1, 2, 3, 4, 5]);
    drop(through);
    assert_eq!(balances(&servers, &accounts).expect("balances"), [1, 2, 3, 4, 5]);
    assert!(balances("unix:/nowhere", &accounts).is_err());
}
