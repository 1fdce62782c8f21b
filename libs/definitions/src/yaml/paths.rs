//! Files of definitions in a folder, and the paths they name.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Component, Path, PathBuf},
};

use crate::Problem;

/// Every `*.yaml` and `*.yml` in `path` and the folders below it, sorted; `path` itself, if it is a file.
///
/// Hidden files and folders are left out. Links are followed, and what can be reached in several ways, or in a circle, is
/// read once. What cannot be looked at is a problem: objects that are overlooked would be taken for removed ones.
pub fn definition_files(path: &Path) -> Result<Vec<PathBuf>, Vec<Problem>> {
    let (files, problems) = found_files(path);
    if problems.is_empty() { Ok(files) } else { Err(problems) }
}

/// The files that were found, and what could not be looked at.
pub fn found_files(path: &Path) -> (Vec<PathBuf>, Vec<Problem>) {
    if path.is_file() {
        return (vec![path.to_owned()], Vec::new());
    }
    let mut walk = Walk::default();
    walk.below(path.to_owned());
    // Later than what lies here itself, so that a link never takes a file's or a folder's place.
    while let Some(link) = walk.links.pop() {
        walk.link(link);
    }
    walk.files.sort();
    (walk.files, walk.problems)
}

/// A folder that is being looked through.
#[derive(Default)]
struct Walk {
    files: Vec<PathBuf>,
    /// Still to be followed.
    links: Vec<PathBuf>,
    /// Files and folders that were found, by their true names.
    seen: BTreeSet<PathBuf>,
    problems: Vec<Problem>,
}

impl Walk {
    fn below(&mut self, folder: PathBuf) {
        let mut folders = vec![folder];
        while let Some(folder) = folders.pop() {
            let entries = self.once(&folder).and_then(|is_new| if is_new { entries(&folder) } else { Ok(Vec::new()) });
            match entries {
                Ok(entries) => folders.extend(entries.into_iter().filter_map(|entry| self.entry(entry))),
                Err(error) => self.unreadable("the folder ", &folder, &error),
            }
        }
        self.links.sort_by(|a, b| b.cmp(a));
    }

    /// A folder to look through, too.
    fn entry(&mut self, (path, kind): (PathBuf, fs::FileType)) -> Option<PathBuf> {
        if kind.is_symlink() {
            self.links.push(path);
        } else if is_yaml(&path) {
            self.file(path, kind);
        } else if kind.is_dir() {
            return Some(path);
        }
        None
    }

    fn link(&mut self, path: PathBuf) {
        match fs::metadata(&path) {
            Ok(to) if is_yaml(&path) => self.file(path, to.file_type()),
            Ok(to) if to.is_dir() => self.below(path),
            Ok(_) => {}
            Err(_) if !may_declare(&path) => {}
            Err(error) => {
                let message = format!("{} is a link that leads nowhere: {error}", path.display());
                self.problems.push(Problem::new("", message));
            }
        }
    }

    fn file(&mut self, path: PathBuf, kind: fs::FileType) {
        if !kind.is_file() {
            let message = format!("{} is named like definitions and is no file", path.display());
            return self.problems.push(Problem::new("", message));
        }
        match self.once(&path) {
            Ok(true) => self.files.push(path),
            Ok(false) => {}
            Err(error) => self.unreadable("", &path, &error),
        }
    }

    /// Whether it is met for the first time.
    fn once(&mut self, path: &Path) -> io::Result<bool> {
        Ok(self.seen.insert(fs::canonicalize(path)?))
    }

    fn unreadable(&mut self, what: &str, path: &Path, error: &io::Error) {
        self.problems.push(Problem::new("", format!("{what}{} cannot be read: {error}", path.display())));
    }
}

/// What lies in a folder and is not hidden.
fn entries(folder: &Path) -> io::Result<Vec<(PathBuf, fs::FileType)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            found.push((entry.path(), entry.file_type()?));
        }
    }
    Ok(found)
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// Whether a link that leads nowhere may have been one to definitions, or to a folder with some, by its name.
fn may_declare(path: &Path) -> bool {
    path.extension().is_none() || is_yaml(path)
}

/// What makes a path stand for all that it matches.
const WILDCARDS: [char; 3] = ['*', '?', '['];

/// Of a path that starts at `base`: the folder whose own name would be taken for a wildcard, and the character.
pub(super) fn wildcard_in_base(base: &Path, path: &str) -> Option<(PathBuf, char)> {
    if Path::new(path).is_absolute() || path.contains("://") {
        return None;
    }
    let mut kept = base.to_owned();
    let mut below = 0_usize;
    for component in Path::new(path).components() {
        match component {
            Component::ParentDir if below == 0 => drop(kept.pop()),
            Component::ParentDir => below -= 1,
            Component::Normal(_) => below += 1,
            Component::CurDir | Component::Prefix(_) | Component::RootDir => {}
        }
    }
    let wildcard = |folder: &Path| folder.file_name()?.to_string_lossy().chars().find(|c| WILDCARDS.contains(c));
    kept.ancestors().find_map(|folder| Some((folder.to_owned(), wildcard(folder)?)))
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
