//! Knows where a daemon listens and where a client dials: `unix:PATH`, `unix:@NAME`, `tcp:HOST:PORT`.
//! Never: opens a socket or asks a name server.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

/// The longest path or abstract name of a Unix socket that every Linux takes (unix(7): 108 bytes
/// with the terminating NUL).
pub const UNIX_PATH_BYTES_MAX: usize = 107;

/// Where a socket is. `Display` gives the text that [`Address::parse`] takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "daemon", serde(try_from = "String", into = "String"))]
pub enum Address {
    /// A Unix stream socket in the file system.
    Unix(PathBuf),
    /// A Unix stream socket in the abstract namespace (unix(7)); the name without its `@`.
    Abstract(String),
    /// A TCP host and port.
    Tcp(Host, u16),
}

/// The host part of a TCP address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// `*`: every address of the machine.
    Any,
    /// A host name or an IP address, without the brackets of an IPv6 one.
    Name(String),
}

/// Why a text is no address; its `Display` is for people and says what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadAddress {
    why: String,
    at: usize,
}

impl BadAddress {
    /// The byte of the text, from 0, where the fault is.
    pub fn at(&self) -> usize {
        self.at
    }
}

impl fmt::Display for BadAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for BadAddress {}

impl Address {
    /// Reads `unix:PATH`, `unix:@NAME`, `tcp:HOST:PORT`, or `HOST:PORT` alone. HOST may be `*`
    /// (every address) and an IPv6 address stands in brackets; PORT may be 0 or `*` (any free port). A path
    /// or name has at most [`UNIX_PATH_BYTES_MAX`] bytes. The error says what would be right.
    ///
    /// ```
    /// use telex::address::Address;
    ///
    /// assert_eq!(Address::parse("localhost:4040")?.to_string(), "tcp:localhost:4040");
    /// let bad = Address::parse("/run/x.sock").expect_err("it lacks its kind");
    /// assert!(bad.to_string().ends_with("did you mean unix:/run/x.sock?"));
    /// let bad = Address::parse("tcp:localhost:http").expect_err("it lacks a number");
    /// assert_eq!(bad.at(), "tcp:localhost:".len());
    /// # Ok::<(), telex::address::BadAddress>(())
    /// ```
    pub fn parse(text: &str) -> Result<Address, BadAddress> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(text, path);
        }
        if let Some(meant) = lacks_its_kind(text) {
            let why = format!("\"{text}\" is no address; did you mean {meant}?");
            return Err(BadAddress { why, at: 0 });
        }
        tcp(text, text.strip_prefix("tcp:").unwrap_or(text))
    }

    /// Checks that a daemon may listen here, as far as the text alone tells: a Unix socket, or a loopback
    /// address. A host name says nothing before it is resolved; what it came to is checked by
    /// [`Address::check_local_ip`].
    pub fn check_local(&self) -> Result<(), Exposed> {
        match self {
            Address::Tcp(Host::Any, _) => Err(Exposed(format!("{self} is every address of the machine"))),
            Address::Tcp(Host::Name(host), _) => match host.parse() {
                Ok(ip) => self.check_local_ip(ip),
                Err(_) => Ok(()),
            },
            Address::Unix(_) | Address::Abstract(_) => Ok(()),
        }
    }

    /// Checks that a daemon may listen at `ip`, which the host of this address stands for: it has to be a
    /// loopback address.
    ///
    /// ```
    /// use telex::address::Address;
    ///
    /// let address = Address::parse("tcp:box.example:4040")?;
    /// assert!(address.check_local().is_ok(), "it is not resolved yet");
    /// assert!(address.check_local_ip([127, 0, 0, 1].into()).is_ok());
    /// assert!(address.check_local_ip([192, 0, 2, 1].into()).is_err());
    /// # Ok::<(), telex::address::BadAddress>(())
    /// ```
    pub fn check_local_ip(&self, ip: IpAddr) -> Result<(), Exposed> {
        // ::ffff:127.0.0.1 is 127.0.0.1 to the kernel.
        if ip.to_canonical().is_loopback() {
            return Ok(());
        }
        let also = match self {
            Address::Tcp(Host::Name(host), _) if host.parse::<IpAddr>().is_err() => format!(" ({ip})"),
            _ => String::new(),
        };
        Err(Exposed(format!("{self}{also} is no loopback address")))
    }
}

