//! The layers that ARCHITECTURE.md draws: crates depend downwards only, and no two modules of a crate import each other
//! in a circle.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use crate::fixture::ROOT;

/// What each crate may depend on, of the others. `setaccio` is the command line, and may use them all.
const LAYERS: [(&str, &[&str]); 12] = [
    ("base", &[]),
    ("filters", &["base"]),
    ("templates", &["base"]),
    ("dataset", &["base"]),
    ("hub", &["base"]),
    ("store", &["base", "hub"]),
    ("embed", &["base"]),
    ("curate", &["base", "filters", "templates", "dataset", "embed"]),
    ("query", &["base", "dataset", "curate"]),
    ("train", &["base", "templates", "dataset"]),
    ("eval", &["base", "templates", "dataset", "embed", "curate", "train"]),
    ("serve", &["base", "templates", "train"]),
];

#[test]
fn crates_depend_downwards_only() {
    for (name, below) in LAYERS {
        let text = fs::read_to_string(format!("{ROOT}/{name}/Cargo.toml")).unwrap();
        let manifest: toml::Table = text.parse().unwrap();
        for dependency in manifest["dependencies"].as_table().unwrap().keys() {
            let ours = dependency.strip_prefix("setaccio-");
            assert!(ours.is_none_or(|ours| below.contains(&ours)), "{name} depends on {dependency}");
        }
    }
}

#[test]
fn no_two_modules_import_each_other_in_a_circle() {
    let circles: Vec<String> = LAYERS
        .iter()
        .map(|(name, _)| *name)
        .chain(["", "tests/support"])
        .flat_map(|name| {
            let circles = Crate::read(&Path::new(ROOT).join(name).join("src")).circles();
            let named = |circle: Vec<Module>| circle.iter().map(|m| m.join("::")).collect::<Vec<_>>().join(", ");
            circles.into_iter().map(move |circle| format!("{name}/src: {}", named(circle)))
        })
        .collect();
    assert!(circles.is_empty(), "modules that import each other in a circle:\n{}", circles.join("\n"));
}

/// What writes to a person's terminal, by the names that std and anstream give it.
const PRINTERS: [&str; 7] = ["print", "println", "eprint", "eprintln", "dbg", "stdout", "stderr"];

#[test]
fn one_place_writes_to_the_terminal() {
    let mut found = Vec::new();
    for name in LAYERS.iter().map(|(name, _)| *name).chain([""]) {
        for (path, text) in files(&Path::new(ROOT).join(name).join("src")) {
            if name.is_empty() && path == Path::new("terminal.rs") {
                continue;
            }
            found.extend(printers(&text).into_iter().map(|what| format!("{name}/src/{}: {what}", path.display())));
        }
    }
    assert!(
        found.is_empty(),
        "src/terminal.rs alone writes to stdout and stderr, so that nothing of a row or a file \
        acts on a terminal; use say!, tell! or progress instead of\n{}",
        found.join("\n")
    );
}

#[test]
fn printers_are_found() {
    for (code, expected) in [
        ("fn f() { println!(\"a\") }", &["println"][..]),
        ("fn f() { anstream::eprintln!(\"a\"); std::io::stderr().write_all(b\"a\") }", &["eprintln", "stderr"]),
        ("use std::io::{self, stdout};", &["stdout"]),
        ("fn f() { dbg!(1) } // println!", &["dbg"]),
        ("ProgressDrawTarget::stderr()", &[]),
        ("String::from_utf8_lossy(&done.stderr)", &[]),
        ("command.stdout(Stdio::null()).stderr(Stdio::inherit())", &["stderr"]),
        ("#[cfg(test)]\nmod tests { fn f() { println!(\"a\") } }", &[]),
        ("let println = 1; plan::print(&prepared);", &[]),
    ] {
        assert_eq!(printers(code), expected, "{code}");
    }
}

/// Where code writes to a terminal.
fn printers(text: &str) -> Vec<Token> {
    let mut code = tokens(text);
    cut_tests(&mut code);
    let by_itself = |i: usize| {
        let (name, next) = (code[i].as_str(), code.get(i + 1).map(String::as_str));
        // indicatif draws its bar where the program says.
        let of_bar = i > 1 && code[i - 2] == "ProgressDrawTarget";
        // What another program printed.
        let field = i > 0 && code[i - 1] == "." && next != Some("(");
        // What another program would print goes nowhere.
        let muted =
            i > 0 && code[i - 1] == "." && code[i + 1..].starts_with(&["(", "Stdio", "::", "null"].map(str::to_owned));
        if name.starts_with("std") { !of_bar && !field && !muted } else { next == Some("!") }
    };
    (0..code.len()).filter(|i| PRINTERS.contains(&&*code[*i]) && by_itself(*i)).map(|i| code[i].clone()).collect()
}

