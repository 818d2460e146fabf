//! Knows how a text of profiles in TOML is changed, with all its comments kept.
//! Never: whether a value is right, or where the text is kept.

use toml_edit::{Array, Decor, DocumentMut, Item, RawString, Table, TableLike, Value};

use crate::line_ends;

/// The name that stands for the table which all profiles share.
pub(crate) const GLOBAL: &str = "global";
const PROFILE: &str = "profile";
const BOM: char = '\u{feff}';

/// A text of profiles. A table is named by its profile, or `global`.
pub(crate) struct Document {
    doc: DocumentMut,
    /// What was read: the library keeps neither its mark nor the ends of its lines.
    old: String,
}

impl Document {
    /// The error says why it is no TOML.
    pub(crate) fn read(text: &str) -> Result<Document, String> {
        let doc = text.parse::<DocumentMut>().map_err(|error| error.to_string())?;
        Ok(Document { doc, old: text.to_owned() })
    }

    pub(crate) fn text(&self) -> String {
        let new = self.doc.to_string();
        let new = new.strip_prefix(BOM).unwrap_or(&new);
        match self.old.strip_prefix(BOM) {
            Some(old) => format!("{BOM}{}", line_ends::kept(old, new)),
            None => line_ends::kept(&self.old, new),
        }
    }

    /// What a table sets by itself; none if it is not there.
    pub(crate) fn settings(&self, name: &str) -> Option<Vec<(String, serde_json::Value)>> {
        let root = self.doc.as_table();
        let item = match name {
            GLOBAL => root.get(GLOBAL),
            _ => root.get(PROFILE).and_then(|profiles| profiles.as_table_like()?.get(name)),
        };
        let all = item?.as_table_like()?.iter();
        Some(all.map(|(key, item)| (key.to_owned(), item.as_value().map(json).unwrap_or_default())).collect())
    }

    /// Sets a key, in a table that is made at the end if it is not there.
    pub(crate) fn set(&mut self, name: &str, key: &str, mut value: Value) {
        let table = self.table_or_new(name);
        match table.get_mut(key).and_then(Item::as_value_mut) {
            // What stands around a value is kept, such as a comment behind it.
            Some(old) => {
                *value.decor_mut() = old.decor().clone();
                *old = value;
            }
            None => {
                value.decor_mut().clear();
                table.insert(key, Item::Value(value));
            }
        }
    }

    /// Adds elements to a list, which is made if it is not there.
    pub(crate) fn add(&mut self, name: &str, key: &str, elements: Value) {
        match self.table_or_new(name).get_mut(key).and_then(Item::as_array_mut) {
            None => self.set(name, key, elements),
            Some(array) => {
                elements.as_array().into_iter().flatten().for_each(|element| push(array, element.clone()));
            }
        }
    }

    /// Takes the first of these elements out of a list. Whether it was there.
    pub(crate) fn take(&mut self, name: &str, key: &str, element: &Value) -> bool {
        let array = self.table(name).and_then(|table| table.get_mut(key)?.as_array_mut());
        let Some(array) = array else { return false };
        let found = array.iter().position(|value| json(value) == json(element));
        found.map(|at| take(array, at)).is_some()
    }

    /// Removes a key. Whether it was there.
    pub(crate) fn remove(&mut self, name: &str, key: &str) -> bool {
        let Some(table) = self.table(name) else { return false };
        if !table.contains_key(key) {
            return false;
        }
        let above = remove(table, key);
        self.insert_behind(name, &above);
        true
    }

    /// Removes a table. Whether it was there.
    pub(crate) fn remove_table(&mut self, name: &str) -> bool {
        if self.table(name).is_none() {
            return false;
        }
        if let Some(header) = self.header_mut(name) {
            let above = comments(&prefix(header.decor()));
            self.insert_behind(name, &above);
        }
        let root: &mut dyn TableLike = self.doc.as_table_mut();
        let parent = match name {
            GLOBAL => Some(root),
            _ => root.get_mut(PROFILE).and_then(Item::as_table_like_mut),
        };
        if let Some(parent) = parent {
            let above = remove(parent, name);
            self.insert_behind(PROFILE, &above);
        }
        // If it was the first one, the text would begin with the blank line behind it.
        if let Ok(doc) = self.doc.to_string().trim_start_matches('\n').parse() {
            self.doc = doc;
        }
        true
    }

    fn table(&mut self, name: &str) -> Option<&mut dyn TableLike> {
        let root = self.doc.as_table_mut();
        let item = match name {
            GLOBAL => root.get_mut(GLOBAL),
            _ => root.get_mut(PROFILE)?.as_table_like_mut()?.get_mut(name),
        };
        item?.as_table_like_mut()
    }

