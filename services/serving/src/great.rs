//! Great answers, of more than 1 MiB: how many are made at once, and how many bytes of them, and of all that are not small,
//! wait to be taken.
//!
//! One is read, made and encoded in its turn, of which there are as many as processors, so that what it takes while it is
//! made is bounded too; but for one that turns out to be great only when it is made, which is encoded in its turn. What was made has its place until it was sent or dropped; where there is none, it is refused at
//! once, since nobody knows when others are taken. A stream makes one at a time, when those before it have been taken.

use std::{
    num::NonZero,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::available_parallelism,
};

use larder_service::config::ByteSize;
use larder_types::{Error, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// What has more bytes is great.
pub const GREAT: usize = 1 << 20;

/// What has more bytes has a place: unread, it would be in memory for as long as its caller stays.
pub const SMALL: usize = 64 << 10;

/// The turns and places of a service. Clones share them.
#[derive(Debug, Clone)]
pub struct GreatAnswers {
    turns: Arc<Semaphore>,
    places: Arc<Places>,
}

#[derive(Debug)]
struct Places {
    taken: AtomicUsize,
    size: ByteSize,
}

/// The turn of one, and what is known of its size. Both are given back when dropped.
#[derive(Debug)]
pub struct Turn {
    _turn: OwnedSemaphorePermit,
    place: Place,
}

/// A place for so many bytes.
#[derive(Debug)]
pub struct Place {
    of: Arc<Places>,
    bytes: usize,
}

/// Where a request stands in its stream.
#[derive(Debug, Clone)]
pub struct Queued {
    /// How many come before it.
    pub before: u64,
    /// How many of its stream have been taken.
    pub taken: watch::Receiver<u64>,
}

impl GreatAnswers {
    /// Turns for as many as there are processors, places for `size` together.
    pub fn new(size: ByteSize) -> Self {
        let turns = Semaphore::new(available_parallelism().map_or(1, NonZero::get));
        Self { turns: Arc::new(turns), places: Arc::new(Places { taken: AtomicUsize::new(0), size }) }
    }

    /// A place for one that is less than great, and yet not small.
    pub fn place(&self, bytes: usize) -> Result<Place> {
        let mut place = Place { of: Arc::clone(&self.places), bytes: 0 };
        place.keep(bytes)?;
        Ok(place)
    }

    /// The turn of one that is `queued`. RESOURCE_EXHAUSTED where there is no place at all.
    pub async fn turn(&self, queued: Option<&mut Queued>) -> Result<Turn> {
        if let Some(Queued { before, taken }) = queued {
            // Whose stream is over has nobody to wait for.
            let _ = taken.wait_for(|taken| taken >= before).await;
        }
        self.places.check(self.places.taken.load(Ordering::Relaxed), 1)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let turn = turn.map_err(|error| Error::internal("no turns for great answers").with_source(error))?;
        Ok(Turn { _turn: turn, place: Place { of: Arc::clone(&self.places), bytes: 0 } })
    }
}

impl Turn {
    /// Has a place for so many bytes instead of those before; none for what is not great. RESOURCE_EXHAUSTED where there is
    /// none.
    pub fn keep(&mut self, bytes: usize) -> Result<()> {
        self.place.keep(if bytes > GREAT { bytes } else { 0 })
    }

    /// Gives the turn to the next one, and keeps the place.
    pub fn end(self) -> Place {
        self.place
    }
}

impl Place {
    /// What it has already nobody else can take meanwhile.
    fn keep(&mut self, bytes: usize) -> Result<()> {
        let more = bytes.saturating_sub(self.bytes);
        let taken = self.of.taken.fetch_add(more, Ordering::AcqRel);
        if more > 0
            && let Err(error) = self.of.check(taken, more)
        {
            self.of.taken.fetch_sub(more, Ordering::AcqRel);
            return Err(error);
        }
        self.of.taken.fetch_sub(self.bytes.saturating_sub(bytes), Ordering::AcqRel);
        self.bytes = bytes;
        Ok(())
    }
}

impl Places {
    fn check(&self, taken: usize, bytes: usize) -> Result<()> {
        if taken.saturating_add(bytes) <= self.size.bytes() {
            return Ok(());
        }
        Err(Error::resource_exhausted(format!(
            "the answers of more than {} that wait to be taken by their callers have the {} that there is room for \
             (serving.answers_memory): ask for fewer entities at a time, or again after a pause",
            ByteSize(SMALL as u64),
            self.size
        )))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.taken.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use larder_types::ErrorCode;

    use super::*;

    #[tokio::test]
    async fn places_are_for_what_is_great_and_are_given_back() {
        let answers = GreatAnswers::new(ByteSize::mebibytes(10));
        let mut first = answers.turn(None).await.unwrap();
        first.keep(8 << 20).unwrap();
        first.keep(6 << 20).unwrap();
        let first = first.end();
        let mut second = answers.turn(None).await.unwrap();
        second.keep(GREAT).unwrap();
        let error = second.keep((4 << 20) + 1).unwrap_err();
        assert_eq!(error.code(), ErrorCode::ResourceExhausted);
        let told =
            "more than 64KiB that wait to be taken by their callers have the 10MiB that there is room for (serving.";
        assert!(error.message().contains(told), "{error}");
        drop(second);
        let mut third = answers.turn(None).await.unwrap();
        third.keep(4 << 20).unwrap();
        let third = third.end();
        assert_eq!(answers.turn(None).await.unwrap_err().code(), ErrorCode::ResourceExhausted);
        drop((first, third));
        assert_eq!(answers.places.taken.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn there_are_as_many_turns_as_processors() {
        let answers = GreatAnswers::new(ByteSize::mebibytes(10));
        let mut turns = Vec::new();
        for _ in 0..answers.turns.available_permits() {
            turns.push(answers.turn(None).await.unwrap());
        }
        let mut waiting = Box::pin(answers.turn(None));
        assert!((&mut waiting).now_or_never().is_none());
        let _place = turns.pop().unwrap().end();
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn one_of_a_stream_waits_for_those_before_it() {
        let answers = GreatAnswers::new(ByteSize::mebibytes(10));
        let (sender, taken) = watch::channel(0);
        let mut queued = Queued { before: 2, taken };
        let mut waiting = Box::pin(answers.turn(Some(&mut queued)));
        assert!((&mut waiting).now_or_never().is_none());
        sender.send_replace(1);
        assert!((&mut waiting).now_or_never().is_none());
        sender.send_replace(2);
        waiting.await.unwrap();
    }
}
