//! Knows how a record gets to the journal's socket, however large it is.
//! Never: what is in it.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};

/// Sends a record; what is too large for a datagram goes as a sealed file in memory, of which the journal
/// is sent the descriptor.
pub(crate) fn send(socket: &UnixDatagram, path: &Path, record: &[u8]) -> io::Result<()> {
    match socket.send_to(record, path) {
        Err(error) if is_too_large(&error) => {
            let file = sealed(record)?;
            let files = [file.as_raw_fd()];
            let (nothing, files) = ([IoSlice::new(&[])], [ControlMessage::ScmRights(&files)]);
            let address = UnixAddr::new(path)?;
            let flags = MsgFlags::MSG_NOSIGNAL;
            sendmsg(socket.as_raw_fd(), &nothing, &files, flags, Some(&address))?;
            Ok(())
        }
        sent => sent.map(|_| ()),
    }
}

fn is_too_large(error: &io::Error) -> bool {
    [Errno::EMSGSIZE, Errno::ENOBUFS].map(|errno| Some(errno as i32)).contains(&error.raw_os_error())
}

/// A file that nobody can change any more, as the journal wants to be sure of.
fn sealed(record: &[u8]) -> io::Result<File> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut file = File::from(memfd_create("telex-record", flags)?);
    file.write_all(record)?;
    let seals =
        SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file)
}
