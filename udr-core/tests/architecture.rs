//! A module imports only from the layers below it.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules by layer, lowest first; those of one layer do not see each other but where allowed.
const LAYERS: [&[&str]; 9] = [
    &["error", "env", "id", "name"],
    &["format"],
    &["store"],
    &["refs", "history"],
    &["data"],
    &["snapshot"],
    &["diff", "txn"],
    &["changes", "maintenance"],
    &["repository"],
];

/// What one module of a layer may take from another of the same layer.
const SIDEWAYS: [(&str, &str); 7] = [
    ("env", "id"),
    ("id", "error"),
    ("name", "error"),
    ("env", "error"),
    ("history", "refs"),
    // The door is what leads to everything; nothing leads to it.
    ("repository", "repository"),
    ("lib", "lib"),
];

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// The first segments of every `crate::…` path in a file, without its tests.
fn imports(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let code = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let segment = rest
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .next();
        found.extend(segment.filter(|s| !s.is_empty()).map(str::to_owned));
    }
    found
}

#[test]
fn modules_import_only_from_lower_layers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 20, "the sources were not found");
    let mut wrong = Vec::new();
    for file in files {
        let relative = file.strip_prefix(&root).unwrap();
        let is_test = relative.components().any(|c| c.as_os_str() == "tests")
            || relative.file_name().is_some_and(|n| n == "tests.rs");
        let first = relative
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap();
        let module = first.trim_end_matches(".rs");
        if module == "lib" || is_test {
            continue;
        }
        let Some(own) = layer(module) else {
            wrong.push(format!("{module} is in no layer"));
            continue;
        };
        for import in imports(&fs::read_to_string(&file).unwrap()) {
            // `crate::Error` and the like are re-exports of the lowest layer.
            let Some(other) = layer(&import) else {
                continue;
            };
            let sideways = SIDEWAYS.contains(&(module, import.as_str()));
            if other > own || (other == own && import != module && !sideways) {
                wrong.push(format!("{} imports {import}", relative.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_the_store_names_object_stores_and_only_refs_appends_records() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    for file in files {
        let relative = file
            .strip_prefix(&root)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let code = code
            .lines()
            .filter(|l| !l.trim_start().starts_with("//"))
            .collect::<String>();
        if !relative.starts_with("store") && !relative.contains("tests") {
            assert!(
                !code.contains("object_store::"),
                "{relative} names object_store"
            );
        }
        let may_create = relative.starts_with("store") || relative.starts_with("refs");
        if !may_create && !relative.contains("tests") {
            assert!(!code.contains(".create_record("), "{relative} moves a ref");
        }
    }
}
