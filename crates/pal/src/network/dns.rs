//! The devices' resolver. Names under `internal` are answered here or not at all; everything else is
//! asked of the resolvers the host names. It listens on the overlay addresses only.

use cloudpal_plan::{Overlay, Roster, names};
use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR, SOA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

const PORT: u16 = 53;
/// Our own names may change with the next roster.
const TTL_S: u32 = 30;
/// One resolver outside may take this long.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Questions answered at the same time; more wait.
const AT_ONCE: usize = 64;

/// The names of one pal.
#[derive(Clone, Debug)]
pub struct Zone {
    /// Names and addresses of devices.
    pub roster: Roster,
    /// Address of the pal itself.
    pub overlay: Overlay,
}

/// What all resolver tasks share.
pub struct Shared {
    zone: RwLock<Zone>,
    resolvers: Vec<SocketAddr>,
    room: Arc<Semaphore>,
}

/// What to do with a query.
#[derive(Debug)]
enum Verdict {
    /// Send this.
    Answer(Box<Message>),
    /// Ask outside.
    Forward,
    /// Not a query; say nothing.
    Ignore,
}

impl Shared {
    /// For these names and resolvers.
    pub fn new(zone: Zone, resolvers: Vec<SocketAddr>) -> Self {
        Shared { zone: RwLock::new(zone), resolvers, room: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Changes the names.
    pub fn set(&self, zone: Zone) {
        *self.zone.write().unwrap_or_else(PoisonError::into_inner) = zone;
    }

    /// The answer to one query; none if it is not one.
    async fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let _room = self.room.acquire().await.ok()?;
        let verdict = judge(&self.zone.read().unwrap_or_else(PoisonError::into_inner), query);
        match verdict {
            Verdict::Answer(message) => message.to_vec().ok(),
            Verdict::Ignore => None,
            Verdict::Forward => match self.forward(query).await {
                Some(answer) => Some(answer),
                None => failure(query, ResponseCode::ServFail)?.to_vec().ok(),
            },
        }
    }

    async fn forward(&self, query: &[u8]) -> Option<Vec<u8>> {
        for resolver in &self.resolvers {
            let answer = timeout(PATIENCE, ask_udp(*resolver, query)).await.ok().and_then(Result::ok);
            match answer {
                Some(answer) if answer.get(2).is_some_and(|flags| flags & 2 != 0) => {
                    // Truncated: the whole answer comes over TCP.
                    let whole = timeout(PATIENCE, ask_tcp(*resolver, query)).await.ok().and_then(Result::ok);
                    return Some(whole.unwrap_or(answer));
                }
                Some(answer) => return Some(answer),
                None => {}
            }
        }
        None
    }
}

/// Reads a query and decides. Total: whatever the bytes are.
fn judge(zone: &Zone, query: &[u8]) -> Verdict {
    let Ok(message) = Message::from_vec(query) else {
        return match failure(query, ResponseCode::FormErr) {
            Some(answer) => Verdict::Answer(Box::new(answer)),
            None => Verdict::Ignore,
        };
    };
    if message.metadata.message_type != MessageType::Query {
        return Verdict::Ignore;
    }
    let [question] = message.queries.as_slice() else {
        return Verdict::Answer(Box::new(reply(&message, ResponseCode::FormErr)));
    };
    if message.metadata.op_code != OpCode::Query {
        return Verdict::Answer(Box::new(reply(&message, ResponseCode::NotImp)));
    }
    let name = question.name().to_ascii();
    let asked = names::reverse_query(&name);
    if let Some(address) = asked.filter(|address| zone.overlay.contains(*address)) {
        let found = names::reverse(&zone.roster, &zone.overlay, address);
        let target = found.and_then(|found| Name::from_ascii(format!("{found}.")).ok());
        return Verdict::Answer(Box::new(own(&message, target.map(|target| vec![RData::PTR(PTR(target))]))));
    }
    if !names::is_internal(&name) {
        return Verdict::Forward;
    }
    let place = names::resolve(&zone.roster, &zone.overlay, &name);
    let data = place.map(|place| vec![RData::A(A(place.v4)), RData::AAAA(AAAA(place.v6))]);
    Verdict::Answer(Box::new(own(&message, data)))
}

/// An answer from our own names: records of the type asked for, or that there is no such name.
fn own(query: &Message, data: Option<Vec<RData>>) -> Message {
    let code = if data.is_some() { ResponseCode::NoError } else { ResponseCode::NXDomain };
    let mut answer = reply(query, code);
    answer.metadata.authoritative = true;
    let Some(question) = query.queries.first() else { return answer };
    let fits = |data: &RData| {
        [data.record_type(), RecordType::ANY].contains(&question.query_type())
            || question.query_type() == data.record_type()
    };
    let class = [DNSClass::IN, DNSClass::ANY].contains(&question.query_class());
    for data in data.into_iter().flatten().filter(|data| class && fits(data)) {
        answer.answers.push(Record::from_rdata(question.name().clone(), TTL_S, data));
    }
    if answer.answers.is_empty() {
        // Lets the asker remember for a while that there is nothing.
        let soa = SOA::new(internal(), internal(), 1, 3600, 600, 86_400, TTL_S);
        answer.authorities.push(Record::from_rdata(internal(), TTL_S, RData::SOA(soa)));
    }
    answer
}

fn internal() -> Name {
    Name::from_ascii("internal.").unwrap_or_default()
}

fn reply(query: &Message, code: ResponseCode) -> Message {
    let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
    answer.metadata.recursion_desired = query.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    answer.metadata.response_code = code;
    answer.queries.clone_from(&query.queries);
    answer
}

/// Says only that it failed, for a query that may not even be readable; none if it is no query.
fn failure(query: &[u8], code: ResponseCode) -> Option<Message> {
    if let Ok(message) = Message::from_vec(query) {
        return (message.metadata.message_type == MessageType::Query).then(|| reply(&message, code));
    }
    let [high, low, flags, ..] = query else { return None };
    let is_query = flags & 0x80 == 0 && query.len() >= 12;
    is_query.then(|| Message::error_msg(u16::from_be_bytes([*high, *low]), OpCode::Query, code))
}

/// A resolver's answer has the query's id and question, and comes from where it was asked.
fn answers(query: &[u8], answer: &[u8]) -> bool {
    let (Ok(query), Ok(answer)) = (Message::from_vec(query), Message::from_vec(answer)) else { return false };
    answer.metadata.message_type == MessageType::Response
        && answer.metadata.id == query.metadata.id
        && answer.queries == query.queries
}

async fn ask_udp(resolver: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr =
        if resolver.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(resolver).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let size = socket.recv(&mut buffer).await?;
        if answers(query, &buffer[..size]) {
            buffer.truncate(size);
            return Ok(buffer);
        }
    }
}

