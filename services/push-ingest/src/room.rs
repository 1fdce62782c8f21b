//! Room for batches that are on their way: a bound on their bytes, over all calls and streams, and on the rows of a stream.
//!
//! A stream reads its next batch when there is room for the one before, so each holds one batch beyond the bound at most.
//! What has no place is not begun, and dropped with its stream.

use std::{sync::Arc, time::Duration};

use larder_service::config::ByteSize;
use larder_types::{Error, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Room is counted in units of so many bytes.
const UNIT: usize = 1_024;

/// One stream takes at most this part of the room: a caller that does not take its answers leaves room for others.
const PARTS: usize = 8;

/// One stream has so many rows on their way at most, or one batch: few bytes may be many rows, and what stores do for them is
/// in the way of others. It is enough for the stores to write many at once while the next are read.
const STREAM_ROWS: usize = 60_000;

/// The room of a service. Clones share it.
#[derive(Debug, Clone)]
pub struct Room {
    size: ByteSize,
    units: usize,
    free: Arc<Semaphore>,
}

/// What one stream may take of it. Clones share it.
#[derive(Debug, Clone)]
pub struct StreamRoom {
    room: Room,
    units: usize,
    free: Arc<Semaphore>,
    rows_free: Arc<Semaphore>,
}

/// A batch's place, given back when dropped.
#[derive(Debug)]
pub struct Place {
    _of_room: OwnedSemaphorePermit,
    _of_stream: Option<[OwnedSemaphorePermit; 2]>,
}

impl Room {
    /// Room for so many bytes; a batch that is greater takes all of it.
    pub fn new(size: ByteSize) -> Self {
        let units = units(size.bytes()).min(u32::MAX as usize);
        Self { size, units, free: Arc::new(Semaphore::new(units)) }
    }

    /// A stream's part of it.
    pub fn of_stream(&self) -> StreamRoom {
        let units = (self.units / PARTS).max(1);
        let [free, rows_free] = [units, STREAM_ROWS].map(|all| Arc::new(Semaphore::new(all)));
        StreamRoom { room: self.clone(), units, free, rows_free }
    }

    /// A place for a batch of so many bytes. RESOURCE_EXHAUSTED where none is free within `patience`.
    pub async fn enter(&self, bytes: usize, patience: Duration) -> Result<Place> {
        let taken = tokio::time::timeout(patience, take(&self.free, self.units, units(bytes))).await;
        let of_room = taken.unwrap_or_else(|_| {
            Err(Error::resource_exhausted(format!(
                "the batches that are on their way have the {} that there is room for (push_ingest.max_in_flight_bytes): \
                 send this one again after a pause",
                self.size
            )))
        })?;
        Ok(Place { _of_room: of_room, _of_stream: None })
    }
}

impl StreamRoom {
    /// The same for one of so many rows, once the stream's earlier batches leave room for it.
    pub async fn enter(&self, rows: usize, bytes: usize, patience: Duration) -> Result<Place> {
        let of_rows = take(&self.rows_free, STREAM_ROWS, rows).await?;
        let of_stream = [of_rows, take(&self.free, self.units, units(bytes)).await?];
        let place = self.room.enter(bytes, patience).await?;
        Ok(Place { _of_stream: Some(of_stream), ..place })
    }
}

async fn take(free: &Arc<Semaphore>, all: usize, wanted: usize) -> Result<OwnedSemaphorePermit> {
    let wanted = u32::try_from(wanted.min(all)).unwrap_or(u32::MAX);
    let taken = Arc::clone(free).acquire_many_owned(wanted).await;
    taken.map_err(|error| Error::internal("the room for batches is closed").with_source(error))
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
    async fn bytes_over_all_streams_are_bounded() {
        let room = Room::new(ByteSize(64 << 10));
        let streams: Vec<_> = (0..9).map(|_| room.of_stream()).collect();
        let mut places = Vec::new();
        for stream in &streams[..8] {
            places.push(stream.enter(1, 8 << 10, LONG).await.unwrap());
            // The stream waits for itself, not for others.
            assert!(stream.enter(1, 1, LONG).now_or_never().is_none());
        }
        let error = streams[8].enter(1, 1, Duration::ZERO).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::ResourceExhausted);
        assert!(error.message().contains("have the 64KiB that there is room for (push_ingest.max_in_flight_bytes)"));
        assert!(room.enter(1, Duration::ZERO).await.is_err());
        places.pop();
        let waited = streams[8].enter(1, 8 << 10, LONG).await.unwrap();
        drop((places, waited));
        // A batch that is greater than all of the room is let in alone.
        let alone = room.enter(1 << 30, Duration::ZERO).await.unwrap();
        assert!(room.enter(1, Duration::ZERO).await.is_err());
        drop(alone);
        room.enter(1, Duration::ZERO).await.unwrap();
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