/// Why a daemon must not listen at a TCP address: other machines could reach it. `Display` is a sentence for
/// people and says what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed(String);

impl fmt::Display for Exposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: TCP that other machines can reach needs authentication, which this version does not offer; \
             right are tcp:127.0.0.1:PORT, tcp:[::1]:PORT, tcp:localhost:PORT",
            self.0
        )
    }
}

impl std::error::Error for Exposed {}

/// What is probably meant by a path, a name or a port alone. Of these the first would be taken for a
/// host, be it that its last part has a colon.
fn lacks_its_kind(text: &str) -> Option<String> {
    let is_path = text.split_once('/').is_some_and(|(start, _)| !start.contains(':'));
    if is_path || text.starts_with('@') {
        return Some(format!("unix:{text}"));
    }
    let port = text.strip_prefix(':').unwrap_or(text);
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    is_port.then(|| format!("tcp:127.0.0.1:{port}"))
}

fn unix(text: &str, path: &str) -> Result<Address, BadAddress> {
    let name = path.strip_prefix('@');
    let named = name.unwrap_or(path);
    let start = text.len() - named.len();
    let bad = |at: usize, why: String| {
        let why = format!("\"{text}\" is no address of a Unix socket: {why}");
        Err(BadAddress { why, at: start + at })
    };
    if named.is_empty() {
        return bad(0, "it lacks a path (unix:/path/to/socket) or a name (unix:@name)".into());
    }
    if let Some(at) = named.find('\0') {
        return bad(at, "it has a NUL byte in it".into());
    }
    if named.len() > UNIX_PATH_BYTES_MAX {
        let why = format!("it has {} bytes, and the kernel takes {UNIX_PATH_BYTES_MAX}", named.len());
        return bad(UNIX_PATH_BYTES_MAX, why);
    }
    Ok(match name {
        Some(name) => Address::Abstract(name.to_owned()),
        None => Address::Unix(PathBuf::from(path)),
    })
}

fn tcp(text: &str, rest: &str) -> Result<Address, BadAddress> {
    let start = text.len() - rest.len();
    let bad = |at: usize, why: &str| {
        let why = format!(
            "\"{text}\" is no address: {why}; right are unix:/path, unix:@name, tcp:host:port, tcp:[::1]:port"
        );
        Err(BadAddress { why, at: start + at })
    };
    let Some((host, port)) = rest.rsplit_once(':') else {
        return if rest == "*" { Ok(Address::Tcp(Host::Any, 0)) } else { bad(rest.len(), "it lacks a port") };
    };
    let port = match port {
        "*" => 0,
        // A sign, which parse() takes, is no digit.
        _ => match port.parse::<u16>() {
            Ok(number) if !port.starts_with('+') => number,
            _ => return bad(host.len() + 1, "its port is no number from 0 to 65535, nor *"),
        },
    };
    let host = match host.strip_prefix('[').map(|inner| inner.strip_suffix(']')) {
        Some(Some(inner)) if inner.parse::<std::net::Ipv6Addr>().is_ok() => Host::Name(inner.to_owned()),
        Some(_) => return bad(0, "what stands in brackets is no IPv6 address"),
        None if host.contains(':') => return bad(0, "an IPv6 address must stand in brackets"),
        None if host == "*" => Host::Any,
        None if host.is_empty() => return bad(0, "it lacks a host (* for every address of the machine)"),
        None => Host::Name(host.to_owned()),
    };
    Ok(Address::Tcp(host, port))
}

impl From<Address> for String {
    /// As [`Address::parse`] reads it.
    fn from(address: Address) -> String {
        address.to_string()
    }
}

impl TryFrom<String> for Address {
    type Error = BadAddress;

