//! Change sets: what somebody wants to be declared, checked as a whole, and made into a revision.
//!
//! Everything here is a pure function of a state and a change; the registry keeps states and appends the records.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use larder_types::{Error, Result, Revision, Timestamp, did_you_mean, near_names};
use serde::{Deserialize, Serialize};

use crate::{
    Consequence, Object, ObjectChange, ObjectId, Problem,
    consequences::consequences,
    diff::{object_changes, state_changes},
    numbering::{self, Objects},
    problem::problems_to_error,
    renaming::renaming_problems,
    revision::{Assigned, Put, RevisionRecord},
    state::ProjectState,
    validate::validate_since,
};

/// Objects to put and names to remove, applied together or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeSet {
    /// Created, or put in place of what is there by that kind and name.
    pub puts: Vec<Object>,
    /// Removed.
    pub removes: Vec<ObjectId>,
    /// The revision that the caller has seen: with another one, nothing is done.
    pub expected_revision: Option<Revision>,
    /// Who declares: objects belong to an origin, and another one neither changes nor removes them.
    pub origin: String,
    /// For people.
    pub message: String,
}

/// What an apply would do. Empty where everything is so already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The revision it would follow.
    pub base: Revision,
    /// In the order of kinds, by name.
    pub changes: Vec<ObjectChange>,
    /// Objects of the change set that are declared so already.
    pub unchanged: Vec<ObjectId>,
    /// What must be done, or is good to know, once it is applied.
    pub consequences: Vec<Consequence>,
}

impl Plan {
    /// Whether nothing would change.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// Who makes a revision, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevisionMeta {
    /// By the registry's clock.
    pub at: Timestamp,
    /// Who.
    pub principal: String,
    /// From where.
    pub address: String,
}

/// Which revision's definitions are wanted back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollbackRequest {
    /// The revision that the caller has seen: with another one, nothing is done.
    pub expected_revision: Option<Revision>,
    /// Who asks.
    pub origin: String,
    /// For people.
    pub message: String,
}

impl ChangeSet {
    /// The change after which `origin` declares exactly `objects`: what it declared before and is not among them is removed.
    pub fn whole(state: &ProjectState, origin: impl Into<String>, objects: Vec<Object>) -> Self {
        let origins = state.objects.iter().map(|(id, declared)| (id, declared.origin.as_str()));
        Self::whole_beside(origins, origin, objects)
    }

    /// As [`ChangeSet::whole`], for who knows of the project only which origin declares each object, as a
    /// [`crate::Catalog`] says it.
    pub fn whole_beside<'a>(
        origins: impl IntoIterator<Item = (&'a ObjectId, &'a str)>,
        origin: impl Into<String>,
        objects: Vec<Object>,
    ) -> Self {
        let origin = origin.into();
        let kept: BTreeSet<ObjectId> = objects.iter().map(Object::id).collect();
        let own = origins.into_iter().filter(|(_, declared_by)| *declared_by == origin).map(|(id, _)| id);
        let removes = own.filter(|id| !kept.contains(id)).cloned().collect();
        Self { puts: objects, removes, expected_revision: None, origin, message: String::new() }
    }
}

/// What `change` would do to `state`.
///
/// INVALID_ARGUMENT with a violation for each problem of the definitions it would make; CONFLICT where the expected
/// revision is not the state's; ALREADY_EXISTS for an object that another origin declares; NOT_FOUND for a name to remove
/// that is not there.
pub fn plan(state: &ProjectState, change: &ChangeSet) -> Result<Plan> {
    let next = Next::after(state, change)?;
    let unchanged = change.puts.iter().map(Object::id).filter(|id| !next.is_changed(id)).collect();
    let consequences = consequences(state, &next.objects, &next.assigned);
    Ok(Plan { base: state.revision, changes: next.changes, unchanged, consequences })
}

/// The revision that `change` makes after `state`, and the state after it; none where nothing would change. Errors as
/// [`plan`].
pub fn apply(
    state: &ProjectState,
    change: &ChangeSet,
    meta: RevisionMeta,
) -> Result<Option<(RevisionRecord, ProjectState)>> {
    let next = Next::after(state, change)?;
    if next.changes.is_empty() {
        return Ok(None);
    }
    let puts = change.puts.iter().filter(|object| next.is_changed(&object.id()));
    let puts = puts.map(|object| Put { object: Arc::new(object.clone()), origin: change.origin.clone() }).collect();
    let record = RevisionRecord {
        puts,
        removes: change.removes.clone(),
        numbers: next.assigned,
        ..empty_record(state, meta, &change.origin, &change.message)?
    };
    let after = state.next(&record)?;
    Ok(Some((record, after)))
}

