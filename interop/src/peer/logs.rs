//! Commands on single logs.

use super::key;
use crate::content::{Content, digest};
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use cloudpal_core::Secret;
use cloudpal_log::{Auth, EncryptionKey, Feed, KeyPair, Manifest, Signer, Tree, hash};
use cloudpal_store::{Fetch as Following, LogOptions, Namespace, Session, Store, Which};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Logs that are open, by the driver's names for them.
#[derive(Default)]
pub struct Logs(HashMap<String, Open>);

struct Open {
    session: Session,
    /// Of a log that several sign.
    signers: Vec<KeyPair>,
    /// While this is held, whatever is appended is asked for.
    following: Option<Following>,
}

#[derive(Deserialize)]
pub struct OpenLog {
    log: String,
    key: Option<String>,
    make: Option<Make>,
    encryption: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Make {
    kind: String,
    name: Option<String>,
    version: u8,
    quorum: u64,
    allow_patch: bool,
    signers: Vec<String>,
    user_data: Option<String>,
}

#[derive(Deserialize)]
pub struct Append {
    log: String,
    blocks: Vec<Content>,
}

#[derive(Deserialize)]
pub struct Truncate {
    log: String,
    length: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wait {
    log: String,
    length: u64,
    fork: u64,
    timeout_ms: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Download {
    log: String,
    start: u64,
    end: u64,
    timeout_ms: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fetch {
    log: String,
    blocks: Vec<u64>,
    timeout_ms: u64,
}

#[derive(Deserialize)]
pub struct Clear {
    log: String,
    start: u64,
    end: u64,
}

#[derive(Deserialize)]
pub struct SeekByte {
    log: String,
    byte: u64,
}

#[derive(Deserialize)]
pub struct Name {
    pub log: String,
}

impl Logs {
    /// The session of an open log.
    pub fn session(&self, name: &str) -> Result<&Session> {
        Ok(&self.get(name)?.session)
    }

    fn get(&self, name: &str) -> Result<&Open> {
        self.0.get(name).with_context(|| format!("no log {name} is open"))
    }

    pub fn open(&mut self, store: &Store, wanted: &OpenLog) -> Result<Value> {
        let mut signers = Vec::new();
        let which = match (&wanted.make, &wanted.key) {
            (Some(make), _) => {
                signers = make.key_pairs()?;
                make.which(&signers)?
            }
            (None, Some(text)) => Which::Key(key(text)?),
            (None, None) => anyhow::bail!("neither key nor make"),
        };
        let options =
            LogOptions { encryption: encryption(wanted.encryption.as_deref())?, ..LogOptions::default() };
        let session = store.open_log(which, options)?;
        let info = session.info();
        let answer = json!({
            "key": hex::encode(info.key),
            "discoveryKey": hex::encode(info.discovery_key),
            "writable": !signers.is_empty(),
            "length": info.length,
            "fork": info.fork,
        });
        self.0.insert(wanted.log.clone(), Open { session, signers, following: None });
        Ok(answer)
    }

    pub fn append(&self, wanted: &Append) -> Result<Value> {
        let open = self.get(&wanted.log)?;
        let blocks: Vec<_> = wanted.blocks.iter().map(|block| Bytes::from(block.bytes())).collect();
        open.append(&blocks)?;
        Ok(size(&open.session))
    }

    pub fn truncate(&self, wanted: &Truncate) -> Result<Value> {
        let open = self.get(&wanted.log)?;
        open.truncate(wanted.length)?;
        Ok(size(&open.session))
    }

    /// Waits until the log has this length and fork.
    pub fn wait(&self, wanted: &Wait) -> Result<Value> {
        let session = self.session(&wanted.log)?;
        let there = (wanted.fork, wanted.length);
        let until = Instant::now() + Duration::from_millis(wanted.timeout_ms);
        let mut now = (session.fork(), session.length());
        while now != there {
            let left = until.saturating_duration_since(Instant::now());
            ensure!(
                !left.is_zero(),
                "fork and length are {now:?}, not {there:?}, after {} ms",
                wanted.timeout_ms
            );
            now = session.wait_change(now, left);
        }
        Ok(size(session))
    }

    /// Waits until blocks `start` to `end` are here.
    pub fn download(&self, wanted: &Download) -> Result<Value> {
        let session = self.session(&wanted.log)?;
        let fetch = session.fetch(wanted.start..wanted.end)?;
        let done = fetch.wait(Duration::from_millis(wanted.timeout_ms));
        ensure!(done, "not there after {} ms", wanted.timeout_ms);
        Ok(size(session))
    }

    /// Asks for chosen blocks only, in the given order.
    pub fn fetch(&self, wanted: &Fetch) -> Result<Value> {
        let timeout = Duration::from_millis(wanted.timeout_ms);
        let session = self.session(&wanted.log)?.clone().with_get_timeout(timeout);
        wanted.blocks.iter().try_for_each(|&block| session.get(block).map(drop))?;
        Ok(size(&session))
    }

    /// Takes everything there is and will be.
    pub fn live(&mut self, wanted: &Name) -> Result<Value> {
        let open = self.0.get_mut(&wanted.log).with_context(|| format!("no log {} is open", wanted.log))?;
        open.following = Some(open.session.fetch(0..u64::MAX)?);
        Ok(json!({}))
    }

    pub fn clear(&self, wanted: &Clear) -> Result<Value> {
        let session = self.session(&wanted.log)?;
        session.clear(wanted.start..wanted.end)?;
        Ok(size(session))
    }

    /// Which block holds a byte, and where in it.
    pub fn seek(&self, wanted: &SeekByte) -> Result<Value> {
        let (index, offset) = self.session(&wanted.log)?.seek(wanted.byte)?;
        Ok(json!({ "index": index, "offset": offset }))
    }

    /// All that peers must agree on; a block that is not here is null.
    pub fn dump(&self, wanted: &Name) -> Result<Value> {
        let session = self.session(&wanted.log)?;
        let info = session.info();
        let mut blocks = Vec::new();
        for index in 0..info.length {
            blocks.push(session.get_local(index)?.map(|block| digest(&block)));
        }
        Ok(json!({
            "key": hex::encode(info.key),
            "treeHash": hex::encode(info.tree_hash),
            "length": info.length,
            "fork": info.fork,
            "blocks": blocks,
        }))
    }
}

impl Open {
    fn append(&self, blocks: &[Bytes]) -> Result<()> {
        match self.alone() {
            true => self.session.append(blocks)?,
            false => self.session.append_signed(blocks, |auth, tree| self.sign(auth, tree))?,
        };
        Ok(())
    }

    fn truncate(&self, length: u64) -> Result<()> {
        match self.alone() {
            true => self.session.truncate(length)?,
            false => self.session.truncate_signed(length, |auth, tree| self.sign(auth, tree))?,
        };
        Ok(())
    }

    /// Whether one signer is enough, whom the store knows.
    fn alone(&self) -> bool {
        self.session.info().manifest.is_none_or(|manifest| manifest.quorum < 2)
    }

    /// The quorum's signatures, assembled.
    fn sign(&self, auth: &Auth, tree: &Tree) -> Vec<u8> {
        let quorum = self.signers.iter().take(auth.manifest().quorum as usize);
        let parts: Vec<_> = quorum.filter_map(|pair| auth.sign_part(tree, pair).ok()).collect();
        auth.manifest().assemble(&parts)
    }
}

impl Make {
    fn key_pairs(&self) -> Result<Vec<KeyPair>> {
        self.signers.iter().map(|seed| Ok(KeyPair::from_seed(&key(seed)?))).collect()
    }

    fn which(&self, signers: &[KeyPair]) -> Result<Which> {
        let first = signers.first().context("no signer")?;
        let manifest = match self.kind.as_str() {
            "multi" => self.manifest(signers)?,
            "compat" => {
                let name = self.name.clone().context("no name")?;
                return Ok(Which::Named { namespace: Namespace::ROOT, name, compat: true });
            }
            _ => Manifest::single(first.public_key()),
        };
        Ok(Which::Manifest { manifest, key_pair: Some(first.clone()) })
    }

    fn manifest(&self, signers: &[KeyPair]) -> Result<Manifest> {
        let signer =
            |pair: &KeyPair| Signer { namespace: hash::DEFAULT_NAMESPACE, public_key: pair.public_key() };
        let mut manifest = Manifest::quorum(self.quorum, signers.iter().map(signer).collect());
        manifest.version = self.version;
        manifest.allow_patch = self.allow_patch;
        manifest.user_data = self.user_data.as_ref().map(hex::decode).transpose()?;
        Ok(manifest)
    }
}

/// The key of encrypted blocks.
pub fn encryption(text: Option<&str>) -> Result<Option<EncryptionKey>> {
    text.map(|text| Ok(EncryptionKey::Log(Secret::new(key(text)?)))).transpose()
}

fn size(session: &Session) -> Value {
    json!({ "length": session.length(), "fork": session.fork() })
}