#[test]
fn circles_are_found() {
    let circles = |files: &[(&str, &str)]| {
        let files = files.iter().map(|(path, text)| (Path::new(path).to_owned(), (*text).to_owned()));
        Crate::new(&files.collect::<Vec<_>>()).circles()
    };
    let lib = ("lib.rs", "pub mod a;\nmod b;\npub use b::B;");
    assert_eq!(circles(&[lib, ("a.rs", "use crate::b::B;"), ("b.rs", "")]), Vec::<Vec<Module>>::new());
    let circle = vec![vec![vec!["a".to_owned()], vec!["b".to_owned()]]];
    for (a, b) in [
        ("use crate::b::B;", "use super::{x, a::{self, A}};"),
        // What the root only hands on is the module's that has it; a path in code is an import, too.
        ("use crate::{B};", "fn f() { crate::a::f() }"),
        ("pub(crate) use super::b::B as C;", "/* use it */ use crate::a as other;"),
    ] {
        assert_eq!(circles(&[lib, ("a.rs", a), ("b.rs", b)]), circle, "{a} {b}");
    }
    for (a, b) in [
        ("use crate::b::B;", "// use crate::a;\nconst TEXT: &str = \"use crate::a;\";"),
        ("use crate::b::B;", "#[cfg(test)]\nmod tests { use crate::a::A; }"),
        ("use crate::b::B;", "#[cfg(test)]\nuse crate::a::A;\n"),
        ("use crate::b::B;", "use other::a::A;"),
    ] {
        assert!(circles(&[lib, ("a.rs", a), ("b.rs", b)]).is_empty(), "{a} {b}");
    }
    // Folders count as one with all that lies in them, and what lies in them is looked at as well.
    let files =
        [("lib.rs", ""), ("a/mod.rs", "mod c; mod d;"), ("a/c.rs", "use crate::b;"), ("b/e.rs", "use crate::a::d;")];
    assert_eq!(circles(&[&files[..], &[("a/d.rs", ""), ("b.rs", "mod e;")]].concat()), circle);
    let inner =
        circles(&[("lib.rs", ""), ("a.rs", ""), ("a/c.rs", "use super::d::D;"), ("a/d.rs", "use super::c::C;")]);
    assert_eq!(inner, [[["a", "c"], ["a", "d"]]]);
    // A folder's own file holds what its children share, and calls them.
    let parent = ("a.rs", "mod c; mod d; pub struct P; fn f() { c::f(); d::f() }");
    assert!(circles(&[("lib.rs", ""), parent, ("a/c.rs", "use super::P;"), ("a/d.rs", "use crate::a::P;")]).is_empty());
}

/// A module's path below the crate's root.
type Module = Vec<String>;

/// The modules of a crate, and what each file imports.
struct Crate {
    /// Module of a file, and the paths that its code names.
    imports: BTreeMap<Module, BTreeSet<Module>>,
    /// What a module hands on under its own name: `pub use`.
    reexports: BTreeMap<Module, Module>,
}

