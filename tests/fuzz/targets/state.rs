//! The state of a core, whole and damaged. The first line of the data is damage: each three bytes are a place, 0 to
//! 65535 (the lower byte first), and what stands there instead; each further line is sent by a connection, by its first
//! byte one of four, of which two read nothing.
//!
//! What is whole is read, and right; what is damaged is refused, or is a state, but never more than that.

use std::io::IoSlice;
use std::time::Duration;

use telex::clock::Now;
use telex::core::{About, Core, Identity, Input, OpenGate, Peer, SessionKey, Transport};
use telex::limits::Limits;

const NOW: Now = Now { mono: Duration::from_secs(1000), wall: Duration::from_secs(1_800_000_000) };

pub(crate) fn run(data: &[u8]) {
    let mut lines = data.split(|&byte| byte == b'\n');
    let damage = lines.next().unwrap_or_default();
    let mut core = fresh();
    let sessions: Vec<SessionKey> =
        (1..=4).map(|number| core.open(number, peer(), NOW).expect("room")).collect();
    for line in lines.take(100) {
        let Some((&by, line)) = line.split_first() else { continue };
        let session = sessions[usize::from(by % 4)];
        if core.wants_bytes(session) {
            core.handle(Input::Received { session, bytes: &[line, b"\n"].concat() }, NOW, &mut OpenGate);
        }
        sessions[..2].iter().for_each(|&reader| reads(&mut core, reader));
    }
    while core.next_order().is_some() {}
    let mut saved = Vec::new();
    core.save(&mut saved).expect("a vector takes all");
    fresh().restore(&saved).expect("what was saved").check();
    for damage in damage.chunks_exact(3) {
        let place = usize::from(u16::from_le_bytes([damage[0], damage[1]])) % saved.len();
        saved[place] = damage[2];
    }
    drop(fresh().restore(&saved));
    drop(fresh().restore(&saved[..saved.len() / 2]));
}

fn fresh() -> Core {
    let about = About { version: "0", host: "host".to_owned(), drain_timeout: Duration::from_secs(5) };
    Core::new(about, Limits::default(), NOW)
}

fn peer() -> Peer {
    let identity = Identity::Kernel { uid: Some(0), gid: Some(0), pid: 1 };
    Peer { transport: Transport::Unix, identity, administrator: true }
}

fn reads(core: &mut Core, session: SessionKey) {
    let mut slices = [IoSlice::new(b""); 16];
    let filled = core.transmit(session, &mut slices);
    let count = slices[..filled].iter().map(|slice| slice.len()).sum();
    core.wrote(session, count, NOW);
}
