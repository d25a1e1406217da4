//! `cargo test -p cloudpal-machine --test machine bench`: what boot, sleep and wake cost here.

use crate::fixture::{Fixture, Guest};
use cloudpal_machine::Phases;
use cloudpal_machine::measure::Bare;
use std::process::ExitCode;
use std::time::{Duration, Instant};

pub fn run() -> ExitCode {
    let mut fixture = Fixture::new();
    let start = Instant::now();
    let (mut machine, mut guest) = fixture.boot();
    println!("boot to first answer {:.0} ms", ms(start.elapsed()));
    // Filled and freed: what init_on_free leaves of it is what counts.
    guest.ask("fill 40");
    guest.ask("drop");
    drop(guest);
    for round in 0..7 {
        let dest = fixture.path(&format!("asleep-{round}"));
        let made = machine.snapshot(&fixture.key, &fixture.binding, &dest).unwrap();
        println!(
            "sleep: saved {:.1} sealed {:.1} gone {:.1} ms; memory {:.1} MiB not zero, file {:.1} MiB, state {} bytes",
            ms(made.saved_after),
            ms(made.sealed_after),
            ms(made.gone_after),
            mib(made.memory.present_bytes),
            mib(made.memory.file_bytes),
            made.state.length,
        );
        let start = Instant::now();
        let paused = fixture.engine.restore(&fixture.spec, &dest, &fixture.key, &fixture.binding).unwrap();
        let phases = paused.phases;
        let mut guest = Guest::unasked(paused.channel().unwrap());
        guest.send("ping 1");
        machine = paused.cont().unwrap();
        let running = start.elapsed();
        guest.hear();
        println!(
            "wake: {}; running {:.1}, first answer {:.1} ms",
            show(phases),
            ms(running),
            ms(start.elapsed())
        );
        fixture.binding.generation += 1;
    }
    let bare = Bare::take(&machine).unwrap();
    for _ in 0..5 {
        let (start, paused) = fixture.engine.restore_bare(&fixture.spec, &bare).unwrap();
        let phases = paused.phases;
        let mut guest = Guest::unasked(paused.channel().unwrap());
        guest.send("ping 1");
        let machine = paused.cont().unwrap();
        let running = start.elapsed();
        guest.hear();
        println!(
            "bare: {}; running {:.1}, first answer {:.1} ms",
            show(phases),
            ms(running),
            ms(start.elapsed())
        );
        machine.kill().unwrap();
    }
    ExitCode::SUCCESS
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
