//! Opening an object store by its URL, or a local folder by its path.
//!
//! Stores are a table of schemes: another one (`s3`, `gs`, `az`) is a line in [`SCHEMES`] and a feature of `object_store`.

use std::{
    path::{Path as FsPath, PathBuf},
    sync::Arc,
    time::Duration,
};

use larder_types::{Error, Result, near_names};
use object_store::{ObjectStore, local::LocalFileSystem, path::Path};
use percent_encoding::percent_decode_str;

use crate::{Disk, DurableLocal, LocalDisk, store_error};

/// What the caller is going to do with a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Only read. What is missing is not made.
    Read,
    /// Add files to those of others. A local folder must be there, nothing in it is removed, and writes are durable when
    /// they return.
    Add,
    /// Read and write. A local folder is made if it is missing, and writes are durable when they return.
    ReadWrite,
}

/// How to open a store.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// What for.
    pub access: Access,
    /// What is written to, where it is a local folder.
    pub disk: Arc<dyn Disk>,
    /// Staging files of a local folder that nobody touched for so long are leftovers, and removed at open.
    pub staging_grace: Duration,
}

impl StoreOptions {
    /// For this access, with what else is usual.
    pub fn new(access: Access) -> Self {
        Self { access, disk: Arc::new(LocalDisk), staging_grace: Duration::from_secs(3_600) }
    }
}

/// A store, and the path in it that the location named.
type Opened = (Arc<dyn ObjectStore>, Path);

struct Scheme {
    name: &'static str,
    open: fn(rest: &str, options: &StoreOptions) -> Result<Opened>,
}

const SCHEMES: [Scheme; 1] = [Scheme { name: "file", open: open_file_url }];

/// Opens `location`: a local path (relative ones from the current folder) or a URL. The second part of the answer is the
/// prefix under which everything that `location` names lies in the store.
///
/// An unknown scheme is [`larder_types::ErrorCode::InvalidArgument`] and lists what is supported.
pub fn open_store(location: &str, options: &StoreOptions) -> Result<Opened> {
    let Some((name, rest)) = location.split_once("://") else {
        return open_local(FsPath::new(location), options);
    };
    let scheme = SCHEMES.iter().find(|scheme| scheme.name == name).ok_or_else(|| unknown_scheme(location, name))?;
    (scheme.open)(rest, options)
}

fn unknown_scheme(location: &str, name: &str) -> Error {
    let supported: Vec<_> = SCHEMES.iter().map(|scheme| format!("{}://", scheme.name)).collect();
    let near = near_names(name, SCHEMES.iter().map(|scheme| scheme.name));
    let hint = near.first().map(|near| format!(" (did you mean `{near}://`?)")).unwrap_or_default();
    Error::invalid_argument(format!(
        "`{location}` cannot be opened: this build knows no store of kind `{name}://`{hint}; it supports local paths and {}",
        supported.join(", ")
    ))
}

fn open_file_url(rest: &str, options: &StoreOptions) -> Result<Opened> {
    let wrong = || {
        Error::invalid_argument(format!(
            "`file://{rest}` is not a URL of a local folder, which is file:// and an absolute path, e.g. file:///var/lib/larder"
        ))
    };
    if !rest.starts_with('/') {
        return Err(wrong());
    }
    open_local(&PathBuf::from(decoded(&format!("file://{rest}"), rest)?), options)
}

/// A part of a `file://` URL without its escapes: `%20` is a space. Plain paths have none and are never to be decoded.
///
/// # Errors
/// [`larder_types::ErrorCode::InvalidArgument`] naming the URL where a `%` is not followed by two hexadecimal digits, or what
/// they stand for is no UTF-8.
pub fn decoded(url: &str, part: &str) -> Result<String> {
    for (at, _) in part.match_indices('%') {
        let escape: String = part[at..].chars().take(3).collect();
        if escape.len() < 3 || !escape[1..].bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Error::invalid_argument(format!(
                "`{url}` is not a URL of a file: `{escape}` is not an escape such as %20; a % itself is written as %25"
            )));
        }
    }
    let decoded = percent_decode_str(part).decode_utf8().map_err(|error| {
        Error::invalid_argument(format!("`{url}` is not a URL of a file: its escapes are no UTF-8: {error}"))
    })?;
    Ok(decoded.into_owned())
}

fn open_local(path: &FsPath, options: &StoreOptions) -> Result<Opened> {
    match options.access {
        Access::ReadWrite => {
            let store = DurableLocal::open_on(Arc::clone(&options.disk), path, options.staging_grace)?;
            Ok((Arc::new(store), Path::default()))
        }
        Access::Add => {
            let store = DurableLocal::among(Arc::clone(&options.disk), path)?;
            Ok((Arc::new(store), Path::default()))
        }
        Access::Read => open_for_reading(path),
    }
}

fn open_for_reading(path: &FsPath) -> Result<Opened> {
    let absolute = std::fs::canonicalize(path).map_err(|error| {
        let message = format!("`{}` cannot be read: {error}", path.display());
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        let code = if missing { Error::not_found } else { Error::failed_precondition };
        code(message).with_source(error)
    })?;
    let prefix = Path::from_absolute_path(&absolute)
        .map_err(|error| store_error(format_args!("opening {}", path.display()), error.into()))?;
    Ok((Arc::new(LocalFileSystem::new()), prefix))
}

#[cfg(test)]
mod tests {
    use larder_types::ErrorCode;
    use object_store::ObjectStoreExt;

    use super::*;

    #[tokio::test]
    async fn a_path_and_its_url_are_the_same_store() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data of larder");
        let write = StoreOptions::new(Access::ReadWrite);
        let (by_path, prefix) = open_store(data.to_str().unwrap(), &write).unwrap();
        assert_eq!(prefix, Path::default());
        by_path.put(&Path::from("a/b"), "text".into()).await.unwrap();

        let url = format!("file://{}", data.to_str().unwrap().replace(' ', "%20"));
        for access in [Access::ReadWrite, Access::Read] {
            let (by_url, prefix) = open_store(&url, &StoreOptions::new(access)).unwrap();
            let path: Path = prefix.parts().chain(Path::from("a/b").parts()).collect();
            assert_eq!(by_url.get(&path).await.unwrap().bytes().await.unwrap(), "text", "{access:?}");
        }
    }

    #[test]
    fn what_cannot_be_opened_says_why() {
        for (location, code, text) in [
            ("s3://bucket/prefix", ErrorCode::InvalidArgument, "supports local paths and file://"),
            ("fil:///tmp", ErrorCode::InvalidArgument, "did you mean `file://`?"),
            ("file://relative", ErrorCode::InvalidArgument, "absolute path"),
            ("file:///tmp/a%zz", ErrorCode::InvalidArgument, "`%zz` is not an escape such as %20"),
            ("file:///tmp/100%", ErrorCode::InvalidArgument, "`%` is not an escape"),
            ("file:///tmp/%aü", ErrorCode::InvalidArgument, "`%aü` is not an escape"),
            ("file:///tmp/%ff", ErrorCode::InvalidArgument, "its escapes are no UTF-8"),
            ("/nowhere/at/all", ErrorCode::NotFound, "`/nowhere/at/all` cannot be read"),
        ] {
            let error = open_store(location, &StoreOptions::new(Access::Read)).unwrap_err();
            assert_eq!(error.code(), code, "{location}");
            assert!(error.message().contains(text), "{error}");
        }
    }
}
