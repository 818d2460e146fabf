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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_they_are_defined() {
        fn is_defined_to_match(pattern: &[u8], text: &[u8]) -> bool {
            match pattern.split_first() {
                None => text.is_empty(),
                Some((b'*', rest)) => (0..=text.len()).any(|at| is_defined_to_match(rest, &text[at..])),
                Some((byte, rest)) => text.first() == Some(byte) && is_defined_to_match(rest, &text[1..]),
            }
        }
        fn words(alphabet: &[&str]) -> Vec<String> {
            let mut words = vec![String::new()];
            for from in 0..alphabet.len().pow(4) {
                let word = words[from].clone();
                words.extend(alphabet.iter().map(|letter| format!("{word}{letter}")));
            }
            words
        }
        for pattern in words(&["a", "b", "*"]) {
            for text in words(&["a", "b"]) {
                let expected = is_defined_to_match(pattern.as_bytes(), text.as_bytes());
                assert_eq!(matches(&pattern, &text), expected, "{pattern} {text}");
            }
        }
    }
}
