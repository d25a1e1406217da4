//! Drives and folders made equal, and folders that nothing escapes from.
#![allow(clippy::unwrap_used)]

mod common;

use cloudpal_drive::folder::LocalFolder;
use cloudpal_drive::mirror::*;
use cloudpal_drive::*;
use cloudpal_log::Feed;
use common::*;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

fn go(_: Progress<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn sample(drive: &Drive) {
    for (name, seed, length) in
        [("/a.txt", 1, 5), ("/a/b", 2, 65_536), ("/docs/big", 3, 3_000_000), ("/empty", 4, 0)]
    {
        drive.put(&path(name), content(seed, length), About::default()).unwrap();
    }
    drive.put(&path("/bin/run"), "#!/bin/sh\n", About { executable: true, metadata: None }).unwrap();
    drive.symlink(&path("/docs/absolute"), "/a.txt", None).unwrap();
    drive.symlink(&path("/docs/relative"), "../bin/run", None).unwrap();
    drive.symlink(&path("/dangling"), "nowhere", None).unwrap();
}

/// Everything below, as text: links with their targets, files with their rights and content.
fn tree(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for item in fs::read_dir(root).unwrap() {
        let at = item.unwrap().path();
        let kind = fs::symlink_metadata(&at).unwrap();
        let name = at.file_name().unwrap().to_str().unwrap().to_owned();
        if kind.is_symlink() {
            found.push(format!("{name} -> {}", fs::read_link(&at).unwrap().display()));
        } else if kind.is_dir() {
            found.extend(tree(&at).into_iter().map(|inner| format!("{name}/{inner}")));
        } else {
            let executable = if kind.permissions().mode() & 0o100 != 0 { "*" } else { "" };
            let hash = hex::encode(&cloudpal_log::hash::blake2b(&[&fs::read(&at).unwrap()])[..4]);
            found.push(format!("{name}{executable} {} {hash}", kind.len()));
        }
    }
    found.sort();
    found
}

#[test]
fn a_folder_becomes_the_drive_and_back() {
    let made = TestDrive::new(Options::default());
    sample(&made.drive);
    let dir = tempfile::tempdir().unwrap();
    let folder = LocalFolder::create(dir.path().join("new")).unwrap();
    let options = MirrorOptions::default();

    let dry = MirrorOptions { run: Run::Dry, ..options.clone() };
    let planned = made.drive.now().mirror_to(&folder, &dry, &mut go).unwrap();
    assert_eq!(tree(folder.root()), Vec::<String>::new());
    let done = made.drive.now().mirror_to(&folder, &options, &mut go).unwrap();
    assert_eq!(planned, done);
    assert_eq!((done.files, done.added, done.left_out), (8, 8, 0));
    assert_eq!(done.bytes_added, 5 + 65_536 + 3_000_000 + 10);
    assert_eq!(fs::read(folder.root().join("docs/absolute")).unwrap(), content(1, 5));
    assert_eq!(fs::read_link(folder.root().join("docs/absolute")).unwrap(), Path::new("../a.txt"));
    assert_eq!(
        fs::metadata(folder.root().join("bin/run")).unwrap().permissions().mode() & 0o111,
        0o111 & !umask()
    );

    let again = made.drive.now().mirror_to(&folder, &options, &mut go).unwrap();
    assert_eq!((again.equal, again.added + again.changed + again.removed), (8, 0));

    // Into another drive, which is then equal file by file.
    let other = TestDrive::new(Options::default());
    let taken = other.drive.mirror_from(&folder, &options, &mut go).unwrap();
    assert_eq!((taken.added, taken.left_out, taken.bytes_added), (8, 0, done.bytes_added));
    let version = other.drive.version();
    let again = other.drive.mirror_from(&folder, &options, &mut go).unwrap();
    assert_eq!((again.equal, again.added + again.changed + again.removed), (8, 0));
    assert_eq!(other.drive.version(), version);
    let listed = |drive: &Drive| -> Vec<_> {
        let now = drive.now();
        now.list(&Folder::root())
            .map(|file| file.unwrap())
            .map(|file| (file.path.clone(), file.entry.executable, now.content(&file).unwrap()))
            .collect()
    };
    assert_eq!(listed(&made.drive), listed(&other.drive));
}

fn umask() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:")).unwrap();
    u32::from_str_radix(line.trim(), 8).unwrap()
}

