//! Where files may lie: roots that the configuration allows, and nothing else.

use std::{
    path::{Component, Path as FsPath, PathBuf},
    sync::Arc,
};

use datafusion::execution::{object_store::ObjectStoreUrl, runtime_env::RuntimeEnv};
use futures::TryStreamExt;
use glob::{MatchOptions, Pattern};
use larder_connections::{Access, StoreOptions, open_store, store_error};
use larder_definitions::run::FileVersion;
use larder_types::{Error, ErrorCode, Result};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, path::Path};

/// The base of local files.
const LOCAL: &str = "file://";

/// Folders and prefixes of object stores under which files may be read and written.
#[derive(Debug)]
pub struct Roots(Vec<Root>);

#[derive(Debug)]
struct Root {
    /// `file://`, or scheme and bucket.
    base: String,
    prefix: Path,
    store: Arc<dyn ObjectStore>,
}

/// A place under a root.
#[derive(Debug, Clone)]
pub struct Place {
    /// The store's URL: `file://`, or scheme and bucket.
    pub base: String,
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// In the store.
    pub path: Path,
}

/// A file that is there.
#[derive(Debug, Clone)]
pub struct FoundFile {
    /// Where.
    pub place: Place,
    /// As it was seen.
    pub version: FileVersion,
}

impl Roots {
    /// Opens these local folders and URLs, which must be there.
    pub fn open<'a>(locations: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let open = |location: &str| {
            let (store, prefix) = open_store(location, &StoreOptions::new(Access::Read))?;
            Ok(Root { base: base_of(location), prefix, store })
        };
        locations.into_iter().map(open).collect::<Result<_>>().map(Self)
    }

    /// Makes the stores known to an engine under their URLs, so that plans can name them.
    pub fn register(&self, runtime: &RuntimeEnv) -> Result<()> {
        for root in &self.0 {
            let url = store_url(&root.base)?;
            runtime.register_object_store(url.as_ref(), Arc::clone(&root.store));
        }
        Ok(())
    }

    /// The place that a path or URL without wildcards names.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` naming the roots, where it lies under none; `INVALID_ARGUMENT` where it is relative.
    pub fn place(&self, location: &str) -> Result<Place> {
        let (base, path) = match location.split_once("://") {
            Some((scheme, _)) if scheme != "file" => self.remote(location)?,
            Some((_, rest)) => (LOCAL.to_owned(), local_path(location, rest)?),
            None => (LOCAL.to_owned(), local_path(location, location)?),
        };
        let root = self.0.iter().find(|root| root.base == base && path.prefix_matches(&root.prefix));
        match root {
            Some(root) => Ok(Place { base, store: Arc::clone(&root.store), path }),
            None => Err(self.outside(location)),
        }
    }

    fn remote(&self, location: &str) -> Result<(String, Path)> {
        let base = base_of(location);
        let rest = location[base.len()..].trim_start_matches('/');
        let path = Path::parse(rest.trim_end_matches('/'))
            .map_err(|error| Error::invalid_argument(format!("`{location}` is not a URL of a file: {error}")))?;
        Ok((base, path))
    }

    fn outside(&self, location: &str) -> Error {
        let known: Vec<String> = self.0.iter().map(|root| shown(&root.base, &root.prefix)).collect();
        let known = if known.is_empty() { "none is configured".to_owned() } else { known.join(", ") };
        Error::new(
            ErrorCode::PermissionDenied,
            format!("`{location}` is under none of the roots that may be used: {known}"),
        )
    }

    /// The files that a file's path, a folder (all below it) or a glob names, by path. Of a folder only those with the
    /// extension, and none whose name, or a folder's on the way, begins with `.` or `_`.
    ///
    /// # Errors
    /// Those of [`Roots::place`], and `NOT_FOUND` where there is no such file.
    pub async fn list(&self, location: &str, extension: &str) -> Result<Vec<FoundFile>> {
        let (folder, pattern) = split_glob(location);
        let place = self.place(folder)?;
        let mut files = match pattern {
            Some(pattern) => matching(&place, location, pattern).await?,
            None => match file(&place, location).await? {
                Some(file) => vec![file],
                None => in_folder(&place, extension).await?,
            },
        };
        if files.is_empty() {
            return Err(Error::not_found(format!("there is no file `{location}`, nor a .{extension} file below it")));
        }
        // A link below a folder may lead out of the roots.
        files
            .iter()
            .filter(|file| file.place.base == LOCAL)
            .try_for_each(|file| self.place(&file.version.path).map(drop))?;
        files.sort_by(|a, b| a.version.path.cmp(&b.version.path));
        Ok(files)
    }

    /// The file as it was seen.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` naming it, where it is gone or another one now.
    pub async fn reopen(&self, version: &FileVersion) -> Result<FoundFile> {
        let found = FoundFile { place: self.place(&version.path)?, version: version.clone() };
        found.check_unchanged().await?;
        Ok(found)
    }
}

