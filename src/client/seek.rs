//! Knows where the daemon is that is meant if none is named, and what to say if it cannot be reached.
//! Never: what is said to it.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::address::Address;
use crate::client::attempt;
use crate::client::error::Error;

/// The socket of the machine's daemon.
const SYSTEM: &str = "/run/telexd/telex.sock";
/// How long the user's own daemon is waited for when it is looked for. One that takes no connection by then is
/// there all the same.
const PROBE_TIMEOUT: Duration = Duration::from_millis(200);

/// The address of the daemon that is meant if none is named: what the environment variable
/// `TELEX_ADDRESS` says; else for root the machine's, `unix:/run/telexd/telex.sock`; else, for other users, their
/// own, `unix:$XDG_RUNTIME_DIR/telex.sock` (`/run/user/UID` for a variable that is not set), if a daemon is
/// there, and the machine's if not. If there is neither, it is the user's own. To find out takes a connection,
/// and 0.2 s at most.
///
/// [`Error::Address`] if `TELEX_ADDRESS` is no address; [`Error::NoPermission`] if this user may not connect to
/// the daemon that is there.
///
/// ```
/// use telex::client::default_address;
///
/// match default_address() {
///     Ok(address) => println!("the daemon should be at {address}"),
///     Err(error) => println!("{error}"),
/// }
/// ```
///
/// A program that connects there need not find out first: [`connect_default`] does both with one connection.
pub fn default_address() -> Result<Address, Error> {
    search(candidates()?)
}

/// Connects to the daemon that is meant if none is named, which is at [`default_address`]. `connect` connects to an
/// address; it is called with the user's own, and with the machine's if no daemon is at the first.
///
/// The errors are those of `connect`, of the user's own if there is neither, and [`Error::Address`] if `TELEX_ADDRESS` is
/// no address.
///
/// ```
/// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
/// use telex::client::{Client, Handle, connect_default};
///
/// let mut client = connect_default(Client::connect)?;
/// let door = connect_default(|address| Handle::builder().register("door").connect(address))?;
/// assert!(client.resolve("door").is_ok());
/// # Ok::<(), telex::client::Error>(())
/// ```
pub fn connect_default<T>(connect: impl FnMut(&Address) -> Result<T, Error>) -> Result<T, Error> {
    candidates()?.connect(connect)
}

/// Where a daemon may be.
struct Candidates {
    first: Address,
    /// The one that is meant if no daemon is at the first.
    second: Option<Address>,
}

fn candidates() -> Result<Candidates, Error> {
    if let Some(named) = std::env::var_os("TELEX_ADDRESS").filter(|named| !named.is_empty()) {
        let first = Address::parse(&named.to_string_lossy()).map_err(Error::Address)?;
        return Ok(Candidates { first, second: None });
    }
    // Without /proc the uid is unknown, and the system's daemon is the better guess.
    let uid = std::fs::metadata("/proc/self").map_or(0, |process| process.uid());
    Ok(candidates_of(uid, std::env::var_os("XDG_RUNTIME_DIR"), SYSTEM.as_ref()))
}

/// Where a user's daemon may be.
fn candidates_of(uid: u32, runtime_dir: Option<OsString>, system: &Path) -> Candidates {
    let system = Address::Unix(system.to_owned());
    let own = match (uid, runtime_dir.map(PathBuf::from).filter(|dir| dir.is_absolute())) {
        (0, _) => return Candidates { first: system, second: None },
        (_, Some(dir)) => dir.join("telex.sock"),
        // Where systemd puts it, for those without their environment (cron, sudo), and where `telexd` looks, too.
        (uid, None) => PathBuf::from(format!("/run/user/{uid}/telex.sock")),
    };
    Candidates { first: Address::Unix(own), second: Some(system) }
}

impl Candidates {
    fn connect<T>(&self, mut connect: impl FnMut(&Address) -> Result<T, Error>) -> Result<T, Error> {
        match (connect(&self.first), &self.second) {
            (Err(absent), Some(second)) if is_absent(&absent) => {
                connect(second).map_err(|error| if is_absent(&error) { absent } else { error })
            }
            (connected, _) => connected,
        }
    }
}

/// Whether there is no daemon. One that takes no connection in time is there all the same.
fn is_absent(error: &Error) -> bool {
    matches!(error, Error::Connect { source, .. } if source.kind() != io::ErrorKind::TimedOut)
}

/// The first of these at which something answers; the first if nothing does.
fn search(candidates: Candidates) -> Result<Address, Error> {
    if candidates.second.is_none() {
        return Ok(candidates.first);
    }
    let probe = |address: &Address| match attempt::connect(address, PROBE_TIMEOUT) {
        Ok(_) => Ok(address.clone()),
        Err(error) => Err(unreachable(address, error)),
    };
    match candidates.connect(probe) {
        Err(Error::Connect { address, .. }) => Ok(address),
        found => found,
    }
}

