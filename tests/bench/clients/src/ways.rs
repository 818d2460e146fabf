//! Knows the clients and the services: how each of them is asked, and answers.
//! Never: how that is measured.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use telex::address::{Address, Host};
use telex::client::{Client, Handle};

/// What is sent, and comes back.
pub(crate) const TEXT: &str = "0123456789abcdef";
const BODY: &str = "\"0123456789abcdef\"";
const PATIENCE: Duration = Duration::from_secs(30);

/// What a way did: the requests that were answered.
pub(crate) type Done = u64;

/// Answers until the process is killed.
pub(crate) fn serve(server: &str, address: &str) {
    let ready = || {
        let mut out = std::io::stdout();
        out.write_all(b"!").and_then(|()| out.flush()).expect("a reader");
    };
    match server {
        "nats" => runtime().block_on(async {
            let client = async_nats::connect(address).await.expect("a connection");
            let mut requests = client.subscribe("echo").await.expect("a subscription");
            client.flush().await.expect("it is known");
            ready();
            while let Some(request) = requests.next().await {
                if let Some(reply) = request.reply {
                    client.publish(reply, request.payload).await.expect("sent");
                }
            }
        }),
        "zbus" => runtime().block_on(async {
            let builder = zbus::connection::Builder::address(address);
            let builder = builder.name("telex.Echo");
            let _connection = builder.serve_at("/echo", Echo).build().await.expect("a bus");
            ready();
            std::future::pending::<()>().await;
        }),
        _ => {
            let handle = Handle::connect(&telex_address(address)).expect("a connection");
            handle.register("echo").wait().expect("a name");
            handle.on("echo", |request| Ok::<_, String>(request.body().unwrap_or_default().to_owned()));
            ready();
            loop {
                std::thread::park();
            }
        }
    }
}

struct Echo;