/// The files of a crate's `src`, by path.
fn files(src: &Path) -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, src: &Path, files: &mut Vec<(PathBuf, String)>) {
        for path in fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
            if path.is_dir() {
                walk(&path, src, files);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push((path.strip_prefix(src).unwrap().to_owned(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut files = Vec::new();
    walk(src, src, &mut files);
    files
}

impl Crate {
    fn read(src: &Path) -> Self {
        Self::new(&files(src))
    }

    fn new(files: &[(PathBuf, String)]) -> Self {
        let mut code: BTreeMap<Module, Vec<Token>> =
            files.iter().map(|(path, text)| (module_of(path), tokens(text))).collect();
        // Whole files that only tests have.
        let mut tests = Vec::new();
        for (module, tokens) in &mut code {
            tests.extend(cut_tests(tokens).into_iter().map(|name| [&module[..], &[name]].concat()));
        }
        code.retain(|module, _| !tests.iter().any(|test| module.starts_with(test)));
        let mut krate = Self { imports: BTreeMap::new(), reexports: BTreeMap::new() };
        let modules: BTreeSet<Module> = code.keys().cloned().collect();
        for (module, tokens) in &code {
            krate.collect(module, tokens, &modules);
        }
        krate
    }

    /// Read the paths of one file.
    fn collect(&mut self, module: &Module, tokens: &[Token], modules: &BTreeSet<Module>) {
        let mut found = BTreeSet::new();
        let mut i = 0;
        while i < tokens.len() {
            if tokens[i] == "use" {
                let public = i > 0 && (tokens[i - 1] == "pub" || tokens[i - 1] == ")");
                let end = (i..tokens.len()).find(|j| tokens[*j] == ";").unwrap_or(tokens.len());
                for (path, name) in use_tree(&tokens[i + 1..end]) {
                    let Some(path) = absolute(module, &path, modules) else { continue };
                    // What a folder hands on of its own children is no import.
                    if !public || !path.starts_with(module) {
                        found.insert(path.clone());
                    }
                    if public {
                        self.reexports.insert([&module[..], &[name]].concat(), path);
                    }
                }
                i = end;
            } else if i > 0 && tokens[i - 1] == "::" {
                i += 1;
            } else {
                let mut path = vec![tokens[i].clone()];
                while i + 2 < tokens.len() && tokens[i + 1] == "::" && is_name(&tokens[i + 2]) {
                    path.push(tokens[i + 2].clone());
                    i += 2;
                }
                if path.len() > 1 {
                    found.extend(absolute(module, &path, modules));
                }
                i += 1;
            }
        }
        self.imports.insert(module.clone(), found);
    }

    /// The module that has what a path names.
    fn home(&self, path: &Module) -> Module {
        let mut path = path.clone();
        for _ in 0..9 {
            let handed_on = (1..=path.len()).rev().find_map(|n| Some((n, self.reexports.get(&path[..n])?)));
            let Some((n, target)) = handed_on else { break };
            path = [&target[..], &path[n..]].concat();
        }
        (0..=path.len()).rev().map(|n| path[..n].to_vec()).find(|p| self.imports.contains_key(p)).unwrap_or_default()
    }

    /// Circles among the children of each folder, level by level. Between a folder's own file and its children there is
    /// none: they are one module, seen from outside.
    fn circles(&self) -> Vec<Vec<Module>> {
        let mut edges: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
        for (from, paths) in &self.imports {
            for to in paths.iter().map(|path| self.home(path)) {
                let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
                if let (Some(a), Some(b)) = (from.get(..=common), to.get(..=common)) {
                    edges.entry(a.to_vec()).or_default().insert(b.to_vec());
                }
            }
        }
        let reached: BTreeMap<&Module, BTreeSet<&Module>> = edges.keys().map(|m| (m, reach(&edges, m))).collect();
        let mut circles: BTreeSet<Vec<Module>> = BTreeSet::new();
        for (module, there) in &reached {
            let circle: Vec<Module> = there
                .iter()
                .filter(|m| reached.get(**m).is_some_and(|back| back.contains(module)))
                .map(|m| (*m).clone())
                .collect();
            if circle.len() > 1 {
                circles.insert(circle);
            }
        }
        circles.into_iter().collect()
    }
}

/// All that can be come to along the edges.
fn reach<'a>(edges: &'a BTreeMap<Module, BTreeSet<Module>>, from: &'a Module) -> BTreeSet<&'a Module> {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(module) = next.pop() {
        next.extend(edges.get(module).into_iter().flatten().filter(|m| seen.insert(*m)));
    }
    seen
}

/// `a/b.rs` and `a/b/mod.rs` are `a::b`; `lib.rs` and `main.rs` are the root.
fn module_of(path: &Path) -> Module {
    let mut parts: Module = path.with_extension("").iter().map(|p| p.to_str().unwrap().to_owned()).collect();
    if parts.last().is_some_and(|last| last == "mod") || (parts.len() == 1 && ["lib", "main"].contains(&&*parts[0])) {
        parts.pop();
    }
    parts
}

/// A path of this crate from its root, or none if it is another crate's or a name of the file itself.
fn absolute(module: &Module, path: &[String], modules: &BTreeSet<Module>) -> Option<Module> {
    let ups = path.iter().take_while(|part| *part == "super").count();
    match path[0].as_str() {
        "crate" => Some(path[1..].to_vec()),
        "super" => Some([&module[..module.len().checked_sub(ups)?], &path[ups..]].concat()),
        "self" => Some([&module[..], &path[1..]].concat()),
        first => {
            let child = [&module[..], &[first.to_owned()]].concat();
            modules.contains(&child).then(|| [&module[..], path].concat())
        }
    }
}

type Token = String;

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Names, `::` and marks of Rust's code, without comments and literals.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let name = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let raw = rest.trim_start_matches('b').strip_prefix('r').map(|r| r.trim_start_matches('#'));
        let cut = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |at| at + 2)
        } else if let Some(body) = raw.filter(|r| r.starts_with('"')) {
            let fence = format!("\"{}", "#".repeat(rest[..rest.len() - body.len()].matches('#').count()));
            rest.len() - body.len() + 1 + body[1..].find(&fence).map_or(body.len() - 1, |at| at + fence.len())
        } else if c == '"' || (c == '\'' && (rest.starts_with("'\\") || rest.chars().nth(2) == Some('\''))) {
            let mut escaped = false;
            let end = rest.char_indices().skip(1).find(|(_, d)| {
                let end = *d == c && !escaped;
                escaped = *d == '\\' && !escaped;
                end
            });
            end.map_or(rest.len(), |(at, d)| at + d.len_utf8())
        } else if name > 0 {
            tokens.push(rest[..name].to_owned());
            name
        } else {
            let mark = if rest.starts_with("::") { "::" } else { &rest[..c.len_utf8()] };
            if !c.is_whitespace() {
                tokens.push(mark.to_owned());
            }
            mark.len()
        };
        rest = &rest[cut..];
    }
    tokens
}

