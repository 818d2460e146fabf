//! Knows what a node ID and an address of a node look like (PROTOCOL.md section 3).
//! Never: which connections hold them.

use crate::limits::{ADDRESS_BYTES_MAX, NAME_BYTES_MAX};

/// Why a text is no node ID or address. `Display` is for people, and is to follow the text or its field's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadName {
    /// Nothing at all.
    Empty,
    /// More bytes than the number given.
    TooLong(usize),
    /// A C0 control character or DEL.
    ControlCharacter,
    /// A `#`, which divides node from port in an address.
    Port,
    /// A `:` at the start, which marks unique ids.
    Unique,
    /// A `%` that is none of `%n`, `%u`, `%%`.
    Percent,
}

impl std::error::Error for BadName {}

impl std::fmt::Display for BadName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BadName::Empty => f.write_str("is empty"),
            BadName::TooLong(most) => write!(f, "is longer than {most} bytes"),
            BadName::ControlCharacter => f.write_str("has a control character in it"),
            BadName::Port => f.write_str("has a '#' in it, which belongs to ports (NODE#PORT)"),
            BadName::Unique => f.write_str("begins with ':', as only the unique ids of connections do"),
            BadName::Percent => {
                f.write_str("has a '%' that is none of %n (host), %u (unique) and %% (percent)")
            }
        }
    }
}

/// Checks that `text` may be a node ID: 1 to 255 bytes without control characters and `#`, and no `:` at its
/// start. `telex.` at its start is reserved, which is a matter of rights and not of form: see [`is_reserved`].
///
/// ```
/// use telex::name::{BadName, check_node_id};
///
/// assert_eq!(check_node_id("web-1"), Ok(()));
/// assert_eq!(check_node_id("web#1"), Err(BadName::Port));
/// ```
pub fn check_node_id(text: &str) -> Result<(), BadName> {
    check_length(text, NAME_BYTES_MAX)?;
    if text.bytes().any(is_control) {
        return Err(BadName::ControlCharacter);
    }
    if text.contains('#') {
        return Err(BadName::Port);
    }
    if text.starts_with(':') {
        return Err(BadName::Unique);
    }
    Ok(())
}

/// Whether a node ID is kept for the daemon: it begins with `telex.`.
///
/// ```
/// assert!(telex::name::is_reserved("telex.log") && !telex::name::is_reserved("web"));
/// ```
pub fn is_reserved(node_id: &str) -> bool {
    node_id.starts_with("telex.")
}

/// The address of a node, without its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeAddress<'a> {
    /// `NODE` or `NODE#PORT`: the node ID.
    Node(&'a str),
    /// `:N` or `:N#PORT`: the number of a connection.
    Unique(u64),
}

impl<'a> NodeAddress<'a> {
    /// Reads `NODE`, `NODE#PORT`, `:N` or `:N#PORT`, of up to 511 bytes, NODE of up to 255. A `:` with anything
    /// but a plain number behind it is the unique id 0, which no connection has, and not an error: the daemon
    /// answers it as one that is not there.
    ///
    /// ```
    /// use telex::name::NodeAddress;
    ///
    /// assert_eq!(NodeAddress::parse("web#admin"), Ok(NodeAddress::Node("web")));
    /// assert_eq!(NodeAddress::parse(":7"), Ok(NodeAddress::Unique(7)));
    /// ```
    pub fn parse(text: &'a str) -> Result<NodeAddress<'a>, BadName> {
        check_length(text, ADDRESS_BYTES_MAX)?;
        if text.bytes().any(is_control) {
            return Err(BadName::ControlCharacter);
        }
        let node = node_of(text);
        match node.strip_prefix(':') {
            Some(number) => Ok(NodeAddress::Unique(unique_number(number).unwrap_or(0))),
            None => check_length(node, NAME_BYTES_MAX).map(|()| NodeAddress::Node(node)),
        }
    }
}

/// The part of an address before its port: `NODE` of `NODE#PORT`, or all of it. Nothing is checked.
///
/// ```
/// assert_eq!((telex::name::node_of("web#7"), telex::name::node_of("web")), ("web", "web"));
/// ```
pub fn node_of(address: &str) -> &str {
    match memchr::memchr(b'#', address.as_bytes()) {
        Some(at) => &address[..at],
        None => address,
    }
}

/// The number of a unique id without its `:`, spelled as the daemon spells it (no sign, no leading
/// zero), so that two spellings never mean one connection.
fn unique_number(digits: &str) -> Option<u64> {
    let plain = !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

/// Fills in a pattern of node IDs: `host` for `%n`, `unique` for `%u` and `%` for `%%`. [`BadName::Percent`] for
/// any other `%`. The result is not checked.
///
/// ```
/// assert_eq!(telex::name::expand("web-%n-%u", "box", "7").as_deref(), Ok("web-box-7"));
/// ```
pub fn expand(pattern: &str, host: &str, unique: &str) -> Result<String, BadName> {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        out.push_str(match rest.as_bytes().get(at + 1) {
            Some(b'n') => host,
            Some(b'u') => unique,
            Some(b'%') => "%",
            _ => return Err(BadName::Percent),
        });
        rest = &rest[at + 2..];
    }
    out.push_str(rest);
    Ok(out)
}

/// Whether `text` matches `pattern`, in which `*` stands for any run of characters, also none. Takes time in
/// proportion to their lengths, whatever they are.
///
/// ```
/// use telex::name::matches;
///
/// assert!(matches("web-*", "web-1") && matches("*", "") && !matches("web-*", "db"));
/// ```
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
    let Some(text) = text.strip_prefix(head).and_then(|text| text.strip_suffix(tail)) else { return false };
    // The first place of each part is as good as any: what is behind it is the longest that can be left.
    let mut left = text.as_bytes();
    middle.split('*').all(|part| match memchr::memmem::find(left, part.as_bytes()) {
        Some(at) => {
            left = &left[at + part.len()..];
            true
        }
        None => false,
    })
}

