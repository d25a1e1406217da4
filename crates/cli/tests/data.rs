//! `cloudpal log`, `bee` and `drive` as a stranger runs them: folders on one machine, no `cloudpal init`, and two
//! programs that meet over TCP or on a distributed hash table of this machine.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use cloudpal_bee::Bee;
use cloudpal_cli::local;
use cloudpal_cli::person::Person;
use cloudpal_shelf::Kind;
use cloudpal_swarm::Node;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

/// Runs `cloudpal` with a configuration folder and a store of its own below `dir`.
fn cloudpal(dir: &Path, words: &str, input: &[u8]) -> Output {
    let mut child = command(dir, words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that reads no input ends without it.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn command(dir: &Path, words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloudpal"));
    command.arg("--config").arg(dir.join("config")).args(words.split(' '));
    if !words.contains("--pal") {
        command.arg("--store").arg(dir.join("store"));
    }
    command
}

#[track_caller]
fn ends(output: &Output, code: i32, saying: &str) {
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(saying), "`{saying}` is not in: {said}");
}

#[track_caller]
fn json(dir: &Path, words: &str, input: &[u8]) -> Value {
    let output = cloudpal(dir, &format!("{words} --json"), input);
    ends(&output, 0, "");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A `serve` that is ready; ended by SIGTERM when dropped.
struct Serving {
    child: Child,
    says: Value,
}

impl Serving {
    fn start(dir: &Path, words: &str) -> Self {
        Serving::ready(dir, &format!("{words} --listen 127.0.0.1:0"))
    }

    /// Without an address to wait at.
    fn ready(dir: &Path, words: &str) -> Self {
        let mut child = command(dir, &format!("{words} --json")).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Serving { child, says: serde_json::from_str(&line).unwrap() }
    }

    fn address(&self) -> &str {
        self.says["address"].as_str().unwrap()
    }

    fn end(mut self) -> Option<i32> {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Only a test that failed before `end` comes here with a child alive.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_log_is_made_written_read_cut_and_checked() {
    let dir = tempfile::tempdir().unwrap();
    let made = json(dir.path(), "log create diary", b"");
    let (key, z32) = (made["key"].as_str().unwrap(), made["key_z32"].as_str().unwrap());
    assert_eq!((key.len(), z32.len()), (64, 52));
    assert_eq!(
        json(dir.path(), "log create diary", b"")["key"],
        made["key"],
        "making it again changes nothing"
    );
    assert_eq!(cloudpal(dir.path(), "log get diary", b"").stdout, b"", "nothing yet");
    let appended = json(dir.path(), "log append diary", b"one\ntwo\n\nlast");
    assert_eq!(
        (&appended["first"], &appended["count"], &appended["length"]),
        (&0.into(), &4.into(), &4.into())
    );
    let got = json(dir.path(), &format!("log get {z32} 0.."), b"");
    let blocks: Vec<_> =
        got["blocks"].as_array().unwrap().iter().map(|b| b["block"].as_str().unwrap()).collect();
    assert_eq!(blocks, ["one", "two", "", "last"]);
    let printed = cloudpal(dir.path(), &format!("log get {key} 1"), b"");
    ends(&printed, 0, "");
    assert_eq!(printed.stdout, b"two\n");
    assert_eq!(cloudpal(dir.path(), "log get diary", b"").stdout, b"one\ntwo\n\nlast\n");
    assert_eq!(json(dir.path(), "log truncate diary 2", b"")["fork"], 1);
    let file = dir.path().join("film");
    std::fs::write(&file, [7; 200_000]).unwrap();
    let appended = json(dir.path(), &format!("log append diary {} --cut 65536", file.display()), b"");
    assert_eq!((&appended["count"], &appended["length"]), (&4.into(), &6.into()));
    assert_eq!(json(dir.path(), "log clear diary 2..4", b"")["held"], 4);
    let checked = json(dir.path(), "log verify diary", b"");
    assert_eq!((&checked["checked"], &checked["absent"]), (&4.into(), &2.into()));
    let info = json(dir.path(), "log info diary", b"");
    assert_eq!(
        (&info["length"], &info["byte_length"], &info["writable"]),
        (&6.into(), &200_006.into(), &true.into())
    );
    assert_eq!(json(dir.path(), "log list", b"")["logs"][0]["name"], "diary");
    ends(&cloudpal(dir.path(), "log get diary 2", b""), 3, "cloudpal log fetch");
    ends(&cloudpal(dir.path(), "log truncate diary 7", b""), 2, "has 6 blocks");
    ends(&cloudpal(dir.path(), "log get diary 99", b""), 3, "no block 99");
    ends(&cloudpal(dir.path(), "log info nobody", b""), 3, "cloudpal log create");
    ends(&cloudpal(dir.path(), "log create a/b", b""), 2, "no slash");
    ends(&cloudpal(dir.path(), "log create x --compat --encrypt", b""), 2, "leave out one");
}

#[test]
fn a_map_keeps_its_past() {
    let dir = tempfile::tempdir().unwrap();
    json(dir.path(), "bee create pantry", b"");
    for (key, value) in [("beans", "3 tins"), ("rice", "1 bag"), ("beans", "2 tins")] {
        let words = format!("bee put pantry {key}");
        ends(&cloudpal(dir.path(), &words, value.as_bytes()), 0, key);
    }
    assert_eq!(json(dir.path(), "bee get pantry beans", b"")["value"], "2 tins");
    let printed = cloudpal(dir.path(), "bee get pantry beans --at-version 2", b"");
    assert_eq!(printed.stdout, b"3 tins", "as it is, without a line end");
    let scanned = json(dir.path(), "bee scan pantry --gte b --reverse", b"");
    let keys: Vec<_> =
        scanned["entries"].as_array().unwrap().iter().map(|e| e["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["rice", "beans"]);
    assert_eq!(json(dir.path(), "bee del pantry rice", b"")["deleted"], true);
    assert_eq!(json(dir.path(), "bee del pantry rice", b"")["deleted"], false);
    let history = json(dir.path(), "bee history pantry --reverse --limit 1", b"");
    assert_eq!(
        (&history["operations"][0]["action"], &history["operations"][0]["key"]),
        (&"delete".into(), &"rice".into())
    );
    ends(&cloudpal(dir.path(), "bee get pantry rice", b""), 3, "there is no rice");
}

#[test]
fn a_drive_takes_files_and_mirrors_folders() {
    let dir = tempfile::tempdir().unwrap();
    json(dir.path(), "drive create photos", b"");
    assert_eq!(json(dir.path(), "drive put photos /2026/sea.txt", b"salt")["bytes"], 4);
    let listed = json(dir.path(), "drive ls photos", b"");
    assert_eq!(listed["entries"][0]["folder"], "/2026");
    let printed = cloudpal(dir.path(), "drive get photos /2026/sea.txt --bytes 1..3", b"");
    assert_eq!(printed.stdout, b"al");
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    std::fs::create_dir_all(from.join("deep")).unwrap();
    std::fs::write(from.join("deep/a"), "1").unwrap();
    std::fs::write(from.join("b"), vec![2; 100_000]).unwrap();
    let done = json(dir.path(), &format!("drive mirror photos --from {}", from.display()), b"");
    assert_eq!((&done["added"], &done["removed"]), (&2.into(), &0.into()));
    json(dir.path(), &format!("drive mirror photos --to {}", to.display()), b"");
    assert_eq!(std::fs::read(to.join("b")).unwrap(), vec![2; 100_000]);
    assert_eq!(json(dir.path(), "drive rm photos /b", b"")["freed_blocks"], 2);
    ends(&cloudpal(dir.path(), "drive get photos /b", b""), 3, "there is no /b");
    ends(&cloudpal(dir.path(), "drive mirror photos", b""), 2, "--from");
    ends(&cloudpal(dir.path(), "drive ls photos /nothing", b""), 3, "no folder /nothing");
}

#[test]
fn a_mirror_deletes_only_what_it_was_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    json(dir.path(), "drive create photos", b"");
    json(dir.path(), "drive put photos /old", b"old");
    let from = format!("drive mirror photos --from {}", folder.display());
    ends(&cloudpal(dir.path(), &format!("{from} --delete"), b""), 6, "--allow-empty");
    ends(
        &cloudpal(dir.path(), &format!("{from} --delete --dry-run"), b""),
        6,
        "delete 1 file, all that is in the drive",
    );
    std::fs::write(folder.join("new"), "new").unwrap();

    let plan = json(dir.path(), &format!("{from} --dry-run"), b"");
    assert_eq!((&plan["would"][0]["what"], &plan["would"][1]["what"]), (&"keep".into(), &"add".into()));
    let plan = json(dir.path(), &format!("{from} --dry-run --delete"), b"");
    assert_eq!((&plan["would"][0]["what"], &plan["removed"]), (&"delete".into(), &1.into()));
    let paths = |words: &str| {
        let list = json(dir.path(), words, b"");
        let paths =
            list["entries"].as_array().unwrap().iter().map(|one| one["path"].as_str().unwrap().to_owned());
        paths.collect::<Vec<_>>()
    };
    assert_eq!(paths("drive ls photos"), ["/old"], "a plan changes nothing");
    // `delete` is an answer on a terminal only.
    let kept = cloudpal(dir.path(), &from, b"delete\n");
    ends(&kept, 0, "Kept 1 file that only this side has");
    assert_eq!(paths("drive ls photos"), ["/new", "/old"]);
    let done = json(dir.path(), &format!("{from} --delete"), b"");
    assert_eq!((&done["removed"], &done["kept"]), (&1.into(), &0.into()));
    assert_eq!(paths("drive ls photos"), ["/new"]);
    let before = format!("drive ls photos --at-version {}", done["version_before"]);
    assert_eq!(paths(&before), ["/new", "/old"], "the drive as it was can be looked at");
    let to = dir.path().join("to");
    let undo = format!("drive mirror photos --to {} --at-version {}", to.display(), done["version_before"]);
    assert_eq!(json(dir.path(), &format!("{undo} --dry-run"), b"")["added"], 2);
    assert!(!to.exists());
    json(dir.path(), &undo, b"");
    assert_eq!(std::fs::read(to.join("old")).unwrap(), b"old");
    let emptied = tempfile::tempdir().unwrap();
    let all = format!("drive mirror photos --from {} --delete --allow-empty", emptied.path().display());
    assert_eq!(json(dir.path(), &all, b"")["removed"], 1);
}

#[test]
fn what_others_wrote_does_nothing_on_a_terminal() {
    let dir = tempfile::tempdir().unwrap();
    json(dir.path(), "bee create pantry", b"");
    ends(&cloudpal(dir.path(), "bee put pantry \x1b[2J", b"a\x1b]0;b\n\tc"), 0, r"\u{1b}[2J is put");
    ends(&cloudpal(dir.path(), "bee scan pantry", b""), 0, "\\u{1b}[2J\ta\\u{1b}]0;b\\n\\tc\n");
    let got = cloudpal(dir.path(), "bee get pantry \x1b[2J", b"");
    assert_eq!(got.stdout, b"a\x1b]0;b\n\tc", "into a file or program it goes as it is");
    ends(&cloudpal(dir.path(), "bee get pantry \x1b[3J", b""), 3, r"\u{1b}[3J");
    json(dir.path(), "drive create photos", b"");
    json(dir.path(), "drive put photos /a\nb\u{9b}", b"");
    ends(&cloudpal(dir.path(), "drive ls photos", b""), 0, r"/a\nb\u{9b}");
    let json = cloudpal(dir.path(), "drive ls photos --json", b"").stdout;
    assert!(String::from_utf8(json).unwrap().contains(r"/a\nb\u009b"));
}

/// A drive of the folder below `dir` as a faulty writer leaves it: two entries that are none, and one that is.
fn spoil(dir: &Path, drive: &str) {
    let shelf = local::open(&Person::at(dir.join("config")), &dir.join("store")).unwrap();
    let map = shelf.log(&shelf.find(Kind::Drive, drive).unwrap()).unwrap();
    let files = Bee::new(Arc::new(map), cloudpal_bee::Options::default()).sub("files");
    files.put("/broken", [255]).unwrap();
    files.put("/..", [255]).unwrap();
    shelf.close().unwrap();
}

#[test]
fn entries_that_cannot_be_read_are_passed_over_and_told() {
    let dir = tempfile::tempdir().unwrap();
    json(dir.path(), "drive create photos", b"");
    json(dir.path(), "drive put photos /zebra.txt", b"stripes");
    spoil(dir.path(), "photos");
    for words in ["drive ls photos", "drive ls photos --recursive"] {
        let told = cloudpal(dir.path(), words, b"");
        ends(&told, 1, "/zebra.txt");
        ends(&told, 1, "cannot read the entry of `/broken`");
        ends(&told, 1, "2 entries of the drive cannot be read");
        let told = cloudpal(dir.path(), &format!("{words} --json"), b"");
        let list: Value = serde_json::from_slice(&told.stdout).unwrap();
        assert_eq!((told.status.code(), &list["faulty"]), (Some(1), &2.into()));
        assert_eq!(list["entries"][0]["path"], "/zebra.txt", "{list}");
        assert!(list["errors"][1].as_str().unwrap().contains("/broken"), "{list}");
    }
}

#[test]
fn an_equal_file_is_not_stored_again() {
    let dir = tempfile::tempdir().unwrap();
    json(dir.path(), "drive create photos", b"");
    let file = dir.path().join("sea.jpg");
    std::fs::write(&file, vec![5; 300_000]).unwrap();
    for name in ["a", "b"] {
        let put = json(dir.path(), &format!("drive put photos /{name} {}", file.display()), b"");
        assert_eq!(put["bytes"], 300_000);
    }
    assert_eq!(json(dir.path(), "drive rm photos /a", b"")["freed_blocks"], 0, "the other file has them too");
    assert_eq!(json(dir.path(), "drive rm photos /b", b"")["freed_blocks"], 5);
    ends(&cloudpal(dir.path(), &format!("drive put photos /d {}", dir.path().display()), b""), 2, "mirror");
}

#[test]
fn what_is_served_is_fetched_and_nothing_is_readable_on_disk() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let secret = "nobody finds this sentence on the disk";
    json(a.path(), "log create diary", b"");
    json(a.path(), "log append diary", format!("{secret}\ntwo\nthree\n").as_bytes());
    json(a.path(), "bee create pantry", b"");
    json(a.path(), "bee put pantry beans", b"3 tins");
    json(a.path(), "drive create photos", b"");
    json(a.path(), "drive put photos /sea.jpg", &[9; 150_000]);

    let serving = Serving::start(a.path(), "log serve diary");
    let key = serving.says["key_z32"].as_str().unwrap().to_owned();
    let from = serving.address().to_owned();
    let one = json(b.path(), &format!("log fetch {key} --from {from} --blocks 1..2"), b"");
    assert_eq!((&one["length"], &one["held"], &one["complete"]), (&3.into(), &1.into(), &false.into()));
    let all = json(b.path(), &format!("log fetch {key} --from {from}"), b"");
    assert_eq!(
        (&all["held"], &all["fetched_blocks"], &all["tree_hash"]),
        (&3.into(), &2.into(), &serving.says["tree_hash"])
    );
    for (kind, field, count) in [("bee", "entries", 1), ("drive", "files", 1)] {
        let thing =
            serving.says["things"].as_array().unwrap().iter().find(|thing| thing["kind"] == kind).unwrap();
        let fetched = json(
            b.path(),
            &format!("{kind} fetch {} --from {from} --name copy", thing["key"].as_str().unwrap()),
            b"",
        );
        assert_eq!(fetched[field], count, "{fetched}");
    }
    let other = "y".repeat(52);
    ends(
        &cloudpal(b.path(), &format!("log fetch {other} --from {from} --patience 1"), b""),
        5,
        "nothing of this log",
    );
    ends(&cloudpal(a.path(), "log info diary", b""), 1, "in use");
    assert_eq!(serving.end(), Some(0));

    assert_eq!(json(b.path(), "bee get copy beans", b"")["value"], "3 tins");
    assert_eq!(cloudpal(b.path(), "drive get copy /sea.jpg", b"").stdout, [9; 150_000]);
    ends(&cloudpal(b.path(), &format!("log append {key}"), b"x\n"), 4, "cannot be written");
    ends(&cloudpal(b.path(), "log fetch diary --from 127.0.0.1:9", b""), 2, "no key");
    ends(&cloudpal(b.path(), &format!("log fetch {key} --from 127.0.0.1:9"), b""), 5, "cannot be reached");
    for dir in [a.path(), b.path()] {
        assert!(!holds(&dir.join("store"), secret.as_bytes()), "{} holds a block in clear", dir.display());
    }
    // Another device has nothing of the folder.
    let thief = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(a.path().join("store"), thief.path().join("store")).unwrap();
    ends(&cloudpal(thief.path(), "log list", b""), 4, "does not open on this device");
}

#[test]
fn what_is_announced_on_a_table_is_found_by_its_key_alone() {
    let mut nodes: Vec<Node> = Vec::new();
    for _ in 0..4 {
        let others: Vec<_> = nodes.iter().map(|node| node.address().to_string()).collect();
        nodes.push(Node::start("127.0.0.1:0".parse().unwrap(), &others).unwrap());
    }
    let dht = format!("--dht --bootstrap {}", nodes[0].address());
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    json(a.path(), "drive create photos", b"");
    json(a.path(), "drive put photos /sea.jpg", &[9; 150_000]);

    let serving = Serving::ready(a.path(), &format!("drive serve photos {dht}"));
    assert_eq!((&serving.says["announced"], &serving.says["address"]), (&true.into(), &Value::Null));
    let key = serving.says["key"].as_str().unwrap().to_owned();
    let came = json(b.path(), &format!("drive fetch {key} {dht} --name copy"), b"");
    assert_eq!((&came["files"], &came["files_bytes"]), (&1.into(), &150_000.into()));
    let other = "y".repeat(52);
    let unknown = format!("log fetch {other} {dht} --patience 2");
    ends(&cloudpal(b.path(), &unknown, b""), 5, "nobody has announced this log");
    assert_eq!(serving.end(), Some(0));
    assert_eq!(cloudpal(b.path(), "drive get copy /sea.jpg", b"").stdout, [9; 150_000]);

    ends(&cloudpal(a.path(), "drive serve --dht", b""), 2, "NAME");
    ends(&cloudpal(a.path(), "drive serve photos --bootstrap 127.0.0.1:9", b""), 2, "--dht");
    ends(&cloudpal(b.path(), &format!("drive fetch {key}"), b""), 2, "--from");
    let wrong = format!("drive fetch {key} --dht --bootstrap nowhere");
    ends(&cloudpal(b.path(), &wrong, b""), 2, "`nowhere` is no address");
    let silent = format!("drive fetch {key} --dht --bootstrap 127.0.0.1:9");
    ends(&cloudpal(b.path(), &silent, b""), 5, "no node of the DHT answers at 127.0.0.1:9");
}

/// Whether any file below a folder holds these bytes.
fn holds(dir: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).any(|path| match path.is_dir() {
        true => holds(&path, bytes),
        false => std::fs::read(&path).unwrap().windows(bytes.len()).any(|part| part == bytes),
    })
}

#[test]
fn an_encrypted_log_is_read_with_its_key_only() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = a.path().join("reader.key");
    let words = format!("log create diary --encrypt --encryption-key {}", file.display());
    let made = json(a.path(), &words, b"");
    assert_eq!(
        (&made["encrypted"], &made["encryption_key"]),
        (&true.into(), &Value::Null),
        "it is in the file"
    );
    let told = json(a.path(), "log create other --encrypt", b"");
    assert_eq!(told["encryption_key"].as_str().map(str::len), Some(64), "told once");
    assert_eq!(json(a.path(), "log create other --encrypt", b"")["encryption_key"], Value::Null);
    json(a.path(), "log append diary", b"for friends\n");
    let serving = Serving::start(a.path(), "log serve diary");
    let key = serving.says["key"].as_str().unwrap().to_owned();
    let fetch =
        format!("log fetch {key} --from {} --encryption-key {} --name d", serving.address(), file.display());
    json(b.path(), &fetch, b"");
    assert_eq!(json(b.path(), "log get d 0", b"")["blocks"][0]["block"], "for friends");
    let stranger = tempfile::tempdir().unwrap();
    json(stranger.path(), &format!("log fetch {key} --from {} --name d", serving.address()), b"");
    assert_ne!(json(stranger.path(), "log get d 0", b"")["blocks"][0]["block"], "for friends");
    assert_eq!(serving.end(), Some(0));
}

#[test]
fn a_mistyped_folder_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    for words in ["log list", "bee scan pantry", "drive ls photos", "log serve diary --listen 127.0.0.1:0"] {
        ends(&cloudpal(dir.path(), words, b""), 3, "is it the right one?");
    }
    ends(&cloudpal(dir.path(), "log fetch diary --from 127.0.0.1:9", b""), 2, "no key");
    assert!(!dir.path().join("store").exists());
}

#[test]
fn without_a_pal_and_without_a_folder_the_message_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloudpal"));
    let output =
        command.arg("--config").arg(dir.path().join("config")).args(["log", "list"]).output().unwrap();
    ends(&output, 3, "--store DIR");
}
