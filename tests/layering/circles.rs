//! Circles of imports between the modules of one folder.
//!
//! A family is a module with others below it. For each family, an edge leads from one child to another where any file
//! in or below the first names an item in or below the second; a child that lies in a folder counts with all of it. An
//! item that a parent re-exports is looked up where it is defined. Items that are defined in the parent itself are the
//! family's common ground, such as the trait that all children implement: they make no edge, and neither does a parent
//! that lists its children. Tests are left out.

use std::collections::{BTreeMap, BTreeSet};

use super::paths::{Named, paths};

/// A module by its segments below the crate's root.
type Module = Vec<String>;

/// The modules of a crate with the paths that their files name.
pub(crate) struct Modules {
    /// Path of its file, relative to `src`, and the paths named there.
    files: BTreeMap<Module, (String, Vec<Named>)>,
}

/// A place where one child of a family names another.
#[derive(Debug)]
pub(crate) struct Edge {
    /// File, relative to `src`.
    pub(crate) file: String,
    /// Number of the line.
    pub(crate) line: usize,
    /// Segments of the family's parent, joined.
    pub(crate) family: String,
    /// Child that names the other.
    pub(crate) from: String,
    /// Child that is named.
    pub(crate) to: String,
    /// Last segment of the path.
    pub(crate) item: String,
}

impl Modules {
    /// Reads files, given by their paths relative to `src` and their texts.
    pub(crate) fn read<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let files = files.into_iter().filter_map(|(file, source)| {
            let mut module: Module = file.strip_suffix(".rs")?.split('/').map(str::to_owned).collect();
            match module.last()?.as_str() {
                "tests" | "main" => return None,
                "mod" | "lib" => drop(module.pop()),
                _ => {}
            }
            Some((module, (file.to_owned(), paths(source, false))))
        });
        Self { files: files.collect() }
    }

    /// Returns the absolute form of a path that stands in `from`; `None` for one of another crate.
    fn absolute(&self, from: &Module, path: &[String]) -> Option<Module> {
        let supers = path.iter().take_while(|segment| *segment == "super").count();
        let (base, rest) = match path.first()?.as_str() {
            "crate" => (Module::new(), &path[1..]),
            "self" => (from.clone(), &path[1..]),
            "super" => (from[..from.len().checked_sub(supers)?].to_vec(), &path[supers..]),
            child => {
                let module = [from.as_slice(), &[child.to_owned()]].concat();
                if !self.files.contains_key(&module) {
                    return None;
                }
                (from.clone(), path)
            }
        };
        Some([base.as_slice(), rest].concat())
    }

    /// Returns the module that defines the item at an absolute path, past re-exports.
    fn defining(&self, path: &Module, depth: usize) -> Option<Module> {
        let length = (0..=path.len()).rev().find(|n| self.files.contains_key(&path[..*n]))?;
        let module = path[..length].to_vec();
        let Some(item) = path.get(length) else { return Some(module) };
        let mut imports = self.files[&module].1.iter().filter(|named| named.import.as_ref() == Some(item));
        let target = imports.next().and_then(|named| self.absolute(&module, &named.segments));
        match target {
            Some(target) if depth > 0 => self.defining(&target, depth - 1),
            _ => Some(module),
        }
    }

    /// Returns all edges between children of one family.
    fn edges(&self) -> Vec<Edge> {
        let mut found = Vec::new();
        for (from, (file, named)) in &self.files {
            for path in named {
                let target = self.absolute(from, &path.segments).and_then(|path| self.defining(&path, 9));
                let Some(to) = target else { continue };
                let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
                if common > 0 && common < from.len() && common < to.len() {
                    found.push(Edge {
                        file: file.clone(),
                        line: path.line,
                        family: from[..common].join("::"),
                        from: from[common].clone(),
                        to: to[common].clone(),
                        item: path.segments.last().cloned().unwrap_or_default(),
                    });
                }
            }
        }
        found
    }

    /// Returns every circle: its family, its members, and the edges between them.
    pub(crate) fn circles(&self) -> Vec<(String, BTreeSet<String>, Vec<Edge>)> {
        let mut families: BTreeMap<String, Vec<Edge>> = BTreeMap::new();
        for edge in self.edges() {
            families.entry(edge.family.clone()).or_default().push(edge);
        }
        let mut found = Vec::new();
        for (family, mut edges) in families {
            let reached = |start: &str| {
                let (mut seen, mut open) = (BTreeSet::new(), vec![start]);
                while let Some(from) = open.pop() {
                    open.extend(
                        edges.iter().filter(|e| e.from == from && seen.insert(&e.to)).map(|e| e.to.as_str()),
                    );
                }
                seen.into_iter().cloned().collect::<BTreeSet<String>>()
            };
            let all: BTreeSet<&String> = edges.iter().map(|edge| &edge.from).collect();
            let reaches: BTreeMap<String, _> =
                all.into_iter().map(|from| (from.clone(), reached(from))).collect();
            let mutual = |a: &String, b: &String| {
                reaches[a].contains(b) && reaches.get(b).is_some_and(|r| r.contains(a))
            };
            let circles: BTreeSet<BTreeSet<String>> = reaches
                .keys()
                .map(|member| reaches[member].iter().filter(|other| mutual(member, other)).cloned().collect())
                .filter(|circle: &BTreeSet<String>| circle.len() > 1)
                .collect();
            for circle in circles {
                let inside = |edge: &Edge| circle.contains(&edge.from) && circle.contains(&edge.to);
                let (of_circle, others) = edges.into_iter().partition(inside);
                edges = others;
                found.push((family.clone(), circle, of_circle));
            }
        }
        found
    }
}

#[cfg(test)]
mod planted {
    use super::*;

    /// Circles as text: the family, its members, and how many edges there are.
    fn circles(files: &[(&str, &str)]) -> Vec<String> {
        let all = Modules::read(files.iter().copied()).circles().into_iter();
        all.map(|(family, members, edges)| {
            format!("{family}: {} by {}", Vec::from_iter(members).join(" "), edges.len())
        })
        .collect()
    }

    #[test]
    fn siblings_in_a_circle_are_found() {
        let files = [
            ("a/mod.rs", "mod b;\nmod c;\nmod d;\npub use d::Item;"),
            ("a/b.rs", "use super::c::{X, Y};"),
            ("a/c.rs", "fn f() -> super::Item { crate::a::d::g() }"),
            ("a/d.rs", "use crate::a::b;"),
            ("a/e.rs", "use super::b::Z;"),
        ];
        assert_eq!(circles(&files), ["a: b c d by 5"]);
        assert!(circles(&files[..3]).is_empty(), "no circle without the last edge");
    }

    #[test]
    fn a_folder_counts_with_all_of_it() {
        let files = [
            ("a/b/mod.rs", "mod c;\nuse c::C;"),
            ("a/b/c.rs", "use super::super::d::D;"),
            ("a/d.rs", "use super::b::C;"),
        ];
        assert_eq!(circles(&files), ["a: b d by 2"]);
    }

    #[test]
    fn parents_and_tests_make_no_circle() {
        let files = [
            ("a/mod.rs", "mod b;\nmod c;\npub trait T {}\nfn f() { b::g() }"),
            ("a/b.rs", "use super::T;\nuse super::c::C;"),
            (
                "a/c.rs",
                "use super::T;\n#[cfg(test)]\nmod tests {\n    use crate::a::b::B;\n}\n// super::b::B",
            ),
            ("a/tests.rs", "use super::b::B;"),
            ("d.rs", "use crate::a::b::B;"),
        ];
        assert!(circles(&files).is_empty(), "{:?}", circles(&files));
    }
}