/// Why there is no connection to `address`.
pub(super) fn unreachable(address: &Address, source: io::Error) -> Error {
    match address {
        Address::Unix(path) if source.kind() == io::ErrorKind::PermissionDenied => {
            Error::NoPermission { address: address.clone(), group: group_of(path) }
        }
        _ => Error::Connect { address: address.clone(), source },
    }
}

/// The name of the group of a file, or of the folder that hides it; its number if it has no name.
fn group_of(path: &Path) -> Option<String> {
    let file = std::fs::metadata(path).or_else(|error| match path.parent() {
        Some(folder) => std::fs::metadata(folder),
        None => Err(error),
    });
    let gid = file.ok()?.gid().to_string();
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let name = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == gid).then(|| name.to_owned())
    });
    Some(name.unwrap_or(gid))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn where_a_daemon_may_be() {
        let all = |uid, dir: &str| {
            let dir = (dir != "-").then(|| OsString::from(dir));
            let Candidates { first, second } = candidates_of(uid, dir, "/run/s".as_ref());
            second.map_or(first.to_string(), |second| format!("{first} {second}"))
        };
        assert_eq!(all(0, "/run/user/0"), "unix:/run/s");
        assert_eq!(all(7, "/tmp/x"), "unix:/tmp/x/telex.sock unix:/run/s");
        assert_eq!(all(7, ""), "unix:/run/user/7/telex.sock unix:/run/s");
        assert_eq!(all(7, "-"), "unix:/run/user/7/telex.sock unix:/run/s");
    }

    #[test]
    fn the_first_that_answers_is_meant() {
        let dir = tempfile::tempdir().expect("a directory");
        let [own, system] = ["own", "system"].map(|name| Address::Unix(dir.path().join(name)));
        let [own_path, system_path] = ["own", "system"].map(|name| dir.path().join(name));
        let both = || Candidates { first: own.clone(), second: Some(system.clone()) };
        let meant = || search(both()).expect("an address");
        assert_eq!(meant(), own, "there is neither");
        let listener = UnixListener::bind(&system_path).expect("a listener");
        assert_eq!(meant(), system);
        // One that is left over, and has no daemon.
        drop(UnixListener::bind(&own_path).expect("a listener"));
        assert_eq!(meant(), system);
        std::fs::remove_file(&own_path).expect("removed");
        let _own = UnixListener::bind(&own_path).expect("a listener");
        assert_eq!(meant(), own);
        drop(listener);
        assert_eq!(meant(), own);
    }

    #[test]
    fn it_is_asked_once_where_a_daemon_is() {
        let [own, system] =
            ["unix:/own", "unix:/system"].map(|text| Address::parse(text).expect("an address"));
        let both = Candidates { first: own.clone(), second: Some(system.clone()) };
        let is = |kind: io::ErrorKind| move |address: &Address| Err(unreachable(address, kind.into()));
        use io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied, TimedOut};
        for (at_own, at_system, asked, told) in [
            (None, None, 1, None),
            (Some(NotFound), None, 2, None),
            (Some(ConnectionRefused), None, 2, None),
            (Some(TimedOut), None, 1, Some("/own")),
            (Some(PermissionDenied), None, 1, Some("group")),
            (Some(NotFound), Some(NotFound), 2, Some("/own")),
            (Some(NotFound), Some(TimedOut), 2, Some("/system")),
        ] {
            let mut times = 0;
            let connected = both.connect(|address| {
                times += 1;
                let fails = if *address == own { at_own } else { at_system };
                fails.map_or(Ok(address.clone()), |kind| is(kind)(address))
            });
            assert_eq!(times, asked, "{at_own:?} {at_system:?}");
            match told {
                None => {
                    assert_eq!(connected.expect("a daemon"), if asked == 1 { &own } else { &system }.clone())
                }
                Some(told) => {
                    let error = connected.expect_err("no daemon").to_string();
                    assert!(error.contains(told), "{error}");
                }
            }
        }
    }

    #[test]
    fn a_refusal_for_want_of_permission_names_the_group() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("telex.sock");
        let _listener = UnixListener::bind(&path).expect("a listener");
        let gid = std::fs::metadata(&path).expect("a file").gid();
        let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
        let name = groups.lines().find(|line| line.split(':').nth(2) == Some(&gid.to_string()));
        let expected = name.map_or(gid.to_string(), |line| line.split(':').next().unwrap_or_default().into());
        for path in [path.clone(), dir.path().join("hidden")] {
            let error = unreachable(&Address::Unix(path), io::ErrorKind::PermissionDenied.into());
            assert!(error.to_string().contains(&format!("group \"{expected}\"")), "{error}");
        }
    }
}
