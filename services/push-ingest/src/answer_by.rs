//! When a call is answered at the latest: shortly before its deadline. At the deadline the server answers for it, and cannot
//! say what the targets have.

use std::time::Duration;

use larder_service::call::{CallContext, Deadline};
use larder_types::Result;
use tokio::time::Instant;

/// How long before its deadline a call is answered at most, for the answer to get there in time.
const ON_ITS_WAY: Duration = Duration::from_millis(250);

/// By when a call is answered; calls without a deadline wait for what they do.
#[derive(Debug, Clone, Copy)]
pub struct AnswerBy {
    at: Option<Instant>,
    deadline: Deadline,
}

impl AnswerBy {
    /// That of a call, of the time that it has left.
    pub fn of(call: &CallContext) -> Self {
        let deadline = call.deadline;
        let early = deadline.remaining().map(|left| (left / 8).min(ON_ITS_WAY));
        let at = deadline.at().zip(early).and_then(|(at, early)| at.checked_sub(early));
        Self { at, deadline }
    }

    /// How long something may be waited for that has an answer of its own to waiting in vain.
    pub fn patience(&self, call: &CallContext) -> Duration {
        self.at.map_or(call.patience(), |at| at.saturating_duration_since(Instant::now()))
    }

    /// What comes of `work`; DEADLINE_EXCEEDED where that is not there in time.
    pub async fn within<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        let Some(at) = self.at else { return Ok(work.await) };
        tokio::time::timeout_at(at, work).await.map_err(|_| self.deadline.passed("taking the batch in"))
    }
}
