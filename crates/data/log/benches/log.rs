//! What a log costs without an engine below it: `cargo bench -p cloudpal-log`. Prints operations a second.

use bytes::Bytes;
use cloudpal_core::Secret;
use cloudpal_log::{
    BlockRequest, Create, Durability, EncryptionKey, KeyPair, Log, MemoryStorage, Proof, ProofRequest,
    UpgradeRequest,
};
use std::error::Error;
use std::time::Instant;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

fn log() -> Result<Log<MemoryStorage>> {
    let pair = KeyPair::from_seed(&[1; 32]);
    Ok(Log::create(MemoryStorage::new(), Create::single(pair.public_key()))?.with_key_pair(pair))
}

fn report(what: &str, count: u64, bytes: u64, since: Instant) {
    let seconds = since.elapsed().as_secs_f64();
    let rate = count as f64 / seconds;
    println!("{what:<40} {rate:>12.0} per s {:>8.0} MiB/s", bytes as f64 / seconds / 1048576.0);
}

fn blocks(count: u64, size: usize) -> Vec<Bytes> {
    (0..count).map(|i| (0..size).map(|j| (i as usize * 31 + j) as u8).collect::<Vec<u8>>().into()).collect()
}

fn append(
    what: &str,
    mut log: Log<MemoryStorage>,
    all: &[Bytes],
    batch: usize,
) -> Result<Log<MemoryStorage>> {
    let since = Instant::now();
    for blocks in all.chunks(batch) {
        log.append(blocks, Durability::Relaxed)?;
    }
    let bytes = all.iter().map(|block| block.len() as u64).sum();
    report(what, all.len() as u64, bytes, since);
    Ok(log)
}

fn request(log: &Log<MemoryStorage>) -> ProofRequest {
    ProofRequest { fork: log.fork(), ..ProofRequest::default() }
}

fn replicate(what: &str, from: &Log<MemoryStorage>, batch: u64) -> Result {
    let manifest = from.manifest().cloned().ok_or("the log has a manifest")?;
    let mut to = Log::create(MemoryStorage::new(), Create::with_manifest(manifest))?;
    let upgrade = Some(UpgradeRequest { start: 0, length: from.length() });
    to.apply(&from.proof(&ProofRequest { upgrade, ..request(from) })?, Durability::Relaxed)?;
    let since = Instant::now();
    let mut asked = 0;
    while asked < from.length() {
        let end = from.length().min(asked + batch);
        let proofs: Vec<Proof> = (asked..end)
            .map(|index| {
                let block = Some(BlockRequest { index, nodes: to.missing_nodes(2 * index)? });
                Ok(from.proof(&ProofRequest { block, ..request(from) })?)
            })
            .collect::<Result<_>>()?;
        for applied in to.apply_all(&proofs, Durability::Relaxed)? {
            applied?;
        }
        asked = end;
    }
    report(what, from.length(), from.byte_length(), since);
    Ok(())
}

/// Everything, or what the first argument names.
fn main() -> Result {
    let only = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let runs = |what: &str| only.as_ref().is_none_or(|only| only == what);
    let small = blocks(200_000, 100);
    if runs("single") {
        append("append 100 B, one at a time", log()?, &small[..20_000], 1)?;
    }
    if runs("ten") {
        append("append 100 B, 10 at a time", log()?, &small, 10)?;
    }
    if runs("encrypted") {
        let encrypted = log()?.with_encryption(EncryptionKey::Log(Secret::new([1; 32])));
        append("append 100 B, 1,000 at a time, encrypted", encrypted, &small, 1000)?;
    }
    let full = append("append 100 B, 1,000 at a time", log()?, &small, 1000)?;
    if runs("get") {
        get(&full)?;
    }
    if runs("replicate") {
        replicate("prove and take 100 B, one at a time", &full, 1)?;
        replicate("prove and take 100 B, 64 at a time", &full, 64)?;
    }
    if runs("large") {
        let large = append("append 64 KiB, 16 at a time", log()?, &blocks(1000, 65536), 16)?;
        replicate("prove and take 64 KiB, one at a time", &large, 1)?;
        replicate("prove and take 64 KiB, 16 at a time", &large, 16)?;
    }
    Ok(())
}

fn get(log: &Log<MemoryStorage>) -> Result {
    let since = Instant::now();
    let mut at = 1_u64;
    for _ in 0..1_000_000 {
        at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        log.get((at >> 33) % log.length())?.ok_or("every block is held")?;
    }
    report("random get of 100 B", 1_000_000, 100_000_000, since);
    Ok(())
}
