//! The variables that commands take: a misspelt one would be passed over, and another service called than was meant.

use std::collections::BTreeSet;

use clap::Command;
use larder_types::{did_you_mean, near_names};

use crate::failure::{Failure, Outcome};

/// What the names of all of them begin with.
pub(crate) const PREFIX: &str = "LARDER__CLIENT__";

/// Whether every variable with that beginning is one that some command takes.
pub(crate) fn check(command: &Command) -> Outcome<()> {
    unknown(command, std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()))
}

fn unknown(command: &Command, names: impl Iterator<Item = String>) -> Outcome<()> {
    let known = taken(command);
    let mut problems: Vec<String> = names
        .filter(|name| name.starts_with(PREFIX) && !known.contains(name))
        .map(|name| {
            // All of them begin alike and are near each other: the nearest is enough.
            let mut near = near_names(&name, known.iter().map(String::as_str));
            near.truncate(1);
            format!("there is no setting {name}{}", did_you_mean(&near))
        })
        .collect();
    problems.sort();
    if problems.is_empty() { Ok(()) } else { Err(Failure::usage(problems.join("\n  "))) }
}

/// Every variable of the command and of those below it.
fn taken(command: &Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter_map(|argument| argument.get_env()?.to_str().map(str::to_owned));
    own.chain(command.get_subcommands().flat_map(taken)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::help;

    #[test]
    fn a_variable_that_no_command_takes_is_told_with_the_nearest() {
        let check = |names: &[&str]| unknown(&help::command(), names.iter().map(|name| (*name).to_owned()));
        assert!(check(&["LARDER__CLIENT__REGISTRY", "LARDER__CLIENT__ORIGIN", "LARDER__X", "HOME"]).is_ok());
        let told = check(&["LARDER__CLIENT__REGISTRI"]).unwrap_err().to_string();
        assert!(told.ends_with("LARDER__CLIENT__REGISTRI; did you mean LARDER__CLIENT__REGISTRY?"), "{told}");
    }
}
