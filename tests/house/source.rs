//! Knows one source file: its tokens, those of its product (all but the tests), and the names in them.
//! Never: what a rule makes of them.

use std::iter::Peekable;

use proc_macro2::{Delimiter, Group, Spacing, TokenStream, TokenTree, token_stream};

/// One source file.
pub(crate) struct Source {
    /// From the root of the repository on.
    pub(crate) path: String,
    pub(crate) text: String,
    /// All of its tokens.
    pub(crate) tokens: TokenStream,
    /// Its tokens without items under `#[cfg(test)]`.
    pub(crate) product: TokenStream,
    /// The names in `product`.
    pub(crate) names: Vec<Name>,
    /// The lines of items under `#[cfg(test)]`.
    pub(crate) test_lines: usize,
    /// The modules that are declared under `#[cfg(test)]` and stand in files of their own.
    pub(crate) test_modules: Vec<String>,
    /// Whether the whole file is a test.
    pub(crate) is_test: bool,
}

/// A name as it stands in code: `a::b::C`, one for each member of a `use` group.
#[derive(Debug)]
pub(crate) struct Name {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
    pub(crate) stands: Stands,
}

/// Where a name stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Stands {
    Code,
    /// In a `use`.
    Import,
    /// In a `pub use`: the file is a door to it, and need not use it.
    Door,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Source {
        let tokens: TokenStream = text.parse().unwrap_or_else(|why| panic!("{path}: {why}"));
        let mut tests = Tests::default();
        let product = tests.remove_from(tokens.clone());
        Source {
            path: path.to_owned(),
            text: text.to_owned(),
            names: names(product.clone()),
            tokens,
            product,
            test_lines: tests.lines,
            test_modules: tests.modules,
            is_test: false,
        }
    }

    pub(crate) fn room(&self) -> &str {
        room_of(&self.path)
    }

    /// Its path of modules: `core`, `acts`, `route`; none for the root of the crate.
    pub(crate) fn module(&self) -> Vec<String> {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path).trim_end_matches(".rs");
        let inside = inside.strip_suffix("/mod").unwrap_or(inside);
        if inside == "lib" { Vec::new() } else { inside.split('/').map(str::to_owned).collect() }
    }

    pub(crate) fn fault(&self, text: impl std::fmt::Display) -> String {
        format!("{}: {text}", self.path)
    }

    pub(crate) fn fault_at(&self, line: usize, text: impl std::fmt::Display) -> String {
        format!("{}:{line}: {text}", self.path)
    }
}

/// The folder or file right under `src/` that a file belongs to.
pub(crate) fn room_of(path: &str) -> &str {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    let first = inside.split('/').next().unwrap_or(inside);
    first.strip_suffix(".rs").unwrap_or(first)
}

/// Marks the files whose modules are declared under `#[cfg(test)]`, and those below them.
pub(crate) fn mark_tests(files: &mut [Source]) {
    let tests: Vec<Vec<String>> = files
        .iter()
        .flat_map(|file| file.test_modules.iter().map(|name| [file.module(), vec![name.clone()]].concat()))
        .collect();
    for file in files {
        let module = file.module();
        file.is_test = tests.iter().any(|test| module.starts_with(test));
    }
}

type Tokens = Peekable<token_stream::IntoIter>;

/// What has been taken out of a file.
#[derive(Default)]
struct Tests {
    lines: usize,
    modules: Vec<String>,
}

impl Tests {
    /// The tokens without all that stands under `#[cfg(test)]`, however deep.
    fn remove_from(&mut self, tokens: TokenStream) -> TokenStream {
        let mut left = Vec::new();
        let mut rest = tokens.into_iter().peekable();
        while let Some(token) = rest.next() {
            let is_attribute = is_punct(&token, '#') && rest.peek().is_some_and(is_cfg_test);
            match token {
                _ if is_attribute => {
                    let first_line = remove_attributes(&mut left).unwrap_or(token.span().start().line);
                    self.skip_item(first_line, &mut rest);
                }
                TokenTree::Group(group) => left.push(self.remove_from_group(&group).into()),
                token => left.push(token),
            }
        }
        left.into_iter().collect()
    }

    fn remove_from_group(&mut self, group: &Group) -> Group {
        let mut left = Group::new(group.delimiter(), self.remove_from(group.stream()));
        left.set_span(group.span());
        left
    }

    /// Skips to the end of an item, a statement or a field.
    fn skip_item(&mut self, first_line: usize, rest: &mut Tokens) {
        let (mut words, mut last_line) = (Vec::new(), first_line);
        for token in rest.by_ref() {
            last_line = token.span().end().line;
            let has = |keywords: &[&str]| words.iter().any(|word: &String| keywords.contains(&word.as_str()));
            let is_value = has(&["use", "const", "static", "let"]) && !has(&["fn"]);
            let is_item = is_value || has(&["fn", "mod", "impl", "struct", "enum", "trait", "type"]);
            match &token {
                TokenTree::Ident(word) => words.push(word.to_string()),
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace && !is_value => break,
                token if is_punct(token, ',') && !is_item => break,
                token if is_punct(token, ';') => {
                    if let [.., keyword, name] = &words[..]
                        && keyword == "mod"
                    {
                        self.modules.push(name.clone());
                    }
                    break;
                }
                _ => {}
            }
        }
        self.lines += last_line + 1 - first_line;
    }
}

