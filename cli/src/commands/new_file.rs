//! Files that take their names when they are whole.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use tempfile::{Builder, NamedTempFile};

/// A file that takes its name when it is whole, and is gone where it never becomes so.
///
/// Until then it has a name that nobody else has: of two at once with one name, the last that is whole has it. What had its
/// name before is replaced, not written over: another name that it has by a link keeps it.
pub(super) struct NewFile {
    path: PathBuf,
    partial: NamedTempFile,
}

impl NewFile {
    /// Begins it beside where it will be, with the rights of what is there, else of any new file.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let mut prefix = path.file_name().unwrap_or_default().to_owned();
        prefix.push(".");
        // Made here, since errors of the library's way name the file by the name that it has until it is whole.
        let make = |path: &Path| File::options().read(true).write(true).create_new(true).open(path);
        let partial = Builder::new().prefix(&prefix).suffix(".partial").make_in(folder_of(path), make)?;
        if let Ok(there) = fs::metadata(path) {
            partial.as_file().set_permissions(there.permissions())?;
        }
        Ok(Self { path: path.to_owned(), partial })
    }

    /// The name that it will have.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where to write.
    pub(super) fn file(&self) -> io::Result<File> {
        self.partial.as_file().try_clone()
    }

    /// Gives it its name. What had it before is there until this one outlives the machine.
    pub(super) fn finish(self) -> io::Result<()> {
        self.partial.as_file().sync_all()?;
        self.partial.persist(&self.path)?;
        File::open(folder_of(&self.path))?.sync_all()
    }

    /// Gives it its name, which nothing has before: what has it stays, and is an error.
    pub(super) fn finish_as_first(self) -> io::Result<()> {
        self.partial.as_file().sync_all()?;
        self.partial.persist_noclobber(&self.path)?;
        Ok(())
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_file_without_a_folder_is_in_the_one_where_we_are() {
        for (path, folder) in [("set.parquet", "."), ("sets/set.parquet", "sets"), ("/set.parquet", "/")] {
            assert_eq!(folder_of(Path::new(path)), Path::new(folder));
        }
    }

    #[test]
    fn what_has_another_name_by_a_link_keeps_it() {
        let folder = tempfile::tempdir().unwrap();
        let (kept, path) = (folder.path().join("kept"), folder.path().join("new"));
        fs::write(&kept, "as it was").unwrap();
        fs::hard_link(&kept, &path).unwrap();
        let rights = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        fs::set_permissions(&kept, fs::Permissions::from_mode(0o600)).unwrap();
        let new = NewFile::create(&path).unwrap();
        new.file().unwrap().write_all(b"as it is").unwrap();
        new.finish().unwrap();
        assert_eq!(rights(&path), 0o600);
        assert_eq!((fs::read(kept).unwrap(), fs::read(path).unwrap()), (b"as it was".to_vec(), b"as it is".to_vec()));
    }

    #[test]
    fn what_has_the_name_of_a_first_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new");
        let finish = || NewFile::create(&path).unwrap().finish_as_first();
        finish().unwrap();
        fs::write(&path, "as it was").unwrap();
        assert_eq!(finish().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"as it was");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn no_error_names_what_nobody_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let error = NewFile::create(&folder.path().join("none/new")).err().unwrap();
        assert_eq!(error.to_string(), "No such file or directory (os error 2)");
    }
}
