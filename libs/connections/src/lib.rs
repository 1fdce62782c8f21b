//! Clients of the stores that hold what outlives a process.
//!
//! Object stores are opened by URL or local path ([`open_store`]). A put into a local folder is durable when it returns
//! ([`DurableLocal`]); a numbered object is claimed by [`create_once`], the only conditional write that every store has.
//! A data folder belongs to one process ([`FolderLock`]) and says which release wrote it ([`check_folder_format`]).
//!
//! This crate knows nothing of what is stored: names, layouts and formats belong to the stores above it.

mod claim;
mod disk;
mod disk_folders;
mod durable;
mod error;
mod folder;
mod open;
#[cfg(all(feature = "test-suite", unix))]
pub mod test_suite;

pub use claim::{Created, create_once, read_object};
pub use disk::{Disk, LocalDisk};
pub use durable::DurableLocal;
pub use error::store_error;
pub use folder::{FolderLock, check_folder_format};
pub use open::{Access, StoreOptions, decoded, open_store};
