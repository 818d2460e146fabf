//! Knows which file defines what, and which item a name in a file means.
//! Never: types, calls or rules.

use std::collections::{HashMap, HashSet};

use proc_macro2::TokenTree;
use syn::{Item as Syntax, UseTree};

use crate::source::Source;

/// A type, trait, function or constant, by the file that defines it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Item {
    pub(crate) file: usize,
    pub(crate) name: String,
}

/// The files of the crate, parsed, and the names in them.
pub(crate) struct Index<'a> {
    pub(crate) sources: Vec<&'a Source>,
    pub(crate) parsed: Vec<syn::File>,
    modules: HashMap<Vec<String>, usize>,
    scopes: Vec<Scope>,
}

/// What a file defines and imports.
#[derive(Default)]
struct Scope {
    items: HashSet<String>,
    imports: HashMap<String, Vec<String>>,
    /// Paths of modules and enums of which everything is imported.
    globs: Vec<Vec<String>>,
}

impl<'a> Index<'a> {
    /// An index of these files, without those that are tests.
    pub(crate) fn new(sources: &'a [Source]) -> Index<'a> {
        let sources: Vec<&Source> = sources.iter().filter(|source| !source.is_test).collect();
        let parse = |source: &&Source| {
            syn::parse2(source.product.clone()).unwrap_or_else(|why| panic!("{}: {why}", source.path))
        };
        let parsed: Vec<syn::File> = sources.iter().map(parse).collect();
        let modules = sources.iter().enumerate().map(|(at, source)| (source.module(), at)).collect();
        let scopes = parsed.iter().map(|file| Scope::of(&file.items)).collect();
        Index { sources, parsed, modules, scopes }
    }

    /// The item that a name in a file means, and how many segments of the name stand behind the item's
    /// own. None for modules and for what the crate does not define.
    pub(crate) fn resolve(&self, file: usize, name: &[String]) -> Option<(Item, usize)> {
        self.look(file, name, 0)
    }

    fn look(&self, file: usize, name: &[String], depth: usize) -> Option<(Item, usize)> {
        const DEPTH_MAX: usize = 10;
        let (first, rest) = name.split_first().filter(|_| depth < DEPTH_MAX)?;
        let module = self.sources[file].module();
        match first.as_str() {
            "crate" => return self.look(*self.modules.get(&Vec::new())?, rest, depth + 1),
            "self" => return self.look(file, rest, depth + 1),
            "super" => {
                let (_, parent) = module.split_last()?;
                return self.look(*self.modules.get(parent)?, rest, depth + 1);
            }
            _ => {}
        }
        let scope = &self.scopes[file];
        if scope.items.contains(first) {
            return Some((Item { file, name: first.clone() }, rest.len()));
        }
        let child = [module, vec![first.clone()]].concat();
        if let Some(&child) = self.modules.get(&child) {
            return self.look(child, rest, depth + 1);
        }
        if let Some(import) = scope.imports.get(first) {
            return self.look(file, &[import, rest].concat(), depth + 1);
        }
        scope.globs.iter().find_map(|glob| self.look(file, &[glob, name].concat(), depth + 1))
    }
}

impl Scope {
    fn of(items: &[Syntax]) -> Scope {
        let mut scope = Scope::default();
        scope.add(items);
        scope
    }

    fn add(&mut self, items: &[Syntax]) {
        for item in items {
            let name = match item {
                Syntax::Const(item) => &item.ident,
                Syntax::Enum(item) => &item.ident,
                Syntax::Fn(item) => &item.sig.ident,
                Syntax::Static(item) => &item.ident,
                Syntax::Struct(item) => &item.ident,
                Syntax::Trait(item) => &item.ident,
                Syntax::Type(item) => &item.ident,
                Syntax::Union(item) => &item.ident,
                Syntax::Use(item) => {
                    self.import(&item.tree, &mut Vec::new());
                    continue;
                }
                Syntax::Mod(item) => {
                    self.add(item.content.as_ref().map_or(&[], |(_, items)| items));
                    continue;
                }
                Syntax::Macro(item) => {
                    self.add_from_macro(&item.mac);
                    continue;
                }
                _ => continue,
            };
            self.items.insert(name.to_string());
        }
    }

    /// What a macro at the place of an item defines, as far as it stands in its tokens.
    fn add_from_macro(&mut self, mac: &syn::Macro) {
        let mut tokens = vec![mac.tokens.clone()];
        while let Some(stream) = tokens.pop() {
            let mut before = String::new();
            for token in stream {
                if let TokenTree::Ident(name) = &token
                    && ["struct", "enum", "trait"].contains(&before.as_str())
                {
                    self.items.insert(name.to_string());
                }
                before = token.to_string();
                if let TokenTree::Group(group) = token {
                    tokens.push(group.stream());
                }
            }
        }
    }

    fn import(&mut self, tree: &UseTree, path: &mut Vec<String>) {
        match tree {
            UseTree::Path(tree) => {
                path.push(tree.ident.to_string());
                self.import(&tree.tree, path);
                path.pop();
            }
            UseTree::Name(tree) if tree.ident == "self" => {
                self.imports.extend(path.last().map(|name| (name.clone(), path.clone())));
            }
            UseTree::Name(tree) => {
                let name = tree.ident.to_string();
                self.imports.insert(name.clone(), [path.as_slice(), &[name]].concat());
            }
            UseTree::Rename(tree) => {
                let full = [path.as_slice(), &[tree.ident.to_string()]].concat();
                self.imports.insert(tree.rename.to_string(), full);
            }
            UseTree::Glob(_) => self.globs.push(path.clone()),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(tree, path)),
        }
    }
}
