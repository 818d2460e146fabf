use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use slotmap::{DefaultKey, SlotMap};
use tempfile::TempDir;

use super::*;
use crate::address::Address;
use crate::net::bind;

const PATIENCE: Duration = Duration::from_secs(30);

/// Sockets with one listener.
struct Stage {
    sockets: Sockets<DefaultKey>,
    keys: SlotMap<DefaultKey, ()>,
    dir: TempDir,
    began: Instant,
}

impl Stage {
    fn new() -> Stage {
        let dir = tempfile::tempdir().unwrap();
        let mut sockets = Sockets::new().unwrap();
        sockets.listen(bind(&Address::Unix(dir.path().join("socket")), 0o600, None).unwrap()).unwrap();
        Stage { sockets, keys: SlotMap::new(), dir, began: Instant::now() }
    }

    fn connect(&self) -> UnixStream {
        UnixStream::connect(self.dir.path().join("socket")).unwrap()
    }

    /// Waits, and gives what is found of connections; nothing if none has changed.
    fn wait(&mut self) -> Vec<Change<DefaultKey>> {
        let now = self.began.elapsed();
        self.sockets.wait(Some(now + PATIENCE), now).unwrap();
        let found = std::iter::from_fn(|| self.sockets.next_found());
        found
            .map(|found| match found {
                Found::Change(change) => change,
                Found::Other(mark) => panic!("nothing has the mark {mark}"),
            })
            .collect()
    }

    /// One round of taking connections.
    fn accept(&mut self) -> Vec<DefaultKey> {
        let now = self.began.elapsed();
        assert!(self.sockets.accept(now).is_none(), "each can be taken");
        let newcomers: Vec<_> = std::iter::from_fn(|| self.sockets.next_newcomer()).collect();
        let open = |newcomer: Newcomer| {
            let key = self.keys.insert(());
            let ready = self.sockets.open(key, newcomer).unwrap();
            assert_eq!(ready, Ready { key, resumed: false, readable: true });
            key
        };
        newcomers.into_iter().map(open).collect()
    }

    /// A connection that has been taken and has nothing to be done, and its peer.
    fn idle(&mut self) -> (DefaultKey, UnixStream) {
        let peer = self.connect();
        let key = self.accept()[0];
        assert_eq!(self.sockets.read(key, 100), Read::Nothing);
        (key, peer)
    }
}

#[test]
fn a_connection_is_ready_from_its_opening_to_its_end() {
    let mut stage = Stage::new();
    let (key, mut peer) = stage.idle();
    assert_eq!(stage.sockets.next_ready(), None);
    peer.write_all(b"hello").unwrap();
    assert_eq!(stage.wait(), []);
    assert_eq!(stage.sockets.next_ready(), Some(Ready { key, resumed: false, readable: true }));
    assert_eq!(stage.sockets.read(key, 3), Read::Bytes(3));
    let buffer = stage.sockets.lend_buffer();
    assert_eq!(&buffer[..3], b"hel");
    stage.sockets.give_back(buffer);
    stage.sockets.queue_if_readable(key);
    stage.sockets.resume(key);
    assert_eq!(stage.sockets.next_ready(), Some(Ready { key, resumed: true, readable: true }));
    assert_eq!(stage.sockets.next_ready(), None, "it was ready once for both");
    assert_eq!(stage.sockets.read(key, 100), Read::Bytes(2));

    peer.shutdown(Shutdown::Write).unwrap();
    let ends = Change { key, ends: true, broken: false, has_room: false };
    assert_eq!(stage.wait(), [ends]);
    assert_eq!(stage.sockets.next_ready().map(|ready| ready.key), Some(key));
    assert_eq!(stage.sockets.read(key, 100), Read::End);
    assert_eq!(stage.sockets.write(key, &[IoSlice::new(b"bye")]), Wrote::Bytes(3));
    stage.sockets.resume(key);
    stage.sockets.close(key);
    assert_eq!(stage.sockets.next_ready(), Some(Ready { key, resumed: false, readable: false }));
    let mut told = String::new();
    peer.read_to_string(&mut told).unwrap();
    assert_eq!(told, "bye");
}

