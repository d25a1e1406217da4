//! Lists the targets, so that a new one is replayed as soon as its file is there.

use std::path::Path;
use std::{env, fs};

fn main() {
    let here = env::var("CARGO_MANIFEST_DIR").expect("cargo says where the crate lies");
    let targets = Path::new(&here).join("../fuzz_targets");
    println!("cargo::rerun-if-changed={}", targets.display());
    let files = fs::read_dir(&targets).expect("the folder of targets is there");
    let mut names: Vec<String> = files
        .flatten()
        .filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".rs")?.to_owned()))
        .collect();
    names.sort();
    let mut source = String::new();
    for name in names {
        let path = targets.join(format!("{name}.rs"));
        // Lints judge each target in its own workspace; here it is only run.
        source += &format!(
            "mod {name} {{ #[path = {path:?}] #[allow(unused_attributes, clippy::all)] mod target; \
             #[test] fn holds() {{ crate::replay({name:?}, target::run); }} }}\n"
        );
    }
    let out = env::var("OUT_DIR").expect("cargo says where generated sources go");
    fs::write(Path::new(&out).join("targets.rs"), source).expect("the list can be written");
}
