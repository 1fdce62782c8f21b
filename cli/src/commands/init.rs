//! `larder init`: a small repository that works as it is.

use std::{
    fs,
    io::{self, Write},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use arrow::array::{Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use larder_definitions::yaml::json_schema;
use larder_types::{Clock, Error, Name, SystemClock, Timestamp};
use parquet::arrow::ArrowWriter;
use serde_json::json;

use super::{Context, new_file::NewFile};
use crate::{
    arguments::Globals,
    console::say,
    exit::Exit,
    failure::{Failure, Outcome},
};

/// Make a small feature repository to start from
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  larder init shop && cd shop && larder validate\n\n\
    The project is called like the folder, unless --project says otherwise. Nothing that is there is overwritten.")]
pub(crate) struct Arguments {
    /// The folder; made where there is none
    #[arg(default_value = ".")]
    folder: PathBuf,
}

/// What the names begin with that nobody can declare.
const RESERVED: &str = "__";

const DEFINITIONS: &str = include_str!("init/larder.yaml");
const README: &str = include_str!("init/README.md");
const IGNORED: &str = ".larder/\ntraining.parquet\n";

/// (customer, days ago, orders, spent)
const PURCHASES: [(&str, u32, Option<i64>, f64); 8] = [
    ("C1", 60, Some(1), 20.0),
    ("C1", 30, Some(3), 149.7),
    ("C1", 1, Some(4), 180.2),
    ("C2", 45, Some(2), 58.0),
    ("C2", 2, None, 0.0),
    ("C3", 20, Some(7), 912.35),
    ("C4", 400, Some(5), 75.5),
    ("C5", 3, Some(0), 0.0),
];

/// (customer, days ago, discount, bought)
const SPINE: [(&str, u32, &str, u8); 5] =
    [("C1", 40, "0.1", 0), ("C1", 0, "0.2", 1), ("C2", 10, "0.1", 1), ("C3", 30, "0.0", 0), ("C9", 5, "0.3", 0)];

pub(crate) fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let folder = &arguments.folder;
    if folder.is_file() {
        return Err(Failure::wrong(format!("{} is a file, not a folder", folder.display())));
    }
    refuse_wildcards(folder)?;
    let project = project(&context.globals, folder)?;
    let now = SystemClock.now();
    let named = |template: &str| template.replace("PROJECT", project.as_str()).into_bytes();
    let files: [(&str, Vec<u8>); 6] = [
        ("larder.yaml", named(DEFINITIONS)),
        // What the first lines of larder.yaml tell editors to look at.
        ("larder.schema.json", format!("{:#}\n", json_schema()).into_bytes()),
        ("README.md", named(README)),
        (".gitignore", IGNORED.into()),
        ("data/purchases.parquet", purchases(now)?),
        ("data/spine.csv", spine(now).into_bytes()),
    ];
    refuse_existing(folder, files.iter().map(|(name, _)| *name))?;
    write_whole(folder, &files)?;
    if context.console.is_table() {
        let place = if folder == Path::new(".") { "this folder".to_owned() } else { folder.display().to_string() };
        say(&format!("Project {project} is in {place}: README.md has the next commands; the first is `larder up`."));
    }
    let names = files.map(|(name, _)| name);
    context.console.text_or("", || json!({ "project": project, "folder": folder, "files": names }))?;
    Ok(Exit::Ok)
}

/// As asked for, or like the folder.
fn project(globals: &Globals, folder: &Path) -> Outcome<Name> {
    if let Some(project) = &globals.project {
        let is_own = project.as_str().starts_with(RESERVED);
        let message =
            || format!("project `{project}`: names that start with two underscores are kept for Larder itself");
        return if is_own { Err(Failure::wrong(message())) } else { Ok(project.clone()) };
    }
    let absolute = std::path::absolute(folder).map_err(|error| Failure::io(folder.display(), &error))?;
    let text = absolute.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let text = text.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    let no_name = || Failure::wrong(format!("{} gives the project no name: say --project NAME", folder.display()));
    let is_meant = text.contains(|c: char| c.is_ascii_alphanumeric()) && !text.starts_with(RESERVED);
    Name::new(&text).ok().filter(|_| is_meant).ok_or_else(no_name)
}

/// Below such a folder no relative path of a source can be read.
fn refuse_wildcards(folder: &Path) -> Outcome<()> {
    let absolute = std::path::absolute(folder).map_err(|error| Failure::io(folder.display(), &error))?;
    let absolute = without_detours(&absolute);
    let wildcard = absolute.to_string_lossy().chars().find(|c| ['*', '?', '['].contains(c));
    wildcard.map_or(Ok(()), |wildcard| {
        let message = format!(
            "{} has `{wildcard}` in its path, which would be a wildcard in the paths of sources: choose another folder",
            absolute.display()
        );
        Err(Failure::wrong(message))
    })
}

/// Without `..`, by which a folder is left again.
fn without_detours(path: &Path) -> PathBuf {
    let mut straight = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => _ = straight.pop(),
            Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::Normal(_) => straight.push(part),
        }
    }
    straight
}

