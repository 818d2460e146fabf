//! Knows how lines end, and how each keeps its end in a text that is changed.
//! Never: what a line says.

/// A line, and its end; the last one may have none.
struct Line<'t> {
    text: &'t str,
    end: &'t str,
}

/// `new` with the ends that its lines have in `old`. A line that is not there ends as the one that it replaces, or as
/// the one above it.
pub(crate) fn kept(old: &str, new: &str) -> String {
    let (old, new) = (lines(old), lines(new));
    let is_same = |(old, new): &(&Line, &Line)| old.text == new.text;
    let head = old.iter().zip(&new).take_while(is_same).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(is_same).count();
    let (unchanged, rest) = old.split_at(head);
    let (mut changed, end_unchanged) = rest.split_at(rest.len() - tail);
    let mut stands_for: Vec<Option<&Line>> = unchanged.iter().map(Some).collect();
    for line in &new[head..new.len() - tail] {
        let found = changed.iter().position(|old| old.text == line.text);
        stands_for.push(changed.get(found.unwrap_or(0)));
        changed = &changed[found.map_or(0, |at| at + 1)..];
    }
    stands_for.extend(end_unchanged.iter().map(Some));
    let mut end = old.first().map(|line| line.end).filter(|end| !end.is_empty()).unwrap_or("\n");
    let mut text = String::new();
    for (line, old) in new.iter().zip(stands_for) {
        end = old.map(|line| line.end).filter(|end| !end.is_empty()).unwrap_or(end);
        text += line.text;
        text += if line.end.is_empty() { "" } else { end };
    }
    text
}

fn lines(text: &str) -> Vec<Line<'_>> {
    let text_of =
        |whole: &str| whole.strip_suffix('\n').map_or(whole.len(), |line| line.trim_end_matches('\r').len());
    let all = text.split_inclusive('\n').map(|whole| whole.split_at(text_of(whole)));
    all.map(|(text, end)| Line { text, end }).collect()
}

#[cfg(test)]
mod tests {
    use super::kept;

    #[test]
    fn each_line_keeps_its_end() {
        for (old, new, expected) in [
            ("a\r\nb\nc\r\n", "a\nb\nc\n", "a\r\nb\nc\r\n"),
            ("a\r\nb\nc\r\n", "a\nB\nc\n", "a\r\nB\nc\r\n"),
            ("a\nb\r\nc\n", "a\nB\nc\n", "a\nB\r\nc\n"),
            ("a\nb\r\nc\n", "a\nb\nnew\nc\n", "a\nb\r\nnew\r\nc\n"),
            ("a\nb\r\nc\n", "b\nc\n", "b\r\nc\n"),
            ("a\nb\r\n#\nc\r\n", "a\n#\n", "a\n#\n"),
            ("a\n[\r\n]\n", "a\n[]\n", "a\n[]\r\n"),
            ("a\r\nb", "a\nb\nc\n", "a\r\nb\r\nc\r\n"),
            ("a", "a\nb\n", "a\nb\n"),
            ("", "a\n", "a\n"),
            ("a\r\n", "", ""),
            ("a\r\n", "new\na\n", "new\r\na\r\n"),
        ] {
            assert_eq!(kept(old, new), expected, "{old:?} {new:?}");
        }
    }
}
