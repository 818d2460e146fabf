//! No room for one more connection: who is told so, and that administrators get in all the same.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Client, PATIENCE, Starter, Telexd, wait_until};

/// A daemon that listens over TCP, where nothing is known of its peers, and on a Unix socket, over which these tests
/// are administrators. Its first address is that over TCP.
fn on_both(starter: Starter) -> Telexd {
    let socket = format!("unix:{}", starter.dir().join("telex.sock").display());
    starter.listen("tcp:127.0.0.1:0").listen(&socket).start()
}

fn administrator(telexd: &Telexd) -> Client {
    Client::connect(&telexd.addresses[1])
}

/// The only line that a connection is told before it is closed, by a client that says nothing.
fn farewell(client: &mut Client) -> Value {
    let told = client.rest();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["body"]["code"], json!("overloaded"), "{told:?}");
    told[0]["body"]["error"].clone()
}

#[test]
fn an_administrator_gets_in_beyond_max_connections_to_list_and_to_kill() {
    let telexd = on_both(Starter::new().set("max_connections=2"));
    let mut crowd = [telexd.node("one"), telexd.node("two")];
    farewell(&mut telexd.client());

    let mut administrator = administrator(&telexd);
    let nodes = administrator.ask_well("list", json!({}))["nodes"].clone();
    assert_eq!(nodes.as_array().map(Vec::len), Some(2), "{nodes}");
    // It is there for the daemon alone.
    administrator.send(&json!({"message_id": 1, "message_type": "signal", "to": "two"}));
    let told = administrator.message()["body"].take();
    assert_eq!((&told["code"], &told["in_reply_to"]), (&json!("overloaded"), &json!(1)), "{told}");
    administrator.send(&json!({"message_id": 2, "message_type": "ask", "topic": "news"}));
    let told = administrator.message();
    assert_eq!(told["message_type"], json!("ask_reply"), "{told}");
    assert_eq!(told["body"]["code"], json!("overloaded"), "{told}");

    // It takes nobody's place.
    administrator.ask_well("kill", json!({"node_id": "one"}));
    crowd[0].rest();
    let mut third = telexd.client();
    third.ping();
    crowd[1].ping();
    farewell(&mut telexd.client());
}

#[test]
fn the_limit_for_each_user_keeps_no_administrator_out() {
    let telexd = on_both(Starter::new().set("max_connections_per_uid=1"));
    let mut first = administrator(&telexd);
    first.ping();
    let mut beyond = administrator(&telexd);
    assert_eq!(beyond.ask_well("kill", json!({"unique_id": first.unique_id()}))["killed"], json!(1));
    first.rest();
    // There is room again.
    let mut next = administrator(&telexd);
    next.send(&json!({"message_type": "signal", "topic": "nothing"}));
    next.ping();
}

#[test]
fn a_ninth_administrator_takes_the_place_of_the_first_and_an_idle_one_is_ended() {
    let telexd = on_both(Starter::new().set("max_connections=1"));
    let mut one = telexd.client();
    one.ping();
    let mut beyond: Vec<_> = (0..8).map(|_| administrator(&telexd)).collect();
    beyond.iter_mut().for_each(Client::ping);
    let mut ninth = administrator(&telexd);
    ninth.ping();
    let why = farewell(&mut beyond.remove(0));
    assert!(why.as_str().is_some_and(|why| why.contains("8 other administrators")), "{why}");
    beyond.iter_mut().for_each(Client::ping);

    let began = Instant::now();
    std::thread::sleep(Duration::from_secs(5));
    ninth.ping();
    for idle in &mut beyond {
        let why = farewell(idle);
        assert!(why.as_str().is_some_and(|why| why.contains("has sent nothing for 10 s")), "{why}");
    }
    assert!((Duration::from_secs(8)..PATIENCE).contains(&began.elapsed()), "{:?}", began.elapsed());
    ninth.ping();
    farewell(&mut ninth);
    assert!(began.elapsed() > Duration::from_secs(13), "{:?}", began.elapsed());
    one.ping();
}

/// A daemon that may open few files, and connections that it still had descriptors for.
fn with_few_descriptors() -> (Telexd, Vec<Client>) {
    let telexd = on_both(Starter::new().before("ulimit -n 50"));
    let mut taken = Vec::new();
    loop {
        let mut client = telexd.client();
        let _ = client.try_write(b"{\"message_type\":\"ping\"}\n");
        match client.message()["message_type"].as_str() {
            Some("ping_reply") => taken.push(client),
            _ => return (telexd, taken),
        }
    }
}

#[test]
fn a_client_for_which_there_is_no_descriptor_is_told_and_an_administrator_gets_in() {
    let (telexd, mut taken) = with_few_descriptors();
    assert!((15..45).contains(&taken.len()), "{}", taken.len());
    telexd.wait_for_log("no more connections are taken");
    let began = Instant::now();
    let mut crowd: Vec<_> = (0..100).map(|_| telexd.client()).collect();
    for client in &mut crowd {
        let why = farewell(client);
        assert!(why.as_str().is_some_and(|why| why.contains("cannot open more files")), "{why}");
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());

    // While it is short it does not turn round and round.
    let before = (telexd.process().cpu(), taken[0].stats()["turns"].as_u64().unwrap());
    std::thread::sleep(Duration::from_millis(500));
    let after = (telexd.process().cpu(), taken[0].stats()["turns"].as_u64().unwrap());
    assert!(after.0 - before.0 < Duration::from_millis(100), "{before:?} {after:?}");
    assert!(after.1 - before.1 < 20, "{before:?} {after:?}");

    let mut beyond: Vec<_> = (0..9).map(|_| administrator(&telexd)).collect();
    farewell(&mut beyond.remove(0));
    farewell(&mut telexd.client());
    let mut victim = taken.pop().expect("a connection");
    let unique_id = victim.unique_id();
    beyond[0].ask_well("kill", json!({"unique_id": unique_id}));
    drop(beyond);
    wait_until("room", || {
        let mut client = telexd.client();
        let _ = client.try_write(b"{\"message_type\":\"ping\"}\n");
        client.message()["message_type"] == "ping_reply"
    });
    telexd.wait_for_log("connections are taken again");
    taken.iter_mut().for_each(Client::ping);
}

#[test]
fn connections_that_come_and_go_where_descriptors_end_are_no_flood_in_the_log() {
    let (telexd, mut taken) = with_few_descriptors();
    let began = Instant::now();
    for _ in 0..100 {
        taken.pop();
        taken.push(telexd.client());
        taken.iter_mut().for_each(Client::ping);
        farewell(&mut telexd.client());
    }
    let (log, most) = (telexd.log(), began.elapsed().as_secs() + 2);
    for told in ["no more connections are taken", "connections are taken again"] {
        assert!(log.matches(told).count() as u64 <= most, "{log}");
    }
}
