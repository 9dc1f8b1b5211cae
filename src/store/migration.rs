//! Numbered steps from one schema version to the next. The list is append only: a step that has been released is
//! never changed, and never removed while stores of its age may still exist.

use std::path::Path;

use super::StoreError;

/// One step: rewrites the rows of the version before it.
type Step = fn(&sled::Tree) -> Result<(), sled::Error>;

/// Steps in order; the schema version of a store is how many of them it has been through, plus one.
const STEPS: &[Step] = &[];

/// The schema version this release writes.
pub const CURRENT: u32 = 1 + STEPS.len() as u32;

/// The row that holds the schema version: table 0, no key.
const VERSION_KEY: [u8; 2] = [0, 0];

/// Brings an opened store to [`CURRENT`], or refuses it when a newer release wrote it.
pub fn migrate(tree: &sled::Tree, path: &Path) -> Result<(), StoreError> {
    migrate_with(tree, path, STEPS)
}

fn migrate_with(tree: &sled::Tree, path: &Path, steps: &[Step]) -> Result<(), StoreError> {
    let failed = |error: sled::Error| StoreError::Failed(error.to_string());
    let known = 1 + steps.len() as u32;
    let found = match tree.get(VERSION_KEY).map_err(failed)? {
        Some(stored) => {
            let bytes = <[u8; 4]>::try_from(&*stored)
                .map_err(|_| StoreError::Damaged(path.to_owned(), "its schema version cannot be read".into()))?;
            u32::from_be_bytes(bytes)
        }
        None if tree.is_empty() => {
            set_version(tree, known).map_err(failed)?;
            known
        }
        None => return Err(StoreError::Damaged(path.to_owned(), "it has rows but no schema version".into())),
    };
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    for (step, version) in steps.iter().zip(2u32..).skip(found.saturating_sub(1) as usize) {
        tracing::info!(version, "bringing the store to its next schema version");
        // A step that is cut off is run again, so each must be able to start from its own half-done work.
        step(tree).and_then(|()| set_version(tree, version)).map_err(failed)?;
    }
    Ok(())
}

fn set_version(tree: &sled::Tree, version: u32) -> Result<(), sled::Error> {
    tree.insert(VERSION_KEY, &version.to_be_bytes())?;
    tree.flush().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> sled::Tree {
        let database = sled::Config::new().temporary(true).cache_capacity(4 << 20).open().unwrap();
        database.open_tree("rows").unwrap()
    }

    #[test]
    fn a_new_store_starts_at_the_current_version() {
        let tree = tree();
        migrate(&tree, Path::new("x")).unwrap();
        assert_eq!(&*tree.get(VERSION_KEY).unwrap().unwrap(), CURRENT.to_be_bytes());
    }

    #[test]
    fn steps_run_once_and_in_order() {
        let tree = tree();
        set_version(&tree, 1).unwrap();
        let steps: &[Step] = &[
            |tree| tree.insert([1, 1], "a").map(drop),
            |tree| tree.update_and_fetch([1, 1], |old| old.map(|old| [old, b"b"].concat())).map(drop),
        ];
        for _ in 0..2 {
            migrate_with(&tree, Path::new("x"), steps).unwrap();
            assert_eq!(&*tree.get([1, 1]).unwrap().unwrap(), b"ab");
        }
    }

    #[test]
    fn a_newer_store_is_refused_with_both_versions() {
        let tree = tree();
        set_version(&tree, 7).unwrap();
        let error = migrate_with(&tree, Path::new("somewhere"), &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the store in somewhere has schema version 7, this release knows 1; use a newer release"
        );
    }

    #[test]
    fn rows_without_a_version_are_refused() {
        let tree = tree();
        tree.insert([0, 1, 2], "row").unwrap();
        assert!(matches!(migrate(&tree, Path::new("x")), Err(StoreError::Damaged(..))));
    }
}
