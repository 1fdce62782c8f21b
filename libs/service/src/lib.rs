//! What every binary shares: configuration, telemetry, the gRPC server and its layers, the admin port, supervision of
//! background tasks, and shutdown.
//!
//! It knows nothing of what features, stores and definitions are: [`authorize`] has words for what can be done and to which
//! kinds of things, for rights and the audit log. Nothing is global but the allocator, and the log subscriber and the panic
//! hook that [`telemetry::install`] sets: listeners, metrics, readiness and the shutdown signal are arguments, so that many
//! services live in one process, and every test has its own.

pub mod admin;
pub mod authorize;
pub mod begun;
pub mod blocking;
pub mod call;
pub mod config;
pub mod host;
pub mod listener;
pub mod metrics;
pub mod readiness;
pub mod server;
pub mod shutdown;
pub mod tasks;
pub mod telemetry;
pub mod trace;

pub use authorize::{Action, Resource, ResourceKind, authorize};
pub use call::{CallContext, Caller, Deadline, PeerAddress, Principal};
pub use host::Host;
pub use listener::bind;
pub use metrics::Metrics;
pub use readiness::{Condition, Readiness};
pub use server::{Endpoint, GrpcServer};
pub use shutdown::Shutdown;
pub use tasks::{OnFailure, TaskKind, Tasks};

/// Of every binary. The system's keeps what each thread has freed for that thread, so that work which moves from thread to
/// thread takes several times the memory it holds.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
