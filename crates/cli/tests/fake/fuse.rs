use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts what happens, and ends the world at one point.
#[derive(Default)]
pub struct Fuse {
    burned: AtomicU64,
    length: AtomicU64,
}

/// What a panic of the fuse carries.
pub struct Blown;

/// How a run with a fuse ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End<T> {
    /// The fuse was longer than the run.
    Whole(T),
    /// An answer was lost on the way, and the program said this.
    Lost(T),
    /// Killed.
    Killed,
}

impl Fuse {
    /// The `length`th thing from now on does not happen any more; 0 for never.
    pub fn set(&self, length: u64) {
        self.burned.store(0, Ordering::SeqCst);
        self.length.store(length, Ordering::SeqCst);
    }

    fn burned(&self) -> u64 {
        self.burned.load(Ordering::SeqCst)
    }

    /// One thing happens in the program: here it is killed.
    pub fn burn(&self) {
        if self.is_blown_by_one_more() {
            std::panic::panic_any(Blown);
        }
    }

    /// One thing happens elsewhere: there the answer is lost.
    pub fn is_blown_by_one_more(&self) -> bool {
        let length = self.length.load(Ordering::SeqCst);
        self.burned.fetch_add(1, Ordering::SeqCst) + 1 == length
    }

    /// Runs `what` until the fuse cuts it.
    pub fn cut<T>(&self, length: u64, what: impl FnOnce() -> T) -> End<T> {
        static QUIET: Once = Once::new();
        QUIET.call_once(|| {
            let loud = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                if info.payload().downcast_ref::<Blown>().is_none() {
                    loud(info);
                }
            }));
        });
        self.set(length);
        let end = match catch_unwind(AssertUnwindSafe(what)) {
            Ok(value) if self.burned() < length => End::Whole(value),
            Ok(value) => End::Lost(value),
            Err(panic) if panic.is::<Blown>() => End::Killed,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        self.set(0);
        end
    }
}
