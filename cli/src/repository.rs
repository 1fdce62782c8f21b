//! The feature repository a command works in: its definitions, and the project that they name.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use larder_definitions::yaml::{FeatureRepository, first_files, read_part};
use larder_types::Name;

use crate::{
    arguments::Globals,
    failure::{Failure, Outcome},
    render::numbers::grouped,
};

/// The definitions, valid as far as can be told without those that other origins declare.
pub(crate) fn read(globals: &Globals) -> Outcome<FeatureRepository> {
    read_part(&globals.repository).map_err(Failure::Definitions)
}

/// The project asked for, or the one the definitions name. They need not be valid for that.
pub(crate) fn project(globals: &Globals) -> Outcome<Name> {
    match &globals.project {
        Some(project) => Ok(project.clone()),
        None => project_named_in(&globals.repository),
    }
}

/// The most files and folders that are looked at for a project's name: far more than a repository has, and soon done where
/// the command was called in no repository at all.
const MOST_LOOKED_AT: usize = 10_000;

/// By `larder.yaml`, which is looked at first, or by another file of definitions.
fn project_named_in(path: &Path) -> Outcome<Name> {
    let main = path.join("larder.yaml");
    match fs::read_to_string(&main) {
        Ok(text) => {
            if let Some(project) = project_of(&text) {
                return Ok(project);
            }
        }
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
        Err(error) => {
            let why = format!("which project? {} cannot be read", main.display());
            return Err(Failure::io(why, &error));
        }
    }
    let project_in = |file: &PathBuf| project_of(&fs::read_to_string(file).ok()?);
    let found = first_files(path, MOST_LOOKED_AT);
    let why = match found.problems.first() {
        None => match found.files.iter().find_map(project_in) {
            Some(project) => return Ok(project),
            None if found.is_all => format!("no definitions in {} name one", path.display()),
            None => {
                let most = grouped(MOST_LOOKED_AT as u64);
                format!("none of the first {most} files and folders in {} names one", path.display())
            }
        },
        Some(problem) => problem.to_string(),
    };
    Err(Failure::wrong(format!(
        "which project? {why}: go to a feature repository, or say --project NAME (`larder list projects` shows those there \
         are)"
    )))
}

/// The value of the line `project: name`.
fn project_of(text: &str) -> Option<Name> {
    let value = text.lines().find_map(|line| line.strip_prefix("project:"))?;
    let value = value.split(" #").next().unwrap_or(value).trim().trim_matches(['"', '\'']);
    Name::new(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_is_found_without_reading_the_rest() {
        let cases = [
            ("project: payments\n", Some("payments")),
            ("# which\nproject:   \"payments\"   # ours\nentities: [", Some("payments")),
            ("  project: nested\n", None),
            ("project: not-a-name\n", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(project_of(text).as_ref().map(Name::as_str), expected, "{text}");
        }
    }

    #[test]
    fn the_project_is_named_by_any_file_that_declares() {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let file = folder.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        let project = || project_named_in(folder.path()).map_err(|error| error.to_string());
        write(".hidden.yaml", "project: hidden\n");
        write("notes.txt", "project: notes\n");
        assert!(project().unwrap_err().contains(" name one: go to a feature repository, or say --project NAME"));
        write("features/views/cart.yml", "feature_views: []\nproject: nested\n");
        assert_eq!(project().unwrap(), "nested");
        assert_eq!(project_named_in(&folder.path().join("features/views/cart.yml")).unwrap(), "nested");
        write("larder.yaml", "project: first\n");
        assert_eq!(project().unwrap(), "first");
        fs::write(folder.path().join("larder.yaml"), b"project: \xff\n").unwrap();
        assert!(project().unwrap_err().contains("larder.yaml cannot be read: "), "{:?}", project());
        write("larder.yaml", "project: [\n");
        std::os::unix::fs::symlink("nowhere", folder.path().join("other.yaml")).unwrap();
        assert!(project().unwrap_err().contains("which project? "), "{:?}", project());
        assert!(project().unwrap_err().contains("other.yaml is a link that leads nowhere"), "{:?}", project());
    }
}
