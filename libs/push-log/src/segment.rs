//! The bytes of a segment: an Arrow IPC stream, then a trailer of 48 bytes.
//!
//! The trailer comes after the stream's own end mark, so any Arrow reader of streams reads a segment. It says what the
//! rows span, for pruning without reading them, and carries checksums: bytes that were not written by
//! [`encode_segment`] never reach the Arrow decoder. All numbers are little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 0–7 | rows |
//! | 8–15, 16–23 | least and greatest event time, microseconds |
//! | 24–31 | length of the stream |
//! | 32–35 | CRC-32 of the stream |
//! | 36–39 | format version, 1 |
//! | 40–43 | CRC-32 of the trailer's bytes before |
//! | 44–47 | `LSEG` |

use std::panic::catch_unwind;

use arrow::{
    array::RecordBatch,
    buffer::Buffer,
    compute::{concat_batches, max, min},
    datatypes::SchemaRef,
    error::ArrowError,
    ipc::{reader::StreamDecoder, writer::StreamWriter},
};
use bytes::Bytes;
use larder_types::{Error, Result, Timestamp};

use crate::{LogSchema, rows::SystemColumns};

/// Rows in a batch, at most.
pub(crate) const BATCH_ROWS: usize = 8_192;
pub(crate) const TRAILER_BYTES: usize = 48;
const FORMAT: u32 = 1;
const MAGIC: [u8; 4] = *b"LSEG";

/// What a segment's trailer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentSummary {
    /// How many rows.
    pub rows: u64,
    /// The least event time.
    pub min_event_time: Timestamp,
    /// The greatest event time.
    pub max_event_time: Timestamp,
    stream_crc: u32,
}

/// The bytes of a segment with these rows, of at least one batch, all of `schema` ([`LogSchema::arrow`]).
pub fn encode_segment(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Bytes> {
    let defect =
        |error: ArrowError| Error::internal(format!("a segment cannot be encoded: {error}")).with_source(error);
    let rows = concat_batches(schema, batches).map_err(defect)?;
    let mut writer = StreamWriter::try_new(Vec::with_capacity(rows.get_array_memory_size()), schema).map_err(defect)?;
    for start in (0..rows.num_rows()).step_by(BATCH_ROWS) {
        writer.write(&rows.slice(start, BATCH_ROWS.min(rows.num_rows() - start))).map_err(defect)?;
    }
    let mut bytes = writer.into_inner().map_err(defect)?;
    let trailer = trailer_of(&rows, &bytes)?;
    bytes.extend_from_slice(&trailer);
    Ok(bytes.into())
}

fn trailer_of(rows: &RecordBatch, stream: &[u8]) -> Result<Vec<u8>> {
    let times = SystemColumns::of(rows)?.event_time;
    let mut trailer = Vec::with_capacity(TRAILER_BYTES);
    trailer.extend_from_slice(&(rows.num_rows() as u64).to_le_bytes());
    trailer.extend_from_slice(&min(times).unwrap_or(i64::MAX).to_le_bytes());
    trailer.extend_from_slice(&max(times).unwrap_or(i64::MIN).to_le_bytes());
    trailer.extend_from_slice(&(stream.len() as u64).to_le_bytes());
    trailer.extend_from_slice(&crc32fast::hash(stream).to_le_bytes());
    trailer.extend_from_slice(&FORMAT.to_le_bytes());
    trailer.extend_from_slice(&crc32fast::hash(&trailer).to_le_bytes());
    trailer.extend_from_slice(&MAGIC);
    Ok(trailer)
}

/// The rows of a segment, in batches of at most 8,192. `name` says in errors which one it is.
///
/// Bytes that are not a segment, or not whole, are [`larder_types::ErrorCode::DataLoss`]; a later format is
/// [`larder_types::ErrorCode::Unimplemented`].
pub fn decode_segment(name: &str, bytes: &Bytes) -> Result<Vec<RecordBatch>> {
    let lost = |what: &str| Error::data_loss(format!("the segment {name} cannot be read: {what}"));
    let stream_end = bytes.len().checked_sub(TRAILER_BYTES).ok_or_else(|| lost("it is cut short"))?;
    let (stream, trailer) = bytes.split_at(stream_end);
    let summary = decode_trailer(name, trailer, bytes.len() as u64)?;
    if crc32fast::hash(stream) != summary.stream_crc {
        return Err(lost("its rows do not have the checksum they were written with"));
    }
    let stream = bytes.slice(..stream_end);
    // Arrow's decoder answers some wrong lengths with a panic.
    let decoded = catch_unwind(|| decode_stream(stream));
    let decoded = decoded.map_err(|_| lost("the lengths in it do not fit together"))?;
    let batches = decoded.map_err(|error| lost(&error.to_string()))?;
    if let Some(first) = batches.first() {
        LogSchema::of(&first.schema()).map_err(|error| lost(error.message()))?;
    }
    Ok(batches)
}

/// By the decoder that takes no memory for lengths that are only announced.
fn decode_stream(stream: Bytes) -> Result<Vec<RecordBatch>, ArrowError> {
    let (mut decoder, mut buffer) = (StreamDecoder::new(), Buffer::from(stream));
    let mut batches = Vec::new();
    while !buffer.is_empty() {
        batches.extend(decoder.decode(&mut buffer)?);
    }
    decoder.finish()?;
    Ok(batches)
}

/// Reads the trailer of a segment of `size` bytes.
pub(crate) fn decode_trailer(name: &str, trailer: &[u8], size: u64) -> Result<SegmentSummary> {
    let lost = |what: &str| Error::data_loss(format!("the segment {name} cannot be read: {what}"));
    let trailer: &[u8; TRAILER_BYTES] = trailer.try_into().map_err(|_| lost("it is cut short"))?;
    if trailer[44..] != MAGIC {
        return Err(lost("it does not end as a segment does"));
    }
    if crc32fast::hash(&trailer[..40]) != u32_at(trailer, 40) {
        return Err(lost("its end does not have the checksum it was written with"));
    }
    let format = u32_at(trailer, 36);
    if format != FORMAT {
        return Err(Error::unimplemented(format!(
            "the segment {name} has format {format}, this release of Larder reads {FORMAT}: use the newer release"
        )));
    }
    let stream_bytes = u64_at(trailer, 24);
    if stream_bytes.checked_add(TRAILER_BYTES as u64) != Some(size) {
        return Err(lost("its length is not the one it was written with"));
    }
    Ok(SegmentSummary {
        rows: u64_at(trailer, 0),
        min_event_time: Timestamp::from_micros(u64_at(trailer, 8).cast_signed()),
        max_event_time: Timestamp::from_micros(u64_at(trailer, 16).cast_signed()),
        stream_crc: u32_at(trailer, 32),
    })
}

fn u64_at(trailer: &[u8; TRAILER_BYTES], at: usize) -> u64 {
    trailer[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn u32_at(trailer: &[u8; TRAILER_BYTES], at: usize) -> u32 {
    trailer[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}