async fn ask_tcp(resolver: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(resolver).await?;
    send_tcp(&mut stream, query).await?;
    let answer = read_tcp(&mut stream).await?;
    if answers(query, &answer) { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// RFC 1035, 4.2.2: two bytes of length before each message.
async fn send_tcp(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await
}

async fn read_tcp(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut message = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// What fits one datagram: what the asker says, at least 512 bytes; else it is told to use TCP.
fn fit(query: &[u8], answer: Vec<u8>) -> Vec<u8> {
    let asked = Message::from_vec(query).map_or(512, |message| message.max_payload());
    // 1,232 bytes fit the overlay's packets unfragmented.
    if answer.len() <= usize::from(asked.clamp(512, 1232)) {
        return answer;
    }
    let short = Message::from_vec(&answer).ok().and_then(|message| message.truncate().to_vec().ok());
    short.unwrap_or(answer)
}

/// Answers datagrams at one overlay address.
pub async fn serve_udp(address: IpAddr, shared: Arc<Shared>) {
    let Ok(socket) = UdpSocket::bind((address, PORT)).await else { return };
    let socket = Arc::new(socket);
    let mut buffer = vec![0; 4096];
    loop {
        let Ok((size, from)) = socket.recv_from(&mut buffer).await else { continue };
        let (query, shared, socket) = (buffer[..size].to_vec(), shared.clone(), socket.clone());
        // What was asked is nobody's business once it is answered.
        buffer[..size].fill(0);
        if shared.room.available_permits() == 0 {
            continue;
        }
        tokio::spawn(async move {
            if let Some(answer) = shared.answer(&query).await {
                let _ = socket.send_to(&fit(&query, answer), from).await;
            }
        });
    }
}

/// Answers connections at one overlay address.
pub async fn serve_tcp(address: IpAddr, shared: Arc<Shared>) {
    let Ok(listener) = TcpListener::bind((address, PORT)).await else { return };
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let shared = shared.clone();
        tokio::spawn(async move {
            while let Ok(Ok(query)) = timeout(Duration::from_secs(10), read_tcp(&mut stream)).await {
                let Some(answer) = shared.answer(&query).await else { return };
                if send_tcp(&mut stream, &answer).await.is_err() {
                    return;
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloudpal_core::{AgreementKey, PalId};
    use cloudpal_plan::Device;
    use hickory_proto::op::Query;

    fn zone() -> Zone {
        let overlay = Overlay::of(PalId::from_random([5; 16]));
        let mut roster = Roster::empty("ada");
        let place = overlay.next_free(&roster).unwrap();
        roster.devices.push(Device {
            name: "laptop".into(),
            wireguard: AgreementKey::from_bytes([1; 32]),
            v4: place.v4,
            v6: place.v6,
            added_unix_ms: 0,
        });
        Zone { roster, overlay }
    }

    fn query(name: &str, kind: RecordType) -> Vec<u8> {
        let mut message = Message::query();
        message.metadata.id = 77;
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        message.to_vec().unwrap()
    }

    fn answered(name: &str, kind: RecordType) -> (ResponseCode, Vec<RData>) {
        match judge(&zone(), &query(name, kind)) {
            Verdict::Answer(message) => {
                assert_eq!(message.metadata.id, 77);
                let read = Message::from_vec(&message.to_vec().unwrap()).unwrap();
                (read.metadata.response_code, read.answers.into_iter().map(|record| record.data).collect())
            }
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn knows_the_page_the_devices_and_nothing_else_under_internal() {
        let zone = zone();
        let (hub, laptop) = (zone.overlay.hub(), zone.roster.devices[0].addresses());
        let ok = |data| (ResponseCode::NoError, vec![data]);
        assert_eq!(answered("home.ada.internal.", RecordType::A), ok(RData::A(A(hub.v4))));
        assert_eq!(answered("HOME.Ada.internal.", RecordType::AAAA), ok(RData::AAAA(AAAA(hub.v6))));
        assert_eq!(answered("laptop.ada.internal.", RecordType::A), ok(RData::A(A(laptop.v4))));
        assert_eq!(answered("laptop.ada.internal.", RecordType::MX), (ResponseCode::NoError, vec![]));
        for name in ["phone.ada.internal.", "home.eve.internal.", "internal.", "x.home.ada.internal."] {
            assert_eq!(answered(name, RecordType::A), (ResponseCode::NXDomain, vec![]), "{name}");
        }
    }

    #[test]
    fn answers_reverse_questions_about_the_overlay_only() {
        let zone = zone();
        let name = |address: Ipv4Addr| {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa.")
        };
        let found = answered(&name(zone.overlay.hub().v4), RecordType::PTR);
        let home = Name::from_ascii("home.ada.internal.").unwrap();
        assert_eq!(found, (ResponseCode::NoError, vec![RData::PTR(PTR(home))]));
        let outside = query(&name(Ipv4Addr::new(192, 0, 2, 1)), RecordType::PTR);
        assert!(matches!(judge(&zone, &outside), Verdict::Forward));
        assert!(matches!(judge(&zone, &query("example.org.", RecordType::A)), Verdict::Forward));
    }

    #[test]
    fn random_packets_are_never_a_panic_nor_sent_outside_unread() {
        let zone = zone();
        let mut state = 0x8c5f_2a11_90b3_4e77u64;
        println!("seed {state:#x}");
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let (whole, mut forwarded) = (query("www.example.org.", RecordType::A), 0);
        for round in 0..20_000 {
            let mut bytes = whole.clone();
            if round % 2 == 0 {
                bytes = (0..next() % 64).map(|_| next() as u8).collect();
            } else {
                for _ in 0..=next() % 3 {
                    let at = (next() as usize) % bytes.len();
                    bytes[at] = next() as u8;
                }
            }
            match judge(&zone, &bytes) {
                Verdict::Forward => {
                    forwarded += 1;
                    assert!(Message::from_vec(&bytes).is_ok());
                }
                Verdict::Answer(message) => drop(fit(&bytes, message.to_vec().unwrap())),
                Verdict::Ignore => {}
            }
            let _ = answers(&whole, &bytes);
        }
        assert!(forwarded > 100, "changed queries still reach the forwarder: {forwarded}");
    }

    #[test]
    fn only_the_answer_to_this_very_question_counts() {
        let asked = query("example.org.", RecordType::A);
        let answer = |name| {
            let message = Message::from_vec(&query(name, RecordType::A)).unwrap();
            reply(&message, ResponseCode::NoError).to_vec().unwrap()
        };
        assert!(answers(&asked, &answer("example.org.")));
        assert!(!answers(&asked, &answer("example.net.")));
        let mut other_id = answer("example.org.");
        other_id[1] ^= 1;
        assert!(!answers(&asked, &other_id));
        assert!(!answers(&asked, &asked));
    }
}
