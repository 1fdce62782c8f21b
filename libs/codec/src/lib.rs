//! Bytes that outlive a process: online rows and entity keys. Floor 1: it knows values, times and numbers, and no names,
//! no store and no wire.
//!
//! - [`RowEncoder`] packs columns into rows, [`RowDecoder`] reads rows of any schema of a view back into the columns that
//!   somebody wants. The layout of a row is in [`row`].
//! - [`KeyEncoder`] writes entity keys as readable text. The layout of a key is in [`key`].
//!
//! What is written once stays readable for ever: `tests/golden` holds the bytes. Any bytes may be given to a decoder: it
//! answers them with values or an error, and never panics (`fuzz/`).

pub mod key;
pub mod row;

mod packed;
mod schema;
mod varint;

pub use key::{EncodedKeys, KeyEncoder, KeyScope, MAX_KEY_BYTES};
pub use row::{
    ColumnsBuilder, DecodedColumn, EncodedRows, MAX_ROW_BYTES, RowDecoder, RowEncoder, compare_rows, is_deleted,
    row_version, schema_number,
};
pub use schema::{RowSchema, SchemaColumn};
