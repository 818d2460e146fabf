//! Knows which errors mean that there is too little of something, for now.
//! Never: what is done about it.

use std::io;

use nix::errno::Errno;

/// Whether an error of accept(2) means that the process or the machine is short of something: the connection
/// waits on, and can be taken later.
pub fn is_shortage(error: &io::Error) -> bool {
    is_one_of(error, &[Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM])
}

/// Whether an error means that no more files can be open.
pub fn is_file_shortage(error: &io::Error) -> bool {
    is_one_of(error, &[Errno::EMFILE, Errno::ENFILE])
}

fn is_one_of(error: &io::Error, shortages: &[Errno]) -> bool {
    error.raw_os_error().is_some_and(|number| shortages.contains(&Errno::from_raw(number)))
}
