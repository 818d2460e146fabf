//! Knows when a text matches a pattern, for filters whose own rules have some.

/// Whether `text` matches `pattern`, in which `*` stands for any run of characters, as the daemon itself
/// reads the patterns of an [`Interest`](crate::Interest). Takes time in proportion to their lengths,
/// whatever they are.
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
    let Some(mut left) = text.strip_prefix(head).and_then(|text| text.strip_suffix(tail)) else {
        return false;
    };
    // The first place of each part is as good as any: what is behind it is the longest that can be left.
    middle.split('*').all(|part| match left.find(part) {
        Some(at) => {
            left = &left[at + part.len()..];
            true
        }
        None => false,
    })
}
