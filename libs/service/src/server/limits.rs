//! How many calls are in flight, and how many may be. Over the limit a call is refused at once; it never waits. A call that
//! has its answer is in flight no more: when that is taken is up to its caller, who keeps nobody out.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use larder_types::{Error, Result};
use tokio::sync::Notify;

use super::methods::Method;
use crate::{call::PeerAddress, config::ServerConfig};

/// So many times as many answers may wait to be taken as calls may be in flight.
const MOST_UNTAKEN: usize = 8;

/// The limits of one endpoint and what is in flight in it.
#[derive(Debug)]
pub(super) struct Limits {
    calls: Counter,
    streams: Counter,
    /// Answers of unary calls that were not yet taken.
    untaken: AtomicUsize,
    /// Woken whenever nothing is in flight any more.
    idle: Notify,
}

#[derive(Debug)]
struct Counter {
    now: AtomicUsize,
    limit: usize,
    key: String,
    noun: &'static str,
}

/// A call's place among those in flight, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    limits: Arc<Limits>,
    of: Of,
}

/// Of what it is a place.
#[derive(Debug, Clone, Copy)]
enum Of {
    Call,
    Stream,
    /// Of the answer of a call, until it was taken.
    Answer,
}

impl Limits {
    pub(super) fn new(section: &'static str, config: &ServerConfig) -> Self {
        let calls = Counter::new(config.max_in_flight, format!("{section}.server.max_in_flight"), "calls in flight");
        let streams = Counter::new(config.max_streams, format!("{section}.server.max_streams"), "open streams");
        Self { calls, streams, untaken: AtomicUsize::new(0), idle: Notify::new() }
    }

    /// A place for a call of `method` that comes `from` there. None for a probe, which is always let in, and for a stream
    /// that this process opens to itself: it opens as many as it has to follow, again and again until its tasks are stopped,
    /// so they take no caller's place and nobody waits for their end.
    pub(super) fn enter(self: &Arc<Self>, method: &Method, from: &PeerAddress) -> Result<Option<Place>> {
        let is_stream = method.is_stream();
        let is_own = match from {
            PeerAddress::Network(_) => false,
            PeerAddress::InProcess => is_stream,
        };
        if method.is_probe || is_own {
            return Ok(None);
        }
        let (counter, of) = if is_stream { (&self.streams, Of::Stream) } else { (&self.calls, Of::Call) };
        if !is_stream {
            self.check_untaken()?;
        }
        counter.enter()?;
        Ok(Some(Place { limits: Arc::clone(self), of }))
    }

    /// What is not taken is in memory for as long as its connection stays.
    fn check_untaken(&self) -> Result<()> {
        let untaken = self.untaken.load(Ordering::Acquire);
        if untaken < self.calls.limit.saturating_mul(MOST_UNTAKEN) {
            return Ok(());
        }
        Err(Error::resource_exhausted(format!(
            "{untaken} answers wait to be taken by their callers, {MOST_UNTAKEN} times as many as calls may be in flight ({}): \
             try again after a pause",
            self.calls.key
        )))
    }

    /// Waits until nothing is in flight.
    pub(super) async fn drained(&self) {
        loop {
            let woken = self.idle.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            if self.is_idle() {
                return;
            }
            woken.await;
        }
    }

    fn is_idle(&self) -> bool {
        self.calls.now.load(Ordering::Acquire) == 0 && self.streams.now.load(Ordering::Acquire) == 0
    }

    fn leave(&self, counter: &Counter) {
        if counter.now.fetch_sub(1, Ordering::AcqRel) == 1 && self.is_idle() {
            self.idle.notify_waiters();
        }
    }
}

impl Counter {
    fn new(limit: usize, key: String, noun: &'static str) -> Self {
        Self { now: AtomicUsize::new(0), limit, key, noun }
    }

    fn enter(&self) -> Result<()> {
        let Self { now, limit, key, noun } = self;
        if now.fetch_add(1, Ordering::AcqRel) < *limit {
            return Ok(());
        }
        now.fetch_sub(1, Ordering::AcqRel);
        Err(Error::resource_exhausted(format!(
            "the limit of {limit} {noun} ({key}) is reached: try again after a pause"
        )))
    }
}

impl Place {
    /// Gives a call's place to others, since its answer is there. True where more answers wait to be taken than calls may be
    /// in flight.
    pub(super) fn answered(&mut self) -> bool {
        let Self { limits, of } = self;
        match of {
            Of::Stream | Of::Answer => false,
            Of::Call => {
                *of = Of::Answer;
                let others = limits.untaken.fetch_add(1, Ordering::AcqRel);
                limits.leave(&limits.calls);
                others >= limits.calls.limit
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let limits = &self.limits;
        match self.of {
            Of::Call => limits.leave(&limits.calls),
            Of::Stream => limits.leave(&limits.streams),
            Of::Answer => drop(limits.untaken.fetch_sub(1, Ordering::AcqRel)),
        }
    }
}