/// What a rollback of `state` to the definitions of `target`, an earlier state of the same project, would do.
pub fn plan_rollback(state: &ProjectState, target: &ProjectState, request: &RollbackRequest) -> Result<Plan> {
    check_rollback(state, target, request)?;
    let consequences = consequences(state, &target.by_id(), &numbering::restore(state, target)?);
    Ok(Plan { base: state.revision, changes: state_changes(state, target), unchanged: Vec::new(), consequences })
}

/// The revision that restores the definitions of `target`, an earlier state of the same project, with the row set and
/// schema that each view had then, unless the row set has got rows since which the view's history does not have then. Numbers
/// given since stay given. None where nothing would change.
pub fn rollback(
    state: &ProjectState,
    target: &ProjectState,
    request: &RollbackRequest,
    meta: RevisionMeta,
) -> Result<Option<(RevisionRecord, ProjectState)>> {
    check_rollback(state, target, request)?;
    let differs = |id: &ObjectId| {
        let now = state.objects.get(id).map(|declared| (&declared.object, &declared.origin));
        now != target.objects.get(id).map(|declared| (&declared.object, &declared.origin))
    };
    let restored = target.objects.iter().filter(|(id, _)| differs(id));
    let puts: Vec<Put> = restored
        .map(|(_, declared)| Put { object: declared.object.clone(), origin: declared.origin.clone() })
        .collect();
    let removes: Vec<ObjectId> = state.objects.keys().filter(|id| !target.objects.contains_key(id)).cloned().collect();
    let numbers = numbering::restore(state, target)?;
    if puts.is_empty() && removes.is_empty() && numbers == Assigned::default() {
        return Ok(None);
    }
    let record = RevisionRecord {
        rollback_to: Some(target.revision),
        puts,
        removes,
        numbers,
        ..empty_record(state, meta, &request.origin, &request.message)?
    };
    let after = state.next(&record)?;
    Ok(Some((record, after)))
}

/// A change that was checked, with the numbers it gives.
struct Next<'a> {
    objects: Objects<'a>,
    changes: Vec<ObjectChange>,
    assigned: Assigned,
}

impl<'a> Next<'a> {
    fn after(state: &'a ProjectState, change: &'a ChangeSet) -> Result<Self> {
        check_said(&change.origin, &change.message)?;
        check_revision(state, change.expected_revision)?;
        check_names(state, change)?;
        check_sizes(change)?;
        check_origins(state, change)?;
        let before = state.by_id();
        let mut objects = before.clone();
        for id in &change.removes {
            objects.remove(id);
        }
        objects.extend(change.puts.iter().map(|object| (object.id(), object)));
        let mut problems = validate_since(objects.values().copied(), state.all_objects());
        problems.extend(renaming_problems(state, &objects));
        if let Some(error) = problems_to_error(&problems) {
            return Err(error);
        }
        let assigned = numbering::assign(state, &objects)?;
        Ok(Self { changes: object_changes(&before, &objects), objects, assigned })
    }

    fn is_changed(&self, id: &ObjectId) -> bool {
        self.changes.binary_search_by(|change| change.id.cmp(id)).is_ok()
    }
}

fn check_rollback(state: &ProjectState, target: &ProjectState, request: &RollbackRequest) -> Result<()> {
    check_said(&request.origin, &request.message)?;
    check_revision(state, request.expected_revision)?;
    if target.project != state.project || target.revision > state.revision {
        return Err(Error::invalid_argument(format!(
            "project {} at revision {} cannot go back to revision {} of project {}",
            state.project, state.revision, target.revision, target.project
        )));
    }
    Ok(())
}

/// The most bytes of an origin, and of a message: every list of revisions carries them.
const LONGEST_ORIGIN: usize = 256;
const LONGEST_MESSAGE: usize = 4096;

