//! The files of the crate, and the rules that concern one file alone.

use std::path::{Path, PathBuf};

/// Longest file, its tests aside.
const MAX_LINES: usize = 500;

/// A source file.
pub struct Source {
    /// Path below `src`.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

impl Source {
    /// The folders it stands in, outermost first; `main.rs` and other single files count by their own name.
    pub fn folders(&self) -> Vec<String> {
        let part = |part: &std::ffi::OsStr| part.to_string_lossy().trim_end_matches(".rs").to_owned();
        let mut parts: Vec<String> = self.path.iter().map(part).collect();
        if parts.len() > 1 {
            parts.pop();
        }
        parts
    }

    /// Whether it holds tests only.
    pub fn is_test(&self) -> bool {
        self.path.iter().any(|part| {
            let part = part.to_string_lossy();
            part == "tests" || part == "testing.rs" || part.ends_with("tests.rs")
        })
    }

    /// The lines before the tests that stand at the end of the file.
    pub fn lines_of_code(&self) -> usize {
        self.text.lines().take_while(|line| *line != "mod tests {").count()
    }
}

/// Every source file of the crate.
pub fn all() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                sources.push(Source { path: path.strip_prefix(&root).unwrap().to_owned(), text });
            }
        }
    }
    assert!(sources.len() > 50, "the sources were not found");
    sources
}

#[test]
fn no_file_holds_two_subjects() {
    for source in all() {
        let is_test = source.is_test();
        let lines = source.lines_of_code();
        assert!(is_test || lines <= MAX_LINES, "src/{} has {lines} lines: split it by subject", source.path.display());
    }
}

#[test]
fn every_file_says_why_it_exists() {
    for source in all() {
        assert!(
            source.is_test() || source.text.starts_with("//! "),
            "src/{} has no description",
            source.path.display()
        );
    }
}

#[test]
fn nothing_is_left_unfinished() {
    for source in all() {
        for word in ["todo!", "unimplemented!", "TODO", "FIXME", "XXX"] {
            assert!(!source.text.contains(word), "src/{} holds {word}", source.path.display());
        }
    }
}
