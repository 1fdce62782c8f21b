//! A spine as its caller streams it in. It has no turn yet, so nobody waits for a caller who sends slowly or nothing; but
//! there may be as many of them as streams are open, so each is bounded. What it holds is small, unless it has one of a few
//! places for great batches; and it has to go on: with a whole batch within the limit or, where it has such a place, with
//! all for which it needs it.

use std::{sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use async_stream::try_stream;
use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use larder_contracts::{Path, ipc::IpcDecoder};
use larder_offline_store::training::Spine;
use larder_service::config::{ByteSize, Span};
use larder_types::{Error, ErrorCode, Result};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

/// What a batch that is not whole yet, or the dictionaries, may take without a place.
const SMALL: usize = 8 << 20;

/// What spines are held to that are streamed in.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    /// The most bytes of a batch.
    pub(super) largest_batch: usize,
    /// How long one that does not go on is waited for.
    pub(super) idle_limit: Duration,
    /// One for each that may hold more than a little.
    pub(super) great: Arc<Semaphore>,
}

/// Pieces of a spine, in order.
pub type Pieces = BoxStream<'static, Result<Bytes>>;

struct Incoming {
    pieces: Pieces,
    decoder: IpcDecoder,
    rules: Rules,
    place: Option<OwnedSemaphorePermit>,
    /// How much longer it is waited for. Only waiting for the caller counts.
    patience: Duration,
}

/// The spine that comes in pieces. Its schema is read before anything is answered.
pub(super) async fn spine(pieces: Pieces, rules: Rules) -> Result<Spine> {
    let decoder = IpcDecoder::up_to(rules.largest_batch);
    let mut incoming = Incoming { pieces, decoder, patience: rules.idle_limit, rules, place: None };
    let (mut ready, mut bytes) = (Vec::new(), 0);
    let schema = loop {
        match incoming.next().await? {
            Some((length, batches)) => {
                bytes += length;
                ready.extend(batches);
            }
            None => return Err(no_schema(bytes)),
        }
        if let Some(schema) = incoming.decoder.schema() {
            break schema;
        }
    };
    let batches = try_stream! {
        let mut next = Some(ready);
        while let Some(batches) = next {
            let has_come_on = !batches.is_empty();
            for batch in batches {
                yield batch;
            }
            if has_come_on {
                // Whoever took the batches has them on disk.
                incoming.came_on();
            }
            next = incoming.next().await?.map(|(_, batches)| batches);
        }
        incoming.decoder.finish().map_err(of_spine)?;
    };
    Ok(Spine::Stream { schema, batches: batches.boxed() })
}

impl Incoming {
    /// The length of the next piece, and the batches that end in it.
    async fn next(&mut self) -> Result<Option<(usize, Vec<RecordBatch>)>> {
        let asked = Instant::now();
        let piece = timeout(self.patience, self.pieces.next()).await.map_err(|_| self.stands_still())?;
        self.patience = self.patience.saturating_sub(asked.elapsed());
        let Some(piece) = piece.transpose()? else { return Ok(None) };
        let length = piece.len();
        if self.place.is_none() && self.decoder.held().saturating_add(length) > SMALL {
            let place = Arc::clone(&self.rules.great).acquire_owned().await;
            self.place = Some(place.map_err(|error| Error::internal(format!("the places of great batches: {error}")))?);
            self.patience = self.rules.idle_limit;
        }
        Ok(Some((length, self.decoder.decode(piece).map_err(of_spine)?)))
    }

    /// Batches were whole, and were taken.
    fn came_on(&mut self) {
        if self.decoder.held() <= SMALL {
            self.place = None;
        }
        // Who keeps a place keeps its time.
        if self.place.is_none() {
            self.patience = self.rules.idle_limit;
        }
    }

    fn stands_still(&self) -> Error {
        let (limit, small) = (Span(self.rules.idle_limit), ByteSize(SMALL as u64));
        let what = match self.place {
            None => "no whole record batch of the spine came".to_owned(),
            Some(_) => {
                format!("the rest of a spine with a record batch or dictionaries of more than {small} did not come")
            }
        };
        Error::unavailable(format!(
            "{what} for {limit} (materializer.server.stream_idle_limit): send smaller ones, one soon after the other"
        ))
    }
}

fn no_schema(bytes: usize) -> Error {
    let spine = Path::ROOT.field("spine");
    if bytes == 0 {
        return spine.invalid("is missing: stream it in, or name a path");
    }
    let wrong =
        format!("has no schema in its {bytes} bytes: it is to be an Arrow IPC stream (not an IPC file), in pieces");
    spine.invalid(wrong)
}

