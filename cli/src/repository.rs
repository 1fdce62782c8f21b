//! The feature repository a command works in: its definitions, and the project that they name.

use std::{
    fs,
    path::{Path, PathBuf},
};

use larder_definitions::yaml::{FeatureRepository, read_part};
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
    if let Some(project) = &globals.project {
        return Ok(project.clone());
    }
    let folder = &globals.repository;
    definition_files(folder).iter().find_map(|file| project_of(&fs::read_to_string(file).ok()?)).ok_or_else(|| {
        Failure::wrong(format!(
            "which project? no definitions in {} name one: go to a feature repository, or say --project NAME \
             (`larder list projects` shows those there are)",
            folder.display()
        ))
    })
}

/// `larder.yaml` first, then the others of the folder by name.
fn definition_files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_yaml = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    let mut files: Vec<PathBuf> = entries.filter(is_yaml).collect();
    files.sort_by_key(|file| (file.file_name().is_none_or(|name| name != "larder.yaml"), file.clone()));
    files
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
}
