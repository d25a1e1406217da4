//! A pal's life as one pure state machine: events in, commands out. It knows no clock, no machine and
//! no packet; the worker carries the commands out and reports what came of them as events.
//!
//! ```text
//!            Start                 Booted
//!   Paid ------------> Booting -------------> Awake <-----------------------------+
//!                        ^  ^ |                 | SleepAsked (idle, owner,        |
//!        BootFailed < 3  +--+ | BootFailed      |   operator, credit)             |
//!                           | v                 v                                 |
//!                           | Failed        Quiescing --Quiesced, rang--> Resuming+
//!             WakeFailed,   |                   | Quiesced                        |
//!             Died          |                   v                                 |
//!                           +------ Waking    Saving --SaveFailed--> Resuming     |
//!                           |         ^         | Saved                           |
//!                           |   Rang, |         v                                 |
//!                           |   asked +----- Asleep --CreditGone--> Unpaid        |
//!                           |         |                                |          |
//!                           |         +---------- CreditCame ----------+          |
//!                           |         | Woken                                     |
//!                           |         +-------------------------------------------+
//!   any: DeleteAsked --> Gone         any running: Died --> Booting
//!   Quiescing: QuiesceFailed --> Asleep, without an image: the next wake is a cold boot
//! ```

use cloudpal_protocol::api::PalState;
use cloudpal_protocol::guest::WakeReason;

/// A cold boot is tried this often in a row before the pal is left alone as failed.
const BOOT_TRIES: u8 = 3;

/// A sleep that was called off this often in a row is carried out whatever arrives: what rings then
/// wakes the pal from its memory image, and nobody can keep it awake by ringing.
const ABORTS: u8 = 3;

/// Why a pal is put to sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SleepReason {
    /// Neither inner data nor a handshake for long enough.
    Idle,
    /// The owner asked.
    Owner,
    /// The operator asked, or the host is being stopped.
    Operator,
}

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The pal is paid for and wanted.
    Start,
    /// The guest's network is up after a cold boot.
    Booted,
    /// It could not be booted.
    BootFailed,
    /// Put it to sleep.
    SleepAsked(SleepReason),
    /// The guest has dropped sessions, data key and plaintext.
    Quiesced,
    /// The machine is gone and its memory is on disk, encrypted.
    Saved,
    /// The guest did not quiesce in time; its memory must not reach the disk.
    QuiesceFailed,
    /// The memory could not be saved; the machine is still there.
    SaveFailed,
    /// The doorbell let a packet through.
    Rang,
    /// Somebody with the right to do so wants it awake.
    WakeAsked(WakeReason),
    /// The guest's network is up after a restore or a called-off sleep.
    Woken,
    /// There is no usable memory image, or the restored guest does not answer.
    WakeFailed,
    /// The machine ended by itself.
    Died,
    /// Nothing is left to pay the next interval with.
    CreditGone,
    /// There is credit again.
    CreditCame,
    /// The owner, or the end of the grace period, removes it.
    DeleteAsked,
}

/// Something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Boot the machine cold; any memory image is discarded first.
    Boot,
    /// Switch the route to the doorbell, then tell the guest to quiesce.
    Quiesce,
    /// Pause the machine, write its memory to disk, end it.
    Save,
    /// Bring the quiesced guest's network back and hand over what the doorbell holds.
    Resume,
    /// Restore the machine from its memory image and hand over what the doorbell holds.
    Restore(WakeReason),
    /// End the machine at once.
    Kill,
    /// Remove disks, images and network.
    Remove,
}

/// Where a pal is, with what the state alone does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    state: PalState,
    paid: Paid,
    /// What should happen once it sleeps.
    ring: Option<WakeReason>,
    /// Somebody wants it asleep who asked before it was up.
    rest: Option<SleepReason>,
    boots_failed: u8,
    aborts: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Paid {
    Yes,
    No,
}

