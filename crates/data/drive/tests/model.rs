//! Random programs of operations, judged by a map in memory. `SEED=n` runs one seed; `SEEDS=n` runs that many.
#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use cloudpal_drive::*;
use common::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq)]
enum Expected {
    File { content: Bytes, about: About },
    Link(String),
}

type Model = BTreeMap<String, Expected>;

const NAMES: [&str; 12] =
    ["/a", "/a.txt", "/a/b", "/a0", "/b/c", "/b/c/d", "/b/c/e", "/b0/x", "/ü/日", "/z", "/z/ /y", "/z/.hid"];

fn seeds() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    match (number("SEED"), number("SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, count) => 1..1 + count.unwrap_or(40),
    }
}

fn some_content(random: &mut Random) -> Bytes {
    let length = *random.pick(&[0, 1, 9, 300, 65_535, 65_536, 65_537, 131_072, 200_000]);
    // Few different contents, so that many are equal.
    content(random.below(4) as u32, length)
}

fn some_about(random: &mut Random) -> About {
    let metadata = (random.below(3) == 0).then(|| Metadata::new(&[random.below(9)]).unwrap());
    About { executable: random.below(3) == 0, metadata }
}

/// One random change of drive and model alike.
fn change(random: &mut Random, drive: &Drive, model: &mut Model) {
    let name = *random.pick(&NAMES);
    let at = path(name);
    match random.below(12) {
        0..=3 => {
            let (content, about) = (some_content(random), some_about(random));
            drive.put(&at, content.clone(), about.clone()).unwrap();
            model.insert(name.into(), Expected::File { content, about });
        }
        4 => {
            let (content, about) = (some_content(random), some_about(random));
            drive.put_stream(&at, &mut &content[..], about.clone()).unwrap();
            model.insert(name.into(), Expected::File { content, about });
        }
        5 => {
            let (content, about) = (some_content(random), some_about(random));
            drive.put_file(&at, &mut std::io::Cursor::new(content.clone()), about.clone()).unwrap();
            model.insert(name.into(), Expected::File { content, about });
        }
        6 => {
            let target = random.pick(&NAMES).to_string();
            drive.symlink(&at, &target, None).unwrap();
            model.insert(name.into(), Expected::Link(target));
        }
        7 => assert_eq!(drive.del(&at).unwrap(), model.remove(name).is_some()),
        8 => {
            drive.discard(&at).unwrap();
            model.remove(name);
        }
        9 => drop(drive.reclaim(&[]).unwrap()),
        10 => batch(random, drive, model),
        _ => {
            // Another name for the same content.
            let from = *random.pick(&NAMES);
            if let Some(file) = drive.entry(&path(from)).unwrap() {
                drive.put_entry(&at, &file.entry).unwrap();
                let same = model[from].clone();
                model.insert(name.into(), same);
            }
        }
    }
}

