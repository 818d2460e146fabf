//! Knows which function calls which, over all files, as far as types can be followed without a compiler.
//! Never: which calls are allowed.
//!
//! A function that is handed on counts as called there; the call of a closure or a function pointer does not.
//! What `macro_rules!` makes is not seen.

use std::collections::HashMap;

use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Expr, Pat, Token};

use crate::circles::Use;
use crate::index::{Index, Item};
use crate::types::{Declarations, Place, Type};
use crate::values::{Values, by_name};

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
        let values = Values { declarations: &declarations, by_name: &by_name, place, locals: HashMap::new() };
        let mut reader = Reader { values, found: Calls::default() };
        reader.visit_file(parsed);
        calls.uses.append(&mut reader.found.uses);
        calls.unclear.append(&mut reader.found.unclear);
    }
    calls.uses.sort();
    calls.uses.dedup();
    calls
}

/// Reads the functions of a file, from top to bottom.
struct Reader<'a> {
    values: Values<'a>,
    found: Calls,
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let own = self.values.place.read(&item.self_ty);
        let inside = self.values.place.inside(own, &item.generics);
        let outside = std::mem::replace(&mut self.values.place, inside);
        visit::visit_item_impl(self, item);
        self.values.place = outside;
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        let own = Type::Item(Item { file: self.values.place.file, name: item.ident.to_string() });
        let inside = self.values.place.inside(own, &item.generics);
        let outside = std::mem::replace(&mut self.values.place, inside);
        visit::visit_item_trait(self, item);
        self.values.place = outside;
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
            of_value = self.values.type_of(&init.expr);
            init.diverge.iter().for_each(|(_, diverge)| self.visit_expr(diverge));
        }
        self.values.bind(&local.pat, &of_value);
    }

    fn visit_expr_let(&mut self, expr: &'ast syn::ExprLet) {
        self.visit_expr(&expr.expr);
        let of_value = self.values.type_of(&expr.expr);
        self.values.bind(&expr.pat, &of_value);
    }

    fn visit_expr_for_loop(&mut self, expr: &'ast syn::ExprForLoop) {
        self.visit_expr(&expr.expr);
        let of_element = self.values.type_of(&expr.expr).element();
        self.values.bind(&expr.pat, &of_element);
        self.visit_block(&expr.body);
    }

    fn visit_expr_match(&mut self, expr: &'ast syn::ExprMatch) {
        self.visit_expr(&expr.expr);
        let of_value = self.values.type_of(&expr.expr);
        for arm in &expr.arms {
            self.values.bind(&arm.pat, &of_value);
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
            Expr::Path(path) => self.values.function_of(&path.path).map(|(_, function)| &function.inputs),
            _ => None,
        };
        self.arguments(&expr.args, inputs.map_or(&[], Vec::as_slice));
    }

    fn visit_expr_method_call(&mut self, expr: &'ast syn::ExprMethodCall) {
        self.visit_expr(&expr.receiver);
        let receiver = self.values.type_of(&expr.receiver);
        let name = expr.method.to_string();
        if let Some((item, function)) = self.values.method(&receiver, &name) {
            self.call(function.file, expr.method.span(), format!("{}::{name}", item.name));
            self.arguments(&expr.args, &function.inputs);
            return;
        }
        if receiver == Type::Unknown && self.values.named(&name).len() > 1 {
            let from = self.values.place.index.sources[self.values.place.file].path.clone();
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
            let of_value = self.values.type_of(&value);
            self.values.bind(&pattern, &of_value);
            guard.iter().for_each(|guard: &Expr| self.visit_expr(guard));
        }
    }
}

impl Reader<'_> {
    fn function(&mut self, signature: &syn::Signature, body: impl FnOnce(&mut Self)) {
        let inside = self.values.place.with(&signature.generics);
        let outside = std::mem::replace(&mut self.values.place, inside);
        let locals = std::mem::take(&mut self.values.locals);
        self.values.locals.insert("self".to_owned(), self.values.place.own.clone());
        for input in &signature.inputs {
            if let syn::FnArg::Typed(input) = input {
                let declared = self.values.place.read(&input.ty);
                self.values.bind(&input.pat, &declared);
            }
        }
        body(self);
        self.values.locals = locals;
        self.values.place = outside;
    }

    fn closure(&mut self, closure: &syn::ExprClosure, inputs: &[Type]) {
        for (at, input) in closure.inputs.iter().enumerate() {
            self.values.bind(input, inputs.get(at).unwrap_or(&Type::Unknown));
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
        let path = |file: usize| self.values.place.index.sources[file].path.clone();
        let (from, to) = (path(self.values.place.file), path(to));
        if from != to {
            self.found.uses.push(Use { from, to, line: at.start().line, what });
        }
    }

    /// A name that stands for a function is a call, also if it is only handed on.
    fn name(&mut self, path: &syn::Path) {
        if let (Some((what, function)), Some(last)) = (self.values.function_of(path), path.segments.last()) {
            self.call(function.file, last.ident.span(), what);
        }
    }
}