    fn try_from(text: String) -> Result<Address, BadAddress> {
        Address::parse(&text)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Abstract(name) => write!(f, "unix:@{name}"),
            Address::Tcp(Host::Any, port) => write!(f, "tcp:*:{port}"),
            Address::Tcp(Host::Name(host), port) if host.contains(':') => write!(f, "tcp:[{host}]:{port}"),
            Address::Tcp(Host::Name(host), port) => write!(f, "tcp:{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_and_written() {
        for (text, shown) in [
            ("unix:/run/telexd/telex.sock", "unix:/run/telexd/telex.sock"),
            ("unix:@telex", "unix:@telex"),
            ("unix:relative", "unix:relative"),
            ("tcp:localhost:4040", "tcp:localhost:4040"),
            ("127.0.0.1:*", "tcp:127.0.0.1:0"),
            ("tcp:[::1]:0", "tcp:[::1]:0"),
            ("*:4040", "tcp:*:4040"),
            ("*:*", "tcp:*:0"),
            ("*", "tcp:*:0"),
        ] {
            assert_eq!(Address::parse(text).map(|address| address.to_string()).as_deref(), Ok(shown));
        }
    }

    #[test]
    fn only_loopback_is_local() {
        let check = |text: &str| Address::parse(text).unwrap().check_local();
        for text in
            ["unix:/run/x", "unix:@x", "127.0.0.1:1", "127.9.9.9:*", "[::1]:1", "[::ffff:127.0.0.1]:1"]
        {
            assert_eq!(check(text), Ok(()));
        }
        for text in
            ["*", "*:1", "0.0.0.0:1", "[::]:1", "192.0.2.1:1", "[2001:db8::1]:1", "[::ffff:192.0.2.1]:1"]
        {
            let error = check(text).expect_err(text).to_string();
            assert!(error.contains("authentication") && error.contains("tcp:[::1]:PORT"), "{error}");
        }
    }

    #[test]
    fn a_name_is_judged_by_what_it_resolves_to() {
        let address = Address::parse("box.example:4040").unwrap();
        assert_eq!(address.check_local(), Ok(()));
        assert_eq!(address.check_local_ip([127, 0, 1, 1].into()), Ok(()));
        let error = address.check_local_ip([192, 0, 2, 7].into()).expect_err("exposed").to_string();
        assert!(error.starts_with("tcp:box.example:4040 (192.0.2.7) is no loopback address: "), "{error}");
    }

    #[test]
    fn what_lacks_its_kind_is_told_what_would_be_right() {
        for (text, meant) in [
            ("/tmp/x", "unix:/tmp/x"),
            ("/tmp/a:1", "unix:/tmp/a:1"),
            ("./x", "unix:./x"),
            ("run/x.sock", "unix:run/x.sock"),
            ("@telex", "unix:@telex"),
            ("4040", "tcp:127.0.0.1:4040"),
            (":4040", "tcp:127.0.0.1:4040"),
        ] {
            let error = Address::parse(text).expect_err(text).to_string();
            assert_eq!(error, format!("\"{text}\" is no address; did you mean {meant}?"));
            assert!(Address::parse(meant).is_ok());
        }
        for text in ["127.0.0.1:4040", "localhost:1", "[::1]:1"] {
            assert_eq!(Address::parse(text), Address::parse(&format!("tcp:{text}")), "clear as it stands");
        }
    }

    #[test]
    fn refused_with_a_reason() {
        for (text, why) in [
            ("unix:", "lacks a path"),
            ("unix:@", "lacks a path"),
            ("unix:/a\0b", "NUL"),
            ("tcp:localhost", "lacks a port"),
            ("", "lacks a port"),
            ("65536", "lacks a port"),
            ("+80", "lacks a port"),
            ("tcp::1", "lacks a host"),
            ("tcp:::1:80", "brackets"),
            ("tcp:[nope]:80", "IPv6"),
            ("tcp:[::1:80", "IPv6"),
            ("tcp:h:65536", "port"),
            ("tcp:h:+80", "port"),
            ("tcp:h:", "port"),
        ] {
            let error = Address::parse(text).expect_err(text).to_string();
            assert!(error.contains(why), "{error}");
        }
        assert!(Address::parse(&format!("unix:/{}", "x".repeat(107))).is_err());
        assert!(Address::parse(&format!("unix:/{}", "x".repeat(106))).is_ok());
    }
}
