//! Knows small sources with one fault each, and that it is found; and what looks like one and is none.
//! Never: the sources of the house itself.

use crate::circles::circles;
use crate::examples;
use crate::index::Index;
use crate::inside;
use crate::rules::{RULES, RULES_OF_ALL};
use crate::source::{Source, mark_tests};

#[test]
fn every_rule_finds_a_planted_fault() {
    let head = "//! Knows a thing.\n//! Never: another.\n";
    let long = format!("{head}{}", "// a line\n".repeat(500));
    let plants: &[(&str, &str, &str, &str)] = &[
        ("floors", "src/core/x.rs", "use crate::net::Stream;\n", "net"),
        ("floors", "src/core/x.rs", "fn f() { crate::sys::now(); }\n", "sys"),
        ("floors", "src/core/x.rs", "fn f() { g(0..crate::sys::N); }\n", "sys"),
        ("floors", "src/core/x.rs", "struct A(Vec<crate::sys::Now>);\n", "sys"),
        ("floors", "src/core/x.rs", "fn f() { assert!(g(1, crate::sys::now())); }\n", "sys"),
        ("floors", "src/core/x.rs", "#[cfg(test)]\nmod tests {}\nuse crate::net::Stream;\n", "net"),
        ("floors", "src/net/x.rs", "use crate::{address, config::Config};\n", "config"),
        ("floors", "src/client/x.rs", "use crate::core::Core;\n", "core"),
        ("floors", "src/wire/x.rs", "use crate::client;\n", "client"),
        ("floors", "src/limits.rs", "use crate::name::BadName;\n", "name"),
        ("floors", "src/core/x.rs", "use crate::SessionKey;\n", "no room"),
        ("floors", "src/attic/x.rs", "fn f() {}\n", "no floor"),
        ("floors", "src/bin/telex/x.rs", "use telex::core::Core;\n", "daemon's"),
        ("back doors", "src/core/mod.rs", "use super::net;\n", "super"),
        ("back doors", "src/name.rs", "use super::net;\n", "super"),
        ("back doors", "src/core/x.rs", "use super::super::net;\n", "super"),
        ("keys", "src/daemon/x.rs", "use mio::Poll;\n", "mio"),
        ("keys", "src/net/x.rs", "#[derive(serde::Deserialize)]\nstruct A;\n", "serde"),
        ("keys", "src/daemon/x.rs", "fn f() { nix::unistd::getuid(); }\n", "nix"),
        ("keys", "src/core/x.rs", "use serde_json::Value;\n", "serde_json"),
        ("keys", "src/core/x.rs", "use signal_hook_mio as hook;\n", "signal_hook_mio"),
        ("keys", "src/store/x.rs", "use rusqlite::Connection;\n", "rusqlite"),
        ("unsafe", "src/sys/x.rs", "fn f() { unsafe { g() } }\n", "unsafe"),
        ("banned", "src/core/x.rs", "use std::time::Instant;\n", "Instant"),
        ("banned", "src/core/x.rs", "fn f() { std::fs::read(p); }\n", "std::fs"),
        ("banned", "src/core/x.rs", "use std::{collections::HashMap, fs::{self, File}};\n", "std::fs"),
        ("banned", "src/core/x.rs", "fn f() { eprintln!(); }\n", "eprintln"),
        ("banned", "src/core/x.rs", "fn f() { log::info!(); }\n", "log::"),
        ("banned", "src/wire/x.rs", "use std::net::TcpStream;\n", "TcpStream"),
        ("banned", "src/daemon/x.rs", "use std::cell::RefCell;\n", "RefCell"),
        ("names", "src/core/helpers.rs", "", "says nothing"),
        ("names", "src/utils/mod.rs", "", "says nothing"),
    ];
    let rule = |wanted: &str| RULES.iter().find(|(name, _)| *name == wanted).unwrap().1;
    for (name, path, text, told) in plants {
        let faults = rule(name)(&Source::new(path, &format!("{head}{text}")));
        assert_eq!(faults.len(), 1, "{name}: {path}: {text}: {faults:?}");
        assert!(faults[0].contains(told), "{faults:?}");
    }
    for (name, text) in
        [("plaques", "//! Never: x\n"), ("plaques", "//! Knows x\nfn f() {}\n"), ("lengths", &long)]
    {
        let faults = rule(name)(&Source::new("src/core/x.rs", text));
        assert_eq!(faults.len(), if text.starts_with("//! Never") { 2 } else { 1 }, "{name}: {faults:?}");
    }
}

