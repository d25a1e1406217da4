//! What the guest says.

use super::Worker;
use crate::lifecycle::{Event, SleepReason};
use cloudpal_protocol::VERSION;
use cloudpal_protocol::api::PalState;
use cloudpal_protocol::guest::{DataState, PalKeys, Phase, ToGuest, ToHost};

impl Worker {
    /// Sends a frame; `false` if there is nobody to send it to. The port is opened anew at the next tick.
    pub(super) fn tell(&mut self, frame: &ToGuest) -> bool {
        let Some(port) = &mut self.port else { return false };
        match port.send(frame) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(pal = %self.id().short(), %error, "cannot reach the guest");
                self.port = None;
                false
            }
        }
    }

    pub(super) fn frame(&mut self, frame: ToHost) {
        match frame {
            ToHost::Hello { versions, phase, .. } => self.hello(&versions, phase),
            ToHost::Up(keys) => self.up(keys),
            ToHost::Awake { generation } => self.guest_awake(generation),
            ToHost::Quiesced => self.event(Event::Quiesced),
            ToHost::Relay { session, message } => self.sessions.answer(session, message),
            ToHost::Pay { tickets, left_cpm } => self.paid_by_pal(&tickets, left_cpm),
            ToHost::Ack { receipt, signature } => self.acknowledged(receipt, &signature),
            ToHost::Dispute { receipt, reason } => self.disputed(receipt, &reason),
            ToHost::Idle { seconds } => self.idle(seconds),
            ToHost::Data(state) => self.data = Some(state),
            ToHost::Log { line } => {
                let line: String = line.chars().filter(|c| !c.is_control()).take(400).collect();
                tracing::info!(pal = %self.id().short(), guest = %line);
            }
        }
    }

    fn hello(&mut self, versions: &[u16], phase: Phase) {
        if !versions.contains(&VERSION) {
            self.record.notice = Some("the pal's system speaks no version that this host knows".into());
            return;
        }
        match (phase, self.life.state()) {
            (Phase::Fresh, PalState::Booting) => self.send_boot_record(),
            // A machine that started over by itself: nothing of it is what the host believes.
            (Phase::Fresh, _) => self.event(Event::Died),
            (Phase::Running { keys, data }, state) => {
                self.data = Some(data);
                if state == PalState::Booting {
                    self.up(keys);
                }
            }
        }
    }

    fn up(&mut self, keys: PalKeys) {
        if self.record.keys.is_some_and(|known| known != keys) {
            let notice = "the pal came up with other keys than before; its devices will not accept it";
            self.record.notice = Some(notice.into());
        }
        self.record.keys = Some(keys);
        self.data = Some(DataState::Locked);
        self.network_up();
        self.event(Event::Booted);
    }

    fn guest_awake(&mut self, generation: u64) {
        tracing::debug!("the guest's network is up");
        if generation == self.record.generation {
            // What opened the data ended when the guest quiesced; if it did not quiesce, it says so.
            self.data = Some(DataState::Locked);
            if self.life.state() != PalState::Waking {
                self.network_up();
            }
            self.tell(&ToGuest::Hello { versions: vec![VERSION] });
            self.event(Event::Woken);
        }
    }

    fn idle(&mut self, seconds: u32) {
        if seconds >= self.registry.config.idle_s {
            self.quiescing = super::Quiescing::Full;
            self.event(Event::SleepAsked(SleepReason::Idle));
        }
    }
}
