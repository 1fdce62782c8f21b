//! Errors of Push that end a call in its service before the handler has it, e.g. of a batch over the limit of bytes: nothing
//! was begun, and they say so of each target. Those that the endpoint gives before (calls in flight, a deadline that is over)
//! name no target.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use larder_contracts::status::{from_status, of_unreadable_request, to_status};
use tonic::{
    Code, Status,
    body::Body,
    codegen::{
        Service,
        http::{Request, Response},
    },
    server::NamedService,
};

use crate::ingest::{IngestError, Targets};

/// The generated service, whose every error of Push tells of the targets.
#[derive(Debug, Clone)]
pub(crate) struct ToldOfTargets<S>(pub(crate) S);

/// Among the extensions of a request: whether its handler has it, and so says what became of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct HandlerHas(Arc<AtomicBool>);

impl HandlerHas {
    /// The handler has the request.
    pub(crate) fn note<T>(request: &tonic::Request<T>) {
        if let Some(Self(begun)) = request.extensions().get() {
            begun.store(true, Ordering::Relaxed);
        }
    }
}

impl<S: NamedService> NamedService for ToldOfTargets<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for ToldOfTargets<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if !request.uri().path().ends_with("/Push") {
            return Box::pin(self.0.call(request));
        }
        let begun = HandlerHas::default();
        request.extensions_mut().insert(begun.clone());
        let answer = self.0.call(request);
        Box::pin(async move {
            let answer = answer.await;
            if begun.0.load(Ordering::Relaxed) { answer } else { answer.map(told) }
        })
    }
}

fn told(response: Response<Body>) -> Response<Body> {
    let in_full = response.extensions().get::<Status>().cloned();
    match in_full.or_else(|| Status::from_header_map(response.headers())) {
        Some(status) if status.code() != Code::Ok => {
            let error = from_status(of_unreadable_request(status));
            let nothing_done = IngestError::before_all(error, Targets { online: true, offline: true });
            to_status(&nothing_done.into_error()).into_http()
        }
        Some(_) | None => response,
    }
}
