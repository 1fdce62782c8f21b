//! The wire: convert, call, convert back. One file per group of calls.

mod registry;
mod runs;

use larder_service::{
    authorize::{Action, Resource, authorize},
    blocking::work_beside,
    call::{CallContext, answer},
    tasks::{OnFailure, TaskKind, Tasks},
};
use larder_types::{Error, Result};
pub use registry::RegistryGrpc;
pub use runs::RunsGrpc;
use tokio::{runtime::Handle, sync::Semaphore};

/// The most items of one page.
const PAGE: usize = 500;

/// One page of `items`; the token is the position of the next.
fn page<T>(items: Vec<T>, size: u32, token: &str) -> Result<(Vec<T>, String)> {
    let start: usize = match token {
        "" => 0,
        token => token.parse().map_err(|_| unknown_token())?,
    };
    let size = if size == 0 { PAGE } else { PAGE.min(size as usize) };
    let total = items.len();
    let items: Vec<T> = items.into_iter().skip(start).take(size).collect();
    let end = start + items.len();
    Ok((items, if end < total { end.to_string() } else { String::new() }))
}

fn unknown_token() -> Error {
    Error::invalid_field("page_token", "is not one of an answer before")
}

/// Changes are brought to their end though their caller goes: else the store would have what nobody here knows of.
const CHANGE: TaskKind = TaskKind::new("change of the registry", OnFailure::Log);

async fn see_through<T: Send + 'static>(
    tasks: &Tasks,
    change: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    tasks.see_through(CHANGE, change).await.flatten()
}

/// How many changes are checked at once.
pub(crate) const CHECKED_AT_ONCE: usize = 4;

/// Checking many definitions keeps a processor busy for long: that is done where no other call waits for it.
/// So few at once (`places`) that threads are left for the store, on which a change waits.
async fn beside<T: Send + 'static>(
    places: &Semaphore,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let _place = places.acquire().await;
    let runtime = Handle::current();
    work_beside(move || runtime.block_on(work)).await
}

fn allow(call: &CallContext, action: Action, project: &str) -> Result<()> {
    authorize(&call.caller, action, &[Resource::project(project)])
}

fn allow_run(call: &CallContext, action: Action, project: &str, run: &str) -> Result<()> {
    authorize(&call.caller, action, &[Resource::run(project, run)])
}
