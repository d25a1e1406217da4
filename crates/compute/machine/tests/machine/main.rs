//! Real machines: boots a small guest (`tests/guest`) under QEMU, talks to it, puts it to sleep, wakes it,
//! tampers with it. Needs root and QEMU; fetches a Debian kernel package once unless
//! `CLOUDPAL_KERNEL_TREE` names an unpacked one. Run one test by giving part of its name.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bench;
mod faults;
mod fixture;
mod sleep;

use std::process::ExitCode;
use std::time::Instant;

const TESTS: &[(&str, fn())] = &[
    ("sleep::wakes_with_its_memory", sleep::wakes_with_its_memory),
    ("sleep::leaves_nothing_behind", sleep::leaves_nothing_behind),
    (
        "sleep::a_secret_is_found_in_the_decrypted_image_only",
        sleep::a_secret_is_found_in_the_decrypted_image_only,
    ),
    ("sleep::whatever_is_changed_is_refused", sleep::whatever_is_changed_is_refused),
    ("faults::the_machine_outlives_its_agent", faults::the_machine_outlives_its_agent),
    ("faults::a_full_disk_lets_it_run_on", faults::a_full_disk_lets_it_run_on),
    (
        "faults::absent_programs_and_wrong_specs_are_explained",
        faults::absent_programs_and_wrong_specs_are_explained,
    ),
    ("faults::no_machine_runs_twice", faults::no_machine_runs_twice),
    ("faults::the_hypervisor_has_no_rights", faults::the_hypervisor_has_no_rights),
    ("faults::a_flooded_console_stays_small", faults::a_flooded_console_stays_small),
    ("faults::disks_and_tap_reach_the_guest", faults::disks_and_tap_reach_the_guest),
    ("faults::kvm_is_judged_by_running_it", faults::kvm_is_judged_by_running_it),
];

fn main() -> ExitCode {
    let argument = std::env::args().nth(1);
    match argument.as_deref() {
        Some(fixture::HELPER) => return cloudpal_machine::helper_main(),
        Some(fixture::AGENT) => return faults::agent_that_will_be_killed(),
        Some("bench") => return bench::run(),
        _ => {}
    }
    let wanted = argument.filter(|argument| !argument.starts_with('-')).unwrap_or_default();
    fixture::clear_killed_runs();
    let mut failed = 0;
    for (name, test) in TESTS.iter().filter(|(name, _)| name.contains(&wanted)) {
        let start = Instant::now();
        let passed = std::panic::catch_unwind(test).is_ok();
        println!(
            "test {name} ... {} ({:.1} s)",
            if passed { "ok" } else { "FAILED" },
            start.elapsed().as_secs_f64()
        );
        failed += u32::from(!passed);
    }
    cloudpal_machine::remove_cgroup_parent(fixture::CGROUP).expect("no machine is left");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
