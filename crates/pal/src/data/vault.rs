//! The data disk as this process sees it: `/init open-data` opens it, `/init close-data` closes it, and
//! neither leaves the key anywhere but in the kernel.

use super::files::Files;
use super::hyper::{Problem, Shelf};
use cloudpal_core::{PalId, Secret, store_key};
use cloudpal_protocol::guest::{DataState, ToHost};
use cloudpal_protocol::inside::FromData;
use cloudpal_protocol::owner::DataKey;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, Notify, mpsc};

const INIT: &str = "/init";

/// Where files are kept once unlocked.
pub const FILES: &str = "/data/files";

/// Where logs, maps and drives are kept once unlocked.
const STORE: &str = "/data/store";

/// Why the disk was not opened or closed.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The program did not run.
    #[error("the pal could not run the program that opens its disk; restart the pal")]
    Run(#[source] io::Error),
    /// It said why not.
    #[error("{0}")]
    Refused(String),
}

/// The store of logs on the disk.
enum Cabinet {
    /// The disk is closed.
    Locked,
    /// Nobody has asked for anything in it yet.
    Shut(Secret<32>),
    /// In use.
    Open(Arc<Shelf>),
}

/// Whether the disk is open, and the way to change that.
pub struct Vault {
    unlocked: AtomicBool,
    cabinet: Mutex<Cabinet>,
    /// One change at a time.
    change: Mutex<()>,
    ended: Notify,
    to_init: mpsc::Sender<FromData>,
}

impl Vault {
    /// Locked.
    pub fn new(to_init: mpsc::Sender<FromData>) -> Self {
        Vault {
            unlocked: AtomicBool::new(false),
            cabinet: Mutex::new(Cabinet::Locked),
            change: Mutex::default(),
            ended: Notify::new(),
            to_init,
        }
    }

    /// Unlocked, with a store in `dir` and no disk.
    #[cfg(test)]
    pub fn with_store(dir: &Path) -> Self {
        let (to_init, _) = mpsc::channel(1);
        let shelf = Shelf::open(dir, Secret::new([7; 32])).unwrap();
        let cabinet = Mutex::new(Cabinet::Open(Arc::new(shelf)));
        Vault { cabinet, unlocked: AtomicBool::new(true), ..Vault::new(to_init) }
    }

    /// Whether the disk is open.
    pub fn state(&self) -> DataState {
        if self.unlocked.load(Ordering::Acquire) { DataState::Unlocked } else { DataState::Locked }
    }

    /// Opens the disk. Opening an open one only checks nothing and changes nothing.
    pub async fn unlock(&self, pal: PalId, key: DataKey) -> Result<(), VaultError> {
        let _one = self.change.lock().await;
        if self.state() == DataState::Unlocked {
            return Ok(());
        }
        let mut child = run("open-data").map_err(VaultError::Run)?;
        if let Some(mut input) = child.stdin.take() {
            // If it ends before it has read the key, it says why.
            let _ = input.write_all(key.0.expose()).await;
        }
        let store_key = store_key(&key.0, pal);
        drop(key);
        finish(child).await?;
        tokio::fs::create_dir_all(FILES).await.map_err(VaultError::Run)?;
        Files::new(FILES).tidy().map_err(VaultError::Run)?;
        *self.cabinet.lock().await = Cabinet::Shut(store_key);
        self.unlocked.store(true, Ordering::Release);
        let _ = self.to_init.send(FromData::Host(ToHost::Data(DataState::Unlocked))).await;
        Ok(())
    }

    /// Closes the disk. The caller answers whoever asked and then calls [`Vault::end`].
    pub async fn lock(&self) -> Result<(), VaultError> {
        let _one = self.change.lock().await;
        self.unlocked.store(false, Ordering::Release);
        self.close_store().await;
        finish(run("close-data").map_err(VaultError::Run)?).await?;
        let _ = self.to_init.send(FromData::Host(ToHost::Data(DataState::Locked))).await;
        Ok(())
    }

    /// The store of logs, opened at the first call.
    pub async fn shelf(&self) -> Result<Arc<Shelf>, Problem> {
        let mut cabinet = self.cabinet.lock().await;
        let key = match &*cabinet {
            Cabinet::Open(shelf) => return Ok(shelf.clone()),
            Cabinet::Shut(key) => key.clone(),
            Cabinet::Locked => return Err(Problem::locked()),
        };
        let opened = tokio::task::spawn_blocking(move || Shelf::open(Path::new(STORE), key)).await;
        let shelf = Arc::new(opened.map_err(|_| Problem::stumbled())??);
        *cabinet = Cabinet::Open(shelf.clone());
        Ok(shelf)
    }

    /// The store of logs, if somebody has asked for it before.
    pub async fn open_shelf(&self) -> Option<Arc<Shelf>> {
        match &*self.cabinet.lock().await {
            Cabinet::Open(shelf) => Some(shelf.clone()),
            _ => None,
        }
    }

    /// Ends all use of the store and makes what is in it last. Done before a sleep too: it saves the next life from
    /// reading the journal again.
    pub async fn close_store(&self) {
        let before = std::mem::replace(&mut *self.cabinet.lock().await, Cabinet::Locked);
        let Cabinet::Open(shelf) = before else { return };
        if let Ok(Err(problem)) = tokio::task::spawn_blocking(move || shelf.close()).await {
            let line = format!("the store of logs did not close well: {}", problem.message);
            let _ = self.to_init.send(FromData::Host(ToHost::Log { line })).await;
        }
    }

    /// Ends this process after a lock: the plaintext that passed through its memory goes with it.
    pub fn end(&self) {
        self.ended.notify_one();
    }

    /// Returns when [`Vault::end`] was called and what was said before it is on its way.
    pub async fn locked_for_good(&self) {
        self.ended.notified().await;
        while self.to_init.capacity() < self.to_init.max_capacity() {
            tokio::task::yield_now().await;
        }
    }
}

fn run(task: &str) -> io::Result<Child> {
    Command::new(INIT)
        .arg(task)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
}

async fn finish(child: Child) -> Result<(), VaultError> {
    let output = child.wait_with_output().await.map_err(VaultError::Run)?;
    if output.status.success() {
        return Ok(());
    }
    Err(VaultError::Refused(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
