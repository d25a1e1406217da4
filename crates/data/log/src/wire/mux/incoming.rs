use super::state::{Key, Life, Remote};
use super::{Mux, MuxError, MuxEvent, control};
use crate::codec::{CodecError, Reader};
use bytes::Bytes;

/// What a waiting message counts for beside its bytes.
const OVERHEAD: usize = 512;

/// Bytes that early messages count for.
pub(super) fn weight(messages: &[(u64, Bytes)]) -> usize {
    messages.iter().map(|(_, payload)| payload.len() + OVERHEAD).sum()
}

impl Mux {
    /// Takes in one decrypted frame. After an error the stream is of no more use.
    pub fn handle_frame(&mut self, frame: &Bytes) -> Result<(), MuxError> {
        let mut reader = Reader::new(frame);
        if reader.is_empty() {
            return Ok(());
        }
        let channel = reader.uint()?;
        let kind = reader.uint()?;
        if channel == 0 && kind == control::BATCH {
            return self.batch(frame, reader);
        }
        self.message(frame, channel, kind, reader)
    }

    /// A batch: the number of a channel, then messages of it, each with its length; a length of 0 is followed by
    /// the number of another channel.
    fn batch(&mut self, frame: &Bytes, mut reader: Reader<'_>) -> Result<(), MuxError> {
        let mut channel = reader.uint()?;
        while !reader.is_empty() {
            let length = reader.uint()?;
            if length == 0 {
                channel = reader.uint()?;
                continue;
            }
            let length = usize::try_from(length).map_err(|_| CodecError::Number)?;
            let mut message = Reader::new(reader.raw(length, "a message")?);
            let kind = message.uint()?;
            // JS takes batches within batches. They say nothing that one batch could not, so no peer needs
            // them and their depth would be the peer's to choose.
            if channel == 0 && kind == control::BATCH {
                return Err(CodecError::Value("a batch in a batch").into());
            }
            self.message(frame, channel, kind, message)?;
        }
        Ok(())
    }

    fn message(&mut self, frame: &Bytes, channel: u64, kind: u64, rest: Reader<'_>) -> Result<(), MuxError> {
        if channel == 0 {
            return self.control(frame, kind, rest);
        }
        match self.slots.remote_mut(channel) {
            Some(Remote::Paired(local)) => {
                let payload = frame.slice_ref(rest.rest());
                self.events.push_back(MuxEvent::Message { channel: *local, kind, payload });
            }
            Some(Remote::Early { messages, .. }) => {
                let payload = frame.slice_ref(rest.rest());
                self.early_bytes += payload.len() + OVERHEAD;
                messages.push((kind, payload));
                if self.early_bytes > self.limits.early_bytes {
                    return Err(MuxError::Limit("bytes on channels that are not open yet"));
                }
            }
            // It may have been on its way when we closed the channel.
            None => {}
        }
        Ok(())
    }

    fn control(&mut self, frame: &Bytes, kind: u64, mut rest: Reader<'_>) -> Result<(), MuxError> {
        match kind {
            control::OPEN => {
                let number = rest.uint()?;
                let protocol = rest.string("a protocol's name")?.to_owned();
                let id = rest.buffer("a channel's id")?;
                if protocol.len() > self.limits.name_bytes || id.len() > self.limits.name_bytes {
                    return Err(MuxError::Limit("bytes of a channel's name"));
                }
                let id = if id.is_empty() { None } else { Some(Bytes::copy_from_slice(id)) };
                self.opened(number, Key { protocol, id }, frame.slice_ref(rest.rest()))
            }
            control::REJECT => {
                let number = rest.uint()?;
                self.rejected(number)
            }
            control::CLOSE => {
                let number = rest.uint()?;
                self.closed(number);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn opened(&mut self, number: u64, key: Key, handshake: Bytes) -> Result<(), MuxError> {
        if number == 0 {
            self.control.push_back(control::reject(0));
            return Ok(());
        }
        if number > self.limits.channels as u64 {
            return Err(MuxError::Limit("channels"));
        }
        let remote = u32::try_from(number).map_err(|_| MuxError::Number(number))?;
        let offered = self.pairs.take_offered(&key);
        let half = Remote::Early { key: key.clone(), handshake, messages: Vec::new() };
        if number > self.slots.remotes() as u64 + 1 || !self.slots.open_remote(remote, half) {
            return Err(MuxError::Number(number));
        }
        match offered {
            Some((channel, Life::Wanted)) => self.pair(channel, remote),
            // Our close is on its way after our opening: the other side will take both.
            Some((channel, Life::Abandoned)) => {
                self.slots.close_remote(remote);
                self.slots.free(channel);
            }
            None => {
                self.events
                    .push_back(MuxEvent::Wanted { protocol: key.protocol.clone(), id: key.id.clone() });
                self.pairs.push_incoming(key, remote);
            }
        }
        Ok(())
    }

    fn rejected(&mut self, number: u64) -> Result<(), MuxError> {
        let channel = u32::try_from(number).map(super::ChannelId).map_err(|_| MuxError::Refusal(number))?;
        let Some((_, life)) = self.pairs.take_refused(channel) else { return Err(MuxError::Refusal(number)) };
        self.slots.close_local(channel);
        self.slots.free(channel);
        if life == Life::Wanted {
            self.events.push_back(MuxEvent::Closed { channel });
        }
        Ok(())
    }

    fn closed(&mut self, number: u64) {
        let Ok(remote) = u32::try_from(number) else { return };
        match self.slots.close_remote(remote) {
            Some(Remote::Paired(channel)) => {
                self.slots.close_local(channel);
                self.slots.free(channel);
                self.events.push_back(MuxEvent::Closed { channel });
            }
            Some(Remote::Early { key, messages, .. }) => {
                self.early_bytes -= weight(&messages);
                self.pairs.remove_incoming(&key, remote);
            }
            None => {}
        }
    }
}
