//! Knows what patterns match, and what a pattern that is asked for has in common with that of a rule.
//! Never: whose they are, or what follows from it.

/// Stands for any run of characters in what is asked for. A `*` will not do there: a node ID may have one,
/// and none has this.
pub const ANY: char = '\0';

/// What a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Node IDs, message types, requests to the daemon.
    Glob(Glob),
    /// Topics: `*` stands for one whole token, `>` at the end for one or more.
    Topic(Box<str>),
}

impl Pattern {
    /// Whether all that `asked` stands for matches.
    pub fn covers(&self, asked: &str) -> bool {
        match self {
            Pattern::Glob(glob) => glob.covers(asked),
            Pattern::Topic(pattern) => topic_covers(pattern, asked),
        }
    }

    /// Whether anything that `asked` stands for matches.
    pub fn overlaps(&self, asked: &str) -> bool {
        match self {
            Pattern::Glob(glob) => glob.overlaps(asked),
            Pattern::Topic(pattern) => topic_overlaps(pattern, asked),
        }
    }

    /// The only text that matches, where there is just one.
    pub fn literal(&self) -> Option<&str> {
        match self {
            Pattern::Glob(glob) => glob.rest.is_none().then_some(&*glob.head),
            Pattern::Topic(pattern) => {
                (!pattern.split('.').any(|token| token == "*" || token == ">")).then_some(&**pattern)
            }
        }
    }

    /// The pattern as something that is asked for.
    pub fn asked(&self) -> String {
        match self {
            Pattern::Glob(glob) => glob.asked(),
            Pattern::Topic(pattern) => pattern.to_string(),
        }
    }
}

/// A pattern in which `*` stands for any run of characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    /// What stands before the first wildcard.
    head: Box<str>,
    /// Without a wildcard there is none.
    rest: Option<Rest>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rest {
    middle: Box<[Box<str>]>,
    tail: Box<str>,
}

impl Glob {
    /// The pattern of a rule.
    pub fn new(pattern: &str) -> Glob {
        Glob::parse(pattern, '*')
    }

    fn parse(pattern: &str, wildcard: char) -> Glob {
        let mut parts = pattern.split(wildcard).map(Box::from);
        let head = parts.next().unwrap_or_default();
        let mut middle: Vec<Box<str>> = parts.collect();
        let rest = middle.pop().map(|tail| Rest { middle: middle.into(), tail });
        Glob { head, rest }
    }

    /// Whether all that `asked` stands for matches. An [`ANY`] can only be taken up by a wildcard, and what
    /// takes it up takes up anything in its place: so it is treated as one more character.
    pub fn covers(&self, asked: &str) -> bool {
        let Some(Rest { middle, tail }) = &self.rest else { return *self.head == *asked };
        let inside = asked.strip_prefix(&*self.head).and_then(|rest| rest.strip_suffix(&**tail));
        let Some(mut left) = inside else { return false };
        // The first place of each part is as good as any: what is behind it is the longest that can be left.
        middle.iter().all(|part| match left.find(&**part) {
            Some(at) => {
                left = &left[at + part.len()..];
                true
            }
            None => false,
        })
    }

    /// Whether anything that `asked` stands for matches.
    pub fn overlaps(&self, asked: &str) -> bool {
        let (Some((head, _)), Some((_, tail))) = (asked.split_once(ANY), asked.rsplit_once(ANY)) else {
            return self.covers(asked);
        };
        match &self.rest {
            None => Glob::parse(asked, ANY).covers(&self.head),
            // Whatever stands between their ends, one text can have both, one behind the other.
            Some(rest) => {
                (head.starts_with(&*self.head) || self.head.starts_with(head))
                    && (tail.ends_with(&*rest.tail) || rest.tail.ends_with(tail))
            }
        }
    }

    /// The pattern as something that is asked for.
    pub fn asked(&self) -> String {
        let mut text = self.head.to_string();
        if let Some(rest) = &self.rest {
            for part in rest.middle.iter().chain([&rest.tail]) {
                text.push(ANY);
                text.push_str(part);
            }
        }
        text
    }
}

fn topic_covers(pattern: &str, asked: &str) -> bool {
    let (mut pattern, mut asked) = (pattern.split('.'), asked.split('.'));
    loop {
        match (pattern.next(), asked.next()) {
            (None, None) | (Some(">"), Some(_)) => return true,
            (Some("*"), Some(token)) if token != ">" => {}
            (Some(token), Some(other)) if token == other => {}
            _ => return false,
        }
    }
}

