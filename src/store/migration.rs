//! Numbered steps from one schema version to the next. The list is append only: a step that has been released is
//! never changed, and never removed while stores of its age may still exist.

use std::path::Path;

use super::StoreError;

mod referrals;

/// One step: rewrites the rows of the version before it.
type Step = fn(&sled::Tree) -> Result<(), sled::Error>;

/// Steps in order; the schema version of a store is how many of them it has been through, plus one.
const STEPS: &[Step] = &[referrals::fill_in];

/// The schema version this release writes.
pub const CURRENT: u32 = 1 + STEPS.len() as u32;

/// The key of the schema version, in a tree of its own so that no scan of the rows meets it.
const VERSION_KEY: &[u8] = b"schema version";

/// Brings the rows of an opened store to [`CURRENT`], or refuses them when a newer release wrote them. `about` is the
/// tree that holds the schema version.
pub fn migrate(rows: &sled::Tree, about: &sled::Tree, path: &Path) -> Result<(), StoreError> {
    migrate_with(rows, about, path, STEPS)
}

fn migrate_with(rows: &sled::Tree, about: &sled::Tree, path: &Path, steps: &[Step]) -> Result<(), StoreError> {
    let failed = |error: sled::Error| StoreError::Failed(error.to_string());
    let known = 1 + steps.len() as u32;
    let found = match about.get(VERSION_KEY).map_err(failed)? {
        Some(stored) => {
            let bytes = <[u8; 4]>::try_from(&*stored)
                .map_err(|_| StoreError::Damaged(path.to_owned(), "its schema version cannot be read".into()))?;
            u32::from_be_bytes(bytes)
        }
        None if rows.is_empty() => {
            set_version(about, known).map_err(failed)?;
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
        step(rows).and_then(|()| set_version(about, version)).map_err(failed)?;
    }
    Ok(())
}

fn set_version(about: &sled::Tree, version: u32) -> Result<(), sled::Error> {
    about.insert(VERSION_KEY, &version.to_be_bytes())?;
    about.flush().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trees() -> (sled::Tree, sled::Tree) {
        let database = sled::Config::new().temporary(true).cache_capacity(4 << 20).open().unwrap();
        (database.open_tree("rows").unwrap(), database.open_tree("about").unwrap())
    }

    #[test]
    fn a_new_store_starts_at_the_current_version() {
        let (rows, about) = trees();
        migrate(&rows, &about, Path::new("x")).unwrap();
        assert_eq!(&*about.get(VERSION_KEY).unwrap().unwrap(), CURRENT.to_be_bytes());
        assert!(rows.is_empty());
    }

    #[test]
    fn steps_run_once_and_in_order() {
        let (rows, about) = trees();
        set_version(&about, 1).unwrap();
        let steps: &[Step] = &[
            |rows| rows.insert([1, 1], "a").map(drop),
            |rows| rows.update_and_fetch([1, 1], |old| old.map(|old| [old, b"b"].concat())).map(drop),
        ];
        for _ in 0..2 {
            migrate_with(&rows, &about, Path::new("x"), steps).unwrap();
            assert_eq!(&*rows.get([1, 1]).unwrap().unwrap(), b"ab");
        }
    }

    #[test]
    fn a_newer_store_is_refused_with_both_versions() {
        let (rows, about) = trees();
        set_version(&about, 7).unwrap();
        let error = migrate_with(&rows, &about, Path::new("somewhere"), &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the store in somewhere has schema version 7, this release knows 1; use a newer release"
        );
    }

    #[test]
    fn rows_without_a_version_are_refused() {
        let (rows, about) = trees();
        rows.insert([0, 1, 2], "row").unwrap();
        assert!(matches!(migrate(&rows, &about, Path::new("x")), Err(StoreError::Damaged(..))));
    }
}
