//! Where files may lie: roots that the configuration allows, and nothing else; of what lies there, not what is closed.

mod walk;
mod wanted;

use std::{
    path::{Component, Path as FsPath, PathBuf},
    sync::Arc,
};

use datafusion::execution::{object_store::ObjectStoreUrl, runtime_env::RuntimeEnv};
use futures::{StreamExt, TryStreamExt};
use larder_connections::{Access, Disk, LocalDisk, StoreOptions, decoded, open_store, store_error};
use larder_definitions::run::FileVersion;
use larder_types::{Error, ErrorCode, Result};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, path::Path};

use self::wanted::Wanted;

/// The base of local files.
const LOCAL: &str = "file://";

/// How many files are looked at at once.
const LOOKED_AT: usize = 8;

/// What stands in a URL for characters of a name that would be wildcards, and what stands for them in a pattern.
const NO_WILDCARDS: [(&str, &str); 6] =
    [("%2A", "[*]"), ("%2a", "[*]"), ("%3F", "[?]"), ("%3f", "[?]"), ("%5B", "[[]"), ("%5b", "[[]")];

/// Folders and prefixes of object stores under which files may be read and written.
#[derive(Debug)]
pub struct Roots {
    roots: Vec<Root>,
    /// Local folders that are nobody's to name.
    closed: Vec<Path>,
}

#[derive(Debug)]
struct Root {
    /// `file://`, or scheme and bucket.
    base: String,
    prefix: Path,
    store: Arc<dyn ObjectStore>,
    /// Where writes are durable when they return, and the same prefix there.
    durable: (Arc<dyn ObjectStore>, Path),
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

impl Place {
    /// Whether a local folder is there. Object stores have none.
    pub(crate) fn is_folder(&self) -> bool {
        self.base == LOCAL && FsPath::new(&shown(&self.base, &self.path)).is_dir()
    }
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
        Self::open_on(&(Arc::new(LocalDisk) as _), locations)
    }

