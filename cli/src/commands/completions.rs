//! `larder completions`

use clap_complete::Shell;

use super::Context;
use crate::{exit::Exit, failure::Outcome, help};

/// Print the completion script of a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  larder completions bash > ~/.local/share/bash-completion/completions/larder")]
pub(crate) struct Arguments {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut help::command(), "larder", &mut script);
    context.console.text(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Ok)
}
