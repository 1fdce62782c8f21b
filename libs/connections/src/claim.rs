//! Claiming a name: conditional create whose author recognises its own work.
//!
//! A store client sends a put again when the first answer was lost, and the second attempt then finds what the first one
//! made. So "already exists" proves nothing until the object has been read back: content that names its author tells.
//!
//! Nor does reading back prove anything without it: an object can be seen whose put failed half-way, and be gone after a
//! loss of power. A put that answers "already exists" has made durable what is there.

use bytes::Bytes;
use larder_types::{Error, ErrorCode, Result};
use object_store::{ObjectStore, ObjectStoreExt, PutMode, path::Path};

use crate::store_error;

/// How a claim ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// The object is there with our content, by this call or by an earlier attempt of ours.
    Ours,
    /// Somebody else's object has the name; its content.
    Taken(Bytes),
}

/// Creates the object at `path` if nothing is there. `is_ours` recognises the author in the content of what is.
///
/// Repeating the call with the same content is safe at any time. An error means that nothing was created
/// ([`ErrorCode::PermissionDenied`] and others that the store answers itself) or, for [`ErrorCode::Unavailable`], that
/// the outcome is not known: the object may be there, or may yet appear.
pub async fn create_once(
    store: &dyn ObjectStore,
    path: &Path,
    content: Bytes,
    is_ours: impl Fn(&[u8]) -> bool,
) -> Result<Created> {
    let mut outcome = put_new(store, path, content.clone()).await;
    if outcome.as_ref().is_err_and(|failure| matches!(failure.code(), ErrorCode::Unavailable | ErrorCode::Conflict)) {
        // Whether it is there, only another attempt can tell.
        outcome = put_new(store, path, content).await;
    }
    let failure = match outcome {
        Ok(()) => return Ok(Created::Ours),
        Err(failure) if failure.code() == ErrorCode::AlreadyExists => failure,
        Err(failure) if failure.code() == ErrorCode::Conflict => return Err(not_known(failure)),
        Err(failure) => return Err(failure),
    };
    match read_object(store, path).await {
        Ok(Some(found)) if is_ours(&found) => Ok(Created::Ours),
        Ok(Some(found)) => Ok(Created::Taken(found)),
        Ok(None) | Err(_) => Err(not_known(failure)),
    }
}

async fn put_new(store: &dyn ObjectStore, path: &Path, content: Bytes) -> Result<()> {
    let put = store.put_opts(path, content.into(), PutMode::Create.into()).await;
    put.map(drop).map_err(|failure| store_error(format_args!("creating {path}"), failure))
}

fn not_known(failure: Error) -> Error {
    Error::unavailable(failure.message()).with_source(failure)
}

/// The whole content of an object; `None` where there is none.
pub async fn read_object(store: &dyn ObjectStore, path: &Path) -> Result<Option<Bytes>> {
    let reading = |error| store_error(format_args!("reading {path}"), error);
    match store.get(path).await {
        Ok(found) => found.bytes().await.map(Some).map_err(reading),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(reading(error)),
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn own_content_is_success_however_often_and_others_is_taken() {
        let store = InMemory::new();
        let path = Path::from("log/1");
        let ours = Bytes::from_static(b"ours");
        for _ in 0..2 {
            let created = create_once(&store, &path, ours.clone(), |found| found == b"ours").await.unwrap();
            assert_eq!(created, Created::Ours);
        }
        let theirs = Bytes::from_static(b"theirs");
        let created = create_once(&store, &path, theirs, |found| found == b"theirs").await.unwrap();
        assert_eq!(created, Created::Taken(ours.clone()));
        assert_eq!(read_object(&store, &path).await.unwrap(), Some(ours));
        assert_eq!(read_object(&store, &Path::from("log/2")).await.unwrap(), None);
    }
}
