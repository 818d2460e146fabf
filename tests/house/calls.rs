//! Knows which function calls which, over all files, as far as types can be followed without a compiler.
//! Never: which calls are allowed.

use std::collections::HashMap;

use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Expr, Member, Pat, Token};

use crate::circles::Use;
use crate::index::{Index, Item};
use crate::types::{Declarations, Function, Place, Type, segments};

/// All calls from one file to another.
#[derive(Default)]
pub(crate) struct Calls {
    pub(crate) uses: Vec<Use>,
    /// Calls that may mean several methods of their room, since nothing is known of the value's type.
    pub(crate) unclear: Vec<Use>,
}

/// Looks for all calls. Where nothing is known of a value's type, a method is found by its name alone, if
/// its room has one of that name only.
pub(crate) fn calls(index: &Index<'_>) -> Calls {
    let declarations = Declarations::new(index);
    let by_name = by_name(index, &declarations);
    let mut calls = Calls::default();
    for (file, parsed) in index.parsed.iter().enumerate() {
        let place = Place::new(index, file);
        let found = std::mem::take(&mut calls);
        let mut reader =
            Reader { declarations: &declarations, by_name: &by_name, place, locals: HashMap::new(), found };
        reader.visit_file(parsed);
        calls = reader.found;
    }
    calls.uses.sort();
    calls.uses.dedup();
    calls
}

/// Methods of types of the standard library: their names alone say nothing.
const STANDARD_VERBS: &[&str] = &[
    "clear", "contains", "extend", "find", "get", "get_mut", "insert", "is_empty", "iter", "keys", "len",
    "next", "parse", "pop", "push", "remove", "take", "write",
];

type ByName = HashMap<(String, String), Vec<Item>>;

/// The types that have a method, by room and name.
fn by_name(index: &Index<'_>, declarations: &Declarations) -> ByName {
    let mut found = ByName::new();
    for (item, name) in declarations.methods.keys() {
        let room = index.sources[item.file].room().to_owned();
        found.entry((room, name.clone())).or_default().push(item.clone());
    }
    found
}

/// Reads the functions of a file, from top to bottom.
struct Reader<'a> {
    declarations: &'a Declarations,
    by_name: &'a ByName,
    place: Place<'a>,
    /// Of the function in hand: the types of its variables. One of the same name replaces the other.
    locals: HashMap<String, Type>,
    found: Calls,
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let own = self.place.read(&item.self_ty);
        let inside = self.place.inside(own, &item.generics);
        let outside = std::mem::replace(&mut self.place, inside);
        visit::visit_item_impl(self, item);
        self.place = outside;
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        let own = Type::Item(Item { file: self.place.file, name: item.ident.to_string() });
        let inside = self.place.inside(own, &item.generics);
        let outside = std::mem::replace(&mut self.place, inside);
        visit::visit_item_trait(self, item);
        self.place = outside;
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, |reader| visit::visit_item_fn(reader, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig, |reader| visit::visit_impl_item_fn(reader, item));
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.function(&item.sig, |reader| visit::visit_trait_item_fn(reader, item));
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        let mut of_value = Type::Unknown;
        if let Some(init) = &local.init {
            self.visit_expr(&init.expr);
            of_value = self.type_of(&init.expr);
            init.diverge.iter().for_each(|(_, diverge)| self.visit_expr(diverge));
        }
        self.bind(&local.pat, &of_value);
    }

    fn visit_expr_let(&mut self, expr: &'ast syn::ExprLet) {
        self.visit_expr(&expr.expr);
        let of_value = self.type_of(&expr.expr);
        self.bind(&expr.pat, &of_value);
    }

    fn visit_expr_for_loop(&mut self, expr: &'ast syn::ExprForLoop) {
        self.visit_expr(&expr.expr);
        let of_element = self.type_of(&expr.expr).element();
        self.bind(&expr.pat, &of_element);
        self.visit_block(&expr.body);
    }

    fn visit_expr_match(&mut self, expr: &'ast syn::ExprMatch) {
        self.visit_expr(&expr.expr);
        let of_value = self.type_of(&expr.expr);
        for arm in &expr.arms {
            self.bind(&arm.pat, &of_value);
            self.visit_arm(arm);
        }
    }

    fn visit_expr_closure(&mut self, closure: &'ast syn::ExprClosure) {
        self.closure(closure, &[]);
    }

    fn visit_expr_path(&mut self, expr: &'ast syn::ExprPath) {
        self.name(&expr.path);
    }

    fn visit_expr_call(&mut self, expr: &'ast syn::ExprCall) {
        self.visit_expr(&expr.func);
        let inputs = match &*expr.func {
            Expr::Path(path) => self.function_of(&path.path).map(|(_, function)| &function.inputs),
            _ => None,
        };
        self.arguments(&expr.args, inputs.map_or(&[], Vec::as_slice));
    }

    fn visit_expr_method_call(&mut self, expr: &'ast syn::ExprMethodCall) {
        self.visit_expr(&expr.receiver);
        let receiver = self.type_of(&expr.receiver);
        let name = expr.method.to_string();
        if let Some((item, function)) = self.method(&receiver, &name) {
            self.call(function.file, expr.method.span(), format!("{}::{name}", item.name));
            self.arguments(&expr.args, &function.inputs);
            return;
        }
        if receiver == Type::Unknown && self.named(&name).len() > 1 {
            let from = self.place.index.sources[self.place.file].path.clone();
            let line = expr.method.span().start().line;
            self.found.unclear.push(Use { from, to: "?".to_owned(), line, what: name.clone() });
        }
        let element = match &receiver {
            Type::Map(key, value) if name == "retain" => {
                Type::Closure(vec![(**key).clone(), (**value).clone()])
            }
            Type::Of(inner) if name == "fold" => Type::Closure(vec![Type::Unknown, (**inner).clone()]),
            receiver => Type::Closure(vec![receiver.element(); 2]),
        };
        self.arguments(&expr.args, &vec![element; expr.args.len()]);
    }

    /// Macros that are called like functions are read like calls of functions.
    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        if let Ok(expressions) = mac.parse_body_with(Punctuated::<Expr, Token![,]>::parse_terminated) {
            return expressions.iter().for_each(|expr| self.visit_expr(expr));
        }
        let matches = |input: syn::parse::ParseStream<'_>| {
            let value: Expr = input.parse()?;
            input.parse::<Token![,]>()?;
            let pattern = Pat::parse_multi_with_leading_vert(input)?;
            let guard =
                if input.parse::<Option<Token![if]>>()?.is_some() { Some(input.parse()?) } else { None };
            input.parse::<Option<Token![,]>>()?;
            Ok((value, pattern, guard))
        };
        if let Ok((value, pattern, guard)) = mac.parse_body_with(matches) {
            self.visit_expr(&value);
            let of_value = self.type_of(&value);
            self.bind(&pattern, &of_value);
            guard.iter().for_each(|guard: &Expr| self.visit_expr(guard));
        }
    }
}

