//! What the database must show, by the definition in `docs/database.md` and in the plainest way: all entries in a list, and a write
//! is visible when no entry that has seen it writes over it.

use crate::checkpoints::Settled;
use bytes::Bytes;
use cloudpal_core::{PublicKey, Secret};
use cloudpal_db::record::{Admission, Cut, Record, Role, Says, SignedRecord};
use cloudpal_db::wire::{Block, Entry, EpochKey, Header, Op, Part};
use cloudpal_db::{ClientId, Dot, Heads, Kind, Stamp, Sub, WriterId};
use std::collections::{BTreeMap, BTreeSet};

/// An entry as a log has it.
struct Placed {
    dot: Dot,
    /// Everything it has seen, of its own log everything before it.
    seen: Heads,
    entry: Entry,
}

/// One write that is visible.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Visible {
    /// When.
    pub stamp: Stamp,
    /// By whom and where.
    pub dot: Dot,
    /// What.
    pub value: Bytes,
}

/// Where a write goes: sub-database, key and path.
pub type Row = (Sub, Bytes, Bytes);

/// What the database must show.
#[derive(Debug, Default)]
pub struct Model {
    /// The visible writes of each row, the winner first.
    pub rows: BTreeMap<Row, Vec<Visible>>,
    /// What each counter shows.
    pub counters: BTreeMap<(Sub, Bytes), i128>,
    /// The updates of each text, in the writers' order.
    pub texts: BTreeMap<(Sub, Bytes), Vec<Bytes>>,
    /// Entries that count.
    pub entries: BTreeSet<Dot>,
    /// Of how many blocks of each member's log anything counts.
    pub limits: BTreeMap<ClientId, u64>,
}

#[derive(Clone)]
struct Allowed {
    admission: Option<Admission>,
    cut: Option<u64>,
    /// What lies before a checkpoint counts whatever is said.
    settled: u64,
}

impl Allowed {
    fn limit(&self) -> u64 {
        self.cut.map_or(u64::MAX, |cut| cut.max(self.settled))
    }
}

type Allowances = BTreeMap<ClientId, (WriterId, Allowed)>;

/// A record, where it lies, and what it says.
type Found = (SignedRecord, Record, Dot);

/// How far a log was read, and what its entries have seen.
#[derive(Default)]
struct Reading {
    at: u64,
    seen: Heads,
}

impl Model {
    /// Out of all logs there are, all secrets that were ever drawn, and the checkpoints that were made, each upon the one before it.
    pub fn of(
        database: WriterId,
        logs: &BTreeMap<WriterId, Vec<Bytes>>,
        secrets: &[[u8; 32]],
        settled: &[Settled],
    ) -> Self {
        let Some((owner, signer)) = founder(database, logs) else { return Model::default() };
        let writers: BTreeMap<ClientId, WriterId> =
            logs.keys().map(|writer| (writer.client(), *writer)).collect();
        let mut readings: BTreeMap<ClientId, Reading> = BTreeMap::new();
        let (mut entries, mut before) = (Vec::new(), Heads::new());
        // What lies before a checkpoint counts by what was known when it was made, and knows nothing of what lies behind it.
        for checkpoint in settled {
            let found = checkpoint.records.iter().flat_map(|(signed, places)| known(signed, places));
            let allowed = members(database, (owner, signer), &found.collect::<Vec<_>>(), &before);
            for (client, end) in checkpoint.heads.iter() {
                let Some(writer) = writers.get(&client) else { continue };
                let reading = readings.entry(client).or_default();
                let allowed = allowed.get(&client).map(|(_, allowed)| allowed);
                let mut new = read(*writer, &logs[writer], end, allowed, secrets, reading);
                for placed in &mut new {
                    let clip = |(of, length): (ClientId, u64)| (of, length.min(checkpoint.heads.get(of)));
                    placed.seen = placed.seen.iter().map(clip).collect();
                }
                entries.append(&mut new);
                reading.at = end;
            }
            before = checkpoint.heads.clone();
        }
        let mut found = records(database, logs);
        found.retain(|(signed, _, dot)| signed.signer() == owner || dot.position >= before.get(dot.client));
        if let Some(last) = settled.last() {
            found.extend(last.records.iter().flat_map(|(signed, places)| known(signed, places)));
        }
        let allowed = members(database, (owner, signer), &found, &before);
        for (client, (writer, allowed)) in &allowed {
            if let Some(log) = logs.get(writer) {
                let reading = readings.entry(*client).or_default();
                let end = (log.len() as u64).min(allowed.limit());
                entries.append(&mut read(*writer, log, end, Some(allowed), secrets, reading));
            }
        }
        let mut model = Model {
            entries: entries.iter().map(|placed| placed.dot).collect(),
            limits: allowed.iter().map(|(client, (_, allowed))| (*client, allowed.limit())).collect(),
            ..Model::default()
        };
        model.rows(&entries);
        model.count(&entries);
        model.collect(&entries);
        model
    }

