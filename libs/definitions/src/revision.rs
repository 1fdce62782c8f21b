//! Revisions: what is appended when definitions change, and the fold that makes a state of them.
//!
//! A record holds its whole content, the numbers it gave included, so that the state after it is a pure function of the
//! state before it and the record.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use larder_types::{
    ColumnNumber, Error, KeySpaceNumber, Name, Result, Revision, RowSetNumber, SchemaNumber, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::{
    JoinKey, Object, ObjectId, ObjectKind,
    feeds::Touched,
    state::{
        Declared, Numbers, ProjectState, PushColumns, Retirement, RowSet, SchemaColumns, ViewAssignment, ViewNumbers,
    },
    stored,
};

/// The newest format of a record.
const FORMAT: u32 = 1;

/// One revision of a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevisionRecord {
    /// Whose.
    pub project: Name,
    /// Its number: the parent's and one.
    pub number: Revision,
    /// The one before it.
    pub parent: Revision,
    /// When it was made, by the registry's clock.
    pub created_at: Timestamp,
    /// Who made it.
    pub principal: String,
    /// From where.
    pub address: String,
    /// Who declares these objects.
    pub origin: String,
    /// For people.
    pub message: String,
    /// The revision whose definitions it restores, of a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_to: Option<Revision>,
    /// Created and changed objects.
    pub puts: Vec<Put>,
    /// Removed ones.
    pub removes: Vec<ObjectId>,
    /// What was numbered.
    pub numbers: Assigned,
}

/// An object that a revision creates or changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Put {
    /// The object.
    pub object: Arc<Object>,
    /// Who declares it: the revision's origin, but for a rollback, which gives objects back to whoever declared them.
    pub origin: String,
}

/// The numbers that a revision gives.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assigned {
    /// New ones.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub key_spaces: BTreeMap<KeySpaceNumber, Vec<JoinKey>>,
    /// Feature views whose row set, schema or columns are others than before.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub views: BTreeMap<Name, AssignedView>,
    /// Push sources whose columns are others than before; none: no view reads it any more.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub push_sources: BTreeMap<Name, Option<AssignedPush>>,
}

/// What a revision gives a view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssignedView {
    /// Where its rows lie.
    pub key_space: KeySpaceNumber,
    /// A new one, or one it has or had.
    pub row_set: RowSetNumber,
    /// What rows are written with.
    pub schema: SchemaNumber,
    /// That schema's columns.
    pub schema_columns: SchemaColumns,
    /// The column of each feature.
    pub columns: BTreeMap<Name, ColumnNumber>,
}

/// What a revision gives a push source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssignedPush {
    /// What rows of its log are written with.
    pub schema: SchemaNumber,
    /// That schema's columns.
    pub columns: PushColumns,
}

impl RevisionRecord {
    /// The bytes that a registry store keeps.
    pub fn encode(&self) -> Result<Vec<u8>> {
        stored::encode(&format!("revision {} of project {}", self.number, self.project), FORMAT, self)
    }

    /// Reads a record. UNIMPLEMENTED for one of a newer release, DATA_LOSS for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        stored::decode("a revision", FORMAT, bytes)
    }
}

impl ProjectState {
    /// The state after `record`. DATA_LOSS where the record does not follow, or gives a number again.
    pub fn next(&self, record: &RevisionRecord) -> Result<Self> {
        self.clone().fold_all([record])
    }

    /// The state after all of `records`, in order. See [`ProjectState::next`].
    pub fn fold_all<'a>(mut self, records: impl IntoIterator<Item = &'a RevisionRecord>) -> Result<Self> {
        for record in records {
            let before = self.revision;
            self.fold(record).map_err(|error| {
                error.context(format!("revision {} of project {} after {before}", record.number, self.project))
            })?;
        }
        Ok(self)
    }

    fn fold(&mut self, record: &RevisionRecord) -> Result<()> {
        let follows = record.project == self.project
            && record.parent == self.revision
            && self.revision.0.checked_add(1) == Some(record.number.0);
        if !follows {
            return Err(Error::data_loss(format!(
                "it says project {}, number {} and parent {}",
                record.project, record.number, record.parent
            )));
        }
        let retirement = Retirement { at: record.created_at, revision: record.number };
        let touched = Touched::by(record, self);
        for id in &record.removes {
            self.objects.remove(id).ok_or_else(|| Error::data_loss(format!("it removes {id}, which is not there")))?;
            if id.kind == ObjectKind::FeatureView {
                self.numbers.remove_view(&id.name, retirement);
            }
        }
        for put in &record.puts {
            let declared = Declared { object: put.object.clone(), origin: put.origin.clone(), revision: record.number };
            self.objects.insert(put.object.id(), declared);
        }
        self.numbers.fold(&record.numbers, retirement)?;
        touched.remember(self, record.number);
        self.revision = record.number;
        self.created_at = record.created_at;
        self.principal.clone_from(&record.principal);
        self.origin.clone_from(&record.origin);
        Ok(())
    }
}

impl Numbers {
    fn remove_view(&mut self, view: &Name, retirement: Retirement) {
        if let Some(current) = self.views.get_mut(view).and_then(|numbers| numbers.current.take()) {
            self.retire(current.row_set, retirement);
        }
    }

