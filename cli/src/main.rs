//! The `larder` command: the platform at the hands of a person or a script.
//!
//! [`arguments`] says what can be asked, [`commands`] has a file for each group of commands, [`services`] makes the calls,
//! [`render`] shows what came back. Results go to standard output, everything else to standard error; [`exit`] has the
//! codes that scripts can rely on.

mod arguments;
mod commands;
mod console;
mod environment;
mod exit;
mod failure;
mod help;
mod input;
mod progress;
mod render;
mod repository;
mod services;

use std::process::ExitCode;

use clap::FromArgMatches;

fn main() -> ExitCode {
    let command = help::command();
    if let Err(failure) = environment::check(&command) {
        console::say(&failure.to_string());
        return failure.exit().into();
    }
    let matches = match command.try_get_matches() {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() => error.exit(),
        Err(help) => return help::show(&help).into(),
    };
    let parsed = arguments::Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    commands::run(parsed).into()
}
