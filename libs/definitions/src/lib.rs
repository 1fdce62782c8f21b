//! What users declare, and what is made of it.
//!
//! - [`object`]: objects as plain data; [`yaml`] reads them from files, [`validate`](validate()) says everything that is
//!   wrong with them at once.
//! - [`change`]: change sets are planned and applied to a [`state::ProjectState`], which is the fold of
//!   [`revision::RevisionRecord`]s; numbers once given are never given again.
//! - [`catalog`]: the immutable, resolved snapshot that services work from; [`lineage`], [`search`] and [`markdown`] are
//!   views of it.
//! - [`selection`]: what a request asks for, resolved against a catalog; serving and training resolve by the same code.
//! - [`run`]: runs, leases and watermarks, the fold of their events; [`schedule`] tells when runs are due.
//!
//! Everything but reading a folder of definitions is a pure function: this crate has no clock, knows no store and no wire
//! format.

pub mod catalog;
pub mod change;
pub mod consequences;
pub mod diff;
mod expressions;
mod feeds;
pub mod lineage;
pub mod markdown;
mod numbering;
pub mod object;
pub mod problem;
pub mod project_record;
mod renaming;
pub mod revision;
pub mod run;
pub mod schedule;
pub mod search;
pub mod selection;
pub mod state;
mod stored;
mod validate;
pub mod view_rows;
pub mod yaml;

pub use catalog::{AnyView, Catalog, KeySpace, PushSchema, ResolvedSource, ResolvedView, unknown_name};
pub use change::{ChangeSet, Plan, RevisionMeta, RollbackRequest, apply, plan, plan_rollback, rollback};
pub use consequences::{Consequence, ConsequenceKind};
pub use diff::{ChangeKind, Diff, FieldChange, ObjectChange, diff};
pub use object::*;
pub use problem::{Location, Problem, problems_to_error};
pub use project_record::ProjectRecord;
pub use revision::RevisionRecord;
pub use selection::{
    Asked, ComputedFeature, ComputedInput, Output, OutputSource, SelectedView, Selection, StoredFeature,
};
pub use state::ProjectState;
pub use validate::{validate, validate_since};
