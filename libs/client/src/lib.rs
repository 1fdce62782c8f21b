//! The typed Rust client: calls take and give domain types, over the network or in process.
//!
//! A [`Transport`] is what calls travel by. Every call carries a deadline (`grpc-timeout`), five seconds unless
//! `within` says otherwise, and the trace of the span it is made in. Errors are `larder_types::Error`, whatever made them.
//! [`CatalogWatch`] follows a project's catalog. Floor 5: it knows the contracts and no service.

mod call;
mod catalog_watch;
mod materializer;
mod projects;
mod push;
mod registry;
mod runs;
mod serving;
mod trace;
mod transport;

pub use call::DEFAULT_DEADLINE;
pub use catalog_watch::{CatalogFollower, CatalogWatch, CatalogWatchOptions};
pub use larder_contracts::{
    explore::{Lineage, LineageNode, SearchHit},
    revisions::{ChangeRequest, RevisionInfo},
};
pub use larder_definitions::Asked;
pub use materializer::{MaterializerClient, TrainingSet, TrainingSetEvent, TrainingSetStream};
pub use projects::{Projects, Spawn};
pub use push::{
    BatchFailure, PushAnswer, PushBatch, PushClient, PushOutcome, Refusal, RowResult, Target, TargetState, Written,
};
pub use registry::{Applied, Declared, ObjectPage, Project, RegistryClient, RevisionPage, Rollback, RolledBack};
pub use runs::{LeaseGrant, RunFilter, RunPage, RunStream, RunsClient};
pub use serving::{FeatureValues, OnlineAnswer, OnlineRequest, Replay, ServingClient, ViewReplay};
pub use transport::Transport;
