//! Room for batches that are on their way: a bound on their bytes, over all calls and streams, and on the rows of a stream.
//!
//! Streams together have half of it, so that a push of few rows finds room beside however many of them. A stream reads its
//! next batch when there is room for the one before, so each holds one batch beyond the bound at most, and its sender is
//! held back. What has no place is not begun, and dropped with its stream.

use std::{sync::Arc, time::Duration};

use larder_service::config::ByteSize;
use larder_types::{Error, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Room is counted in units of so many bytes.
const UNIT: usize = 1_024;

/// Streams together take at most this part of the room: each reads as fast as it may, and calls come beside them.
const PART_OF_STREAMS: usize = 2;

/// One stream takes at most this part of the room: a caller that does not take its answers leaves room for others.
const PARTS: usize = 8;

/// One stream has so many rows on their way at most, or one batch: few bytes may be many rows, and what stores do for them is
/// in the way of others. It is enough for the stores to write many at once while the next are read.
const STREAM_ROWS: usize = 60_000;

/// The room of a service. Clones share it.
#[derive(Debug, Clone)]
pub struct Room {
    size: ByteSize,
    all: Units,
    of_streams: Units,
}

/// So many units, shared by clones.
#[derive(Debug, Clone)]
struct Units {
    count: usize,
    free: Arc<Semaphore>,
}

/// What one stream may take of it. Clones share it.
#[derive(Debug, Clone)]
pub struct StreamRoom {
    room: Room,
    bytes: Units,
    rows: Units,
}

/// A batch's place, given back when dropped.
#[derive(Debug)]
pub struct Place {
    _of_room: OwnedSemaphorePermit,
    _of_stream: Option<[OwnedSemaphorePermit; 3]>,
}

impl Room {
    /// Room for so many bytes; a batch that is greater takes all of it.
    pub fn new(size: ByteSize) -> Self {
        let all = units(size.bytes()).min(u32::MAX as usize);
        Self { size, all: Units::new(all), of_streams: Units::new(all / PART_OF_STREAMS) }
    }

    /// A stream's part of it.
    pub fn of_stream(&self) -> StreamRoom {
        StreamRoom { room: self.clone(), bytes: Units::new(self.all.count / PARTS), rows: Units::new(STREAM_ROWS) }
    }

    /// A place for a batch of so many bytes. RESOURCE_EXHAUSTED where none is free within `patience`.
    pub async fn enter(&self, bytes: usize, patience: Duration) -> Result<Place> {
        self.within(patience, async { Ok(Place { _of_room: self.all.take(units(bytes)).await?, _of_stream: None }) })
            .await
    }

    async fn within<T>(&self, patience: Duration, place: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::time::timeout(patience, place).await.unwrap_or_else(|_| {
            Err(Error::resource_exhausted(format!(
                "the batches that are on their way have the {} that there is room for (push_ingest.max_in_flight_bytes): \
                 send this one again after a pause",
                self.size
            )))
        })
    }
}

impl StreamRoom {
    /// The same for one of so many rows, once the stream's earlier batches leave room for it. Other streams are waited for as
    /// well, before anything is taken that calls may have.
    pub async fn enter(&self, rows: usize, bytes: usize, patience: Duration) -> Result<Place> {
        let (of_rows, bytes) = (self.rows.take(rows).await?, units(bytes));
        let of_stream = self.bytes.take(bytes).await?;
        let place = async {
            let of_streams = self.room.of_streams.take(bytes).await?;
            // A batch that is greater than what streams may have takes all of that.
            let of_room = self.room.all.take(bytes.min(self.room.of_streams.count)).await?;
            Ok(Place { _of_room: of_room, _of_stream: Some([of_rows, of_stream, of_streams]) })
        };
        self.room.within(patience, place).await
    }
}

impl Units {
    /// At least one.
    fn new(count: usize) -> Self {
        let count = count.max(1);
        Self { count, free: Arc::new(Semaphore::new(count)) }
    }

    /// So many, or all of them.
    async fn take(&self, wanted: usize) -> Result<OwnedSemaphorePermit> {
        let wanted = u32::try_from(wanted.min(self.count)).unwrap_or(u32::MAX);
        let taken = Arc::clone(&self.free).acquire_many_owned(wanted).await;
        taken.map_err(|error| Error::internal("the room for batches is closed").with_source(error))
    }
}

fn units(bytes: usize) -> usize {
    bytes.div_ceil(UNIT).clamp(1, Semaphore::MAX_PERMITS)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use larder_types::ErrorCode;

    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    #[tokio::test]
    async fn bytes_over_all_calls_and_streams_are_bounded() {
        let room = Room::new(ByteSize(64 << 10));
        let full = || room.enter(32 << 10, LONG);
        let (half, other_half) = (full().await.unwrap(), full().await.unwrap());
        let error = room.enter(1, Duration::ZERO).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::ResourceExhausted);
        assert!(error.message().contains("have the 64KiB that there is room for (push_ingest.max_in_flight_bytes)"));
        assert!(room.of_stream().enter(1, 1, Duration::ZERO).await.is_err());
        drop(half);
        drop(room.of_stream().enter(1, 8 << 10, LONG).await.unwrap());
        drop(other_half);
        // A batch that is greater than all of the room is let in alone.
        let alone = room.enter(1 << 30, Duration::ZERO).await.unwrap();
        assert!(room.enter(1, Duration::ZERO).await.is_err());
        drop(alone);
        room.enter(1, Duration::ZERO).await.unwrap();
    }

    #[tokio::test]
    async fn streams_leave_half_of_the_room_to_calls() {
        let room = Room::new(ByteSize(64 << 10));
        let streams: Vec<_> = (0..17).map(|_| room.of_stream()).collect();
        let mut places = Vec::new();
        for stream in &streams[..4] {
            places.push(stream.enter(1, 8 << 10, LONG).await.unwrap());
            // The stream waits for itself, not for others.
            assert!(stream.enter(1, 1, LONG).now_or_never().is_none());
        }
        // The others wait for them, and take nothing meanwhile that a call may have.
        let waiting = streams[4..16].iter().map(|stream| Box::pin(stream.enter(1, 8 << 10, LONG)));
        let mut waiting: Vec<_> = waiting.collect();
        for place in &mut waiting {
            assert!(place.now_or_never().is_none());
        }
        let error = streams[16].enter(1, 1, Duration::ZERO).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::ResourceExhausted);
        let calls = room.enter(31 << 10, Duration::ZERO).await.unwrap();
        let call = room.enter(1, Duration::ZERO).await.unwrap();
        drop((calls, call));
        places.pop();
        waiting.remove(0).await.unwrap();
    }

    #[tokio::test]
    async fn rows_of_a_stream_are_bounded_and_those_of_others_are_not_in_its_way() {
        let room = Room::new(ByteSize::mebibytes(256));
        let (stream, other) = (room.of_stream(), room.of_stream());
        let two = [stream.enter(30_000, 1, LONG).await.unwrap(), stream.enter(30_000, 1, LONG).await.unwrap()];
        assert!(stream.enter(1, 1, LONG).now_or_never().is_none());
        other.enter(1, 1, Duration::ZERO).await.unwrap();
        room.enter(1, Duration::ZERO).await.unwrap();
        drop(two);
        // A batch that has more rows than a stream may have is let in alone.
        let alone = stream.enter(1_000_000, 1, LONG).await.unwrap();
        assert!(stream.enter(1, 1, LONG).now_or_never().is_none());
        drop(alone);
        stream.enter(1, 1, LONG).await.unwrap();
    }
}
