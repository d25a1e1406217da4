//! `cargo xtask up`: from a fresh machine to a running pal.

use crate::outside::{Outside, Wishes, text};
use crate::run::{output, step};
use crate::service::{Party, Service, already, program};
use crate::state::{Memory, State, person_user, write};
use crate::{StateOption, build, down, kernel, net, packages, root, tree};
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::fs;
use std::net::{IpAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    state: StateOption,
    /// Leave it running and return; `cargo xtask down` stops it
    #[arg(long)]
    detach: bool,
    /// Print one JSON object, the same as in DIR/up.json
    #[arg(long)]
    json: bool,
    /// Make the pal reachable at this IPv4 address of this machine, UDP port 51820, for a real phone
    #[arg(long, value_name = "ADDR")]
    listen: Option<IpAddr>,
    /// What the pal is called: its page is home.NAME.internal
    #[arg(long, default_value = "mypal")]
    name: String,
    /// Worth of the voucher that pays for it, in cpm (minutes awake)
    #[arg(long, default_value_t = 600)]
    voucher: u64,
    /// How much of that is handed to the pal at once, in cpm
    #[arg(long, default_value_t = 240)]
    credit: u64,
    /// Seconds without use until the pal sleeps
    #[arg(long, default_value_t = 180)]
    idle_s: u32,
    /// Metered seconds per real second, to see credit run out without waiting
    #[arg(long, default_value_t = 1)]
    meter_scale: u32,
    /// Packages, kernel and programs are there already: go on as root
    #[arg(long, hide = true)]
    prepared: bool,
}

/// Brings everything up; whatever goes wrong, nothing stays running. Where it is up already, only
/// programs that have ended are started again.
pub fn up(options: &Options) -> Result<()> {
    if !options.prepared {
        prepare()?;
    }
    if let Some(status) = root::again(&["--prepared"])? {
        std::process::exit(status.code().unwrap_or(1));
    }
    let interrupted = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP]);
    let mut interrupted = interrupted.context("cannot watch for Ctrl-C")?;
    let state = State::locate(options.state.dir.as_deref())?;
    let mending = down::running(&state)?;
    if !mending {
        // What a crash or a reboot left half up.
        down::stop_everything(&state)?;
    }
    let report = match bring_up(&state, options, mending) {
        // A signal during the work shows in whatever it broke; one that broke nothing is still heeded.
        Ok(_) if interrupted.pending().next().is_some() => Err(anyhow::anyhow!("interrupted")),
        result => result,
    };
    let report = report.inspect_err(|_| {
        if mending {
            return;
        }
        eprintln!(
            "==> that did not work; stopping what was started (logs stay in {})",
            state.dir().display()
        );
        if let Err(error) = down::stop_everything(&state) {
            eprintln!("    {error:#}");
        }
    })?;
    if options.json {
        println!("{report}");
    } else {
        print_for_people(&state, &report, options.detach);
    }
    if options.detach {
        return Ok(());
    }
    interrupted.forever().next();
    eprintln!();
    step("stopping", || down::stop_everything(&state))
}

/// What can be done without root: all that takes long.
pub fn prepare() -> Result<()> {
    if std::env::consts::ARCH != "x86_64" {
        bail!("pals' machines are x86_64 only so far; this machine is {}", std::env::consts::ARCH);
    }
    step("system packages", packages::install_missing)?;
    step("a kernel for pals (downloaded, not installed)", kernel::fetch)?;
    step("building the programs", build::programs)?;
    step("building the programs inside a pal", build::guest_programs)
}

fn bring_up(state: &State, options: &Options, mending: bool) -> Result<Value> {
    if let Some(address) = options.listen.filter(|_| !mending) {
        net::check_listen(address)?;
    }
    let mut memory = step("state folder", || lay_out(state))?;
    let net = net::Net::new(state, &memory);
    if !mending {
        step("network for trying out", || net.build())?;
    }
    let mint = step("seller", || start_mint(state, &mut memory))?;
    let host = step("data centre", || start_host(state, &mut memory, &net, options, &mint))?;
    let outside = Outside { state, mint: text(&mint, "url")?, host: text(&host, "url")? };
    let wishes = Wishes { name: &options.name, voucher: options.voucher, credit: options.credit };
    let pal = step("a pal, its credit and a phone's config", || outside.first_day(&mut memory, &wishes))?;
    if let Some(address) = options.listen.filter(|_| memory.listen.is_none()) {
        let public: IpAddr = text(&pal, "public_address")?.parse().context("the pal's public address")?;
        // Remembered first: whatever happens then, `down` sets it back.
        memory.forwarded_before = Some(net::forwarding()?);
        memory.listen = Some(address);
        state.remember(&memory)?;
        net.open_to_outside(address, public)?;
    }
    step("the device agent", || start_agent(state, &mut memory))?;
    let report = report(state, options, &net, &memory, [mint, host, pal]);
    write(&state.join("up.json"), &serde_json::to_string_pretty(&report)?)?;
    Ok(report)
}

