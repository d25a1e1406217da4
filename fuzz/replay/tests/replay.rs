//! Each target with its committed corpus and a fixed run of mutations. `cargo xtask fuzz` is the long one.

use libfuzzer_sys::Mutator;
use std::path::Path;

include!(concat!(env!("OUT_DIR"), "/targets.rs"));

const SEED: u64 = 1;

/// Mutations of each corpus.
const RUNS: usize = 2000;

/// Leaves the input behind when a target panics, since the panic itself does not name it.
struct Culprit<'a>(&'a str, Vec<u8>);

impl Drop for Culprit<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("target {}, seed {SEED}, input {:02x?}", self.0, self.1);
        }
    }
}

fn replay(target: &str, run: fn(&[u8])) {
    let corpus = corpus(target);
    for input in &corpus {
        let culprit = Culprit(target, input.clone());
        run(&culprit.1);
    }
    let mut mutator = Mutator::new(SEED);
    for _ in 0..RUNS {
        let culprit = Culprit(target, mutator.next(&corpus));
        run(&culprit.1);
    }
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| {
        panic!("{}: {error}; make it by `cargo xtask fuzz {target} --keep`", folder.display())
    });
    let mut paths: Vec<_> = files.flatten().map(|file| file.path()).collect();
    paths.sort();
    let corpus: Vec<_> =
        paths.iter().map(|path| std::fs::read(path).expect("a file of the corpus can be read")).collect();
    assert!(!corpus.is_empty(), "{} is empty", folder.display());
    corpus
}