/// Takes the attributes at the end of these tokens away, comments that are docs among them. Gives the line
/// of the first.
fn remove_attributes(tokens: &mut Vec<TokenTree>) -> Option<usize> {
    let mut first_line = None;
    while let [.., hash, TokenTree::Group(_)] = &tokens[..]
        && is_punct(hash, '#')
    {
        first_line = Some(hash.span().start().line);
        tokens.truncate(tokens.len() - 2);
    }
    first_line
}

fn is_punct(token: &TokenTree, char: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == char)
}

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == word)
}

fn is_cfg_test(token: &TokenTree) -> bool {
    let text: String = token.to_string().split_whitespace().collect();
    text.starts_with("[cfg(test)") || text.starts_with("[cfg(all(test,")
}

/// The names in these tokens. What follows a dot is none (a field, a method), nor is a lifetime.
pub(crate) fn names(tokens: TokenStream) -> Vec<Name> {
    let mut found = Vec::new();
    collect(tokens, &mut found);
    found
}

fn collect(tokens: TokenStream, found: &mut Vec<Name>) {
    let mut rest = tokens.into_iter().peekable();
    let (mut is_public, mut stands, mut before) = (false, Stands::Code, ' ');
    while let Some(token) = rest.next() {
        let last = std::mem::replace(&mut before, ' ');
        match token {
            TokenTree::Ident(word) if word == "pub" => is_public = true,
            // Not the one of bounds: `impl Trait + use<'a>`.
            TokenTree::Ident(word)
                if word == "use" && !rest.peek().is_some_and(|next| is_punct(next, '<')) =>
            {
                stands = if is_public { Stands::Door } else { Stands::Import };
            }
            TokenTree::Ident(word) => {
                is_public = false;
                if !['.', '$', '\''].contains(&last) {
                    path(vec![word.to_string()], word.span().start().line, stands, &mut rest, found);
                }
            }
            TokenTree::Group(group) => collect(group.stream(), found),
            // The second dot of a range is none: `0..LEN`.
            TokenTree::Punct(punct) if punct.as_char() == '.' && last == '.' => {}
            TokenTree::Punct(punct) => {
                before = punct.as_char();
                if before == ';' {
                    (is_public, stands) = (false, Stands::Code);
                }
            }
            TokenTree::Literal(_) => {}
        }
    }
}

/// Goes on with a name that begins so; each member of a group in it is a name.
fn path(mut segments: Vec<String>, line: usize, stands: Stands, rest: &mut Tokens, found: &mut Vec<Name>) {
    while is_colons(rest) {
        match rest.next_if(|token| {
            matches!(token, TokenTree::Ident(_) | TokenTree::Group(_)) || is_punct(token, '*')
        }) {
            Some(TokenTree::Ident(word)) => segments.push(word.to_string()),
            Some(TokenTree::Group(group)) => {
                let mut members = group.stream().into_iter().peekable();
                while let Some(member) = members.next() {
                    let line = member.span().start().line;
                    let mut member_segments = segments.clone();
                    match member {
                        TokenTree::Ident(word) => member_segments.push(word.to_string()),
                        TokenTree::Punct(punct) if punct.as_char() == '*' => member_segments.push("*".into()),
                        _ => continue,
                    }
                    path(member_segments, line, stands, &mut members, found);
                }
                return;
            }
            Some(_) => segments.push("*".into()),
            None => break,
        }
    }
    // The other name of what is imported is none of its own.
    if stands != Stands::Code && rest.next_if(|token| is_word(token, "as")).is_some() {
        rest.next();
    }
    found.push(Name { segments, line, stands });
}

/// Takes `::`, if it comes next.
fn is_colons(rest: &mut Tokens) -> bool {
    let is_first = |token: &TokenTree| match token {
        TokenTree::Punct(punct) => punct.as_char() == ':' && punct.spacing() == Spacing::Joint,
        _ => false,
    };
    rest.next_if(is_first).is_some_and(|_| rest.next_if(|token| is_punct(token, ':')).is_some())
}

/// A function's name, its line and how many lines it has, its braces included.
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

/// All functions that have a body, in macros, too.
pub(crate) fn functions(tokens: TokenStream) -> Vec<Function> {
    let mut found = Vec::new();
    let mut open: Option<(String, usize)> = None;
    let mut rest = tokens.into_iter().peekable();
    while let Some(token) = rest.next() {
        match token {
            TokenTree::Ident(word) if word == "fn" => {
                if let Some(TokenTree::Ident(name)) = rest.peek() {
                    open = Some((name.to_string(), word.span().start().line));
                }
            }
            TokenTree::Group(group) => {
                let is_body = group.delimiter() == Delimiter::Brace;
                if let Some((name, line)) = open.take_if(|_| is_body) {
                    let lines = group.span_close().end().line + 1 - line;
                    found.push(Function { name, line, lines });
                }
                found.extend(functions(group.stream()));
            }
            token if is_punct(&token, ';') => open = None,
            _ => {}
        }
    }
    found
}

/// Whether such an attribute stands anywhere in these tokens.
pub(crate) fn has_attribute(tokens: TokenStream, name: &str) -> bool {
    let mut rest = tokens.into_iter().peekable();
    while let Some(token) = rest.next() {
        if is_punct(&token, '#')
            && let Some(TokenTree::Group(group)) = rest.peek()
            && group.stream().into_iter().next().is_some_and(|first| is_word(&first, name))
        {
            return true;
        }
        if let TokenTree::Group(group) = token
            && has_attribute(group.stream(), name)
        {
            return true;
        }
    }
    false
}
