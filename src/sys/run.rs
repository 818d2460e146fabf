//! Knows how another program is run to its end, and what it has said then.
//! Never: what program that is.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};

/// How often it is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(5);
/// What is read of what it has said.
const SAID_MAX: u64 = 64 * 1024;

/// Runs a program, without input, and waits for its end; one that takes longer than `most` is killed, and that is an
/// error. Gives its status, and what it has said on stderr.
pub fn run(command: &mut Command, most: Duration) -> io::Result<(ExitStatus, String)> {
    // A file, unlike a pipe, takes all and is read when it has ended.
    let mut said = File::from(memfd_create("said", MFdFlags::MFD_CLOEXEC)?);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.try_clone()?);
    let mut child = command.spawn()?;
    let until = Instant::now() + most;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if Instant::now() < until => thread::sleep(LOOK),
            None => {
                child.kill()?;
                child.wait()?;
                let text = format!("it has not ended within {} s", most.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
        }
    };
    let mut bytes = Vec::new();
    said.rewind()?;
    said.take(SAID_MAX).read_to_end(&mut bytes)?;
    Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_words_are_told_and_one_that_hangs_is_killed() {
        let shell =
            |script: &str, most| run(Command::new("sh").args(["-c", script]), Duration::from_millis(most));
        let (status, said) = shell("cat; echo no; echo why >&2; exit 3", 30_000).unwrap();
        assert_eq!((status.code(), &*said), (Some(3), "why\n"));
        let error = shell("exec sleep 100", 50).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
