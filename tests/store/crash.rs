//! Kills a writing process again and again: nothing acknowledged is lost, nothing is half there.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use warren::config::store::Store as Settings;
use warren::store::sled::SledStore;
use warren::store::{Commit, Store};

const ROUNDS: usize = 40;
const WRITERS: u32 = 4;
const ROWS_PER_COMMIT: u8 = 8;
const FOLDER: &str = "WARREN_CRASH_TEST_FOLDER";

fn row_key(writer: u32, commit: u64, row: u8) -> Vec<u8> {
    [&[9, 9][..], &writer.to_be_bytes(), &commit.to_be_bytes(), &[row]].concat()
}

fn settings(folder: &std::path::Path) -> Settings {
    Settings { path: folder.to_owned(), ..Settings::default() }
}

/// The process that is killed. It prints `writer commit` after each acknowledged commit; as an ordinary test it has
/// nothing to do, because its folder is not named.
#[test]
fn writing_process() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let store = Arc::new(SledStore::open(&settings(folder.as_ref())).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let writers: Vec<_> =
            (0..WRITERS).map(|writer| tokio::spawn(write_forever(Arc::clone(&store), writer))).collect();
        for writer in writers {
            writer.await.unwrap();
        }
    });
}

async fn write_forever(store: Arc<SledStore>, writer: u32) {
    let written = store.scan(&row_key(writer, 0, 0)[..6], None, usize::MAX).unwrap();
    let first = written.len() as u64 / u64::from(ROWS_PER_COMMIT);
    for commit in first.. {
        let value = Bytes::copy_from_slice(&commit.to_be_bytes().repeat(1 + commit as usize % 40));
        let writes = (0..ROWS_PER_COMMIT).map(|row| (row_key(writer, commit, row), Some(value.clone()))).collect();
        store.commit(Commit { reads: vec![], writes }).await.unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "committed {writer} {commit}").unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn acknowledged_commits_survive_a_killed_process_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = [None::<u64>; WRITERS as usize];
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::writing_process", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let killer = std::thread::spawn(move || {
            // Cut at a different moment of the write cycle each time.
            std::thread::sleep(Duration::from_millis(150 + 7 * round as u64));
            child.kill().unwrap();
            child.wait().unwrap();
        });
        for line in output.lines().map_while(Result::ok) {
            if let Some(numbers) = line.strip_prefix("committed ") {
                let (writer, commit) = numbers.split_once(' ').unwrap();
                acknowledged[writer.parse::<usize>().unwrap()] = Some(commit.parse().unwrap());
            }
        }
        killer.join().unwrap();
        check_folder(folder.path(), &acknowledged);
    }
    assert!(
        acknowledged.iter().all(|last| last.is_some_and(|last| last > 10)),
        "too little was written: {acknowledged:?}"
    );
}

fn check_folder(folder: &std::path::Path, acknowledged: &[Option<u64>]) {
    let store = SledStore::open(&settings(folder)).unwrap();
    for (writer, last) in (0u32..).zip(acknowledged) {
        let rows = store.scan(&row_key(writer, 0, 0)[..6], None, usize::MAX).unwrap();
        let commits = rows.len() / usize::from(ROWS_PER_COMMIT);
        assert_eq!(rows.len(), commits * usize::from(ROWS_PER_COMMIT), "a commit is half there");
        assert!(last.is_none_or(|last| commits as u64 > last), "an acknowledged commit is gone");
        for (at, (key, row)) in rows.iter().enumerate() {
            let commit = (at / usize::from(ROWS_PER_COMMIT)) as u64;
            assert_eq!(*key, row_key(writer, commit, (at % usize::from(ROWS_PER_COMMIT)) as u8));
            assert!(row.value.chunks(8).all(|chunk| chunk == commit.to_be_bytes()), "a damaged value");
        }
    }
}