impl<'a> Reader<'a> {
    fn function(&mut self, signature: &syn::Signature, body: impl FnOnce(&mut Self)) {
        let inside = self.place.with(&signature.generics);
        let outside = std::mem::replace(&mut self.place, inside);
        let locals = std::mem::take(&mut self.locals);
        self.locals.insert("self".to_owned(), self.place.own.clone());
        for input in &signature.inputs {
            if let syn::FnArg::Typed(input) = input {
                let declared = self.place.read(&input.ty);
                self.bind(&input.pat, &declared);
            }
        }
        body(self);
        self.locals = locals;
        self.place = outside;
    }

    fn closure(&mut self, closure: &syn::ExprClosure, inputs: &[Type]) {
        for (at, input) in closure.inputs.iter().enumerate() {
            self.bind(input, inputs.get(at).unwrap_or(&Type::Unknown));
        }
        self.visit_expr(&closure.body);
    }

    fn arguments(&mut self, arguments: &Punctuated<Expr, Token![,]>, inputs: &[Type]) {
        for (at, argument) in arguments.iter().enumerate() {
            match (argument, inputs.get(at)) {
                (Expr::Closure(closure), Some(Type::Closure(inputs))) => self.closure(closure, inputs),
                _ => self.visit_expr(argument),
            }
        }
    }

    fn call(&mut self, to: usize, at: proc_macro2::Span, what: String) {
        let path = |file: usize| self.place.index.sources[file].path.clone();
        let (from, to) = (path(self.place.file), path(to));
        if from != to {
            self.found.uses.push(Use { from, to, line: at.start().line, what });
        }
    }

    /// A name that stands for a function is a call, also if it is only handed on.
    fn name(&mut self, path: &syn::Path) {
        if let (Some((what, function)), Some(last)) = (self.function_of(path), path.segments.last()) {
            self.call(function.file, last.ident.span(), what);
        }
    }

    fn function_of(&self, path: &syn::Path) -> Option<(String, &'a Function)> {
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

    fn method(&self, receiver: &Type, name: &str) -> Option<(Item, &'a Function)> {
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
    fn named(&self, name: &str) -> &'a [Item] {
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
    fn bind(&mut self, pattern: &Pat, of: &Type) {
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
    fn type_of(&self, expr: &Expr) -> Type {
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
