//! Starting, ending and reviving the two halves of the pal.

use super::{Init, RESTART, Stage};
use crate::child::{Ended, Half, Running, reap};
use crate::quiesce;
use cloudpal_protocol::guest::{DataState, ToHost};
use cloudpal_protocol::inside::ToNetwork;
use std::io;
use std::time::Instant;

impl Init {
    pub(super) fn stop_data(&mut self) -> Result<(), quiesce::QuiesceError> {
        if let Some(half) = self.data.take() {
            half.stop_gently();
        }
        quiesce::close_disk()?;
        self.set_data_state(DataState::Locked);
        Ok(())
    }

    pub(super) fn start_network(&mut self) {
        match Running::start(Half::Network) {
            Ok(half) => self.network = Some(half),
            Err(error) => return self.failed_to_start(Half::Network, &error),
        }
        if let (Some(half), Some(record)) = (&mut self.network, &self.boot) {
            half.wire.send(&ToNetwork::Boot(record.clone()));
        }
    }

    pub(super) fn start_data(&mut self) {
        match Running::start(Half::Data) {
            Ok(half) => self.data = Some(half),
            Err(error) => self.failed_to_start(Half::Data, &error),
        }
    }

    fn failed_to_start(&mut self, half: Half, error: &io::Error) {
        self.restart = Some(Instant::now() + RESTART);
        self.log(format!("could not start cloudpald {}: {error}", half.name()));
    }

    /// Notices halves that ended, and reaps every other process.
    pub(super) fn bury(&mut self) {
        for Ended { pid, well } in reap() {
            if self.network.as_ref().is_some_and(|half| half.is(pid)) {
                self.network = None;
                self.ended(Half::Network);
            } else if self.data.as_ref().is_some_and(|half| half.is(pid)) {
                self.data_ended(well);
            }
        }
    }

    /// It ends by itself after a lock, to be started again with empty memory.
    fn data_ended(&mut self, well: bool) {
        self.hear_data();
        self.data = None;
        if let Err(error) = quiesce::close_disk() {
            self.complain(&error);
        }
        if self.data_state == DataState::Unlocked {
            self.host.send(&ToHost::Data(DataState::Locked));
        }
        self.set_data_state(DataState::Locked);
        match well {
            true => self.start_data(),
            false => self.ended(Half::Data),
        }
    }

    fn ended(&mut self, half: Half) {
        self.log(format!("cloudpald {} ended; it is started again", half.name()));
        self.restart = Some(Instant::now() + RESTART);
    }

    pub(super) fn revive(&mut self) {
        if self.restart.is_none_or(|at| Instant::now() < at) {
            return;
        }
        self.restart = None;
        if self.boot.is_none() {
            return;
        }
        if self.network.is_none() {
            self.start_network();
        }
        if self.data.is_none() && matches!(self.stage, Stage::Booting | Stage::Running) {
            self.start_data();
        }
    }

    /// Ends the halves and closes the disk.
    pub(super) fn stop(&mut self) {
        if let Err(error) = self.stop_data() {
            self.complain(&error);
        }
        if let Some(half) = self.network.take() {
            half.stop();
        }
        self.host.flush();
    }
}
