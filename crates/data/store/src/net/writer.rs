use super::carrier::FrameSink;
use super::link::{Link, ending};
use super::signal::Todo;
use super::tcp::{ROOM, TcpSink};
use crate::store::Inner;
use cloudpal_log::wire::ChannelId;
use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How long a connection may be quiet before an empty message shows that it lives, as npm hypercore does.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Where frames go.
pub(super) enum Sink {
    Tcp(TcpSink),
    Other(Box<dyn FrameSink>),
}

/// Starts the thread that writes a connection.
pub(super) fn start(link: &Arc<Link>, inner: Weak<Inner>, sink: Sink) -> io::Result<()> {
    let link = Arc::clone(link);
    std::thread::Builder::new()
        .name("store-writer".into())
        .spawn(move || {
            let mut writer = Writer { link, inner, sink, buffer: Vec::new(), ready: BTreeSet::new() };
            if let Err(error) = writer.run() {
                writer.link.end(ending(&error));
            }
        })
        .map(drop)
}

struct Writer {
    link: Arc<Link>,
    inner: Weak<Inner>,
    sink: Sink,
    buffer: Vec<u8>,
    ready: BTreeSet<ChannelId>,
}

impl Writer {
    fn run(&mut self) -> io::Result<()> {
        loop {
            let Todo { ready, finished, closed, idle } = self.link.signal.wait(KEEP_ALIVE);
            if closed {
                // Whoever reads notices and tells everybody.
                self.link.close();
                return Ok(());
            }
            self.ready.extend(ready);
            while self.control()? || self.messages()? {}
            for channel in finished {
                self.finish(channel);
            }
            while self.control()? {}
            if idle {
                self.begin();
                self.send()?;
            }
        }
    }

    /// Sends one frame of openings and closings, if there is one.
    fn control(&mut self) -> io::Result<bool> {
        self.begin();
        let any = self.link.lock().connection.poll_control(&mut self.buffer);
        if any {
            self.send()?;
        }
        Ok(any)
    }

    /// Sends one frame of messages, made now: what the socket does not take is never made.
    fn messages(&mut self) -> io::Result<bool> {
        if self.ready.is_empty() {
            return Ok(false);
        }
        let Some(inner) = self.inner.upgrade() else { return Ok(false) };
        self.begin();
        let any = self.gather(&inner);
        if any {
            self.send()?;
        }
        Ok(any)
    }

    /// Puts messages of channels that are ready into the buffer, until the frame is full. Whether there are any.
    fn gather(&mut self, inner: &Inner) -> bool {
        let Writer { link, buffer, ready, .. } = self;
        let mux = link.lock();
        let now = inner.now();
        let mut frame = mux.connection.frame(buffer);
        while let Some(channel) = ready.first().copied().filter(|_| !frame.is_full()) {
            let peer = mux.connection.peer(channel);
            let more = mux.channels.get(&channel).zip(peer).is_some_and(|(shared, peer)| {
                shared.poll(inner, peer, now, &mut |message| {
                    frame.push(channel, &message);
                    frame.is_full()
                })
            });
            if !more {
                ready.remove(&channel);
            }
        }
        !frame.is_empty()
    }

    fn finish(&mut self, channel: ChannelId) {
        let mut mux = self.link.lock();
        let peer = mux.connection.peer(channel);
        if let Some((shared, peer)) = mux.detach(channel).zip(peer) {
            shared.leave(peer);
        }
        mux.connection.close(channel);
    }

    /// Leaves room for length and tag.
    fn begin(&mut self) {
        self.buffer.clear();
        self.buffer.resize(ROOM, 0);
    }

    /// Sends what was put behind that room.
    fn send(&mut self) -> io::Result<()> {
        match &mut self.sink {
            Sink::Tcp(tcp) => tcp.send(&mut self.buffer),
            Sink::Other(other) => other.send(&self.buffer[ROOM..]),
        }
    }
}