#[test]
fn room_is_told_of_after_a_write_that_found_none() {
    let mut stage = Stage::new();
    let (key, mut peer) = stage.idle();
    let much = [0; 65_536];
    let mut written = 0;
    while let Wrote::Bytes(count) = stage.sockets.write(key, &[IoSlice::new(&much)]) {
        written += count;
    }
    assert!(written > 0 && !stage.sockets.can_write(key));
    peer.read_exact(&mut vec![0; written]).unwrap();
    assert_eq!(stage.wait(), [Change { key, ends: false, broken: false, has_room: true }]);
    assert!(stage.sockets.can_write(key));
    stage.sockets.needs_no_room(key);
}

#[test]
fn a_broken_connection_is_told_of_once_and_read_to_its_end() {
    let mut stage = Stage::new();
    let (key, mut peer) = stage.idle();
    peer.write_all(b"last").unwrap();
    drop(peer);
    assert_eq!(stage.sockets.write(key, &[IoSlice::new(b"x")]), Wrote::Broken);
    assert!(!stage.sockets.can_write(key));
    let told = stage.wait();
    assert!(told.iter().all(|change| !change.broken), "{told:?}");
    assert_eq!(stage.sockets.next_ready().map(|ready| (ready.key, ready.readable)), Some((key, true)));
    assert_eq!(stage.sockets.read(key, 100), Read::Bytes(4));
    stage.sockets.queue_if_readable(key);
    assert_eq!(stage.sockets.next_ready().map(|ready| ready.key), Some(key));
    assert_eq!(stage.sockets.read(key, 100), Read::End);
    stage.sockets.queue_if_readable(key);
    assert_eq!(stage.sockets.next_ready(), None);
}

#[test]
fn a_peer_reads_what_was_written_to_its_end_whatever_it_had_sent() {
    let mut stage = Stage::new();
    let (key, mut peer) = stage.idle();
    peer.set_nonblocking(true).unwrap();
    while peer.write(&[b'x'; 4096]).is_ok() {}
    assert_eq!(stage.sockets.write(key, &[IoSlice::new(b"last")]), Wrote::Bytes(4));
    stage.sockets.close(key);
    let mut got = Vec::new();
    peer.read_to_end(&mut got).expect("no reset");
    assert_eq!(got, b"last");
}

#[test]
fn a_round_takes_a_bounded_number_of_connections() {
    let mut stage = Stage::new();
    let _peers: Vec<_> = (0..100).map(|_| stage.connect()).collect();
    assert_eq!(stage.accept().len(), 64);
    assert!(stage.sockets.has_waiting());
    assert_eq!(stage.accept().len(), 36);
    assert!(!stage.sockets.has_waiting());
    stage.sockets.stop_accepting();
    let _late = stage.connect();
    stage.wait();
    assert_eq!(stage.accept(), []);
}

#[test]
fn a_newcomer_that_has_ended_is_known_to_have_and_others_can_wait_for_its_end() {
    let mut stage = Stage::new();
    let (before, mut peer) = stage.idle();
    peer.write_all(b"last").unwrap();
    drop(peer);
    drop(stage.connect());
    let _last = stage.connect();
    let now = stage.began.elapsed();
    stage.wait();
    assert!(stage.sockets.accept(now).is_none());
    assert!(stage.sockets.has_newcomers());
    stage.wait();
    assert_eq!(stage.sockets.next_ending().map(|ready| ready.key), Some(before));
    assert_eq!(stage.sockets.next_ending(), None);
    let mut open = || {
        let key = stage.keys.insert(());
        let newcomer = stage.sockets.next_newcomer().unwrap();
        stage.sockets.open(key, newcomer).unwrap();
        stage.sockets.nears_end(key)
    };
    assert_eq!([open(), open()], [true, false]);
    assert!(!stage.sockets.has_newcomers());
}

#[test]
fn small_tokens_are_of_no_connection() {
    let mut keys: SlotMap<DefaultKey, ()> = SlotMap::new();
    for at in 0..9 {
        let key = keys.insert(());
        assert_eq!(key_of(token_of(key)), Some(key));
        assert_eq!(key_of::<DefaultKey>(at), None);
    }
}