fn check_said(origin: &str, message: &str) -> Result<()> {
    if origin.trim().is_empty() {
        let message = "is empty: say who declares, e.g. the repository's name";
        return Err(Error::invalid_field("origin", message));
    }
    // It is told to whoever meets it, on a line of theirs.
    if origin.contains(char::is_control) {
        return Err(Error::invalid_field("origin", "has control characters, e.g. a line break: write it on one line"));
    }
    for (field, text, longest) in [("origin", origin, LONGEST_ORIGIN), ("message", message, LONGEST_MESSAGE)] {
        if text.len() > longest {
            return Err(Error::invalid_field(field, format!("has {} bytes: at most {longest} are kept", text.len())));
        }
    }
    Ok(())
}

fn check_revision(state: &ProjectState, expected: Option<Revision>) -> Result<()> {
    match expected {
        Some(expected) if expected != state.revision => Err(Error::conflict(format!(
            "project {} was expected at revision {expected} and is at revision {}, made at {} by {} from {}: \
             look at what changed, then try again",
            state.project,
            state.revision,
            state.created_at,
            named_or(&state.principal, "nobody"),
            named_or(&state.origin, "no origin"),
        ))),
        Some(_) | None => Ok(()),
    }
}

fn named_or<'a>(name: &'a str, otherwise: &'a str) -> &'a str {
    if name.is_empty() { otherwise } else { name }
}

/// The most bytes of an object: whoever reads it takes it in one message.
const LARGEST_OBJECT: usize = 512 << 10;

fn check_sizes(change: &ChangeSet) -> Result<()> {
    let too_large = change.puts.iter().filter_map(|object| {
        let bytes = serde_json::to_vec(object).map_or(0, |bytes| bytes.len());
        let wrong = || format!("{} takes {bytes} bytes: an object has at most {LARGEST_OBJECT}", object.id());
        (bytes > LARGEST_OBJECT).then(|| Problem::new(object.id().path(), wrong()))
    });
    problems_to_error(&too_large.collect::<Vec<_>>()).map_or(Ok(()), Err)
}

/// Each object is named once, and what is to be removed is there.
fn check_names(state: &ProjectState, change: &ChangeSet) -> Result<()> {
    let mut seen = BTreeSet::new();
    let named = change.puts.iter().map(Object::id).chain(change.removes.iter().cloned());
    let twice: Vec<Problem> = named
        .filter(|id| !seen.insert(id.clone()))
        .map(|id| Problem::new(id.path(), format!("{id} is named twice in one change: put it or remove it, once")))
        .collect();
    if let Some(error) = problems_to_error(&twice) {
        return Err(error);
    }
    for id in &change.removes {
        if !state.objects.contains_key(id) {
            let known = state.objects.keys().filter(|known| known.kind == id.kind).map(|known| known.name.as_str());
            let near = near_names(id.name.as_str(), known);
            let hint = did_you_mean(&near);
            return Err(Error::not_found(format!(
                "{id} is to be removed and project {} has none at revision {}{hint}",
                state.project, state.revision
            ))
            .with_violation(id.path(), "is not there"));
        }
    }
    Ok(())
}

fn check_origins(state: &ProjectState, change: &ChangeSet) -> Result<()> {
    let touched = change.puts.iter().map(Object::id).chain(change.removes.iter().cloned());
    let foreign: BTreeMap<ObjectId, &str> = touched
        .filter_map(|id| {
            let declared = state.objects.get(&id)?;
            (declared.origin != change.origin).then_some((id, declared.origin.as_str()))
        })
        .collect();
    let Some((first, origin)) = foreign.first_key_value() else { return Ok(()) };
    let error = Error::already_exists(format!(
        "{first} is declared by origin `{origin}`: origin `{}` can neither change nor remove it; give it another name, or \
         have `{origin}` remove it first",
        change.origin
    ));
    Err(foreign.iter().fold(error, |error, (id, origin)| {
        error.with_violation(id.path(), format!("is declared by origin `{origin}`"))
    }))
}

fn empty_record(state: &ProjectState, meta: RevisionMeta, origin: &str, message: &str) -> Result<RevisionRecord> {
    let number = state.revision.0.checked_add(1).map(Revision);
    Ok(RevisionRecord {
        project: state.project.clone(),
        number: number.ok_or_else(|| Error::resource_exhausted("all revision numbers are given"))?,
        parent: state.revision,
        created_at: meta.at,
        principal: meta.principal,
        address: meta.address,
        origin: origin.to_owned(),
        message: message.to_owned(),
        rollback_to: None,
        puts: Vec::new(),
        removes: Vec::new(),
        numbers: Assigned::default(),
    })
}
