//! Knows the examples of the documentation, and which public functions of a room occur in none.
//! Never: whether an example is right; it is compiled and run by `cargo test`.

use std::collections::BTreeMap;

use proc_macro2::{Ident, Literal, TokenStream, TokenTree};
use syn::visit::{self, Visit};

use crate::root;
use crate::source::Source;

/// Stands before what is included.
const INCLUDED: &str = "// included\n";

/// A public function.
struct Function {
    /// As an example calls it: one of these.
    calls: Vec<String>,
    place: String,
    /// The type that it belongs to, or its own name.
    of: String,
}

/// What is wrong with the examples of these rooms: one that is not run, or a public function that occurs in none of
/// its room. A program that a test runs is an example, too.
pub(crate) fn faults(files: &[Source], rooms: &[&str]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut examples: BTreeMap<&str, String> = BTreeMap::new();
    let of_rooms = |file: &&Source| rooms.contains(&file.room()) && !file.is_test;
    for file in files.iter().filter(of_rooms) {
        let (run, not_run) = blocks(&docs(file));
        *examples.entry(file.room()).or_default() += &run;
        faults.extend(not_run.into_iter().map(|info| file.fault(format!("has an example that is {info}"))));
    }
    let hidden: Vec<String> = files.iter().filter(of_rooms).flat_map(hidden_names).collect();
    for file in files.iter().filter(of_rooms) {
        let all = examples.get(file.room()).map(String::as_str).unwrap_or_default();
        for function in functions(file).into_iter().filter(|function| !hidden.contains(&function.of)) {
            if !function.calls.iter().any(|call| has(all, call)) {
                faults.push(file.fault(format!("{} occurs in no example of its room", function.place)));
            }
        }
    }
    faults
}

/// The text of all documentation of a file, what it includes among it.
fn docs(file: &Source) -> String {
    let mut text = String::new();
    collect(file.product.clone(), &file.path, &mut text);
    text
}

/// Goes through `doc = "..."` and `doc = include_str!("...")`, also in macros.
fn collect(tokens: TokenStream, path: &str, text: &mut String) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let is = |tree: Option<&TokenTree>, word: &str| matches!(tree, Some(TokenTree::Ident(ident)) if *ident == Ident::new(word, ident.span()));
    for (at, tree) in tokens.iter().enumerate() {
        if is(Some(tree), "doc") {
            match (tokens.get(at + 2), tokens.get(at + 4)) {
                (Some(TokenTree::Literal(line)), _) => *text += &value(line),
                (included, Some(TokenTree::Group(file))) if is(included, "include_str") => {
                    if let Some(TokenTree::Literal(file)) = file.stream().into_iter().next() {
                        *text += INCLUDED;
                        let folder = root().join(path).parent().expect("a folder").to_owned();
                        *text +=
                            &std::fs::read_to_string(folder.join(value(&file))).expect("what is included");
                    }
                }
                _ => {}
            }
            text.push('\n');
        }
        if let TokenTree::Group(group) = tree {
            collect(group.stream(), path, text);
        }
    }
}

fn value(literal: &Literal) -> String {
    syn::parse_str::<syn::LitStr>(&literal.to_string()).map(|text| text.value()).unwrap_or_default()
}

/// The examples that are run, and the words of those that are not. Of a program that is included a test runs the
/// file.
fn blocks(docs: &str) -> (String, Vec<String>) {
    let (mut run, mut not_run) = (String::new(), Vec::new());
    let mut block: Option<(&str, String)> = None;
    for line in docs.lines() {
        let fence = line.trim_start().strip_prefix("```");
        block = match (fence, block) {
            (Some(words), None) => Some((words.trim(), String::new())),
            (Some(_), Some((words, text))) => {
                match words {
                    "" | "rust" => run += &text,
                    "no_run" if text.contains(INCLUDED) => run += &text,
                    "no_run" | "ignore" | "compile_fail" => not_run.push(words.to_owned()),
                    _ => {}
                }
                None
            }
            (None, Some((words, text))) => Some((words, text + line + "\n")),
            (None, None) => None,
        };
    }
    (run, not_run)
}

/// Whether `call` occurs in a text as a whole word.
fn has(text: &str, call: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(call).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + call.len()..].chars().next();
        let is_part = call.starts_with(is_word) && before.is_some_and(is_word);
        !is_part && !after.is_some_and(is_word)
    })
}

fn functions(file: &Source) -> Vec<Function> {
    let parsed: syn::File = syn::parse2(file.product.clone()).expect("a file");
    let mut found = Found::default();
    found.visit_file(&parsed);
    found.functions
}

/// What a file hands on without showing it: `#[doc(hidden)] pub use module::Name;`.
fn hidden_names(file: &Source) -> Vec<String> {
    let parsed: syn::File = syn::parse2(file.product.clone()).expect("a file");
    let hidden = parsed.items.iter().filter_map(|item| match item {
        syn::Item::Use(item) if is_hidden(&item.attrs) => last_of(&item.tree),
        _ => None,
    });
    hidden.collect()
}

fn last_of(tree: &syn::UseTree) -> Option<String> {
    match tree {
        syn::UseTree::Path(path) => last_of(&path.tree),
        syn::UseTree::Name(name) => Some(name.ident.to_string()),
        _ => None,
    }
}

#[derive(Default)]
struct Found {
    functions: Vec<Function>,
}

impl Found {
    fn add(&mut self, of: Option<&str>, signature: &syn::Signature, is_of_trait: bool) {
        let name = signature.ident.to_string();
        let calls = match of {
            None => vec![name.clone()],
            Some(of) if signature.receiver().is_none() => vec![format!("{of}::{name}")],
            Some(of) => vec![format!(".{name}"), format!("{of}::{name}")],
        };
        let calls = if is_of_trait { [calls, vec![format!("fn {name}")]].concat() } else { calls };
        let place = of.map_or_else(|| name.clone(), |of| format!("{of}::{name}"));
        self.functions.push(Function { calls, place, of: of.unwrap_or(&name).to_owned() });
    }
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if is_shown(&item.vis, &item.attrs) {
            self.add(None, &item.sig, false);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let syn::Type::Path(of) = &*item.self_ty else { return };
        let (None, Some(of)) = (&item.trait_, of.path.segments.last()) else { return };
        for member in &item.items {
            if let syn::ImplItem::Fn(function) = member
                && is_shown(&function.vis, &function.attrs)
            {
                self.add(Some(&of.ident.to_string()), &function.sig, false);
            }
        }
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        if is_shown(&item.vis, &item.attrs) {
            for member in &item.items {
                if let syn::TraitItem::Fn(function) = member {
                    self.add(Some(&item.ident.to_string()), &function.sig, true);
                }
            }
        }
        visit::visit_item_trait(self, item);
    }
}

/// Whether the documentation shows it.
fn is_shown(visibility: &syn::Visibility, attributes: &[syn::Attribute]) -> bool {
    matches!(visibility, syn::Visibility::Public(_)) && !is_hidden(attributes)
}

fn is_hidden(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) => list.path.is_ident("doc") && list.tokens.to_string() == "hidden",
        _ => false,
    })
}
