//! The feature repository a command works in: its definitions, and the project that they name.

use std::{fs, path::Path};

use larder_definitions::yaml::{FeatureRepository, definition_files, read_part};
use larder_types::Name;

use crate::{
    arguments::Globals,
    failure::{Failure, Outcome},
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

/// By `larder.yaml`, which is looked at first, or by another file of definitions.
fn project_named_in(path: &Path) -> Outcome<Name> {
    let project_in = |file: &Path| project_of(&fs::read_to_string(file).ok()?);
    if let Some(project) = project_in(&path.join("larder.yaml")) {
        return Ok(project);
    }
    let why = match definition_files(path) {
        Ok(files) => match files.iter().find_map(|file| project_in(file)) {
            Some(project) => return Ok(project),
            None => format!("no definitions in {} name one", path.display()),
        },
        Err(problems) => problems.first().map(ToString::to_string).unwrap_or_default(),
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
        write("larder.yaml", "project: [\n");
        std::os::unix::fs::symlink("nowhere", folder.path().join("other.yaml")).unwrap();
        assert!(project().unwrap_err().contains("which project? "), "{:?}", project());
        assert!(project().unwrap_err().contains("other.yaml is a link that leads nowhere"), "{:?}", project());
    }
}
