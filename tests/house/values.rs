//! Knows the types of the variables and expressions of the function in hand, and what they name there.
//! Never: what is called.

use std::collections::HashMap;

use syn::{Expr, Member, Pat};

use crate::index::{Index, Item};
use crate::types::{Declarations, Function, Place, Type, segments};

/// Methods of types of the standard library: their names alone say nothing.
const STANDARD_VERBS: &[&str] = &[
    "clear", "contains", "extend", "find", "get", "get_mut", "insert", "is_empty", "iter", "keys", "len",
    "next", "parse", "pop", "push", "remove", "take", "write",
];

pub(crate) type ByName = HashMap<(String, String), Vec<Item>>;

/// The types that have a method, by room and name.
pub(crate) fn by_name(index: &Index<'_>, declarations: &Declarations) -> ByName {
    let mut found = ByName::new();
    for (item, name) in declarations.methods.keys() {
        let room = index.sources[item.file].room().to_owned();
        found.entry((room, name.clone())).or_default().push(item.clone());
    }
    found
}

/// A function in hand.
pub(crate) struct Values<'a> {
    pub(crate) declarations: &'a Declarations,
    pub(crate) by_name: &'a ByName,
    pub(crate) place: Place<'a>,
    /// The types of its variables. One of the same name replaces the other.
    pub(crate) locals: HashMap<String, Type>,
}

impl<'a> Values<'a> {
    pub(crate) fn function_of(&self, path: &syn::Path) -> Option<(String, &'a Function)> {
        if path.get_ident().is_some_and(|name| self.locals.contains_key(&name.to_string())) {
            return None;
        }
        let last = path.segments.last()?.ident.to_string();
        let (item, behind) = self.place.item(path)?;
        match behind {
            0 => Some((last, self.declarations.functions.get(&item)?)),
            _ => {
                let what = format!("{}::{last}", item.name);
                Some((what, self.declarations.method(&item, &last)?))
            }
        }
    }

    pub(crate) fn method(&self, receiver: &Type, name: &str) -> Option<(Item, &'a Function)> {
        let item = match receiver {
            Type::Item(item) => item,
            Type::Unknown => match self.named(name) {
                [item] => item,
                _ => return None,
            },
            _ => return None,
        };
        Some((item.clone(), self.declarations.method(item, name)?))
    }

