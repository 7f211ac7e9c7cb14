//! The laws of the house, checked by reading the sources: who may know whom, where the time is read, where unsafe code may
//! stand, how long a file and a function may be.
//!
//! Each rule is a function of a file's path and text that returns the violations it found, and each is shown below
//! to find one that was planted. The reader is simple: it knows comments, strings, braces and paths of Rust, and nothing of types.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

mod planted;
mod reading;
mod rules;

use reading::{behind_test_attribute, code_of, tokens};
use rules::*;

struct Source {
    path: String,
    text: String,
    is_test: bool,
}

/// Every file of the repository that is text.
fn repository() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    collect(root, root, &mut sources);
    let of_tests: Vec<String> = sources.iter().flat_map(test_modules).collect();
    for source in &mut sources {
        let path = &source.path;
        source.is_test = path.starts_with("tests/")
            || path.contains("/tests/")
            || path.ends_with("/tests.rs")
            || of_tests.iter().any(|module| is_in(path, module));
    }
    sources
}

fn collect(root: &Path, folder: &Path, sources: &mut Vec<Source>) {
    const OURS: &[&str] = &[".ci", ".gitignore"];
    const NOT_OURS: &[&str] = &["target", "node_modules", "Cargo.lock", "package-lock.json"];
    let entries = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", folder.display()));
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let hidden = name.starts_with('.') && !OURS.contains(&name.as_str());
        if hidden || NOT_OURS.contains(&name.as_str()) {
            continue;
        }
        let path = entry.path();
        if path.is_dir() {
            collect(root, &path, sources);
        } else if let (Ok(text), Ok(inside)) = (fs::read_to_string(&path), path.strip_prefix(root))
        {
            sources.push(Source {
                path: inside.to_string_lossy().into_owned(),
                text,
                is_test: false,
            });
        }
    }
}

/// The modules that are declared for tests alone, such as `#[cfg(test)] mod fixture;`.
fn test_modules(source: &Source) -> Vec<String> {
    let tokens = tokens(&code_of(&source.text));
    let folder = source.path.trim_end_matches("mod.rs").trim_end_matches('/');
    let folder = folder.trim_end_matches(".rs").trim_end_matches("/lib");
    let mut modules = Vec::new();
    for index in 0..tokens.len() {
        let behind = behind_test_attribute(&tokens[index..]).unwrap_or_default();
        let item: Vec<&str> = behind
            .iter()
            .take(7)
            .map(|token| token.text.as_str())
            .collect();
        if let ["mod", name, ";", ..] | ["pub", "(", _, ")", "mod", name, ";", ..] = &*item {
            modules.push(format!("{folder}/{name}"));
        }
    }
    modules
}

/// Is this the file of that module, or of one inside it?
fn is_in(path: &str, module: &str) -> bool {
    path.strip_prefix(module)
        .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

fn check(rule: &str, wanted: impl Fn(&Source) -> bool, find: impl Fn(&str, &str) -> Violations) {
    let (mut files, mut report) = (0, String::new());
    for source in repository().iter().filter(|source| wanted(source)) {
        files += 1;
        for (line, what) in find(&source.path, &source.text) {
            report += &format!("  {}:{line}: {what}\n", source.path);
        }
    }
    assert!(files > 0, "{rule}: no file was looked at");
    assert!(report.is_empty(), "{rule}:\n{report}");
}

fn is_production(source: &Source) -> bool {
    source.path.ends_with(".rs") && !source.is_test
}

#[test]
fn nobody_knows_whom_he_should_not() {
    check("layers", is_production, layers);
}

#[test]
fn the_program_and_the_examples_use_the_public_api_alone() {
    check("public API", is_production, strangers);
}

#[test]
fn measuring_shares_no_code_with_the_engine() {
    check("perf", is_production, measuring);
}

#[test]
fn one_place_reads_the_time() {
    check("clock", is_production, clock);
}

#[test]
fn unsafe_code_is_in_the_ring_and_says_why_it_is_sound() {
    check("unsafe", |source| source.path.ends_with(".rs"), unsafe_code);
}

#[test]
fn everything_but_the_ring_forbids_unsafe_code() {
    let marked = repository().into_iter().filter(|source| {
        source.path.starts_with("src/") && code_of(&source.text).contains("#![forbid(unsafe_code)]")
    });
    let marked: BTreeSet<String> = marked.map(|source| source.path).collect();
    check("forbid", is_production, |path, _| forbidding(path, &marked));
}

#[test]
fn files_are_short() {
    check("file length", is_production, file_length);
    for (path, _) in LONG_FILES {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path));
        let lines = text.unwrap_or_default().lines().count();
        assert!(lines > FILE_LINES_MAX, "{path} needs no exception any more");
    }
}

#[test]
fn functions_are_short() {
    check("function length", is_production, function_length);
}

#[test]
fn the_api_is_shown_by_examples() {
    check("examples", is_production, examples);
    let sources: Vec<Source> = repository().into_iter().filter(is_production).collect();
    let lines = sources.iter().flat_map(|source| source.text.lines());
    let public: BTreeSet<&str> = lines.filter_map(public_item).collect();
    for (name, _) in NO_EXAMPLE {
        assert!(public.contains(name), "{name} needs no exception any more");
    }
}

#[test]
fn nothing_is_left_over() {
    check("leftovers", |_| true, leftovers);
}

#[test]
fn text_is_clean() {
    check("hygiene", |_| true, hygiene);
}
