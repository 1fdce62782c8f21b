//! The one place that decides who may do what. Every use case asks it after names are resolved and before data is
//! touched; the answers go to the log under the target `larder::audit`.
//!
//! Until rights are configured everybody may do everything.

use std::fmt;

use larder_types::Result;

use crate::call::Caller;

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Read definitions, revisions, lineage.
    ReadDefinitions,
    /// Apply a change set.
    ApplyDefinitions,
    /// Go back to an earlier revision.
    RollBack,
    /// Read features online.
    ReadFeatures,
    /// Push rows.
    PushRows,
    /// Put history into the online store.
    Materialize,
    /// Build a training set.
    BuildTrainingSet,
    /// See runs and watermarks.
    ReadRuns,
    /// Take part in a run: leases, parts, watermarks.
    WorkOnRuns,
    /// Cancel a run.
    CancelRun,
}

impl Action {
    /// Its name in the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadDefinitions => "read_definitions",
            Self::ApplyDefinitions => "apply_definitions",
            Self::RollBack => "roll_back",
            Self::ReadFeatures => "read_features",
            Self::PushRows => "push_rows",
            Self::Materialize => "materialize",
            Self::BuildTrainingSet => "build_training_set",
            Self::ReadRuns => "read_runs",
            Self::WorkOnRuns => "work_on_runs",
            Self::CancelRun => "cancel_run",
        }
    }

    /// Whether it is rare and changes something: logged at INFO. The others are logged at DEBUG, since online reads and
    /// pushes come in tens of thousands a second.
    fn is_noteworthy(self) -> bool {
        match self {
            Self::ApplyDefinitions | Self::RollBack | Self::Materialize | Self::BuildTrainingSet | Self::CancelRun => {
                true
            }
            Self::ReadDefinitions | Self::ReadFeatures | Self::PushRows | Self::ReadRuns | Self::WorkOnRuns => false,
        }
    }
}

/// What kind of thing it is to be done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResourceKind {
    /// A whole project.
    Project,
    /// A data or push source.
    Source,
    /// A feature view, on demand or not.
    FeatureView,
    /// A run.
    Run,
    /// A file or folder named in a request.
    Path,
}

impl ResourceKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Source => "source",
            Self::FeatureView => "feature_view",
            Self::Run => "run",
            Self::Path => "path",
        }
    }
}

/// What it is to be done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Resource<'a> {
    /// The kind.
    pub kind: ResourceKind,
    /// The project it belongs to.
    pub project: &'a str,
    /// Its name; for a project the same name again.
    pub name: &'a str,
}

impl<'a> Resource<'a> {
    /// A project as a whole.
    pub fn project(name: &'a str) -> Self {
        Self { kind: ResourceKind::Project, project: name, name }
    }

    /// A run of a project.
    pub fn run(project: &'a str, id: &'a str) -> Self {
        Self::new(ResourceKind::Run, project, id)
    }

    /// A thing in a project.
    pub fn new(kind: ResourceKind, project: &'a str, name: &'a str) -> Self {
        Self { kind, project, name }
    }
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ResourceKind::Project => write!(f, "project {}", self.name),
            ResourceKind::Source | ResourceKind::FeatureView | ResourceKind::Run | ResourceKind::Path => {
                write!(f, "{} {}/{}", self.kind.as_str(), self.project, self.name)
            }
        }
    }
}

/// Whether `caller` may do `action` to all of `resources`: `Ok`, or [`PermissionDenied`] that says what is missing.
///
/// [`PermissionDenied`]: larder_types::ErrorCode::PermissionDenied
pub fn authorize(caller: &Caller, action: Action, resources: &[Resource<'_>]) -> Result<()> {
    audit(caller, action, resources, "allowed");
    Ok(())
}

fn audit(caller: &Caller, action: Action, resources: &[Resource<'_>], decision: &'static str) {
    let Caller { principal, address } = caller;
    let action_name = action.as_str();
    if action.is_noteworthy() {
        tracing::info!(target: "larder::audit", %principal, %address, action = action_name, resources = %List(resources), decision);
    } else {
        tracing::debug!(target: "larder::audit", %principal, %address, action = action_name, resources = %List(resources), decision);
    }
}

/// Written only when the event is.
struct List<'a>(&'a [Resource<'a>]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, resource) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            resource.fmt(f)?;
        }
        Ok(())
    }
}
