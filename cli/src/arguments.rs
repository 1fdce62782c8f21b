//! What can be asked of `larder`: the commands, and what all of them take.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use larder_types::Name;

use crate::commands::{browse, changes, completions, docs, init, materialize, online, push, runs, train, up, validate};

/// Feature platform: declare features, materialize history, push events, serve and train on the same values.
#[derive(Debug, Parser)]
#[command(name = "larder", version, propagate_version = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Globals {
    /// Tables for people, or one JSON document for programs
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Format,
    /// The folder or file with the definitions
    #[arg(short = 'C', long, global = true, value_name = "PATH", default_value = ".")]
    pub(crate) repository: PathBuf,
    /// The project; without it, the one that the definitions name
    #[arg(long, global = true, value_name = "NAME", env = "LARDER__CLIENT__PROJECT")]
    pub(crate) project: Option<Name>,
    #[command(flatten)]
    pub(crate) addresses: Addresses,
}

/// Where the services are.
#[derive(Debug, Clone, Args)]
pub(crate) struct Addresses {
    /// Where the registry is
    #[arg(
        long,
        global = true,
        value_name = "ADDRESS",
        env = "LARDER__CLIENT__REGISTRY",
        default_value = "http://127.0.0.1:6570"
    )]
    pub(crate) registry: String,
    /// Where serving is
    #[arg(
        long,
        global = true,
        value_name = "ADDRESS",
        env = "LARDER__CLIENT__SERVING",
        default_value = "http://127.0.0.1:6567"
    )]
    pub(crate) serving: String,
    /// Where push-ingest is
    #[arg(
        long,
        global = true,
        value_name = "ADDRESS",
        env = "LARDER__CLIENT__PUSH_INGEST",
        default_value = "http://127.0.0.1:6571"
    )]
    pub(crate) push_ingest: String,
    /// Where the materializer is
    #[arg(
        long,
        global = true,
        value_name = "ADDRESS",
        env = "LARDER__CLIENT__MATERIALIZER",
        default_value = "http://127.0.0.1:6572"
    )]
    pub(crate) materializer: String,
}

/// How results are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// The commands. Each has its arguments beside what it does.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Init(init::Arguments),
    Validate(validate::Arguments),
    Up(up::Arguments),
    Plan(changes::PlanArguments),
    Apply(changes::ApplyArguments),
    Diff(changes::DiffArguments),
    Revisions(changes::RevisionsArguments),
    Rollback(changes::RollbackArguments),
    List(browse::ListArguments),
    Describe(browse::DescribeArguments),
    Search(browse::SearchArguments),
    Lineage(browse::LineageArguments),
    Docs(docs::Arguments),
    Push(push::Arguments),
    Materialize(materialize::Arguments),
    Runs(runs::Arguments),
    Online(online::Arguments),
    Train(train::Arguments),
    Completions(completions::Arguments),
}
