use super::ChannelId;
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};

/// What a channel is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub protocol: String,
    pub id: Option<Bytes>,
}

impl Key {
    pub fn new(protocol: &str, id: Option<&[u8]>) -> Self {
        Key { protocol: protocol.to_owned(), id: id.map(Bytes::copy_from_slice) }
    }
}

/// Our half of a channel.
#[derive(Debug)]
pub(super) struct Local {
    pub key: Key,
    /// The other half, once it is there.
    pub remote: Option<u32>,
}

/// The other side's half of a channel.
#[derive(Debug)]
pub(super) enum Remote {
    /// We have not opened ours.
    Early { key: Key, handshake: Bytes, messages: Vec<(u64, Bytes)> },
    /// Both are open.
    Paired(ChannelId),
}

/// What came before a pair was complete.
pub(super) struct Early {
    pub handshake: Bytes,
    pub messages: Vec<(u64, Bytes)>,
}

/// Both sides' halves by number. Numbers on the wire begin at 1; so do these.
#[derive(Debug, Default)]
pub(super) struct Slots {
    local: Vec<Option<Local>>,
    free: Vec<u32>,
    remote: Vec<Option<Remote>>,
}

impl Slots {
    pub fn open_local(&mut self, key: Key) -> ChannelId {
        let local = Some(Local { key, remote: None });
        let number = match self.free.pop() {
            Some(number) => {
                self.local[number as usize - 1] = local;
                number
            }
            None => {
                self.local.push(local);
                self.local.len() as u32
            }
        };
        ChannelId(number)
    }

    pub fn local(&self, channel: ChannelId) -> Option<&Local> {
        self.local.get((channel.0 as usize).checked_sub(1)?)?.as_ref()
    }

    pub fn close_local(&mut self, channel: ChannelId) -> Option<Local> {
        self.local.get_mut((channel.0 as usize).checked_sub(1)?)?.take()
    }

    /// Lets a number be used again.
    pub fn free(&mut self, channel: ChannelId) {
        self.free.push(channel.0);
    }

    pub fn remote_mut(&mut self, number: u64) -> Option<&mut Remote> {
        let place = usize::try_from(number).ok()?.checked_sub(1)?;
        self.remote.get_mut(place)?.as_mut()
    }

    /// Puts a half where the other side says; false when it cannot be there. JS lets the numbers grow by one each.
    pub fn open_remote(&mut self, number: u32, half: Remote) -> bool {
        let place = number as usize - 1;
        if place == self.remote.len() {
            self.remote.push(None);
        }
        match self.remote.get_mut(place) {
            Some(slot @ None) => {
                *slot = Some(half);
                true
            }
            _ => false,
        }
    }

    pub fn close_remote(&mut self, number: u32) -> Option<Remote> {
        self.remote.get_mut((number as usize).checked_sub(1)?)?.take()
    }

    /// Joins two halves and hands out what waited.
    pub fn pair(&mut self, channel: ChannelId, remote: u32) -> Option<Early> {
        let half = self.remote.get_mut(remote as usize - 1)?.as_mut()?;
        let Remote::Early { handshake, messages, .. } = std::mem::replace(half, Remote::Paired(channel))
        else {
            return None;
        };
        self.local.get_mut(channel.0 as usize - 1)?.as_mut()?.remote = Some(remote);
        Some(Early { handshake, messages })
    }

    pub fn remotes(&self) -> usize {
        self.remote.len()
    }
}

/// Halves that wait for their other half, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    waiting: HashMap<Key, Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Ours. A channel that was closed meanwhile stays, as its opening is under way all the same.
    offered: VecDeque<(ChannelId, Life)>,
    incoming: VecDeque<u32>,
}

/// Whether a channel that we offered is still wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Wanted,
    Abandoned,
}

impl Pairs {
    pub fn offer(&mut self, key: Key, channel: ChannelId) {
        self.waiting.entry(key).or_default().offered.push_back((channel, Life::Wanted));
    }

    pub fn abandon(&mut self, key: &Key, channel: ChannelId) {
        let offered = self.waiting.get_mut(key).map(|waiting| &mut waiting.offered);
        for (_, life) in offered.into_iter().flatten().filter(|(offered, _)| *offered == channel) {
            *life = Life::Abandoned;
        }
    }

    pub fn take_offered(&mut self, key: &Key) -> Option<(ChannelId, Life)> {
        let taken = self.waiting.get_mut(key)?.offered.pop_front();
        self.tidy(key);
        taken
    }

    /// Takes a channel out that the other side refused; it says only the number.
    pub fn take_refused(&mut self, channel: ChannelId) -> Option<(Key, Life)> {
        let (key, life) = self.waiting.iter_mut().find_map(|(key, waiting)| {
            let place = waiting.offered.iter().position(|(offered, _)| *offered == channel)?;
            Some((key.clone(), waiting.offered.remove(place)?.1))
        })?;
        self.tidy(&key);
        Some((key, life))
    }

    pub fn push_incoming(&mut self, key: Key, remote: u32) {
        self.waiting.entry(key).or_default().incoming.push_back(remote);
    }

    pub fn take_incoming(&mut self, key: &Key) -> Option<u32> {
        let taken = self.waiting.get_mut(key)?.incoming.pop_front();
        self.tidy(key);
        taken
    }

    pub fn remove_incoming(&mut self, key: &Key, remote: u32) {
        if let Some(waiting) = self.waiting.get_mut(key) {
            waiting.incoming.retain(|incoming| *incoming != remote);
        }
        self.tidy(key);
    }

    fn tidy(&mut self, key: &Key) {
        if self.waiting.get(key).is_some_and(|it| it.offered.is_empty() && it.incoming.is_empty()) {
            self.waiting.remove(key);
        }
    }
}
