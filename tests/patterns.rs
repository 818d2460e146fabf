//! The daemon and `telex-plugin` match patterns each by itself, for neither may depend on the other; both do
//! it as it is defined.

#![cfg(feature = "daemon")]

fn is_defined_to_match(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|at| is_defined_to_match(rest, &text[at..])),
        Some((byte, rest)) => text.first() == Some(byte) && is_defined_to_match(rest, &text[1..]),
    }
}

/// All words of at most five letters.
fn words(alphabet: &[&str]) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut longest = words.clone();
    for _ in 0..5 {
        let longer =
            |word: &String| alphabet.iter().map(|letter| format!("{word}{letter}")).collect::<Vec<_>>();
        longest = longest.iter().flat_map(longer).collect();
        words.extend_from_slice(&longest);
    }
    words
}

#[test]
fn both_match_patterns_as_they_are_defined() {
    let texts = words(&["a", "b", "ä"]);
    for pattern in words(&["a", "b", "ä", "*"]) {
        for text in &texts {
            let expected = is_defined_to_match(pattern.as_bytes(), text.as_bytes());
            assert_eq!(telex::name::matches(&pattern, text), expected, "the daemon: {pattern} {text}");
            assert_eq!(telex_plugin::matches(&pattern, text), expected, "plugins: {pattern} {text}");
        }
    }
}
