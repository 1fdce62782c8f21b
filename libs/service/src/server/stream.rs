//! The body of an answer, watched while it goes out: the call ends when it does, a stream ends with the deadline or the
//! service, and a panic in it is an answer too. One that is great, or of many messages, is dropped when its caller takes
//! nothing of it for too long: the transport asks for more only when there is room for it, so nobody would notice.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use larder_contracts::status::of_unreadable_request;
use larder_types::Error;
use tokio::{
    task::AbortHandle,
    time::{Instant, Sleep, sleep, sleep_until},
};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Code, Status, body::Body, codegen::http::HeaderMap};

use super::endpoint::{Call, panicked, stopping, to_status};
use crate::{call::Deadline, config::Span};

/// How long a stream in both directions may go on after the service has begun to stop: its reading side has been told,
/// and what was taken in before is answered.
const GRACE: Duration = Duration::from_secs(2);

type NextFrame = Option<Result<Frame<Bytes>, Status>>;

/// The body of an answer and the call that it belongs to.
pub(super) enum ResponseBody {
    /// Dropped by the transport alone.
    Own(Answer),
    /// Dropped by whoever notices first that nothing of it is taken.
    Watched { answer: Arc<Mutex<Answer>>, _watch: Watch },
}

/// What is left of an answer.
pub(super) struct Answer {
    body: Body,
    call: Call,
    ends: Option<Ends>,
    is_over: bool,
    /// What it ended with while nobody asked for more.
    given_up: Option<Status>,
    /// Since when there was no asking for more, if there is more.
    untaken_since: Option<Instant>,
}

/// Ends with the body that it watches.
pub(super) struct Watch(AbortHandle);

/// How long an answer is kept of which nothing is taken, and which setting says so.
#[derive(Clone, Copy)]
pub(super) struct Untaken {
    pub(super) limit: Duration,
    pub(super) section: &'static str,
    pub(super) key: &'static str,
}

/// What ends a stream from outside.
pub(super) struct Ends {
    deadline: Deadline,
    timer: Option<Pin<Box<Sleep>>>,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    grace: Duration,
    grace_timer: Option<Pin<Box<Sleep>>>,
}

impl Ends {
    pub(super) fn new(deadline: Deadline, stop: WaitForCancellationFutureOwned, reads_too: bool) -> Self {
        let timer = deadline.at().map(|at| Box::pin(sleep_until(at)));
        let grace = if reads_too { GRACE } else { Duration::ZERO };
        Self { deadline, timer, stop: Box::pin(stop), grace, grace_timer: None }
    }

    /// Ready with the reason when the stream has to end.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        if let Some(timer) = &mut self.timer
            && timer.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(to_status(&self.deadline.passed("the stream")));
        }
        if self.grace_timer.is_none() && self.stop.as_mut().poll(cx).is_ready() {
            self.grace_timer = Some(Box::pin(sleep(self.grace)));
        }
        match &mut self.grace_timer {
            None => Poll::Pending,
            Some(timer) => timer.as_mut().poll(cx).map(|()| to_status(&stopping())),
        }
    }
}

impl ResponseBody {
    /// Of an answer that is kept as long as its caller is there.
    pub(super) fn new(answer: Answer) -> Self {
        Self::Own(answer)
    }

    /// Of one that is given up where nothing of it is taken for as long as `untaken` says.
    pub(super) fn watched(answer: Answer, untaken: Untaken) -> Self {
        let answer = Arc::new(Mutex::new(answer));
        let watched = Arc::downgrade(&answer);
        let watching = async move {
            let mut until = Instant::now() + untaken.limit;
            loop {
                sleep_until(until).await;
                let Some(answer) = watched.upgrade() else { return };
                match lock(&answer).give_up(untaken) {
                    Some(later) => until = later,
                    None => return,
                }
            }
        };
        Self::Watched { answer, _watch: Watch(tokio::spawn(watching).abort_handle()) }
    }

