//! What each command does: read its arguments, make the calls, hand the answer to `render`.

pub(crate) mod browse;
pub(crate) mod changes;
pub(crate) mod completions;
pub(crate) mod docs;
pub(crate) mod init;
mod interrupted;
pub(crate) mod materialize;
mod new_file;
mod numbers;
pub(crate) mod online;
mod overwriting;
pub(crate) mod push;
pub(crate) mod runs;
pub(crate) mod selection;
pub(crate) mod train;
pub(crate) mod up;
pub(crate) mod validate;

use larder_types::Name;

use crate::{
    arguments::{Cli, Command, Globals},
    console::{Console, say},
    exit::Exit,
    failure::{Failure, Outcome},
    repository,
    services::Services,
};

/// What every command works with.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) globals: Globals,
    pub(crate) console: Console,
    pub(crate) services: Services,
}

impl Context {
    fn new(globals: Globals) -> Self {
        let (console, services) = (Console::new(globals.output), Services::at(&globals.addresses));
        Self { globals, console, services }
    }

    /// The project that the command is about.
    pub(crate) fn project(&self) -> Outcome<Name> {
        repository::project(&self.globals)
    }
}

/// Runs a command to its end; what went wrong is told on standard error.
pub(crate) fn run(cli: Cli) -> Exit {
    let Cli { globals, command } = cli;
    match dispatch(&Context::new(globals), command) {
        Ok(exit) => exit,
        Err(failure) => {
            say(&failure.to_string());
            failure.exit()
        }
    }
}

fn dispatch(context: &Context, command: Command) -> Outcome {
    match command {
        Command::Init(arguments) => init::run(context, &arguments),
        Command::Validate(arguments) => validate::run(context, &arguments),
        Command::Completions(arguments) => completions::run(context, &arguments),
        Command::Up(arguments) => within_runtime(up::run(context, arguments)),
        Command::Plan(arguments) => interruptible(changes::plan(context, arguments)),
        Command::Apply(arguments) => interruptible(changes::apply(context, arguments)),
        Command::Diff(arguments) => interruptible(changes::diff(context, arguments)),
        Command::Revisions(arguments) => interruptible(changes::revisions(context, arguments)),
        Command::Rollback(arguments) => interruptible(changes::rollback(context, arguments)),
        Command::List(arguments) => interruptible(browse::list(context, arguments)),
        Command::Describe(arguments) => interruptible(browse::describe(context, arguments)),
        Command::Search(arguments) => interruptible(browse::search(context, arguments)),
        Command::Lineage(arguments) => interruptible(browse::lineage(context, arguments)),
        Command::Docs(arguments) => interruptible(docs::run(context, arguments)),
        Command::Push(arguments) => interruptible(push::run(context, arguments)),
        Command::Materialize(arguments) => interruptible(materialize::run(context, arguments)),
        Command::Runs(arguments) => interruptible(runs::run(context, arguments)),
        Command::Online(arguments) => interruptible(online::run(context, arguments)),
        Command::Train(arguments) => interruptible(train::run(context, arguments)),
    }
}

/// Runs a command that ends where it is interrupted.
fn interruptible(command: impl Future<Output = Outcome>) -> Outcome {
    within_runtime(interrupted::until_interrupted(command))
}

fn within_runtime(command: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::io("no threads can be started", &error))?;
    let outcome = runtime.block_on(command);
    // What still reads a file is not waited for.
    runtime.shutdown_background();
    outcome
}
