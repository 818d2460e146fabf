//! The plugin against a socket in place of `/dev/log`, and servers of UDP and TCP, without the daemon.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use serde_json::{Value, json};
use telex_log::Logger;
use telex_log::testing::{
    self, ALICE, PATIENCE, bind, messages, path, record, wait_until, without_waiting, write,
};
use telex_plugin::{Fault, Level, Record};

fn start(config: &Value) -> (Logger, Receiver<String>) {
    testing::start(log_syslog::start, config)
}

/// What stands behind the head of a message.
fn message(text: &str) -> String {
    let head = if text.contains("]: ") { "]: " } else { " 0 - " };
    text.split_once(head).unwrap_or_else(|| panic!("{text}")).1.to_owned()
}

/// A socket in place of `/dev/log`.
struct DevLog(UnixDatagram);

impl DevLog {
    fn text(&self) -> String {
        let mut bytes = [0; 65536];
        let count = self.0.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..count].to_vec()).unwrap()
    }

    fn messages(&self, count: usize) -> Vec<String> {
        (0..count).map(|_| message(&self.text())).collect()
    }

    /// Reads up to the first `last N`: that number, how many were received in all, and how many are told to
    /// be lost.
    fn read_to_last(&self) -> (usize, usize, usize) {
        let (mut received, mut lost) = (0, 0);
        loop {
            let message = message(&self.text());
            match message.strip_suffix(" records lost") {
                Some(count) => lost += count.parse::<usize>().unwrap(),
                None => received += 1,
            }
            if let Some(number) = message.strip_prefix("last ") {
                return (number.parse().unwrap(), received, lost);
            }
        }
    }
}

#[test]
fn a_record_is_sent_at_once() {
    let (_dir, path) = path();
    let syslog = DevLog(bind(&path));
    let (mut log, _told) = start(&json!({"path": path, "facility": "local3", "tag": "exchange"}));
    syslog.0.set_nonblocking(true).unwrap();
    log.record(&ALICE).unwrap();
    let text = syslog.text();
    assert!(text.starts_with("<158>"), "local3 is 19, info is 6: {text}");
    assert!(text.ends_with(&format!(" exchange[{}]: :7 is alice", std::process::id())), "{text}");
}

#[test]
fn what_is_below_the_level_is_not_sent() {
    let (_dir, path) = path();
    let syslog = DevLog(bind(&path));
    let (mut log, _told) = start(&json!({"path": path, "level": "warning"}));
    for level in [Level::Debug, Level::Info, Level::Notice, Level::Warning] {
        log.record(&Record { level, ..record(level.word()) }).unwrap();
    }
    assert_eq!(syslog.messages(1), ["warning"]);
}

#[test]
fn a_socket_that_appears_later_gets_what_waited() {
    let (_dir, path) = path();
    let (mut log, told) = start(&json!({"path": path}));
    write(&mut log, 0..3);
    let trouble = told.recv_timeout(PATIENCE).unwrap();
    let name = path.display();
    assert!(trouble.starts_with(&format!("error: cannot write to {name}: No such file")), "{trouble}");
    let syslog = DevLog(bind(&path));
    assert_eq!(syslog.messages(3), messages(0..3));
    write(&mut log, 3..4);
    assert_eq!(syslog.messages(1), messages(3..4));
    let well = told.recv_timeout(PATIENCE).unwrap();
    assert_eq!(well, format!("notice: {name} is written to again"));
}

#[test]
fn a_socket_that_is_restarted_gets_all() {
    let (_dir, path) = path();
    let syslog = DevLog(bind(&path));
    let (mut log, told) = start(&json!({"path": path}));
    write(&mut log, 0..3);
    assert_eq!(syslog.messages(3), messages(0..3));
    drop(syslog);
    write(&mut log, 3..6);
    let trouble = told.recv_timeout(PATIENCE).unwrap();
    assert!(trouble.contains("Connection refused"), "{trouble}");
    let syslog = DevLog(bind(&path));
    write(&mut log, 6..9);
    assert_eq!(syslog.messages(6), messages(3..9), "in the order in which they came");
}

