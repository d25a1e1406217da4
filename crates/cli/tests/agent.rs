//! The agent as a program of its own, against a host in this one.

// Helpers of tests, too, fail by panicking.
#![allow(clippy::unwrap_used)]

mod fake;

use cloudpal_cli::command::{create, pals};
use cloudpal_protocol::api::PalState;
use fake::World;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

struct Agent {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Agent {
    fn of(world: &World) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cloudpal"));
        command.arg("--config").arg(world.person.dir()).args(["agent", "--json"]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Agent { child, lines }
    }

    /// The next thing it says of a pal.
    fn event(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        json["event"].as_str().unwrap().to_owned()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn unlocks_a_pal_each_time_it_wakes_but_not_against_its_owner() {
    let world = World::with_credit(100);
    let wish = create::Wish { at: world.host.url.clone(), name: "ada".into(), credit_cpm: Some(50) };
    create::run(world.app(), &wish).unwrap();
    pals::sleep(world.app(), None).unwrap();

    let mut agent = Agent::of(&world);
    assert_eq!(agent.event(), "watching");
    for wakes in 1..=2 {
        world.host.with_pal(|pal| pal.wake());
        assert_eq!(agent.event(), "unlocked");
        world.host.with_pal(|pal| {
            assert_eq!(pal.unlocks, 1 + wakes);
            pal.to(PalState::Asleep);
        });
    }
    world.host.with_pal(|pal| pal.wake());
    assert_eq!(agent.event(), "unlocked");
    pals::lock(world.app(), None).unwrap();
    let locked = world.host.with_pal(|pal| pal.unlocks);
    // Each look of the agent from now on finds a pal that is to stay locked.
    let looks = world.host.state().looks;
    while world.host.state().looks < looks + 20 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    world.host.with_pal(|pal| assert_eq!(pal.unlocks, locked));

    world.host.with_pal(|pal| pal.to(PalState::Gone));
    assert_eq!(agent.event(), "gone");
}