/// The text of `pattern` before its first `*`: everything that matches begins with it.
///
/// ```
/// assert_eq!(telex::name::literal_prefix("web.*.x"), "web.");
/// ```
pub fn literal_prefix(pattern: &str) -> &str {
    pattern.split('*').next().unwrap_or(pattern)
}

fn check_length(text: &str, most: usize) -> Result<(), BadName> {
    match text.len() {
        0 => Err(BadName::Empty),
        n if n > most => Err(BadName::TooLong(most)),
        _ => Ok(()),
    }
}

fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_ids() {
        for good in ["a", "web-1", "äöü", "a b", "x:y", &"n".repeat(255)] {
            assert_eq!(check_node_id(good), Ok(()), "{good}");
        }
        assert_eq!(check_node_id(""), Err(BadName::Empty));
        assert_eq!(check_node_id(&"n".repeat(256)), Err(BadName::TooLong(255)));
        assert_eq!(check_node_id("a\u{1f}"), Err(BadName::ControlCharacter));
        assert_eq!(check_node_id("a\u{7f}"), Err(BadName::ControlCharacter));
        assert_eq!(check_node_id("a#b"), Err(BadName::Port));
        assert_eq!(check_node_id(":7"), Err(BadName::Unique));
    }

    #[test]
    fn addresses() {
        assert_eq!(NodeAddress::parse("web"), Ok(NodeAddress::Node("web")));
        assert_eq!(NodeAddress::parse("web#a#b"), Ok(NodeAddress::Node("web")));
        assert_eq!(NodeAddress::parse(":7"), Ok(NodeAddress::Unique(7)));
        assert_eq!(NodeAddress::parse(":7#p"), Ok(NodeAddress::Unique(7)));
        for nobody in [":", ":x", ":07", ":+7", ":99999999999999999999999"] {
            assert_eq!(NodeAddress::parse(nobody), Ok(NodeAddress::Unique(0)), "{nobody}");
        }
        assert_eq!(NodeAddress::parse("#p"), Err(BadName::Empty));
        assert_eq!(NodeAddress::parse(&format!("{}#p", "n".repeat(256))), Err(BadName::TooLong(255)));
        assert_eq!(NodeAddress::parse(&format!("n#{}", "p".repeat(510))), Err(BadName::TooLong(511)));
        assert_eq!(NodeAddress::parse("a\nb"), Err(BadName::ControlCharacter));
    }

    #[test]
    fn expansion() {
        assert_eq!(expand("w-%n-%u-100%%", "box", "7").as_deref(), Ok("w-box-7-100%"));
        for bad in ["%", "a%x", "%%%"] {
            assert_eq!(expand(bad, "box", "7"), Err(BadName::Percent), "{bad}");
        }
    }

    #[test]
    fn patterns() {
        for (pattern, text) in
            [("*", ""), ("*", "abc"), ("a*c", "abbc"), ("a*b*c", "axbybzc"), ("ab", "ab"), ("**", "x")]
        {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("", "a"), ("a", ""), ("a*c", "abcd"), ("a*b*c", "acb"), ("?", "a")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
        assert_eq!(literal_prefix("web.*.x"), "web.");
    }
}
