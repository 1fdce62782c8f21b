//! The way of one call, in order: its rpc, its span, its place among those in flight, its deadline, its caller; then the
//! service; then its end, counted and logged.

use std::{
    any::Any,
    convert::Infallible,
    fmt,
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, future};
use http_body::Body as _;
use larder_contracts::status::of_unreadable_request;
use larder_types::{Error, Result};
use tokio::{net::TcpListener, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Status,
    body::Body,
    codegen::{
        Service,
        http::{HeaderMap, Request, Response},
    },
    service::Routes,
    transport::server::{TcpConnectInfo, TcpIncoming},
};
use tracing::{Instrument, Span};

use super::{
    body::{RequestBody, RequestRules},
    encoded::EncodedBody,
    limits::{Limits, Place},
    methods::{Method, Methods},
    stream::{Answer, Ends, ResponseBody, Untaken},
};
use crate::{
    call::{CallContext, Caller, Deadline, PeerAddress, Principal},
    config::ServerConfig,
    metrics::code_name,
    shutdown::Shutdown,
    tasks::panic_message,
    trace,
};

/// What a caller may send of one stream, and of all streams of a connection, before the server has read it. HTTP/2 ends
/// a connection whose small frames wait unread (`too_many_data_frames`), by a budget of half the connection's window: that
/// is enough for a dozen streams of frames of 20 bytes.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 64 << 20;

/// How many calls of a connection may be given up before they were looked at. Above it the connection is ended, with all of
/// its calls; the transport's own limit is 20, which a few callers with short deadlines reach while the service is busy.
const GIVEN_UP: usize = 10_000;

/// All services of one server behind all of its layers. A clone is the same endpoint.
///
/// It is a tower service: [`Endpoint::serve`] puts it on the network, and a generated client takes it as its transport.
#[derive(Clone)]
pub struct Endpoint {
    routes: Routes,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    methods: Methods,
    limits: Arc<Limits>,
    section: &'static str,
    config: ServerConfig,
    shutdown: Shutdown,
}

/// Calls in flight, for people: `/larder.push.v1.PushService/Push 3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingCalls(Vec<(String, i64)>);

impl PendingCalls {
    /// How many.
    pub fn count(&self) -> i64 {
        self.0.iter().map(|(_, count)| count).sum()
    }
}

impl fmt::Display for PendingCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls: Vec<_> = self.0.iter().map(|(path, count)| format!("{path} {count}")).collect();
        f.write_str(&calls.join(", "))
    }
}

impl Endpoint {
    pub(super) fn new(
        routes: Routes,
        methods: Methods,
        section: &'static str,
        config: &ServerConfig,
        shutdown: Shutdown,
    ) -> Self {
        let limits = Arc::new(Limits::new(section, config));
        Self { routes, shared: Arc::new(Shared { methods, limits, section, config: config.clone(), shutdown }) }
    }

