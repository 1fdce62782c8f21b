//! `larder --help`: the commands by what they are for, and the exit codes.

use std::io::{self, Write};

use clap::{Command, CommandFactory};

use crate::{
    arguments::Cli,
    console::{self, say},
    exit::{self, Exit},
};

/// Every command, in groups.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Start", &["init", "validate", "up"]),
    ("Declare features", &["plan", "apply", "diff", "revisions", "rollback"]),
    ("Find features", &["list", "describe", "search", "lineage", "docs"]),
    ("Use features", &["push", "materialize", "runs", "online", "train"]),
    ("Shell", &["completions"]),
];

/// The whole command line, with help that is grouped.
pub(crate) fn command() -> Command {
    let command = Cli::command();
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n{}\nOptions:\n{{options}}\n\nExit codes:\n{}\n\n\
         `larder COMMAND --help` or `larder help COMMAND` explains a command, with an example.\n",
        groups(&command),
        exit::TABLE,
    );
    let mut command = command.help_template(template);
    command.build();
    with_usage(command)
}

/// Shows the help or the version that was asked for: to the parser, both are errors.
pub(crate) fn show(asked_for: &clap::Error) -> Exit {
    match console::written(asked_for.print().and_then(|()| io::stdout().flush())) {
        Ok(()) => Exit::Ok,
        Err(failure) => {
            say(&failure.to_string());
            failure.exit()
        }
    }
}

/// With the usage of each command as its help has it: the parser would add every option whose variable is set.
fn with_usage(mut command: Command) -> Command {
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").to_owned();
    let names: Vec<String> = command.get_subcommands().map(|subcommand| subcommand.get_name().to_owned()).collect();
    let command = names.into_iter().fold(command, |command, name| command.mut_subcommand(name, with_usage));
    command.override_usage(usage)
}

fn groups(command: &Command) -> String {
    let about = |name: &str| {
        let command = command.find_subcommand(name);
        command.and_then(Command::get_about).map(ToString::to_string).unwrap_or_default()
    };
    let group = |(title, names): &(&str, &[&str])| {
        let lines: String = names.iter().map(|name| format!("  {name:<12} {}\n", about(name))).collect();
        format!("\n{title}:\n{lines}")
    };
    GROUPS.iter().map(group).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_command_is_in_one_group_and_has_an_example() {
        let command = command();
        let grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let commands = || command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help");
        let known: BTreeSet<&str> = commands().map(Command::get_name).collect();
        assert_eq!(grouped.len(), known.len());
        assert_eq!(grouped.iter().copied().collect::<BTreeSet<_>>(), known);
        for subcommand in commands() {
            let leaves = subcommand.get_subcommands().filter(|leaf| leaf.get_name() != "help");
            for leaf in leaves.chain([subcommand]) {
                let example = leaf.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(example.starts_with("Example:\n  larder "), "{}: {example}", leaf.get_name());
            }
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }
}
