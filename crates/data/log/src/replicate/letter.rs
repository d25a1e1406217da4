use crate::hash;
use crate::wire::Message;

/// A message from a peer, with what costs most of taking it in done beforehand where that was possible.
#[derive(Debug)]
pub struct Letter {
    pub(super) message: Message,
    pub(super) leaf: Option<[u8; 32]>,
}

impl Letter {
    /// Hashes the blocks in `letters`, several at once. Needs no log, so it can be done before the log's lock is taken.
    pub fn hash<'a>(letters: impl IntoIterator<Item = &'a mut Letter>) {
        let (mut places, mut bodies) = (Vec::new(), Vec::new());
        for Letter { message, leaf } in letters {
            let Message::Data(data) = message else { continue };
            if let Some(block) = &data.proof.block {
                places.push(leaf);
                bodies.push(&block.value);
            }
        }
        // What does not fill the processor's registers is left for when there is more.
        let full = bodies.len() / hash::LANES * hash::LANES;
        for (place, hash) in places.into_iter().zip(hash::leaves(&bodies[..full])) {
            *place = Some(hash);
        }
    }
}

impl From<Message> for Letter {
    fn from(message: Message) -> Self {
        Letter { message, leaf: None }
    }
}
