//! The bytes of rows and keys: golden files, round trips against naive oracles, and bytes that nobody wrote.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that goes wrong should end at once")]

mod golden;
mod key_properties;
mod keys;
mod row_properties;
mod rows;
mod values;
