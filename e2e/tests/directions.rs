//! Imports run one way: between the modules of each crate there is no circle.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

/// All of more than one module.
const CRATES: [&str; 12] = [
    "crds",
    "engine",
    "cluster",
    "controller",
    "webhook",
    "gateway",
    "agent",
    "platforms",
    "cli",
    "images",
    "tools",
    "e2e",
];

/// The modules of a crate, each with those that it imports.
type Imports = BTreeMap<String, BTreeSet<String>>;

/// The code of a file, without comments and without its tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    Regex::new("//.*").unwrap().replace_all(code, "").into_owned()
}

/// What the root of a crate passes on from its modules, by name.
fn passed_on(root: &str) -> BTreeMap<String, String> {
    let uses =
        Regex::new(r"pub(?:\(crate\))? use (?:self::|crate::)?(\w+)::(?:\{([^}]*)\}|([\w:]+))");
    let word = Regex::new(r"\w+").unwrap();
    let mut names = BTreeMap::new();
    for all in uses.unwrap().captures_iter(root) {
        let passed = all.get(2).or(all.get(3)).map_or("", |passed| passed.as_str());
        for name in word.find_iter(passed) {
            names.insert(name.as_str().to_owned(), all[1].to_owned());
        }
    }
    names
}

fn imports(krate: &Path) -> Imports {
    let source = krate.join("src");
    let root = ["lib.rs", "main.rs"].map(|name| source.join(name));
    let passed_on = passed_on(&code(root.iter().find(|path| path.exists()).unwrap()));
    let single = Regex::new(r"crate::(\w+)").unwrap();
    let several = Regex::new(r"crate::\{([^}]*)\}").unwrap();
    let first = Regex::new(r"(?:^|,)\s*(\w+)").unwrap();
    let above = Regex::new(r"((?:super::)+)(\w+)").unwrap();
    let mut imports = Imports::new();
    let is_code = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    for path in sources::files(&source).into_iter().filter(is_code) {
        let inside = path.strip_prefix(&source).unwrap().with_extension("");
        let mut parts: Vec<String> =
            inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        if parts.last().is_some_and(|last| last == "mod") {
            parts.pop();
        }
        let is_test = parts.iter().any(|part| ["tests", "testing", "bin"].contains(&&**part));
        if is_test || root.contains(&path) {
            continue;
        }
        let code = code(&path);
        let of_root = above.captures_iter(&code).filter(|all| all[1].len() / 7 == parts.len());
        let of_crate = several.captures_iter(&code).flat_map(|all| {
            first.captures_iter(all.get(1).unwrap().as_str()).map(|name| name[1].to_owned())
        });
        let names = single.captures_iter(&code).map(|all| all[1].to_owned());
        let names = names.chain(of_crate).chain(of_root.map(|all| all[2].to_owned()));
        imports.entry(parts[0].clone()).or_default().extend(names);
    }
    let modules: BTreeSet<String> = imports.keys().cloned().collect();
    for (module, names) in &mut imports {
        let found = names.iter().map(|name| passed_on.get(name).unwrap_or(name).clone());
        *names = found.filter(|name| modules.contains(name) && name != module).collect();
    }
    imports
}

fn reachable(imports: &Imports, from: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut next: Vec<&String> = imports[from].iter().collect();
    while let Some(module) = next.pop() {
        if found.insert(module.clone()) {
            next.extend(&imports[module]);
        }
    }
    found
}

/// The modules that reach themselves.
fn in_circles(imports: &Imports) -> Vec<&str> {
    let modules = imports.keys().map(String::as_str);
    modules.filter(|module| reachable(imports, module).contains(*module)).collect()
}

#[test]
fn no_module_imports_one_that_imports_it() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for krate in CRATES {
        let imports = imports(&workspace.join(krate));
        assert!(imports.values().any(|names| !names.is_empty()), "{krate}: nothing was read");
        assert_eq!(in_circles(&imports), [""; 0], "{krate}: {imports:#?}");
    }
}

#[test]
fn a_circle_is_found() {
    let of = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    let imports = Imports::from([
        ("a".to_owned(), of(&["b"])),
        ("b".to_owned(), of(&["c"])),
        ("c".to_owned(), of(&["b"])),
    ]);
    assert_eq!(in_circles(&imports), ["b", "c"]);
}