/// Cut out every item behind `#[cfg(test)]`; the names of modules among them that are files of their own.
fn cut_tests(tokens: &mut Vec<Token>) -> Vec<String> {
    let mut files = Vec::new();
    let mark = ["#", "[", "cfg", "(", "test", ")", "]"];
    while let Some(start) = tokens.windows(mark.len()).position(|window| window == mark) {
        let mut depth = 0_usize;
        let mut end = tokens.len();
        for (i, token) in tokens.iter().enumerate().skip(start + mark.len()) {
            depth = match token.as_str() {
                "{" => depth + 1,
                "}" => depth.saturating_sub(1),
                _ => depth,
            };
            if depth == 0 && (token == ";" || token == "}") {
                end = i + 1;
                break;
            }
        }
        let item: Vec<Token> = tokens.drain(start..end).collect();
        if let Some(at) = item.iter().position(|t| t == "mod").filter(|_| item.last().is_some_and(|t| t == ";")) {
            files.push(item[at + 1].clone());
        }
    }
    files
}

/// The paths of a `use` item, and the name that each is known by.
fn use_tree(tokens: &[Token]) -> Vec<(Module, String)> {
    fn tree(tokens: &mut std::slice::Iter<'_, Token>, prefix: &[String], found: &mut Vec<(Module, String)>) {
        let mut path = prefix.to_vec();
        let mut name: Option<String> = None;
        let mut listed = false;
        while let Some(token) = tokens.next() {
            match token.as_str() {
                "::" => {}
                "as" => name = tokens.next().cloned(),
                "{" => {
                    tree(tokens, &path, found);
                    listed = true;
                }
                "," | "}" => {
                    if !listed && path.len() > prefix.len() {
                        found.push(finish(std::mem::replace(&mut path, prefix.to_vec()), name.take()));
                    }
                    (path, listed) = (prefix.to_vec(), false);
                    if token == "}" {
                        return;
                    }
                }
                part => path.push(part.to_owned()),
            }
        }
        if !listed && path.len() > prefix.len() {
            found.push(finish(path, name));
        }
    }
    fn finish(mut path: Module, name: Option<String>) -> (Module, String) {
        // `a::{self}` is `a`, and `a::*` is somewhere in `a`.
        if path.len() > 1 && path.last().is_some_and(|last| last == "self" || last == "*") {
            path.pop();
        }
        let name = name.unwrap_or_else(|| path.last().cloned().unwrap_or_default());
        (path, name)
    }
    let mut found = Vec::new();
    tree(&mut tokens.iter(), &[], &mut found);
    found
}