/// Before anything is written, so that nothing is half done.
fn refuse_existing<'a>(folder: &Path, names: impl Iterator<Item = &'a str>) -> Outcome<()> {
    let existing: Vec<&str> = names.filter(|name| folder.join(name).exists()).collect();
    if existing.is_empty() {
        return Ok(());
    }
    let message = format!("{} has {} already: nothing was written", folder.display(), existing.join(", "));
    Err(Failure::Error(Error::already_exists(message)))
}

/// Writes all of them, or leaves everything as it was. None has its name before all are whole.
fn write_whole(folder: &Path, files: &[(&str, Vec<u8>)]) -> Outcome<()> {
    let (mut made, mut whole) = (Made::default(), Vec::new());
    for (name, content) in files {
        let path = folder.join(name);
        let new = made.new_file(&path, content).map_err(|error| unwritten(&path, &error))?;
        whole.push((path, new));
    }
    for (path, new) in whole {
        new.finish_as_first().map_err(|error| unwritten(&path, &error))?;
        made.files.push(path);
    }
    made.keep();
    Ok(())
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    Failure::io(format_args!("{} cannot be written", path.display()), error)
}

/// Folders and files that were not there before: removed again unless they are kept.
#[derive(Default)]
struct Made {
    folders: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

impl Made {
    /// A file that has its name later, in a folder that is made where there is none.
    fn new_file(&mut self, path: &Path, content: &[u8]) -> io::Result<NewFile> {
        self.make_folder(path.parent().unwrap_or(Path::new("")))?;
        let new = NewFile::create(path)?;
        new.file()?.write_all(content)?;
        Ok(new)
    }

    fn make_folder(&mut self, folder: &Path) -> io::Result<()> {
        let is_there = |folder: &Path| folder.as_os_str().is_empty() || folder.is_dir();
        let missing: Vec<&Path> = folder.ancestors().take_while(|folder| !is_there(folder)).collect();
        for folder in missing.into_iter().rev() {
            match fs::create_dir(folder) {
                // Another name of one that was made, or somebody else's.
                Err(_) if folder.is_dir() => {}
                made => {
                    made?;
                    self.folders.push(folder.to_owned());
                }
            }
        }
        Ok(())
    }

    fn keep(mut self) {
        self.folders.clear();
        self.files.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for file in &self.files {
            let _ = fs::remove_file(file);
        }
        // The innermost first; one that somebody else has put something in stays.
        for folder in self.folders.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}

fn days_before(now: Timestamp, days: u32) -> Timestamp {
    now.minus(std::time::Duration::from_secs(86_400 * u64::from(days)))
}

fn purchases(now: Timestamp) -> Outcome<Vec<u8>> {
    let written = || -> Result<Vec<u8>, parquet::errors::ParquetError> {
        let customers: StringArray = PURCHASES.iter().map(|(customer, ..)| Some(*customer)).collect();
        let times = PURCHASES.iter().map(|(_, days, ..)| days_before(now, *days).as_micros());
        let times: TimestampMicrosecondArray = times.collect::<Vec<i64>>().into();
        let orders: Int64Array = PURCHASES.iter().map(|(_, _, orders, _)| *orders).collect();
        let spent: Float64Array = PURCHASES.iter().map(|(.., spent)| Some(*spent)).collect();
        let batch = RecordBatch::try_from_iter([
            ("customer_id", Arc::new(customers) as _),
            ("event_timestamp", Arc::new(times.with_timezone("UTC")) as _),
            ("orders_30d", Arc::new(orders) as _),
            ("spent_30d", Arc::new(spent) as _),
        ])?;
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None)?;
        writer.write(&batch)?;
        writer.into_inner()
    };
    written().map_err(|error| Failure::Error(Error::internal(format!("the example's data cannot be made: {error}"))))
}

fn spine(now: Timestamp) -> String {
    let line = |(customer, days, discount, bought): &(&str, u32, &str, u8)| {
        format!("{customer},{},{discount},{bought}\n", days_before(now, *days))
    };
    let lines: String = SPINE.iter().map(line).collect();
    format!("customer_id,event_timestamp,discount,bought\n{lines}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_left_again_is_not_on_the_way() {
        for (path, straight) in [("/a*/../b", "/b"), ("/a/./b/../../c", "/c"), ("/../a", "/a"), ("/a/b", "/a/b")] {
            assert_eq!(without_detours(Path::new(path)), Path::new(straight));
        }
    }
}
