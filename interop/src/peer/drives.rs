//! Commands on drives.

use super::key;
use super::logs::encryption;
use crate::content::{Content, digest};
use anyhow::{Context as _, Result, bail, ensure};
use cloudpal_drive::{About, Checkout, Dedup, Drive, DrivePath, FileEntry, Folder, Metadata, Options};
use cloudpal_log::Feed;
use cloudpal_shelf::DriveLogs;
use cloudpal_store::{LogOptions, Namespace, Session, Store, Which};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Drives that are open, by the driver's names for them.
#[derive(Default)]
pub struct Drives(HashMap<String, Open>);

struct Open {
    drive: Drive,
    map: Session,
    store: Store,
}

#[derive(Deserialize)]
pub struct OpenDrive {
    drive: String,
    key: Option<String>,
    encryption: Option<String>,
    twin: bool,
}

#[derive(Deserialize)]
pub struct Change {
    drive: String,
    single: bool,
    ops: Vec<Op>,
}

#[derive(Deserialize)]
struct Op {
    op: String,
    path: String,
    value: Option<Content>,
    #[serde(default)]
    executable: bool,
    target: Option<String>,
    #[serde(default)]
    metadata: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitDrive {
    drive: String,
    version: u64,
    timeout_ms: u64,
}

#[derive(Deserialize)]
pub struct Files {
    drive: String,
    version: Option<u64>,
    folder: Option<String>,
}

#[derive(Deserialize)]
pub struct ReadPart {
    drive: String,
    path: String,
    start: u64,
    length: u64,
}

#[derive(Deserialize)]
pub struct Since {
    drive: String,
    since: u64,
}

#[derive(Deserialize)]
pub struct Name {
    drive: String,
}

#[derive(Deserialize)]
pub struct CoreKey {
    namespaces: Vec<String>,
    name: String,
}

impl Drives {
    fn get(&self, name: &str) -> Result<&Open> {
        self.0.get(name).with_context(|| format!("no drive {name} is open"))
    }

    pub fn open(&mut self, store: &Store, wanted: &OpenDrive) -> Result<Value> {
        let encryption = encryption(wanted.encryption.as_deref())?;
        let options = LogOptions { encryption, ..LogOptions::default() };
        // As npm does: the map is called `db` in a namespace of the drive's own.
        let namespace = Namespace::ROOT.child(wanted.drive.as_bytes());
        let which = match &wanted.key {
            Some(text) => Which::Key(key(text)?),
            None => Which::named(namespace, "db"),
        };
        let map = store.open_log(which, options.clone())?;
        let mut logs = DriveLogs::new(store, namespace, map.clone(), options);
        if wanted.key.is_none() {
            logs = logs.signed_by(store.key_pair(&namespace, "db"));
        }
        let dedup = if wanted.twin { Dedup::Off } else { Dedup::EqualFiles };
        let behaviour = Options { dedup, ..Options::default() };
        let drive = Drive::open(Arc::new(map.clone()), logs, behaviour)?;
        let answer = json!({
            "key": hex::encode(drive.key()),
            "contentKey": drive.blobs().ok().map(|blobs| hex::encode(blobs.feed().key())),
            "version": drive.version(),
            "writable": drive.writable(),
        });
        self.0.insert(wanted.drive.clone(), Open { drive, map, store: store.clone() });
        Ok(answer)
    }

    pub fn change(&self, wanted: &Change) -> Result<Value> {
        let drive = &self.get(&wanted.drive)?.drive;
        let mut batch = (!wanted.single).then(|| drive.batch());
        for op in &wanted.ops {
            let path = DrivePath::new(&op.path)?;
            let about = About { executable: op.executable, metadata: metadata(&op.metadata)? };
            let value = op.value.map(Content::bytes).unwrap_or_default();
            let target = op.target.as_deref().unwrap_or_default();
            match (op.op.as_str(), &mut batch) {
                ("put", Some(batch)) => batch.put(&path, value, about)?,
                ("put", None) => drive.put(&path, value, about).map(drop)?,
                ("symlink", Some(batch)) => batch.symlink(&path, target, about.metadata)?,
                ("symlink", None) => drive.symlink(&path, target, about.metadata).map(drop)?,
                ("del", Some(batch)) => batch.del(&path).map(drop)?,
                ("del", None) => drive.del(&path).map(drop)?,
                (other, _) => bail!("no drive operation {other}"),
            }
        }
        if let Some(batch) = batch {
            batch.flush()?;
        }
        Ok(json!({ "version": drive.version() }))
    }

