//! Knows the types of fields, parameters and results, as far as declarations say them.
//! Never: what a function does inside.

use std::collections::HashMap;

use syn::{Fields, FnArg, GenericArgument, GenericParam, PathArguments, ReturnType, TypeParamBound};

use crate::index::{Index, Item};

/// A type, seen through references and smart pointers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Type {
    /// Nothing could be found out.
    Unknown,
    /// One that the crate does not define.
    Foreign,
    /// One that the crate defines.
    Item(Item),
    /// What gives values of a type: an option, a list, an iterator.
    Of(Box<Type>),
    /// What gives values by keys.
    Map(Box<Type>, Box<Type>),
    Tuple(Vec<Type>),
    /// A closure, by its parameters.
    Closure(Vec<Type>),
}

impl Type {
    pub(crate) fn of(inner: Type) -> Type {
        Type::Of(Box::new(inner))
    }

    /// What iterating over it gives.
    pub(crate) fn element(&self) -> Type {
        match self {
            Type::Of(inner) => (**inner).clone(),
            Type::Map(key, value) => Type::Tuple(vec![(**key).clone(), (**value).clone()]),
            _ => Type::Unknown,
        }
    }
}

/// A function or method.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    /// Where its code stands.
    pub(crate) file: usize,
    /// Its parameters, without `self`.
    pub(crate) inputs: Vec<Type>,
    pub(crate) output: Type,
}

/// All declarations of the crate.
#[derive(Default)]
pub(crate) struct Declarations {
    /// By the type and the field; a variant's field is `Variant.field`, and one without a name has its number.
    pub(crate) fields: HashMap<(Item, String), Type>,
    /// Constants and statics.
    pub(crate) values: HashMap<Item, Type>,
    pub(crate) functions: HashMap<Item, Function>,
    pub(crate) methods: HashMap<(Item, String), Function>,
    /// The traits that a type has, of those that the crate defines.
    traits: HashMap<Item, Vec<Item>>,
}

/// Where a type is written: what `Self` and the names of generic parameters mean there.
#[derive(Clone)]
pub(crate) struct Place<'a> {
    pub(crate) index: &'a Index<'a>,
    pub(crate) file: usize,
    pub(crate) own: Type,
    pub(crate) generics: HashMap<String, Type>,
}

impl<'a> Place<'a> {
    pub(crate) fn new(index: &'a Index<'a>, file: usize) -> Place<'a> {
        Place { index, file, own: Type::Unknown, generics: HashMap::new() }
    }

    /// The same place inside an `impl` of this type.
    pub(crate) fn inside(&self, own: Type, generics: &syn::Generics) -> Place<'a> {
        Place { own, ..self.clone() }.with(generics)
    }

    pub(crate) fn with(&self, generics: &syn::Generics) -> Place<'a> {
        let mut place = self.clone();
        for parameter in &generics.params {
            if let GenericParam::Type(parameter) = parameter {
                let bound = self.bound(parameter.bounds.iter());
                place.generics.insert(parameter.ident.to_string(), bound);
            }
        }
        for condition in generics.where_clause.iter().flat_map(|clause| &clause.predicates) {
            if let syn::WherePredicate::Type(condition) = condition
                && let syn::Type::Path(bounded) = &condition.bounded_ty
                && let Some(name) = bounded.path.get_ident()
            {
                place.generics.insert(name.to_string(), self.bound(condition.bounds.iter()));
            }
        }
        place
    }

    pub(crate) fn item(&self, path: &syn::Path) -> Option<(Item, usize)> {
        let segments = segments(path);
        if let (Type::Item(own), "Self") = (&self.own, &*segments[0]) {
            return Some((own.clone(), segments.len() - 1));
        }
        self.index.resolve(self.file, &segments)
    }

    pub(crate) fn read(&self, written: &syn::Type) -> Type {
        match written {
            syn::Type::Reference(written) => self.read(&written.elem),
            syn::Type::Paren(written) => self.read(&written.elem),
            syn::Type::Group(written) => self.read(&written.elem),
            syn::Type::Slice(written) => Type::of(self.read(&written.elem)),
            syn::Type::Array(written) => Type::of(self.read(&written.elem)),
            syn::Type::Tuple(written) => {
                Type::Tuple(written.elems.iter().map(|elem| self.read(elem)).collect())
            }
            syn::Type::ImplTrait(written) => self.bound(written.bounds.iter()),
            syn::Type::TraitObject(written) => self.bound(written.bounds.iter()),
            syn::Type::Path(written) => self.named(&written.path),
            _ => Type::Foreign,
        }
    }

    /// Of something that has these traits: the first trait that tells.
    fn bound<'b>(&self, bounds: impl Iterator<Item = &'b TypeParamBound>) -> Type {
        let of_bound = |bound: &TypeParamBound| match bound {
            TypeParamBound::Trait(bound) => Some(self.named(&bound.path)),
            _ => None,
        };
        bounds.filter_map(of_bound).find(|of| *of != Type::Foreign).unwrap_or(Type::Foreign)
    }

    fn named(&self, path: &syn::Path) -> Type {
        if let Some(known) = path.get_ident().and_then(|name| self.generics.get(&name.to_string())) {
            return known.clone();
        }
        if path.is_ident("Self") {
            return self.own.clone();
        }
        if let Some((item, 0)) = self.item(path) {
            return self.alias(&item).unwrap_or(Type::Item(item));
        }
        let Some(last) = path.segments.last() else { return Type::Foreign };
        let arguments = self.arguments(&last.arguments);
        let argument = |at: usize| arguments.get(at).cloned().unwrap_or(Type::Unknown);
        match last.ident.to_string().as_str() {
            "Box" | "Rc" | "Arc" | "Cow" | "Ref" | "RefMut" | "MutexGuard" => argument(0),
            "Option"
            | "Result"
            | "Vec"
            | "VecDeque"
            | "BTreeSet"
            | "HashSet"
            | "BinaryHeap"
            | "Iterator"
            | "IntoIterator"
            | "DoubleEndedIterator" => Type::of(argument(0)),
            "HashMap" | "BTreeMap" | "SlotMap" | "SecondaryMap" => {
                Type::Map(argument(0).into(), argument(1).into())
            }
            "Fn" | "FnMut" | "FnOnce" => Type::Closure(arguments),
            _ => Type::Foreign,
        }
    }

    /// What stands for a name that is declared by `type`.
    fn alias(&self, item: &Item) -> Option<Type> {
        let declared = self.index.parsed[item.file].items.iter().find_map(|syntax| match syntax {
            syn::Item::Type(alias) if alias.ident == item.name => Some(&alias.ty),
            _ => None,
        })?;
        Some(Place::new(self.index, item.file).read(declared))
    }

    fn arguments(&self, written: &PathArguments) -> Vec<Type> {
        match written {
            PathArguments::None => Vec::new(),
            PathArguments::Parenthesized(written) => {
                written.inputs.iter().map(|input| self.read(&input.ty)).collect()
            }
            PathArguments::AngleBracketed(written) => {
                let of_argument = |argument: &GenericArgument| match argument {
                    GenericArgument::Type(written) => Some(self.read(written)),
                    GenericArgument::AssocType(written) => Some(self.read(&written.ty)),
                    _ => None,
                };
                written.args.iter().filter_map(of_argument).collect()
            }
        }
    }

    pub(crate) fn signature(&self, signature: &syn::Signature) -> Function {
        let place = self.with(&signature.generics);
        let input = |input: &FnArg| match input {
            FnArg::Receiver(_) => None,
            FnArg::Typed(input) => Some(place.read(&input.ty)),
        };
        let output = match &signature.output {
            ReturnType::Default => Type::Foreign,
            ReturnType::Type(_, written) => place.read(written),
        };
        Function { file: self.file, inputs: signature.inputs.iter().filter_map(input).collect(), output }
    }
}