/// What `up.json` says: how to reach everything; paths of secrets, never secrets.
fn report(state: &State, options: &Options, net: &net::Net, memory: &Memory, parties: [Value; 3]) -> Value {
    let [mint, host, pal] = parties;
    let pid =
        |name: &str| memory.services.iter().find(|service| service.name == name).map(|service| service.pid);
    let seen = options
        .listen
        .map_or_else(|| text(&pal, "public_address").unwrap_or_default(), |own| own.to_string());
    json!({
        "what": "up",
        "commit": tree::commit(),
        "ok": true,
        "machine": machine(host.get("hypervisor")),
        "state": state.dir(),
        "mint": {
            "url": mint["url"],
            "unit": mint["unit"],
            "pid": pid("cloudpal-mint"),
            "state": state.join("mint"),
            "program": state.program("cloudpal-mint"),
        },
        "host": {
            "url": host["url"],
            "public_address": seen,
            "pid": pid("cloudpal-host"),
            "state": state.join("host"),
            "program": state.program("cloudpal-host"),
        },
        "pal": pal,
        "cli": { "program": state.program("cloudpal"), "config": state.join("person"), "user": person_user() },
        "namespaces": net.describe(),
        "time_scale": { "meter": options.meter_scale, "idle_s": options.idle_s },
        "listen": options.listen,
        // How each program is run as its party's user with that party's rights; append a command.
        "run": {
            "person": words(&program(state, Party::Person, "cloudpal")),
            "host": words(&program(state, Party::Host, "cloudpal-host")),
            "mint": words(&program(state, Party::Mint, "cloudpal-mint")),
        },
        "stop": down::hint(state),
    })
}

/// Folders, ports, and copies of the programs: a later build must not change what is running, and the
/// parties' users need not be able to read the sources.
fn lay_out(state: &State) -> Result<Memory> {
    state.lay_out()?;
    let mut memory = state.recall()?.unwrap_or_default();
    if memory.mint_port == 0 {
        memory.subnet = net::free_subnet((state.hash() >> 24) as u8)?;
        (memory.mint_port, memory.host_port) = free_ports()?;
    }
    memory.services.retain(|service| service.alive());
    state.remember(&memory)?;
    for name in ["cloudpal-mint", "cloudpal-host", "cloudpal"] {
        copy(tree::program(name)?, state.program(name))?;
    }
    for name in ["cloudpal-init", "cloudpald"] {
        copy(tree::guest_program(name)?, state.program(name))?;
    }
    kernel::unpack(&kernel::fetch()?, &state.program("kernel"))?;
    Ok(memory)
}

