//! `larder docs`

use std::{fs, path::PathBuf};

use larder_definitions::markdown;
use serde_json::json;

use super::{Context, browse};
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
    let catalog = browse::catalog(context).await?;
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
