//! Dependencies point one way.

use std::collections::{BTreeMap, BTreeSet};

use crate::sources::{self, Source};

/// A folder may use only those above it.
const LAYERS: &[&str] = &[
    "config",
    "ids",
    "time",
    "money",
    "telemetry",
    "wire",
    "transfer",
    "store",
    "domain",
    "vendor",
    "control",
    "relay",
    "http",
    "client",
    "server",
    "cli",
];

/// How many of [`LAYERS`] may use each other: settings, ids, times and amounts of money.
const FOUNDATION: usize = 4;

/// Pairs that the order alone would allow: `server` joins relay and HTTP, and the reference client checks the server
/// instead of mirroring it.
const FORBIDDEN: &[(&str, &[&str])] =
    &[("http", &["relay"]), ("client", &["telemetry", "store", "domain", "vendor", "control", "relay", "http"])];

/// The paths after `crate::` in a file, comments aside, as their segments.
fn used(source: &Source) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for line in source.text.lines().filter(|line| !line.trim_start().starts_with("//")) {
        for (at, _) in line.match_indices("crate::") {
            let is_macro_variable = line[..at].ends_with('$');
            let is_longer_word = line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_');
            if is_macro_variable || is_longer_word {
                continue;
            }
            let rest = &line[at + "crate::".len()..];
            assert!(!rest.starts_with('{'), "src/{}: write one `use crate::` for each module", source.path.display());
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(rest.len());
            paths.push(rest[..end].split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect());
        }
    }
    paths
}

/// Macros that stand at the top of the crate, wherever they are written.
fn exported_macros() -> Vec<String> {
    let mut names = Vec::new();
    for source in sources::all() {
        let parts = source.text.split("#[macro_export]\nmacro_rules! ").skip(1);
        names.extend(parts.filter_map(|part| part.split_whitespace().next()).map(str::to_owned));
    }
    names
}

#[test]
fn every_folder_uses_only_those_above_it() {
    // The first three are one foundation: an id is made from a time, a time is plain.
    let rank = |layer: &str| LAYERS.iter().position(|name| *name == layer).map(|rank| rank.max(FOUNDATION - 1));
    let macros = exported_macros();
    for source in sources::all() {
        let own = source.folders()[0].clone();
        if matches!(own.as_str(), "main" | "lib") {
            continue;
        }
        let own_rank = rank(&own).unwrap_or_else(|| panic!("{own} has no place in the order of layers"));
        let forbidden = FORBIDDEN.iter().find(|(name, _)| *name == own).map_or(&[][..], |(_, names)| names);
        for path in used(&source).into_iter().filter(|path| !macros.contains(&path[0])) {
            let layer = path[0].as_str();
            let is_above = rank(layer).is_some_and(|rank| rank <= own_rank);
            let place = source.path.display();
            assert!(is_above, "src/{place} uses crate::{layer}, which stands below {own}");
            assert!(!forbidden.contains(&layer), "src/{place} uses crate::{layer}, which is closed to {own}");
        }
    }
}

#[test]
fn layers_stand_in_the_crate_in_their_order() {
    let library = sources::all().into_iter().find(|source| source.path.ends_with("lib.rs")).unwrap();
    let modules: Vec<&str> =
        library.text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert_eq!(modules, LAYERS);
}

/// Within a folder, the folders in it use each other one way only.
#[test]
fn sibling_folders_have_no_import_cycles() {
    let mut edges: BTreeMap<Vec<String>, BTreeSet<Vec<String>>> = BTreeMap::new();
    // A folder without a `mod.rs` belongs to the file beside it.
    let modules = sources::all().into_iter().filter(|source| source.path.ends_with("mod.rs"));
    let folders: BTreeSet<Vec<String>> = modules.map(|source| source.folders()).collect();
    for source in sources::all().into_iter().filter(|source| !source.is_test()) {
        let from = source.folders();
        for path in used(&source) {
            let common = from.iter().zip(&path).take_while(|(left, right)| left == right).count();
            // Where the two roads part, each must still be a folder: files of one folder may know each other.
            if common == 0 || common >= from.len() {
                continue;
            }
            let (left, right) = (from[..=common].to_vec(), path[..=common.min(path.len() - 1)].to_vec());
            if folders.contains(&right) && left != right {
                edges.entry(left).or_default().insert(right);
            }
        }
    }
    for start in edges.keys() {
        let (mut reached, mut open) = (BTreeSet::new(), vec![start]);
        while let Some(next) = open.pop() {
            for target in edges.get(next).into_iter().flatten() {
                assert!(target != start, "src/{} is part of an import cycle", start.join("/"));
                if reached.insert(target) {
                    open.push(target);
                }
            }
        }
    }
}
