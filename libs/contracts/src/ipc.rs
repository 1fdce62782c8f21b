//! Record batches as one Arrow IPC stream in pieces: how spines and training sets travel.

mod caught;
mod frames;

use std::fmt;

use arrow::{
    array::RecordBatch,
    buffer::Buffer,
    datatypes::{Schema, SchemaRef},
    error::ArrowError,
    ipc::{reader::StreamDecoder, writer::StreamWriter},
};
use bytes::Bytes;
use larder_types::{Error, Result};

use self::{caught::caught, frames::Frames};

pub use self::caught::is_caught;

/// A piece is at most this long.
pub const PIECE_BYTES: usize = 1 << 20;

/// Batches to pieces.
pub struct IpcEncoder {
    writer: StreamWriter<Vec<u8>>,
}

impl IpcEncoder {
    /// A stream of batches of `schema`.
    pub fn new(schema: &Schema) -> Result<Self> {
        Ok(Self { writer: StreamWriter::try_new(Vec::new(), schema).map_err(not_written)? })
    }

    /// The pieces that bring the next batch; the first ones bring the schema, too.
    pub fn encode(&mut self, batch: &RecordBatch) -> Result<Vec<Bytes>> {
        self.writer.write(batch).map_err(not_written)?;
        Ok(self.pieces())
    }

    /// The pieces that end the stream.
    pub fn finish(mut self) -> Result<Vec<Bytes>> {
        self.writer.finish().map_err(not_written)?;
        Ok(self.pieces())
    }

    fn pieces(&mut self) -> Vec<Bytes> {
        let mut rest = Bytes::from(std::mem::take(self.writer.get_mut()));
        let mut pieces = Vec::with_capacity(rest.len().div_ceil(PIECE_BYTES));
        while !rest.is_empty() {
            pieces.push(rest.split_to(rest.len().min(PIECE_BYTES)));
        }
        pieces
    }
}

impl fmt::Debug for IpcEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IpcEncoder").finish_non_exhaustive()
    }
}

fn not_written(error: ArrowError) -> Error {
    Error::internal(format!("writing a stream of batches: {error}")).with_source(error)
}

/// Pieces with dictionaries are decoded in copies of so many bytes.
const DICTIONARY_CHUNK: usize = 4 << 10;

/// Pieces, cut anywhere, to batches. The bytes may come from anybody: everything is validated.
#[derive(Debug)]
pub struct IpcDecoder {
    decoder: StreamDecoder,
    frames: Frames,
    largest_batch: usize,
    /// Bytes of a batch that has not come to its end.
    held: usize,
}

impl Default for IpcDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl IpcDecoder {
    /// At the start of a stream of batches of any size.
    pub fn new() -> Self {
        Self::up_to(usize::MAX)
    }

    /// At the start of a stream whose batches have no more than about `largest_batch` bytes: one is held until all of it is
    /// there.
    pub fn up_to(largest_batch: usize) -> Self {
        Self { decoder: StreamDecoder::default(), frames: Frames::default(), largest_batch, held: 0 }
    }

    /// The batches that end in this piece. INVALID_ARGUMENT for bytes that are no Arrow IPC stream, and for a batch that is
    /// too great, compressed, or has a dictionary that grows.
    pub fn decode(&mut self, piece: Bytes) -> Result<Vec<RecordBatch>> {
        self.held += piece.len();
        let has_dictionary = self.frames.check(&piece)?;
        let held = self.held.saturating_sub(PIECE_BYTES).max(self.frames.dictionary_bytes());
        if held > self.largest_batch {
            return Err(too_great(self.largest_batch));
        }
        let mut decoder = std::mem::take(&mut self.decoder);
        // Arrow's decoder answers some wrong lengths with a panic; then what it had read is dropped with it.
        let decoded = caught(move || {
            let batches = match has_dictionary {
                // What it holds of a buffer keeps all of it: of a piece with a dictionary little more than that may stay.
                true => {
                    let chunks = piece.chunks(DICTIONARY_CHUNK);
                    let decoded = chunks.map(|chunk| decode_all(&mut decoder, Buffer::from(chunk)));
                    decoded.collect::<Result<Vec<_>>>().map(|batches| batches.concat())
                }
                false => decode_all(&mut decoder, Buffer::from(piece)),
            };
            (decoder, batches)
        });
        let Some((decoder, batches)) = decoded else {
            return Err(Error::invalid_argument("this is not an Arrow IPC stream: its lengths do not fit together"));
        };
        self.decoder = decoder;
        if batches.as_ref().is_ok_and(|batches| !batches.is_empty()) {
            self.held = 0;
        }
        batches
    }

