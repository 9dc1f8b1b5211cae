//! Secrets that the server makes for itself at first start and keeps in the data folder.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A secret file that cannot be read, made or understood.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The file system refused.
    #[error("the secret file {0} cannot be read or made: {1}")]
    Io(PathBuf, io::Error),
    /// The content is not what it should be.
    #[error("the secret file {0} is damaged: {1}; restore it, or move it away to have a new one made")]
    Damaged(PathBuf, String),
}

/// The content of a secret file; when there is none, what `make` returns is stored under mode 0600 first. The file
/// appears whole or not at all.
pub fn load_or_create(path: &Path, make: impl FnOnce() -> Vec<u8>) -> Result<Vec<u8>, SecretFileError> {
    let failed = |error| SecretFileError::Io(path.to_owned(), error);
    match fs::read(path) {
        Ok(content) => {
            let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
            if mode & 0o077 != 0 {
                tracing::warn!(file = %path.display(), "other users of this machine can read a secret; chmod 600 it");
            }
            Ok(content)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let content = make();
            write_new(path, &content).map_err(failed)?;
            tracing::info!(file = %path.display(), "made a secret at first start; keep a copy of it");
            Ok(content)
        }
        Err(error) => Err(failed(error)),
    }
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let unfinished = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/secret");
        assert_eq!(load_or_create(&path, || b"first".to_vec()).unwrap(), b"first");
        assert_eq!(load_or_create(&path, || b"second".to_vec()).unwrap(), b"first");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
