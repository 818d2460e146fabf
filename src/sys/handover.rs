//! Knows how bytes and descriptors are left for the process that goes on: the bytes in a file in memory, the descriptors
//! in queues of messages that carry them (SCM_RIGHTS, unix(7)).
//! Never: what the bytes say, or what a descriptor is of.
//!
//! The service manager keeps a few descriptors of a service that restarts, and its work grows with the square of their
//! number; in a queue any number of them is one. A queue has no room for bytes of a size that depends on peers: a
//! message of more than 212,960 bytes is refused.
#![expect(unsafe_code, reason = "descriptors that come in messages")]

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recv, recvmsg, sendmsg,
    socketpair,
};
use nix::sys::stat::{SFlag, fstat};

/// What the file begins with.
const MAGIC: [u8; 8] = *b"telexd\n\0";
/// Bytes in front of the state: magic, version, taken, number, length, checksum, and room.
const HEADER_BYTES: usize = 64;
/// Where the byte is that says that the state has been taken.
const TAKEN_AT: u64 = 12;
/// Descriptors of one message; the kernel takes 253 (SCM_MAX_FD).
const BATCH: usize = 250;

/// What a process leaves: its state is [written](Write) first, then descriptors are passed.
#[derive(Debug)]
pub struct Outgoing {
    version: u32,
    number: u64,
    file: File,
    length: u64,
    checksum: crc32fast::Hasher,
    queues: Vec<Queue>,
}

#[derive(Debug)]
struct Queue {
    sends: OwnedFd,
    receives: OwnedFd,
}

impl Outgoing {
    /// Nothing yet. `version` is that of the state, `number` is larger than that of any before.
    pub fn new(version: u32, number: u64) -> io::Result<Outgoing> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let mut file = File::from(memfd_create("telexd-state", flags)?);
        file.write_all(&[0; HEADER_BYTES])?;
        let queues = vec![Queue::new()?];
        Ok(Outgoing { version, number, file, length: 0, checksum: crc32fast::Hasher::new(), queues })
    }

    /// Passes descriptors, of which the first has the place `first` among all. Says how many the kernel does not take,
    /// for too many are on their way.
    pub fn pass(&mut self, first: u64, descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
        let mut refused = 0;
        let mut at = first;
        for batch in descriptors.chunks(BATCH) {
            match self.send(at, batch) {
                Err(Errno::ETOOMANYREFS) => {
                    for (one, place) in batch.iter().zip(at..) {
                        match self.send(place, std::slice::from_ref(one)) {
                            Err(Errno::ETOOMANYREFS) => refused += 1,
                            sent => sent?,
                        }
                    }
                }
                sent => sent?,
            }
            at += batch.len() as u64;
        }
        Ok(refused)
    }

    fn send(&mut self, first: u64, batch: &[BorrowedFd<'_>]) -> nix::Result<()> {
        let numbers: Vec<RawFd> = batch.iter().map(AsRawFd::as_raw_fd).collect();
        let head = [self.number.to_le_bytes(), first.to_le_bytes()].concat();
        let send = |queue: &Queue| {
            let rights = [ControlMessage::ScmRights(&numbers)];
            let rights = if numbers.is_empty() { &[][..] } else { &rights };
            sendmsg::<()>(
                queue.sends.as_raw_fd(),
                &[IoSlice::new(&head)],
                rights,
                MsgFlags::MSG_NOSIGNAL,
                None,
            )
        };
        let Some(last) = self.queues.last() else { return Err(Errno::EBADF) };
        match send(last) {
            Err(Errno::EAGAIN) => {
                let queue = Queue::new()?;
                send(&queue)?;
                self.queues.push(queue);
                Ok(())
            }
            sent => sent.map(drop),
        }
    }

    /// All that the other process needs, the state first.
    pub fn finish(mut self) -> io::Result<Vec<OwnedFd>> {
        if self.queues.len() == 1 {
            // A queue that is told by its number also if nothing was passed.
            self.send(0, &[])?;
        }
        let checksum = self.checksum.finalize();
        let header = Header { version: self.version, number: self.number, length: self.length, checksum };
        self.file.write_all_at(&header.bytes(), 0)?;
        // It can still be marked as taken.
        let seals = SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK;
        fcntl(&self.file, FcntlArg::F_ADD_SEALS(seals))?;
        let queues = self.queues.into_iter().map(|queue| queue.receives);
        Ok([self.file.into()].into_iter().chain(queues).collect())
    }
}

impl Write for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.checksum.update(&bytes[..count]);
        self.length += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Queue {
    fn new() -> nix::Result<Queue> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (sends, receives) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        Ok(Queue { sends, receives })
    }
}

#[derive(Clone, Copy, Debug)]
struct Header {
    version: u32,
    number: u64,
    length: u64,
    checksum: u32,
}

