//! `larder completions`

use clap_complete::Shell;
use serde_json::json;

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
    let script = String::from_utf8_lossy(&script);
    context.console.text_or(&script, || json!({ "shell": arguments.shell.to_string(), "script": script }))?;
    Ok(Exit::Ok)
}