fn copy(from: PathBuf, to: PathBuf) -> Result<()> {
    // Over a running program one cannot write; beside it one can.
    let fresh = to.with_extension("fresh");
    fs::copy(&from, &fresh)
        .and_then(|_| fs::rename(&fresh, &to))
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

fn free_ports() -> Result<(u16, u16)> {
    let free = || TcpListener::bind("127.0.0.1:0").context("no free port on 127.0.0.1");
    let (one, two) = (free()?, free()?);
    Ok((one.local_addr()?.port(), two.local_addr()?.port()))
}

fn start_mint(state: &State, memory: &mut Memory) -> Result<Value> {
    memory.once(state, "mint-init", || {
        output(program(state, Party::Mint, "cloudpal-mint").arg("init")).map(drop)
    })?;
    let listen = format!("127.0.0.1:{}", memory.mint_port);
    serve(state, memory, Party::Mint, "cloudpal-mint", &["serve", "--listen", &listen])
}

fn start_host(
    state: &State,
    memory: &mut Memory,
    net: &net::Net,
    options: &Options,
    mint: &Value,
) -> Result<Value> {
    let host = || program(state, Party::Host, "cloudpal-host");
    let listen = format!("127.0.0.1:{}", memory.host_port);
    memory.once(state, "host-init", || {
        let mut init = host();
        init.args(["init", "--name", "try", "--mint", &text(mint, "url")?, "--public-v4", &net.public_v4()]);
        init.args(["--uplink-netns", &net.data_centre(), "--listen", &listen]);
        init.args([
            "--idle-s",
            &options.idle_s.to_string(),
            "--meter-scale",
            &options.meter_scale.to_string(),
        ]);
        if let Some(range) = net.public_v6() {
            init.args(["--public-v6", &range]);
        }
        if let Some(address) = options.listen {
            init.args(["--endpoint-host", &address.to_string()]);
        }
        output(init).map(drop)
    })?;
    let parts = parts_of_image()?;
    if memory.image != parts {
        let mut image = host();
        image.args(["image", "build", "--kernel-tree"]).arg(state.program("kernel"));
        image.arg("--init").arg(state.program("cloudpal-init")).arg("--pald").arg(state.program("cloudpald"));
        output(image)?;
        memory.image = parts;
        state.remember(memory)?;
    }
    serve(state, memory, Party::Host, "cloudpal-host", &["serve"])
}

/// What tells one build of the guest's image from another: names, sizes and times of its parts.
fn parts_of_image() -> Result<String> {
    let parts = [kernel::fetch()?, tree::guest_program("cloudpal-init")?, tree::guest_program("cloudpald")?];
    let describe = |part: &PathBuf| {
        let about = fs::metadata(part).with_context(|| format!("{} is not built", part.display()))?;
        let changed = about.modified()?.duration_since(UNIX_EPOCH)?.as_millis();
        anyhow::Ok(format!("{} {} {changed}", part.display(), about.len()))
    };
    Ok(parts.iter().map(describe).collect::<Result<Vec<_>>>()?.join("\n"))
}

fn start_agent(state: &State, memory: &mut Memory) -> Result<()> {
    if memory.services.iter().any(|service| service.name == "cloudpal") {
        return Ok(());
    }
    let mut agent = Service::start(state, Party::Person, "cloudpal", &["agent"])?;
    memory.services.push(agent.started.clone());
    state.remember(memory)?;
    agent.settled()
}

/// Starts a program that says when it is ready. It is remembered first, so that it is stopped
/// whatever happens then.
fn serve(state: &State, memory: &mut Memory, party: Party, name: &str, arguments: &[&str]) -> Result<Value> {
    if let Some(said) = already(state, party, name, &memory.services) {
        return Ok(said);
    }
    let mut service = Service::start(state, party, name, arguments)?;
    memory.services.push(service.started.clone());
    state.remember(memory)?;
    service.ready(Duration::from_secs(60))
}

fn words(command: &Command) -> Vec<String> {
    let all = std::iter::once(command.get_program()).chain(command.get_args());
    all.map(|word| word.to_string_lossy().into_owned()).collect()
}

/// What every report says of the machine it ran on.
pub fn machine(hypervisor: Option<&Value>) -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let memory_kib = read("/proc/meminfo").split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
    let mut machine = json!({
        "cores": std::thread::available_parallelism().map_or(1, usize::from),
        "memory_mib": memory_kib.map(|kib| kib / 1024),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
    });
    if let Some(hypervisor) = hypervisor {
        machine["hypervisor"] = hypervisor.clone();
    }
    machine
}

fn print_for_people(state: &State, report: &Value, detached: bool) {
    let at = |path: &str| report.pointer(path).and_then(Value::as_str).unwrap_or("?").to_owned();
    let cli = format!("{} --config {}", at("/cli/program"), at("/cli/config"));
    match Outside::qr(state) {
        Ok(code) => println!("{code}\n"),
        Err(error) => eprintln!("    no QR code: {error:#}"),
    }
    println!("Page       {}", at("/pal/page_url"));
    println!("           `{cli} open` opens it through the tunnel");
    println!("WireGuard  {}", at("/pal/wireguard/conf"));
    println!("           the code above holds the same; scan it with the WireGuard app");
    if report.pointer("/host/public_address").is_some()
        && at("/pal/wireguard/endpoint").starts_with("198.18.")
    {
        println!("           (reachable on this machine only; for a real phone: up --listen ADDR)");
    }
    let balance = &report["pal"]["balance"];
    let held = match balance["pal_cpm"].as_u64() {
        Some(cpm) => format!("{cpm} cpm with the pal"),
        None => "the pal sleeps and does not say what it holds".into(),
    };
    println!("Balance    {} cpm in the purse, {held} (a cpm is a minute awake)", balance["purse_cpm"]);
    println!(
        "Seed       24 words in {}/recovery-kit.txt: print them, then delete the file",
        at("/cli/config")
    );
    println!("Stop       {}", if detached { at("/stop") } else { format!("Ctrl-C, or {}", at("/stop")) });
}