pub(crate) fn segments(path: &syn::Path) -> Vec<String> {
    path.segments.iter().map(|segment| segment.ident.to_string()).collect()
}

impl Declarations {
    pub(crate) fn new(index: &Index<'_>) -> Declarations {
        let mut declarations = Declarations::default();
        for (file, parsed) in index.parsed.iter().enumerate() {
            declarations.add(&Place::new(index, file), &parsed.items);
        }
        declarations
    }

    /// A method of a type, or of a trait that it has.
    pub(crate) fn method(&self, item: &Item, name: &str) -> Option<&Function> {
        let of = |item: &Item| self.methods.get(&(item.clone(), name.to_owned()));
        of(item).or_else(|| self.traits.get(item)?.iter().find_map(of))
    }

    fn add(&mut self, place: &Place<'_>, items: &[syn::Item]) {
        let named = |name: &syn::Ident| Item { file: place.file, name: name.to_string() };
        for item in items {
            match item {
                syn::Item::Mod(item) => {
                    self.add(place, item.content.as_ref().map_or(&[], |(_, items)| items))
                }
                syn::Item::Fn(item) => {
                    self.functions.insert(named(&item.sig.ident), place.signature(&item.sig));
                }
                syn::Item::Const(item) => {
                    self.values.insert(named(&item.ident), place.read(&item.ty));
                }
                syn::Item::Static(item) => {
                    self.values.insert(named(&item.ident), place.read(&item.ty));
                }
                syn::Item::Struct(item) => {
                    let own = named(&item.ident);
                    self.add_fields(&place.with(&item.generics), &own, "", &item.fields);
                }
                syn::Item::Enum(item) => {
                    let own = named(&item.ident);
                    for variant in &item.variants {
                        let prefix = format!("{}.", variant.ident);
                        self.add_fields(&place.with(&item.generics), &own, &prefix, &variant.fields);
                    }
                }
                syn::Item::Trait(item) => {
                    let own = named(&item.ident);
                    let methods = item.items.iter().filter_map(|item| match item {
                        syn::TraitItem::Fn(method) => Some(&method.sig),
                        _ => None,
                    });
                    self.add_methods(place, own, &item.generics, methods);
                }
                syn::Item::Impl(item) => {
                    let Type::Item(own) = place.read(&item.self_ty) else { continue };
                    let of_trait = item.trait_.as_ref().and_then(|(path, _)| place.item(path));
                    self.traits.entry(own.clone()).or_default().extend(of_trait.map(|(item, _)| item));
                    let methods = item.items.iter().filter_map(|item| match item {
                        syn::ImplItem::Fn(method) => Some(&method.sig),
                        _ => None,
                    });
                    self.add_methods(place, own, &item.generics, methods);
                }
                _ => {}
            }
        }
    }

    fn add_methods<'s>(
        &mut self,
        place: &Place<'_>,
        own: Item,
        generics: &syn::Generics,
        methods: impl Iterator<Item = &'s syn::Signature>,
    ) {
        let inside = place.inside(Type::Item(own.clone()), generics);
        for method in methods {
            self.methods.insert((own.clone(), method.ident.to_string()), inside.signature(method));
        }
    }

    fn add_fields(&mut self, place: &Place<'_>, own: &Item, prefix: &str, fields: &Fields) {
        for (at, field) in fields.iter().enumerate() {
            let name = field.ident.as_ref().map_or(at.to_string(), ToString::to_string);
            self.fields.insert((own.clone(), format!("{prefix}{name}")), place.read(&field.ty));
        }
    }
}