#[test]
fn no_rule_finds_what_is_none() {
    let innocent = Source::new(
        "src/core/x.rs",
        "//! Knows x.\n//! Never: y.\n// crate::net, unsafe\nconst A: &str = \"use mio::Poll; \\\" std::fs\";\nconst B: &str = r#\"\"unsafe\"\"#;\n\
         fn f<'a>(x: &'a str) -> char { x.print(); '\"' }\nuse crate::{core, wire::{frame, json}};\n\
         fn g() -> impl Fn() + use<> { x }\nfn mio() {}\n\n\
         /// For tests.\n#[cfg(test)]\npub(super) fn only(x: crate::net::Stream) { unsafe_name(); }\n\n\
         #[cfg(test)]\nmod tests {\n    use super::super::x;\n    use crate::net;\n}\n",
    );
    for (name, rule) in RULES {
        assert_eq!(rule(&innocent), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn rules_of_all_find_planted_faults() {
    let rule = |wanted: &str, text: &str| {
        let (_, rule) = RULES_OF_ALL.iter().find(|(name, _)| *name == wanted).unwrap();
        rule(&Source::new("tests/x.rs", text))
    };
    let found = |name: &str, text: &str| rule(name, text).len();
    assert_eq!(found("ignored", "#[test]\n#[ignore = \"slow\"]\nfn f() {}\n"), 1);
    assert_eq!(found("ignored", "mod a { proptest! { #[ignore] fn f() {} } }\n"), 1);
    assert_eq!(found("ignored", "// #[ignore]\nfn ignore() {}\n"), 0);
    let long = |lines: usize| format!("fn f(a: [u8; 2]) -> u8 {{\n{}}}\n", "a();\n".repeat(lines - 2));
    assert_eq!(found("functions", &long(70)), 0);
    assert_eq!(rule("functions", &long(71)), ["tests/x.rs:1: f has 71 lines; 70 is the most"]);
    assert_eq!(found("functions", &format!("#[cfg(test)]\nmod tests {{\n{}}}", long(71))), 1);
    assert_eq!(found("functions", &format!("impl A {{\n{}}}", long(71))), 1);
    assert_eq!(found("functions", &format!("trait A {{ fn g();\n{}}}", long(70))), 0);
}

const CORE: &str = "
use std::collections::HashMap;
use post::{Outbox, Post};
pub struct Core { post: Post, boxes: HashMap<u64, Outbox>, deep: Deep }
struct Deep { post: Option<Box<Post>> }
fn find() -> Option<Outbox> { None }
";

const POST: &str = "
pub(super) struct Post;
impl Post {
    pub(super) fn new() -> Post { Post }
    pub(super) fn deliver(&mut self) {}
    pub(super) fn each(&mut self, f: impl Fn(&mut Outbox)) {}
}
pub(super) struct Outbox(Post);
impl Outbox { pub(super) fn fill(&mut self) {} }
pub(super) trait Seal { fn close(&self) {} }
impl Seal for Post {}
pub(super) fn seal() {}
pub(super) static ALL: &[Outbox] = &[];
";

/// A small crate of these files and a `core` with a `Post` that delivers.
fn house(files: &[(&str, &str)]) -> Vec<Source> {
    let mut all =
        vec![Source::new("src/lib.rs", "mod core; mod net;"), Source::new("src/core/post.rs", POST)];
    if files.iter().all(|(path, _)| *path != "src/core/mod.rs") {
        all.push(Source::new("src/core/mod.rs", CORE));
    }
    all.extend(files.iter().map(|(path, text)| Source::new(path, text)));
    mark_tests(&mut all);
    all
}

/// What an act with this in a method of `Core` calls in `post`.
fn called(code: &str) -> Vec<String> {
    let act = format!(
        "use crate::core::{{Core, post}}; use crate::core::post::{{Outbox, Post, Seal, seal}};\n\
         impl Core {{\nfn act(&mut self) {{\n{code}\n}} }}"
    );
    let files = house(&[("src/core/acts/act.rs", &act)]);
    let calls = crate::calls::calls(&Index::new(&files)).uses;
    let in_post =
        calls.into_iter().filter(|call| call.to == "src/core/post.rs" && call.from.contains("acts"));
    in_post.map(|call| format!("{}:{}", call.line, call.what)).collect()
}

#[test]
fn calls_are_followed() {
    let plants = [
        ("self.post.deliver();", "Post::deliver"),
        ("self.deep.post.as_mut().unwrap().deliver();", "Post::deliver"),
        ("if let Some(post) = &mut self.deep.post { post.deliver(); }", "Post::deliver"),
        ("let Core { post, .. } = self; post.deliver();", "Post::deliver"),
        ("let Self { post: other, .. } = self; other.deliver();", "Post::deliver"),
        ("fn inner(post: &mut Post) { post.deliver(); }", "Post::deliver"),
        ("fn inner<P: AsRef<u8>>((post, _): (&mut post::Post, P)) { post.deliver(); }", "Post::deliver"),
        ("Post::deliver(&mut self.post);", "Post::deliver"),
        ("crate::core::post::seal();", "seal"),
        ("post::seal();", "seal"),
        ("seal();", "seal"),
        ("later(seal);", "seal"),
        ("assert_eq!(1, { seal(); 2 });", "seal"),
        ("matches!(self.post.deliver(), A | B if true);", "Post::deliver"),
        ("let Some(one) = self.boxes.get_mut(&1) else { return }; one.fill();", "Outbox::fill"),
        ("for (_, one) in self.boxes.iter_mut() { one.fill(); }", "Outbox::fill"),
        ("for one in self.boxes.values_mut().filter(|_| true) { one.fill(); }", "Outbox::fill"),
        ("self.boxes.get_mut(&1).map(|one| one.fill());", "Outbox::fill"),
        ("self.boxes.retain(|_, one| one.fill());", "Outbox::fill"),
        ("self.boxes.entry(1).or_default().fill();", "Outbox::fill"),
        ("self.boxes[&1].fill();", "Outbox::fill"),
        ("crate::core::find()?.fill();", "Outbox::fill"),
        ("match crate::core::find() { Some(mut one) => one.fill(), None => {} }", "Outbox::fill"),
        ("let mut one = std::mem::take(&mut self.boxes).remove(&1).unwrap(); one.fill();", "Outbox::fill"),
        ("let it = if a { crate::core::find() } else { None }; it.unwrap().fill();", "Outbox::fill"),
        ("let Outbox(inner) = it; inner.deliver();", "Post::deliver"),
        ("for one in post::ALL { one.fill(); }", "Outbox::fill"),
        ("unheard_of().fill();", "Outbox::fill"),
        ("fn inner(it: impl Sized + Seal) { it.close(); }", "Seal::close"),
        ("self.post.close();", "Post::close"),
    ];
    for (code, wanted) in plants {
        assert_eq!(called(code), [format!("4:{wanted}")], "{code}");
    }
    assert_eq!(called("let mut post = Post::new(); post.deliver();"), ["4:Post::deliver", "4:Post::new"]);
    assert_eq!(called("self.post.each(|one| one.fill());"), ["4:Outbox::fill", "4:Post::each"]);
}

#[test]
fn what_is_no_call() {
    let plants = [
        "let seal = 1; later(seal);",
        "String::new().deliver();",
        "let list: Vec<Post> = Vec::new(); list.deliver();",
        "let it = Outbox(x); later(it);",
        "// self.post.deliver();",
        "#[cfg(test)] self.post.deliver();",
        "#[cfg(test)] { self.post.deliver(); }",
        "self.sealed = true; self.seal();",
    ];
    for code in plants {
        assert_eq!(called(code), Vec::<String>::new(), "{code}");
    }
}

#[test]
fn core_keeps_its_floors() {
    const HEAD: &str = "use crate::core::Core;\n";
    let faults = |files: &[(&str, &str)]| {
        let texts: Vec<String> = files.iter().map(|(_, text)| format!("{HEAD}{text}")).collect();
        let files: Vec<(&str, &str)> =
            files.iter().zip(&texts).map(|((path, _), text)| (*path, &**text)).collect();
        inside::core(&Index::new(&house(&files)))
    };
    let down = ("src/core/acts/route.rs", "impl Core { fn route(&mut self) { self.post.deliver(); } }");
    assert_eq!(faults(&[down]), Vec::<String>::new());

    let there = ("src/core/acts/a.rs", "impl Core { fn a(&mut self) { self.b(); } }");
    let back = ("src/core/acts/b.rs", "impl Core { fn b(&mut self) {\n self.a(); } }");
    let [circle] = &faults(&[there, back])[..] else { panic!("{:?}", faults(&[there, back])) };
    assert!(circle.starts_with("a circle of 2 files: src/core/acts/a.rs, src/core/acts/b.rs"), "{circle}");
    assert!(circle.contains("src/core/acts/a.rs:2 → src/core/acts/b.rs (Core::b)"), "{circle}");
    assert!(circle.contains("src/core/acts/b.rs:3 → src/core/acts/a.rs (Core::a)"), "{circle}");

    for test in [
        "impl Core { fn b(&mut self) {} #[cfg(test)] fn c(&mut self) { self.a(); } }",
        "impl Core { fn b(&mut self) {} }\n#[cfg(test)]\nmod tests { fn f(core: &mut super::Core) { core.a(); } }",
    ] {
        assert_eq!(faults(&[there, ("src/core/acts/b.rs", test)]), Vec::<String>::new(), "{test}");
    }
    let tests = ("src/core/acts/b.rs", "impl Core { fn b(&mut self) {} }\n#[cfg(test)]\nmod tests;");
    let in_file = ("src/core/acts/b/tests.rs", "fn f(core: &mut Core) { core.a(); }");
    assert_eq!(faults(&[there, tests, in_file]), Vec::<String>::new());
    let behind = "#[cfg(test)]\nmod tests {}\nimpl Core { fn b(&mut self) { self.a(); } }";
    assert_eq!(faults(&[there, ("src/core/acts/b.rs", behind)]).len(), 1);

    let plants = [
        ("src/core/acts/a.rs", "impl Core { fn a(&mut self) { crate::core::find(); } }", "calls upwards"),
        (
            "src/core/table/a.rs",
            "fn f(post: &mut crate::core::post::Post) { post.deliver(); }",
            "calls upwards",
        ),
        ("src/core/rows.rs", "impl Core {}", "src/core/rows.rs:2: impl Core stands only"),
        ("src/core/rows.rs", "impl Default for super::Core {}", "impl Core stands only"),
        ("src/core/attic.rs", "", "stands on no floor"),
        ("src/core/rows.rs", "struct A; impl A { fn fill(&self) { unheard_of().fill(); } }", "needs a type"),
    ];
    for (path, text, told) in plants {
        let faults = faults(&[(path, text)]);
        assert_eq!(faults.len(), 1, "{path}: {text}: {faults:?}");
        assert!(faults[0].contains(told), "{faults:?}");
    }
}

#[test]
fn examples_are_asked_for() {
    const FILE: &str = "
        /// ```
        /// let thing = Thing::new().used();
        /// ```
        pub struct Thing;
        impl Thing {
            pub fn new() -> Thing { Thing }
            pub fn used(self) -> Thing { self }
            /// ```text
            /// thing.unused()
            /// ```
            pub fn unused(&self) {}
            /// ```no_run
            /// thing.unseen()
            /// ```
            pub fn unseen(&self) {}
            pub fn us(&self) {}
            #[doc(hidden)]
            pub fn hidden(&self) {}
            pub(super) fn inner(&self) {}
        }
        macro_rules! more { () => { /** ```
        free()
        ``` */ pub struct More; } }
        pub fn free() {}
        pub fn bound() {}
    ";
    let files = house(&[
        ("src/node/x.rs", FILE),
        ("src/node/mod.rs", "#[doc(hidden)]\npub use x::Driven;"),
        ("src/node/y.rs", "pub struct Driven; impl Driven { pub fn drive(&self) {} }"),
        ("src/net/x.rs", "pub fn elsewhere() {}"),
    ]);
    let faults = examples::faults(&files, &["node"]);
    let told = |name: &str| format!("src/node/x.rs: {name} occurs in no example of its room");
    let expected = ["Thing::unused", "Thing::unseen", "Thing::us", "bound"].map(told);
    assert_eq!(faults[0], "src/node/x.rs: has an example that is no_run");
    assert_eq!(faults[1..], expected);
}

#[test]
fn rooms_have_no_circles() {
    let found = |a: &str, b: &str| {
        let door = "mod a; mod b; pub use a::A; pub(crate) use b::{B, make};";
        let files = house(&[("src/net/mod.rs", door), ("src/net/a.rs", a), ("src/net/b.rs", b)]);
        circles(&inside::uses(&Index::new(&files))).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    const B: &str = "use super::a::A;\npub struct B; impl B { fn get() -> A { A } }\npub fn make() {}";
    let circle = found("use super::b::B;\npub struct A(B);", B);
    assert_eq!(circle.len(), 1, "{circle:?}");
    assert!(circle[0].contains("src/net/a.rs:1 → src/net/b.rs (super::b::B) and 1 more"), "{circle:?}");
    for uses in [
        "pub use crate::net::A as Z;\nfn f() -> super::B { x }",
        "struct C(crate::net::B);",
        "fn f() { super::make(); }",
        "fn f(x: u8) { assert!(x == super::B::get()); }",
    ] {
        assert_eq!(found(&format!("pub struct A;\n{uses}"), B).len(), 1, "{uses}");
    }
    for none in ["pub struct A;", "pub struct A;\n#[cfg(test)]\nmod tests { use crate::net::B; }"] {
        assert_eq!(found(none, B), Vec::<String>::new(), "{none}");
    }
}
