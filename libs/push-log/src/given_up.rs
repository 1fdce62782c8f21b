//! Work on a thread of its own, that is given up when nobody waits for its result any more.

use larder_types::{Error, Result};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

/// What is asked between pieces of work: an error once nobody waits for it.
pub(crate) type GoOn<'a> = dyn Fn() -> Result<()> + 'a;

/// Does `work` beside the threads that others wait for. Dropping the future has it given up where it asks next, which it does
/// after a fraction of a second at most: a process that stops waits for threads.
pub(crate) async fn unless_given_up<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce(&CancellationToken, &GoOn<'_>) -> Result<T> + Send + 'static,
) -> Result<T> {
    let given_up = CancellationToken::new();
    let _at_the_end = given_up.clone().drop_guard();
    let go_on = move |given_up: &CancellationToken| match given_up.is_cancelled() {
        false => Ok(()),
        true => Err(Error::unavailable(format!("{what} of the push log was given up"))),
    };
    let working = spawn_blocking(move || work(&given_up, &|| go_on(&given_up)));
    let done = working.await;
    done.unwrap_or_else(|error| Err(Error::internal(format!("{what} of the push log: {error}")).with_source(error)))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn work_that_nobody_waits_for_ends_where_it_asks() {
        let ((began, begun), (ended, end)) = (mpsc::channel(), mpsc::channel());
        let working = tokio::spawn(unless_given_up("a test", move |_, go_on| {
            began.send(()).unwrap();
            let error = loop {
                if let Err(error) = go_on() {
                    break error;
                }
                std::thread::yield_now();
            };
            ended.send(error.message().to_owned()).unwrap();
            Err::<(), _>(error)
        }));
        spawn_blocking(move || begun.recv().unwrap()).await.unwrap();
        working.abort();
        let told = spawn_blocking(move || end.recv().unwrap()).await.unwrap();
        assert_eq!(told, "a test of the push log was given up");
        assert_eq!(unless_given_up("a test", |_, go_on| go_on().map(|()| 7)).await.unwrap(), 7);
    }
}
