//! What a direct peer can make a service keep, and how long.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::json;
use telex::client::{Error, Handle, To};
use telex::service::Service;

use super::process::Part;
use super::support::{Client, PATIENCE, Telexd, wait_until};
use super::{ask, connect, daemon, echo, unix};

fn path_of(dir: &Path) -> PathBuf {
    dir.join("svc")
}

/// A raw connection, with a deadline.
fn raw(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    stream.set_write_timeout(Some(PATIENCE)).expect("a deadline");
    stream
}

/// What is said until the end.
fn rest(mut stream: UnixStream) -> String {
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error}"),
    }
    String::from_utf8_lossy(&said).into_owned()
}

fn is_well(service: &Service) {
    let mut client = Client::connect(&service.addresses()[0].to_string());
    assert_eq!(client.ask_well("echo", json!(7))["result"], 7);
}

#[test]
fn a_thousand_callers_at_once_are_all_answered() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("more files");
    let telexd = Telexd::start();
    let counter = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&counter);
    let service = echo("svc")
        .listen(unix(telexd.dir(), "svc"))
        .on("count", move |_| Ok::<_, String>(count.fetch_add(1, Ordering::Relaxed).to_string()));
    let service = service.start(&daemon(&telexd)).expect("a service");
    let path = service.addresses()[0].to_string();
    let all = Arc::new(Barrier::new(10));
    let threads: Vec<_> = (0..10)
        .map(|_| {
            let (path, all) = (path.clone(), Arc::clone(&all));
            std::thread::spawn(move || {
                let mut clients: Vec<_> = (0..100).map(|_| Client::connect(&path)).collect();
                all.wait();
                for _ in 0..5 {
                    clients.iter_mut().for_each(|client| client.send(&json!({"message_type": "count"})));
                    let said = clients.iter_mut().map(|client| client.message()["body"]["result"].as_u64());
                    assert!(said.into_iter().all(|number| number.is_some()));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("a thread"));
    assert_eq!(counter.load(Ordering::Relaxed), 5000);
    // One handle has a thousand of its calls under way; it keeps to the bound of the service by itself.
    let direct = connect(&telexd).dial("svc").expect("a direct connection");
    let answers: Vec<_> =
        (0..1000).map(|n: u32| direct.call("svc", "echo", &n.to_string(), PATIENCE)).collect();
    for (n, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.wait().expect("a reply").result(), Some(&*n.to_string()));
    }
}

#[test]
fn a_connection_costs_no_thread() {
    let telexd = Telexd::start();
    let process = Part::Echo.start(&telexd, "svc");
    let before = process.threads();
    let path = telexd.dir().join("echo");
    let mut clients: Vec<_> =
        (0..200).map(|_| Client::connect(&format!("unix:{}", path.display()))).collect();
    clients.iter_mut().for_each(Client::ping);
    assert_eq!(process.threads(), before);
    // The program and the test; the handle's two, the hall, four workers, and the one of the switch.
    assert_eq!(before, 2 + 2 + 1 + 4 + 1);
}

#[test]
fn nothing_spins() {
    let telexd = Telexd::start();
    let process = Part::Echo.start(&telexd, "svc");
    let path = telexd.dir().join("echo");
    let sleep = b"{\"message_type\":\"sleep\",\"body\":3000}\n";
    let mut all: Vec<UnixStream> = (0..5).map(|_| raw(&path)).collect();
    // Half a line; half-closed, closed and crowded while it waits; one that does not read.
    all[0].write_all(b"{").expect("a byte");
    all[1].write_all(sleep).expect("a call");
    all[1].shutdown(std::net::Shutdown::Write).expect("an end");
    all[2].write_all(&sleep.repeat(100)).expect("calls");
    all[3].write_all(&b"{\"message_type\":\"large\",\"body\":500000}\n".repeat(3)).expect("calls");
    all[4].write_all(sleep).expect("a call");
    all.pop();
    let mut client = Client::connect(&format!("unix:{}", path.display()));
    client.ping();
    let before = process.process().cpu();
    std::thread::sleep(Duration::from_secs(1));
    let spent = process.process().cpu() - before;
    assert!(spent < Duration::from_millis(200), "{spent:?}");
    client.ping();
}

#[test]
fn half_a_line_ends_with_its_time() {
    let dir = tempfile::tempdir().expect("a directory");
    let service = echo("svc").listen(unix(dir.path(), "svc")).stall_timeout(Duration::from_millis(300));
    let service = service.start_alone().expect("a service");
    let mut half = raw(&path_of(dir.path()));
    half.write_all(b"{\"message_type\":\"echo\",").expect("half a line");
    let began = Instant::now();
    // More of it now and then does not help.
    let mut dripping = half.try_clone().expect("the same");
    let dripped = std::thread::spawn(move || {
        while dripping.write_all(b" ").is_ok() && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let said = rest(half);
    assert!(said.contains("the rest of a line did not come"), "{said}");
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    dripped.join().expect("a thread");
    // A connection that says nothing is none of that, nor is one whose call takes long.
    let mut idle = Client::connect(&service.addresses()[0].to_string());
    idle.send(&json!({"message_type": "sleep", "body": 1000}));
    assert_eq!(idle.message()["message_type"], "sleep_reply");
    idle.ping();
}

#[test]
fn a_line_of_a_hundred_megabytes_is_skipped() {
    let telexd = Telexd::start();
    let process = Part::Echo.start(&telexd, "svc");
    let mut stream = raw(&telexd.dir().join("echo"));
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..100 {
        stream.write_all(&piece).expect("a piece");
    }
    stream.write_all(b"\n{\"message_type\":\"echo\",\"body\":5}\n").expect("the next line");
    stream.shutdown(std::net::Shutdown::Write).expect("an end");
    let said = rest(stream);
    assert_eq!(said.matches("line_too_long").count(), 1, "{said}");
    assert!(said.contains("\"result\":5"), "{said}");
    drop(process);
}

#[test]
fn one_that_does_not_read_is_not_read_either_and_ends_with_its_time() {
    let dir = tempfile::tempdir().expect("a directory");
    let service = echo("svc").listen(unix(dir.path(), "svc")).stall_timeout(Duration::from_millis(500));
    let service = service.start_alone().expect("a service");
    let mut deaf = raw(&path_of(dir.path()));
    let line = b"{\"message_type\":\"large\",\"body\":100000}\n".repeat(1000);
    let began = Instant::now();
    let written = deaf.write_all(&line).and_then(|()| deaf.write_all(&line.repeat(100)));
    let error = written.expect_err("the connection is closed");
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    is_well(&service);
}

#[test]
fn all_that_was_read_at_once_is_answered() {
    let dir = tempfile::tempdir().expect("a directory");
    let service = echo("svc").listen(unix(dir.path(), "svc")).start_alone().expect("a service");
    let mut stream = raw(&path_of(dir.path()));
    let reader = stream.try_clone().expect("the same");
    let said = std::thread::spawn(move || rest(reader));
    // The answers are ten times as long.
    stream.write_all(&b"{\"message_type\":\"whoami\"}\n".repeat(20_000)).expect("all of them");
    stream.write_all(&b"{\"message_type\":\"echo\"}\n".repeat(2000)).expect("all of them");
    stream.shutdown(std::net::Shutdown::Write).expect("an end");
    let said = said.join().expect("a thread");
    assert_eq!((said.matches("whoami_reply").count(), said.matches("echo_reply").count()), (20_000, 2000));
    is_well(&service);
}

#[test]
fn the_memory_of_all_is_bounded_and_the_largest_goes() {
    let dir = tempfile::tempdir().expect("a directory");
    let service = echo("svc").listen(unix(dir.path(), "svc")).max_memory_bytes(3 << 20).start_alone();
    let service = service.expect("a service");
    let mut small = Client::connect(&service.addresses()[0].to_string());
    small.write(b"{\"message_type\":\"echo\",");
    let mut greedy = Vec::new();
    for _ in 0..64 {
        let mut stream = raw(&path_of(dir.path()));
        // The service may close it in the middle of that.
        let _ = stream.write_all(&vec![b'['; 1_000_000]);
        greedy.push(stream);
    }
    is_well(&service);
    small.write(b"\"body\":3}\n");
    assert_eq!(small.message()["body"]["result"], 3);
    let told = greedy.into_iter().filter(|stream| {
        stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a deadline");
        let mut said = String::new();
        let _ = (&*stream).read_to_string(&mut said);
        said.contains("overloaded")
    });
    assert!(told.count() > 56);
}

#[test]
fn half_lines_do_not_make_the_process_grow() {
    let telexd = Telexd::start();
    let process = Part::Echo.start(&telexd, "svc");
    let path = telexd.dir().join("echo");
    let mut all = Vec::new();
    for _ in 0..200 {
        let mut stream = raw(&path);
        // The service may close it in the middle of that.
        let _ = stream.write_all(&vec![b'['; 1_000_000]);
        all.push(stream);
    }
    let mut client = Client::connect(&format!("unix:{}", path.display()));
    assert_eq!(client.ask_well("echo", json!(7))["result"], 7);
    let peak = process.process().rss_peak_kib();
    assert!(peak < 130 << 10, "{peak} KiB");
}

#[test]
fn connections_beyond_the_bound_are_told_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let service = echo("svc").listen(unix(dir.path(), "svc")).max_connections(3).start_alone();
    let service = service.expect("a service");
    let address = service.addresses()[0].to_string();
    let mut clients: Vec<_> = (0..3).map(|_| Client::connect(&address)).collect();
    clients.iter_mut().for_each(Client::ping);
    for _ in 0..200 {
        let told = rest(raw(&path_of(dir.path())));
        assert!(told.contains("\"code\":\"overloaded\""), "{told}");
    }
    clients.iter_mut().for_each(Client::ping);
    drop(clients.pop());
    wait_until("room", || {
        Client::try_connect(&address).is_ok_and(|mut client| {
            client.send(&json!({"message_type": "ping"}));
            client.message()["message_type"] == "ping_reply"
        })
    });
}

#[test]
fn callers_that_are_gone_leave_nothing_behind() {
    let dir = tempfile::tempdir().expect("a directory");
    let done = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&done);
    let service =
        echo("svc").listen(unix(dir.path(), "svc")).workers(1).max_connections(20).on_signal(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
    let service = service.start_alone().expect("a service");
    // What a caller says before it goes is handled.
    for crowd in 1..=10 {
        for _ in 0..10 {
            let mut stream = raw(&path_of(dir.path()));
            stream.write_all(&b"{\"message_type\":\"signal\"}\n".repeat(10)).expect("ten");
        }
        wait_until("the signals", || done.load(Ordering::Relaxed) == 100 * crowd);
    }
    // While a call takes long, those that have left wait in their places, and no more than there are.
    let mut slow = Client::connect(&service.addresses()[0].to_string());
    wait_until("room", || {
        slow = Client::connect(&service.addresses()[0].to_string());
        slow.try_write(b"{\"message_type\":\"ping\"}\n").is_ok()
            && slow.line().is_some_and(|line| line.contains("ping_reply"))
    });
    slow.send(&json!({"message_type": "sleep", "body": 1500}));
    let mut refused = 0;
    for _ in 0..100 {
        let mut stream = raw(&path_of(dir.path()));
        let _ = stream.write_all(&b"{\"message_type\":\"echo\"}\n".repeat(100));
        let _ = stream.shutdown(std::net::Shutdown::Write);
        stream.set_read_timeout(Some(Duration::from_millis(50))).expect("a deadline");
        let mut said = String::new();
        let _ = stream.read_to_string(&mut said);
        refused += usize::from(said.contains("overloaded"));
    }
    assert!(refused >= 70, "{refused}");
    assert_eq!(slow.message()["message_type"], "sleep_reply");
    wait_until("all of them", || {
        let mut client = Client::connect(&service.addresses()[0].to_string());
        client.send(&json!({"message_type": "ping"}));
        client.message()["message_type"] == "ping_reply"
    });
}

#[test]
fn what_comes_through_the_switch_is_bounded_and_told() {
    let telexd = Telexd::start();
    let service = echo("svc").workers(1).start(&daemon(&telexd)).expect("a service");
    let callers: Vec<Handle> = (0..3).map(|_| connect(&telexd)).collect();
    let slow = callers[0].call("svc", "sleep", "1500", PATIENCE);
    let answers: Vec<_> = callers
        .iter()
        .flat_map(|caller| (0..2000).map(move |_| caller.call("svc", "echo", "1", PATIENCE)))
        .collect();
    let mut counts = [0, 0];
    for answer in answers {
        match answer.wait() {
            Ok(_) => counts[0] += 1,
            Err(telex::client::Error::Node(why)) if why.code() == Some("overloaded") => counts[1] += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(counts[0] >= 4000 && counts[1] > 1000, "{counts:?}");
    slow.wait().expect("a reply");
    assert_eq!(ask(&callers[1], "svc", "echo", "2"), "2");
    drop(service);
}

#[test]
fn signals_without_room_wait_while_requests_are_answered() {
    let telexd = Telexd::start();
    let heard = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&heard);
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let service = echo("svc").workers(1).on_signal(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let service = service.on("hold", move |_| {
        let _ = held.lock().expect("a lock").recv_timeout(PATIENCE);
        Ok::<_, String>("")
    });
    let service = service.start(&daemon(&telexd)).expect("a service");
    let (slow, handle) = (connect(&telexd), connect(&telexd));
    let hold = slow.call("svc", "hold", "", PATIENCE);
    slow.ping().wait().expect("a pong");
    for _ in 0..6000 {
        handle.send("svc", "1").expect("sent");
    }
    let error = handle.call("svc", "echo", "1", PATIENCE).wait().expect_err("no room");
    assert!(matches!(&error, Error::Node(why) if why.code() == Some("overloaded")), "{error}");
    assert_eq!(heard.load(Ordering::Relaxed), 0, "the only worker is held");
    drop(release);
    hold.wait().expect("a reply");
    // At its end it hands on what waits.
    drop(service);
    assert_eq!(heard.load(Ordering::Relaxed), 6000);
}

#[test]
fn a_caller_that_goes_is_let_go_while_a_child_holds_its_socket() {
    let telexd = Telexd::start();
    let process = Part::Echo.start(&telexd, "svc");
    let address = format!("unix:{}", telexd.dir().join("echo").display());
    let mut client = Client::connect(&address);
    let child = client.ask_well("fork", json!(null))["result"].as_i64().expect("a process ID");
    client.finish_writing();
    assert!(client.rest().is_empty(), "it sees the end");
    let before = process.process().cpu();
    std::thread::sleep(Duration::from_secs(1));
    let spent = process.process().cpu() - before;
    assert!(spent < Duration::from_millis(200), "{spent:?}");
    Client::connect(&address).ping();
    let child = nix::unistd::Pid::from_raw(i32::try_from(child).expect("a process ID"));
    nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGKILL).expect("SIGKILL");
}

#[test]
fn a_child_of_a_fork_may_drop_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let telexd = Telexd::start();
    let service = echo("svc").listen(unix(dir.path(), "svc")).start(&daemon(&telexd)).expect("a service");
    // SAFETY: the child drops the service and ends, without a lock that another thread may hold.
    #[expect(unsafe_code, reason = "fork(2) is what this is about")]
    let child = match unsafe { nix::unistd::fork() }.expect("a child") {
        nix::unistd::ForkResult::Parent { child } => child,
        nix::unistd::ForkResult::Child => {
            drop(service);
            unsafe { nix::libc::_exit(0) }
        }
    };
    let status = nix::sys::wait::waitpid(child, None).expect("its end");
    assert_eq!(status, nix::sys::wait::WaitStatus::Exited(child, 0));
    is_well(&service);
    assert!(path_of(dir.path()).exists());
    let answer = connect(&telexd).call(To::Node("svc"), "echo", "1", PATIENCE).wait().expect("a reply");
    assert_eq!(answer.result(), Some("1"));
}
