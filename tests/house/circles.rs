//! Knows which files use which, and finds circles among them.
//! Never: what a use is.

use std::collections::{BTreeMap, BTreeSet};

/// One use of something that another file defines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Use {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) line: usize,
    /// What is used.
    pub(crate) what: String,
}

impl std::fmt::Display for Use {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{} → {} ({})", self.from, self.line, self.to, self.what)
    }
}

/// Files that reach each other, and all uses between them.
#[derive(Debug)]
pub(crate) struct Circle {
    pub(crate) files: BTreeSet<String>,
    /// By the file that uses and the one that is used.
    pub(crate) edges: BTreeMap<(String, String), Vec<Use>>,
}

impl std::fmt::Display for Circle {
    /// The files, and of each edge the first use, for the one who has to cut it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let files: Vec<&str> = self.files.iter().map(String::as_str).collect();
        write!(f, "a circle of {} files: {}", files.len(), files.join(", "))?;
        for uses in self.edges.values() {
            write!(f, "\n    {}", uses[0])?;
            if uses.len() > 1 {
                write!(f, " and {} more", uses.len() - 1)?;
            }
        }
        Ok(())
    }
}

/// The circles among files, each as large as it is.
pub(crate) fn circles(uses: &[Use]) -> Vec<Circle> {
    let mut next: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for it in uses.iter().filter(|it| it.from != it.to) {
        next.entry(&it.from).or_default().insert(&it.to);
    }
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        next.keys().map(|&from| (from, reach(from, &next))).collect();
    let reaches = |from: &str, to: &str| reached.get(from).is_some_and(|reached| reached.contains(to));
    let mut found: BTreeSet<BTreeSet<&str>> = BTreeSet::new();
    for &file in next.keys().filter(|file| reaches(file, file)) {
        found.insert(reached[file].iter().copied().filter(|&other| reaches(other, file)).collect());
    }
    found.into_iter().map(|files| circle(&files, uses)).collect()
}

/// What can be got to from a file: itself only by a circle.
fn reach<'a>(from: &'a str, next: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(at) = open.pop() {
        let more = next.get(at).into_iter().flatten();
        open.extend(more.filter(|&&file| reached.insert(file)));
    }
    reached
}

fn circle(files: &BTreeSet<&str>, uses: &[Use]) -> Circle {
    let is_in = |it: &&Use| it.from != it.to && files.contains(&*it.from) && files.contains(&*it.to);
    let mut edges: BTreeMap<_, Vec<Use>> = BTreeMap::new();
    for it in uses.iter().filter(is_in) {
        edges.entry((it.from.clone(), it.to.clone())).or_default().push(it.clone());
    }
    Circle { files: files.iter().map(|&file| file.to_owned()).collect(), edges }
}
