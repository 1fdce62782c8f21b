//! What every call does: it carries its deadline, ends with it, and gives our errors.

use std::{future::Future, time::Duration};

use larder_contracts::status::from_status;
use larder_types::{Error, Result};
use tonic::{Request, Response, Status, Streaming};

/// How long a call may take unless it is told otherwise.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);

/// One answer, within `deadline`, whether the other side keeps to it or not.
pub(crate) async fn unary<M, R, F>(deadline: Duration, message: M, call: impl FnOnce(Request<M>) -> F) -> Result<R>
where
    F: Future<Output = Result<Response<R>, Status>>,
{
    let mut request = Request::new(message);
    request.set_timeout(deadline);
    let answer = tokio::time::timeout(deadline, call(request)).await.map_err(|_| too_late(deadline))?;
    answer.map(Response::into_inner).map_err(from_status)
}

/// A stream of answers, whose first sign comes within `deadline`. The stream itself has none.
pub(crate) async fn streaming<R, F>(deadline: Duration, call: F) -> Result<Streaming<R>>
where
    F: Future<Output = Result<Response<Streaming<R>>, Status>>,
{
    let answer = tokio::time::timeout(deadline, call).await.map_err(|_| too_late(deadline))?;
    answer.map(Response::into_inner).map_err(from_status)
}

fn too_late(deadline: Duration) -> Error {
    Error::deadline_exceeded(format!("there was no answer within {} ms", deadline.as_millis()))
}

/// A client for calls over a transport, under a deadline: `new`, `within` and the generated client, ready to be called.
macro_rules! client {
    ($(#[$doc:meta])* $name:ident over $generated:ty) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name {
            client: $generated,
            deadline: std::time::Duration,
        }

        impl $name {
            /// Over `transport`, with the default deadline.
            pub fn new(transport: $crate::Transport) -> Self {
                let client = <$generated>::new(transport)
                    .max_decoding_message_size(larder_contracts::TRANSPORT_MESSAGE_LIMIT)
                    .max_encoding_message_size(larder_contracts::TRANSPORT_MESSAGE_LIMIT);
                Self { client, deadline: $crate::DEFAULT_DEADLINE }
            }

            /// The same, whose calls may take so long.
            #[must_use]
            pub fn within(&self, deadline: std::time::Duration) -> Self {
                Self { client: self.client.clone(), deadline }
            }
        }
    };
}

pub(crate) use client;
