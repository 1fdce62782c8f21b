//! What tests share: free ports, temporary folders, a clock that stands still, spans kept in memory, child processes that
//! are waited for and killed, and real servers. A dev-dependency only.
//!
//! What fails in here fails the test, with a message that says what was being waited for.

#![expect(clippy::panic, clippy::expect_used, reason = "a failure of the test's surroundings is a failed test")]

mod binary;
mod child;
pub mod servers;
mod spans;
mod wait;

pub use binary::larder_binary;
pub use child::{Child, Exit};
pub use spans::Spans;
pub use wait::{eventually, get, wait_for_http};

use larder_types::{ManualClock, Timestamp};
use tokio::net::TcpListener;

/// A listener on a free port of this machine. Hand the listener itself on: a port that is free now may not be later.
pub async fn listener() -> TcpListener {
    TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port")
}

/// A folder that is removed when the value is dropped.
pub fn temporary_folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("larder-test-").tempdir().expect("a temporary folder")
}

/// 2026-01-01T00:00:00Z, where [`clock`] stands.
pub const NEW_YEAR: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

/// A clock that stands at [`NEW_YEAR`] until the test moves it.
pub fn clock() -> ManualClock {
    ManualClock::at(NEW_YEAR)
}