    fn rows(&mut self, entries: &[Placed]) {
        let mut ops: BTreeMap<&Sub, Vec<(usize, usize)>> = BTreeMap::new();
        for (at, placed) in entries.iter().enumerate() {
            for (nth, op) in placed.entry.ops.iter().enumerate() {
                ops.entry(placed.entry.sub(op)).or_default().push((at, nth));
            }
        }
        for (at, nth) in ops.values().flatten() {
            let placed = &entries[*at];
            let op = &placed.entry.ops[*nth];
            let Some((row, value)) = written(&placed.entry, op) else { continue };
            let gone = ops[&row.0].iter().any(|(other, other_nth)| {
                let over = &entries[*other];
                let later = if at == other { other_nth > nth } else { over.seen.contains(placed.dot) };
                later && covers(&over.entry, &over.entry.ops[*other_nth], &row)
            });
            if !gone {
                let visible = Visible { stamp: placed.entry.stamp, dot: placed.dot, value };
                self.rows.entry(row).or_default().push(visible);
            }
        }
        for row in self.rows.values_mut() {
            row.sort_by_key(|visible| std::cmp::Reverse((visible.stamp, visible.dot)));
        }
    }

    fn count(&mut self, entries: &[Placed]) {
        type Counted = BTreeMap<(Sub, Bytes, ClientId), ((u64, u32), i64)>;
        let (mut totals, mut bases) = (Counted::new(), Counted::new());
        for placed in entries {
            for (change, op) in (0..).zip(&placed.entry.ops) {
                let sub = placed.entry.sub(op);
                match op {
                    Op::Total { key, total, .. } => {
                        let place = (sub.clone(), key.clone(), placed.dot.client);
                        let at = (placed.dot.position, change);
                        let last = totals.entry(place).or_insert((at, *total));
                        if at >= last.0 {
                            *last = (at, *total);
                        }
                    }
                    Op::Reset { key, bases: seen, .. } => {
                        for base in seen {
                            let place = (sub.clone(), key.clone(), base.client);
                            let seen = ((base.position, base.change), base.total);
                            let known = bases.entry(place).or_insert(seen);
                            *known = seen.max(*known);
                        }
                    }
                    _ => {}
                }
            }
        }
        for ((sub, key, client), (place, total)) in totals {
            let base = bases.get(&(sub.clone(), key.clone(), client)).copied();
            if base.is_some_and(|(at, _)| at >= place) {
                continue;
            }
            let part = i128::from(total) - i128::from(base.map_or(0, |(_, total)| total));
            *self.counters.entry((sub, key)).or_default() += part;
        }
    }

    fn collect(&mut self, entries: &[Placed]) {
        let mut sorted: Vec<&Placed> = entries.iter().collect();
        sorted.sort_by_key(|placed| placed.dot);
        for placed in sorted {
            for op in &placed.entry.ops {
                if let Op::Text { key, update, .. } = op {
                    let place = (placed.entry.sub(op).clone(), key.clone());
                    self.texts.entry(place).or_default().push(update.clone());
                }
            }
        }
    }
}

/// The row that a change writes to, and what.
fn written(entry: &Entry, op: &Op) -> Option<(Row, Bytes)> {
    match op {
        Op::Set { key, path, value, .. } => {
            Some(((entry.sub(op).clone(), key.clone(), path.clone()), value.clone()))
        }
        Op::Text { key, .. } => Some(((entry.sub(op).clone(), key.clone(), Bytes::new()), Bytes::new())),
        _ => None,
    }
}