    fn table_or_new(&mut self, name: &str) -> &mut dyn TableLike {
        if self.table(name).is_none() {
            // With a line of its own it comes last, behind the comments that end the file.
            let mut table = Table::new();
            let is_inline = name != GLOBAL && self.doc.get(PROFILE).is_some_and(Item::is_inline_table);
            if !is_inline {
                let mut above = self.doc.trailing().as_str().unwrap_or_default().to_owned();
                if !above.is_empty() && !above.ends_with('\n') {
                    above.push('\n');
                }
                if !self.doc.as_table().is_empty() || !above.is_empty() {
                    above.push('\n');
                }
                self.doc.set_trailing("");
                table.decor_mut().set_prefix(above);
                table.set_position(Some(isize::MAX));
            }
            let root = self.doc.as_table_mut();
            let mut implicit = Table::new();
            implicit.set_implicit(true);
            let parent: &mut dyn TableLike = match name {
                GLOBAL => root,
                _ => {
                    let profiles = root.entry(PROFILE).or_insert(Item::Table(implicit));
                    profiles.as_table_like_mut().expect("a table, as the text is right")
                }
            };
            parent.insert(name, Item::Table(table));
        }
        self.table(name).expect("it was made")
    }

    /// The table of a name if it has a line of its own, `[NAME]`.
    fn header_mut(&mut self, name: &str) -> Option<&mut Table> {
        let root = self.doc.as_table_mut();
        let item = match name {
            GLOBAL | PROFILE => root.get_mut(name),
            _ => root.get_mut(PROFILE)?.as_table_like_mut()?.get_mut(name),
        };
        item?.as_table_mut().filter(|table| !table.is_dotted() && !table.is_implicit())
    }

    /// Puts whole lines of comments behind a table: before the line of the next one, or at the end.
    fn insert_behind(&mut self, name: &str, comments: &str) {
        if comments.is_empty() {
            return;
        }
        let mut position = |name: &str| self.header_mut(name).and_then(|table| table.position());
        // A table without a line of its own stands in that of the profiles, or before all of them.
        let own = position(name).or_else(|| position(PROFILE)).unwrap_or(isize::MIN);
        let profiles = self.doc.as_table().get(PROFILE).and_then(Item::as_table_like);
        let mut names: Vec<String> = vec![GLOBAL.to_owned(), PROFILE.to_owned()];
        names.extend(profiles.into_iter().flat_map(|table| table.iter()).map(|(name, _)| name.to_owned()));
        let behind = |name: String| {
            let position = self.header_mut(&name)?.position().filter(|position| *position > own)?;
            Some((position, name))
        };
        let next = names.into_iter().filter_map(behind).min();
        match next.and_then(|(_, name)| self.header_mut(&name)) {
            Some(table) => {
                let old = prefix(table.decor());
                table.decor_mut().set_prefix(format!("{comments}{old}"));
            }
            None => {
                let old = self.doc.trailing().as_str().unwrap_or_default().to_owned();
                self.doc.set_trailing(format!("{comments}{old}"));
            }
        }
    }
}

fn prefix(decor: &Decor) -> String {
    raw(decor.prefix())
}

fn raw(text: Option<&RawString>) -> String {
    text.and_then(RawString::as_str).unwrap_or_default().to_owned()
}

/// The whole lines of a text if one of them is a comment.
fn comments(text: &str) -> String {
    let (lines, _) = text.rsplit_once('\n').unwrap_or_default();
    if lines.contains('#') { format!("{lines}\n") } else { String::new() }
}

/// Removes a key. The comments above it go to the next one; if there is none they are given back.
fn remove(table: &mut dyn TableLike, key: &str) -> String {
    let next = table.iter().map(|(key, _)| key.to_owned()).skip_while(|known| known != key).nth(1);
    let above = table.key(key).map(|key| comments(&prefix(key.leaf_decor()))).unwrap_or_default();
    table.remove(key);
    match next.and_then(|next| table.key_mut(&next)) {
        Some(mut next) => {
            let old = prefix(next.leaf_decor());
            // A table with a line of its own has what is above it there.
            if !above.is_empty() {
                next.leaf_decor_mut().set_prefix(format!("{above}{old}"));
            }
            String::new()
        }
        None => above,
    }
}