#[zbus::interface(name = "telex.Echo")]
impl Echo {
    fn echo(&self, text: String) -> String {
        text
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn telex_address(text: &str) -> Address {
    Address::parse(text).expect("an address")
}

/// A call at a time, on one thread.
pub(crate) fn telex_client(address: &str, _: usize, until: Instant) -> Done {
    let mut client = Client::connect(&telex_address(address)).expect("a connection");
    let mut done = 0;
    while Instant::now() < until {
        client.call("echo", "echo", BODY, PATIENCE).expect("an answer");
        done += 1;
    }
    done
}

/// So many calls on their way, waited for in their order.
pub(crate) fn telex_blocking(address: &str, in_flight: usize, until: Instant) -> Done {
    let handle = Handle::connect(&telex_address(address)).expect("a connection");
    let call = || handle.call("echo", "echo", BODY, PATIENCE);
    let mut answers: VecDeque<_> = (0..in_flight).map(|_| call()).collect();
    let mut done = 0;
    while Instant::now() < until {
        let answer = answers.pop_front().expect("one is on its way");
        answer.wait().expect("an answer");
        answers.push_back(call());
        done += 1;
    }
    done
}

/// So many tasks, each of which asks again when it is answered.
async fn keep<F: Future<Output = ()>>(
    in_flight: usize,
    until: Instant,
    ask: impl Fn() -> F + Clone + 'static,
) -> Done
where
    F: 'static,
{
    let done = Rc::new(Cell::new(0));
    let tasks = tokio::task::LocalSet::new();
    for _ in 0..in_flight {
        let (ask, done) = (ask.clone(), Rc::clone(&done));
        tasks.spawn_local(async move {
            while Instant::now() < until {
                ask().await;
                done.set(done.get() + 1);
            }
        });
    }
    tasks.await;
    done.get()
}

pub(crate) fn telex_futures(address: &str, in_flight: usize, until: Instant) -> Done {
    let handle = Handle::connect(&telex_address(address)).expect("a connection");
    runtime().block_on(keep(in_flight, until, move || {
        let answer = handle.call("echo", "echo", BODY, PATIENCE);
        async move { drop(answer.await.expect("an answer")) }
    }))
}

pub(crate) fn nats_futures(address: &str, in_flight: usize, until: Instant) -> Done {
    runtime().block_on(async {
        let client = async_nats::connect(address).await.expect("a connection");
        keep(in_flight, until, move || {
            let client = client.clone();
            async move { drop(client.request("echo", TEXT.into()).await.expect("an answer")) }
        })
        .await
    })
}

/// So many commands in each pipeline.
pub(crate) fn redis_blocking(address: &str, in_flight: usize, until: Instant) -> Done {
    let client = redis::Client::open(format!("redis://{address}")).expect("an address");
    let mut connection = client.get_connection().expect("a connection");
    let mut done = 0;
    while Instant::now() < until {
        let mut pipe = redis::pipe();
        for _ in 0..in_flight {
            pipe.cmd("ECHO").arg(TEXT);
        }
        let answers: Vec<String> = pipe.query(&mut connection).expect("answers");
        done += answers.len() as u64;
    }
    done
}

pub(crate) fn redis_futures(address: &str, in_flight: usize, until: Instant) -> Done {
    runtime().block_on(async {
        let client = redis::Client::open(format!("redis://{address}")).expect("an address");
        let connection = client.get_multiplexed_async_connection().await.expect("a connection");
        keep(in_flight, until, move || {
            let mut connection = connection.clone();
            async move {
                let answer: String =
                    redis::cmd("ECHO").arg(TEXT).query_async(&mut connection).await.expect("an answer");
                assert_eq!(answer.len(), TEXT.len());
            }
        })
        .await
    })
}

pub(crate) fn zbus_futures(address: &str, in_flight: usize, until: Instant) -> Done {
    runtime().block_on(async {
        let builder = zbus::connection::Builder::address(address);
        let connection = builder.build().await.expect("a bus");
        keep(in_flight, until, move || {
            let connection = connection.clone();
            async move {
                let (name, path) = ("telex.Echo", "/echo");
                let answer = connection.call_method(Some(name), path, Some(name), "Echo", &TEXT).await;
                drop(answer.expect("an answer"));
            }
        })
        .await
    })
}

/// Publishes messages of 128 bytes, 1,000 in a row, to a topic that nothing subscribes to.
pub(crate) fn telex_publish(address: &str, in_flight: usize, until: Instant) -> Done {
    let handle = Handle::connect(&telex_address(address)).expect("a connection");
    let body = format!("\"{}\"", "x".repeat(126));
    let mut done = 0;
    while Instant::now() < until {
        for _ in 0..in_flight {
            handle.publish("a.topic", &body).expect("room");
        }
        handle.ping().wait().expect("an answer");
        done += in_flight as u64;
    }
    done
}

trait Socket: Read + Write {}
impl<T: Read + Write> Socket for T {}

/// The round trips of a bare socket that writes and reads the lines of a blocking call, and of that call itself, by
/// turns: the nanoseconds of each.
pub(crate) fn beside_a_socket(address: &str, until: Instant) -> [f64; 2] {
    const TURN: u32 = 200;
    let address = telex_address(address);
    let mut client = Client::connect(&address).expect("a connection");
    let socket: Box<dyn Socket> = match &address {
        Address::Unix(path) => Box::new(UnixStream::connect(path).expect("a connection")),
        Address::Tcp(Host::Name(host), port) => {
            let stream = TcpStream::connect((host.as_str(), *port)).expect("a connection");
            stream.set_nodelay(true).expect("a socket");
            Box::new(stream)
        }
        other => panic!("{other} is not measured"),
    };
    let mut socket = BufReader::new(socket);
    let mut line = String::new();
    let (mut spent, mut number) = ([Duration::ZERO; 2], 0_u32);
    while Instant::now() < until {
        let began = Instant::now();
        for _ in 0..TURN {
            number += 1;
            let ask = format!(
                "{{\"message_id\":\"0123456789abcdef-{number}\",\"message_type\":\"echo\",\"to\":\"echo\",\"timeout_ms\":30000,\"body\":{BODY}}}\n"
            );
            socket.get_mut().write_all(ask.as_bytes()).expect("room");
            line.clear();
            socket.read_line(&mut line).expect("an answer");
        }
        let between = Instant::now();
        for _ in 0..TURN {
            client.call("echo", "echo", BODY, PATIENCE).expect("an answer");
        }
        spent[0] += between - began;
        spent[1] += between.elapsed();
    }
    spent.map(|spent| spent.as_nanos() as f64 / f64::from(number))
}