impl Header {
    fn bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&self.version.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.number.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.length.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.checksum.to_le_bytes());
        bytes
    }

    /// The header of a file, and whether its state has been taken.
    fn read(file: &File) -> io::Result<(Header, bool)> {
        let mut bytes = [0; HEADER_BYTES];
        file.read_exact_at(&mut bytes, 0)?;
        if bytes[..8] != MAGIC {
            return Err(invalid("it is no state of telexd"));
        }
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|n| bytes[at + n]));
        let half = |at: usize| u32::from_le_bytes(std::array::from_fn(|n| bytes[at + n]));
        let header = Header { version: half(8), number: word(16), length: word(24), checksum: half(32) };
        Ok((header, bytes[TAKEN_AT as usize] != 0))
    }
}

fn invalid(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.into())
}

/// What another process has left.
#[derive(Debug)]
pub struct Incoming {
    file: File,
    state: Vec<u8>,
    queues: Vec<OwnedFd>,
}

/// What is found among descriptors that another process has left.
#[derive(Debug, Default)]
pub struct Found {
    /// What this process goes on with: the newest that has not been taken yet.
    pub incoming: Option<Incoming>,
    /// Why a state is not gone on with.
    pub refused: Vec<String>,
    /// Descriptors that were passed beside it, or with what is refused.
    pub abandoned: Vec<OwnedFd>,
}

impl Incoming {
    /// Looks through descriptors that another process has left, in any order, for a state of this version.
    pub fn find(version: u32, descriptors: Vec<OwnedFd>) -> Found {
        let mut found = Found::default();
        let is_file = |descriptor: &OwnedFd| {
            fstat(descriptor).is_ok_and(|told| told.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits())
        };
        let (files, queues): (Vec<_>, Vec<_>) = descriptors.into_iter().partition(is_file);
        let mut files: Vec<_> = files.into_iter().map(File::from).collect();
        let number = |file: &File| Header::read(file).map_or(0, |(header, _)| header.number);
        files.sort_by_key(|file| std::cmp::Reverse(number(file)));
        let mut queues: Vec<_> = queues.into_iter().map(|queue| (number_of(&queue), queue)).collect();
        for file in files {
            if found.incoming.is_some() {
                found.refused.push("a newer one is there".to_owned());
                continue;
            }
            match read(&file, version) {
                Ok((number, state)) => {
                    let own = queues.extract_if(.., |(of, _)| *of == Some(number));
                    let own: Vec<_> = own.map(|(_, queue)| queue).collect();
                    match own.is_empty() {
                        true => found.refused.push("its connections are not there".to_owned()),
                        false => found.incoming = Some(Incoming { file, state, queues: own }),
                    }
                }
                Err(error) => found.refused.push(error.to_string()),
            }
        }
        for (_, mut queue) in queues {
            while let Ok(Some((_, descriptors))) = receive(&mut queue) {
                found.abandoned.extend(descriptors);
            }
        }
        found
    }

    /// The state.
    pub fn state(&self) -> &[u8] {
        &self.state
    }

    /// Marks the state as taken, so that no other process goes on with it, and receives what was passed: each with its
    /// place among all.
    pub fn take(mut self) -> io::Result<Vec<(u64, OwnedFd)>> {
        self.file.write_all_at(&[1], TAKEN_AT)?;
        let mut all = Vec::new();
        for queue in &mut self.queues {
            while let Some((first, descriptors)) = receive(queue)? {
                all.extend((first..).zip(descriptors));
            }
        }
        Ok(all)
    }
}

fn read(file: &File, version: u32) -> io::Result<(u64, Vec<u8>)> {
    let (header, is_taken) = Header::read(file)?;
    if is_taken {
        return Err(invalid("it has been taken before"));
    }
    if header.version != version {
        return Err(invalid(format!("its version is {}, not {version}", header.version)));
    }
    let is_whole = file.metadata()?.len().checked_sub(HEADER_BYTES as u64) == Some(header.length);
    let torn = || invalid("it is not whole");
    let length = usize::try_from(header.length).ok().filter(|_| is_whole).ok_or_else(torn)?;
    let mut state = vec![0; length];
    file.read_exact_at(&mut state, HEADER_BYTES as u64)?;
    match crc32fast::hash(&state) == header.checksum {
        true => Ok((header.number, state)),
        false => Err(torn()),
    }
}

/// The number that the first message of a queue has, which stays there.
fn number_of(queue: &OwnedFd) -> Option<u64> {
    let mut head = [0; 16];
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    let count = recv(queue.as_raw_fd(), &mut head, flags).ok()?;
    (count == head.len()).then(|| u64::from_le_bytes(std::array::from_fn(|n| head[n])))
}

