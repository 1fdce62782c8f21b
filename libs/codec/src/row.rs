//! Online rows: their layout, and what can be read of one without its schema.
//!
//! | bytes | what |
//! |---|---|
//! | 0 | format version: 1 |
//! | 1–8 | event time: microseconds, signed 64-bit with the sign bit turned, big-endian |
//! | 9–16 | created time, likewise |
//! | 17 | flags: 1 = deleted; a row with another flag is refused |
//! | 18… | schema number: 1 to 5 bytes, in the order of numbers (1 byte below 128, 2 below 16,384) |
//! | | nothing more, if deleted; otherwise: |
//! | ⌈columns / 8⌉ | null bitmap: bit `i % 8` of byte `i / 8` is set where the column at position `i` of the schema is null; other bits are 0 |
//! | 1, 4 or 8 each | fixed-width values by column order, little-endian, a bool 0 or 1; zeros for a null |
//! | 4 each | end offsets of the variable values by column order, little-endian, from the first byte after them |
//! | … | bytes of the variable values, none for a null: a string's UTF-8, bytes as they are, a list's as below |
//!
//! A list is its count (as a schema number is written), the null bitmap of its items, then fixed-width items with zeros
//! for nulls, or, of strings and bytes, 4 bytes of end offset each and the bytes.
//!
//! Equal values have equal bytes. The first 17 bytes are the same in every format version, so any release can order the
//! rows of any other; the bytes as a whole order rows as [`compare_rows`] does.

mod decode;
mod encode;
mod gather;
mod layout;
mod source;

use std::cmp::Ordering;

use larder_types::{Error, Result, RowVersion, SchemaNumber, Timestamp};

use crate::varint;

pub use decode::{ColumnsBuilder, DecodedColumn, RowDecoder};
pub use encode::{EncodedRows, RowEncoder};

/// The most bytes a row may have.
pub const MAX_ROW_BYTES: usize = 16 << 20;

const FORMAT: u8 = 1;
const FLAGS_AT: usize = 17;
const SCHEMA_AT: usize = 18;
const DELETED: u8 = 1;

/// The times of a row of any format version. DATA_LOSS if it is cut short.
pub fn row_version(row: &[u8]) -> Result<RowVersion> {
    let time = |at: usize| row.get(at..).and_then(|rest| rest.first_chunk()).map(read_time);
    match (time(1), time(9)) {
        (Some(event_time), Some(created_time)) => Ok(RowVersion { event_time, created_time }),
        (None, _) | (_, None) => Err(cut_short(row)),
    }
}

/// Whether a row says that there is nothing here. DATA_LOSS or UNIMPLEMENTED as [`RowDecoder`] answers them.
pub fn is_deleted(row: &[u8]) -> Result<bool> {
    Header::read(row).map(|header| header.deleted)
}

/// The schema that a row was written with. DATA_LOSS or UNIMPLEMENTED as [`RowDecoder`] answers them.
pub fn schema_number(row: &[u8]) -> Result<SchemaNumber> {
    Header::read(row).map(|header| header.schema)
}

/// The order of the rows of a key: by event time, created time, then the remaining bytes. Equal means identical.
///
/// It is a total order over any bytes. Where all but the format version is the same, the greater version is the greater.
pub fn compare_rows(a: &[u8], b: &[u8]) -> Ordering {
    a.get(1..).cmp(&b.get(1..)).then_with(|| a.first().cmp(&b.first()))
}

/// What stands before the values.
#[derive(Debug, Clone, Copy)]
struct Header {
    version: RowVersion,
    deleted: bool,
    schema: SchemaNumber,
    /// Where the values begin.
    end: usize,
}

impl Header {
    fn read(row: &[u8]) -> Result<Self> {
        match row.first() {
            Some(&FORMAT) => {}
            Some(other) => {
                return Err(Error::unimplemented(format!(
                    "an online row has format version {other}, this release reads {FORMAT}: a newer release is needed"
                )));
            }
            None => return Err(cut_short(row)),
        }
        let version = row_version(row)?;
        let flags = *row.get(FLAGS_AT).ok_or_else(|| cut_short(row))?;
        if flags & !DELETED != 0 {
            return Err(Error::unimplemented(format!(
                "an online row has flags {flags:#04x}, this release knows {DELETED:#04x}: a newer release is needed"
            )));
        }
        let (schema, size) = varint::read(&row[SCHEMA_AT..]).ok_or_else(|| cut_short(row))?;
        let header = Self { version, deleted: flags == DELETED, schema: SchemaNumber(schema), end: SCHEMA_AT + size };
        if header.deleted && row.len() != header.end {
            return Err(Error::data_loss(format!("an online row is deleted and yet has {} bytes", row.len())));
        }
        Ok(header)
    }
}

/// Writes everything before the values to the start of `row`.
fn write_header(row: &mut [u8], event_time: i64, created_time: i64, deleted: bool, schema: SchemaNumber) {
    row[0] = FORMAT;
    row[1..9].copy_from_slice(&time_bytes(event_time));
    row[9..17].copy_from_slice(&time_bytes(created_time));
    row[FLAGS_AT] = if deleted { DELETED } else { 0 };
    varint::write(schema.0, &mut row[SCHEMA_AT..]);
}

fn header_len(schema: SchemaNumber) -> usize {
    SCHEMA_AT + varint::len(schema.0)
}

/// With the sign bit turned, the order of the bytes is the order of the times.
fn time_bytes(micros: i64) -> [u8; 8] {
    (micros ^ i64::MIN).to_be_bytes()
}

fn read_time(bytes: &[u8; 8]) -> Timestamp {
    Timestamp::from_micros(i64::from_be_bytes(*bytes) ^ i64::MIN)
}

fn cut_short(row: &[u8]) -> Error {
    Error::data_loss(format!("an online row of {} bytes is cut short or damaged in its header", row.len()))
}
