//! The file that the demo carries, read piece by piece off the async threads.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::sync::mpsc;

/// Length of the file made when none is named.
const RANDOM_BYTES: u64 = 64 * 1024 * 1024;

/// Bytes read from the disk at once, at least.
const READ_BYTES: usize = 1024 * 1024;

/// Pieces read ahead.
const READ_AHEAD: usize = 64;

/// A file and its length.
#[derive(Debug)]
pub(super) struct Source {
    path: PathBuf,
    bytes: u64,
}

impl Source {
    /// A file that exists and is not empty.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let metadata = File::open(path)?.metadata()?;
        if !metadata.is_file() || metadata.len() == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file, or an empty one"));
        }
        Ok(Self { path: path.to_owned(), bytes: metadata.len() })
    }

    /// Makes a file of random bytes.
    pub(super) fn random(path: PathBuf) -> io::Result<Self> {
        let mut file = File::create_new(&path)?;
        let mut block = vec![0; READ_BYTES];
        for _ in 0..RANDOM_BYTES / READ_BYTES as u64 {
            aws_lc_rs::rand::fill(&mut block).map_err(|_| io::Error::other("no random bytes"))?;
            file.write_all(&block)?;
        }
        Ok(Self { path, bytes: RANDOM_BYTES })
    }

    /// Its length.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Begins to read it in pieces of at most `size` bytes.
    pub(super) fn pieces(&self, size: usize) -> io::Result<Pieces> {
        let file = File::open(&self.path)?.take(self.bytes);
        let (sender, pieces) = mpsc::channel(READ_AHEAD);
        tokio::task::spawn_blocking(move || read(file, size, &sender));
        Ok(Pieces { pieces, left: self.bytes })
    }
}

/// The pieces of a file being read.
pub(super) struct Pieces {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    left: u64,
}

impl Pieces {
    /// The next piece; `None` at the end. A file that has become shorter is an error.
    pub(super) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        match self.pieces.recv().await {
            Some(piece) => {
                let piece = piece?;
                self.left -= piece.len() as u64;
                Ok(Some(piece))
            }
            None if self.left == 0 => Ok(None),
            None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was read")),
        }
    }
}

fn read(mut file: io::Take<File>, size: usize, pieces: &mpsc::Sender<io::Result<Bytes>>) {
    // Whole pieces per read, so that only the last piece of the file is short.
    let mut block = vec![0; READ_BYTES.max(size) / size * size];
    loop {
        let mut filled = 0;
        while filled < block.len() {
            match file.read(&mut block[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return drop(pieces.blocking_send(Err(error))),
            }
        }
        for piece in block[..filled].chunks(size) {
            if pieces.blocking_send(Ok(Bytes::copy_from_slice(piece))).is_err() {
                return;
            }
        }
        if filled < block.len() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pieces_join_to_the_file_and_only_the_last_is_short() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let content: Vec<u8> = (0..3_000_001u32).map(|at| (at % 251) as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let mut pieces = Source::open(&path).unwrap().pieces(2944).unwrap();
        let (mut joined, mut lengths) = (Vec::new(), Vec::new());
        while let Some(piece) = pieces.next().await.unwrap() {
            lengths.push(piece.len());
            joined.extend_from_slice(&piece);
        }
        assert!(joined == content);
        assert!(lengths[..lengths.len() - 1].iter().all(|length| *length == 2944));
    }

    #[test]
    fn a_folder_and_an_empty_file_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Source::open(folder.path()).is_err());
        let empty = folder.path().join("empty");
        std::fs::write(&empty, "").unwrap();
        assert!(Source::open(&empty).is_err());
        assert!(Source::open(&folder.path().join("missing")).is_err());
    }
}