impl FoundFile {
    /// FAILED_PRECONDITION naming the file, where it is gone or another one now.
    pub(crate) async fn check_unchanged(&self) -> Result<()> {
        let path = &self.version.path;
        let changed = |how: &str| Err(Error::failed_precondition(format!("`{path}` {how} since it was listed")));
        match file(&self.place, path).await? {
            None => changed("was removed"),
            Some(now) if now.version != self.version => changed("was changed"),
            Some(_) => Ok(()),
        }
    }

    fn of(place: &Place, meta: ObjectMeta) -> Self {
        let version =
            FileVersion { path: shown(&place.base, &meta.location), size: meta.size, etag: Some(etag(&meta)) };
        Self { place: Place { path: meta.location, ..place.clone() }, version }
    }
}

/// What tells one content from another; by size and time where the store does not say.
fn etag(meta: &ObjectMeta) -> String {
    meta.e_tag.clone().unwrap_or_else(|| meta.last_modified.timestamp_micros().to_string())
}

/// The URL under which an engine knows a store.
pub(crate) fn store_url(base: &str) -> Result<ObjectStoreUrl> {
    ObjectStoreUrl::parse(base).map_err(|error| Error::internal(format!("`{base}` is not the URL of a store: {error}")))
}

fn base_of(location: &str) -> String {
    match location.split_once("://") {
        Some((scheme, rest)) if scheme != "file" => {
            format!("{scheme}://{}", rest.split('/').next().unwrap_or_default())
        }
        Some(_) | None => LOCAL.to_owned(),
    }
}

fn shown(base: &str, path: &Path) -> String {
    if base == LOCAL { format!("/{path}") } else { format!("{base}/{path}") }
}

/// The path in the local store, with links followed as far as it exists, so that no link leads out of a root.
fn local_path(location: &str, path: &str) -> Result<Path> {
    if !path.starts_with('/') {
        return Err(Error::invalid_argument(format!("`{location}` is a relative path: an absolute one is needed")));
    }
    let mut plain = PathBuf::from("/");
    for component in FsPath::new(path).components() {
        match component {
            Component::ParentDir => drop(plain.pop()),
            Component::Normal(name) => plain.push(name),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    let existing = plain.ancestors().find_map(|ancestor| Some((ancestor, ancestor.canonicalize().ok()?)));
    let followed = match existing {
        Some((ancestor, real)) => plain.strip_prefix(ancestor).map(|rest| real.join(rest)).unwrap_or(plain.clone()),
        None => plain,
    };
    Path::from_absolute_path(&followed)
        .map_err(|error| Error::invalid_argument(format!("`{location}` is not a path of a file: {error}")))
}

/// The part in front of the first folder with a wildcard, and the rest.
fn split_glob(location: &str) -> (&str, Option<&str>) {
    let Some(wildcard) = location.find(['*', '?', '[']) else { return (location, None) };
    match location[..wildcard].rfind('/') {
        Some(slash) => (&location[..=slash], Some(&location[slash + 1..])),
        None => (location, None),
    }
}

async fn file(place: &Place, location: &str) -> Result<Option<FoundFile>> {
    match place.store.head(&place.path).await {
        Ok(meta) => Ok(Some(FoundFile::of(place, meta))),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(store_error(format_args!("reading {location}"), error)),
    }
}

async fn in_folder(place: &Place, extension: &str) -> Result<Vec<FoundFile>> {
    let is_ours = |file: &FoundFile| {
        let hidden = names_below(place, file).any(|name| name.starts_with(['.', '_']));
        !hidden && file.place.path.extension() == Some(extension)
    };
    Ok(all_below(place).await?.into_iter().filter(is_ours).collect())
}

async fn matching(place: &Place, location: &str, pattern: &str) -> Result<Vec<FoundFile>> {
    let compiled = Pattern::new(pattern)
        .map_err(|error| Error::invalid_argument(format!("`{location}` is not a pattern of files: {error}")))?;
    let options =
        MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
    let matches = |file: &FoundFile| {
        let rest: Vec<String> = names_below(place, file).collect();
        compiled.matches_with(&rest.join("/"), options)
    };
    Ok(all_below(place).await?.into_iter().filter(matches).collect())
}

fn names_below(place: &Place, file: &FoundFile) -> impl Iterator<Item = String> {
    let names: Vec<String> = file.place.path.parts().map(|part| part.as_ref().to_owned()).collect();
    names.into_iter().skip(place.path.parts().count())
}

async fn all_below(place: &Place) -> Result<Vec<FoundFile>> {
    let files = place.store.list(Some(&place.path)).map_ok(|meta| FoundFile::of(place, meta));
    files
        .try_collect()
        .await
        .map_err(|error| store_error(format_args!("listing {}", shown(&place.base, &place.path)), error))
}
