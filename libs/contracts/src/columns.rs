//! Columns of values: the `Column` message and Arrow arrays, both ways, bit for bit.
//!
//! Values are copied in bulk, never one message or enum a value. Under a null nothing of what the array holds there is
//! sent: numbers are 0, texts and lists empty. Decoding trusts nothing: every length, bit and kind is checked before an
//! array is made, memory is bounded by the message, and errors name the column.

mod decode;
mod encode;
#[cfg(test)]
mod tests;
mod widen;

pub use decode::{decode, decode_named};
pub use encode::{encode, encode_named};
pub use widen::{widen, wrong_type};
