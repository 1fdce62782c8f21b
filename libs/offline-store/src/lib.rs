//! History of features and what is made of it: sources, the point-in-time join, training sets. Floor 4, the only crate
//! that uses the query engine.
//!
//! - [`history`]: the rows of a view from Parquet files and from the push log, in one form.
//! - [`point_in_time`]: the operator that finds for each row of a spine the row of a history it may see.
//! - [`plan`]: the other nodes of a training set's plan, and the encoding of all of them.
//! - [`training`]: spines in, training sets out.
//! - [`storage`]: the roots under which files may lie.
//! - [`SpillFolder`]: where what does not fit in memory goes.
//!
//! It never writes to an online store and keeps no metadata. Nothing outside the configured roots is opened.

pub mod history;
mod hive;
pub mod plan;
pub mod point_in_time;
pub mod storage;
pub mod training;

mod error;
mod spill_folder;
mod widen;

pub use spill_folder::SpillFolder;
