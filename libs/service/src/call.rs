//! What a use case knows of the call it serves: who calls, and by when the answer must be there.

use std::{fmt, future::Future, net::SocketAddr, time::Duration};

use larder_contracts::status::to_status;
use larder_types::{Error, Result};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::config::Span;

/// How long a call without a deadline waits for something.
const DEFAULT_PATIENCE: Duration = Duration::from_secs(5);

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

    /// How long something may be waited for on behalf of this call.
    pub fn patience(&self) -> Duration {
        self.deadline.remaining().unwrap_or(DEFAULT_PATIENCE)
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

    /// Waits for `work`, at most until the deadline; `what` is named in the error.
    pub async fn within<T>(self, what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        match self.at {
            None => work.await,
            Some(at) => tokio::time::timeout_at(at, work).await.unwrap_or_else(|_| Err(self.passed(what))),
        }
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
    async fn work_within_a_deadline_is_cut_at_it() {
        let deadline = Deadline::after(Duration::from_millis(15));
        let quick = deadline.within("this", async { Ok(7) }).await;
        assert_eq!(quick.unwrap(), 7);
        let error = deadline.within::<()>("waiting for revision 4", std::future::pending()).await.unwrap_err();
        assert_eq!(error.code(), larder_types::ErrorCode::DeadlineExceeded);
        assert_eq!(error.message(), "waiting for revision 4 took longer than the 15ms that the call had");
        assert_eq!(deadline.remaining(), Some(Duration::ZERO));
        assert_eq!(Deadline::after(Duration::ZERO).passed("this").message(), "this was given no time");
        assert_eq!(Deadline::none().within("this", async { Ok(1) }).await.unwrap(), 1);
    }
}
