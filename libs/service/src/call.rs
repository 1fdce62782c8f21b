//! What a use case knows of the call it serves: who calls, and by when the answer must be there.

use std::{fmt, future::Future, net::SocketAddr, time::Duration};

use larder_contracts::status::to_status;
use larder_types::{Error, Result};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::config::Span;

/// How long a call without a deadline waits for something: a little less than callers wait who set none.
const DEFAULT_PATIENCE: Duration = Duration::from_millis(4_500);

/// How long before its deadline a call is answered at most, for the answer to get there in time.
const ON_ITS_WAY: Duration = Duration::from_millis(250);

/// Takes a request apart, and makes a response or a status of what comes of `work`.
pub async fn answer<M, R>(
    request: Request<M>,
    work: impl AsyncFnOnce(CallContext, M) -> Result<R>,
) -> Result<Response<R>, Status> {
    let call = CallContext::of(&request);
    work(call, request.into_inner()).await.map(Response::new).map_err(|error| to_status(&error))
}

/// Who calls and how long they wait. The server puts it into the extensions of every request.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// Who calls.
    pub caller: Caller,
    /// By when the answer must be there.
    pub deadline: Deadline,
}

impl CallContext {
    /// The context of `request`. A request that came past our server has an anonymous caller and no deadline.
    pub fn of<T>(request: &Request<T>) -> Self {
        request.extensions().get().cloned().unwrap_or_else(Self::unbounded)
    }

    /// How long something may be waited for on behalf of this call, if there is to be time left to say that it did not come:
    /// a little less than [`Deadline::within`] waits, which cannot say of what.
    pub fn patience(&self) -> Duration {
        let until = self.deadline.before(self.deadline.on_its_way() * 3 / 2);
        until.map_or(DEFAULT_PATIENCE, |at| at.saturating_duration_since(Instant::now()))
    }

    /// The context of work that nobody called for: the system itself, without a deadline.
    pub fn unbounded() -> Self {
        let caller = Caller { principal: Principal::Anonymous, address: PeerAddress::InProcess };
        Self { caller, deadline: Deadline::none() }
    }
}

/// Who calls, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// As whom.
    pub principal: Principal,
    /// From where.
    pub address: PeerAddress,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.principal, self.address)
    }
}

/// As whom somebody calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Principal {
    /// Nobody has been asked who they are.
    Anonymous,
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("anonymous"),
        }
    }
}

/// From where somebody calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerAddress {
    /// Over the network.
    Network(SocketAddr),
    /// From the same process.
    InProcess,
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(address) => address.fmt(f),
            Self::InProcess => f.write_str("in process"),
        }
    }
}

/// By when a call must be answered. Streams have one only if their caller gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    at: Option<Instant>,
    given: Duration,
}

impl Deadline {
    /// No deadline.
    pub const fn none() -> Self {
        Self { at: None, given: Duration::MAX }
    }

    /// In `given` from now.
    pub fn after(given: Duration) -> Self {
        Self { at: Instant::now().checked_add(given), given }
    }

    /// The instant, if there is one.
    pub fn at(self) -> Option<Instant> {
        self.at
    }

    /// How much is left; `None` without a deadline.
    pub fn remaining(self) -> Option<Duration> {
        self.at.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Waits for `work`, as long as there is time for an answer; `what` is named in the error. At the deadline itself server
    /// and caller answer for the service, and cannot say what it would.
    pub async fn within<T>(self, what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        match self.before(self.on_its_way()) {
            None => work.await,
            Some(at) => tokio::time::timeout_at(at, work).await.unwrap_or_else(|_| Err(self.passed(what))),
        }
    }

    fn on_its_way(self) -> Duration {
        (self.given / 8).min(ON_ITS_WAY)
    }

    fn before(self, early: Duration) -> Option<Instant> {
        self.at.and_then(|at| at.checked_sub(early))
    }

    /// The error that says so when it has passed while `what` was being done.
    pub fn passed(self, what: &str) -> Error {
        let message = if self.given < Duration::from_millis(1) {
            format!("{what} was given no time")
        } else {
            format!("{what} took longer than the {} that the call had", Span(self.given))
        };
        Error::deadline_exceeded(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_waited_for_leaves_time_for_an_answer() {
        let with = |deadline| CallContext { deadline, ..CallContext::unbounded() };
        for (given, patience) in [(160, 130), (4_000, 3_625), (60_000, 59_625), (0, 0)] {
            let told = with(Deadline::after(Duration::from_millis(given))).patience();
            let patience = Duration::from_millis(patience);
            assert!(
                told <= patience && told >= patience.saturating_sub(Duration::from_secs(1)),
                "{told:?} of {given} ms"
            );
        }
        assert_eq!(with(Deadline::none()).patience(), DEFAULT_PATIENCE);
        // What has an answer of its own to waiting in vain gives it before the work is cut.
        let call = with(Deadline::after(Duration::from_millis(160)));
        let waiting = async { Ok(tokio::time::timeout(call.patience(), std::future::pending::<()>()).await.is_err()) };
        assert!(call.deadline.within("this", waiting).await.unwrap());
    }

    #[tokio::test]
    async fn work_within_a_deadline_is_cut_before_it() {
        let deadline = Deadline::after(Duration::from_millis(15));
        let quick = deadline.within("this", async { Ok(7) }).await;
        assert_eq!(quick.unwrap(), 7);
        let error = deadline.within::<()>("waiting for revision 4", std::future::pending()).await.unwrap_err();
        assert_eq!(error.code(), larder_types::ErrorCode::DeadlineExceeded);
        assert_eq!(error.message(), "waiting for revision 4 took longer than the 15ms that the call had");
        assert!(deadline.remaining().unwrap() <= Duration::from_millis(2), "{deadline:?}");
        assert_eq!(Deadline::after(Duration::ZERO).passed("this").message(), "this was given no time");
        assert_eq!(Deadline::none().within("this", async { Ok(1) }).await.unwrap(), 1);
    }
}
