//! Answers and streams on runtimes that other people wrote.

use telex::client::{Answer, Arrival, Error, Handle, Message};

use crate::daemon::{Daemon, SOON};

/// A hundred calls at once, a subscription, and a future that is dropped.
async fn talk(client: Handle) -> usize {
    let mut news = client.subscribe("news", None).await.expect("subscribed");
    drop(client.call("echo", "echo", "0", SOON));
    let answers: Vec<Answer> =
        (0..100).map(|n: i32| client.call("echo", "echo", &n.to_string(), SOON)).collect();
    for (n, answer) in answers.into_iter().enumerate() {
        let reply: Result<Message, Error> = answer.await;
        assert_eq!(reply.expect("a reply").result(), Some(&*n.to_string()));
    }
    client.publish("news", "7").expect("sent");
    let arrival = news.next().await.expect("an arrival");
    assert!(matches!(arrival, Arrival::Message(message) if message.body() == Some("7")));
    client.list(&Default::default()).await.expect("a list").nodes.len()
}

fn echo(daemon: &Daemon) -> Handle {
    let service = daemon.connect();
    service.register("echo").wait().expect("registered");
    service.on("echo", |request| Ok::<_, String>(request.body().unwrap_or("null").to_owned()));
    service
}

#[test]
fn tokio_awaits() {
    let daemon = Daemon::start(&[]);
    let _service = echo(&daemon);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let tasks: Vec<_> = (0..3).map(|_| runtime.spawn(talk(daemon.connect()))).collect();
    for task in tasks {
        assert_eq!(runtime.block_on(task).expect("a task"), 1);
    }
}

#[test]
fn smol_awaits() {
    let daemon = Daemon::start(&[]);
    let _service = echo(&daemon);
    let tasks: Vec<_> = (0..3).map(|_| smol::spawn(talk(daemon.connect()))).collect();
    for task in tasks {
        assert_eq!(smol::block_on(task), 1);
    }
}
