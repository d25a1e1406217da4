//! What a dishonest peer makes of honest messages.

use crate::world::Chance;
use bytes::Bytes;
use cloudpal_log::wire::Message;

#[derive(Debug)]
pub struct Liar {
    pub way: Lie,
    pub chance: Chance,
    last: Option<Message>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// Bodies with a bit turned.
    Bodies,
    /// Tree nodes with a bit turned.
    Nodes,
    /// Signatures with a bit turned.
    Signatures,
    /// A block in place of another.
    Indexes,
    /// The answer before once more in place of this one.
    Replays,
    /// A longer log and newer fork than there is.
    Boasts,
    /// No answers at all.
    Silence,
    /// "I have not" to everything.
    Refuses,
    /// Any bytes of any message.
    Noise,
}

pub const ALL: [Lie; 9] = [
    Lie::Bodies,
    Lie::Nodes,
    Lie::Signatures,
    Lie::Indexes,
    Lie::Replays,
    Lie::Boasts,
    Lie::Silence,
    Lie::Refuses,
    Lie::Noise,
];

impl Liar {
    pub const fn new(way: Lie, seed: u64) -> Self {
        Liar { way, chance: Chance::new(seed), last: None }
    }

    /// The message as it is sent; none when it is kept back.
    pub fn twist(&mut self, message: Message) -> Option<Message> {
        let message = match message {
            Message::Sync(mut sync) if self.way == Lie::Boasts => {
                sync.length += self.chance.below(100);
                sync.fork += self.chance.below(3);
                sync.can_upgrade = true;
                return Some(Message::Sync(sync));
            }
            Message::Data(data) => Message::Data(data),
            other => return Some(other),
        };
        let kept = self.last.replace(message.clone());
        let Message::Data(mut data) = message else { return None };
        match self.way {
            Lie::Bodies => {
                if let Some(block) = data.proof.block.as_mut() {
                    block.value = self.turned(&block.value);
                }
            }
            Lie::Nodes => {
                let upgrade = data.proof.upgrade.as_mut().map(|upgrade| &mut upgrade.nodes);
                let block = data.proof.block.as_mut().map(|block| &mut block.nodes);
                if let Some(node) = upgrade.into_iter().chain(block).flatten().next() {
                    node.hash[3] ^= 4;
                }
            }
            Lie::Signatures => {
                if let Some(upgrade) = data.proof.upgrade.as_mut() {
                    upgrade.signature = self.turned(&upgrade.signature);
                }
            }
            Lie::Indexes => {
                if let Some(block) = data.proof.block.as_mut() {
                    block.index += 1 + self.chance.below(3);
                }
            }
            Lie::Replays => {
                let id = data.request;
                if let Some(Message::Data(mut old)) = kept {
                    old.request = id;
                    data = old;
                }
            }
            Lie::Silence => return None,
            Lie::Refuses => return Some(Message::NoData { request: data.request, reason: 1 }),
            Lie::Noise => {
                let message = Message::Data(data);
                let mut bytes = Vec::new();
                message.encode(&mut bytes);
                let twisted = self.turned(&bytes);
                // A message that cannot be read ends the stream; here only those that can are of interest.
                return Some(Message::decode(3, &twisted).ok().flatten().unwrap_or(message));
            }
            Lie::Boasts => {}
        }
        Some(Message::Data(data))
    }

    fn turned(&mut self, bytes: &[u8]) -> Bytes {
        let mut bytes = bytes.to_vec();
        if !bytes.is_empty() {
            let at = self.chance.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << self.chance.below(8);
        }
        bytes.into()
    }
}
