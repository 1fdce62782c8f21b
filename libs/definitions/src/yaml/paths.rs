//! Files of definitions in a folder, and the paths they name.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

/// Every `*.yaml` and `*.yml` in `path` and the folders below it, sorted; `path` itself, if it is a file.
///
/// Hidden folders are left out, links to folders are not followed.
pub(super) fn definition_files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
            let path = entry.path();
            if is_hidden {
                continue;
            }
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
                && path.is_file()
            {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// A path as it is sent: relative ones start at `base`, the folder of the file that names them. URLs are left alone; a
/// trailing slash and glob characters stay.
pub(super) fn absolute(base: &Path, path: &str) -> String {
    if path.is_empty() || path.contains("://") {
        return path.to_owned();
    }
    let mut joined = PathBuf::new();
    for component in base.join(path).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(joined.pop()),
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => joined.push(component),
        }
    }
    let mut text = joined.to_string_lossy().into_owned();
    if path.ends_with('/') && !text.ends_with('/') {
        text.push('/');
    }
    text
}

/// The absolute folder of a file.
pub(super) fn folder_of(file: &Path) -> PathBuf {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::canonicalize(folder).or_else(|_| std::path::absolute(folder)).unwrap_or_else(|_| folder.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_start_at_the_file_and_urls_are_left_alone() {
        let base = Path::new("/repo/features");
        for (path, expected) in [
            ("data/customers/", "/repo/features/data/customers/"),
            ("./data/*.parquet", "/repo/features/data/*.parquet"),
            ("../data/a.parquet", "/repo/data/a.parquet"),
            ("/data/", "/data/"),
            ("s3://bucket/prefix/", "s3://bucket/prefix/"),
            ("file:///data/x", "file:///data/x"),
            ("", ""),
        ] {
            assert_eq!(absolute(base, path), expected, "{path}");
        }
    }
}