    /// The same, whose local files are written to another disk.
    pub fn open_on<'a>(disk: &Arc<dyn Disk>, locations: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let open = |location: &str| {
            let (store, prefix) = open_store(location, &StoreOptions::new(Access::Read))?;
            let add = StoreOptions { disk: Arc::clone(disk), ..StoreOptions::new(Access::Add) };
            Ok(Root { base: base_of(location), prefix, store, durable: open_store(location, &add)? })
        };
        let roots = locations.into_iter().map(open).collect::<Result<_>>()?;
        Ok(Self { roots, closed: Vec::new() })
    }

    /// Closes a local folder: what is in it can be named neither for reading nor for writing, though it lies under a root.
    pub fn closing(mut self, folder: &FsPath) -> Result<Self> {
        let absolute = std::path::absolute(folder).map_err(|error| Error::internal(error.to_string()))?;
        let absolute = absolute.to_string_lossy();
        self.closed.push(local_path(&absolute, &absolute)?);
        Ok(self)
    }

    /// Makes the stores known to an engine under their URLs, so that plans can name them.
    pub fn register(&self, runtime: &RuntimeEnv) -> Result<()> {
        for root in &self.roots {
            let url = store_url(&root.base)?;
            runtime.register_object_store(url.as_ref(), Arc::clone(&root.store));
        }
        Ok(())
    }

    /// The place that a path or URL without wildcards names.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` naming the roots, where it lies under none, or in a closed folder; `INVALID_ARGUMENT` where it is
    /// relative, or a URL with a broken escape.
    pub fn place(&self, location: &str) -> Result<Place> {
        self.find(location).map(|(_, place)| place)
    }

    /// The same where writes are durable when they return.
    pub(crate) fn durable_place(&self, location: &str) -> Result<Place> {
        let (root, place) = self.find(location)?;
        let (store, prefix) = &root.durable;
        let below = place.path.parts().skip(root.prefix.parts().count());
        let path = prefix.parts().chain(below).collect();
        Ok(Place { store: Arc::clone(store), path, ..place })
    }

    fn find(&self, location: &str) -> Result<(&Root, Place)> {
        let (base, path) = match location.split_once("://") {
            Some((scheme, _)) if scheme != "file" => self.remote(location)?,
            Some((_, rest)) => (LOCAL.to_owned(), local_path(location, &decoded(location, rest)?)?),
            None => (LOCAL.to_owned(), local_path(location, location)?),
        };
        let root = self.roots.iter().find(|root| root.base == base && path.prefix_matches(&root.prefix));
        let root = root.ok_or_else(|| self.outside(location, &shown(&base, &path)))?;
        if self.is_closed(&base, &path) {
            let message = format!("`{location}` is in a folder that Larder keeps its own data in: name another place");
            return Err(Error::new(ErrorCode::PermissionDenied, message));
        }
        Ok((root, Place { base, store: Arc::clone(&root.store), path }))
    }

    fn is_closed(&self, base: &str, path: &Path) -> bool {
        base == LOCAL && self.closed.iter().any(|closed| path.prefix_matches(closed))
    }

    /// By a link too.
    fn leads_into_closed(&self, file: &FoundFile) -> bool {
        let (base, path) = (&file.place.base, &file.version.path);
        let is_local = base == LOCAL && !self.closed.is_empty();
        is_local && local_path(path, path).is_ok_and(|real| self.is_closed(base, &real))
    }

    fn remote(&self, location: &str) -> Result<(String, Path)> {
        let base = base_of(location);
        let rest = location[base.len()..].trim_start_matches('/');
        let path = Path::parse(rest.trim_end_matches('/'))
            .map_err(|error| Error::invalid_argument(format!("`{location}` is not a URL of a file: {error}")))?;
        Ok((base, path))
    }

    /// `real` is where the location leads, links followed.
    fn outside(&self, location: &str, real: &str) -> Error {
        let known: Vec<String> = self.roots.iter().map(|root| shown(&root.base, &root.prefix)).collect();
        let known = if known.is_empty() { "none is configured".to_owned() } else { known.join(", ") };
        let which = match named(location) {
            Some(named) if named != real => format!("`{location}` leads by a link to `{real}`, which"),
            Some(_) | None => format!("`{location}`"),
        };
        let message = format!("{which} is under none of the roots that `materializer.roots` allows: {known}");
        Error::new(ErrorCode::PermissionDenied, message)
    }

    /// The files that a file's path, a folder (all below it) or a glob names, by path. Of a folder only those with the
    /// extension, and none whose name, or a folder's on the way, begins with `.` or `_`. Closed folders are passed over.
    ///
    /// # Errors
    /// Those of [`Roots::place`], and `NOT_FOUND` where there is no such file. `FAILED_PRECONDITION` naming what is meant, or
    /// may lead to it, and cannot be reached; nothing else there stops it.
    pub async fn list(&self, location: &str, extension: &str) -> Result<Vec<FoundFile>> {
        let (folder, pattern) = split_glob(location);
        let place = self.place(folder)?;
        let mut files = match pattern {
            Some(pattern) => below(&place, matching(location, pattern)?).await?,
            None => match file(&place, location).await? {
                Some(file) => vec![file],
                None => below(&place, Wanted::with(extension)).await?,
            },
        };
        files.retain(|file| !self.leads_into_closed(file));
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

    /// Whether [`Roots::list`] would give a file at `place`, were there one.
    pub fn lists(&self, location: &str, extension: &str, place: &Place) -> bool {
        let (folder, pattern) = split_glob(location);
        let Ok(folder) = self.place(folder) else { return false };
        if folder.base != place.base || !place.path.prefix_matches(&folder.path) {
            return false;
        }
        match pattern {
            Some(pattern) => {
                matching(location, pattern).is_ok_and(|wanted| wanted.has(&names_below(&folder, &place.path)))
            }
            None => folder.path == place.path || Wanted::with(extension).has(&names_below(&folder, &place.path)),
        }
    }

    /// The folders between what `location` names and a file that [`Roots::list`] found there.
    pub(crate) fn folders_to(&self, location: &str, file: &FoundFile) -> Result<Vec<String>> {
        let mut names = names_below(&self.place(split_glob(location).0)?, &file.place.path);
        names.pop();
        Ok(names)
    }

    /// The file as it was seen.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` naming it, where it is gone or another one now.
    pub async fn reopen(&self, version: &FileVersion) -> Result<FoundFile> {
        let place = self.place(&version.path)?;
        // By the name that it was listed under, which may be a link or lie behind one.
        let path = if place.base == LOCAL { listed_path(&version.path)? } else { place.path };
        let found = FoundFile { place: Place { path, ..place }, version: version.clone() };
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
    let plain = without_dots(path);
    let existing = plain.ancestors().find_map(|ancestor| Some((ancestor, ancestor.canonicalize().ok()?)));
    let followed = match existing {
        Some((ancestor, real)) => plain.strip_prefix(ancestor).map(|rest| real.join(rest)).unwrap_or(plain.clone()),
        None => plain,
    };
    Path::from_absolute_path(&followed)
        .map_err(|error| Error::invalid_argument(format!("`{location}` is not a path of a file: {error}")))
}

/// The path of a local file by the name that a listing gave it.
fn listed_path(path: &str) -> Result<Path> {
    Path::parse(path.trim_start_matches('/'))
        .map_err(|error| Error::invalid_argument(format!("`{path}` is not a path of a file: {error}")))
}

/// A local location as it is written, by its names alone; none: it is no local one.
fn named(location: &str) -> Option<String> {
    let path = match location.strip_prefix(LOCAL) {
        Some(path) => decoded(location, path).ok()?,
        None => location.to_owned(),
    };
    let is_local = path.starts_with('/');
    is_local.then(|| without_dots(&path).to_string_lossy().into_owned())
}

fn without_dots(path: &str) -> PathBuf {
    let mut plain = PathBuf::from("/");
    for component in FsPath::new(path).components() {
        match component {
            Component::ParentDir => drop(plain.pop()),
            Component::Normal(name) => plain.push(name),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    plain
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
    // Whoever reads a pipe waits for somebody who writes.
    let kind = std::fs::metadata(format!("/{}", place.path.as_ref()));
    if place.base == LOCAL && kind.is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        return Err(Error::failed_precondition(format!("`{location}` is no regular file")));
    }
    match place.store.head(&place.path).await {
        Ok(meta) => Ok(Some(FoundFile::of(place, meta))),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(store_error(format_args!("reading `{location}`"), error)),
    }
}

/// What the pattern of a location stands for. A URL has escapes there too.
fn matching(location: &str, pattern: &str) -> Result<Wanted> {
    if !location.starts_with(LOCAL) {
        return Wanted::matching(location, pattern);
    }
    let pattern = NO_WILDCARDS.iter().fold(pattern.to_owned(), |pattern, (escape, name)| pattern.replace(escape, name));
    Wanted::matching(location, &decoded(location, &pattern)?)
}

/// The names of the folders below `folder`, and that of the file.
fn names_below(folder: &Place, file: &Path) -> Vec<String> {
    file.parts().skip(folder.path.parts().count()).map(|part| part.as_ref().to_owned()).collect()
}

/// The files that are wanted of those below a folder.
async fn below(place: &Place, wanted: Wanted) -> Result<Vec<FoundFile>> {
    let location = shown(&place.base, &place.path);
    if place.base != LOCAL {
        let files = place.store.list(Some(&place.path)).map_ok(|meta| FoundFile::of(place, meta));
        let is_ours = |file: &FoundFile| std::future::ready(wanted.has(&names_below(place, &file.place.path)));
        let files = files.try_filter(is_ours).try_collect().await;
        return files.map_err(|error| store_error(format_args!("listing `{location}`"), error));
    }
    let walked = tokio::task::spawn_blocking(move || walk::files(FsPath::new(&location), &wanted)).await;
    let paths = walked.map_err(|error| Error::internal(format!("looking through a folder was cut off: {error}")))??;
    let look = |path: Path| async move {
        let location = shown(LOCAL, &path);
        file(&Place { path, ..place.clone() }, &location).await
    };
    // One that was removed meanwhile is none.
    let files = futures::stream::iter(paths).map(look).buffered(LOOKED_AT);
    files.try_filter_map(|file| std::future::ready(Ok(file))).try_collect().await
}
