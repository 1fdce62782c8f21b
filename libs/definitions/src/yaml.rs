//! The definition language: YAML in one file or in many of a folder, read with every problem told at once.
//!
//! A file is parsed to a tree whose values know their places ([`node`]), the tree is read into the types of the language
//! ([`language`], of which the JSON Schema is made), and those become objects ([`convert`]), which are then validated.

mod convert;
mod language;
mod node;
mod paths;
mod places;
mod reader;
mod text;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
};

use larder_types::{Error, Name};

pub use self::paths::{FoundFiles, definition_files, first_files, found_files};
use self::{
    convert::IntoObject,
    language::FileText,
    node::{Node, Value},
    places::{MOST_DECLARATIONS, Places, place_of},
    reader::{FromNode, Reader, join},
    text::NameText,
};
use crate::{
    Location, Object, ObjectId, ObjectKind, Problem,
    validate::{self, Broken, References, object_of},
};

/// Stands for a name that could not be read; users cannot declare names that start like it.
pub(crate) const UNREAD: &str = "__unread";

/// What a folder of definitions declares. Valid by itself, or beside the objects it was read with.
#[derive(Debug, Clone)]
pub struct FeatureRepository {
    /// The project.
    pub project: Name,
    /// In the order of kinds, by name, each with the place it starts at.
    pub objects: Vec<(Object, Location)>,
    places: Places,
}

impl FeatureRepository {
    /// The objects alone, as a change set puts them.
    pub fn into_objects(self) -> Vec<Object> {
        self.objects.into_iter().map(|(object, _)| object).collect()
    }

    /// Where the field stands: itself, or the nearest that it is within.
    pub fn locate(&self, path: &str) -> Option<&Location> {
        self.places.locate(path)
    }

    /// The violations of an error, e.g. of Apply, with their places in these files.
    pub fn problems_of(&self, error: &Error) -> Vec<Problem> {
        let problem = |violation: &larder_types::Violation| Problem {
            location: self.locate(&violation.field).cloned(),
            path: violation.field.clone(),
            message: violation.description.clone(),
        };
        error.violations().iter().map(problem).collect()
    }
}

/// Reads a file, or every `*.yaml` and `*.yml` in a folder and those below it, and validates what they declare together.
/// Links are followed.
///
/// Relative paths of Parquet sources start at the file that names them and become absolute.
pub fn read_folder(path: &Path) -> Result<FeatureRepository, Vec<Problem>> {
    read_files(path, References::Here)
}

/// As [`read_folder`], for a part of a project: what its files refer to and do not declare may be declared elsewhere, by
/// other origins. Whoever knows the whole project checks that.
pub fn read_part(path: &Path) -> Result<FeatureRepository, Vec<Problem>> {
    read_files(path, References::Anywhere)
}

fn read_files(path: &Path, references: References) -> Result<FeatureRepository, Vec<Problem>> {
    let unreadable = |path: &Path, error: std::io::Error| {
        vec![Problem::new("", format!("{} cannot be read: {error}", path.display()))]
    };
    let (files, problems) = found_files(path);
    if files.is_empty() && problems.is_empty() {
        return Err(vec![Problem::new("", format!("no definitions (*.yaml, *.yml) are in {}", path.display()))]);
    }
    let mut reading = Reading { problems, ..Reading::default() };
    for file in &files {
        let shown = file.strip_prefix("./").unwrap_or(file).display().to_string();
        match fs::read(file) {
            Ok(bytes) => reading.read_bytes(&shown, &paths::folder_of(file), &bytes),
            Err(error) => reading.problems.extend(unreadable(file, error)),
        }
    }
    reading.finish(references)
}

/// As [`read_folder`] for a single text; `file` is what its problems call it, relative paths start at `base`.
pub fn read_text(file: &str, base: &Path, text: &str) -> Result<FeatureRepository, Vec<Problem>> {
    let mut reading = Reading::default();
    reading.read(file, base, text);
    reading.finish(References::Here)
}

/// The JSON Schema of a definition file, for editors.
pub fn json_schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(FileText);
    schema.insert("title".to_owned(), "Larder definitions".into());
    schema.to_value()
}

/// Keys of the configuration of `larder up`, none of which is a field of a definition file.
const SETTINGS: [&str; 7] = ["data", "online_cache", "telemetry", "registry", "serving", "push_ingest", "materializer"];

