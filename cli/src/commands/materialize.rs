//! `larder materialize`: history to the online store.

use clap::ArgGroup;
use futures::future::join_all;
use larder_definitions::run::Run;
use larder_types::{Name, Timestamp};

use super::{Context, runs};
use crate::{
    console::say,
    exit::Exit,
    failure::{Failure, Outcome},
    progress::Bars,
    render::{
        numbers::counted_as,
        runs::{Runs, Summary, subject},
    },
};

/// Bring history to the online store
#[derive(Debug, clap::Args)]
#[command(
    group = ArgGroup::new("scope").args(["incremental", "from"]),
    after_help = "Example:\n  larder materialize customer_features --incremental\n\n\
        Waits until every run has ended; where one failed or was cancelled, the exit code is 6. Interrupting the command \
        does not stop the runs: `larder runs watch RUN` follows one again, `larder runs cancel RUN` stops it."
)]
pub(crate) struct Arguments {
    /// The views; without any, all that are served
    views: Vec<Name>,
    /// Only what arrived since the last run
    #[arg(long)]
    incremental: bool,
    /// Only event times at or after this
    #[arg(long, value_name = "TIME", requires = "to")]
    from: Option<Timestamp>,
    /// Only event times before this
    #[arg(long, value_name = "TIME", requires = "from")]
    to: Option<Timestamp>,
    /// Name the runs by this instant of a schedule: asked for twice, run once
    #[arg(long, value_name = "TIME", requires = "incremental")]
    scheduled: Option<Timestamp>,
    /// Do not wait for the runs
    #[arg(long)]
    no_wait: bool,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Outcome {
    let project = context.project()?;
    let started = start(context, &project, &arguments).await?;
    if started.is_empty() {
        say("There is no view to materialize.");
    }
    if arguments.no_wait {
        context.console.report(&Runs(started))?;
        return Ok(Exit::Ok);
    }
    let ended = follow(context, &project, started).await?;
    let failed = ended.iter().filter(|run| runs::exit(run) != Exit::Ok).count() as u64;
    context.console.report(&Summary(ended))?;
    if failed > 0 {
        say(&format!("error: {} or cancelled", counted_as(failed, "run failed", "runs failed")));
        return Ok(Exit::RunFailed);
    }
    Ok(Exit::Ok)
}

async fn start(context: &Context, project: &Name, arguments: &Arguments) -> Outcome<Vec<Run>> {
    let range = match (arguments.from, arguments.to) {
        (Some(from), Some(to)) if from < to => Some((from, to)),
        (Some(from), Some(to)) => {
            return Err(Failure::usage(format!(
                "--from {from} must lie before --to {to}, which is not part of the range"
            )));
        }
        (Some(_), None) | (None, _) => None,
    };
    let revision = context.services.newest_revision(project).await?;
    let materializer = context.services.materializer()?;
    let views = &arguments.views;
    let client = &materializer.client;
    materializer.explain(if arguments.incremental {
        client.materialize_incremental(project, views, arguments.scheduled, revision).await
    } else {
        client.materialize(project, views, range, revision).await
    })
}

/// All of them at the same time, each with its bar. Where some can no longer be followed, that is told of each.
async fn follow(context: &Context, project: &Name, started: Vec<Run>) -> Outcome<Vec<Run>> {
    let bars = Bars::default();
    let followed = started.into_iter().map(|run| {
        let bar = bars.add(&subject(&run));
        async move {
            let ended = runs::watch(context, project, run, &bar).await;
            bar.clear();
            ended
        }
    });
    let (mut ended, mut lost) = (Vec::new(), Vec::new());
    for outcome in join_all(followed).await {
        match outcome {
            Ok(run) => ended.push(run),
            Err(failure) => lost.push(failure),
        }
    }
    let Some(last) = lost.pop() else { return Ok(ended) };
    lost.iter().for_each(|failure| say(&failure.to_string()));
    Err(last)
}
