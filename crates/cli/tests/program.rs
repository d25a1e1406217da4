//! The program as it is run: exit codes, what goes where, and what never does.

// Helpers of tests, too, fail by panicking.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn cloudpal(dir: &Path, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloudpal"));
    command.arg("--config").arg(dir.join("config")).args(arguments).env_remove("CLOUDPAL_CONFIG");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A program that refuses before it reads closes the pipe.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn ends(output: &Output, code: i32, saying: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(saying), "\"{said}\" does not say \"{saying}\"");
}

fn words_of(text: &str) -> Vec<String> {
    let is_word = |part: &&str| part.chars().all(|c| c.is_ascii_lowercase()) && part.len() >= 3;
    let block = text.lines().filter(|line| line.trim_start().starts_with(|c: char| c.is_ascii_digit()));
    block.flat_map(str::split_whitespace).filter(is_word).map(str::to_owned).collect()
}

#[test]
fn init_shows_the_words_once_and_never_again() {
    let dir = tempfile::tempdir().unwrap();
    let made = cloudpal(dir.path(), &["init"], "");
    ends(&made, 0, "");
    let words = words_of(&String::from_utf8(made.stdout).unwrap());
    assert_eq!(words.len(), 24);
    assert!(!dir.path().join("config/recovery-kit.txt").exists());
    ends(&cloudpal(dir.path(), &["init"], ""), 6, "already holds the keys");
    ends(&cloudpal(dir.path(), &["init", "--restore"], &words.join(" ")), 6, "already holds the keys");
    for (path, mode) in [("config", 0o700), ("config/seed", 0o600), ("config/device.key", 0o600)] {
        let rights = std::fs::metadata(dir.path().join(path)).unwrap().permissions().mode();
        assert_eq!(rights & 0o777, mode, "{path}");
    }

    let other = tempfile::tempdir().unwrap();
    ends(&cloudpal(other.path(), &["init", "--restore"], &words.join("\n")), 0, "");
    let seed = |dir: &Path| std::fs::read(dir.join("config/seed")).unwrap();
    assert_eq!(seed(dir.path()), seed(other.path()));
}

#[test]
fn the_folder_may_be_a_bare_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloudpal"));
    command.current_dir(dir.path()).args(["--config", "mine", "init", "--json"]).stdin(Stdio::null());
    ends(&command.output().unwrap(), 0, "");
    assert!(dir.path().join("mine/seed").exists());
}

#[test]
fn json_output_holds_no_word_of_the_seed() {
    let dir = tempfile::tempdir().unwrap();
    let made = cloudpal(dir.path(), &["init", "--json"], "");
    ends(&made, 0, "");
    let json: Value = serde_json::from_slice(&made.stdout).unwrap();
    let kit = std::fs::read_to_string(json["words_file"].as_str().unwrap()).unwrap();
    let words = words_of(&kit);
    assert_eq!(words.len(), 24);
    let said = [made.stdout, made.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    // Some seed words are everyday words: two next to each other are not.
    assert!(words.windows(2).all(|two| !said.contains(&two.join(" "))));
    let rights = std::fs::metadata(json["words_file"].as_str().unwrap()).unwrap().permissions().mode();
    assert_eq!(rights & 0o777, 0o600);
}

#[test]
fn wrong_words_are_refused_and_nothing_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let zeros = format!("{}art", "abandon ".repeat(23));
    for (words, saying) in [
        ("", "24 words"),
        ("one two three", "24 words"),
        (&zeros.replace("art", "xyzzy"), "word 24"),
        (&zeros.replace("art", "zoo"), "order"),
    ] {
        ends(&cloudpal(dir.path(), &["init", "--restore"], words), 2, saying);
        assert!(!dir.path().join("config/seed").exists());
    }
    ends(&cloudpal(dir.path(), &["init", "--restore"], &zeros), 0, "");
}

