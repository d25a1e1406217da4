//! One WebSocket: moves messages between it and a session, which does the work on a thread that may block.

use crate::code::{Code, Failure};
use crate::directory::Owner;
use crate::service::Service;
use crate::session::Session;
use crate::wire::{self, Numbered, Request};
use axum::extract::ws::{CloseFrame, Message, WebSocket};
use bytes::Bytes;
use futures::FutureExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

/// Whoever does not say hello for so long is sent away.
const HELLO: Duration = Duration::from_secs(10);
/// How often the token is checked again and a silent client is asked whether it is there.
const TICK: Duration = Duration::from_secs(15);
/// A client that says nothing for so long is gone; one that takes nothing, too.
const SILENCE: Duration = Duration::from_secs(60);
/// Bytes of messages that are taken in together.
const GULP: usize = 4 << 20;

/// Why a connection ends: the client has gone, or has to.
enum End {
    Gone,
    Refused(u64, Failure),
}

impl From<axum::Error> for End {
    fn from(_: axum::Error) -> Self {
        End::Gone
    }
}

/// Serves a connection until it ends.
pub async fn serve(mut socket: WebSocket, service: Arc<Service>, owner: Option<Owner>) {
    let end = match service.place() {
        Ok(_place) => run(&mut socket, &service, owner).await,
        Err(full) => Err(End::Refused(0, full)),
    };
    if let Err(End::Refused(id, failure)) = end {
        let mut out = Vec::new();
        wire::error(&mut out, id, &failure);
        let close = CloseFrame { code: 4000 + failure.code as u16, reason: failure.code.name().into() };
        let _ = timeout(SILENCE, async {
            let _ = socket.send(Message::Binary(out.into())).await;
            let _ = socket.send(Message::Close(Some(close))).await;
            // What the client has still sent is read, so that the answer is not lost to a reset.
            while let Some(Ok(_)) = socket.recv().await {}
        })
        .await;
    }
}

async fn run(socket: &mut WebSocket, service: &Arc<Service>, owner: Option<Owner>) -> Result<(), End> {
    let first = timeout(HELLO, next(socket)).await.map_err(|_| End::Gone)??;
    let mut out = Vec::new();
    let mut requests = parse(&first)?;
    if requests.is_empty() {
        return Err(End::Refused(0, Failure::new(Code::Malformed, "the first message says hello")));
    }
    let hello = requests.remove(0);
    let opened = Session::begin(service, owner, &hello, &mut out);
    let mut session = opened.map_err(|failure| End::Refused(hello.id, failure))?;
    send(socket, out).await?;
    session.take(requests);
    Connection { socket, service, session: Some(session), heard: Instant::now() }.run().await
}

struct Connection<'a> {
    socket: &'a mut WebSocket,
    service: &'a Arc<Service>,
    /// Lent to the thread that works; there whenever nothing is being done.
    session: Option<Session>,
    heard: Instant,
}

impl Connection<'_> {
    async fn run(mut self) -> Result<(), End> {
        let mut versions = self.service.versions();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.work().await?;
        loop {
            let subscribed = self.session.as_ref().is_some_and(Session::is_subscribed);
            tokio::select! {
                message = next(self.socket) => self.hear(message?).await?,
                changed = versions.changed(), if subscribed => changed.map_err(|_| End::Gone)?,
                _ = tick.tick() => {
                    self.confirm().await?;
                    continue;
                }
            }
            self.work().await?;
        }
    }

    /// Takes in a message and what has arrived behind it.
    async fn hear(&mut self, first: Bytes) -> Result<(), End> {
        self.heard = Instant::now();
        let (mut bytes, mut requests) = (first.len(), parse(&first)?);
        while bytes < GULP {
            let Some(message) = next(self.socket).now_or_never() else { break };
            let message = message?;
            bytes += message.len();
            requests.extend(parse(&message)?);
        }
        let Some(session) = &mut self.session else { return Err(End::Gone) };
        let operations = requests.iter().map(cost).sum();
        let wait = self.service.charge(session.access(), operations, bytes as u64);
        session.take(requests);
        // Who asks too much is answered later; the socket's own back-pressure does the rest.
        hold_back(wait).await;
        Ok(())
    }

    /// Does what was asked and sends the answers, a message at a time.
    async fn work(&mut self) -> Result<(), End> {
        loop {
            let Some(mut session) = self.session.take() else { return Err(End::Gone) };
            let worked = spawn_blocking(move || {
                let out = session.work();
                (session, out)
            });
            let (session, out) = worked.await.map_err(|_| End::Gone)?;
            let wait = self.service.charge(session.access(), 0, out.len() as u64);
            let busy = session.is_busy();
            self.session = Some(session);
            if !out.is_empty() {
                send(self.socket, out).await?;
            }
            hold_back(wait).await;
            if !busy {
                return Ok(());
            }
        }
    }

    async fn confirm(&mut self) -> Result<(), End> {
        if self.heard.elapsed() > SILENCE {
            return Err(End::Gone);
        }
        if let Some(session) = &self.session {
            self.service.confirm(session.access()).map_err(|failure| End::Refused(0, failure))?;
        }
        timeout(SILENCE, self.socket.send(Message::Ping(Bytes::new())))
            .await
            .map_err(|_| End::Gone)?
            .map_err(End::from)
    }
}

/// The next message with requests in it. Safe to give up waiting for: nothing is lost by that.
async fn next(socket: &mut WebSocket) -> Result<Bytes, End> {
    match socket.recv().await {
        Some(Ok(Message::Binary(bytes))) => Ok(bytes),
        // A pong has no requests, but shows that somebody is there.
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(Bytes::new()),
        Some(Ok(Message::Text(_))) => {
            Err(End::Refused(0, Failure::new(Code::Malformed, "messages are binary")))
        }
        Some(Ok(Message::Close(_)) | Err(_)) | None => Err(End::Gone),
    }
}

fn parse(message: &Bytes) -> Result<Vec<Numbered>, End> {
    wire::parse(message).map_err(|failure| End::Refused(0, failure))
}

fn cost(request: &Numbered) -> u64 {
    match &request.request {
        Request::Write(write) => 1 + write.steps.len() as u64,
        Request::Get { keys, .. } | Request::Has { keys, .. } => 1 + keys.len() as u64,
        _ => 1,
    }
}

/// A timer's shortest sleep is a millisecond, even for no time at all.
async fn hold_back(wait: Duration) {
    if !wait.is_zero() {
        sleep(wait).await;
    }
}

async fn send(socket: &mut WebSocket, out: Vec<u8>) -> Result<(), End> {
    timeout(SILENCE, socket.send(Message::Binary(out.into())))
        .await
        .map_err(|_| End::Gone)?
        .map_err(End::from)
}
