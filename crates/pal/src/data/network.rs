//! Questions to `cloudpald network`.

use cloudpal_protocol::inside::{Answer, Ask, FromData, Question};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// An answer takes a few milliseconds; storing a roster a little longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The other half, as seen from here.
pub struct Network {
    to_init: mpsc::Sender<FromData>,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
}

impl Network {
    /// Asks through this queue.
    pub fn new(to_init: mpsc::Sender<FromData>) -> Self {
        Network { to_init, next: AtomicU64::new(1), waiting: Mutex::default() }
    }

    /// Asks to be told who this pal is; the answer comes as a message of its own.
    pub async fn request_start(&self) {
        let ask = Ask { id: 0, question: Question::Start };
        let _ = self.to_init.send(FromData::Ask(ask)).await;
    }

    /// Asks and waits for the answer.
    pub async fn ask(&self, question: Question) -> Answer {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.waiting().insert(id, sender);
        let _ = self.to_init.send(FromData::Ask(Ask { id, question })).await;
        let answer = timeout(PATIENCE, receiver).await;
        self.waiting().remove(&id);
        match answer {
            Ok(Ok(answer)) => answer,
            _ => Answer::Refused(
                "the pal's network half did not answer; try again in a few seconds".to_owned(),
            ),
        }
    }

    /// Passes an answer on to who asked.
    pub fn answered(&self, id: u64, answer: Answer) {
        if let Some(sender) = self.waiting().remove(&id) {
            // Nobody waits any longer: nothing to do.
            let _ = sender.send(answer);
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<Answer>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
