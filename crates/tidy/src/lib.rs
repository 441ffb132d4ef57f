//! Reads the source tree: files, their modules, their imports. The rules are in `tests/`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The root of the workspace.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("crates/tidy is two levels below the root").to_owned()
}

/// All files below a directory with this extension, without `target`.
pub fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() {
                let skipped = name == "target" || name.to_string_lossy().starts_with('.');
                if !skipped {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The text of a file.
pub fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A path as people name it: from the root of the workspace.
pub fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// The imports between the files of one crate, from `use crate::` and `use super::`. Files of tests
/// are left out.
pub fn imports(source: &Path) -> BTreeMap<PathBuf, BTreeSet<PathBuf>> {
    let files = files(source, "rs");
    let is_test = |path: &PathBuf| {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        stem.ends_with("_test") || stem == "tests" || stem == "testing" || stem == "test_driver"
    };
    let files: Vec<_> = files.into_iter().filter(|path| !is_test(path)).collect();
    let modules: BTreeMap<Vec<String>, PathBuf> =
        files.iter().map(|file| (module_of(source, file), file.clone())).collect();
    let mut graph = BTreeMap::new();
    for file in &files {
        let here = module_of(source, file);
        let shipped = text(file);
        let shipped = shipped.split("#[cfg(test)]").next().unwrap_or_default();
        let targets = used_paths(shipped, &here).into_iter();
        let targets = targets.filter_map(|path| owner(&modules, &path)).filter(|to| to != file);
        graph.insert(file.clone(), targets.collect());
    }
    graph
}

/// The module path of a file: `src/a/mod.rs` and `src/a.rs` are both `a`.
fn module_of(source: &Path, file: &Path) -> Vec<String> {
    let relative = file.strip_prefix(source).expect("the file is below the source directory");
    let mut parts: Vec<String> =
        relative.iter().map(|part| part.to_string_lossy().replace(".rs", "")).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        parts.pop();
    }
    parts
}

/// The module paths that `use` lines name, with groups taken apart.
fn used_paths(text: &str, here: &[String]) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let statements = text.split("\nuse ").skip(1).map(|s| s.split(';').next().unwrap_or_default());
    for statement in statements {
        let flat: String = statement.split_whitespace().collect();
        for path in expand(&flat) {
            let mut parts: Vec<&str> = path.split("::").collect();
            let mut base: Vec<String> = match parts[0] {
                "crate" => Vec::new(),
                "super" => here[..here.len().saturating_sub(1)].to_vec(),
                "self" => here.to_vec(),
                _ => continue,
            };
            parts.remove(0);
            while parts.first() == Some(&"super") {
                base.pop();
                parts.remove(0);
            }
            base.extend(parts.iter().map(|part| (*part).to_owned()));
            paths.push(base);
        }
    }
    paths
}

/// `a::{b,c::{d}}` as `a::b`, `a::c::d`.
fn expand(path: &str) -> Vec<String> {
    let Some(open) = path.find('{') else { return vec![path.to_owned()] };
    let prefix = &path[..open];
    let inner = &path[open + 1..path.rfind('}').unwrap_or(path.len())];
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (i, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inner[start..i]);
                start = i + 1;
            }
            _ => (),
        }
    }
    parts.push(&inner[start..]);
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    parts.flat_map(|part| expand(&format!("{prefix}{part}"))).collect()
}

/// The file that defines what a path names: the longest prefix that is a module.
fn owner(modules: &BTreeMap<Vec<String>, PathBuf>, path: &[String]) -> Option<PathBuf> {
    (0..=path.len()).rev().find_map(|n| modules.get(&path[..n]).cloned())
}

/// Sets of files that import each other in a circle, larger than `allowed`.
pub fn circles(
    graph: &BTreeMap<PathBuf, BTreeSet<PathBuf>>,
    allowed: usize,
) -> Vec<BTreeSet<PathBuf>> {
    let reach = |from: &PathBuf| {
        let mut seen = BTreeSet::new();
        let mut open: Vec<&PathBuf> = graph[from].iter().collect();
        while let Some(next) = open.pop() {
            if seen.insert(next.clone()) {
                open.extend(&graph[next]);
            }
        }
        seen
    };
    let reachable: BTreeMap<&PathBuf, BTreeSet<PathBuf>> =
        graph.keys().map(|file| (file, reach(file))).collect();
    let mut circles = BTreeSet::new();
    for (file, seen) in &reachable {
        if seen.contains(*file) {
            let both_ways = seen.iter().filter(|other| reachable[*other].contains(*file));
            circles.insert(both_ways.cloned().collect::<BTreeSet<_>>());
        }
    }
    circles.into_iter().filter(|circle| circle.len() > allowed).collect()
}