fn is_configuration(document: &Node) -> bool {
    let Value::Map(entries) = &document.value else { return false };
    !entries.is_empty() && entries.iter().all(|(key, _)| SETTINGS.contains(&key.text.as_str()))
}

/// The most problems that are told at once.
const MOST_PROBLEMS: usize = 100;

/// The first of them, and how many more there are.
fn first_of(mut problems: Vec<Problem>) -> Vec<Problem> {
    let more = problems.len().saturating_sub(MOST_PROBLEMS);
    if more > 0 {
        problems.truncate(MOST_PROBLEMS);
        problems.push(Problem::new("", format!("and {more} more")));
    }
    problems
}

/// The most files that a message names.
const MOST_FILES: usize = 5;

fn no_project(files: &[String]) -> String {
    match files {
        [file] => format!("{file} does not say which project it declares: write `project: <name>` in it"),
        files => {
            let more = files.len().saturating_sub(MOST_FILES);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let named = files.iter().take(MOST_FILES).map(String::as_str).collect::<Vec<_>>().join(", ");
            format!("none of {named}{more} says which project is declared: write `project: <name>` in one of them")
        }
    }
}

/// Files read so far.
#[derive(Default)]
struct Reading {
    project: Option<(Name, Location)>,
    /// As messages call them.
    files: Vec<String>,
    /// The first declaration of each object, then the second ones, and so on.
    declarations: Vec<BTreeMap<ObjectId, Object>>,
    places: Places,
    /// What could not be read.
    problems: Vec<Problem>,
    /// Of what is declared twice.
    twice: Vec<Problem>,
}