    /// How many bytes are held, nearly: of a batch that has not come to its end, or of dictionaries.
    pub fn held(&self) -> usize {
        self.held.max(self.frames.dictionary_bytes())
    }

    /// The schema, once it was read.
    pub fn schema(&self) -> Option<SchemaRef> {
        self.decoder.schema()
    }

    /// INVALID_ARGUMENT where the stream was cut short, also between two batches.
    pub fn finish(mut self) -> Result<()> {
        self.decoder.finish().map_err(not_read)?;
        if !self.frames.have_ended() {
            return Err(Error::invalid_argument(
                "the Arrow IPC stream was cut short: its end-of-stream marker is missing",
            ));
        }
        Ok(())
    }
}

fn decode_all(decoder: &mut StreamDecoder, mut buffer: Buffer) -> Result<Vec<RecordBatch>> {
    let mut batches = Vec::new();
    while !buffer.is_empty() {
        batches.extend(decoder.decode(&mut buffer).map_err(not_read)?);
    }
    Ok(batches)
}

fn too_great(largest_batch: usize) -> Error {
    Error::invalid_argument(format!(
        "a record batch of the Arrow IPC stream, or its dictionaries, have more than {largest_batch} bytes: send smaller \
         ones (in pyarrow write_table(table, max_chunksize=65536))"
    ))
}