impl Lifecycle {
    /// As stored: the state when the agent last wrote it.
    pub const fn restored(state: PalState) -> Self {
        let paid = if matches!(state, PalState::Unpaid) { Paid::No } else { Paid::Yes };
        Lifecycle { state, paid, ring: None, rest: None, boots_failed: 0, aborts: 0 }
    }

    /// Where it is.
    pub const fn state(&self) -> PalState {
        self.state
    }

    /// Takes an event; the commands are to be carried out in order. An event that means nothing in
    /// the present state changes nothing.
    pub fn handle(&mut self, event: Event) -> Vec<Command> {
        use PalState as S;
        match (self.state, event) {
            (S::Gone, _) => vec![],
            (_, Event::DeleteAsked) => self.go(S::Gone, &[Command::Kill, Command::Remove]),
            (_, Event::CreditGone) => self.credit_gone(),
            (_, Event::CreditCame) => self.credit_came(),

            (S::Paid | S::Failed, Event::Start | Event::WakeAsked(_)) => self.boot(),
            (S::Booting, Event::Booted) => {
                self.boots_failed = 0;
                self.awake()
            }
            (S::Booting, Event::BootFailed | Event::Died) => self.boot_failed(),

            (S::Awake, Event::SleepAsked(_)) => self.go(S::Quiescing, &[Command::Quiesce]),
            (S::Booting | S::Waking | S::Resuming, Event::SleepAsked(reason)) => {
                self.rest = Some(reason);
                vec![]
            }
            (S::Booting | S::Waking | S::Resuming, Event::WakeAsked(_)) => {
                self.rest = None;
                vec![]
            }
            (S::Quiescing | S::Saving, Event::Rang) => self.remember(WakeReason::Packet),
            (S::Quiescing | S::Saving, Event::WakeAsked(reason)) => self.remember(reason),
            (S::Quiescing, Event::Quiesced) => self.quiesced(),
            (S::Quiescing, Event::QuiesceFailed) => self.sleep_without_image(),
            (S::Saving, Event::SaveFailed) => self.go(S::Resuming, &[Command::Resume]),
            (S::Saving, Event::Saved) => self.saved(),

            (S::Asleep, Event::Rang) => self.restore(WakeReason::Packet),
            (S::Asleep, Event::WakeAsked(reason)) => self.restore(reason),
            (S::Waking | S::Resuming, Event::Woken) => self.awake(),
            (S::Waking, Event::WakeFailed) => self.go(S::Booting, &[Command::Kill, Command::Boot]),
            (S::Resuming, Event::WakeFailed) => self.go(S::Booting, &[Command::Kill, Command::Boot]),

            (S::Awake | S::Quiescing | S::Saving | S::Resuming | S::Waking, Event::Died) => self.died(),
            _ => vec![],
        }
    }

    fn go(&mut self, state: PalState, commands: &[Command]) -> Vec<Command> {
        self.state = state;
        commands.to_vec()
    }

    fn boot(&mut self) -> Vec<Command> {
        self.boots_failed = 0;
        self.rest = None;
        self.go(PalState::Booting, &[Command::Boot])
    }

    fn boot_failed(&mut self) -> Vec<Command> {
        self.boots_failed += 1;
        if self.boots_failed < BOOT_TRIES {
            return self.go(PalState::Booting, &[Command::Kill, Command::Boot]);
        }
        self.go(PalState::Failed, &[Command::Kill])
    }

    fn died(&mut self) -> Vec<Command> {
        match self.paid {
            Paid::Yes => self.go(PalState::Booting, &[Command::Kill, Command::Boot]),
            // There is no memory image: it will boot cold when credit comes.
            Paid::No => self.go(PalState::Unpaid, &[Command::Kill]),
        }
    }

    fn awake(&mut self) -> Vec<Command> {
        self.ring = None;
        match (self.paid, self.rest.take()) {
            (Paid::Yes, None) => self.go(PalState::Awake, &[]),
            _ => self.go(PalState::Quiescing, &[Command::Quiesce]),
        }
    }

    fn remember(&mut self, reason: WakeReason) -> Vec<Command> {
        self.ring = Some(reason);
        vec![]
    }

