//! `larder docs`

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use larder_definitions::{markdown, yaml::found_files};
use serde_json::json;

use super::{
    Context, browse,
    new_file::NewFile,
    overwriting::{is_same_file, refuse_data_folder, refuse_source_file},
};
use crate::{
    console::say,
    exit::Exit,
    failure::{Failure, Outcome},
};

/// Write a catalogue of everything declared, in Markdown
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  larder docs --out FEATURES.md")]
pub(crate) struct Arguments {
    /// The file to write; without it, standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Outcome {
    if let Some(file) = &arguments.out {
        refuse_data_folder(file)?;
        refuse_definitions(context, file)?;
    }
    let catalog = browse::catalog(context).await?;
    if let Some(file) = &arguments.out {
        refuse_source_file(&catalog, file)?;
    }
    let catalogue = markdown::catalogue(&catalog);
    let Some(file) = arguments.out else {
        let document = || json!({ "project": catalog.project, "revision": catalog.revision, "markdown": catalogue });
        context.console.text_or(&catalogue, document)?;
        return Ok(Exit::Ok);
    };
    let name = file.display();
    write(&file, &catalogue).map_err(|error| Failure::io(format_args!("{name} cannot be written"), &error))?;
    if context.console.is_table() {
        say(&format!("{name} is written."));
    }
    let document = || json!({ "project": catalog.project, "revision": catalog.revision, "file": file });
    context.console.text_or("", document)?;
    Ok(Exit::Ok)
}

/// A file that is there is replaced, so that none is written over that it is another name of. A link or a device is written
/// to: it stays what it is.
fn write(path: &Path, catalogue: &str) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok_and(|there| !there.is_file()) {
        return fs::write(path, catalogue);
    }
    let new = NewFile::create(path)?;
    new.file()?.write_all(catalogue.as_bytes())?;
    new.finish()
}

/// Refuses a file that declares, or would be taken for one that does.
fn refuse_definitions(context: &Context, file: &Path) -> Outcome<()> {
    let is_named_like_one = file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    // Whatever else of the repository cannot be looked at.
    let declares = || found_files(&context.globals.repository).0;
    if is_named_like_one || declares().iter().any(|definitions| is_same_file(definitions, file)) {
        let message =
            format!("{} is a file of definitions, by its name or its place: write Markdown to another", file.display());
        return Err(Failure::wrong(message));
    }
    Ok(())
}
