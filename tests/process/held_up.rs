//! A daemon that was held up: what was done in time counts as that.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Client, Starter, Telexd};

const TIMEOUT_MS: u64 = 1000;

/// Has the daemon do nothing until the time of what was asked before is over.
fn hold_up(telexd: &Telexd, act: impl FnOnce()) {
    telexd.suspend();
    act();
    std::thread::sleep(Duration::from_millis(TIMEOUT_MS + 200));
    telexd.resume();
}

#[test]
fn an_answer_that_was_given_in_time_is_no_timeout() {
    let starter = Starter::new();
    let socket = format!("unix:{}", starter.dir().join("telex.sock").display());
    // A turn takes less than what waits, so that the answers are read several turns behind the pause.
    let starter = starter.listen(&socket).listen("tcp:127.0.0.1:0").set("turn_bytes=64KiB");
    let telexd = starter.start();
    let line = format!("{}\n", json!({"message_type": "signal", "topic": "nothing"}));
    let mut crowd: Vec<_> = (0..20).map(|_| telexd.client()).collect();
    for address in &telexd.addresses {
        let (mut asker, mut worker) = (telexd.client(), Client::connect(address));
        worker.register("worker");
        let mut from = Value::Null;
        for id in ["answered", "late"] {
            asker.send(
                &json!({"message_id": id, "message_type": "ask", "to": "worker", "timeout_ms": TIMEOUT_MS}),
            );
            let asked = worker.message();
            assert_eq!(asked["message_id"], json!(id));
            from = asked["from"].clone();
        }
        hold_up(&telexd, || {
            for client in &mut crowd {
                client.write(line.repeat(2000).as_bytes());
            }
            worker.write(line.repeat(1000).as_bytes());
            let body = json!({"in_reply_to": "answered"});
            worker.send(&json!({"message_type": "ask_reply", "to": from, "body": body}));
        });
        let told = [asker.message(), asker.message()];
        assert_eq!(told[0]["body"]["in_reply_to"], json!("answered"), "{told:?}");
        assert_eq!(told[0]["body"]["code"], Value::Null, "{told:?}");
        assert_eq!(told[1]["body"]["in_reply_to"], json!("late"), "{told:?}");
        assert_eq!(told[1]["body"]["code"], json!("timeout"), "{told:?}");
        worker.ping();
        worker.ask_well("unregister", json!({"node_id": "worker"}));
    }
}