/// Whether a change makes earlier writes to `row` invisible.
fn covers(entry: &Entry, op: &Op, (sub, key, path): &Row) -> bool {
    if entry.sub(op) != sub {
        return false;
    }
    match op {
        Op::Set { key: other, path: at, .. } => other == key && at == path,
        Op::Text { key: other, .. } => other == key,
        Op::Kill { key: other, path: at, .. } => other == key && path.starts_with(at),
        Op::Clear { from, to, .. } => key >= from && to.as_ref().is_none_or(|to| key < to),
        _ => false,
    }
}

/// The next entries of one log that count, up to `end`; none if its writer has no say.
fn read(
    writer: WriterId,
    log: &[Bytes],
    end: u64,
    allowed: Option<&Allowed>,
    secrets: &[[u8; 32]],
    reading: &mut Reading,
) -> Vec<Placed> {
    let (client, mut entries) = (writer.client(), Vec::new());
    let Reading { at, seen } = reading;
    while *at < end {
        let Ok(Block::Part(first)) = Block::decode(&log[*at as usize]) else {
            *at += 1;
            continue;
        };
        let behind = *at + first.parts;
        if behind > end || first.part > 0 {
            *at += 1;
            continue;
        }
        let texts: Option<Vec<Vec<u8>>> = (*at..behind)
            .map(|position| match Block::decode(&log[position as usize]) {
                Ok(Block::Part(part)) => open(&part, &writer, position, secrets),
                _ => None,
            })
            .collect();
        let entry = texts.and_then(|texts| Entry::decode(&texts.concat().into()).ok());
        let position = *at;
        *at = behind;
        let Some(entry) = entry else { continue };
        seen.merge(&entry.seen);
        seen.see(client, position);
        let may =
            |allowed: &Allowed| entry.ops.iter().all(|op| may(allowed, entry.sub(op), entry.stamp.wall_ms));
        if allowed.is_some_and(may) {
            let dot = Dot { client, position };
            entries.push(Placed { dot, seen: seen.clone(), entry });
        }
        seen.see(client, behind);
    }
    entries
}

fn may(allowed: &Allowed, sub: &Sub, wall_ms: u64) -> bool {
    let Some(admission) = &allowed.admission else { return true };
    let rights = &admission.rights;
    let within =
        |path: &String| sub.name() == path || path.is_empty() || sub.name().starts_with(&format!("{path}/"));
    rights.role != Role::Reader
        && rights.until_ms.is_none_or(|until| wall_ms < until)
        && (rights.scope.is_empty() || rights.scope.iter().any(within))
}

fn open(part: &Part, writer: &WriterId, position: u64, secrets: &[[u8; 32]]) -> Option<Vec<u8>> {
    let keys = secrets.iter().map(|secret| EpochKey(Secret::new(*secret)));
    keys.filter(|key| key.id(part.epoch.number) == part.epoch)
        .find_map(|key| part.open(&key, writer, position))
}

/// The owner, and who signs the founder's own records.
fn founder(database: WriterId, logs: &BTreeMap<WriterId, Vec<Bytes>>) -> Option<(PublicKey, PublicKey)> {
    match Block::decode(logs.get(&database)?.first()?) {
        Ok(Block::Header(Header::Founder { owner, signer, .. })) => Some((owner, signer)),
        _ => None,
    }
}

/// All records in the logs.
fn records(database: WriterId, logs: &BTreeMap<WriterId, Vec<Bytes>>) -> Vec<Found> {
    let mut records = Vec::new();
    for (writer, log) in logs {
        for (position, block) in (0..).zip(log) {
            let Ok(Block::Records(found)) = Block::decode(block) else { continue };
            let dot = Dot { client: writer.client(), position };
            for signed in found {
                if let Some(record) = signed.verify().filter(|record| record.database == database.0) {
                    records.push((signed, record, dot));
                }
            }
        }
    }
    records
}

fn known(signed: &SignedRecord, places: &[Dot]) -> Vec<Found> {
    let record = signed.verify();
    record.map_or_else(Vec::new, |record| {
        places.iter().map(|dot| (signed.clone(), record.clone(), *dot)).collect()
    })
}

