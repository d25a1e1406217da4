//! # cloudpal-host: what a data centre runs
//!
//! The agent boots pals in micro-VMs, listens at their doorbells while they sleep, wakes them on the
//! first packet, takes tickets and writes receipts. It knows pals, never people.
//!
//! It never reads what passes between an owner and a pal, never holds a data key, and nothing that a
//! running machine needs lives in it: machines outlive the agent and are adopted by the next one.
//!
//! ```text
//! cloudpal-host --state DIR init --name example --mint https://mint.example
//! cloudpal-host --state DIR image build --kernel-tree DIR --init FILE --pald FILE
//! cloudpal-host --state DIR serve
//! ```

mod api;
mod check;
mod commands;
mod config;
mod credit;
mod doorbell;
mod keys;
mod lifecycle;
mod network;
mod operator;
mod registry;
mod serve;
mod store;
mod time;
mod worker;

use clap::Parser;
use commands::Cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == serve::MACHINE_HELPER) {
        return cloudpal_machine::helper_main();
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Printing to a closed terminal is nothing to report.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    start_logging(cli.log_format);
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cloudpal-host: {error:#}");
            ExitCode::from(commands::exit_code(&error))
        }
    }
}

fn start_logging(format: commands::LogFormat) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("CLOUDPAL_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        commands::LogFormat::Text => {
            logs.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init()
        }
        commands::LogFormat::Json => logs.json().init(),
    }
}
