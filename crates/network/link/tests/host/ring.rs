//! The doorbell rung by real WireGuard clients, over the real path.

use crate::stage::{PAL_SECRET, PAL_V4, PAL_V6, PORT, Stage, WORLD_V4, WORLD_V6, numbered, pal_key, run};
use boringtun::noise::{Tunn, TunnResult};
use cloudpal_link::{Doorbell, Namespace, Recorded};
use cloudpal_plan::wake::BURST;
use std::net::{IpAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn client() -> Tunn {
    let public = x25519_dalek::PublicKey::from(*pal_key().as_bytes());
    Tunn::new(x25519_dalek::StaticSecret::from([0x22; 32]), public, None, None, 7, None)
}

fn initiation(client: &mut Tunn) -> Vec<u8> {
    match client.format_handshake_initiation(&mut [0; 256], true) {
        TunnResult::WriteToNetwork(packet) => packet.to_vec(),
        other => panic!("no initiation: {other:?}"),
    }
}

/// Pumps until something was read.
fn rings(bell: &mut Doorbell) -> bool {
    let until = Instant::now() + Duration::from_secs(20);
    while Instant::now() < until {
        let heard = bell.pump().unwrap();
        if heard.read > 0 {
            return heard.rung;
        }
        bell.wait(Some(Duration::from_millis(100))).unwrap();
    }
    panic!("nothing came to the doorbell");
}

#[test]
fn an_initiation_rings_once_and_reaches_the_machine() {
    let stage = Stage::set();
    let (machine, mut bell) = (stage.machine(), stage.bell());
    let socket = stage.socket(WORLD_V4.into());
    let first = initiation(&mut client());
    bell.listen(&Recorded::default());
    socket.send(&first).unwrap();
    assert!(rings(&mut bell));
    bell.hand_over(stage.tenant.switch()).unwrap();
    assert_eq!(machine.wait_for(1), [first.as_slice()]);
    let mut message = [0; 92];
    message[0] = 2;
    message[8..12].copy_from_slice(&0x5555_5555u32.to_le_bytes());
    machine.answer(&message);

    stage.tenant.switch().to_bell().unwrap();
    bell.listen(&stage.tenant.recorded().unwrap());
    socket.send(&first).unwrap();
    assert!(!rings(&mut bell), "a replay rang");
    let mut answered = initiation(&mut client());
    answered[4..8].copy_from_slice(&0x5555_5555u32.to_le_bytes());
    socket.send(&answered).unwrap();
    assert!(!rings(&mut bell), "a changed initiation rang");

    let memory = bell.memory();
    drop(bell);
    let mut bell = stage.bell();
    bell.remember(&memory).unwrap();
    bell.listen(&stage.tenant.recorded().unwrap());
    socket.send(&first).unwrap();
    assert!(!rings(&mut bell), "a replay rang after a restart");
    socket.send(&initiation(&mut client())).unwrap();
    assert!(rings(&mut bell), "control");
}

#[test]
fn an_initiation_that_came_while_awake_and_was_not_answered_does_not_ring_later() {
    let stage = Stage::set();
    let (machine, mut bell) = (stage.machine(), stage.bell());
    let socket = stage.socket(WORLD_V4.into());
    stage.tenant.switch().to_tap().unwrap();
    let mut client = client();
    let unanswered = initiation(&mut client);
    socket.send(&unanswered).unwrap();
    assert_eq!(machine.wait_for(1), [unanswered.as_slice()]);
    stage.tenant.switch().to_bell().unwrap();
    bell.listen(&stage.tenant.recorded().unwrap());
    socket.send(&unanswered).unwrap();
    assert!(!rings(&mut bell), "a replay rang");
    socket.send(&initiation(&mut client)).unwrap();
    assert!(rings(&mut bell), "control");
}

#[test]
fn data_of_a_recorded_session_rings() {
    let stage = Stage::set();
    let (machine, mut bell) = (stage.machine(), stage.bell());
    stage.tenant.switch().to_tap().unwrap();
    let socket = stage.socket(WORLD_V6.into());
    socket.send(&numbered(1)).unwrap();
    machine.wait_for(1);
    let mut response = [0; 92];
    response[0] = 2;
    response[4..8].copy_from_slice(&7u32.to_le_bytes());
    machine.answer(&response);
    socket.recv(&mut [0; 200]).unwrap();
    stage.tenant.switch().to_bell().unwrap();
    bell.listen(&stage.tenant.recorded().unwrap());
    let keepalive = &numbered(1)[..32];
    socket.send(keepalive).unwrap();
    assert!(!rings(&mut bell), "a keepalive rang");
    stage.socket(WORLD_V6.into()).send(&numbered(1)).unwrap();
    assert!(!rings(&mut bell), "data from elsewhere rang");
    socket.send(&numbered(1)).unwrap();
    assert!(rings(&mut bell));
}

fn challenges_come_back(world: IpAddr) {
    let stage = Stage::set();
    let mut bell = stage.bell();
    let socket: UdpSocket = stage.socket(world);
    let mut client = client();
    bell.listen(&Recorded::default());
    for ring in 0..BURST {
        socket.send(&initiation(&mut client)).unwrap();
        assert!(rings(&mut bell), "ring {ring}");
        bell.listen(&Recorded::default());
    }
    socket.send(&initiation(&mut client)).unwrap();
    assert!(!rings(&mut bell), "the budget has no end");
    let mut reply = [0; 200];
    let length = socket.recv(&mut reply).expect("the cookie reply comes back");
    let mut buffer = [0; 256];
    let taken = client.decapsulate(None, &reply[..length], &mut buffer);
    assert!(matches!(taken, TunnResult::Done), "{taken:?}");
    socket.send(&initiation(&mut client)).unwrap();
    assert!(rings(&mut bell), "the proof of the cookie was not taken");
    assert_eq!((bell.counters().challenged, bell.counters().rung), (1, BURST + 1));
}

#[test]
fn challenges_come_back_by_ipv4() {
    challenges_come_back(WORLD_V4.into());
}

#[test]
fn challenges_come_back_by_ipv6() {
    challenges_come_back(WORLD_V6.into());
}

/// Debian's wireguard-go in the world's namespace; ends when dropped.
struct Stock(Child);

impl Stock {
    fn start(world: &Namespace, pal: IpAddr) -> Stock {
        let interface = format!("wg{}", std::process::id() % 100_000);
        let arguments = ["-f", &interface];
        let start = || {
            let mut program = Command::new("wireguard-go");
            program.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
        };
        let stock = Stock(world.run(start).unwrap().expect("wireguard-go is installed"));
        let answers =
            || Command::new("wg").args(["show", &interface]).output().is_ok_and(|o| o.status.success());
        let until = Instant::now() + Duration::from_secs(20);
        while !world.run(answers).unwrap() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        let key = run(world, "wg", "genkey");
        let file = std::env::temp_dir().join(format!("{interface}.conf"));
        let endpoint = std::net::SocketAddr::new(pal, PORT);
        let public = {
            let secret = x25519_dalek::StaticSecret::from(PAL_SECRET);
            base64(x25519_dalek::PublicKey::from(&secret).as_bytes())
        };
        let conf = format!(
            "[Interface]\nPrivateKey = {key}[Peer]\nPublicKey = {public}\nAllowedIPs = 100.64.1.0/24\nEndpoint = {endpoint}\n"
        );
        std::fs::write(&file, conf).unwrap();
        run(world, "wg", &format!("setconf {interface} {}", file.display()));
        std::fs::remove_file(&file).unwrap();
        for arguments in
            [format!("address add 100.64.1.2/24 dev {interface}"), format!("link set {interface} up")]
        {
            run(world, "ip", &arguments);
        }
        stock
    }
}

impl Drop for Stock {
    fn drop(&mut self) {
        // A signal that lets it remove its socket.
        let pid = nix::unistd::Pid::from_raw(self.0.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

fn base64(bytes: &[u8; 32]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        let letter = |at: usize| char::from(LETTERS[(bits >> (18 - 6 * at) & 63) as usize]);
        (0..=chunk.len()).for_each(|at| text.push(letter(at)));
    }
    text + "="
}

#[test]
fn a_stock_client_rings_when_its_owner_says_something() {
    let stage = Stage::set();
    let mut bell = stage.bell();
    bell.listen(&Recorded::default());
    for pal in [IpAddr::V4(PAL_V4), IpAddr::V6(PAL_V6)] {
        let _stock = Stock::start(&stage.world, pal);
        let say = || UdpSocket::bind("100.64.1.2:0")?.send_to(b"hello", "100.64.1.1:9");
        stage.world.run(say).unwrap().unwrap();
        assert!(rings(&mut bell), "{pal}");
        bell.listen(&Recorded::default());
    }
    assert_eq!(bell.counters().rung, 2);
}