/// Who may write how much: the owner's word wherever it lies, a manager's in the part of his log that counts.
fn members(
    database: WriterId,
    (owner, founder_signer): (PublicKey, PublicKey),
    records: &[Found],
    settled: &Heads,
) -> Allowances {
    let mut members = BTreeMap::new();
    members.insert(database.client(), (database, allowed(None, database.client(), settled)));
    let by = |key: PublicKey| records.iter().filter(move |(signed, ..)| signed.signer() == key);
    let mut word: Vec<(u64, [u8; 32], &Record)> =
        by(owner).map(|(signed, record, _)| (record.signed_ms, signed.digest(), record)).collect();
    word.sort_by_key(|(signed_ms, digest, _)| (*signed_ms, *digest));
    for (_, _, record) in word {
        admit(&mut members, record, settled);
    }
    let owner_cuts: Vec<&Cut> = by(owner).filter_map(|(_, record, _)| cut(record)).collect();
    let cut_all = |members: &mut Allowances, cuts: &[&Cut]| {
        for cut in cuts {
            if let Some((_, allowed)) = members.get_mut(&WriterId(cut.writer).client()) {
                allowed.cut = Some(allowed.cut.map_or(cut.length, |lower| lower.min(cut.length)));
            }
        }
    };
    cut_all(&mut members, &owner_cuts);
    let manages = |allowed: &Allowed| {
        allowed.admission.as_ref().is_none_or(|admission| admission.rights.role == Role::Manager)
    };
    let managers: Vec<(ClientId, PublicKey, u64)> = members
        .iter()
        .filter(|(_, (_, allowed))| manages(allowed))
        .map(|(client, (_, allowed))| {
            let signer =
                allowed.admission.as_ref().map_or(founder_signer, |admission| admission.candidate.signer);
            (*client, signer, allowed.limit())
        })
        .collect();
    let mut word: Vec<(u64, [u8; 32], &Record)> = records
        .iter()
        .filter(|(signed, _, dot)| {
            managers.iter().any(|(client, signer, limit)| {
                *signer == signed.signer() && dot.client == *client && dot.position < *limit
            })
        })
        .map(|(signed, record, _)| (record.signed_ms, signed.digest(), record))
        .collect();
    word.sort_by_key(|(signed_ms, digest, _)| (*signed_ms, *digest));
    let word: Vec<&Record> = word.into_iter().map(|(_, _, record)| record).collect();
    let known: BTreeSet<ClientId> = members.keys().copied().collect();
    for record in &word {
        if let Says::Admit(admission) = &record.says
            && !known.contains(&admission.candidate.writer().client())
            && admission.rights.role != Role::Manager
        {
            admit(&mut members, record, settled);
        }
    }
    cut_all(&mut members, &owner_cuts);
    let spared: BTreeSet<ClientId> = members
        .iter()
        .filter(|(_, (_, allowed))| manages(allowed) || allowed.cut.is_some())
        .map(|(client, _)| *client)
        .collect();
    let cuts: Vec<&Cut> = word.iter().filter_map(|record| cut(record)).collect();
    let cuts: Vec<&Cut> =
        cuts.into_iter().filter(|cut| !spared.contains(&WriterId(cut.writer).client())).collect();
    cut_all(&mut members, &cuts);
    members
}

fn allowed(admission: Option<Admission>, client: ClientId, settled: &Heads) -> Allowed {
    Allowed { admission, cut: None, settled: settled.get(client) }
}

fn admit(members: &mut Allowances, record: &Record, settled: &Heads) {
    if let Says::Admit(admission) = &record.says {
        let writer = admission.candidate.writer();
        let allowed = allowed(Some(admission.clone()), writer.client(), settled);
        members.insert(writer.client(), (writer, allowed));
    }
}

fn cut(record: &Record) -> Option<&Cut> {
    match &record.says {
        Says::Cut(cut) => Some(cut),
        _ => None,
    }
}

/// What a text's updates come to.
pub fn text(updates: &[Bytes]) -> String {
    use yrs::updates::decoder::Decode as _;
    use yrs::{GetString as _, Transact as _};
    let doc = yrs::Doc::with_client_id(0);
    let text = doc.get_or_insert_text("text");
    let mut change = doc.transact_mut();
    for update in updates {
        if let Ok(update) = yrs::Update::decode_v1(update) {
            let _ = change.apply_update(update);
        }
    }
    text.get_string(&change)
}

/// Whether rows of this kind can be in conflict.
pub const fn can_conflict(kind: Kind) -> bool {
    matches!(kind, Kind::Register | Kind::Json)
}
