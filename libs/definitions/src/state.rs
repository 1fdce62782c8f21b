//! A project as the fold of its revisions: what is declared, by whom, and which numbers were given.
//!
//! Numbers are never given again: counters only grow, and a row set, its schemas and its columns stay known for as long as
//! rows may name them, through removal, renaming and rollback. See [`crate::revision`] for the fold.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use larder_types::{
    ColumnNumber, KeySpaceNumber, Name, ProjectNumber, Result, Revision, RowSetNumber, SchemaNumber, Timestamp,
    ValueType,
};
use serde::{Deserialize, Serialize};

use crate::{FeatureView, JoinKey, Object, ObjectId, ObjectKind, numbering::Objects, stored};

/// The newest snapshot format.
const FORMAT: u32 = 1;

/// A project at a revision, with everything needed to make the next one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectState {
    /// The project's name.
    pub project: Name,
    /// The project's number.
    pub project_number: ProjectNumber,
    /// 0 before the first apply.
    pub revision: Revision,
    /// When that revision was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub principal: String,
    /// Which origin it came from.
    pub origin: String,
    /// What is declared.
    #[serde(with = "by_id")]
    pub objects: BTreeMap<ObjectId, Declared>,
    /// What was numbered.
    pub numbers: Numbers,
}

/// An object and who declared it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declared {
    /// As declared.
    pub object: Arc<Object>,
    /// Who declared it; nobody else changes or removes it.
    pub origin: String,
    /// The revision that made it what it is.
    pub revision: Revision,
}

/// Every number that was given, and the next ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Numbers {
    /// Not given yet.
    pub next_key_space: KeySpaceNumber,
    /// Not given yet.
    pub next_row_set: RowSetNumber,
    /// The sorted join keys of each. None is ever dropped: the same keys are the same key space.
    pub key_spaces: BTreeMap<KeySpaceNumber, Vec<JoinKey>>,
    /// Every row set that the online store may hold rows of.
    pub row_sets: BTreeMap<RowSetNumber, RowSet>,
    /// Every view there ever was: the counters of a removed one stay.
    pub views: BTreeMap<Name, ViewNumbers>,
    /// Every push source that ever had views.
    pub push_sources: BTreeMap<Name, PushNumbers>,
}

/// The types of a schema's columns.
pub type SchemaColumns = BTreeMap<ColumnNumber, ValueType>;

/// The online rows of one view in one generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowSet {
    /// Whose.
    pub view: Name,
    /// Where its rows lie.
    pub key_space: KeySpaceNumber,
    /// Every schema that its rows may name.
    pub schemas: BTreeMap<SchemaNumber, SchemaColumns>,
    /// All that ever wrote its rows, in words that are compared.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub feeds: BTreeSet<String>,
    /// Since when no view reads it: it may be purged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired: Option<Retirement>,
}

/// When a row set was left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retirement {
    /// When.
    pub at: Timestamp,
    /// By which revision.
    pub revision: Revision,
}

/// The numbers of a view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewNumbers {
    /// Not given yet.
    pub next_column: ColumnNumber,
    /// Not given yet.
    pub next_schema: SchemaNumber,
    /// The revision since which pushed rows are written online as they are now; 0: none ever were.
    #[serde(default = "no_revision", skip_serializing_if = "is_no_revision")]
    pub pushed_since: Revision,
    /// What it has now; none: it was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<ViewAssignment>,
}

/// What a view has at a revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewAssignment {
    /// Read and written.
    pub row_set: RowSetNumber,
    /// What rows are written with.
    pub schema: SchemaNumber,
    /// The column of each feature.
    pub columns: BTreeMap<Name, ColumnNumber>,
}

/// The numbers of a push source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PushNumbers {
    /// Not given yet.
    pub next_schema: SchemaNumber,
    /// What is pushed now; none: no view reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<SchemaNumber>,
    /// Every schema that rows of its log may name.
    pub schemas: BTreeMap<SchemaNumber, PushColumns>,
}

/// What the events of a push source have.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PushColumns {
    /// Sorted by name.
    pub keys: Vec<JoinKey>,
    /// By the source's name for them.
    pub columns: BTreeMap<String, ValueType>,
}

fn no_revision() -> Revision {
    Revision(0)
}

fn is_no_revision(revision: &Revision) -> bool {
    *revision == no_revision()
}

impl Default for Numbers {
    fn default() -> Self {
        Self {
            next_key_space: KeySpaceNumber(1),
            next_row_set: RowSetNumber(1),
            key_spaces: BTreeMap::new(),
            row_sets: BTreeMap::new(),
            views: BTreeMap::new(),
            push_sources: BTreeMap::new(),
        }
    }
}

impl Default for ViewNumbers {
    fn default() -> Self {
        Self { next_column: ColumnNumber(1), next_schema: SchemaNumber(1), pushed_since: no_revision(), current: None }
    }
}

impl Default for PushNumbers {
    fn default() -> Self {
        Self { next_schema: SchemaNumber(1), current: None, schemas: BTreeMap::new() }
    }
}

impl ProjectState {
    /// A project without a revision.
    pub fn empty(project: Name, project_number: ProjectNumber) -> Self {
        Self {
            project,
            project_number,
            revision: Revision(0),
            created_at: Timestamp::from_micros(0),
            principal: String::new(),
            origin: String::new(),
            objects: BTreeMap::new(),
            numbers: Numbers::default(),
        }
    }

    /// The object of that kind and name.
    pub fn object(&self, id: &ObjectId) -> Option<&Arc<Object>> {
        self.objects.get(id).map(|declared| &declared.object)
    }

    /// Every object, in the order of [`ObjectKind::ALL`], by name.
    pub fn all_objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.values().map(|declared| &*declared.object)
    }

    /// Every object by its id.
    pub(crate) fn by_id(&self) -> Objects<'_> {
        self.objects.iter().map(|(id, declared)| (id.clone(), &*declared.object)).collect()
    }

    /// The feature view of that name.
    pub fn feature_view(&self, name: &Name) -> Option<&FeatureView> {
        match self.object(&ObjectId { kind: ObjectKind::FeatureView, name: name.clone() }).map(|object| &**object) {
            Some(Object::FeatureView(view)) => Some(view),
            Some(
                Object::Entity(_) | Object::Source(_) | Object::OnDemandFeatureView(_) | Object::FeatureService(_),
            )
            | None => None,
        }
    }

    /// Row sets that no view reads any more, oldest first.
    pub fn retired_row_sets(&self) -> impl Iterator<Item = (RowSetNumber, &RowSet)> {
        self.numbers.row_sets.iter().filter(|(_, row_set)| row_set.retired.is_some()).map(|(n, set)| (*n, set))
    }

    /// A snapshot: the state with everything it was folded from forgotten.
    pub fn encode(&self) -> Result<Vec<u8>> {
        stored::encode(&format!("the snapshot of project {} at revision {}", self.project, self.revision), FORMAT, self)
    }

    /// Reads a snapshot. UNIMPLEMENTED for one of a newer release, DATA_LOSS for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        stored::decode("the snapshot of a project", FORMAT, bytes)
    }
}

/// Objects are written as a list: an id is no JSON key, and is in the object.
mod by_id {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Declared, ObjectId};

    pub(super) fn serialize<S: Serializer>(
        objects: &BTreeMap<ObjectId, Declared>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(objects.values())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<ObjectId, Declared>, D::Error> {
        let list = Vec::<Declared>::deserialize(deserializer)?;
        Ok(list.into_iter().map(|declared| (declared.object.id(), declared)).collect())
    }
}
