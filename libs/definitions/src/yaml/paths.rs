//! Files of definitions in a folder, and the paths they name.

use std::{
    collections::{BTreeSet, VecDeque},
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
    let found = first_files(path, usize::MAX);
    (found.files, found.problems)
}

/// Files of definitions, as far as they were looked for.
#[derive(Debug)]
pub struct FoundFiles {
    /// Sorted.
    pub files: Vec<PathBuf>,
    /// What could not be looked at.
    pub problems: Vec<Problem>,
    /// Whether all was looked at.
    pub is_all: bool,
}

/// As [`found_files`], among so many files and folders at most, the nearest first.
pub fn first_files(path: &Path, most: usize) -> FoundFiles {
    if path.is_file() {
        return FoundFiles { files: vec![path.to_owned()], problems: Vec::new(), is_all: true };
    }
    let mut walk = Walk { room: most, ..Walk::default() };
    walk.below(path.to_owned());
    // Later than what lies here itself, so that a link never takes a file's or a folder's place.
    while let Some(link) = walk.links.pop() {
        walk.link(link);
    }
    walk.files.sort();
    FoundFiles { files: walk.files, problems: walk.problems, is_all: !walk.is_cut }
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
    /// How many files and folders may still be looked at.
    room: usize,
    /// Whether there were more.
    is_cut: bool,
}

impl Walk {
    fn below(&mut self, folder: PathBuf) {
        let mut folders = VecDeque::from([folder]);
        while let Some(folder) = folders.pop_front() {
            let room = self.room;
            let entries =
                self.once(&folder).and_then(|is_new| if is_new { entries(&folder, room) } else { Ok(Vec::new()) });
            match entries {
                Ok(entries) => {
                    self.is_cut |= entries.len() > room;
                    self.room = room.saturating_sub(entries.len());
                    folders.extend(entries.into_iter().take(room).filter_map(|entry| self.entry(entry)));
                }
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

/// What lies in a folder and is not hidden; no more than one beyond so many.
fn entries(folder: &Path, most: usize) -> io::Result<Vec<(PathBuf, fs::FileType)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)?.take(most.saturating_add(1)) {
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