#[test]
fn who_does_not_read_holds_nobody_up_and_is_told_what_is_lost() {
    let (_dir, path) = path();
    let syslog = DevLog(bind(&path));
    let (log, _told) = start(&json!({"path": path, "max_queue_bytes": "4KiB"}));
    let mut log = without_waiting(move || {
        let mut log = log;
        for number in 0..10_000 {
            assert_eq!(log.record(&record(&format!("record {number}"))), Ok(()));
            log.flush();
        }
        log
    });
    let (mut received, mut lost) = (0, 0);
    while received + lost < 10_000 {
        let message = message(&syslog.text());
        match message.strip_suffix(" records lost") {
            Some(count) => lost += count.parse::<usize>().unwrap(),
            None => {
                assert_eq!(message, format!("record {}", received + lost), "in its place");
                received += 1;
            }
        }
    }
    assert!(received > 10 && lost > 1000, "{received} received, {lost} lost");
    write(&mut log, 10_000..10_001);
    assert_eq!(syslog.messages(1), messages(10_000..10_001));
}

#[test]
fn in_a_flood_all_is_received_or_counted() {
    let (_dir, path) = path();
    let syslog = DevLog(bind(&path));
    let reader = spawn(move || syslog.read_to_last());
    let (mut log, _told) = start(&json!({"path": path, "max_queue_bytes": "64KiB"}));
    for hundred in 0..200 {
        write(&mut log, hundred * 100..hundred * 100 + 100);
    }
    let mut lasts = 0;
    wait_until("there is room for a last one", || {
        lasts += 1;
        log.record(&record(&format!("last {lasts}"))).unwrap();
        log.flush();
        sleep(Duration::from_millis(100));
        reader.is_finished()
    });
    let (lasts, received, lost) = reader.join().unwrap();
    assert_eq!(received + lost, 20_000 + lasts, "{received} received, {lost} lost");
    assert!(received > 1000, "{received} received, {lost} lost");
}

#[test]
fn what_waits_while_nobody_is_there_is_bounded_and_a_fault_where_it_is_lost() {
    let (_dir, path) = path();
    let (mut log, told) = start(&json!({"path": path, "max_queue_bytes": "4KiB"}));
    write(&mut log, 0..1);
    told.recv_timeout(PATIENCE).unwrap();
    let results: Vec<_> = (1..1000).map(|number| log.record(&record(&format!("record {number}")))).collect();
    let taken = results.iter().take_while(|result| result.is_ok()).count();
    assert!((10..200).contains(&taken), "{taken}");
    assert!(results[taken..].iter().all(|result| *result == Err(Fault)));
    let syslog = DevLog(bind(&path));
    assert_eq!(syslog.messages(taken + 1), messages(0..taken + 1));
    assert_eq!(syslog.messages(1), [format!("{} records lost", 999 - taken)]);
}

#[test]
fn the_end_does_not_wait_for_ever() {
    let (_dir, path) = path();
    let _syslog = DevLog(bind(&path));
    let (mut log, told) = start(&json!({"path": path}));
    write(&mut log, 0..1000);
    let begun = Instant::now();
    without_waiting(move || drop(log));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let end = told.iter().last().unwrap();
    assert!(end.contains(" records lost, which "), "{end}");
}

#[test]
fn nobody_forges_a_record() {
    let (_dir, path) = path();
    let syslog = DevLog(bind(&path));
    let (mut log, _told) = start(&json!({"path": path}));
    let forged = "is a\n<24>Oct 31 12:00:00 su[1]: root\r\0\u{1b}[2J\u{85}";
    log.record(&record(forged)).unwrap();
    log.record(&record("is b")).unwrap();
    let text = syslog.text();
    assert!(!text.contains(char::is_control), "{text}");
    assert_eq!(syslog.messages(1), ["is b"], "it was one datagram");
}

#[test]
fn a_wrong_configuration_is_refused_with_what_would_be_right() {
    let wrong = [
        (json!({"path": "/dev/log", "server": "udp://a:1"}), "path and server: it takes only one of them"),
        (json!({"path": "x".repeat(108)}), "path: xxxxx"),
        (json!({"path": 7}), "path: invalid type: integer `7`"),
        (json!({"server": "loghost"}), "server: \"loghost\" is no address, such as \"udp://loghost:514\""),
        (json!({"facility": "deamon"}), "facility: \"deamon\" is none; it takes kern, user"),
        (json!({"tag": "a b"}), "tag: \"a b\" is no name of a program"),
        (json!({"host": "a"}), "host: unknown field `host`, expected one of `path`, `server`"),
    ];
    testing::assert_refused(log_syslog::start, wrong);
}

fn udp(at: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(at).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    socket
}