#[test]
fn exit_codes_are_the_documented_ones() {
    let dir = tempfile::tempdir().unwrap();
    ends(&cloudpal(dir.path(), &["--frobnicate"], ""), 2, "--frobnicate");
    ends(&cloudpal(dir.path(), &["status", "--frobnicate"], ""), 2, "--frobnicate");
    ends(&cloudpal(dir.path(), &[], ""), 2, "Usage");
    ends(&cloudpal(dir.path(), &["credit", "buy", "--mint", "http://127.0.0.1:9"], "x"), 3, "cloudpal init");
    ends(&cloudpal(dir.path(), &["init", "--json"], ""), 0, "");
    ends(&cloudpal(dir.path(), &["unlock"], ""), 3, "no pal yet");
    ends(&cloudpal(dir.path(), &["unlock", "ada"], ""), 3, "ada");
    ends(&cloudpal(dir.path(), &["create", "--at", "http://127.0.0.1:9"], ""), 5, "does not answer");
    ends(&cloudpal(dir.path(), &["create", "--at", "gopher://x"], ""), 2, "not a host's address");
    ends(&cloudpal(dir.path(), &["open", "--listen", "0.0.0.0:0"], ""), 2, "reached from outside");
    let buy = ["credit", "buy", "--mint", "http://127.0.0.1:9"];
    ends(&cloudpal(dir.path(), &buy, "not a voucher\n"), 2, "not a voucher");
    ends(&cloudpal(dir.path(), &buy, ""), 2, "no voucher");
    let help = cloudpal(dir.path(), &["--help"], "");
    let help = String::from_utf8(help.stdout).unwrap();
    (0..=6).for_each(|code| assert!(help.contains(&format!("\n  {code}  ")), "{code} is not documented"));
}

#[test]
fn a_seller_out_of_reach_is_5_and_the_voucher_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    ends(&cloudpal(dir.path(), &["init", "--json"], ""), 0, "");
    let voucher = "CPM500-";
    let buy = ["credit", "buy", "--mint", "http://127.0.0.1:9"];
    let code = cloudpal_purse::Voucher::new(500, [7; 16]).unwrap().reveal();
    assert!(code.starts_with(voucher));
    ends(&cloudpal(dir.path(), &buy, &code), 5, "nothing is lost");
    let secret = code.rsplit('-').next().unwrap().to_owned();
    let said = cloudpal(dir.path(), &buy, &code);
    let said = [said.stdout, said.stderr].concat();
    assert!(!String::from_utf8_lossy(&said).contains(&secret), "the voucher was printed");
}

#[test]
fn reading_commands_print_one_json_object() {
    let dir = tempfile::tempdir().unwrap();
    ends(&cloudpal(dir.path(), &["init", "--json"], ""), 0, "");
    for command in [&["list"][..], &["status"], &["credit", "balance"]] {
        let output = cloudpal(dir.path(), &[command, &["--json"]].concat(), "");
        ends(&output, 0, "");
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(json.is_object(), "{command:?}");
    }
}

#[test]
fn completions_and_manual_come_from_the_same_description() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let output = cloudpal(dir.path(), &["completions", shell], "");
        assert!(String::from_utf8(output.stdout).unwrap().contains("top-up"), "{shell}");
    }
    let man = dir.path().join("man");
    ends(&cloudpal(dir.path(), &["man", man.to_str().unwrap()], ""), 0, "");
    assert!(man.join("cloudpal.1").exists() && man.join("cloudpal-create.1").exists());
    assert!(!dir.path().join("config").exists(), "neither needs a person");
}

#[test]
fn the_agent_ends_when_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    ends(&cloudpal(dir.path(), &["init", "--json"], ""), 0, "");
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloudpal"));
    let mut agent = command.arg("--config").arg(dir.path().join("config")).arg("agent").spawn().unwrap();
    let pid = nix::unistd::Pid::from_raw(agent.id() as i32);
    // Until it has set up its handlers, SIGTERM would end it by the default: then it has no exit code.
    let caught = || std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let handled = |status: &str| {
        let line = status.lines().find(|line| line.starts_with("SigCgt:")).unwrap();
        u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap() & (1 << 14) != 0
    };
    while !handled(&caught()) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(agent.wait().unwrap().code(), Some(0));
}