impl Reading {
    fn read_bytes(&mut self, file: &str, base: &Path, bytes: &[u8]) {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.read(file, base, text),
            Err(error) => {
                let before = &bytes[..error.valid_up_to()];
                let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
                let line = u32::try_from(line).unwrap_or(u32::MAX);
                let location = Location { file: file.into(), line, column: 1 };
                self.problems.push(Problem::at(location, "", "is not UTF-8 text"));
            }
        }
    }

    fn read(&mut self, file: &str, base: &Path, text: &str) {
        let file: Arc<str> = file.into();
        self.files.push(file.to_string());
        let mut reader = Reader::new(file.clone());
        match node::parse(text) {
            Ok(documents) => {
                for document in &documents {
                    self.document(document, base, &mut reader);
                }
            }
            Err(error) => reader.problem(error.place, format!("is not YAML: {}", error.message)),
        }
        self.problems.append(&mut reader.problems);
    }

    fn document(&mut self, document: &Node, base: &Path, reader: &mut Reader) {
        if matches!(document.value, Value::Null) {
            return;
        }
        if is_configuration(document) {
            let message =
                "these are settings of `larder up` and no definitions: keep them outside of the feature repository";
            return reader.problem(document.place, message);
        }
        self.twice.extend(self.places.remember(document, reader));
        let Some(file) = FileText::from_node(document, reader) else { return };
        let FileText { project, entities, sources, feature_views, on_demand_feature_views, feature_services } = file;
        if let Some(NameText(project)) = project {
            self.project(project, reader.location(place_of(document, "project")));
        }
        self.section(ObjectKind::Entity, entities, base);
        self.section(ObjectKind::Source, sources, base);
        self.section(ObjectKind::FeatureView, feature_views, base);
        self.section(ObjectKind::OnDemandFeatureView, on_demand_feature_views, base);
        self.section(ObjectKind::FeatureService, feature_services, base);
    }

    /// Files agree on the project.
    fn project(&mut self, project: Name, location: Location) {
        if project.as_str().starts_with("__") {
            let message = validate::kept_for_larder(&project);
            self.problems.push(Problem::at(location.clone(), "project", message));
        }
        match &self.project {
            Some((first, at)) if *first != project => {
                let message = format!("this says project `{project}`, {at} says `{first}`: a folder has one project");
                self.problems.push(Problem::at(location, "project", message));
            }
            Some(_) => {}
            None => self.project = Some((project, location)),
        }
    }

    fn section<T: IntoObject>(&mut self, kind: ObjectKind, items: Option<Vec<T>>, base: &Path) {
        for item in items.unwrap_or_default() {
            let mut told = Vec::new();
            let object = item.into_object(base, &mut |field, message| told.push((field.to_owned(), message)));
            let path = object.as_ref().map_or_else(|| kind.section().to_owned(), |object| object.id().path());
            let declaration = object.map_or(0, |object| self.keep(object));
            for (field, message) in told {
                let path = if field.is_empty() { path.clone() } else { join(&path, &field) };
                let location = self.places.locate_in(declaration, &path).cloned();
                self.problems.push(Problem { location, path, message });
            }
        }
    }

    /// Which declaration of the object it is, from 0. Of an endless number of them, the last are passed over.
    fn keep(&mut self, object: Object) -> usize {
        let id = object.id();
        let declaration = self.declarations.iter().take_while(|objects| objects.contains_key(&id)).count();
        if declaration == self.declarations.len() && declaration < MOST_DECLARATIONS {
            self.declarations.push(BTreeMap::new());
        }
        if let Some(objects) = self.declarations.get_mut(declaration) {
            objects.insert(id, object);
        }
        declaration
    }

    /// The repository, or everything that is wrong with it, by place.
    fn finish(mut self, references: References) -> Result<FeatureRepository, Vec<Problem>> {
        if self.project.is_none() && self.problems.is_empty() {
            self.problems.push(Problem::new("", no_project(&self.files)));
        }
        let found = self.validated(references);
        self.problems.extend(found);
        self.problems.append(&mut self.twice);
        let objects = self.declarations.into_iter().next().unwrap_or_default();
        match self.project {
            Some((project, _)) if self.problems.is_empty() => {
                let place = |object: Object| {
                    let location = self.places.locate(&object.id().path())?.clone();
                    Some((object, location))
                };
                let objects = objects.into_values().filter_map(place).collect();
                Ok(FeatureRepository { project, objects, places: self.places })
            }
            Some(_) | None => {
                self.problems.sort();
                self.problems.dedup();
                Err(first_of(self.problems))
            }
        }
    }

    /// What validation finds. Every declaration of an object is validated, beside those of the others that came as often
    /// before, or their first ones. What refers to an object that is declared twice is not told which of them it lacks.
    fn validated(&self, references: References) -> Vec<Problem> {
        let Some((first, others)) = self.declarations.split_first() else { return Vec::new() };
        let twice: BTreeSet<&ObjectId> = others.iter().flat_map(BTreeMap::keys).collect();
        let told = self.problems.iter().map(|problem| problem.path.as_str());
        let broken = Broken::of(told).and_twice(twice.iter().copied().cloned());
        let mut found = validate::check(first.values(), std::iter::empty(), &broken, references);
        found.retain(|problem| object_of(&problem.path).is_none_or(|(id, _)| !twice.contains(&id)));
        let mut found: Vec<Problem> = found.into_iter().map(|problem| self.located(0, problem)).collect();
        if twice.is_empty() {
            return found;
        }
        for (declaration, objects) in self.declarations.iter().enumerate() {
            let mut beside = first.clone();
            beside.extend(objects.clone());
            let broken = Broken::of(self.unread_in(declaration, objects));
            let again = validate::check(beside.values(), std::iter::empty(), &broken, references).into_iter();
            let again = again.filter(|problem| {
                object_of(&problem.path).is_some_and(|(id, _)| twice.contains(&id) && objects.contains_key(&id))
            });
            found.extend(again.map(|problem| self.located(declaration, problem)));
        }
        found
    }

    /// The paths of what could not be read of these objects in that declaration, and of the others in their first one.
    fn unread_in(&self, declaration: usize, objects: &BTreeMap<ObjectId, Object>) -> impl Iterator<Item = &str> {
        let is_of = move |problem: &&Problem| {
            let Some((id, _)) = object_of(&problem.path) else { return false };
            let expected = if objects.contains_key(&id) { declaration } else { 0 };
            self.places.declaration_of(problem, &id.path()) == expected
        };
        self.problems.iter().filter(is_of).map(|problem| problem.path.as_str())
    }

    fn located(&self, declaration: usize, problem: Problem) -> Problem {
        Problem { location: self.places.locate_in(declaration, &problem.path).cloned(), ..problem }
    }
}
