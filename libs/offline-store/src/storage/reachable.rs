//! Whether all that lies below a local folder can be reached. Listing passes over links that lead nowhere (a disk that is not
//! mounted, say) and over folders that may not be entered: rows behind them would be missed without a word.

use std::{fs, io, path::Path};

use larder_types::{Error, Result};

/// FAILED_PRECONDITION naming the first thing below `folder` that cannot be reached. What is hidden is nobody's.
///
/// To be called where listing the folder went well, so links make no circle.
pub(super) fn check(folder: &Path) -> Result<()> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        // A folder whose names can be read may yet not be entered.
        match fs::metadata(folder.join(".")) {
            Ok(_) => {}
            // It was removed since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(unreachable(&folder, "cannot be entered", &error)),
        }
        for entry in fs::read_dir(&folder).map_err(|error| unreachable(&folder, "cannot be read", &error))? {
            let entry = entry.map_err(|error| unreachable(&folder, "cannot be read", &error))?;
            if entry.file_name().to_string_lossy().starts_with(['.', '_']) {
                continue;
            }
            let (path, kind) = (entry.path(), entry.file_type());
            let kind = kind.map_err(|error| unreachable(&path, "cannot be looked at", &error))?;
            if kind.is_symlink() {
                match fs::metadata(&path) {
                    Ok(there) if there.is_dir() => folders.push(path),
                    Ok(_) => {}
                    Err(_) if fs::symlink_metadata(&path).is_err() => {}
                    Err(error) => return Err(unreachable(&path, "is a link that leads nowhere", &error)),
                }
            } else if kind.is_dir() {
                folders.push(path);
            }
        }
    }
    Ok(())
}

fn unreachable(path: &Path, how: &str, error: &io::Error) -> Error {
    Error::failed_precondition(format!("`{}` {how}: {error}", path.display()))
}