/// What is wrong with its bytes is wrong with the spine.
fn of_spine(error: Error) -> Error {
    if error.code() != ErrorCode::InvalidArgument || !error.violations().is_empty() {
        return error;
    }
    let message = error.message().to_owned();
    error.with_violation("spine", message)
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use futures::{TryStreamExt, stream};
    use larder_contracts::ipc::IpcEncoder;
    use tokio::time::sleep;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(300);

    fn rules() -> Rules {
        Rules { largest_batch: 1 << 30, idle_limit: LIMIT, great: Arc::new(Semaphore::new(1)) }
    }

    fn numbers(rows: i64) -> RecordBatch {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        RecordBatch::try_from_iter([("n", numbers)]).unwrap()
    }

    /// As a caller sends batches, to the end.
    fn sent(batches: &[RecordBatch]) -> Vec<Bytes> {
        let mut encoder = IpcEncoder::new(&batches[0].schema()).unwrap();
        let mut pieces: Vec<Bytes> = batches.iter().flat_map(|batch| encoder.encode(batch).unwrap()).collect();
        pieces.extend(encoder.finish().unwrap());
        pieces
    }

    /// Each after a pause.
    fn slowly(pieces: Vec<Bytes>, pause: Duration) -> Pieces {
        let pieces = stream::iter(pieces).then(move |piece| async move {
            sleep(pause).await;
            Ok(piece)
        });
        pieces.boxed()
    }

    async fn rows(pieces: Pieces, rules: &Rules) -> Result<usize> {
        let Spine::Stream { batches, .. } = spine(pieces, rules.clone()).await? else { return Ok(0) };
        batches.try_fold(0, |rows, batch| async move { Ok(rows + batch.num_rows()) }).await
    }

    #[tokio::test]
    async fn one_that_comes_slowly_is_waited_for_as_long_as_whole_batches_come() {
        let batches = vec![numbers(10); 8];
        assert_eq!(rows(slowly(sent(&batches), LIMIT / 4), &rules()).await.unwrap(), 80);
        let bytes = sent(&batches).concat();
        // With the schema, or within a batch.
        for whole in [0, bytes.len() / 2] {
            let pieces = std::iter::once(&bytes[..whole]).chain(bytes[whole..].chunks(4));
            let pieces = pieces.map(Bytes::copy_from_slice).collect();
            let error = rows(slowly(pieces, LIMIT / 10), &rules()).await.unwrap_err();
            assert_eq!(error.code(), ErrorCode::Unavailable, "{error}");
            assert!(error.message().starts_with("no whole record batch of the spine came for"), "{error}");
            assert!(error.message().contains("(materializer.server.stream_idle_limit)"), "{error}");
        }
    }

    #[tokio::test]
    async fn one_that_holds_much_has_a_place_and_loses_it() {
        let rules = rules();
        let great = sent(&[numbers(2 << 20)]);
        let of_one = |pieces: &[Bytes]| stream::iter(pieces.iter().cloned().map(Ok).collect::<Vec<_>>());
        // A caller who does not send the end of a great batch; beside it, small ones come in, and a great one waits.
        let held = rows(of_one(&great[..12]).chain(stream::pending()).boxed(), &rules);
        let others = async {
            sleep(LIMIT / 3).await;
            assert_eq!(rules.great.available_permits(), 0);
            assert_eq!(rows(of_one(&sent(&[numbers(10)])).boxed(), &rules).await.unwrap(), 10);
            assert_eq!(rules.great.available_permits(), 0);
            rows(of_one(&great).boxed(), &rules).await
        };
        let (held, waited) = tokio::join!(held, others);
        let error = held.unwrap_err();
        assert!(error.message().contains("of more than 8MiB did not come for"), "{error}");
        assert_eq!(waited.unwrap(), 2 << 20);
        assert_eq!(rules.great.available_permits(), 1);
    }

    /// Small batches do not lengthen it: the dictionary is held until the end.
    #[tokio::test]
    async fn one_with_great_dictionaries_does_not_keep_its_place_for_ever() {
        let text = "x".repeat(10 << 20);
        let keys = || arrow::array::Int32Array::from(vec![0]);
        let values: ArrayRef = Arc::new(StringArray::from(vec![text.as_str()]));
        let texts = arrow::array::DictionaryArray::new(keys(), values);
        let batch = RecordBatch::try_from_iter([("text", Arc::new(texts) as ArrayRef)]).unwrap();
        let pieces = sent(&vec![batch; 30]);
        let mut quick = pieces.clone();
        let slow = quick.split_off(12);
        let pieces = stream::iter(quick.into_iter().map(Ok)).chain(slowly(slow, LIMIT / 5)).boxed();
        let error = rows(pieces, &rules()).await.unwrap_err();
        assert!(error.message().contains("dictionaries of more than 8MiB did not come"), "{error}");
    }

    #[tokio::test]
    async fn wrong_bytes_are_of_the_spine() {
        let whole = sent(&[numbers(10)]).concat();
        for (bytes, says) in [
            (b"customer_id,t\n1,2\n".to_vec(), "has no schema in its 18 bytes"),
            (whole[..whole.len() - 8].to_vec(), "was cut short"),
            (
                [&whole[..whole.len() - 8], &[0xff, 0xff, 0xff, 0xff, 4, 0, 0, 0, 1, 2, 3, 4]].concat(),
                "is not an Arrow IPC",
            ),
        ] {
            let error = rows(stream::iter([Ok(Bytes::from(bytes))]).boxed(), &rules()).await.unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidArgument, "{error}");
            assert!(error.message().contains(says), "{error}");
            assert_eq!(error.violations().len(), 1);
            assert_eq!(error.violations()[0].field, "spine", "{error}");
        }
    }
}