/// Adds an element behind the comment of the last one.
fn push(array: &mut Array, mut element: Value) {
    let mut behind = String::new();
    let mut indent = String::new();
    if let Some(last) = array.len().checked_sub(1).and_then(|last| array.get_mut(last)) {
        behind = raw(last.decor().suffix());
        last.decor_mut().set_suffix("");
        indent = prefix(last.decor()).rsplit('\n').next().unwrap_or_default().to_owned();
    }
    behind += array.trailing().as_str().unwrap_or_default();
    match behind.rsplit_once('\n') {
        Some((comment, bracket)) => {
            *element.decor_mut() = Decor::new(format!("{comment}\n{indent}"), "");
            array.set_trailing(format!("\n{bracket}"));
            array.set_trailing_comma(true);
        }
        None => {
            let space = if array.is_empty() { "" } else { " " };
            *element.decor_mut() = Decor::new(space, "");
            array.set_trailing(behind);
        }
    }
    array.push_formatted(element);
}

/// Takes an element out, with the comment behind it.
fn take(array: &mut Array, at: usize) {
    let taken = array.remove(at);
    let before = prefix(taken.decor());
    // What stands before it begins with the comment of the element before, and what stands behind with its own.
    let joined = |behind: &str| match behind.split_once('\n') {
        Some((_, rest)) => {
            let lines = before.rsplit_once('\n').map_or(before.as_str(), |(lines, _)| lines);
            format!("{lines}\n{rest}")
        }
        None => before.clone(),
    };
    match array.get_mut(at) {
        Some(next) => {
            let behind = prefix(next.decor());
            next.decor_mut().set_prefix(joined(&behind));
        }
        None => {
            let behind = raw(taken.decor().suffix()) + array.trailing().as_str().unwrap_or_default();
            array.set_trailing(if behind.contains('\n') { joined(&behind) } else { behind });
        }
    }
}

/// A value as JSON has it; a time is a text.
pub(crate) fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::String(text) => text.value().as_str().into(),
        Value::Integer(number) => (*number.value()).into(),
        Value::Float(number) => (*number.value()).into(),
        Value::Boolean(truth) => (*truth.value()).into(),
        Value::Datetime(time) => time.value().to_string().into(),
        Value::Array(array) => array.iter().map(json).collect(),
        Value::InlineTable(table) => table.iter().map(|(key, value)| (key.to_owned(), json(value))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};

    use super::*;

    /// What becomes of a text.
    fn changed(text: &str, change: impl FnOnce(&mut Document)) -> String {
        let mut document = Document::read(text).expect(text);
        assert_eq!(document.text(), text, "nothing was changed");
        change(&mut document);
        document.text()
    }

    fn value(text: &str) -> Value {
        text.parse().expect(text)
    }

    const FILE: &str = "# head