/// One message, where one comes within a moment.
fn datagram(socket: &UdpSocket) -> Option<String> {
    let mut bytes = [0; 65536];
    match socket.recv(&mut bytes) {
        Ok(count) => Some(message(std::str::from_utf8(&bytes[..count]).unwrap())),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => panic!("{error}"),
    }
}

const ANY_PORT: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

#[test]
fn a_server_of_udp_may_go_away_and_come_back() {
    let server = udp(ANY_PORT.into());
    let address = server.local_addr().unwrap();
    let (mut log, told) = start(&json!({"server": format!("udp://{address}")}));
    write(&mut log, 0..3);
    let mut received = Vec::new();
    wait_until("the first are received", || {
        received.extend(datagram(&server));
        received.len() == 3
    });
    assert_eq!(received, messages(0..3));
    drop(server);
    let mut count = 3;
    let mut write_for = |time: Duration| {
        let begun = Instant::now();
        loop {
            write(&mut log, count..count + 1);
            count += 1;
            sleep(Duration::from_millis(20));
            if begun.elapsed() >= time {
                return format!("record {}", count - 1);
            }
        }
    };
    // Time to be tried some more times, of which every other one seems to succeed.
    write_for(Duration::from_secs(4));
    let troubles: Vec<_> = told.try_iter().collect();
    assert!(troubles.len() == 1 && troubles[0].contains("Connection refused"), "{troubles:?}");
    let server = udp(address);
    let mut last = String::new();
    wait_until("it is told that somebody is there again", || {
        last = write_for(Duration::from_millis(20));
        // More than a socket holds may come meanwhile.
        while datagram(&server).is_some_and(|received| received != last) {}
        told.try_recv().is_ok_and(|told| told.ends_with(" is written to again"))
    });
    last = write_for(Duration::from_millis(1));
    wait_until("all is received again", || datagram(&server).as_ref() == Some(&last));
}

/// A stream socket in place of `/dev/log`.
fn stream(path: &Path) -> UnixListener {
    let _ = fs::remove_file(path);
    UnixListener::bind(path).unwrap()
}

/// The next connection to it.
fn accepted(listener: &UnixListener) -> BufReader<UnixStream> {
    listener.set_nonblocking(true).unwrap();
    let mut accepted = None;
    wait_until("it connects", || {
        accepted = listener.accept().ok();
        accepted.is_some()
    });
    let (stream, _) = accepted.unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(stream)
}

/// So many records, each on a line.
fn lines(stream: &mut BufReader<UnixStream>, count: usize) -> Vec<String> {
    let line = |_| {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        message(line.strip_suffix('\n').unwrap())
    };
    (0..count).map(line).collect()
}

#[test]
fn a_stream_socket_gets_lines_and_may_be_restarted_and_become_another_kind() {
    let (_dir, path) = path();
    let syslog = stream(&path);
    let (mut log, told) = start(&json!({"path": path}));
    write(&mut log, 0..3);
    let mut connection = accepted(&syslog);
    assert_eq!(lines(&mut connection, 3), messages(0..3));
    log.record(&record("is a\n<24>Oct 31 12:00:00 su[1]: root")).unwrap();
    log.flush();
    assert_eq!(lines(&mut connection, 1), ["is a\u{fffd}<24>Oct 31 12:00:00 su[1]: root"]);
    drop((syslog, connection));
    write(&mut log, 3..6);
    let trouble = told.recv_timeout(PATIENCE).unwrap();
    assert!(trouble.contains("Broken pipe"), "{trouble}");
    let syslog = stream(&path);
    let mut connection = accepted(&syslog);
    write(&mut log, 6..9);
    assert_eq!(lines(&mut connection, 6), messages(3..9));
    drop((syslog, connection));
    let syslog = DevLog(bind(&path));
    write(&mut log, 9..12);
    assert_eq!(syslog.messages(3), messages(9..12));
    drop(syslog);
    let syslog = stream(&path);
    write(&mut log, 12..15);
    assert_eq!(lines(&mut accepted(&syslog), 3), messages(12..15));
}

#[test]
fn a_line_that_a_stream_socket_has_half_read_begins_anew_in_the_next() {
    let (_dir, path) = path();
    let syslog = stream(&path);
    let (mut log, _told) = start(&json!({"path": path, "max_queue_bytes": "8MiB"}));
    // More than the buffers of a connection hold.
    let long = "x".repeat(8000);
    for _ in 0..200 {
        log.record(&record(&long)).unwrap();
    }
    log.flush();
    let mut first = accepted(&syslog);
    let whole = lines(&mut first, 3).len();
    drop(first);
    let mut second = accepted(&syslog);
    let mut line = String::new();
    second.read_line(&mut line).unwrap();
    assert_eq!((whole, message(line.strip_suffix('\n').unwrap())), (3, long));
}

