//! `cloudpal`: see the crate's documentation and `cloudpal --help`.

use clap::{CommandFactory, Parser};
use cloudpal_cli::app::App;
use cloudpal_cli::args::{Cli, Command, CreditCommand, DeviceCommand};
use cloudpal_cli::command::delete::Consent;
use cloudpal_cli::command::{
    agent, create, credit, data, db, delete, device, init, open, pals, receipts, top_up,
};
use cloudpal_cli::credit::Purses;
use cloudpal_cli::failure::{Exit, Failure};
use cloudpal_cli::person::Person;
use cloudpal_cli::qr::Paint;
use cloudpal_cli::terminal::{Format, Report, Terminal};
use cloudpal_plan::conf::Routing;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("CLOUDPAL_LOG").unwrap_or_else(|_| EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("cloudpal: {failure}");
            failure.exit().into()
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let terminal = Terminal::new(if cli.json { Format::Json } else { Format::Text });
    match cli.command {
        Command::Completions { shell } => return completions(shell, &terminal),
        Command::Man { dir } => return manual(&dir),
        _ => {}
    }
    let person = Person::at(folder(cli.config)?);
    let purses = Purses::of(&person);
    let app = App { person: &person, credit: &purses, progress: &terminal };
    match cli.command {
        Command::Log(command) => data::log(data::Desk { app, terminal: &terminal }, command),
        Command::Bee(command) => data::bee(data::Desk { app, terminal: &terminal }, command),
        Command::Drive(command) => data::drive(data::Desk { app, terminal: &terminal }, command),
        Command::Db(command) => db::run(data::Desk { app, terminal: &terminal }, command),
        Command::Agent => agent::run(app, terminal),
        Command::Open { pal, listen, print } => {
            let browser = if print { open::Browser::Leave } else { open::Browser::Start };
            open::run(app, &terminal, pal.as_deref(), listen, browser)
        }
        command => terminal.print(&answer(command, app, &terminal)?),
    }
}

fn answer(command: Command, app: App<'_>, terminal: &Terminal) -> Result<Report, Failure> {
    match command {
        Command::Init { restore: true } => init::restore(app, terminal),
        Command::Init { restore: false } => init::make(app, terminal),
        Command::Credit(command) => credit(command, app, terminal),
        Command::Create { at, name, credit } => {
            create::run(app, &create::Wish { at, name, credit_cpm: credit })
        }
        Command::List => pals::list(app),
        Command::Status { pal } => pals::status(app, pal.as_deref()),
        Command::Receipts { pal, verify: true } => receipts::verify(app, pal.as_deref()),
        Command::Receipts { pal, verify: false } => receipts::show(app, pal.as_deref()),
        Command::Unlock(one) => pals::unlock(app, one.pal.as_deref()),
        Command::Lock(one) => pals::lock(app, one.pal.as_deref()),
        Command::Sleep(one) => pals::sleep(app, one.pal.as_deref()),
        Command::Wake(one) => pals::wake(app, one.pal.as_deref()),
        Command::TopUp { pal, cpm } => top_up::run(app, &pal, cpm),
        Command::Delete { pal, yes } => delete::run(app, &pal, consent(&pal, yes, terminal)?),
        Command::Device(command) => device(command, app, terminal),
        Command::Log(_)
        | Command::Bee(_)
        | Command::Drive(_)
        | Command::Db(_)
        | Command::Agent
        | Command::Open { .. }
        | Command::Completions { .. }
        | Command::Man { .. } => {
            unreachable!("these print for themselves")
        }
    }
}

fn credit(command: CreditCommand, app: App<'_>, terminal: &Terminal) -> Result<Report, Failure> {
    match command {
        CreditCommand::Buy { mint } => {
            // Without keys there is nothing to keep credit with: say so before asking for a voucher.
            app.person.phrase()?;
            credit::buy(app, &mint, &terminal.secret_line("Voucher (not shown):")?)
        }
        CreditCommand::Balance => credit::balance(app),
        CreditCommand::Recover { mint } => credit::recover(app, mint.as_deref()),
        CreditCommand::Reclaim { pal } => delete::reclaim(app, pal.as_deref()),
    }
}

fn device(command: DeviceCommand, app: App<'_>, terminal: &Terminal) -> Result<Report, Failure> {
    match command {
        DeviceCommand::Add { name, pal, conf, qr, no_qr, overlay_only } => {
            let on_terminal = std::io::stdout().is_terminal();
            let shown = !no_qr && (qr || on_terminal) && terminal.format() == Format::Text;
            // Without colours a dark terminal shows the code inverted, which not every camera reads.
            let plain = std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty());
            let paint = if plain { Paint::Plain } else { Paint::BlackOnWhite };
            let routing = if overlay_only { Routing::OverlayOnly } else { Routing::ThroughPal };
            device::add(app, &device::AddWish { name, pal, conf, qr: shown.then_some(paint), routing })
        }
        DeviceCommand::List { pal } => device::list(app, pal.as_deref()),
        DeviceCommand::Remove { name, pal } => device::remove(app, &name, pal.as_deref()),
        DeviceCommand::Restore { name, pal } => device::restore(app, &name, pal.as_deref()),
    }
}

fn consent(pal: &str, yes: bool, terminal: &Terminal) -> Result<Consent, Failure> {
    let question = format!("This deletes {pal} and its data for good. Type its name to go on:");
    let given = yes || terminal.confirms(&question, pal)?;
    Ok(if given { Consent::Given } else { Consent::Missing })
}

fn folder(given: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    given
        .or_else(|| from("XDG_CONFIG_HOME").filter(|dir| dir.is_absolute()).map(|dir| dir.join("cloudpal")))
        .or_else(|| from("HOME").map(|home| home.join(".config/cloudpal")))
        .ok_or_else(|| {
            Failure::new(Exit::Usage, "there is no home folder; say where keys are kept with --config DIR")
        })
}

fn completions(shell: clap_complete::Shell, terminal: &Terminal) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "cloudpal", &mut text);
    terminal.line(&String::from_utf8_lossy(&text))
}

fn manual(dir: &Path) -> Result<(), Failure> {
    let done = std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(Cli::command(), dir));
    done.map_err(|error| {
        Failure::because(Exit::Failed, format!("writing man pages into {} failed", dir.display()), error)
    })
}