[global] # of all
address = [\"unix:/a\"] # where
# of global, at its end

# above night
[profile.night]# beside night
# above its parent
parent=\"worker\" # beside its parent
  # above its services
services = [ # list
  \"a\", # first
  # above b
  \"b\" # second
]
# of night, at its end

[profile.worker]
node_id = 'worker' # last
# tail
";

    #[test]
    fn a_value_is_replaced_and_nothing_else() {
        let text = changed(FILE, |document| document.set("night", "parent", value("'old'")));
        assert_eq!(text, FILE.replace("parent=\"worker\"", "parent='old'"));
        let text = changed(FILE, |document| document.set("global", "address", value("['unix:/b']")));
        assert_eq!(text, FILE.replace("[\"unix:/a\"]", "['unix:/b']"));
    }

    #[test]
    fn a_key_is_added_behind_the_others_of_its_table() {
        let text = changed(FILE, |document| document.set("global", "services", value("[]")));
        assert_eq!(text, FILE.replace("# where\n", "# where\nservices = []\n"));
        let inline = "profile = { a = { node_id = 'a' } }\n";
        let text = changed(inline, |document| document.set("a", "parent", value("'b'")));
        assert!(Document::read(&text).expect("TOML").settings("a").expect("a").len() == 2, "{text}");
        let dotted = "profile.a.node_id = 'a' # keep\n";
        let text = changed(dotted, |document| document.set("a", "services", value("[]")));
        assert_eq!(text, format!("{dotted}profile.a.services = []\n"));
    }

    #[test]
    fn a_table_is_added_at_the_end() {
        let set = |document: &mut Document| document.set("new", "services", value("[]"));
        let added = "[profile.new]\nservices = []\n";
        assert_eq!(changed("", set), added);
        assert_eq!(changed(FILE, set), format!("{FILE}\n{added}"));
        assert_eq!(changed("# alone\n", set), format!("# alone\n\n{added}"));
        let text = changed("profile = { a = {} }\n", set);
        assert!(Document::read(&text).expect("TOML").settings("new").is_some(), "{text}");
        let text = changed("profile.a.node_id = 'a'\n", set);
        assert!(Document::read(&text).expect("TOML").settings("a").is_some(), "{text}");
        let global = changed("[profile.a]\n", |document| document.set("global", "services", value("[]")));
        assert_eq!(global, "[profile.a]\n\n[global]\nservices = []\n");
        let name = "a.b \"c\"";
        let quoted = changed("", |document| document.set(name, "services", value("[]")));
        assert!(Document::read(&quoted).expect("TOML").settings(name).is_some(), "{quoted}");
    }

    #[test]
    fn what_stands_above_a_key_that_goes_is_kept() {
        let text = changed(FILE, |document| assert!(document.remove("night", "parent")));
        assert_eq!(text, FILE.replace("parent=\"worker\" # beside its parent\n", ""));
        let text = changed(FILE, |document| assert!(document.remove("worker", "node_id")));
        assert_eq!(text, FILE.replace("node_id = 'worker' # last\n", ""));
        let last = "[global]\n# above\nservices = []\n# of global\n\n# above a\n[profile.a]\n";
        let text = changed(last, |document| assert!(document.remove("global", "services")));
        assert_eq!(text, last.replace("services = []\n", ""));
        changed(FILE, |document| {
            assert!(!document.remove("night", "node_id") && !document.remove("no", "x"))
        });
    }

    #[test]
    fn what_stands_around_a_table_that_goes_is_kept() {
        let text = changed(FILE, |document| assert!(document.remove_table("global")));
        let begin = FILE.find("[global]").expect("global");
        let end = FILE.find("# of global, at its end").expect("its end");
        assert_eq!(text, [&FILE[..begin], &FILE[end..]].concat());
        let text = changed(FILE, |document| assert!(document.remove_table("night")));
        assert!(
            text.contains("# of global, at its end\n\n# above night\n") && !text.contains("services"),
            "{text}"
        );
        let text = changed(FILE, |document| assert!(document.remove_table("worker")));
        assert!(text.contains("# of night, at its end\n") && text.ends_with("# tail\n"), "{text}");
        let inline = "# above\nprofile.a = {}\nprofile.b = {} # keep\n";
        let text = changed(inline, |document| assert!(document.remove_table("a")));
        assert!(text.contains("# above") && text.contains("profile.b = {} # keep"), "{text}");
        changed(FILE, |document| assert!(!document.remove_table("no")));
    }

    #[test]
    fn elements_come_and_go_with_their_own_comments() {
        let text = changed(FILE, |document| document.add("night", "services", value("['c']")));
        assert_eq!(text, FILE.replace("\"b\" # second\n]", "\"b\", # second\n  'c',\n]"));
        let text = changed(&text, |document| assert!(document.take("night", "services", &value("'b'"))));
        assert_eq!(text, FILE.replace("\"b\" # second\n]", "'c',\n]"));
        let text = changed(&text, |document| assert!(document.take("night", "services", &value("'c'"))));
        assert_eq!(text, FILE.replace("  \"b\" # second\n]", "]"));
        let text = changed(FILE, |document| assert!(document.take("night", "services", &value("'a'"))));
        assert_eq!(text, FILE.replace("  \"a\", # first\n", ""));
        for (list, grown) in [("[]", "['c']"), ("['a']", "['a', 'c']"), ("[ 'a', 'b' ]", "[ 'a', 'b', 'c' ]")]
        {
            let (list, grown) =
                (format!("[global]\nservices = {list}\n"), format!("[global]\nservices = {grown}\n"));
            assert_eq!(changed(&list, |document| document.add("global", "services", value("['c']"))), grown);
            assert_eq!(
                changed(&grown, |document| assert!(document.take("global", "services", &value("'c'")))),
                list
            );
        }
        changed(FILE, |document| {
            assert!(
                !document.take("night", "services", &value("'x'"))
                    && !document.take("no", "x", &value("'y'"))
            )
        });
    }

    #[test]
    fn line_ends_and_a_mark_at_the_start_stay() {
        let text = format!("{BOM}[global]\r\n# above\r\nservices = []\r\n");
        let new = changed(&text, |document| document.set("a", "services", value("[]")));
        assert_eq!(new, format!("{text}\r\n[profile.a]\r\nservices = []\r\n"));
        let text = "# LF\n[global] # CRLF\r\nservices = ['a']\r\n\n[profile.a]\nnode_id = 'a'\r\n# end";
        let new = changed(text, |document| document.set("a", "node_id", value("'b'")));
        assert_eq!(new, text.replace("= 'a'", "= 'b'"));
        let new = changed(text, |document| assert!(document.remove("global", "services")));
        assert_eq!(new, text.replace("services = ['a']\r\n", ""));
        let new = changed(text, |document| document.set("global", "node_id", value("'n'")));
        assert_eq!(new, text.replace("['a']\r\n", "['a']\r\nnode_id = 'n'\r\n"));
    }

    /// Part of a file: whole lines, comments among them.
    fn block(lines: &'static [&'static str]) -> impl Strategy<Value = String> {
        let comment = prop_oneof![Just(""), Just("# c\n"), Just("\n# c\n\n"), Just("  # c\n\n# c\n")];
        proptest::collection::vec((comment, proptest::sample::select(lines)), 0..4).prop_map(|lines| {
            let mut seen = Vec::new();
            let mut text = String::new();
            for (comment, line) in lines {
                let key = line.split(['=', ' ']).next();
                if !seen.contains(&key) {
                    seen.push(key);
                    text += &format!("{comment}{line}\n");
                }
            }
            text
        })
    }

    const LINES: &[&str] =
        &["node_id='n'", "services = [\n  'a',\n  # c\n]", "address = [ 'b' ] #c", "parent = 'b'"];

    proptest! {
        #[test]
        fn every_edit_does_what_it_says_and_no_more(
            (global, a, b, tail) in (block(LINES), block(LINES), block(LINES), 0..3_usize),
            name in proptest::sample::select(&["global", "a", "b", "new"][..]),
            key in proptest::sample::select(&["node_id", "services", "parent"][..]),
            act in 0..4,
            ends in proptest::collection::vec(proptest::bool::ANY, 64),
        ) {
            let end = "# end\n".repeat(tail);
            let text = format!("# head\n[global]\n{global}# g\n\n[profile.a] # a\n{a}\n# b\n[profile.b]\n{b}{end}");
            let end_of = |is_crlf: &bool| if *is_crlf { "\r\n" } else { "\n" };
            let text: String = text.lines().zip(&ends).flat_map(|(line, is_crlf)| [line, end_of(is_crlf)]).collect();
            let mut document = Document::read(&text).expect(&text);
            let before = ["global", "a", "b", "new"].map(|name| document.settings(name));
            match act {
                0 => document.set(name, key, value("'x'")),
                1 => document.add(name, "services", value("['x']")),
                2 => drop(document.remove(name, key)),
                _ => drop(document.remove_table(name)),
            }
            let new = document.text();
            let read = Document::read(&new).expect(&new);
            for (of, before) in ["global", "a", "b", "new"].into_iter().zip(before) {
                let after = read.settings(of);
                if of != name {
                    prop_assert_eq!(after, before, "{}\n{}", text, new);
                    continue;
                }
                let find = |settings: &Option<Vec<(String, serde_json::Value)>>, key: &str| {
                    settings.iter().flatten().find(|(known, _)| known == key).map(|(_, value)| value.clone())
                };
                match act {
                    0 => prop_assert_eq!(find(&after, key), Some("x".into())),
                    1 => {
                        let old = find(&before, "services").and_then(|old| Some(old.as_array()?.len())).unwrap_or(0);
                        let services = find(&after, "services").expect("a list");
                        prop_assert_eq!(&services[old], "x");
                    }
                    2 => prop_assert_eq!(find(&after, key), None),
                    _ => prop_assert_eq!(after, None),
                }
            }
            // A line that is in both once ends in both alike.
            let of_lines = |text: &str| text.split_inclusive('\n').map(str::to_owned).collect::<Vec<_>>();
            let (old_lines, new_lines) = (of_lines(&text), of_lines(&new));
            for line in &old_lines {
                let is_it = |other: &&String| other.trim_end() == line.trim_end();
                if old_lines.iter().filter(is_it).count() == 1 && new_lines.iter().filter(is_it).count() == 1 {
                    prop_assert!(new_lines.contains(line), "{:?}\n{:?}", text, new);
                }
            }
            // All whole lines of comments are there, but for those inside of what went.
            let comments = |text: &str| text.lines().filter(|line| line.trim_start().starts_with('#')).count();
            let inside = match act {
                0 | 2 if key == "services" => 1,
                3 => comments(match name { "global" => &global, "a" => &a, "b" => &b, _ => "" }),
                _ => 0,
            };
            prop_assert!(comments(&new) + inside >= comments(&text), "{}\n{}", text, new);
        }
    }
}
