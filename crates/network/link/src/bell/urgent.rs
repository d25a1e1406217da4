//! A few moments in which this thread is not to be put aside.
#![allow(unsafe_code)]

use nix::libc;

/// While this lives, the calling thread runs before all ordinary ones. If the kernel does not allow
/// it, it is an ordinary one still.
pub(super) struct Urgent {
    was: Option<(libc::c_int, libc::sched_param)>,
}

impl Urgent {
    pub(super) fn begin() -> Self {
        // SAFETY: `sched_param` is plain data, for which all zeros is a valid value.
        let (mut was, mut first) = unsafe { std::mem::zeroed::<(libc::sched_param, libc::sched_param)>() };
        first.sched_priority = 1;
        // SAFETY: 0 is this thread, and both pointers are to values that outlive the calls.
        let policy = unsafe {
            let policy = libc::sched_getscheduler(0);
            let known = policy >= 0 && libc::sched_getparam(0, &raw mut was) == 0;
            (known && libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const first) == 0).then_some(policy)
        };
        Urgent { was: policy.map(|policy| (policy, was)) }
    }
}

impl Drop for Urgent {
    fn drop(&mut self) {
        if let Some((policy, parameters)) = self.was {
            // SAFETY: as above; what was read from this thread is given back to it.
            unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
        }
    }
}
