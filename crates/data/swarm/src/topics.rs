//! Which topics there are, and when each is to be announced or looked up next. Time and chance are arguments.

use crate::schedule::delay;
use crate::{Key, Part};
use std::collections::BTreeMap;
use std::time::Duration;

/// Nodes forget an announcement after 20 minutes, so it is repeated every 10; so is a look-up that found enough.
const REFRESH: Duration = Duration::from_secs(600);
/// Soonest after an announcement that failed, and after a look-up that led to no connection.
const AGAIN: Duration = Duration::from_secs(1);

/// Topics and their turns.
#[derive(Default)]
pub(crate) struct Topics(BTreeMap<Key, Topic>);

struct Topic {
    part: Part,
    announce: Turn,
    look: Turn,
}

/// When something is due; None while it is being done, or never.
struct Turn {
    at: Option<Duration>,
    tries: u32,
}

impl Turn {
    fn new(wanted: bool, now: Duration) -> Self {
        Turn { at: wanted.then_some(now), tries: 0 }
    }

    /// Whether it is due; then it is taken.
    fn take(&mut self, now: Duration) -> bool {
        self.at.take_if(|at| *at <= now).is_some()
    }

    /// Done: well, then it rests; or not, then it comes again sooner.
    fn done(&mut self, well: bool, now: Duration, chance: u32) {
        let wait = match well {
            true => delay(REFRESH, REFRESH, 0, chance),
            false => delay(AGAIN, REFRESH, self.tries, chance),
        };
        self.tries = if well { 0 } else { self.tries + 1 };
        self.at = Some(now + wait);
    }
}

impl Topics {
    /// Begins with a topic, or takes another part in it.
    pub(crate) fn join(&mut self, key: Key, part: Part, now: Duration) {
        if self.0.get(&key).is_none_or(|topic| topic.part != part) {
            let (announce, look) = (Turn::new(part.serves(), now), Turn::new(part.finds(), now));
            self.0.insert(key, Topic { part, announce, look });
        }
    }

    /// What part was taken in it.
    pub(crate) fn leave(&mut self, key: &Key) -> Option<Part> {
        Some(self.0.remove(key)?.part)
    }

    /// All that are announced.
    pub(crate) fn served(&self) -> Vec<Key> {
        self.0.iter().filter(|(_, topic)| topic.part.serves()).map(|(key, _)| *key).collect()
    }

    /// Whether peers of this topic are looked for.
    pub(crate) fn is_sought(&self, key: &Key) -> bool {
        self.0.get(key).is_some_and(|topic| topic.part.finds())
    }

    /// Takes all that are to be announced now.
    pub(crate) fn take_announcements(&mut self, now: Duration) -> Vec<Key> {
        self.0.iter_mut().filter_map(|(key, topic)| topic.announce.take(now).then_some(*key)).collect()
    }

    /// Takes all that are to be looked up now.
    pub(crate) fn take_look_ups(&mut self, now: Duration) -> Vec<Key> {
        self.0.iter_mut().filter_map(|(key, topic)| topic.look.take(now).then_some(*key)).collect()
    }

    /// An announcement was made, or failed.
    pub(crate) fn announced(&mut self, key: &Key, well: bool, now: Duration, chance: u32) {
        if let Some(topic) = self.0.get_mut(key).filter(|topic| topic.part.serves()) {
            topic.announce.done(well, now, chance);
        }
    }

    /// A look-up came back; it is enough when a peer is connected.
    pub(crate) fn looked_up(&mut self, key: &Key, connected: bool, now: Duration, chance: u32) {
        if let Some(topic) = self.0.get_mut(key).filter(|topic| topic.part.finds()) {
            topic.look.done(connected, now, chance);
        }
    }

    /// When the next turn is.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.0.values().flat_map(|topic| [topic.announce.at, topic.look.at]).flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Key = [1; 32];
    const B: Key = [2; 32];

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_topic_is_announced_at_once_and_again_every_ten_minutes() {
        let mut topics = Topics::default();
        topics.join(A, Part::Serve, at(5));
        topics.join(B, Part::Find, at(5));
        assert_eq!(topics.take_announcements(at(5)), [A]);
        // Not twice while it is being done.
        assert!(topics.take_announcements(at(500)).is_empty());
        topics.announced(&A, true, at(7), 0);
        topics.join(A, Part::Serve, at(8));
        assert!(topics.take_announcements(at(606)).is_empty());
        assert_eq!(topics.take_announcements(at(607)), [A]);
        assert_eq!(topics.served(), [A]);
    }

    #[test]
    fn what_fails_comes_again_later_and_later_and_what_was_left_not_at_all() {
        let mut topics = Topics::default();
        topics.join(A, Part::Both, at(0));
        let mut now = at(0);
        for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600] {
            assert_eq!(topics.take_look_ups(now), [A]);
            topics.looked_up(&A, false, now, 0);
            assert!(topics.take_look_ups(now + at(wait) - Duration::from_nanos(1)).is_empty(), "{wait}");
            now += at(wait);
        }
        assert_eq!(topics.next(), Some(at(0)), "the announcement waits");
        assert_eq!(topics.leave(&A), Some(Part::Both));
        topics.looked_up(&A, false, now, 0);
        topics.announced(&A, false, now, 0);
        assert_eq!((topics.next(), topics.leave(&A)), (None, None));
    }
}
