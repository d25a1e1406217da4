//! Who was found, whom to dial, and when again. Time and chance are arguments.

use crate::Key;
use crate::schedule::delay;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How many peers are remembered; more that are found are not.
const MOST: usize = 1024;
/// After so many dials without a connection a peer is forgotten, until a look-up finds it again.
const PATIENCE: u32 = 8;
/// A connection that lasted so long makes earlier failures count no more.
const LASTING: Duration = Duration::from_secs(15);
/// Soonest and latest after a failure.
const AGAIN: Duration = Duration::from_secs(1);
const RARELY: Duration = Duration::from_secs(600);

/// Peers by their static keys; `R` is what helps to reach one.
pub(crate) struct Peers<R>(BTreeMap<Key, Peer<R>>);

struct Peer<R> {
    /// The topics that led here.
    topics: BTreeSet<Key>,
    route: R,
    failures: u32,
    /// When to dial; None while it is dialled or connected.
    due: Option<Duration>,
}

impl<R: Clone> Peers<R> {
    pub(crate) fn new() -> Self {
        Peers(BTreeMap::new())
    }

    /// A look-up of `topic` led to this peer.
    pub(crate) fn found(&mut self, key: Key, topic: Key, route: R, now: Duration) {
        if self.0.len() >= MOST && !self.0.contains_key(&key) {
            return;
        }
        let new = || Peer { topics: BTreeSet::new(), route: route.clone(), failures: 0, due: Some(now) };
        let peer = self.0.entry(key).or_insert_with(new);
        peer.topics.insert(topic);
        peer.route = route;
    }

    /// Takes up to `room` peers that are to be dialled now, with their routes.
    pub(crate) fn take_dials(&mut self, now: Duration, room: usize) -> Vec<(Key, R)> {
        let due = self.0.iter_mut().filter(|(_, peer)| peer.due.is_some_and(|due| due <= now));
        let take = |(key, peer): (&Key, &mut Peer<R>)| {
            peer.due = None;
            (*key, peer.route.clone())
        };
        due.take(room).map(take).collect()
    }

    /// It is connected, whoever dialled.
    pub(crate) fn connected(&mut self, key: &Key) {
        if let Some(peer) = self.0.get_mut(key) {
            peer.due = None;
        }
    }

    /// A dial failed, or a connection ended after `lasted`.
    pub(crate) fn lost(&mut self, key: &Key, lasted: Duration, now: Duration, chance: u32) {
        let Some(peer) = self.0.get_mut(key) else { return };
        if lasted >= LASTING {
            peer.failures = 0;
        }
        peer.due = Some(now + delay(AGAIN, RARELY, peer.failures, chance));
        peer.failures += 1;
        if peer.failures > PATIENCE {
            self.0.remove(key);
        }
    }

    /// Forgets a topic, and peers that no other led to.
    pub(crate) fn leave(&mut self, topic: &Key) {
        self.0.retain(|_, peer| !peer.topics.remove(topic) || !peer.topics.is_empty());
    }

    /// The peers of a topic.
    pub(crate) fn of<'a>(&'a self, topic: &'a Key) -> impl Iterator<Item = &'a Key> {
        self.0.iter().filter(|(_, peer)| peer.topics.contains(topic)).map(|(key, _)| key)
    }

    /// The topics that led to a peer.
    pub(crate) fn topics(&self, key: &Key) -> Vec<Key> {
        self.0.get(key).map_or(Vec::new(), |peer| peer.topics.iter().copied().collect())
    }

    /// When the next dial is due.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.0.values().filter_map(|peer| peer.due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: Key = [9; 32];
    const ANNA: Key = [1; 32];
    const BERT: Key = [2; 32];

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn names(dials: Vec<(Key, u8)>) -> Vec<Key> {
        dials.into_iter().map(|(key, _)| key).collect()
    }

    #[test]
    fn a_peer_is_dialled_once_and_again_when_it_is_lost() {
        let mut peers = Peers::new();
        for key in [ANNA, BERT, ANNA] {
            peers.found(key, TOPIC, 7, at(1));
        }
        assert_eq!(names(peers.take_dials(at(1), 1)), [ANNA]);
        assert_eq!(names(peers.take_dials(at(1), 9)), [BERT]);
        peers.found(ANNA, TOPIC, 8, at(2));
        assert!(peers.take_dials(at(500), 9).is_empty());
        peers.lost(&ANNA, at(0), at(10), 0);
        assert_eq!(peers.next(), Some(at(11)));
        assert_eq!(peers.take_dials(at(11), 9), [(ANNA, 8)], "by the newest route");
        peers.lost(&ANNA, at(0), at(20), 0);
        assert_eq!(peers.next(), Some(at(22)), "later each time");
        peers.connected(&ANNA);
        peers.lost(&ANNA, LASTING, at(100), 0);
        assert_eq!(peers.next(), Some(at(101)), "unless it was there for a while");
    }

    #[test]
    fn who_is_never_reached_is_forgotten_and_so_is_who_no_topic_leads_to() {
        let mut peers = Peers::new();
        peers.found(ANNA, TOPIC, 0, at(0));
        peers.found(BERT, TOPIC, 0, at(0));
        peers.found(BERT, [8; 32], 0, at(0));
        for _ in 0..=PATIENCE {
            peers.lost(&ANNA, at(0), at(0), 0);
        }
        assert_eq!(peers.of(&TOPIC).collect::<Vec<_>>(), [&BERT]);
        peers.leave(&TOPIC);
        assert_eq!(peers.topics(&BERT), [[8; 32]]);
        peers.leave(&[8; 32]);
        assert_eq!(peers.next(), None);
        for number in 0..MOST as u32 + 5 {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&number.to_le_bytes());
            peers.found(key, TOPIC, 0, at(0));
        }
        assert_eq!(peers.of(&TOPIC).count(), MOST);
    }
}
