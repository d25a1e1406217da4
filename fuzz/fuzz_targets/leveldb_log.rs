//! Logs and MANIFESTs of LevelDB, and what their records say: read or refused, and never more than the bytes hold.
#![no_main]
use cloudpal_leveldb::format::{batch, edit, record};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(records) = record::parse(bytes) {
        assert!(records.whole.iter().map(|(_, record)| record.len()).sum::<usize>() <= bytes.len());
        records.whole.iter().for_each(|(_, record)| look(record));
    }
    // Few inputs have right checksums; behind them, anything may come.
    look(bytes);
    let mut log = Vec::new();
    record::push(&mut log, bytes);
    let parsed = record::parse(&log).expect("it was just written");
    assert_eq!(parsed.whole.len(), 1);
    assert_eq!(parsed.whole[0].1, bytes);
});

fn look(record: &[u8]) {
    if let Some(entries) = batch::parse(record) {
        assert!(entries.iter().map(|(key, _, value)| key.len() + value.len()).sum::<usize>() <= record.len());
    }
    if let Some(known) = edit::parse(record) {
        assert_eq!(edit::parse(&known.encode()), Some(known));
    }
}
