//! Databases of a pal, as `cloudpal db` asks for them.

use super::*;
use clap::Parser as _;
use cloudpal_cli::app::App;
use cloudpal_cli::args::{Cli, Command};
use cloudpal_cli::command::{data::Desk, db};
use cloudpal_cli::credit::Purses;
use cloudpal_cli::failure::{Exit, Failure};
use cloudpal_cli::person::Person;
use cloudpal_cli::terminal::{Format, Terminal};

/// A person at a terminal.
struct Owner {
    stage: Stage,
    dir: tempfile::TempDir,
}

impl Owner {
    fn new() -> Self {
        let owner = Owner { stage: Stage::set(), dir: tempfile::tempdir().unwrap() };
        owner.says("create home");
        owner
    }

    fn run(&self, words: &str, place: [&str; 2]) -> Result<(), Failure> {
        let words = ["cloudpal", "db"].into_iter().chain(words.split(' ')).chain(place);
        let Command::Db(command) = Cli::try_parse_from(words).unwrap().command else { unreachable!() };
        let person = Person::at(self.dir.path().join("config"));
        let (purses, terminal) = (Purses::of(&person), Terminal::new(Format::Json));
        let app = App { person: &person, credit: &purses, progress: &terminal };
        db::run(Desk { app, terminal: &terminal }, command)
    }

    fn at_pal(&self, words: &str) -> Result<(), Failure> {
        self.run(words, ["--pal", &format!("http://{}", self.stage.address)])
    }

    #[track_caller]
    fn says(&self, words: &str) {
        self.at_pal(words).unwrap_or_else(|failure| panic!("{words}: {failure}"));
    }

    #[track_caller]
    fn fails(&self, words: &str, exit: Exit) {
        let failure = self.at_pal(words).expect_err(words);
        assert_eq!(failure.exit(), exit, "{words}: {failure}");
    }

    fn on_laptop(&self, words: &str) -> Result<(), Failure> {
        self.run(words, ["--store", self.dir.path().join("laptop").to_str().unwrap()])
    }

    fn shows(&self, key: &str, of: &str) -> String {
        let path = format!("/v1/databases/home/entries/{key}?{of}");
        String::from_utf8(self.stage.bytes("GET", &path, b"", None).1).unwrap()
    }
}

#[test]
fn every_command_works_over_a_pal() {
    let owner = Owner::new();
    for words in [
        "create home",
        "list",
        "put home tea green",
        "put home coffee black --if-absent --durable",
        "put home ff00 00ff --hex",
        "get home tea",
        "add home visits 3 --sub counts",
        "include home tea Ada --sub likes",
        "include home tea Bob --sub likes",
        "exclude home tea Ada --sub likes",
        "index home grams --sub stock",
        r#"put home tea {"grams":100} --sub stock --kind json"#,
        r#"patch home tea {"grams":80} --sub stock"#,
        "find home grams --from 1 --to 100 --sub stock",
        "scan home --gt a --reverse --limit 2",
        "conflicts home",
        "history home tea",
        "get home tea --at 0s",
        "info home",
        "members home",
        "watch home --once --from start",
        "listen home",
        "serve home",
        "token add --of home --label app --write notes",
        "token list --of home",
        "del home coffee",
        "checkpoint home",
        "forget home --keep 1d",
        "renew home --yes",
    ] {
        // At last, as the pal has to be admitted again then.
        if words.starts_with("renew") {
            assert_eq!(owner.shows("tea", ""), "green");
            assert_eq!(owner.shows("visits", "sub=counts&kind=counter"), "3");
            assert_eq!(owner.shows("tea", "sub=likes&kind=set"), r#"["Bob"]"#);
            assert_eq!(owner.shows("tea", "sub=stock&kind=json"), r#"{"grams":80}"#);
        }
        owner.says(words);
    }
}

#[test]
fn what_a_pal_refuses_has_the_same_exit_codes_as_in_a_folder() {
    let owner = Owner::new();
    owner.says("put home tea green");
    owner.fails("get home milk", Exit::NotFound);
    owner.fails("get nothing tea", Exit::NotFound);
    owner.fails("put home tea black --if-value red", Exit::Refused);
    owner.fails("put home tea oops --sub stock --kind json", Exit::Usage);
    owner.fails("undo home 00000000000f:7", Exit::NotFound);
    owner.fails("watch home --once --from nowhere", Exit::Usage);
    owner.fails("members home remove stranger --yes", Exit::NotFound);
    owner.fails("members home admit cpjoin-12 --name x", Exit::Usage);
    owner.fails("resolve home tea --keep 1", Exit::NotFound);
    owner.fails("token revoke 00 --of home", Exit::NotFound);
    owner.fails("serve home --listen 127.0.0.1:0", Exit::Usage);
    owner.fails("listen home --listen 127.0.0.1:0", Exit::Usage);
    owner.fails("watch home --with 127.0.0.1:9", Exit::Usage);
    owner.fails("sync home --with pal", Exit::Usage);
    owner.fails("sync home --with 127.0.0.1:9", Exit::Unreachable);
    owner.fails(&format!("join home {}", "ab".repeat(32)), Exit::WouldLose);
}

#[test]
fn what_is_exported_from_a_pal_is_imported_again() {
    let owner = Owner::new();
    owner.says("put home tea green");
    owner.says("put home ff00 00ff --hex");
    owner.says("include home tea Ada --sub likes");
    owner.says("add home visits 7 --sub counts");
    for number in 0..30 {
        owner.says(&format!("put home k{number} v --sub many"));
    }
    let (first, second) = (owner.dir.path().join("1"), owner.dir.path().join("2"));
    owner.says(&format!("export home {}", first.display()));
    assert_eq!(std::fs::read_to_string(&first).unwrap().lines().count(), 34);
    owner.says("create other");
    owner.says(&format!("import other {}", first.display()));
    owner.says(&format!("import other {}", first.display()));
    owner.says(&format!("export other {}", second.display()));
    assert_eq!(std::fs::read(&first).unwrap(), std::fs::read(&second).unwrap());
}

#[test]
fn a_pal_meets_a_device_that_it_dials() {
    let owner = Owner::new();
    owner.on_laptop("create theirs").unwrap();
    owner.on_laptop("put theirs tea green").unwrap();
    let person = Person::at(owner.dir.path().join("config"));
    let store = cloudpal_cli::local::store(&person, &owner.dir.path().join("laptop")).unwrap();
    let laptop = cloudpal_base::Database::open(&store, "theirs").unwrap();
    let server = store.serve("127.0.0.1:0", Access::Anyone).unwrap();
    owner.says(&format!("join theirs {}", hex::encode(laptop.key())));
    let sync = format!("sync theirs --with {} --patience 20", server.address());
    owner.fails(&sync, Exit::Refused);
    let info = owner.stage.done("GET", "/v1/databases/theirs/info", "");
    let request = info["request"].as_str().unwrap().parse().unwrap();
    let rights = cloudpal_base::Rights { role: cloudpal_base::Role::Writer, scope: vec![], until_ms: None };
    laptop.admit(&request, "pal", rights).unwrap();
    owner.says(&sync);
    owner.says("get theirs tea");
    assert_eq!(owner.stage.done("GET", "/v1/peers", "")["peers"], json!([]), "it hangs up");
}
