//! Storage that misbehaves as real storage does, for the tests of whoever writes through this crate.

mod forgetful;
mod power;
mod unreliable;

pub use forgetful::ForgetfulDisk;
pub use power::{Power, PoweredDisk};
pub use unreliable::UnreliableStore;
