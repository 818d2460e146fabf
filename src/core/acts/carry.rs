//! Knows how all that the core keeps is written down for another process, and read there.
//! Never: what becomes of descriptors, or where the bytes are in between.
//!
//! What is written is the state as it stands, keys included, so that a connection has the same [`SessionKey`] in the
//! other process. What follows from the rest (maps, counts of bytes, hashes) is made anew. Limits, thresholds and what
//! the daemon says of itself are the other process's own.

use std::io::{self, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_bytes::{ByteBuf, Bytes};

use crate::core::blocks::BlockKey;
use crate::core::outbox::Outbox;
use crate::core::{Core, SessionKey};

/// The version of what [`Core::save`] writes. Each change of anything in it raises this: what another version has
/// written is not read.
pub const STATE_VERSION: u32 = 1;

impl Core {
    /// Writes down all state, at a moment at which no [order](Core::next_order) is left. Queues come last, and the
    /// memory of each is free as soon as it is written. What [`Core::transmit`] has given and [`Core::wrote`] was not
    /// told of counts as not written.
    pub fn save(mut self, out: &mut impl Write) -> io::Result<()> {
        let Core { desk, sessions, kept_back, post, rows, budget, .. } = &self;
        write(out, &(desk, sessions, kept_back, post, rows, budget))?;
        let Core { registry, topics, requests, watchers, traffic, refusals, tells_happenings, .. } = &self;
        write(out, &(registry, topics, requests, watchers, traffic, refusals, tells_happenings))?;
        for (key, session) in self.sessions.iter_mut() {
            let outbox = std::mem::take(&mut session.outbound.outbox);
            if !outbox.is_empty() {
                write(out, &Some((key, &outbox)))?;
            }
        }
        write(out, &None::<(SessionKey, Outbox)>)?;
        for (key, bytes) in self.post.blocks().take_bytes() {
            write(out, &Some((key, Bytes::new(&bytes))))?;
        }
        write(out, &None::<(BlockKey, ByteBuf)>)
    }

    /// Goes on as the service whose state [`Core::save`] has written down; this one must not have had any connection, and
    /// its clocks are the same. Fails if the bytes are not what a program with this [`STATE_VERSION`] writes.
    pub fn restore(self, mut saved: &[u8]) -> io::Result<Core> {
        let saved = &mut saved;
        let mut core = self;
        let (limits, tuning) = (core.desk.limits, core.desk.tuning);
        (core.desk, core.sessions, core.kept_back, core.post, core.rows, core.budget) = read(saved)?;
        (
            core.registry,
            core.topics,
            core.requests,
            core.watchers,
            core.traffic,
            core.refusals,
            core.tells_happenings,
        ) = read(saved)?;
        core.desk.restored(limits, tuning.clone());
        core.post.restored(&tuning);
        core.registry.restored();
        core.requests.restored();
        core.sessions.restored(&core.registry);
        core.desk.after.outboxes().for_each(|outbox| core.post.take_over(outbox));
        while let Some((key, outbox)) = read::<Option<(SessionKey, Outbox)>>(saved)? {
            core.post.take_over(&outbox);
            let session = core.sessions.get_mut(key).ok_or(io::ErrorKind::InvalidData)?;
            session.outbound.outbox = outbox;
        }
        while let Some((key, bytes)) = read::<Option<(BlockKey, ByteBuf)>>(saved)? {
            core.post.blocks().put_bytes(key, bytes.into_vec());
        }
        match saved.is_empty() {
            true => Ok(core),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

fn write(out: &mut impl Write, what: &impl Serialize) -> io::Result<()> {
    postcard::to_io(what, out).map(drop).map_err(io::Error::other)
}

fn read<T: DeserializeOwned>(from: &mut &[u8]) -> io::Result<T> {
    let (what, rest) =
        postcard::take_from_bytes(from).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    *from = rest;
    Ok(what)
}