/// The next message of a queue: the place of its first descriptor, and all of them.
fn receive(queue: &mut OwnedFd) -> io::Result<Option<(u64, Vec<OwnedFd>)>> {
    let mut head = [0; 16];
    let mut room = nix::cmsg_space!([RawFd; BATCH]);
    let mut slices = [IoSliceMut::new(&mut head)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let received = recvmsg::<()>(queue.as_fd().as_raw_fd(), &mut slices, Some(&mut room), flags);
    let received = match received {
        // Its other end is still there, but nothing more is sent.
        Err(Errno::EAGAIN) => return Ok(None),
        received => received?,
    };
    let mut descriptors = Vec::new();
    for message in received.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = message {
            // SAFETY: the kernel has just opened these for this process, and nothing else knows of them.
            descriptors.extend(numbers.into_iter().map(|number| unsafe { OwnedFd::from_raw_fd(number) }));
        }
    }
    let count = received.bytes;
    match count {
        0 => Ok(None),
        16 => Ok(Some((u64::from_le_bytes(std::array::from_fn(|n| head[8 + n])), descriptors))),
        _ => Err(invalid(format!("a message of {count} bytes"))),
    }
}

/// Makes descriptors ones that a program which this process becomes has too, and gives their numbers as text for
/// [`inherited_by_number`].
pub fn inherit(descriptors: &[OwnedFd]) -> io::Result<String> {
    for descriptor in descriptors {
        fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty()))?;
    }
    let numbers: Vec<_> = descriptors.iter().map(|descriptor| descriptor.as_raw_fd().to_string()).collect();
    Ok(numbers.join(":"))
}

/// The descriptors that [`inherit`] has given this text of. To be called once, before anything is opened. Fails if one is
/// not open.
pub fn inherited_by_number(text: &str) -> io::Result<Vec<OwnedFd>> {
    let wrong =
        || io::Error::new(io::ErrorKind::InvalidInput, format!("{text:?} is no list of open descriptors"));
    let mut all = Vec::new();
    for number in text.split(':') {
        let number = number.parse::<RawFd>().ok().filter(|number| *number > 2).ok_or_else(wrong)?;
        // SAFETY: the process that this one was left them by number, and nothing here has opened or taken any yet. It is
        // only looked whether it is open.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(|_| wrong())?;
        // SAFETY: as above, and it is open.
        all.push(unsafe { OwnedFd::from_raw_fd(number) });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn left(number: u64, state: &[u8], descriptors: &[BorrowedFd<'_>]) -> Vec<OwnedFd> {
        let mut outgoing = Outgoing::new(7, number).unwrap();
        outgoing.write_all(state).unwrap();
        assert_eq!(outgoing.pass(0, descriptors).unwrap(), 0);
        outgoing.finish().unwrap()
    }

    #[test]
    fn state_and_descriptors_come_as_they_were_left() {
        let pairs: Vec<_> = (0..600).map(|_| UnixStream::pair().unwrap()).collect();
        let descriptors: Vec<_> = pairs.iter().map(|(one, _)| one.as_fd()).collect();
        let mut all = left(1, b"older", &[]);
        all.extend(left(2, b"state", &descriptors));
        all.reverse();
        let Found { incoming, refused, abandoned } = Incoming::find(7, all);
        assert_eq!((refused, abandoned.len()), (vec!["a newer one is there".to_owned()], 0));
        let incoming = incoming.unwrap();
        assert_eq!(incoming.state(), b"state");
        let copy = OwnedFd::from(incoming.file.try_clone().unwrap());
        let taken = incoming.take().unwrap();
        assert_eq!(taken.len(), 600);
        for (place, descriptor) in taken {
            let mut other = &pairs[place as usize].1;
            UnixStream::from(descriptor).write_all(&place.to_le_bytes()).unwrap();
            let mut told = [0; 8];
            io::Read::read_exact(&mut other, &mut told).unwrap();
            assert_eq!(u64::from_le_bytes(told), place);
        }
        let again = Incoming::find(7, vec![copy]);
        assert_eq!(again.refused, ["it has been taken before"]);
    }

    #[test]
    fn what_is_torn_or_foreign_is_refused_and_its_descriptors_are_given_to_be_closed() {
        let pair = UnixStream::pair().unwrap();
        let refused = |version, all| {
            let Found { incoming, refused, abandoned } = Incoming::find(version, all);
            assert!(incoming.is_none());
            assert_eq!(abandoned.len(), 1);
            refused
        };
        assert_eq!(refused(8, left(1, b"state", &[pair.0.as_fd()])), ["its version is 7, not 8"]);
        let all = left(1, b"state", &[pair.0.as_fd()]);
        File::from(all[0].try_clone().unwrap()).write_all_at(b"S", HEADER_BYTES as u64).unwrap();
        assert_eq!(refused(7, all), ["it is not whole"]);
        let mut all = left(1, b"state", &[pair.0.as_fd()]);
        all.remove(0);
        assert_eq!(refused(7, all), Vec::<String>::new());
        let mut all = left(1, b"state", &[pair.0.as_fd()]);
        all.truncate(1);
        assert_eq!(Incoming::find(7, all).refused, ["its connections are not there"]);
    }
}
