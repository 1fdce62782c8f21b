//! `larder docs`

use std::{
    fs,
    path::{Path, PathBuf},
};

use larder_definitions::{markdown, yaml::definition_files};
use serde_json::json;

use super::{
    Context, browse,
    overwriting::{is_same_file, refuse_source_file},
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
    fs::write(&file, &catalogue).map_err(|error| Failure::io(format_args!("{name} cannot be written"), &error))?;
    if context.console.is_table() {
        say(&format!("{name} is written."));
    }
    let document = || json!({ "project": catalog.project, "revision": catalog.revision, "file": file });
    context.console.text_or("", document)?;
    Ok(Exit::Ok)
}

/// Refuses a file that declares, or would be taken for one that does.
fn refuse_definitions(context: &Context, file: &Path) -> Outcome<()> {
    let is_named_like_one = file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    let declares = || definition_files(&context.globals.repository).unwrap_or_default();
    if is_named_like_one || declares().iter().any(|definitions| is_same_file(definitions, file)) {
        let message =
            format!("{} is a file of definitions, by its name or its place: write Markdown to another", file.display());
        return Err(Failure::wrong(message));
    }
    Ok(())
}
