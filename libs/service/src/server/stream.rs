//! The body of an answer, watched while it goes out: the call ends when it does, a stream ends with the deadline or the
//! service, and a panic in it is an answer too.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Sleep, sleep, sleep_until};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Code, Status, body::Body, codegen::http::HeaderMap};

use super::endpoint::{Call, panicked, stopping, to_status};
use crate::call::Deadline;

/// How long a stream in both directions may go on after the service has begun to stop: its reading side has been told,
/// and what was taken in before is answered.
const GRACE: Duration = Duration::from_secs(2);

type NextFrame = Option<Result<Frame<Bytes>, Status>>;

/// The body of an answer and the call that it belongs to.
pub(super) struct ResponseBody {
    body: Body,
    call: Call,
    ends: Option<Ends>,
    is_over: bool,
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
    /// The body of a unary answer.
    pub(super) fn unary(body: Body, call: Call) -> Self {
        Self { body, call, ends: None, is_over: false }
    }

    /// The body of a stream.
    pub(super) fn stream(body: Body, call: Call, ends: Ends) -> Self {
        Self { body, call, ends: Some(ends), is_over: false }
    }

    /// Ends the stream with `status`, whatever is left of it.
    fn end_with(&mut self, status: &Status) -> Poll<NextFrame> {
        self.is_over = true;
        self.body = Body::empty();
        self.call.end_with(status);
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }

    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Result<Poll<NextFrame>, Status> {
        let Self { body, call, .. } = self;
        let _entered = call.span().enter();
        catch_unwind(AssertUnwindSafe(|| Pin::new(body).poll_frame(cx))).map_err(|panic| panicked(&*panic))
    }

    /// Notes how the call ended, if this is its end.
    fn note(&mut self, frame: Option<&Result<Frame<Bytes>, Status>>) {
        let status = match frame {
            None => Status::from_header_map(&HeaderMap::new()),
            Some(Err(status)) => Some(Status::new(status.code(), status.message())),
            Some(Ok(frame)) => match frame.trailers_ref() {
                Some(trailers) => Status::from_header_map(trailers),
                None => return,
            },
        };
        self.is_over = true;
        match status {
            Some(status) if status.code() != Code::Ok => self.call.end_with(&status),
            _ => self.call.end(Code::Ok),
        }
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<NextFrame> {
        let this = &mut *self;
        if this.is_over {
            return Poll::Ready(None);
        }
        if let Some(ends) = &mut this.ends
            && let Poll::Ready(status) = ends.poll_end(cx)
        {
            return this.end_with(&status);
        }
        match this.poll_inner(cx) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(frame)) => {
                this.note(frame.as_ref());
                Poll::Ready(frame)
            }
            Err(panicked) => this.end_with(&panicked),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }

    fn size_hint(&self) -> SizeHint {
        match &self.ends {
            None => self.body.size_hint(),
            Some(_) => SizeHint::new(),
        }
    }
}
