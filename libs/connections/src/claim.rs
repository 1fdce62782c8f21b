//! Claiming a name: conditional create whose author recognises its own work.
//!
//! A store client sends a put again when the first answer was lost, and the second attempt then finds what the first one
//! made. So "already exists" proves nothing until the object has been read back: content that names its author tells.

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
    let failure = match store.put_opts(path, content.into(), PutMode::Create.into()).await {
        Ok(_) => return Ok(Created::Ours),
        Err(failure) => store_error(format_args!("creating {path}"), failure),
    };
    if !matches!(failure.code(), ErrorCode::AlreadyExists | ErrorCode::Unavailable | ErrorCode::Conflict) {
        return Err(failure);
    }
    match read_object(store, path).await {
        Ok(Some(found)) if is_ours(&found) => Ok(Created::Ours),
        Ok(Some(found)) => Ok(Created::Taken(found)),
        Ok(None) | Err(_) => Err(Error::unavailable(failure.message()).with_source(failure)),
    }
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