fn not_read(error: ArrowError) -> Error {
    Error::invalid_argument(format!("this is not an Arrow IPC stream: {error}")).with_source(error)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{ArrayRef, DictionaryArray, Int64Array, StringArray},
        datatypes::{DataType, Field, Int32Type},
        ipc::{
            CompressionType, MetadataVersion,
            writer::{DictionaryHandling, IpcWriteOptions},
        },
    };
    use larder_types::ErrorCode;
    use proptest::prelude::*;

    use super::*;

    fn schema() -> Schema {
        Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("text", DataType::Utf8, false)])
    }

    fn batch(rows: usize) -> RecordBatch {
        let ids: ArrayRef = Arc::new((0..rows).map(|row| (row % 3 > 0).then_some(7)).collect::<Int64Array>());
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|row| "x".repeat(row % 50))));
        RecordBatch::try_new(Arc::new(schema()), vec![ids, texts]).unwrap()
    }

    /// What a caller sends is its own mistake, wherever in the stream it lies.
    #[test]
    fn a_stream_with_a_changed_byte_is_batches_or_an_error() {
        let whole = stream(&[batch(100)]).concat();
        for place in 0..whole.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut changed = whole.clone();
                changed[place] ^= change;
                let mut decoder = IpcDecoder::new();
                if let Err(error) = decoder.decode(changed.into()) {
                    assert_eq!(error.code(), ErrorCode::InvalidArgument, "{place}: {error}");
                }
            }
        }
    }

    fn stream(batches: &[RecordBatch]) -> Vec<Bytes> {
        let mut encoder = IpcEncoder::new(&schema()).unwrap();
        let mut pieces: Vec<Bytes> = batches.iter().flat_map(|batch| encoder.encode(batch).unwrap()).collect();
        pieces.extend(encoder.finish().unwrap());
        pieces
    }

    #[test]
    fn a_batch_that_is_too_great_is_refused_before_it_is_held() {
        let batch = batch(200_000);
        let mut encoder = IpcEncoder::new(&schema()).unwrap();
        let pieces = encoder.encode(&batch).unwrap();
        let bytes: usize = pieces.iter().map(Bytes::len).sum();
        let seen = |largest_batch: usize| {
            let mut decoder = IpcDecoder::up_to(largest_batch);
            pieces.iter().position(|piece| decoder.decode(piece.clone()).is_err())
        };
        assert_eq!(seen(bytes), None);
        assert_eq!(seen(2 * PIECE_BYTES), Some(3), "of {} pieces", pieces.len());
        let mut decoder = IpcDecoder::up_to(bytes);
        for batches in [pieces.clone(), encoder.encode(&batch).unwrap(), encoder.encode(&batch).unwrap()] {
            for piece in batches {
                decoder.decode(piece).unwrap();
            }
        }
    }

    /// A few bytes of zeros would be any number of them.
    #[test]
    fn a_compressed_batch_is_refused_wherever_the_stream_is_cut() {
        for compression in [CompressionType::ZSTD, CompressionType::LZ4_FRAME] {
            let options = IpcWriteOptions::default().try_with_compression(Some(compression)).unwrap();
            let mut writer = StreamWriter::try_new_with_options(Vec::new(), &schema(), options).unwrap();
            writer.write(&batch(100_000)).unwrap();
            let stream = Bytes::from(writer.into_inner().unwrap());
            for piece in [1, 3, 1_000, stream.len()] {
                let mut decoder = IpcDecoder::new();
                let mut pieces = (0..stream.len()).step_by(piece);
                let error = pieces.find_map(|at| decoder.decode(stream.slice(at..stream.len().min(at + piece))).err());
                let error = error.unwrap();
                assert_eq!(error.code(), ErrorCode::InvalidArgument);
                assert!(error.message().contains("is compressed"), "{error}");
            }
        }
    }

    fn texts(values: Vec<&str>) -> RecordBatch {
        let texts: DictionaryArray<Int32Type> = values.into_iter().collect();
        RecordBatch::try_from_iter([("text", Arc::new(texts) as ArrayRef)]).unwrap()
    }

    /// Each state of it would be held with the batches that came with it.
    #[test]
    fn a_dictionary_that_grows_is_refused_and_one_that_is_sent_anew_is_not() {
        let batches = [texts(vec!["a", "b"]), texts(vec!["a", "b", "c"])];
        for (handling, is_refused) in [(DictionaryHandling::Delta, true), (DictionaryHandling::Resend, false)] {
            let options = IpcWriteOptions::default().with_dictionary_handling(handling);
            let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batches[0].schema(), options).unwrap();
            batches.iter().for_each(|batch| writer.write(batch).unwrap());
            let decoded = IpcDecoder::new().decode(writer.into_inner().unwrap().into());
            match decoded {
                Ok(decoded) => assert_eq!((decoded.as_slice(), is_refused), (&batches[..], false)),
                Err(error) => assert!(is_refused && error.message().contains("grows from batch to batch"), "{error}"),
            }
        }
    }

    #[test]
    fn dictionaries_that_are_held_are_counted_however_small_the_batches_are() {
        let long = "x".repeat(PIECE_BYTES);
        let mut encoder = IpcEncoder::new(&texts(vec![]).schema()).unwrap();
        let mut decoder = IpcDecoder::up_to(PIECE_BYTES / 2);
        let pieces = encoder.encode(&texts(vec![&long])).unwrap();
        let error = pieces.into_iter().find_map(|piece| decoder.decode(piece).err()).unwrap();
        assert!(error.message().contains("or its dictionaries, have more than"), "{error}");
    }

    #[test]
    fn great_batches_come_back_from_small_pieces() {
        let batches = [batch(100_000), batch(0), batch(3)];
        let pieces = stream(&batches);
        assert!(pieces.len() > 3 && pieces.iter().all(|piece| piece.len() <= PIECE_BYTES));
        let mut decoder = IpcDecoder::new();
        let back: Vec<_> = pieces.into_iter().flat_map(|piece| decoder.decode(piece).unwrap()).collect();
        assert_eq!(back, batches);
        assert_eq!(decoder.schema().unwrap(), Arc::new(schema()));
        decoder.finish().unwrap();
    }

    /// Before Arrow 0.15 nothing stood before lengths, also before that which ends the stream.
    #[test]
    fn a_stream_of_the_former_format_ends_too() {
        let options = IpcWriteOptions::try_new(8, true, MetadataVersion::V4).unwrap();
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &schema(), options).unwrap();
        writer.write(&batch(10)).unwrap();
        let mut decoder = IpcDecoder::new();
        assert_eq!(decoder.decode(writer.into_inner().unwrap().into()).unwrap(), [batch(10)]);
        decoder.finish().unwrap();
    }

    #[test]
    fn a_stream_that_is_none_or_is_cut_short_is_refused() {
        let mut decoder = IpcDecoder::new();
        let error = decoder.decode(Bytes::from_static(b"customer_id,event_timestamp\n1,2\n")).err();
        let error = error.or_else(|| IpcDecoder::finish(decoder).err()).unwrap();
        assert_eq!(error.code(), ErrorCode::InvalidArgument);
        let all: Vec<u8> = stream(&[batch(10)]).concat();
        for missing in [40, 8, 1] {
            let mut decoder = IpcDecoder::new();
            decoder.decode(Bytes::copy_from_slice(&all[..all.len() - missing])).unwrap();
            assert_eq!(decoder.finish().unwrap_err().code(), ErrorCode::InvalidArgument, "{missing}");
        }
    }

    proptest! {
        #[test]
        fn pieces_may_be_cut_anywhere(cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6)) {
            let batches = [batch(20), batch(1)];
            let all = Bytes::from(stream(&batches).concat());
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(all.len())).collect();
            cuts.extend([0, all.len()]);
            cuts.sort_unstable();
            let mut decoder = IpcDecoder::new();
            let pieces = cuts.windows(2).map(|ends| all.slice(ends[0]..ends[1]));
            let back: Vec<_> = pieces.flat_map(|piece| decoder.decode(piece).unwrap()).collect();
            prop_assert_eq!(back, batches);
            decoder.finish().unwrap();
        }
    }
}
