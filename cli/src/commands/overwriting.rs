//! What a command that writes a file here must not write over.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use larder_definitions::{Catalog, SourceKind};
use larder_offline_store::storage::{Place, Roots};
use larder_standalone::stores::data_folder_around;

use crate::failure::{Failure, Outcome};

/// Whether both names are of one file, by links too.
pub(super) fn is_same_file(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    identity(one).is_some_and(|found| identity(other) == Some(found))
}

/// Refuses a file among Larder's own, also one that is not there yet.
pub(super) fn refuse_data_folder(out: &Path) -> Outcome<()> {
    let Some(folder) = data_folder_around(out) else { return Ok(()) };
    let (out, folder) = (out.display(), folder.display());
    Err(Failure::wrong(format!("{out} is in {folder}, where Larder keeps its data: name a place outside of it")))
}

/// Refuses a file that a Parquet source of the project reads, or would read, if its path means the same here.
pub(super) fn refuse_source_file(catalog: &Catalog, out: &Path) -> Outcome<()> {
    let (here, places) = places(out).map_err(|error| Failure::Error(error.context(out.display())))?;
    for source in catalog.sources.values() {
        let SourceKind::Parquet(parquet) = &source.definition.kind else { continue };
        if places.iter().any(|place| here.lists(&parquet.path, "parquet", place)) {
            let (out, name, path) = (out.display(), &source.definition.name, &parquet.path);
            let message = format!("{out} is among the files of source `{name}` (`{path}`): name another place");
            return Err(Failure::wrong(message));
        }
    }
    Ok(())
}

/// All of this machine, and where in it a file is: by its own name, and where that leads if it is a link.
fn places(file: &Path) -> larder_types::Result<(Roots, Vec<Place>)> {
    let here = Roots::open(["/"])?;
    let absolute =
        std::path::absolute(file).map_err(|error| larder_types::Error::invalid_argument(error.to_string()))?;
    let mut places = vec![here.place(&absolute.to_string_lossy())?];
    if let (Some(folder), Some(name)) = (absolute.parent(), absolute.file_name()) {
        let mut place = here.place(&folder.to_string_lossy())?;
        place.path = place.path.join(name.to_string_lossy().as_ref());
        places.push(place);
    }
    Ok((here, places))
}