fn batch(random: &mut Random, drive: &Drive, model: &mut Model) {
    let mut after = model.clone();
    let mut batch = drive.batch();
    for _ in 0..random.below(12) {
        let name = *random.pick(&NAMES);
        match random.below(3) {
            0 => {
                batch.del(&path(name)).unwrap();
                after.remove(name);
            }
            _ => {
                let (content, about) = (some_content(random), some_about(random));
                batch.put(&path(name), content.clone(), about.clone()).unwrap();
                after.insert(name.into(), Expected::File { content, about });
            }
        }
    }
    assert_drive(&drive.now(), model, Held::All);
    if random.below(4) > 0 {
        batch.flush().unwrap();
        *model = after;
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Held {
    All,
    Unknown,
}

fn assert_drive(now: &Checkout, model: &Model, held: Held) {
    let files: Vec<FileEntry> = now.list(&Folder::root()).collect::<Result<_, _>>().unwrap();
    let names: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(names, model.keys().collect::<Vec<_>>());
    for (file, expected) in files.iter().zip(model.values()) {
        match expected {
            Expected::Link(target) => assert_eq!(file.entry.linkname.as_ref(), Some(target)),
            Expected::File { content, about } => {
                assert_eq!(file.entry.executable, about.executable);
                assert_eq!(file.entry.metadata, about.metadata);
                assert_eq!(now.byte_length(file).unwrap(), content.len() as u64);
                match now.content(file) {
                    Ok(got) => assert!(got.unwrap() == content, "{}", file.path),
                    // Freed since this version.
                    Err(ReadError::Blob { .. }) if held == Held::Unknown => {}
                    Err(error) => panic!("{}: {error:?}", file.path),
                }
            }
        }
    }
    assert_children(now, model);
}

fn assert_children(now: &Checkout, model: &Model) {
    for at in ["/", "/a", "/b", "/b/c", "/z", "/none"] {
        let mut expected: Vec<String> = Vec::new();
        for rest in
            model.keys().filter_map(|name| name.strip_prefix(&format!("{}/", at.trim_end_matches('/'))))
        {
            let name = match rest.split_once('/') {
                Some((folder, _)) => format!("{folder}/"),
                None => rest.to_owned(),
            };
            if !expected.contains(&name) {
                expected.push(name);
            }
        }
        let children = now.children(&folder(at)).map(|child| match child.unwrap() {
            Child::File(file) => file.path.name().to_owned(),
            Child::Folder(folder) => format!("{}/", folder.name()),
        });
        assert_eq!(children.collect::<Vec<_>>(), expected, "{at}");
    }
}

/// Ranges against slices of the whole.
fn assert_ranges(random: &mut Random, now: &Checkout, model: &Model) {
    for (name, expected) in model {
        let Expected::File { content, .. } = expected else { continue };
        let start = random.below(content.len() as u64 + 10);
        let end = start + random.below(150_000);
        let file = now.entry(&path(name)).unwrap().unwrap();
        let mut got = Vec::new();
        now.read(&file, start..end).unwrap().write_to(&mut got).unwrap();
        let end = (end as usize).min(content.len());
        assert!(got == content[(start as usize).min(end)..end], "{name} {start}..{end}");
    }
}

fn run(seed: u64, options: Options) {
    let mut random = Random(seed);
    let made = TestDrive::new(options);
    let mut model = Model::new();
    let mut past: Vec<(u64, Model)> = Vec::new();
    for _ in 0..40 {
        change(&mut random, &made.drive, &mut model);
        past.push((made.drive.version(), model.clone()));
    }
    assert_drive(&made.drive.now(), &model, Held::All);
    assert_ranges(&mut random, &made.drive.now(), &model);
    for (version, model) in &past {
        assert_drive(&made.drive.checkout(*version).unwrap(), model, Held::Unknown);
    }
    let (version, old) = random.pick(&past).clone();
    assert_diff(&made.drive, version, &old, &model);
    // Nothing that is not used is left, and nothing that is used is gone.
    let held = made.blobs.held();
    let freed = made.drive.reclaim(&[]).unwrap();
    assert_eq!(freed.blocks as usize, held - used(&made, &model));
    assert_eq!(made.drive.reclaim(&[]).unwrap(), Freed::default());
    assert_eq!(made.blobs.held(), used(&made, &model));
    assert_drive(&made.drive.now(), &model, Held::All);
    assert_drive(&made.reader(options).drive.now(), &model, Held::All);
    made.drive.truncate(version).unwrap();
    assert_drive(&made.drive.now(), &old, Held::Unknown);
    // What is known of contents that were cut off must not mislead later puts.
    for name in NAMES {
        made.drive.del(&path(name)).unwrap();
    }
    let mut model = Model::new();
    for _ in 0..10 {
        change(&mut random, &made.drive, &mut model);
    }
    assert_drive(&made.drive.now(), &model, Held::All);
    assert_ranges(&mut random, &made.drive.now(), &model);
}

fn used(made: &TestDrive, model: &Model) -> usize {
    let now = made.drive.now();
    let blobs = model.keys().filter_map(|name| now.entry(&path(name)).unwrap().unwrap().entry.blob);
    let mut blocks: Vec<u64> = blobs.flat_map(|blob| blob.blocks()).collect();
    blocks.sort_unstable();
    blocks.dedup();
    blocks.len()
}

fn assert_diff(drive: &Drive, version: u64, old: &Model, new: &Model) {
    let then = drive.checkout(version).unwrap();
    let mut replayed = old.clone();
    for difference in drive.now().diff(&then, &Folder::root()) {
        let Difference { left, right } = difference.unwrap();
        let name = left.as_ref().or(right.as_ref()).unwrap().path.to_string();
        assert_eq!(right.is_some(), replayed.remove(&name).is_some(), "{name}");
        if left.is_some() {
            replayed.insert(name.clone(), new[&name].clone());
        }
    }
    assert_eq!(&replayed, new);
}

#[test]
fn a_drive_is_a_map_of_files() {
    for seed in seeds() {
        for dedup in [Dedup::EqualFiles, Dedup::Off] {
            println!("SEED={seed} {dedup:?}");
            run(seed, Options { dedup, ..Options::default() });
        }
    }
}