fn topic_overlaps(pattern: &str, asked: &str) -> bool {
    let (mut pattern, mut asked) = (pattern.split('.'), asked.split('.'));
    loop {
        match (pattern.next(), asked.next()) {
            (None, None) | (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some("*"), Some(_)) | (Some(_), Some("*")) => {}
            (Some(token), Some(other)) if token == other => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn glob(pattern: &str) -> Pattern {
        Pattern::Glob(Glob::new(pattern))
    }

    fn topic(pattern: &str) -> Pattern {
        Pattern::Topic(pattern.into())
    }

    /// `*` for any run of characters, as the other side of a comparison is written here.
    fn asked(pattern: &str) -> String {
        pattern.replace('*', "\0")
    }

    #[test]
    fn globs_cover() {
        for (pattern, other) in [
            ("*", "*"),
            ("*", "web"),
            ("**", "*"),
            ("web-*", "web-*"),
            ("web-*", "web-1"),
            ("web-*", "web-"),
            ("web-*", "web-*-x"),
            ("*a*", "a*"),
            ("a*b*c", "ab*bc"),
            ("*:*", "a:b"),
        ] {
            assert!(glob(pattern).covers(&asked(other)), "{pattern} {other}");
        }
        for (pattern, other) in [
            ("web-*", "web*"),
            ("web-*", "*"),
            ("web", "web*"),
            ("a*b", "a*"),
            ("a*a", "a"),
            ("a*b*c", "acb"),
            ("*a*", "*"),
            ("", "a"),
        ] {
            assert!(!glob(pattern).covers(&asked(other)), "{pattern} {other}");
        }
        assert!(!glob("web-*").covers("web*"), "a star that is a character");
        assert!(glob("web*").covers("web*"), "a star that is a character");
    }

    #[test]
    fn globs_overlap() {
        for (pattern, other) in [
            ("web-*", "*-1"),
            ("web", "w*"),
            ("w*", "web"),
            ("a*b", "ab*b"),
            ("*", "*"),
            ("a*", "ab*"),
            ("a*a", "aa*"),
        ] {
            assert!(glob(pattern).overlaps(&asked(other)), "{pattern} {other}");
        }
        for (pattern, other) in
            [("web-*", "db-*"), ("web", "web?*"), ("*a", "*b"), ("a*", "b"), ("aa", "a*aa")]
        {
            assert!(!glob(pattern).overlaps(&asked(other)), "{pattern} {other}");
        }
    }

    #[test]
    fn topics_cover() {
        for (pattern, other) in [
            (">", ">"),
            (">", "a"),
            (">", "*.>"),
            ("a.*", "a.*"),
            ("a.*", "a.b"),
            ("a.>", "a.*.b"),
            ("*.>", "a.b"),
            ("*.>", "*.>"),
        ] {
            assert!(topic(pattern).covers(other), "{pattern} {other}");
        }
        for (pattern, other) in [
            ("*", ">"),
            ("*.>", ">"),
            ("a.>", "a"),
            ("a.b", "a.*"),
            ("a.*", "a.>"),
            ("a.*", "a.b.c"),
            ("*", "a.b"),
            ("a", "a.b"),
            ("a.b", "a"),
        ] {
            assert!(!topic(pattern).covers(other), "{pattern} {other}");
        }
    }

    #[test]
    fn topics_overlap() {
        for (pattern, other) in
            [("a.*", "*.b"), (">", "a"), ("a.>", ">"), ("a.>", "*.*.c"), ("*", ">"), ("a.b", "a.>")]
        {
            assert!(topic(pattern).overlaps(other), "{pattern} {other}");
        }
        for (pattern, other) in [("a.*", "b.*"), ("a.>", "a"), ("*", "*.*"), ("a.b", "a.c"), ("a.>", "*")] {
            assert!(!topic(pattern).overlaps(other), "{pattern} {other}");
        }
    }

    #[test]
    fn what_has_no_wildcard_is_literal() {
        assert_eq!(glob("web").literal(), Some("web"));
        assert_eq!(glob("web*").literal(), None);
        assert_eq!(topic("a.b>").literal(), Some("a.b>"));
        assert_eq!(topic("a.*").literal(), None);
        assert_eq!(topic("a.>").literal(), None);
    }

    /// All texts of up to four letters, which is more than the patterns below can tell apart.
    fn words() -> Vec<String> {
        let mut words = vec![String::new()];
        for from in 0..1 + 3 + 9 + 27 {
            let word = words[from].clone();
            words.extend(["a", "b", "c"].map(|letter| format!("{word}{letter}")));
        }
        words
    }

    /// All topics of up to four tokens.
    fn topics() -> Vec<String> {
        let tokens = words().into_iter().filter(|word| !word.is_empty());
        tokens.map(|word| word.chars().map(String::from).collect::<Vec<_>>().join(".")).collect()
    }

    proptest! {
        /// Where a text tells two patterns of three letters apart, or matches both, one of up to four does.
        /// The `c` stands for all letters that are in no pattern.
        #[test]
        fn globs_are_exact_where_they_are_short(
            pattern in "[ab*]{0,3}",
            other in "[ab*]{0,3}",
        ) {
            let (rule, other) = (glob(&pattern), glob(&other));
            let matching: Vec<_> = words().into_iter().filter(|word| other.covers(word)).collect();
            let asked = other.asked();
            prop_assert_eq!(rule.covers(&asked), matching.iter().all(|word| rule.covers(word)));
            prop_assert_eq!(rule.overlaps(&asked), matching.iter().any(|word| rule.covers(word)));
        }

        #[test]
        fn what_a_glob_covers_it_matches(
            pattern in "[ab*]{0,12}",
            other in "[ab*]{0,12}",
            fillings in prop::collection::vec("[abc]{0,4}", 12),
        ) {
            let (rule, other) = (glob(&pattern), glob(&other));
            let asked = other.asked();
            let mut fillings = fillings.iter();
            let text: String = asked
                .chars()
                .map(|c| if c == ANY { fillings.next().cloned().unwrap_or_default() } else { c.to_string() })
                .collect();
            prop_assert!(other.covers(&text));
            prop_assert!(!rule.covers(&asked) || rule.covers(&text));
            prop_assert!(!rule.covers(&text) || rule.overlaps(&asked));
            prop_assert!(rule.covers(&rule.asked()) && rule.overlaps(&rule.asked()));
        }

        #[test]
        fn topics_are_exact(
            pattern in "([ab*]\\.){0,2}[ab*>]",
            other in "([ab*]\\.){0,2}[ab*>]",
        ) {
            let (rule, other) = (topic(&pattern), topic(&other));
            let matching: Vec<_> = topics().into_iter().filter(|text| other.covers(text)).collect();
            let asked = other.asked();
            prop_assert_eq!(rule.covers(&asked), matching.iter().all(|text| rule.covers(text)));
            prop_assert_eq!(rule.overlaps(&asked), matching.iter().any(|text| rule.covers(text)));
        }
    }
}