    fn quiesced(&mut self) -> Vec<Command> {
        let call_off = self.ring.is_some() && self.paid == Paid::Yes && self.aborts < ABORTS;
        if call_off {
            self.aborts += 1;
            return self.go(PalState::Resuming, &[Command::Resume]);
        }
        self.go(PalState::Saving, &[Command::Save])
    }

    /// The next wake finds no image and boots cold.
    fn sleep_without_image(&mut self) -> Vec<Command> {
        let mut commands = vec![Command::Kill];
        commands.extend(self.saved());
        commands
    }

    fn saved(&mut self) -> Vec<Command> {
        self.aborts = 0;
        match (self.paid, self.ring.take()) {
            (Paid::No, _) => self.go(PalState::Unpaid, &[]),
            (Paid::Yes, Some(reason)) => self.restore(reason),
            (Paid::Yes, None) => self.go(PalState::Asleep, &[]),
        }
    }

    fn restore(&mut self, reason: WakeReason) -> Vec<Command> {
        self.go(PalState::Waking, &[Command::Restore(reason)])
    }

    fn credit_gone(&mut self) -> Vec<Command> {
        self.paid = Paid::No;
        match self.state {
            PalState::Awake => self.go(PalState::Quiescing, &[Command::Quiesce]),
            PalState::Asleep => self.go(PalState::Unpaid, &[]),
            _ => vec![],
        }
    }

