//! `larder docs`

use std::{fs, path::PathBuf};

use larder_definitions::markdown;

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
    let catalogue = markdown::catalogue(&*browse::catalog(context).await?);
    match arguments.out {
        None => context.console.text(&catalogue)?,
        Some(file) => {
            let name = file.display();
            fs::write(&file, catalogue)
                .map_err(|error| Failure::io(format_args!("{name} cannot be written"), &error))?;
            say(&format!("{name} is written."));
        }
    }
    Ok(Exit::Ok)
}