#[test]
fn only_what_differs_is_written() {
    let made = TestDrive::new(Options::default());
    sample(&made.drive);
    let dir = tempfile::tempdir().unwrap();
    let folder = LocalFolder::open(dir.path()).unwrap();
    let options = MirrorOptions::default();
    made.drive.now().mirror_to(&folder, &options, &mut go).unwrap();
    let untouched = fs::metadata(dir.path().join("docs/big")).unwrap().modified().unwrap();

    fs::write(dir.path().join("a.txt"), "other").unwrap();
    fs::write(dir.path().join("extra"), "extra").unwrap();
    fs::create_dir_all(dir.path().join("deep/er")).unwrap();
    fs::write(dir.path().join("deep/er/x"), "x").unwrap();
    fs::set_permissions(dir.path().join("bin/run"), fs::Permissions::from_mode(0o600)).unwrap();
    let kept = MirrorOptions { surplus: Surplus::Keep, ..options.clone() };
    let mut told = Vec::new();
    let mut watch = |progress: Progress<'_>| {
        if let Progress::Step(step) = progress {
            told.push((step.op, step.path.to_owned()));
        }
        ControlFlow::Continue(())
    };
    made.drive.now().mirror_to(&folder, &kept, &mut watch).unwrap();
    told.retain(|(op, _)| *op != Op::Equal);
    assert_eq!(told, [(Op::Change, "/a.txt".into()), (Op::Rights, "/bin/run".into())]);
    assert_eq!(fs::read(dir.path().join("extra")).unwrap(), b"extra");

    // What a mirror left that was killed goes with the surplus, and is never taken for a file.
    fs::write(dir.path().join("bin/.cloudpal-part-0123456789abcdef"), "half").unwrap();
    assert_eq!(
        made.drive.mirror_from(&folder, &MirrorOptions { run: Run::Dry, ..kept }, &mut go).unwrap().left_out,
        0
    );
    let ignoring = MirrorOptions { ignore: Ignore::paths(["/deep"]).unwrap(), ..options.clone() };
    assert_eq!(made.drive.now().mirror_to(&folder, &ignoring, &mut go).unwrap().removed, 1);
    assert!(dir.path().join("deep/er/x").exists());
    assert!(!dir.path().join("bin/.cloudpal-part-0123456789abcdef").exists());
    assert_eq!(made.drive.now().mirror_to(&folder, &options, &mut go).unwrap().removed, 1);
    assert!(!dir.path().join("deep").exists());
    assert_eq!(fs::metadata(dir.path().join("docs/big")).unwrap().modified().unwrap(), untouched);

    // The other way.
    fs::write(dir.path().join("a.txt"), "from the folder").unwrap();
    fs::remove_file(dir.path().join("docs/big")).unwrap();
    fs::set_permissions(dir.path().join("bin/run"), fs::Permissions::from_mode(0o600)).unwrap();
    let before = made.blobs.held();
    let freeing = MirrorOptions { old_contents: OldContents::Free, ..options.clone() };
    let done = made.drive.mirror_from(&folder, &freeing, &mut go).unwrap();
    assert_eq!((done.added, done.changed, done.removed), (0, 2, 1));
    assert_eq!(made.blobs.held(), before - 46 - 1 + 1);
    assert!(!made.drive.entry(&path("/bin/run")).unwrap().unwrap().entry.executable);
    assert_eq!(made.drive.get(&path("/a.txt")).unwrap().unwrap(), "from the folder");

    // Only a part, and only that part loses its surplus.
    fs::write(dir.path().join("docs/new"), "new").unwrap();
    fs::write(dir.path().join("new"), "new").unwrap();
    let part = MirrorOptions { folder: common::folder("/docs"), ..options };
    let done = made.drive.mirror_from(&folder, &part, &mut go).unwrap();
    assert_eq!((done.added, done.changed, done.removed), (1, 0, 0));
    assert!(made.drive.entry(&path("/new")).unwrap().is_none());
}

