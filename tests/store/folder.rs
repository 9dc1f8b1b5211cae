//! What an operator meets when a folder cannot be opened.

use std::io::{Seek, SeekFrom, Write};

use bytes::Bytes;
use warren::config::store::Store as Settings;
use warren::store::sled::SledStore;
use warren::store::{Commit, Store, StoreError};

fn settings(folder: &tempfile::TempDir) -> Settings {
    Settings { path: folder.path().join("data"), ..Settings::default() }
}

async fn fill(store: &SledStore) {
    for number in 0..2000u32 {
        let value = Bytes::from(vec![number as u8; 300]);
        let write = Commit { reads: vec![], writes: vec![(number.to_be_bytes().to_vec(), Some(value))] };
        store.commit(write).await.unwrap();
    }
}

#[tokio::test]
async fn a_folder_in_use_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&folder);
    let _open = SledStore::open(&settings).unwrap();
    let error = SledStore::open(&settings).map(drop).unwrap_err();
    assert!(matches!(error, StoreError::InUse(_)), "{error}");
    assert!(error.to_string().contains(&settings.path.display().to_string()));
    assert!(error.to_string().contains("--data"));
}

#[tokio::test]
async fn a_closed_folder_opens_again_with_all_rows() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&folder);
    let store = SledStore::open(&settings).unwrap();
    fill(&store).await;
    drop(store);
    let store = SledStore::open(&settings).unwrap();
    assert_eq!(store.scan(&[], None, 10_000).unwrap().len(), 2000);
}

#[cfg(unix)]
#[tokio::test]
async fn the_folder_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&folder);
    let _store = SledStore::open(&settings).unwrap();
    assert_eq!(std::fs::metadata(&settings.path).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_not_repaired_behind_ones_back() {
    refuses_after(|file, length| {
        for offset in (0..length).step_by(997) {
            file.seek(SeekFrom::Start(offset)).unwrap();
            file.write_all(&[0x5a; 16]).unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_database_that_lost_its_end_is_refused_as_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&folder);
    let store = SledStore::open(&settings).unwrap();
    fill(&store).await;
    drop(store);
    let older = folder.path().join("older");
    std::fs::create_dir(&older).unwrap();
    for name in ["conf", "db"] {
        std::fs::copy(settings.path.join(name), older.join(name)).unwrap();
    }
    let store = SledStore::open(&settings).unwrap();
    fill(&store).await;
    drop(store);
    for name in ["conf", "db"] {
        std::fs::copy(older.join(name), settings.path.join(name)).unwrap();
    }
    let error = SledStore::open(&settings).map(drop).unwrap_err();
    assert!(error.to_string().contains("2000 batches of commits are missing"), "{error}");
}

#[tokio::test]
async fn a_file_cut_in_half_is_refused() {
    refuses_after(|file, length| file.set_len(length / 2).unwrap()).await;
}

/// Fills a folder, harms its database file, and expects the refusal.
async fn refuses_after(harm: impl Fn(&mut std::fs::File, u64)) {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&folder);
    let store = SledStore::open(&settings).unwrap();
    fill(&store).await;
    drop(store);
    let path = settings.path.join("db");
    let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let length = file.metadata().unwrap().len();
    harm(&mut file, length);
    drop(file);
    let error = SledStore::open(&settings).map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Damaged(..)), "{error}");
}
