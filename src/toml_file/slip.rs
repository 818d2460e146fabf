//! Knows what may have been meant by a key that does not exist.
//! Never: which keys do.

/// What is to be said behind a key that is none of the `names`; `else_see` tells where to find those, if none
/// of them is near.
pub(crate) fn no_setting<'n>(key: &str, names: impl Iterator<Item = &'n str>, else_see: &str) -> String {
    match names.map(|known| (distance(key, known), known)).min() {
        // A third of it mistyped is still a slip; "foo" is not meant to be "host".
        Some((far, known)) if far * 3 <= key.len() => format!("is no setting; did you mean {known}?"),
        _ => format!("is no setting; {else_see}"),
    }
}

/// How many characters have to be put in, left out or changed to make one text of the other.
fn distance(one: &str, other: &str) -> usize {
    // Row n holds the distances of the first n characters of `one` from every start of `other`.
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (n, a) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], n + 1);
        for (m, b) in other.chars().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[m + 1];
            row[m + 1] = changed.min(diagonal + 1).min(row[m] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (one, other, far) in [("", "abc", 3), ("abc", "", 3), ("abc", "abc", 0), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(one, other), far);
        }
    }
}