    /// Answers calls on `listener` until `stop`, then takes no more and returns when the last one has been answered.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) -> Result<()> {
        let config = self.shared.config.clone();
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        // The number of streams of a connection is not limited here, since what lies above would wait in the client
        // instead of being answered at once.
        tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(*config.keepalive_interval))
            .http2_keepalive_timeout(Some(*config.keepalive_timeout))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_max_pending_accept_reset_streams(Some(GIVEN_UP))
            .serve_with_incoming_shutdown(self, incoming, stop.cancelled_owned())
            .await
            .map_err(|error| Error::unavailable("the gRPC port cannot be served").with_source(error))
    }

    /// The calls that are being served, probes left out.
    pub fn pending(&self) -> PendingCalls {
        let pending = self.shared.methods.pending();
        PendingCalls(pending.into_iter().map(|(path, count)| (path.to_owned(), count)).collect())
    }

    /// Waits until no call is being served, but for streams of this process to itself.
    pub async fn drained(&self) {
        self.shared.limits.drained().await;
    }

    async fn answer(mut self, call: Call, request: Request<Body>, deadline: Deadline) -> Response<Body> {
        let is_stream = call.method.is_stream();
        // Nobody waits for it any more: nothing of it is begun.
        if deadline.remaining().is_some_and(|left| left.is_zero()) {
            return call.refuse(to_status(&deadline.passed("the call")));
        }
        let served = AssertUnwindSafe(async { self.routes.call(request).await }).catch_unwind();
        let served = async {
            match served.await {
                Ok(Ok(response)) => Ok(response),
                Ok(Err(never)) => match never {},
                Err(panic) => Err(panicked(&*panic)),
            }
        };
        let outcome = match deadline.at() {
            None => served.await,
            Some(at) => match tokio::time::timeout_at(at, served).await {
                Ok(outcome) => outcome,
                Err(_) => Err(to_status(&deadline.passed("the call"))),
            },
        };
        match outcome {
            Err(status) => call.refuse(status),
            Ok(response) if is_stream => self.shared.watch_stream(response, call, deadline),
            Ok(response) => self.shared.finish_unary(response, call),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl Service<Request<Body>> for Endpoint {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    /// The deadline runs from here, before the future is polled: the transport starts a clock of its own right after,
    /// and answers CANCELLED if that one is out first.
    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let shared = &self.shared;
        let Some(method) = shared.methods.get(request.uri().path()) else {
            let status = to_status(&shared.methods.unknown(request.uri().path()));
            return Box::pin(future::ready(Ok(status.into_http())));
        };
        let deadline = match shared.deadline(method, request.headers()) {
            Ok(deadline) => deadline,
            Err(error) => return refused(method, &error),
        };
        let caller = caller_of(&request);
        let place = match shared.limits.enter(method, &caller.address) {
            Ok(place) => place,
            Err(error) => return refused(method, &error),
        };
        let span = trace::call_span(&method.path, &caller.address, request.headers());
        request.extensions_mut().insert(CallContext { caller, deadline });
        let call = Call::begin(Arc::clone(method), place, span.clone());
        let request = shared.watch_request(request, method);
        let answer = self.clone().answer(call, request, deadline);
        Box::pin(answer.map(Ok).instrument(span))
    }
}

fn refused(method: &Method, error: &Error) -> <Endpoint as Service<Request<Body>>>::Future {
    let status = to_status(error);
    method.metrics.count(status.code());
    Box::pin(future::ready(Ok(status.into_http())))
}

fn caller_of(request: &Request<Body>) -> Caller {
    let network = request.extensions().get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
    let address = network.map_or(PeerAddress::InProcess, PeerAddress::Network);
    Caller { principal: Principal::Anonymous, address }
}

impl Shared {
    /// Unary calls: what the caller gave, else the default, at most the limit. Streams and probes: what the caller gave.
    fn deadline(&self, method: &Method, headers: &HeaderMap) -> Result<Deadline> {
        let given = given_timeout(headers)?;
        let ServerConfig { default_deadline, max_deadline, .. } = &self.config;
        Ok(match given {
            Some(given) if method.is_stream() => Deadline::after(given),
            None if method.is_stream() => Deadline::none(),
            Some(given) => Deadline::after(given.min(**max_deadline)),
            None => Deadline::after(**default_deadline),
        })
    }

    fn watch_request(&self, request: Request<Body>, method: &Method) -> Request<Body> {
        let ServerConfig { max_request_bytes, stream_idle_limit, .. } = &self.config;
        let rules = RequestRules { section: self.section, max_bytes: *max_request_bytes };
        request.map(|body| {
            if body.is_end_stream() {
                body
            } else if method.streams_in {
                let stop = self.shutdown.begun_owned();
                Body::new(RequestBody::stream(body, rules, **stream_idle_limit, stop))
            } else {
                Body::new(RequestBody::unary(body, rules))
            }
        })
    }

    fn watch_stream(&self, mut response: Response<Body>, call: Call, deadline: Deadline) -> Response<Body> {
        if let Some(status) = status_of(&response) {
            return end_with(response, call, status);
        }
        let ends = Ends::new(deadline, self.shutdown.begun_owned(), call.method.streams_in);
        match EncodedBody::take_from(response.extensions_mut()) {
            Some(body) => {
                let untaken = self.untaken(*self.config.stream_idle_limit, "stream_idle_limit");
                let answer = Answer::stream(Body::new(body), call, ends);
                response.map(|_| Body::new(ResponseBody::watched(answer, untaken)))
            }
            None => response.map(|body| Body::new(ResponseBody::new(Answer::stream(body, call, ends)))),
        }
    }

    fn finish_unary(&self, mut response: Response<Body>, mut call: Call) -> Response<Body> {
        if let Some(status) = status_of(&response) {
            return end_with(response, call, status);
        }
        let many_wait = call.answered();
        let encoded = EncodedBody::take_from(response.extensions_mut());
        // One that is no longer wanted by any deadline is not kept where it, or all of them, take much.
        let untaken = (many_wait || encoded.is_some()).then(|| self.untaken(*self.config.max_deadline, "max_deadline"));
        response.map(|body| {
            let answer = Answer::unary(encoded.map_or(body, Body::new), call);
            Body::new(match untaken {
                None => ResponseBody::new(answer),
                Some(untaken) => ResponseBody::watched(answer, untaken),
            })
        })
    }

    fn untaken(&self, limit: Duration, key: &'static str) -> Untaken {
        Untaken { limit, section: self.section, key }
    }
}

/// Ends a call whose answer is a status alone, which is told in our words if it is the transport's.
fn end_with(response: Response<Body>, mut call: Call, status: Status) -> Response<Body> {
    if status.code() == Code::Ok || !status.details().is_empty() {
        call.end_with(&status);
        return response;
    }
    call.refuse(of_unreadable_request(status))
}

/// The status of an answer that has nothing else: an error, as a rule.
fn status_of(response: &Response<Body>) -> Option<Status> {
    let in_full = response.extensions().get::<Status>().cloned();
    in_full.or_else(|| Status::from_header_map(response.headers()))
}

/// The caller's `grpc-timeout`: digits and a unit.
fn given_timeout(headers: &HeaderMap) -> Result<Option<Duration>> {
    let Some(value) = headers.get("grpc-timeout") else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    let wrong = || {
        Error::invalid_field(
            "grpc-timeout",
            format!("`{text}` is not a timeout: at most 8 digits and one of H M S m u n"),
        )
    };
    let (digits, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    match unit {
        "H" => Ok(Some(Duration::from_secs(number * 3600))),
        "M" => Ok(Some(Duration::from_secs(number * 60))),
        "S" => Ok(Some(Duration::from_secs(number))),
        "m" => Ok(Some(Duration::from_millis(number))),
        "u" => Ok(Some(Duration::from_micros(number))),
        "n" => Ok(Some(Duration::from_nanos(number))),
        _ => Err(wrong()),
    }
}

/// One call from its beginning to its end, which is counted once, however it comes: a caller who goes away drops it.
#[derive(Debug)]
pub(super) struct Call {
    method: Arc<Method>,
    began: Instant,
    span: Span,
    has_ended: bool,
    in_flight: bool,
    place: Option<Place>,
}

impl Call {
    fn begin(method: Arc<Method>, place: Option<Place>, span: Span) -> Self {
        method.metrics.begin();
        Self { method, began: Instant::now(), span, has_ended: false, in_flight: true, place }
    }

    /// The call's span.
    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    /// Its answer is there: it is in flight no more, and ends when that was sent. True where many answers wait to be.
    fn answered(&mut self) -> bool {
        self.leave();
        self.place.as_mut().is_some_and(Place::answered)
    }

    fn leave(&mut self) {
        if std::mem::take(&mut self.in_flight) {
            self.method.metrics.leave();
        }
    }

    /// It ended with `code`, and others may have its place.
    pub(super) fn end(&mut self, code: Code) {
        if !self.has_ended {
            self.has_ended = true;
            self.leave();
            self.place = None;
            self.span.record("rpc.grpc.status_code", code as i32);
            self.method.metrics.end(code, self.began.elapsed().as_secs_f64());
        }
    }

    /// It ended with an error, which is logged here and nowhere else.
    pub(super) fn end_with(&mut self, status: &Status) {
        self.span.in_scope(|| log(status));
        self.end(status.code());
    }

    fn refuse(mut self, status: Status) -> Response<Body> {
        self.end_with(&status);
        status.into_http()
    }
}

/// A defect or broken data is for a person to look at; everything else is between the caller and the service.
fn log(status: &Status) {
    let (code, message) = (code_name(status.code()), status.message());
    if matches!(status.code(), Code::Internal | Code::DataLoss | Code::Unknown) {
        let source = std::error::Error::source(status).map(ToString::to_string);
        tracing::error!(code, message, source, "the call failed");
    } else {
        tracing::debug!(code, message, "the call failed");
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

/// What streams end with when the service stops.
pub(super) fn stopping() -> Error {
    Error::unavailable("the service is stopping: open the stream again, at another replica or in a moment")
}

/// What a call ends with whose code panicked. The message stays here: it may name anything.
pub(super) fn panicked(panic: &(dyn Any + Send)) -> Status {
    tracing::error!(panic = panic_message(panic), "a call panicked");
    to_status(&Error::internal("a defect of Larder: see the service's log"))
}

/// The one map from errors to statuses is in the contracts.
pub(super) fn to_status(error: &Error) -> Status {
    larder_contracts::status::to_status(error)
}