    fn credit_came(&mut self) -> Vec<Command> {
        self.paid = Paid::Yes;
        match self.state {
            // Its owner is there and has more to hand over: it stays awake as for any visitor.
            PalState::Unpaid => self.restore(WakeReason::Owner),
            _ => vec![],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use PalState as S;

    fn at(state: PalState) -> Lifecycle {
        Lifecycle::restored(state)
    }

    #[test]
    fn the_ordinary_day() {
        let mut pal = at(S::Paid);
        assert_eq!(pal.handle(Event::Start), [Command::Boot]);
        assert_eq!(pal.handle(Event::Booted), []);
        assert_eq!(pal.handle(Event::SleepAsked(SleepReason::Idle)), [Command::Quiesce]);
        assert_eq!(pal.handle(Event::Quiesced), [Command::Save]);
        assert_eq!(pal.handle(Event::Saved), []);
        assert_eq!(pal.state(), S::Asleep);
        assert_eq!(pal.handle(Event::Rang), [Command::Restore(WakeReason::Packet)]);
        assert_eq!(pal.handle(Event::Rang), [], "fifty packets cause one wake");
        assert_eq!(pal.handle(Event::Woken), []);
        assert_eq!(pal.state(), S::Awake);
    }

    #[test]
    fn a_ring_while_quiescing_calls_the_sleep_off_but_not_for_ever() {
        let mut pal = at(S::Awake);
        for _ in 0..ABORTS {
            pal.handle(Event::SleepAsked(SleepReason::Idle));
            pal.handle(Event::Rang);
            assert_eq!(pal.handle(Event::Quiesced), [Command::Resume]);
            pal.handle(Event::Woken);
        }
        pal.handle(Event::SleepAsked(SleepReason::Idle));
        pal.handle(Event::Rang);
        assert_eq!(pal.handle(Event::Quiesced), [Command::Save]);
        assert_eq!(pal.handle(Event::Saved), [Command::Restore(WakeReason::Packet)]);
    }

    #[test]
    fn asked_to_sleep_before_it_is_up_it_sleeps_as_soon_as_it_is() {
        for (state, up) in
            [(S::Booting, Event::Booted), (S::Waking, Event::Woken), (S::Resuming, Event::Woken)]
        {
            let mut pal = at(state);
            assert_eq!(pal.handle(Event::SleepAsked(SleepReason::Owner)), []);
            assert_eq!(pal.handle(up), [Command::Quiesce], "{state:?}");
            let mut pal = at(state);
            pal.handle(Event::SleepAsked(SleepReason::Owner));
            pal.handle(Event::WakeAsked(WakeReason::Owner));
            assert_eq!(pal.handle(up), [], "{state:?}: the later wish counts");
        }
    }

    #[test]
    fn a_ring_while_saving_wakes_it_at_once() {
        let mut pal = at(S::Saving);
        pal.handle(Event::Rang);
        assert_eq!(pal.handle(Event::Saved), [Command::Restore(WakeReason::Packet)]);
    }

    #[test]
    fn without_credit_it_sleeps_and_nothing_but_credit_wakes_it() {
        let mut pal = at(S::Awake);
        assert_eq!(pal.handle(Event::CreditGone), [Command::Quiesce]);
        pal.handle(Event::Rang);
        assert_eq!(pal.handle(Event::Quiesced), [Command::Save]);
        assert_eq!(pal.handle(Event::Saved), []);
        assert_eq!(pal.state(), S::Unpaid);
        assert_eq!(pal.handle(Event::Rang), []);
        assert_eq!(pal.handle(Event::WakeAsked(WakeReason::Owner)), []);
        assert_eq!(pal.handle(Event::CreditCame), [Command::Restore(WakeReason::Owner)]);
    }

    #[test]
    fn a_dead_machine_or_bad_image_means_a_cold_boot_and_three_failures_the_end() {
        let mut pal = at(S::Awake);
        assert_eq!(pal.handle(Event::Died), [Command::Kill, Command::Boot]);
        let mut pal = at(S::Waking);
        assert_eq!(pal.handle(Event::WakeFailed), [Command::Kill, Command::Boot]);
        assert_eq!(pal.handle(Event::BootFailed), [Command::Kill, Command::Boot]);
        assert_eq!(pal.handle(Event::BootFailed), [Command::Kill, Command::Boot]);
        assert_eq!(pal.handle(Event::BootFailed), [Command::Kill]);
        assert_eq!(pal.state(), S::Failed);
        assert_eq!(pal.handle(Event::Start), [Command::Boot], "an operator or owner may try again");
    }

    #[test]
    fn a_full_disk_while_saving_brings_it_back() {
        let mut pal = at(S::Saving);
        assert_eq!(pal.handle(Event::SaveFailed), [Command::Resume]);
        pal.handle(Event::Woken);
        assert_eq!(pal.state(), S::Awake);
    }

    /// Every pair of state and event: a machine is started only where none runs, a removed pal never
    /// comes back, and an unpaid one is never restored by a packet.
    #[test]
    fn nothing_unlawful_in_any_state() {
        let states = [
            S::Paid,
            S::Booting,
            S::Awake,
            S::Quiescing,
            S::Saving,
            S::Resuming,
            S::Asleep,
            S::Waking,
            S::Unpaid,
            S::Gone,
            S::Failed,
        ];
        let events = [
            Event::Start,
            Event::Booted,
            Event::BootFailed,
            Event::SleepAsked(SleepReason::Idle),
            Event::Quiesced,
            Event::Saved,
            Event::SaveFailed,
            Event::Rang,
            Event::WakeAsked(WakeReason::Owner),
            Event::Woken,
            Event::WakeFailed,
            Event::Died,
            Event::CreditGone,
            Event::CreditCame,
            Event::DeleteAsked,
        ];
        for state in states {
            for event in events {
                let mut pal = at(state);
                let commands = pal.handle(event);
                let running = matches!(
                    state,
                    S::Booting | S::Awake | S::Quiescing | S::Saving | S::Resuming | S::Waking
                );
                let starts = |c: &Command| matches!(c, Command::Boot | Command::Restore(_));
                if running && commands.iter().any(starts) && event != Event::Saved {
                    assert_eq!(commands[0], Command::Kill, "{state:?} {event:?}");
                }
                if state == S::Gone {
                    assert!(commands.is_empty(), "{event:?}");
                }
                if state == S::Unpaid && event != Event::CreditCame {
                    assert!(!commands.iter().any(starts), "{event:?}");
                }
            }
        }
    }
}
