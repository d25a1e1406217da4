//! A peer that lies: changed, replayed, reordered and foreign answers, as bytes of the wire. A copy may
//! refuse them or find them harmless; it may never hold what the author did not sign.
//!
//! The crate of the log has more of this, message by message (`crates/data/log/tests`); here are figures for the report.

use crate::chance::Chance;
use crate::judge::Wrong;
use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use cloudpal_log::wire::{Data, Message};
use cloudpal_log::{
    BlockRequest, Create, Durability, KeyPair, Log, MemoryStorage, ProofRequest, UpgradeRequest,
};

type MemoryLog = Log<MemoryStorage>;

/// What came of it.
#[derive(Default, Debug)]
pub struct Outcome {
    /// Answers that were not the honest one.
    pub lies: u64,
    /// Of those, the copy refused and blamed the peer.
    pub blamed: u64,
    /// Of those, somebody who checks nothing would have taken a wrong block for a right one.
    pub would_deceive: u64,
    /// Copies that had everything in the end all the same.
    pub completed: u64,
    /// What was wrong, with where.
    pub wrong: Vec<(String, Wrong)>,
}

/// As many copies as asked for, each with a liar between it and the author.
pub fn run(seed: u64, copies: u64) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for number in 0..copies {
        let mut chance = Chance::of(seed, number);
        match one(&mut chance, &mut outcome) {
            Ok(()) => outcome.completed += 1,
            Err(error) => outcome.wrong.push((format!("copy {number}"), Wrong::Lost(format!("{error:#}")))),
        }
    }
    Ok(outcome)
}

fn one(chance: &mut Chance, outcome: &mut Outcome) -> Result<()> {
    let (author, stranger) = (author(chance, 1)?, author(chance, 2)?);
    let mut copy = Log::create(MemoryStorage::new(), Create::remote(*author.key()))?;
    let mut heard: Vec<Bytes> = Vec::new();
    let mut held = 0;
    for _ in 0..author.length() * 40 {
        if copy.contiguous_length() == author.length() {
            return Ok(());
        }
        let request = ask(chance, &copy, &author);
        let Ok(proof) = author.proof(&request) else { continue };
        let honest = encode(proof);
        heard.push(honest.clone());
        let said = match chance.below(8) {
            0 | 1 => honest.clone(),
            2 => heard[chance.below(heard.len() as u64) as usize].clone(),
            3 => stranger.proof(&request).map_or_else(|_| honest.clone(), encode),
            _ => changed(chance, &honest),
        };
        outcome.lies += u64::from(said != honest);
        let Ok(Some(Message::Data(data))) = Message::decode(DATA, &said) else { continue };
        outcome.would_deceive += u64::from(said != honest && deceives(&data, &author)?);
        match copy.apply(&data.proof, Durability::Relaxed) {
            Ok(_) => held = faithful(&copy, &author, held)?,
            Err(error) => outcome.blamed += u64::from(error.blames_peer()),
        }
    }
    bail!("{} of {} blocks came", copy.contiguous_length(), author.length())
}

/// The number of the message that carries answers.
const DATA: u64 = 3;

fn author(chance: &mut Chance, key: u8) -> Result<MemoryLog> {
    let pair = KeyPair::from_seed(&[key; 32]);
    let mut log = Log::create(MemoryStorage::new(), Create::single(pair.public_key()))?.with_key_pair(pair);
    let count = 20 + chance.below(40);
    let blocks: Vec<Bytes> = (0..count)
        .map(|_| {
            let length = chance.below(80) as usize;
            chance.bytes(length).into()
        })
        .collect();
    log.append(&blocks, Durability::Relaxed)?;
    Ok(log)
}

fn ask(chance: &mut Chance, copy: &MemoryLog, author: &MemoryLog) -> ProofRequest {
    let (have, all) = (copy.length(), author.length());
    let mut request =
        ProofRequest { fork: copy.fork(), manifest: copy.manifest().is_none(), ..Default::default() };
    if have < all && (have == 0 || chance.once_in(4)) {
        request.upgrade = Some(UpgradeRequest { start: have, length: 1 + chance.below(all - have) });
    } else {
        let index = (0..have).find(|index| !copy.has(*index)).unwrap_or(0);
        let nodes = copy.missing_nodes(2 * index).unwrap_or(0);
        request.block = Some(BlockRequest { index, nodes });
    }
    request
}

fn encode(proof: cloudpal_log::Proof) -> Bytes {
    let mut bytes = Vec::new();
    Message::Data(Box::new(Data { request: 1, proof })).encode(&mut bytes);
    bytes.into()
}

fn changed(chance: &mut Chance, honest: &Bytes) -> Bytes {
    let mut bytes = honest.to_vec();
    for _ in 0..=chance.below(3) {
        let at = chance.below(bytes.len() as u64) as usize;
        match chance.below(4) {
            0 => bytes[at] = chance.next() as u8,
            1 => bytes[at] = bytes[at].wrapping_add(1),
            2 if bytes.len() > 1 => drop(bytes.remove(at)),
            _ => bytes[at] ^= 1 << chance.below(8),
        }
    }
    bytes.into()
}

fn deceives(data: &Data, author: &MemoryLog) -> Result<bool> {
    let Some(block) = &data.proof.block else { return Ok(false) };
    if block.index >= author.length() {
        return Ok(true);
    }
    Ok(author.get(block.index)?.context("the author has all")? != block.value)
}

/// Everything that the copy holds is the author's. Gives how many blocks it holds.
fn faithful(copy: &MemoryLog, author: &MemoryLog, held: u64) -> Result<u64> {
    if copy.length() > author.length() {
        bail!("the copy is longer than the log");
    }
    let mut count = 0;
    for index in 0..copy.length() {
        if let Some(block) = copy.get(index)? {
            count += 1;
            if Some(block) != author.get(index)? {
                bail!("the copy holds another block {index}");
            }
        }
    }
    if count < held {
        bail!("the copy forgot blocks");
    }
    Ok(count)
}