    fn retire(&mut self, row_set: RowSetNumber, retirement: Retirement) {
        if let Some(row_set) = self.row_sets.get_mut(&row_set) {
            row_set.retired = Some(retirement);
        }
    }

    fn fold(&mut self, assigned: &Assigned, retirement: Retirement) -> Result<()> {
        for (number, keys) in &assigned.key_spaces {
            self.add_key_space(*number, keys)?;
        }
        for (view, assigned) in &assigned.views {
            self.assign_view(view, assigned, retirement)
                .map_err(|error| error.context(format!("feature view {view}")))?;
        }
        for (source, assigned) in &assigned.push_sources {
            self.assign_push(source, assigned.as_ref()).map_err(|error| error.context(format!("source {source}")))?;
        }
        Ok(())
    }

    fn add_key_space(&mut self, number: KeySpaceNumber, keys: &[JoinKey]) -> Result<()> {
        if number < self.next_key_space || self.key_spaces.values().any(|known| known == keys) {
            return Err(given_again(format!("key space {number}")));
        }
        self.next_key_space = KeySpaceNumber(after(number.0)?);
        self.key_spaces.insert(number, keys.to_vec());
        Ok(())
    }

    fn assign_view(&mut self, view: &Name, assigned: &AssignedView, retirement: Retirement) -> Result<()> {
        if !self.key_spaces.contains_key(&assigned.key_space) {
            return Err(Error::data_loss(format!("key space {} was never given", assigned.key_space)));
        }
        self.check_columns(view, assigned)?;
        self.assign_row_set(view, assigned)?;
        let numbers = self.views.entry(view.clone()).or_default();
        numbers.count(assigned)?;
        let assignment =
            ViewAssignment { row_set: assigned.row_set, schema: assigned.schema, columns: assigned.columns.clone() };
        let before = numbers.current.replace(assignment);
        if let Some(before) = before.filter(|before| before.row_set != assigned.row_set) {
            self.retire(before.row_set, retirement);
        }
        Ok(())
    }

    /// A known row set must be this view's, and is read again if it was retired; another must be a new one.
    fn assign_row_set(&mut self, view: &Name, assigned: &AssignedView) -> Result<()> {
        let number = assigned.row_set;
        if !self.row_sets.contains_key(&number) {
            if number < self.next_row_set {
                return Err(given_again(format!("row set {number}")));
            }
            self.next_row_set = RowSetNumber(after(number.0)?);
        }
        let row_set = self.row_sets.entry(number).or_insert_with(|| RowSet {
            view: view.clone(),
            key_space: assigned.key_space,
            schemas: BTreeMap::new(),
            feeds: BTreeSet::new(),
            retired: None,
        });
        if row_set.view != *view || row_set.key_space != assigned.key_space {
            return Err(given_again(format!("row set {number} of view {}", row_set.view)));
        }
        row_set.retired = None;
        row_set.schemas.insert(assigned.schema, assigned.schema_columns.clone());
        Ok(())
    }

    /// A schema number stands for one list of columns, a column number for one type, for ever.
    fn check_columns(&self, view: &Name, assigned: &AssignedView) -> Result<()> {
        for row_set in self.row_sets.values().filter(|row_set| row_set.view == *view) {
            for (number, columns) in &row_set.schemas {
                if *number == assigned.schema && *columns != assigned.schema_columns {
                    return Err(given_again(format!("schema {number}")));
                }
                for (column, value_type) in columns {
                    if assigned.schema_columns.get(column).is_some_and(|other| other != value_type) {
                        return Err(given_again(format!("column {column} of type {value_type}")));
                    }
                }
            }
        }
        let missing = assigned.columns.values().find(|column| !assigned.schema_columns.contains_key(column));
        match missing {
            Some(column) => Err(Error::data_loss(format!("schema {} lacks column {column}", assigned.schema))),
            None => Ok(()),
        }
    }

    fn assign_push(&mut self, source: &Name, assigned: Option<&AssignedPush>) -> Result<()> {
        let numbers = self.push_sources.entry(source.clone()).or_default();
        let Some(assigned) = assigned else {
            numbers.current = None;
            return Ok(());
        };
        let known = numbers.schemas.get(&assigned.schema);
        let is_new = known.is_none() && assigned.schema >= numbers.next_schema;
        if !is_new && known != Some(&assigned.columns) {
            return Err(given_again(format!("schema {}", assigned.schema)));
        }
        numbers.next_schema = numbers.next_schema.max(SchemaNumber(after(assigned.schema.0)?));
        numbers.current = Some(assigned.schema);
        numbers.schemas.insert(assigned.schema, assigned.columns.clone());
        Ok(())
    }
}

impl ViewNumbers {
    fn count(&mut self, assigned: &AssignedView) -> Result<()> {
        let last_column = assigned.schema_columns.keys().next_back().map_or(0, |column| column.0);
        self.next_column = self.next_column.max(ColumnNumber(after(last_column)?));
        self.next_schema = self.next_schema.max(SchemaNumber(after(assigned.schema.0)?));
        Ok(())
    }
}

fn after(number: u32) -> Result<u32> {
    number.checked_add(1).ok_or_else(|| Error::data_loss(format!("number {number} is the last there is")))
}

fn given_again(what: String) -> Error {
    Error::data_loss(format!("{what} was given before to something else"))
}
