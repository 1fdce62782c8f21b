//! The way from who leads a training set to its caller: a few events ahead, and the last word.
//!
//! Events wait for a caller who reads slowly, and the computing with them. The last word waits for nobody: who leads has
//! ended its run by then.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::Stream;
use larder_service::config::Span;
use larder_types::{Error, Result};
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};

use super::Event;

/// How many events may wait for a caller who reads slowly; then the computing waits.
const EVENTS_AHEAD: usize = 4;

type Waiting = Arc<Mutex<mpsc::Receiver<Event>>>;

/// Tells the caller.
pub(super) struct Told {
    pub(super) events: Teller,
    waiting: Waiting,
    last: oneshot::Sender<Result<Event>>,
    idle_limit: Duration,
}

/// Tells the caller what happens on the way.
#[derive(Clone)]
pub(super) struct Teller {
    sender: mpsc::Sender<Event>,
    /// How many were taken so far.
    taken: Arc<AtomicU64>,
    /// Whether rows of the result are among them.
    has_rows: Arc<AtomicBool>,
}

/// What the caller hears: events, then the last word.
pub(super) struct Heard {
    waiting: Waiting,
    taken: Arc<AtomicU64>,
    last: Option<oneshot::Receiver<Result<Event>>>,
}

/// A caller for whom rows wait may take none of them for as long as `idle_limit`.
pub(super) fn channel(idle_limit: Duration) -> (Told, Heard) {
    let (sender, receiver) = mpsc::channel(EVENTS_AHEAD);
    let (last, heard) = oneshot::channel();
    let (waiting, taken) = (Arc::new(Mutex::new(receiver)), Arc::<AtomicU64>::default());
    let events = Teller { sender, taken: Arc::clone(&taken), has_rows: Arc::default() };
    let told = Told { events, waiting: Arc::clone(&waiting), last, idle_limit };
    (told, Heard { waiting, taken, last: Some(heard) })
}

impl Told {
    /// Ends when the caller has gone.
    pub(super) async fn closed(&self) {
        self.events.sender.closed().await;
    }

    /// Ends when a caller for whom rows wait has taken nothing for the limit: others wait for its place.
    pub(super) async fn silence(&self) -> Error {
        let Teller { sender, taken, has_rows } = &self.events;
        loop {
            let before = taken.load(Ordering::Relaxed);
            let had_rows = has_rows.load(Ordering::Relaxed);
            sleep(self.idle_limit).await;
            if had_rows && sender.capacity() == 0 && taken.load(Ordering::Relaxed) == before {
                let limit = Span(self.idle_limit);
                return Error::unavailable(format!(
                    "nothing of the result was taken for {limit} (materializer.server.stream_idle_limit): ask again"
                ));
            }
        }
    }

    /// The last word. A caller who is told of an error hears nothing else any more, so that what waits for it is freed.
    pub(super) fn end(self, last: Option<Result<Event>>) {
        if last.as_ref().is_some_and(Result::is_err) {
            close(&self.waiting);
        }
        if let Some(last) = last {
            // Who has gone needs no last word.
            let _ = self.last.send(last);
        }
    }
}

impl Teller {
    /// Tells an event as soon as there is room; an error where the caller has gone.
    pub(super) async fn tell(&self, event: Event) -> Result<()> {
        match event {
            Event::Schema(_) | Event::Batch(_) => self.has_rows.store(true, Ordering::Relaxed),
            Event::Started(_) | Event::Progress(_) | Event::Finished(_) => {}
        }
        self.sender.send(event).await.map_err(|_| gone())
    }

    /// Tells an event if there is room now.
    pub(super) fn tell_now(&self, event: Event) {
        let _ = self.sender.try_send(event);
    }

    /// Waits until the caller has taken all.
    pub(super) async fn all_taken(&self) -> Result<()> {
        self.sender.reserve_many(self.sender.max_capacity()).await.map(drop).map_err(|_| gone())
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        close(&self.waiting);
    }
}

fn close(waiting: &Waiting) {
    let mut waiting = waiting.lock();
    waiting.close();
    while waiting.try_recv().is_ok() {}
}

fn gone() -> Error {
    Error::cancelled("the caller is gone")
}

impl Stream for Heard {
    type Item = Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let event = ready!(self.waiting.lock().poll_recv(cx));
        if let Some(event) = event {
            self.taken.fetch_add(1, Ordering::Relaxed);
            return Poll::Ready(Some(Ok(event)));
        }
        let Some(last) = &mut self.last else { return Poll::Ready(None) };
        let last = ready!(Pin::new(last).poll(cx));
        self.last = None;
        Poll::Ready(last.ok())
    }
}
