//! `cloudpal db` as a person runs it: folders on one machine, and two programs that meet over TCP.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// A device: a configuration and a store of its own.
struct Device(TempDir);

impl Device {
    fn new() -> Self {
        Device(tempfile::tempdir().unwrap())
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cloudpal"));
        command.arg("--config").arg(self.path().join("config")).arg("db").args(words);
        command.arg("--store").arg(self.path().join("store"));
        command
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn run(&self, words: &[&str], input: &[u8]) -> Output {
        let mut command = self.command(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that reads no input ends without it.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }

    /// Runs a command given in one line.
    #[track_caller]
    fn json(&self, words: &str) -> Value {
        self.json_of(&words.split(' ').collect::<Vec<_>>())
    }

    #[track_caller]
    fn json_of(&self, words: &[&str]) -> Value {
        let output = self.run(&[words, &["--json"]].concat(), b"");
        ends(&output, 0, "");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    #[track_caller]
    fn ends(&self, words: &str, code: i32, saying: &str) {
        ends(&self.run(&words.split(' ').collect::<Vec<_>>(), b""), code, saying);
    }

    fn get(&self, words: &str) -> String {
        let value = self.json(&format!("get home {words}"));
        value["value"].as_str().unwrap().to_owned()
    }

    /// Brings two devices up to date.
    #[track_caller]
    fn meet(&self, other: &Device) -> Value {
        let listening = Listening::start(other);
        let came = self.json(&format!("sync home --with {}", listening.address()));
        assert_eq!(listening.end(), Some(0));
        came
    }
}

#[track_caller]
fn ends(output: &Output, code: i32, saying: &str) {
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(saying), "`{saying}` is not in: {said}");
}

/// A `listen` that is ready; ended by SIGTERM.
struct Listening {
    child: Child,
    says: Value,
}

impl Listening {
    fn start(device: &Device) -> Self {
        let mut command = device.command(&["listen", "--listen", "127.0.0.1:0", "--json"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Listening { child, says: serde_json::from_str(&line).unwrap() }
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

impl Drop for Listening {
    fn drop(&mut self) {
        // Only a test that failed before `end` comes here with a child alive.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A laptop with a database, and a phone that was let into it and has seen it.
fn pair() -> (Device, Device) {
    let (laptop, phone) = (Device::new(), Device::new());
    let made = laptop.json("create home");
    let asked = phone.json(&format!("join home {}", made["key"].as_str().unwrap()));
    assert_eq!(asked["standing"], "waiting");
    phone.ends("put home k v", 4, "not admitted");
    let admit = format!("members home admit {} --name phone", asked["request"].as_str().unwrap());
    assert_eq!(laptop.json(&admit)["role"], "writer");
    laptop.json("put home tea green");
    let came = phone.meet(&laptop);
    assert_eq!(came["standing"], "member");
    assert!(came["blocks"].as_u64().unwrap() > 0, "{came}");
    (laptop, phone)
}

#[test]
fn keys_are_put_read_scanned_and_deleted() {
    let home = Device::new();
    let made = home.json("create home");
    assert_eq!(home.json("create home")["key"], made["key"], "making it again changes nothing");
    assert_eq!(home.json("list")["databases"], json!(["home"]));
    home.json("put home tea green --durable");
    ends(&home.run(&["put", "home", "coffee"], b"black\n"), 0, "coffee is put");
    assert_eq!(home.run(&["get", "home", "coffee"], b"").stdout, b"black\n", "as it was put");
    home.json("put home ff00 00ff --hex");
    assert_eq!(home.json("get home /wA= --base64")["value_base64"], "AP8=");
    let keys = |words: &str| {
        let entries = home.json(&format!("scan home {words}"))["entries"].clone();
        let key = |entry: &Value| entry["key"].as_str().or(entry["key_base64"].as_str()).unwrap().to_owned();
        entries.as_array().unwrap().iter().map(key).collect::<Vec<_>>()
    };
    assert_eq!(keys("--keys"), ["coffee", "tea", "/wA="]);
    assert_eq!(keys("--gt coffee --lte tea"), ["tea"]);
    assert_eq!(keys("--reverse --limit 1"), ["/wA="]);
    home.ends("scan home --values --lt d", 0, "black");
    home.ends("put home tea black --if-value red", 4, "not the expected one");
    home.ends("put home tea black --if-absent", 4, "not the expected one");
    home.json("put home tea black --if-value green");
    assert_eq!(home.json("del home tea")["deleted"], true);
    assert_eq!(home.json("del home tea")["deleted"], false);
    home.ends("get home tea", 3, "there is no tea");
    home.ends("get nobody tea", 3, "`create` makes one");
    home.ends("put home zz xx --hex", 2, "hexadecimal digits");
    let mut without = Command::new(env!("CARGO_BIN_EXE_cloudpal"));
    without.arg("--config").arg(home.path().join("config"));
    ends(&without.args(["db", "get", "home", "tea"]).output().unwrap(), 3, "--store DIR");
}

#[test]
fn kinds_merge_as_they_say_and_documents_are_found_by_field() {
    let home = Device::new();
    home.json("create home");
    home.json("add home visits 3 --sub counts");
    assert_eq!(home.json("add home visits -1 --sub counts")["value"], "2");
    home.json("include home tea Ada --sub likes");
    home.json("include home tea Bob --sub likes");
    assert_eq!(home.json("exclude home tea Ada --sub likes")["value"], r#"["Bob"]"#);
    home.json("index home grams --sub stock");
    home.json(r#"put home tea {"grams":100,"kind":"green"} --sub stock --kind json"#);
    home.json(r#"put home rice {"grams":500} --sub stock"#);
    home.json(r#"patch home tea {"grams":80} --sub stock"#);
    assert_eq!(home.get("tea --sub stock"), r#"{"grams":80,"kind":"green"}"#);
    let found = home.json("find home grams --to 100 --sub stock");
    assert_eq!(found["entries"][0]["key"], "tea");
    assert_eq!(found["entries"].as_array().unwrap().len(), 1);
    home.ends("put home tea oops --sub stock", 2, "stock");
    home.ends("find home litres --sub stock", 0, "cloudpal db index");
    home.ends("put home k v --kind shape", 2, "register, json, set, counter, text");
    home.json("put home note Bär --sub notes --kind text");
    assert_eq!(home.json("splice home note 2 ren --sub notes --remove 1")["value"], "Bären");
    assert_eq!(home.json("splice home note 0 --sub notes --remove 2")["value"], "ren");
    home.ends("splice home note 2 x --sub notes --remove 2", 2, "has 3 letters");
}

#[test]
fn two_devices_write_apart_see_the_conflict_and_settle_it() {
    let (laptop, phone) = pair();
    assert_eq!(phone.get("tea"), "green");
    laptop.json("put home tea black");
    phone.json("put home tea red");
    phone.json("put home milk fresh");
    phone.meet(&laptop);
    let seen = [&laptop, &phone].map(|device| device.json("conflicts home"));
    assert_eq!(seen[0], seen[1]);
    let versions = seen[0]["conflicts"][0]["versions"].as_array().unwrap().clone();
    assert_eq!((versions.len(), &versions[1]["number"]), (2, &json!(2)));
    assert_eq!(laptop.get("tea"), versions[0]["value"].as_str().unwrap());
    assert_eq!(laptop.get("milk"), "fresh");
    assert_eq!(laptop.json("info home")["conflicts"], 1);
    phone.ends("resolve home tea --keep 3", 2, "versions 1 to 2");
    phone.ends("resolve home milk --keep 1", 3, "no such conflict");
    let kept = phone.json("resolve home tea --keep 2");
    assert_eq!(kept["value"], versions[1]["value"]);
    laptop.meet(&phone);
    for device in [&laptop, &phone] {
        assert_eq!(device.json("conflicts home")["conflicts"], json!([]));
        assert_eq!(device.get("tea"), versions[1]["value"].as_str().unwrap());
    }
    let info = laptop.json("info home");
    let progress = info["progress"].as_array().unwrap();
    assert!(
        progress.iter().all(|one| one["length"] == one["read"] && one["held"] == one["length"]),
        "{info}"
    );
}

#[test]
fn a_field_of_a_document_is_settled_without_the_others() {
    let (laptop, phone) = pair();
    laptop.json(r#"put home tea {"kind":"green","grams":1} --sub stock --kind json"#);
    phone.meet(&laptop);
    laptop.json(r#"patch home tea {"kind":"black"} --sub stock"#);
    phone.json(r#"patch home tea {"kind":"red"} --sub stock"#);
    phone.meet(&laptop);
    let conflicts = phone.json("conflicts home")["conflicts"].clone();
    let of_field = conflicts.as_array().unwrap().iter().find(|one| one["field"] == "kind").unwrap();
    let shown = of_field["versions"][0]["value"].as_str().unwrap();
    phone.json("resolve home tea --sub stock --keep 1 --field kind");
    assert_eq!(phone.get("tea --sub stock"), format!(r#"{{"grams":1,"kind":{shown}}}"#));
    laptop.meet(&phone);
    assert_eq!(laptop.json("conflicts home")["conflicts"], json!([]));
}

#[test]
fn a_removed_device_is_cut_off_and_may_ask_again() {
    let (laptop, phone) = pair();
    phone.json("put home from-phone 1");
    phone.meet(&laptop);
    laptop.ends("members home remove phone", 6, "say --yes");
    laptop.ends("members home remove stranger --yes", 3, "no member");
    let removed =
        laptop.json_of(&["members", "home", "remove", "phone", "--yes", "--reason", "lost on a train"]);
    assert_eq!((&removed["role"], &removed["lost_blocks"]), (&json!("removed"), &json!(0)));
    laptop.json("put home secret 2");
    let listening = Listening::start(&laptop);
    phone.ends(&format!("sync home --with {}", listening.address()), 4, "was removed");
    assert_eq!(listening.end(), Some(0));
    phone.ends("put home k v", 4, "was removed");
    phone.ends("get home secret", 3, "there is no secret");
    assert_eq!(laptop.get("from-phone"), "1");
    let request = phone.json("renew home")["request"].as_str().unwrap().to_owned();
    laptop.json(&format!("members home admit {request} --name again --role reader"));
    phone.meet(&laptop);
    assert_eq!(phone.get("secret"), "2");
    phone.ends("put home k v", 4, "ask the owner");
    laptop.ends("members home admit cpjoin-12 --name x", 2, "not a request");
}

#[test]
fn the_past_is_there_and_a_batch_can_be_undone() {
    let home = Device::new();
    home.json("create home");
    home.json("put home tea green");
    std::thread::sleep(std::time::Duration::from_millis(5));
    let wrong = home.json("put home tea gone");
    let before = wrong["time_ms"].as_u64().unwrap() - 1;
    let when = format!("{}.{:03}", before / 1000, before % 1000);
    let at = Command::new("date").args(["-u", "-d", &format!("@{when}"), "+%FT%T.%3NZ"]).output().unwrap();
    let at = String::from_utf8(at.stdout).unwrap();
    assert_eq!(home.get(&format!("tea --at {}", at.trim())), "green");
    assert_eq!(home.json("history home tea")["batches"].as_array().unwrap().len(), 2);
    let undone = home.json(&format!("undo home {}", wrong["batch"].as_str().unwrap()));
    assert_eq!(undone["restored"][0]["key"], "tea");
    assert_eq!(home.get("tea"), "green");
    home.ends("undo home 00000000000f:7", 3, "no batch 7");
    home.ends("undo home yesterday", 2, "as `db history`");
    let lines = |from: &str| {
        let output = home.run(&["watch", "home", "--once", "--from", from, "--json"], b"");
        ends(&output, 0, "");
        let lines: Vec<Value> =
            output.stdout.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
        lines
    };
    let all = lines("start");
    assert_eq!(all.len(), 3);
    assert_eq!(all[1]["batch"], wrong["batch"]);
    let rest = lines(all[1]["cursor"].as_str().unwrap());
    assert_eq!(rest, all[2..]);
    home.ends("watch home --once --from nowhere", 2, "no cursor");
}

#[test]
fn what_is_exported_is_imported_elsewhere_and_only_once() {
    let (one, other) = (Device::new(), Device::new());
    one.json("create home");
    other.json("create home");
    one.json("put home tea green");
    one.json("put home ff00 00ff --hex");
    one.json(r#"put home tea {"kind":"green"} --sub stock --kind json"#);
    one.json("include home tea Ada --sub likes");
    one.json("add home visits 7 --sub counts");
    one.json("put home letter Dear --sub letters --kind text");
    let exported = one.run(&["export", "home"], b"");
    ends(&exported, 0, r#"{"key":"tea","value":"green"}"#);
    let file = one.path().join("all.jsonl");
    assert_eq!(one.json(&format!("export home {}", file.display()))["keys"], 6);
    assert_eq!(std::fs::read(&file).unwrap(), exported.stdout);
    let import = format!("import home {}", file.display());
    assert_eq!(other.json(&import)["written"], 6);
    assert_eq!(other.run(&["export", "home"], b"").stdout, exported.stdout);
    let again = other.json(&import);
    assert_eq!((&again["written"], &again["same"]), (&json!(0), &json!(6)));
    let wrong = b"{\"key\":\"ok\",\"value\":\"1\"}\n{\"key\":\"bad\"}\n";
    ends(&other.run(&["import", "home"], wrong), 2, "line 2 is no entry");
    assert_eq!(other.get("ok"), "1");
}

#[test]
fn a_sync_that_leads_nowhere_says_so() {
    let (one, other) = (Device::new(), Device::new());
    one.json("create home");
    other.json("create home");
    one.ends("sync home --with 127.0.0.1:9", 5, "cannot be reached");
    let listening = Listening::start(&other);
    one.ends(&format!("sync home --with {} --patience 1", listening.address()), 5, "nothing came");
    assert_eq!(listening.end(), Some(0));
}

#[test]
fn what_others_wrote_does_nothing_on_a_terminal() {
    let home = Device::new();
    home.json("create home");
    ends(&home.run(&["put", "home", "\x1b[2J"], b"a\x1b]0;b\n\tc"), 0, r"\u{1b}[2J is put");
    home.ends("scan home", 0, "\\u{1b}[2J\ta\\u{1b}]0;b\\n\\tc\n");
    home.ends("history home \x1b[2J", 0, r"\u{1b}]0;b");
}

#[test]
fn a_leveldb_folder_comes_in_and_goes_out_and_a_damaged_one_does_neither() {
    let device = Device::new();
    device.json("create home");
    let theirs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/leveldb/tests/fixtures/killed");
    let import = |folder: &Path| format!("import home --leveldb {} --sub things", folder.display());
    let came = device.json(&import(&theirs));
    assert_eq!((&came["sub"], &came["keys"], &came["written"]), (&json!("things"), &json!(44), &json!(44)));
    assert_eq!(device.get("00 --hex --sub things"), "zero");
    assert_eq!(device.json_of(&["get", "home", "key 09", "--sub", "things"])["value"], "newest");
    let ours = device.path().join("ours");
    let export = format!("export home --leveldb {} --sub things", ours.display());
    assert_eq!(device.json(&export)["keys"], 44);
    device.ends(&export, 6, "is there already");
    assert_eq!(device.json(&import(&ours))["same"], 44);

    let table = ours.join("000002.ldb");
    let mut bytes = std::fs::read(&table).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&table, bytes).unwrap();
    device.ends(&import(&ours).replace("things", "none"), 1, "000002.ldb is damaged");
    assert_eq!(device.json("scan home --sub none")["entries"], json!([]));
    device.ends(&import(&device.path().join("nowhere")), 3, "is no LevelDB folder");
}

#[test]
fn a_device_that_comes_after_history_was_forgotten_begins_with_the_checkpoint() {
    let (laptop, phone) = (Device::new(), Device::new());
    let key = laptop.json("create home")["key"].as_str().unwrap().to_owned();
    laptop.ends("forget home", 3, "there is no checkpoint yet");
    for value in ["green", "black", "white"] {
        laptop.json(&format!("put home tea {value}"));
    }
    assert_eq!(laptop.json("checkpoint home")["logs"], 1);
    assert_eq!(laptop.json("forget home")["batches"], 0, "all of it is young");
    assert_eq!(laptop.json("forget home --keep 0s")["batches"], 3);
    laptop.ends("history home tea", 0, "Nothing is known");
    laptop.ends("get home tea --at 2020-01-01", 1, "further back than the history");
    let request = phone.json(&format!("join home {key}"))["request"].as_str().unwrap().to_owned();
    laptop.json(&format!("members home admit {request} --name phone"));
    phone.meet(&laptop);
    assert_eq!(phone.get("tea"), "white");
    phone.ends("checkpoint home", 4, "owner key");
    phone.json("put home tea red");
    phone.meet(&laptop);
    assert_eq!(laptop.get("tea"), "red");
}
