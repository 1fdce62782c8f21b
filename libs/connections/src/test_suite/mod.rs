//! Storage that misbehaves as real storage does, for the tests of whoever writes through this crate.

mod forgetful;
mod unreliable;

pub use forgetful::ForgetfulDisk;
pub use unreliable::UnreliableStore;
