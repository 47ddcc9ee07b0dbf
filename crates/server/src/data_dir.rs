//! The data directory: the store, the keys that the server makes itself, and where it listens while it runs.

use crate::config::Secret;
use crate::files;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

#[derive(Clone, Debug)]
pub struct DataDir(PathBuf);

/// `server.json`: there while a server runs (or after it was killed).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Running {
    pub listen: String,
    pub dev: bool,
}

/// What this data directory signs its own tokens with.
#[derive(Clone, Debug)]
pub enum OwnKey {
    /// HS256, for development.
    Dev(Secret),
    /// The seed of an Ed25519 key.
    Signing([u8; 32]),
}

impl DataDir {
    pub fn open(dir: &Path) -> Result<Self> {
        files::private_dir(dir)?;
        Ok(Self(dir.to_owned()))
    }

    pub fn database(&self) -> PathBuf {
        self.0.join("bellwire.sqlite")
    }

    pub fn operator_key(&self) -> Result<Secret> {
        files::private_text(&self.0.join("operator.key"), || hex(&rand::random())).map(Secret::from)
    }

    /// What relay credentials are made with where the operator sets nothing.
    pub fn turn_secret(&self) -> Result<Secret> {
        files::private_text(&self.0.join("turn.secret"), || hex(&rand::random())).map(Secret::from)
    }

    pub fn own_key(&self, dev: bool) -> Result<OwnKey> {
        if dev {
            return files::private_text(&self.dev_key(), || hex(&rand::random())).map(|t| OwnKey::Dev(t.into()));
        }
        let file = self.signing_key();
        let text = files::private_text(&file, || hex(&rand::random()))?;
        unhex(&text).map(OwnKey::Signing).with_context(|| format!("{} holds no key", file.display()))
    }

    /// Whether tokens made beside the server are to be of the development kind: as the server that runs here says, else by
    /// the keys that are here, else yes.
    pub fn is_dev(&self) -> bool {
        match self.running() {
            Some(running) => running.dev,
            None => self.dev_key().exists() || !self.signing_key().exists(),
        }
    }

    /// For one server alone: two on one store would each think that all calls are theirs. Held until it is dropped, or the
    /// process ends in any way.
    pub fn lock(&self) -> Result<File> {
        let path = self.0.join("server.lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("{} cannot be opened", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => bail!("another server runs on {}", self.0.display()),
            Err(TryLockError::Error(e)) => Err(e).with_context(|| format!("{} cannot be locked", path.display())),
        }
    }

    pub fn running(&self) -> Option<Running> {
        serde_json::from_slice(&std::fs::read(self.running_file()).ok()?).ok()
    }

    pub fn set_running(&self, running: &Running) -> Result<()> {
        let file = self.running_file();
        let half = file.with_extension("json.new");
        std::fs::write(&half, serde_json::to_vec(running)?)
            .and_then(|()| std::fs::rename(&half, &file))
            .with_context(|| format!("{} cannot be written", file.display()))
    }

    pub fn clear_running(&self) {
        std::fs::remove_file(self.running_file()).ok();
    }

    fn running_file(&self) -> PathBuf {
        self.0.join("server.json")
    }

    fn dev_key(&self) -> PathBuf {
        self.0.join("dev.key")
    }

    fn signing_key(&self) -> PathBuf {
        self.0.join("signing.key")
    }
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (n, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * n..2 * n + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_once_and_are_private() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let dir = DataDir::open(&temp.path().join("data")).expect("a data directory");
        let first = dir.operator_key().expect("a key");
        assert_eq!(first.reveal(), dir.operator_key().expect("a key").reveal());
        assert_eq!(first.reveal().len(), 64);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(dir.0.join("operator.key")).expect("the file").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn one_server_at_a_time_has_the_directory() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let dir = DataDir::open(temp.path()).expect("a data directory");
        let first = dir.lock().expect("the lock");
        assert!(dir.lock().is_err());
        drop(first);
        dir.lock().expect("the lock");
    }

    #[test]
    fn a_directory_with_production_keys_alone_makes_production_tokens() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let dir = DataDir::open(temp.path()).expect("a data directory");
        assert!(dir.is_dev());
        dir.own_key(false).expect("a key");
        assert!(!dir.is_dev());
        dir.set_running(&Running { listen: "127.0.0.1:1".into(), dev: true }).expect("a file");
        assert!(dir.is_dev());
    }
}
