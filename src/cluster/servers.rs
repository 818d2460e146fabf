//! Knows how a list of servers is written.
//! Never: which of them is used, or for what.

use std::fmt;

use crate::address::{Address, Host};

/// The largest weight of a server.
pub const WEIGHT_MAX: u32 = 10_000;

/// One server of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Where it listens.
    pub address: Address,
    /// Its share of the work among all, from 1 to [`WEIGHT_MAX`].
    pub weight: u32,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// Why a text is no list of servers. `Display` is a sentence for people; it names the entry and its column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadServers {
    /// Where the entry begins, in bytes from 1.
    pub column: usize,
    /// The entry, without the space around it.
    pub entry: String,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for BadServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "server \"{}\" at column {}: {}", self.entry, self.column, self.why)
    }
}

impl std::error::Error for BadServers {}

/// Reads a list of servers: entries with commas between them, each `HOST:PORT`, `unix:PATH` or `unix:@NAME` as
/// [`Address::parse`] takes them. A weight is written `HOST:PORT*WEIGHT` or `HOST:PORT:WEIGHT`, of a Unix socket
/// `unix:PATH*WEIGHT`; without one it is 1. Space around an entry is ignored.
///
/// An error names the first entry at fault: an empty one, one that is there twice (with whatever weight), one
/// whose host is `*`, whose port is 0 or whose weight is not from 1 to [`WEIGHT_MAX`].
///
/// ```
/// use telex::cluster::servers;
///
/// let list = servers("a:4040, [::1]:4040*3, unix:/run/x.sock*2, b:4040:9")?;
/// let weights: Vec<u32> = list.iter().map(|server| server.weight).collect();
/// assert_eq!((list[1].to_string().as_str(), weights), ("tcp:[::1]:4040", vec![1, 3, 2, 9]));
/// let bad = servers("a:4040,b:4040*0").expect_err("a weight of 0");
/// assert_eq!(bad.to_string(), "server \"b:4040*0\" at column 8: its weight is no number from 1 to 10000");
/// # Ok::<(), telex::cluster::BadServers>(())
/// ```
pub fn servers(text: &str) -> Result<Vec<Server>, BadServers> {
    let mut list: Vec<Server> = Vec::new();
    let mut start = 0;
    for whole in text.split(',') {
        let entry = whole.trim();
        let column = start + (whole.len() - whole.trim_start().len()) + 1;
        start += whole.len() + 1;
        let bad = |why: String| BadServers { column, entry: entry.to_owned(), why };
        let server = read(entry).map_err(bad)?;
        if list.iter().any(|other| other.address == server.address) {
            return Err(bad("it is there twice".to_owned()));
        }
        list.push(server);
    }
    Ok(list)
}

fn read(entry: &str) -> Result<Server, String> {
    if entry.is_empty() {
        return Err("the entry is empty".to_owned());
    }
    let (place, weight) = match entry.rsplit_once('*') {
        // `*` is also a host and a port of addresses.
        Some((place, weight)) if !place.is_empty() && !place.ends_with(':') => (place, Some(weight)),
        _ if entry.starts_with("unix:") => (entry, None),
        _ => third_part(entry),
    };
    let weight = weight.map_or(Ok(1), |digits| match digits.parse::<u32>() {
        Ok(weight) if (1..=WEIGHT_MAX).contains(&weight) && !digits.starts_with('+') => Ok(weight),
        _ => Err(format!("its weight is no number from 1 to {WEIGHT_MAX}")),
    })?;
    let address = Address::parse(place).map_err(|bad| bad.to_string())?;
    match address {
        Address::Tcp(Host::Any, _) => Err("* is no host that can be dialled".to_owned()),
        Address::Tcp(_, 0) => Err("0 is no port that can be dialled".to_owned()),
        address => Ok(Server { address, weight }),
    }
}

/// Splits `HOST:PORT:WEIGHT`, if that is what it is. The colons of an IPv6 address stand in brackets.
fn third_part(entry: &str) -> (&str, Option<&str>) {
    let rest = entry.strip_prefix("tcp:").unwrap_or(entry);
    let behind_host = rest.rfind(']').unwrap_or(0);
    match rest[behind_host..].matches(':').count() {
        2 => entry.rsplit_once(':').map_or((entry, None), |(place, weight)| (place, Some(weight))),
        _ => (entry, None),
    }
}

impl Server {
    /// Its host and port as the rings write them; a Unix socket is its path (`@NAME`) and port 0.
    pub(super) fn name(&self) -> (String, u16) {
        match &self.address {
            Address::Unix(path) => (path.display().to_string(), 0),
            Address::Abstract(name) => (format!("@{name}"), 0),
            Address::Tcp(Host::Any, port) => ("*".to_owned(), *port),
            Address::Tcp(Host::Name(host), port) => (host.clone(), *port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_in_all_forms() {
        let shown = |text: &str| -> Vec<String> {
            servers(text).unwrap().iter().map(|it| format!("{it}*{}", it.weight)).collect()
        };
        assert_eq!(
            shown("a:4040,[::1]:4040*3,unix:/run/x.sock*2,unix:@n"),
            ["tcp:a:4040*1", "tcp:[::1]:4040*3", "unix:/run/x.sock*2", "unix:@n*1"]
        );
        assert_eq!(
            shown(" tcp:a:1:7 ,tcp:b:2 ,[::1]:3:5, c:4:10000"),
            ["tcp:a:1*7", "tcp:b:2*1", "tcp:[::1]:3*5", "tcp:c:4*10000"]
        );
    }

    #[test]
    fn errors_name_the_entry_and_its_column() {
        for (text, column, entry, why) in [
            ("", 1, "", "empty"),
            ("a:1,,b:2", 5, "", "empty"),
            ("a:1, ", 6, "", "empty"),
            ("a:1, a:1*2", 6, "a:1*2", "twice"),
            ("a:1,tcp:a:1:3", 5, "tcp:a:1:3", "twice"),
            ("a:1*0", 1, "a:1*0", "weight"),
            ("a:1:0", 1, "a:1:0", "weight"),
            ("unix:/x*0", 1, "unix:/x*0", "weight"),
            ("a:1*10001", 1, "a:1*10001", "weight"),
            ("a:1*+1", 1, "a:1*+1", "weight"),
            ("a:1*x", 1, "a:1*x", "weight"),
            ("b:1,a:0", 5, "a:0", "0 is no port"),
            ("a:*", 1, "a:*", "0 is no port"),
            ("*:1", 1, "*:1", "* is no host"),
            ("a", 1, "a", "lacks a port"),
            ("/run/x", 1, "/run/x", "did you mean unix:/run/x?"),
            ("a:1:2:3", 1, "a:1:2:3", "IPv6 address must stand in brackets"),
        ] {
            let bad = servers(text).expect_err(text);
            assert_eq!((bad.column, bad.entry.as_str()), (column, entry), "{text}: {bad}");
            assert!(bad.why.contains(why), "{text}: {bad}");
        }
    }
}
