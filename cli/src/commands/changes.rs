//! `larder plan`, `apply`, `diff`, `revisions`, `rollback`: what is declared, and how it came about.

use larder_client::{ChangeRequest, Rollback, RolledBack};
use larder_definitions::{ChangeSet, ObjectKind, Plan, yaml::FeatureRepository};
use larder_types::{Error, ErrorCode, Name, Result, Revision};

use super::{Context, numbers};
use crate::{
    console::say,
    exit::Exit,
    failure::{Failure, Outcome},
    render::{
        changes::{Changes, What},
        revisions::Revisions,
    },
    repository,
};

/// Show what an apply would change, and what that means
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  larder plan --detailed-exitcode\n\n\
    + is created, ~ changed, - removed: objects that this repository declared before and no longer does.")]
pub(crate) struct PlanArguments {
    #[command(flatten)]
    origin: Origin,
    /// Exit with 10 where there are changes, with 0 where there are none
    #[arg(long)]
    detailed_exitcode: bool,
}

/// Make a revision of the definitions in this repository
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  larder apply --message \"Income by month\"\n\n\
    Shows the plan and asks first. What was planned is applied or nothing: where somebody else applied in between, the \
    exit code is 4.\nRemoves what this repository declared before and no longer does; objects of other origins are never \
    touched.")]
pub(crate) struct ApplyArguments {
    #[command(flatten)]
    origin: Origin,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Why, for who reads the revisions
    #[arg(long, short, default_value = "", hide_default_value = true)]
    message: String,
}

/// Who declares.
#[derive(Debug, Clone, clap::Args)]
struct Origin {
    /// Who declares these objects; without it, the project's name. Repositories that share a project each need their own
    #[arg(long, value_name = "NAME", env = "LARDER__CLIENT__ORIGIN")]
    origin: Option<String>,
}

/// Show what differs between two revisions
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  larder diff 3 5")]
pub(crate) struct DiffArguments {
    /// The revision that is compared with; 0: before anything was declared
    #[arg(value_parser = numbers::revision, allow_negative_numbers = true)]
    from: Revision,
    /// The revision that is compared; without it, the newest
    #[arg(value_parser = numbers::revision, allow_negative_numbers = true)]
    to: Option<Revision>,
}

/// List the revisions of the definitions, newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  larder revisions --limit 5")]
pub(crate) struct RevisionsArguments {
    /// At most so many
    #[arg(long, short, default_value_t = 20, value_parser = numbers::count, allow_negative_numbers = true)]
    limit: u32,
}

/// Make a revision with the definitions of an earlier one
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  larder rollback 3\n\nShows what would change and asks first.")]
pub(crate) struct RollbackArguments {
    /// The revision whose definitions are wanted back; 0: none
    #[arg(value_parser = numbers::revision, allow_negative_numbers = true)]
    revision: Revision,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Why, for who reads the revisions
    #[arg(long, short, default_value = "", hide_default_value = true)]
    message: String,
}

pub(crate) async fn plan(context: &Context, arguments: PlanArguments) -> Outcome {
    let declared = Declared::read(context, &arguments.origin, String::new())?;
    let changes = declared.plan(context).await?;
    context.console.report(&changes)?;
    let has_changes = arguments.detailed_exitcode && !changes.changes.is_empty();
    Ok(if has_changes { Exit::Changes } else { Exit::Ok })
}

pub(crate) async fn apply(context: &Context, arguments: ApplyArguments) -> Outcome {
    let mut declared = Declared::read(context, &arguments.origin, arguments.message)?;
    let planned = declared.plan(context).await?;
    if !planned.changes.is_empty() && !arguments.yes {
        context.console.preview(&planned);
        if !context.console.confirm("apply this?")? {
            say("Nothing was changed.");
            return Ok(Exit::Failed);
        }
    }
    if let What::Planned { base, .. } = planned.what {
        declared.request.change.expected_revision = Some(base);
    }
    let registry = context.services.registry()?;
    let applied = declared.checked(registry.client.apply(&declared.project, &declared.request).await);
    let applied = applied.and_then(|applied| registry.explain(applied.map_err(|error| declared.explained(error))))?;
    context.console.report(&Changes {
        project: declared.project,
        what: What::Applied { revision: applied.revision, changed: applied.changed },
        changes: applied.changes,
        consequences: applied.consequences,
    })?;
    Ok(Exit::Ok)
}

pub(crate) async fn diff(context: &Context, arguments: DiffArguments) -> Outcome {
    let project = context.project()?;
    context.console.report(&difference(context, &project, arguments.from, arguments.to).await?)?;
    Ok(Exit::Ok)
}

