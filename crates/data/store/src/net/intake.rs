use super::link::Link;
use super::reader::ReadFault;
use crate::disk::LogId;
use crate::shared::Shared;
use crate::store::Inner;
use cloudpal_log::replicate::{Letter, PeerId};
use cloudpal_log::wire::Message;
use std::collections::HashMap;
use std::io;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Weak};

/// What came on a connection, for each log in order.
#[derive(Default)]
pub(super) struct Mail(HashMap<LogId, Post>);

struct Post {
    shared: Arc<Shared>,
    letters: Vec<(PeerId, Letter)>,
    /// Peers that closed their channel after that.
    left: Vec<PeerId>,
}

impl Mail {
    pub(super) fn put(&mut self, shared: &Arc<Shared>, peer: PeerId, message: Message) {
        self.post(shared).letters.push((peer, message.into()));
    }

    pub(super) fn leave(&mut self, shared: &Arc<Shared>, peer: PeerId) {
        self.post(shared).left.push(peer);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Hashes all blocks, before anybody waits for their log.
    pub(super) fn hash(&mut self) {
        Letter::hash(self.0.values_mut().flat_map(|post| post.letters.iter_mut().map(|(_, letter)| letter)));
    }

    fn post(&mut self, shared: &Arc<Shared>) -> &mut Post {
        let post = || Post { shared: Arc::clone(shared), letters: Vec::new(), left: Vec::new() };
        self.0.entry(shared.id).or_insert_with(post)
    }

    fn append(&mut self, later: Mail) {
        for Post { shared, letters, left } in later.0.into_values() {
            let post = self.post(&shared);
            post.letters.extend(letters);
            post.left.extend(left);
        }
    }

    fn deliver(self, inner: &Inner) {
        let now = inner.now();
        for Post { shared, letters, left } in self.0.into_values() {
            shared.deliver(inner, letters, now);
            left.into_iter().for_each(|peer| shared.leave(peer));
        }
    }
}

/// Starts the thread that hands mail to its logs, and ends the connection behind the last of it.
pub(super) fn start(
    link: Arc<Link>,
    inner: Weak<Inner>,
    from: Receiver<Result<Mail, ReadFault>>,
) -> io::Result<()> {
    let run = move || {
        let fault = run(&inner, &from);
        tracing::debug!(%fault, "a connection ended");
        link.end(fault.to_string());
    };
    std::thread::Builder::new().name("store-intake".into()).spawn(run).map(drop)
}

/// All mail at hand makes one batch of each log's storage.
fn run(inner: &Weak<Inner>, from: &Receiver<Result<Mail, ReadFault>>) -> ReadFault {
    loop {
        let mut mail = Mail::default();
        // The reader says how it ended before it goes.
        let mut next = from.recv().unwrap_or(Err(ReadFault::Closed));
        let fault = loop {
            match next {
                Ok(more) => mail.append(more),
                Err(fault) => break Some(fault),
            }
            match from.try_recv() {
                Ok(more) => next = more,
                Err(_) => break None,
            }
        };
        match inner.upgrade().filter(|inner| !inner.is_closed()) {
            Some(inner) => mail.deliver(&inner),
            None => return ReadFault::Closed,
        }
        if let Some(fault) = fault {
            return fault;
        }
    }
}