#[test]
fn a_mirror_that_was_stopped_goes_on() {
    let made = TestDrive::new(Options::default());
    let dir = tempfile::tempdir().unwrap();
    for number in 0..30 {
        fs::write(dir.path().join(format!("{number:02}")), content(number, 40_000)).unwrap();
    }
    fs::write(dir.path().join("big"), content(99, 5_000_000)).unwrap();
    let folder = LocalFolder::open(dir.path()).unwrap();
    let options = MirrorOptions::default();
    for into_folder in [false, true] {
        let target = tempfile::tempdir().unwrap();
        let target_folder = LocalFolder::open(target.path()).unwrap();
        let run = |watch: Watch<'_>| match into_folder {
            false => made.drive.mirror_from(&folder, &options, watch),
            true => made.drive.now().mirror_to(&target_folder, &options, watch),
        };
        // Once after some files, once within the big one.
        let mut steps = 0;
        let stopped = run(&mut |progress| {
            steps += u32::from(matches!(progress, Progress::Step(_)));
            if steps > 20 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(matches!(stopped, Err(MirrorError::Stopped)));
        // An import looks at the whole file before it stores it.
        let (mut passes, mut last) = (0, 0);
        let stopped = run(&mut |progress| match progress {
            Progress::Bytes { done, path: "/big", .. } => {
                passes += u32::from(done < last);
                last = done;
                let stored = into_folder || passes > 0;
                if stored && done > 4_500_000 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            }
            _ => ControlFlow::Continue(()),
        });
        assert!(matches!(stopped, Err(MirrorError::Stopped)));
        let done = run(&mut go).unwrap();
        assert!(done.equal >= 30 && done.added == 1, "{done:?}");
        if into_folder {
            assert_eq!(tree(target.path()), tree(dir.path()));
        }
    }
    // What the stopped import had stored of the big file was freed.
    assert_eq!(made.drive.reclaim(&[]).unwrap(), Freed::default());
    assert!(
        made.blobs.held() < made.blobs.length() as usize,
        "the import was stopped before it stored anything"
    );
}

/// A drive full of traps: nothing outside the folder changes, the honest file arrives, each trap is told.
#[test]
fn nothing_escapes_the_folder() {
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("victim");
    fs::write(&victim, "untouched").unwrap();
    let root = outside.path().join("root");
    fs::create_dir(&root).unwrap();
    // Planted by someone who could write in the folder before.
    symlink(outside.path(), root.join("planted")).unwrap();
    symlink(&victim, root.join("overwritten")).unwrap();
    let before = tree(outside.path());

    let made = TestDrive::new(Options::default());
    let map = cloudpal_bee::Bee::new(made.map.clone(), Default::default()).sub("files");
    let raw = |key: &[u8], value: &str| assert!(map.put(key, value).unwrap().is_some());
    let link = |target: &str| {
        let entry = Entry { linkname: Some(target.into()), ..Entry::default() };
        String::from_utf8(entry.encode()).unwrap()
    };
    made.drive.put(&path("/honest"), "honest", About::default()).unwrap();
    let entry = made.drive.entry(&path("/honest")).unwrap().unwrap().entry;
    let file = String::from_utf8(entry.encode()).unwrap();
    for key in [
        "/../victim",
        "/x/../../victim",
        "//victim",
        "/./victim",
        "victim",
        "",
        "/",
        "/a/",
        "/..",
        "/a\\..\\victim",
    ] {
        raw(key.as_bytes(), &file);
    }
    raw(b"/\xff", &file);
    for (key, value) in [
        ("/planted/victim", &file),
        ("/out", &link("../victim")),
        ("/out-absolute", &link("/../victim")),
        ("/sub/out", &link("x/../../../victim")),
        ("/dir", &link("/")),
        ("/dir/victim", &file),
        ("/up", &link("dir/..")),
        ("/nul\0name", &file),
        ("/.cloudpal-part-0", &file),
        ("/overwritten", &file),
    ] {
        raw(key.as_bytes(), value);
    }
    raw(format!("/{}", "x".repeat(256)).as_bytes(), &file);
    raw(format!("/{}", "d/".repeat(3000) + "f").as_bytes(), &file);
    raw(b"/broken", "{");
    raw(b"/huge", &file.replace(r#""byteLength":6"#, r#""byteLength":9007199254740000"#));
    raw(b"/far", &file.replace(r#""blockOffset":0"#, r#""blockOffset":4503599627370496"#));

    let folder = LocalFolder::open(&root).unwrap();
    let keep = MirrorOptions { surplus: Surplus::Keep, ..MirrorOptions::default() };
    let mut left_out = Vec::new();
    let done = made
        .drive
        .now()
        .mirror_to(&folder, &keep, &mut |progress| {
            if let Progress::Step(Step { op: Op::LeaveOut, path, reason, .. }) = progress {
                left_out.push(path.to_owned());
                assert!(!reason.unwrap().to_string().is_empty());
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    assert_eq!(fs::read_to_string(root.join("honest")).unwrap(), "honest");
    // The link was replaced, not written through.
    assert_eq!(fs::read_to_string(root.join("overwritten")).unwrap(), "honest");
    assert_eq!(done.left_out, left_out.len() as u64);
    for name in [
        "/planted/victim",
        "/out",
        "/sub/out",
        "/dir/victim",
        "/broken",
        "/huge",
        "/far",
        "/.cloudpal-part-0",
    ] {
        assert!(left_out.iter().any(|left| left == name), "{name} is not among {left_out:?}");
    }
    let after: Vec<String> =
        tree(outside.path()).into_iter().filter(|line| !line.starts_with("root/")).collect();
    let before: Vec<String> = before.into_iter().filter(|line| !line.starts_with("root/")).collect();
    assert_eq!(after, before);
    // Every link that was made stays inside, also as the file system resolves it.
    for line in tree(&root).iter().filter(|line| line.contains(" -> ") && !line.contains("planted")) {
        let at = root.join(line.split(" -> ").next().unwrap());
        if let Ok(resolved) = at.canonicalize() {
            assert!(resolved.starts_with(root.canonicalize().unwrap()), "{line}");
        }
    }
    // Deleting what the drive does not have goes through no link either.
    made.drive.now().mirror_to(&folder, &MirrorOptions::default(), &mut go).unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    // The planted link is gone, and a real folder has taken its place.
    assert!(fs::symlink_metadata(root.join("planted")).unwrap().is_dir());
    assert_eq!(fs::read_to_string(root.join("planted/victim")).unwrap(), "honest");
}

/// What a folder has that no drive can say is left out; what leads outside is not read.
#[test]
fn nothing_outside_is_taken() {
    use std::os::unix::ffi::OsStrExt as _;
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let root = outside.path().join("root");
    fs::create_dir_all(root.join("sub")).unwrap();
    symlink(outside.path(), root.join("all")).unwrap();
    symlink("../../secret", root.join("sub/secret")).unwrap();
    symlink(root.canonicalize().unwrap().join("fine"), root.join("sub/inside")).unwrap();
    fs::write(root.join("fine"), "fine").unwrap();
    fs::write(root.join("back\\slash"), "x").unwrap();
    fs::write(root.join(std::ffi::OsStr::from_bytes(b"not-\xff-text")), "x").unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        root.join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let made = TestDrive::new(Options::default());
    let folder = LocalFolder::open(&root).unwrap();
    let mut left_out = Vec::new();
    let done = made
        .drive
        .mirror_from(&folder, &MirrorOptions::default(), &mut |progress| {
            if let Progress::Step(Step { op: Op::LeaveOut, path, .. }) = progress {
                left_out.push(path.to_owned());
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!((done.added, done.left_out), (2, 5));
    left_out.sort();
    assert_eq!(left_out, ["/all", "/back\\\\slash", "/not-\\xff-text", "/pipe", "/sub/secret"]);
    let names: Vec<_> =
        made.drive.now().list(&Folder::root()).map(|file| file.unwrap().path.to_string()).collect();
    assert_eq!(names, ["/fine", "/sub/inside"]);
    assert_eq!(
        made.drive.entry(&path("/sub/inside")).unwrap().unwrap().entry.linkname.as_deref(),
        Some("/fine")
    );
    assert!(made.blobs.blocks().iter().flatten().all(|block| block != "secret"));
}

/// A file where the drive has a folder, and the other way round.
#[test]
fn what_is_in_the_way_is_told_or_goes() {
    let made = TestDrive::new(Options::default());
    made.drive.put(&path("/a/b"), "b", About::default()).unwrap();
    made.drive.put(&path("/c"), "c", About::default()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), "file").unwrap();
    fs::create_dir(dir.path().join("c")).unwrap();
    fs::write(dir.path().join("c/d"), "file").unwrap();
    let folder = LocalFolder::open(dir.path()).unwrap();
    let keep = MirrorOptions { surplus: Surplus::Keep, ..MirrorOptions::default() };
    let done = made.drive.now().mirror_to(&folder, &keep, &mut go).unwrap();
    assert_eq!(done.left_out, 2);
    assert_eq!(fs::read_to_string(dir.path().join("a")).unwrap(), "file");
    let done = made.drive.now().mirror_to(&folder, &MirrorOptions::default(), &mut go).unwrap();
    assert_eq!((done.left_out, done.removed, done.added), (0, 2, 2));
    assert_eq!(fs::read_to_string(dir.path().join("a/b")).unwrap(), "b");
    // A drive can hold both; a folder cannot.
    made.drive.put(&path("/c/e"), "e", About::default()).unwrap();
    let done = made.drive.now().mirror_to(&folder, &MirrorOptions::default(), &mut go).unwrap();
    assert_eq!((done.left_out, done.equal), (1, 2));
}

/// Peers are asked for many files before the first is read.
#[test]
fn a_reader_asks_ahead() {
    let made = TestDrive::new(Options::default());
    for number in 0..20 {
        made.drive.put(&path(&format!("/{number:02}")), content(number, 100), About::default()).unwrap();
    }
    let reader = made.reader(Options::default());
    let dir = tempfile::tempdir().unwrap();
    let folder = LocalFolder::open(dir.path()).unwrap();
    let stopped =
        reader.drive.now().mirror_to(&folder, &MirrorOptions::default(), &mut |_| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(MirrorError::Stopped)));
    let mut asked: Vec<u64> = reader.blobs.asked.lock().unwrap().iter().cloned().flatten().collect();
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(asked, (0..20).collect::<Vec<_>>());
    reader.drive.now().mirror_to(&folder, &MirrorOptions::default(), &mut go).unwrap();
    assert_eq!(tree(dir.path()).len(), 20);
}
