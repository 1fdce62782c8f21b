//! `larder runs`: list, show, watch, cancel.

use std::time::Duration;

use clap::ValueEnum;
use futures::TryStreamExt;
use larder_client::{MaterializerClient, RunFilter};
use larder_definitions::run::{Run, RunState};
use larder_types::{Error, Name};

use super::{Context, browse, numbers};
use crate::{
    console::say,
    exit::Exit,
    failure::{Failure, Outcome},
    progress::RunBar,
    render::runs::{OneRun, Runs, subject},
    services::Reached,
};

/// Look after runs: materializations and training sets
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  larder runs list --state running")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List runs, newest first
    #[command(after_help = "Example:\n  larder runs list --state running")]
    List {
        /// Of this view only
        #[arg(long)]
        view: Option<Name>,
        /// In these states only
        #[arg(long, value_delimiter = ',')]
        state: Vec<State>,
        /// At most so many
        #[arg(long, short, default_value_t = 20, value_parser = numbers::count, allow_negative_numbers = true)]
        limit: u32,
    },
    /// Show a run in full
    #[command(after_help = "Example:\n  larder runs show 0198c0de-7abc-7def-8123-456789abcdef")]
    Show {
        /// The run
        run: String,
    },
    /// Follow a run until it has ended; exits with 6 where it failed or was cancelled
    #[command(after_help = "Example:\n  larder runs watch 0198c0de-7abc-7def-8123-456789abcdef")]
    Watch {
        /// The run
        run: String,
    },
    /// Stop a run
    #[command(after_help = "Example:\n  larder runs cancel 0198c0de-7abc-7def-8123-456789abcdef")]
    Cancel {
        /// The run
        run: String,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    Pending,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

impl From<State> for RunState {
    fn from(state: State) -> Self {
        match state {
            State::Pending => Self::Pending,
            State::Running => Self::Running,
            State::Succeeded => Self::Succeeded,
            State::Failed => Self::Failed,
            State::Cancelled => Self::Cancelled,
        }
    }
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Outcome {
    let project = context.project()?;
    let materializer = context.services.materializer()?;
    match arguments.command {
        Command::List { view, state, limit } => {
            let states = state.into_iter().map(RunState::from).collect();
            let filter = RunFilter { view: view.clone(), states, page_size: limit, page_token: String::new() };
            let found = list(&materializer, &project, filter).await?;
            if let Some(view) = view.filter(|_| found.is_empty()) {
                refuse_unknown(context, &materializer, &project, view).await?;
            }
            if found.is_empty() && context.console.is_table() {
                say("There are no such runs.");
            }
            context.console.report(&Runs(found))?;
            Ok(Exit::Ok)
        }
        Command::Show { run } => {
            let run = materializer.explain(materializer.client.get_run(&project, &run).await)?;
            context.console.report(&OneRun(run))?;
            Ok(Exit::Ok)
        }
        Command::Watch { run } => {
            let run = materializer.explain(materializer.client.get_run(&project, &run).await)?;
            let bar = RunBar::single(&subject(&run));
            let run = watch(context, &project, run, &bar).await?;
            bar.clear();
            let exit = exit(&run);
            context.console.report(&OneRun(run))?;
            Ok(exit)
        }
        Command::Cancel { run } => {
            let before = materializer.explain(materializer.client.get_run(&project, &run).await)?;
            let run = materializer.explain(materializer.client.cancel_run(&project, &run).await)?;
            if before.state.is_final() {
                say(&format!("Run {} had ended already: {}", run.id, run.state.as_str()));
            }
            context.console.report(&OneRun(run))?;
            Ok(Exit::Ok)
        }
    }
}

/// As many runs as the filter's page has, over as many pages as the service makes of them.
async fn list(materializer: &Reached<MaterializerClient>, project: &Name, mut filter: RunFilter) -> Outcome<Vec<Run>> {
    let limit = filter.page_size as usize;
    let mut found = Vec::new();
    while found.len() < limit {
        let page = materializer.explain(materializer.client.list_runs(project, &filter).await)?;
        found.extend(page.runs);
        match page.next_page_token {
            Some(next) => filter.page_token = next,
            None => break,
        }
    }
    found.truncate(limit);
    Ok(found)
}

/// A view that is not declared and has no run of any kind is a name that nobody knows. One that was removed has its runs.
async fn refuse_unknown(
    context: &Context,
    materializer: &Reached<MaterializerClient>,
    project: &Name,
    view: Name,
) -> Outcome<()> {
    // Runs are told without the registry, too.
    let Ok(catalog) = browse::catalog(context).await else { return Ok(()) };
    let Err(unknown) = catalog.view(view.as_str()) else { return Ok(()) };
    let any = RunFilter { view: Some(view), states: Vec::new(), page_size: 1, page_token: String::new() };
    let has_runs = !list(materializer, project, any).await?.is_empty();
    if has_runs { Ok(()) } else { Err(unknown.into()) }
}

/// How often a lost stream is opened anew, with nothing heard in between, before it counts as an error.
const MAX_REOPENED: u32 = 3;

/// How long it waits before a lost stream is opened anew.
const REOPENED_AFTER: Duration = Duration::from_millis(300);

/// Follows a run until it has ended. A stream that is lost meanwhile is opened anew.
pub(crate) async fn watch(context: &Context, project: &Name, run: Run, bar: &RunBar) -> Outcome<Run> {
    let materializer = context.services.materializer()?;
    let mut now = run;
    let mut lost = 0;
    bar.show(&now);
    while !now.state.is_final() {
        let mut has_news = false;
        let followed = async {
            let mut changes = materializer.client.watch_run(project, &now.id).await?;
            while let Some(run) = changes.try_next().await? {
                if run.error != now.error && !run.state.is_final() {
                    bar.say_trouble(&run);
                }
                bar.show(&run);
                has_news |= run != now;
                now = run;
            }
            Ok(())
        };
        let followed = followed.await;
        if now.state.is_final() {
            break;
        }
        lost = if has_news { 0 } else { lost + 1 };
        if lost > MAX_REOPENED {
            return Err(no_longer_followed(&now, materializer.explain(followed).err()));
        }
        tokio::time::sleep(REOPENED_AFTER).await;
    }
    Ok(now)
}

/// The run does not depend on who looks on.
fn no_longer_followed(run: &Run, why: Option<Failure>) -> Failure {
    let why = why.map(|why| format!(": {}", why.to_string().trim_start_matches("error: "))).unwrap_or_default();
    Failure::Error(Error::unavailable(format!(
        "run {} ({}) can no longer be followed{why}\n  It was not stopped by that: it goes on, or is taken up again once the \
         service is back. `larder runs watch {0}` follows it",
        run.id,
        subject(run)
    )))
}

/// What a command that waited for a run exits with.
pub(crate) fn exit(run: &Run) -> Exit {
    match run.state {
        RunState::Succeeded => Exit::Ok,
        RunState::Pending | RunState::Running | RunState::Failed | RunState::Cancelled => Exit::RunFailed,
    }
}