#[test]
fn a_stream_socket_that_does_not_read_or_accept_holds_nobody_up() {
    let (_dir, path) = path();
    let _syslog = stream(&path);
    for accepts in [true, false] {
        let (log, told) = start(&json!({"path": path, "max_queue_bytes": "64KiB"}));
        let mut others = Vec::new();
        if !accepts {
            let address = UnixAddr::new(&path).unwrap();
            // All who may wait to be accepted do.
            while let Some(other) = waits(&address) {
                others.push(other);
            }
        }
        without_waiting(move || {
            let mut log = log;
            for number in 0..20_000 {
                log.record(&record(&format!("record {number}"))).unwrap();
                log.flush();
            }
            drop(log);
        });
        assert!(told.iter().last().unwrap().contains("records lost, which"), "accepts: {accepts}");
    }
}

/// A connection that waits to be accepted; none if there is no room for one.
fn waits(address: &UnixAddr) -> Option<OwnedFd> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let own = socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
    connect(own.as_raw_fd(), address).ok().map(|()| own)
}

/// What comes over a connection.
struct Accepted(BufReader<TcpStream>);

impl Accepted {
    fn at(server: &TcpListener) -> Accepted {
        server.set_nonblocking(true).unwrap();
        let mut accepted = None;
        wait_until("somebody connects", || {
            accepted = server.accept().ok();
            accepted.is_some()
        });
        let (stream, _) = accepted.unwrap();
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Accepted(BufReader::new(stream))
    }

    fn message(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        message(line.strip_suffix('\n').unwrap())
    }

    fn messages(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.message()).collect()
    }
}

#[test]
fn a_server_of_tcp_may_go_away_and_come_back() {
    let server = TcpListener::bind(ANY_PORT).unwrap();
    let address = server.local_addr().unwrap();
    let (mut log, told) = start(&json!({"server": format!("tcp://{address}")}));
    write(&mut log, 0..3);
    let mut accepted = Accepted::at(&server);
    assert_eq!(accepted.messages(3), messages(0..3));
    drop((server, accepted));
    write(&mut log, 3..6);
    wait_until("it is told that nobody is there", || {
        told.recv_timeout(PATIENCE).unwrap().contains("Connection refused")
    });
    let server = TcpListener::bind(address).unwrap();
    write(&mut log, 6..9);
    assert_eq!(Accepted::at(&server).messages(6), messages(3..9));
    assert!(told.recv_timeout(PATIENCE).unwrap().ends_with(" is written to again"));
}

#[test]
fn a_server_of_tcp_that_hangs_up_while_nothing_is_sent_costs_nothing() {
    let server = TcpListener::bind(ANY_PORT).unwrap();
    let (mut log, _told) = start(&json!({"server": format!("tcp://{}", server.local_addr().unwrap())}));
    for round in 0..3 {
        write(&mut log, round..round + 1);
        assert_eq!(Accepted::at(&server).messages(1), messages(round..round + 1));
    }
}

#[test]
fn a_server_of_tcp_that_does_not_read_holds_nobody_up() {
    let server = TcpListener::bind(ANY_PORT).unwrap();
    let config = json!({"server": format!("tcp://{}", server.local_addr().unwrap())});
    let (mut log, _told) = start(&config);
    // More than the buffers of a connection hold.
    let long = "x".repeat(8000);
    let log = without_waiting(move || {
        for _ in 0..5000 {
            log.record(&record(&long)).unwrap();
            log.flush();
        }
        log
    });
    let mut accepted = Accepted::at(&server);
    while !accepted.message().ends_with(" records lost") {}
    without_waiting(move || drop(log));
}

#[test]
fn a_reload_connects_anew() {
    let server = TcpListener::bind(ANY_PORT).unwrap();
    let (mut log, _told) = start(&json!({"server": format!("tcp://{}", server.local_addr().unwrap())}));
    write(&mut log, 0..1);
    let mut first = Accepted::at(&server);
    assert_eq!(first.messages(1), messages(0..1));
    log.reopen();
    write(&mut log, 1..2);
    assert_eq!(Accepted::at(&server).messages(1), messages(1..2));
}