    /// Waits until the drive has this version.
    pub fn wait(&self, wanted: &WaitDrive) -> Result<Value> {
        let open = self.get(&wanted.drive)?;
        let until = Instant::now() + Duration::from_millis(wanted.timeout_ms);
        while open.map.length() < wanted.version {
            let left = until.saturating_duration_since(Instant::now());
            ensure!(!left.is_zero(), "version {} after {} ms", open.map.length(), wanted.timeout_ms);
            open.map.wait_change((open.map.fork(), open.map.length()), left);
        }
        Ok(json!({ "version": open.drive.version() }))
    }

    fn at(&self, name: &str, version: Option<u64>) -> Result<Checkout> {
        let drive = &self.get(name)?.drive;
        Ok(match version {
            Some(version) => drive.checkout(version)?,
            None => drive.now(),
        })
    }

    pub fn files(&self, wanted: &Files) -> Result<Value> {
        let drive = &self.get(&wanted.drive)?.drive;
        let checkout = self.at(&wanted.drive, wanted.version)?;
        let folder = Folder::new(wanted.folder.as_deref().unwrap_or("/"))?;
        let mut files = Vec::new();
        for file in checkout.list(&folder) {
            files.push(shown(&checkout, &file?)?);
        }
        let content_key = drive.blobs().ok().map(|blobs| hex::encode(blobs.feed().key()));
        Ok(json!({ "version": checkout.version(), "contentKey": content_key, "files": files }))
    }

    pub fn read_part(&self, wanted: &ReadPart) -> Result<Value> {
        let drive = &self.get(&wanted.drive)?.drive;
        let end = wanted.start + wanted.length;
        let mut part = Vec::new();
        drive.read(&DrivePath::new(&wanted.path)?, wanted.start..end)?.write_to(&mut part)?;
        Ok(json!({ "content": digest(&part) }))
    }

    pub fn diff(&self, wanted: &Since) -> Result<Value> {
        let (now, then) = (self.at(&wanted.drive, None)?, self.at(&wanted.drive, Some(wanted.since))?);
        let path = |side: Option<FileEntry>| side.map(|file| file.path.as_str().to_owned());
        let mut changes = Vec::new();
        for difference in now.diff(&then, &Folder::root()) {
            let difference = difference?;
            changes.push(json!([path(difference.left), path(difference.right)]));
        }
        Ok(json!({ "changes": changes }))
    }

    pub fn heads(&self, wanted: &Name) -> Result<Value> {
        let open = self.get(&wanted.drive)?;
        let key = open.drive.blobs()?.feed().key();
        let blobs = open.store.open_log(Which::Key(key), LogOptions::default())?;
        let head = |session: &Session| {
            let info = session.info();
            json!({ "length": info.length, "fork": info.fork, "treeHash": hex::encode(info.tree_hash) })
        };
        Ok(json!({ "db": head(&open.map), "blobs": head(&blobs) }))
    }
}

/// The key of a named log in a namespace, which the store's primary key alone decides.
pub fn core_key(store: &Store, wanted: &CoreKey) -> Result<Value> {
    let root = Namespace::ROOT;
    let namespace = wanted.namespaces.iter().fold(root, |namespace, name| namespace.child(name.as_bytes()));
    Ok(json!({ "key": hex::encode(store.log_in(&namespace, &wanted.name)?.key()) }))
}

fn shown(checkout: &Checkout, file: &FileEntry) -> Result<Value> {
    let entry = &file.entry;
    let content = checkout.content(file)?.map(|bytes| digest(&bytes));
    let metadata: Value = match &entry.metadata {
        Some(metadata) => serde_json::from_str(metadata.as_json())?,
        None => Value::Null,
    };
    let blob = entry.blob.as_ref().map(|blob| {
        json!({
            "blockOffset": blob.block_offset,
            "byteOffset": blob.byte_offset,
            "blockLength": blob.block_length,
            "byteLength": blob.byte_length,
        })
    });
    Ok(json!({
        "seq": file.seq,
        "path": file.path.as_str(),
        "content": content,
        "executable": entry.executable,
        "linkname": entry.linkname,
        "metadata": metadata,
        "blob": blob,
    }))
}

fn metadata(value: &Value) -> Result<Option<Metadata>> {
    Ok(match value {
        Value::Null => None,
        value => Some(Metadata::new(value)?),
    })
}