    fn with<T>(&mut self, work: impl FnOnce(&mut Answer) -> T) -> T {
        match self {
            Self::Own(answer) => work(answer),
            Self::Watched { answer, .. } => work(&mut lock(answer)),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn lock(answer: &Mutex<Answer>) -> MutexGuard<'_, Answer> {
    answer.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Untaken {
    fn error(self) -> Error {
        let Self { limit, section, key } = self;
        let limit = Span(limit);
        Error::unavailable(format!("nothing of the answer was taken for {limit} ({section}.server.{key}): ask again"))
    }
}

impl Answer {
    /// The answer of a unary call.
    pub(super) fn unary(body: Body, call: Call) -> Self {
        Self::new(body, call, None)
    }

    /// A stream.
    pub(super) fn stream(body: Body, call: Call, ends: Ends) -> Self {
        Self::new(body, call, Some(ends))
    }

    fn new(body: Body, call: Call, ends: Option<Ends>) -> Self {
        Self { body, call, ends, is_over: false, given_up: None, untaken_since: Some(Instant::now()) }
    }

    /// Drops it if nothing was taken for so long; else it says when that may be.
    fn give_up(&mut self, untaken: Untaken) -> Option<Instant> {
        if self.is_over {
            return None;
        }
        let now = Instant::now();
        let until = self.untaken_since.unwrap_or(now) + untaken.limit;
        if until > now {
            return Some(until);
        }
        let status = to_status(&untaken.error());
        self.body = Body::empty();
        self.ends = None;
        self.call.end_with(&status);
        self.given_up = Some(status);
        None
    }

    /// Ends the stream with `status`, whatever is left of it.
    fn end_with(&mut self, status: &Status) -> Poll<NextFrame> {
        self.is_over = true;
        self.body = Body::empty();
        self.call.end_with(status);
        Poll::Ready(Some(trailers_of(status)))
    }

    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Result<Poll<NextFrame>, Status> {
        let Self { body, call, .. } = self;
        let _entered = call.span().enter();
        catch_unwind(AssertUnwindSafe(|| Pin::new(body).poll_frame(cx))).map_err(|panic| panicked(&*panic))
    }

    /// Notes how the call ended, if this is its end, and says in our words what the transport says of it.
    fn note(&mut self, frame: Option<Result<Frame<Bytes>, Status>>) -> NextFrame {
        let status = match &frame {
            None => None,
            Some(Err(status)) => Some(Status::new(status.code(), status.message())),
            Some(Ok(next)) => match next.trailers_ref() {
                Some(trailers) if is_ok(trailers) => None,
                Some(trailers) => Status::from_header_map(trailers),
                None => return frame,
            },
        };
        self.is_over = true;
        match status {
            Some(status) if status.code() != Code::Ok => {
                let is_ours = !status.details().is_empty();
                let told = of_unreadable_request(status);
                self.call.end_with(&told);
                if is_ours || matches!(frame, Some(Err(_))) { frame } else { Some(trailers_of(&told)) }
            }
            _ => {
                self.call.end(Code::Ok);
                frame
            }
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<NextFrame> {
        self.untaken_since = None;
        if self.is_over {
            return Poll::Ready(None);
        }
        if let Some(status) = self.given_up.take() {
            return self.end_with(&status);
        }
        if let Some(ends) = &mut self.ends
            && let Poll::Ready(status) = ends.poll_end(cx)
        {
            return self.end_with(&status);
        }
        match self.poll_inner(cx) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(frame)) => {
                let frame = self.note(frame);
                self.untaken_since = Some(Instant::now());
                Poll::Ready(frame)
            }
            Err(panicked) => self.end_with(&panicked),
        }
    }
}

fn is_ok(trailers: &HeaderMap) -> bool {
    trailers.get(Status::GRPC_STATUS).is_none_or(|code| code == "0")
}

fn trailers_of(status: &Status) -> Result<Frame<Bytes>, Status> {
    let mut trailers = HeaderMap::new();
    status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<NextFrame> {
        self.with(|answer| answer.poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(answer) => answer.is_over,
            Self::Watched { answer, .. } => lock(answer).is_over,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(Answer { body, ends: None, .. }) => body.size_hint(),
            Self::Own(_) | Self::Watched { .. } => SizeHint::new(),
        }
    }
}
