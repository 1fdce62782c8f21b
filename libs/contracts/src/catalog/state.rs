//! What the registry knows of views and push sources besides their definitions.

use std::{collections::BTreeMap, sync::Arc};

use larder_codec::{RowSchema, SchemaColumn};
use larder_definitions::{FeatureView, JoinKey, PushSchema, ResolvedView};
use larder_types::{ColumnNumber, KeySpaceNumber, Result, Revision, RowSetNumber, SchemaNumber};

use crate::{
    registry::v1 as api,
    wire::{Path, Wire, all_to_wire},
};

/// A view whose sources and key space are not looked up yet.
#[derive(Debug)]
pub(super) struct UnlinkedView {
    pub(super) definition: FeatureView,
    pub(super) key_space: KeySpaceNumber,
    pub(super) keys: Vec<JoinKey>,
    pub(super) row_set: RowSetNumber,
    pub(super) write_row_sets: Vec<RowSetNumber>,
    pub(super) columns: Vec<ColumnNumber>,
    pub(super) schema: Arc<RowSchema>,
    pub(super) schemas: BTreeMap<SchemaNumber, Arc<RowSchema>>,
    pub(super) pushed_since: Revision,
}

pub(super) fn view_to_wire(view: &ResolvedView) -> api::ViewState {
    api::ViewState {
        key_space: view.key_space.number.0,
        keys: all_to_wire(&view.key_space.keys),
        row_set: view.row_set.0,
        write_row_sets: view.write_row_sets.iter().map(|number| number.0).collect(),
        columns: view.columns.iter().map(|number| number.0).collect(),
        schema: view.schema.number().0,
        schemas: view.schemas.values().map(|schema| schema.to_wire()).collect(),
        pushed_since: view.pushed_since.0,
    }
}

/// Checks that every feature has a column, and that the schemas have it.
pub(super) fn view_from_wire(definition: FeatureView, message: api::ViewState, at: &Path<'_>) -> Result<UnlinkedView> {
    let api::ViewState { key_space, keys, row_set, write_row_sets, columns, schema, schemas, pushed_since } = message;
    let schemas: Vec<RowSchema> = at.read_all("schemas", schemas)?;
    let schemas: BTreeMap<_, _> = schemas.into_iter().map(|schema| (schema.number(), Arc::new(schema))).collect();
    let current = schemas.get(&SchemaNumber(schema)).cloned();
    let current = current.ok_or_else(|| at.field("schema").invalid(format!("schema {schema} is not in `schemas`")))?;
    let columns: Vec<ColumnNumber> = columns.into_iter().map(ColumnNumber).collect();
    if columns.len() != definition.features.len() {
        let (columns, features) = (columns.len(), definition.features.len());
        return Err(at.field("columns").invalid(format!("the view has {features} features, and {columns} columns")));
    }
    if let Some(column) = columns.iter().find(|column| current.position(**column).is_none()) {
        return Err(at.field("columns").invalid(format!("column {column} is not in schema {schema}")));
    }
    Ok(UnlinkedView {
        definition,
        key_space: KeySpaceNumber(key_space),
        keys: at.read_all("keys", keys)?,
        row_set: RowSetNumber(row_set),
        write_row_sets: write_row_sets.into_iter().map(RowSetNumber).collect(),
        columns,
        schema: current,
        schemas,
        pushed_since: Revision(pushed_since),
    })
}

impl Wire for RowSchema {
    type Message = api::RowSchema;

    fn to_wire(&self) -> api::RowSchema {
        let column = |SchemaColumn { number, value_type }: &SchemaColumn| api::SchemaColumn {
            number: number.0,
            r#type: Some(value_type.to_wire()),
        };
        api::RowSchema { number: self.number().0, columns: self.columns().iter().map(column).collect() }
    }

    fn from_wire(message: api::RowSchema, at: &Path<'_>) -> Result<Self> {
        let api::RowSchema { number, columns } = message;
        let columns_at = at.field("columns");
        let column = |(position, api::SchemaColumn { number, r#type })| {
            let value_type = columns_at.index(position).read("type", r#type)?;
            Ok(SchemaColumn { number: ColumnNumber(number), value_type })
        };
        let columns = columns.into_iter().enumerate().map(column).collect::<Result<_>>()?;
        Self::new(SchemaNumber(number), columns).map_err(|error| at.invalid(error.to_string()))
    }
}

impl Wire for PushSchema {
    type Message = api::PushState;

    fn to_wire(&self) -> api::PushState {
        let column = |(name, value_type): &(String, larder_types::ValueType)| api::PushColumn {
            name: name.clone(),
            r#type: Some(value_type.to_wire()),
        };
        api::PushState {
            schema: self.number.0,
            keys: all_to_wire(&self.keys),
            columns: self.columns.iter().map(column).collect(),
        }
    }

    fn from_wire(message: api::PushState, at: &Path<'_>) -> Result<Self> {
        let api::PushState { schema, keys, columns } = message;
        let columns_at = at.field("columns");
        let column = |(position, api::PushColumn { name, r#type })| {
            let value_type = columns_at.index(position).read("type", r#type)?;
            Ok((name, value_type))
        };
        Ok(Self {
            number: SchemaNumber(schema),
            keys: at.read_all("keys", keys)?,
            columns: columns.into_iter().enumerate().map(column).collect::<Result<_>>()?,
        })
    }
}
