//! `cargo test -p cloudpal-machine --test machine bench`: what boot, sleep and wake cost here.

use crate::fixture::{Fixture, Guest};
use cloudpal_machine::measure::Bare;
use cloudpal_machine::{Paused, Phases};
use std::process::ExitCode;
use std::time::{Duration, Instant};

pub fn run() -> ExitCode {
    let fixture = Fixture::new();
    let start = Instant::now();
    let (machine, mut guest) = fixture.boot();
    println!("boot to first answer {:.0} ms", ms(start.elapsed()));
    // Filled and freed: what init_on_free leaves of it is what counts.
    guest.ask("fill 40");
    guest.ask("drop");
    drop(guest);
    println!("charged after boot {:.1} MiB", mib(machine.stats().memory_bytes));
    let bare = Bare::take(&machine).unwrap();
    let machine = fixture.engine.restore_bare(&fixture.spec, &bare).unwrap().1.cont().unwrap();
    let asleep = fixture.path("asleep");
    let made = machine.snapshot(&fixture.key, &fixture.binding, &asleep).unwrap();
    println!(
        "sleep: saved {:.1} sealed {:.1} gone {:.1} ms; memory {:.1} MiB not zero, file {:.1} MiB, state {} bytes",
        ms(made.saved_after),
        ms(made.sealed_after),
        ms(made.gone_after),
        mib(made.memory.present_bytes),
        mib(made.memory.file_bytes),
        made.state.length,
    );
    for _ in 0..9 {
        let start = Instant::now();
        let paused = fixture.engine.restore(&fixture.spec, &asleep, &fixture.key, &fixture.binding).unwrap();
        first_answer("sealed", start, paused);
        let (start, paused) = fixture.engine.restore_bare(&fixture.spec, &bare).unwrap();
        first_answer("bare", start, paused);
    }
    ExitCode::SUCCESS
}

fn first_answer(what: &str, start: Instant, paused: Paused) {
    let phases = paused.phases;
    let mut guest = Guest::unasked(paused.channel().unwrap());
    guest.send("ping 1");
    let machine = paused.cont().unwrap();
    let running = start.elapsed();
    guest.hear();
    let answered = start.elapsed();
    let charged = mib(machine.stats().memory_bytes);
    println!(
        "{what}: {}; running {:.1}, first answer {:.1} ms; charged {charged:.1} MiB",
        show(phases),
        ms(running),
        ms(answered)
    );
    machine.kill().unwrap();
}

fn show(phases: Phases) -> String {
    let Phases { started, ready, decrypted, loaded } = phases;
    format!(
        "started {:.1} ready {:.1} decrypted {:.1} loaded {:.1}",
        ms(started),
        ms(ready),
        ms(decrypted),
        ms(loaded)
    )
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