pub(crate) async fn revisions(context: &Context, arguments: RevisionsArguments) -> Outcome {
    let project = context.project()?;
    let registry = context.services.registry()?;
    let (mut found, mut token) = (Vec::new(), String::new());
    let limit = arguments.limit as usize;
    while found.len() < limit {
        let missing = u32::try_from(limit - found.len()).unwrap_or(u32::MAX);
        let page = registry.explain(registry.client.revisions(&project, missing, &token).await)?;
        found.extend(page.revisions);
        match page.next_page_token {
            Some(next) => token = next,
            None => break,
        }
    }
    found.truncate(limit);
    context.console.report(&Revisions(found))?;
    Ok(Exit::Ok)
}

pub(crate) async fn rollback(context: &Context, arguments: RollbackArguments) -> Outcome {
    let project = context.project()?;
    let to = arguments.revision;
    let mut rollback =
        Rollback { to, expected_revision: None, origin: project.to_string(), message: arguments.message };
    let registry = context.services.registry()?;
    let planned = registry.explain(registry.client.plan_rollback(&project, &rollback).await)?;
    let newest = planned.revision;
    let does_nothing = planned.changes.is_empty() && planned.consequences.is_empty();
    if !does_nothing && !arguments.yes {
        let what = What::Planned { base: newest, by: format!("back to {}", described(to)) };
        let RolledBack { changes, consequences, .. } = planned;
        context.console.preview(&Changes { project: project.clone(), what, changes, consequences });
        if !context.console.confirm(&format!("go back to {}?", described(to)))? {
            say("Nothing was changed.");
            return Ok(Exit::Failed);
        }
    }
    rollback.expected_revision = Some(newest);
    let done = registry.explain(registry.client.rollback(&project, &rollback).await)?;
    context.console.report(&Changes {
        project,
        what: What::Applied { revision: done.revision, changed: done.revision != newest },
        changes: done.changes,
        consequences: done.consequences,
    })?;
    Ok(Exit::Ok)
}

/// What a revision is called in a question.
fn described(revision: Revision) -> String {
    match revision {
        Revision(0) => "revision 0, before anything was declared".to_owned(),
        revision => format!("revision {revision}"),
    }
}

async fn difference(context: &Context, project: &Name, from: Revision, to: Option<Revision>) -> Outcome<Changes> {
    let registry = context.services.registry()?;
    let diff = registry.explain(registry.client.diff(project, from, to).await)?;
    Ok(Changes {
        project: project.clone(),
        what: What::Between { from: diff.from, to: diff.to },
        changes: diff.changes,
        consequences: Vec::new(),
    })
}

/// The definitions of a repository, on their way to the registry.
struct Declared {
    project: Name,
    repository: FeatureRepository,
    request: ChangeRequest,
}

impl Declared {
    fn read(context: &Context, origin: &Origin, message: String) -> Outcome<Self> {
        let repository = repository::read(&context.globals)?;
        let project = context.globals.project.clone().unwrap_or_else(|| repository.project.clone());
        let origin = origin.origin.clone().unwrap_or_else(|| project.to_string());
        let puts = repository.clone().into_objects();
        let change = ChangeSet { puts, origin, message, ..ChangeSet::default() };
        Ok(Self { project, repository, request: ChangeRequest { change, remove_missing: true } })
    }

    async fn plan(&self, context: &Context) -> Outcome<Changes> {
        let registry = context.services.registry()?;
        let planned = self.checked(registry.client.plan(&self.project, &self.request).await)?;
        let Plan { base, changes, consequences, .. } = registry.explain(planned)?;
        let what = What::Planned { base, by: format!("origin {}", self.request.change.origin) };
        Ok(Changes { project: self.project.clone(), what, changes, consequences })
    }

    /// A project that nothing is declared for is not made.
    fn explained(&self, error: Error) -> Error {
        if error.code() == ErrorCode::NotFound && self.request.change.puts.is_empty() {
            return error.context("nothing is declared here");
        }
        error
    }

    /// What the registry finds wrong with definitions is told with its places in these files.
    fn checked<T>(&self, answer: Result<T>) -> Outcome<Result<T>> {
        match answer {
            Err(error) if is_about_definitions(&error) => {
                Err(Failure::Definitions(self.repository.problems_of(&error)))
            }
            other => Ok(other),
        }
    }
}

fn is_about_definitions(error: &Error) -> bool {
    let is_of_an_object = |field: &str| ObjectKind::ALL.iter().any(|kind| field.starts_with(kind.section()));
    error.code() == ErrorCode::InvalidArgument
        && error.violations().iter().any(|violation| is_of_an_object(&violation.field))
}