    /// The types of the room that have a method of this name, which is no word of the standard library's.
    pub(crate) fn named(&self, name: &str) -> &'a [Item] {
        let room = self.place.index.sources[self.place.file].room().to_owned();
        match self.by_name.get(&(room, name.to_owned())) {
            Some(items) if !STANDARD_VERBS.contains(&name) => items,
            _ => &[],
        }
    }

    fn field(&self, of: &Type, name: &str) -> Type {
        match of {
            Type::Item(item) => {
                let field = self.declarations.fields.get(&(item.clone(), name.to_owned()));
                field.cloned().unwrap_or(Type::Unknown)
            }
            Type::Tuple(types) => {
                name.parse().ok().and_then(|at: usize| types.get(at)).cloned().unwrap_or(Type::Unknown)
            }
            Type::Foreign => Type::Foreign,
            _ => Type::Unknown,
        }
    }

    /// The types of the variables in a pattern, which a value of this type is taken apart by.
    pub(crate) fn bind(&mut self, pattern: &Pat, of: &Type) {
        match pattern {
            Pat::Ident(pattern) => {
                self.locals.insert(pattern.ident.to_string(), of.clone());
                pattern.subpat.iter().for_each(|(_, inner)| self.bind(inner, of));
            }
            Pat::Reference(pattern) => self.bind(&pattern.pat, of),
            Pat::Paren(pattern) => self.bind(&pattern.pat, of),
            Pat::Guard(pattern) => self.bind(&pattern.pat, of),
            Pat::Type(pattern) => {
                let declared = self.place.read(&pattern.ty);
                self.bind(&pattern.pat, &declared);
            }
            Pat::Or(pattern) => pattern.cases.iter().for_each(|case| self.bind(case, of)),
            Pat::Slice(pattern) => pattern.elems.iter().for_each(|elem| self.bind(elem, &of.element())),
            Pat::Tuple(pattern) => {
                for (at, elem) in pattern.elems.iter().enumerate() {
                    self.bind(elem, &self.field(of, &at.to_string()));
                }
            }
            Pat::TupleStruct(pattern) => {
                for (at, elem) in pattern.elems.iter().enumerate() {
                    let of_elem = self.part(&pattern.path, of, &at.to_string());
                    self.bind(elem, &of_elem);
                }
            }
            Pat::Struct(pattern) => {
                for field in &pattern.fields {
                    let of_field = self.part(&pattern.path, of, &member(&field.member));
                    self.bind(&field.pat, &of_field);
                }
            }
            _ => {}
        }
    }

    /// The type of a field of a struct or variant that a pattern names.
    fn part(&self, path: &syn::Path, of: &Type, name: &str) -> Type {
        match self.place.item(path) {
            Some((item, 0)) => self.field(&Type::Item(item), name),
            Some((item, _)) => {
                let variant = segments(path).pop().unwrap_or_default();
                self.field(&Type::Item(item), &format!("{variant}.{name}"))
            }
            None if path.is_ident("Some") || path.is_ident("Ok") => of.element(),
            None => Type::Unknown,
        }
    }

    /// The type of an expression that has been read.
    pub(crate) fn type_of(&self, expr: &Expr) -> Type {
        match expr {
            Expr::Path(expr) => self.type_of_path(&expr.path),
            Expr::Field(expr) => self.field(&self.type_of(&expr.base), &member(&expr.member)),
            Expr::MethodCall(expr) => self.type_of_method_call(expr),
            Expr::Call(expr) => self.type_of_call(expr),
            Expr::Struct(expr) => {
                self.place.item(&expr.path).map_or(Type::Foreign, |(item, _)| Type::Item(item))
            }
            Expr::Reference(expr) => self.type_of(&expr.expr),
            Expr::Unary(expr) => self.type_of(&expr.expr),
            Expr::Paren(expr) => self.type_of(&expr.expr),
            Expr::Group(expr) => self.type_of(&expr.expr),
            Expr::Try(expr) => self.type_of(&expr.expr).element(),
            Expr::Index(expr) => match self.type_of(&expr.expr) {
                Type::Map(_, value) => *value,
                of => of.element(),
            },
            Expr::Tuple(expr) => Type::Tuple(expr.elems.iter().map(|elem| self.type_of(elem)).collect()),
            Expr::Closure(expr) => self.type_of(&expr.body),
            Expr::Block(expr) => self.type_of_block(&expr.block),
            Expr::Unsafe(expr) => self.type_of_block(&expr.block),
            Expr::If(expr) => self.type_of_block(&expr.then_branch),
            Expr::Match(expr) => {
                let mut arms = expr.arms.iter().map(|arm| self.type_of(&arm.body));
                arms.find(|of| *of != Type::Unknown).unwrap_or(Type::Unknown)
            }
            Expr::Lit(_) | Expr::Binary(_) | Expr::Cast(_) | Expr::Macro(_) | Expr::Range(_) => Type::Foreign,
            _ => Type::Unknown,
        }
    }

    fn type_of_block(&self, block: &syn::Block) -> Type {
        match block.stmts.last() {
            Some(syn::Stmt::Expr(expr, None)) => self.type_of(expr),
            _ => Type::Unknown,
        }
    }

    fn type_of_path(&self, path: &syn::Path) -> Type {
        let local = path.get_ident().and_then(|name| self.locals.get(&name.to_string()));
        match (local, self.place.item(path)) {
            (Some(local), _) => local.clone(),
            (None, Some((item, _))) => {
                self.declarations.values.get(&item).cloned().unwrap_or(Type::Item(item))
            }
            (None, None) => Type::Foreign,
        }
    }

    fn type_of_call(&self, expr: &syn::ExprCall) -> Type {
        let Expr::Path(callee) = &*expr.func else { return Type::Unknown };
        if let Some((_, function)) = self.function_of(&callee.path) {
            return function.output.clone();
        }
        if let Some((item, _)) = self.place.item(&callee.path) {
            return Type::Item(item);
        }
        let last = callee.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
        let argument = expr.args.first().map_or(Type::Foreign, |argument| self.type_of(argument));
        match last.as_str() {
            "take" | "replace" => argument,
            "new" | "from" if expr.args.len() == 1 => argument,
            "Some" | "Ok" => Type::of(argument),
            _ if callee.path.get_ident().is_some() => Type::Unknown,
            _ => Type::Foreign,
        }
    }

    /// The verbs of the standard library, as far as what they give has to do with what they are called on.
    fn type_of_method_call(&self, expr: &syn::ExprMethodCall) -> Type {
        let receiver = self.type_of(&expr.receiver);
        let name = expr.method.to_string();
        if let Some((_, function)) = self.method(&receiver, &name) {
            return function.output.clone();
        }
        let of_last = || expr.args.last().map_or(Type::Unknown, |argument| self.type_of(argument));
        match (receiver, name.as_str()) {
            (Type::Of(inner), "unwrap" | "expect" | "remove" | "swap_remove" | "flatten") => *inner,
            (Type::Of(inner), name)
                if ["unwrap_or", "or_", "get_or_"].iter().any(|start| name.starts_with(start)) =>
            {
                *inner
            }
            (Type::Of(inner), "enumerate") => Type::of(Type::Tuple(vec![Type::Foreign, *inner])),
            (Type::Of(inner), "zip") => Type::of(Type::Tuple(vec![*inner, of_last().element()])),
            (Type::Of(_), "map") => Type::of(of_last()),
            (Type::Of(_), "and_then" | "filter_map" | "flat_map" | "map_or" | "map_or_else" | "fold") => {
                of_last()
            }
            (Type::Of(inner), _) => Type::Of(inner),
            (Type::Map(key, _), "keys" | "insert") => Type::Of(key),
            (Type::Map(key, value), "iter" | "iter_mut" | "into_iter" | "drain" | "range" | "pop_first") => {
                Type::of(Type::Tuple(vec![*key, *value]))
            }
            (Type::Map(_, value), _) => Type::Of(value),
            (
                Type::Item(item),
                "clone" | "as_ref" | "as_mut" | "by_ref" | "to_owned" | "borrow" | "borrow_mut",
            ) => Type::Item(item),
            (Type::Unknown, _) => Type::Unknown,
            _ => Type::Foreign,
        }
    }
}

fn member(member: &Member) -> String {
    match member {
        Member::Named(name) => name.to_string(),
        Member::Unnamed(at) => at.index.to_string(),
    }
}
