//! The columns that a spine's files have by the folders they lie in.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch},
    datatypes::{Field, Schema, SchemaRef},
};
use futures::StreamExt;
use larder_types::{Error, Result, ScalarType, ValueType};

use super::{
    check::Needed,
    input::{Input, SpineBatch},
};
use crate::{
    hive::{self, repeat},
    storage::{FoundFile, Roots},
};

/// Columns whose value is the same in all rows of a file.
pub(super) struct FolderColumns {
    fields: Vec<Field>,
    /// By file, a value for each field, as a column of one row.
    values: HashMap<String, Vec<ArrayRef>>,
}

impl FolderColumns {
    /// Those of the folders below `path`. What is needed has the type that is needed, everything else is text.
    pub(super) fn find(path: &str, files: &[FoundFile], roots: &Roots, needed: &Needed) -> Result<Self> {
        let mut found = Self { fields: Vec::new(), values: HashMap::with_capacity(files.len()) };
        for (position, file) in files.iter().enumerate() {
            let columns = hive::columns(roots.folders_to(path, file)?.into_iter());
            let typed = |(name, _): &(String, String)| (name.clone(), needed.type_of(name).unwrap_or(TEXT));
            let typed: Vec<(String, ValueType)> = columns.iter().map(typed).collect();
            let fields: Vec<Field> =
                typed.iter().map(|(name, value_type)| Field::new(name, value_type.arrow(), true)).collect();
            if position == 0 {
                found.fields = fields;
            } else if found.fields != fields {
                return Err(other_folders(&files[0], file));
            }
            let values = columns.iter().zip(&typed).map(|((_, text), (name, value_type))| {
                hive::parse(text, *value_type).ok_or_else(|| misfit(file, name, text, *value_type))
            });
            found.values.insert(file.version.path.clone(), values.collect::<Result<_>>()?);
        }
        Ok(found)
    }

    /// Adds them to a spine, behind its own columns. A column that the files have too is theirs.
    pub(super) fn add_to(mut self, input: Input) -> Result<Input> {
        let Input { name, schema, batches } = input;
        let is_new: Vec<bool> = self.fields.iter().map(|field| schema.index_of(field.name()).is_err()).collect();
        retain(&mut self.fields, &is_new);
        self.values.values_mut().for_each(|values| retain(values, &is_new));
        if self.fields.is_empty() {
            return Ok(Input { name, schema, batches });
        }
        let fields = schema.fields().iter().map(|field| field.as_ref().clone()).chain(self.fields);
        let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let (of_files, wider) = (self.values, Arc::clone(&schema));
        let batches = batches.map(move |batch| with_values(batch?, &of_files, &wider));
        Ok(Input { name, schema, batches: batches.boxed() })
    }
}

const TEXT: ValueType = ValueType::Scalar(ScalarType::String);

fn retain<T>(items: &mut Vec<T>, keep: &[bool]) {
    let mut keep = keep.iter();
    items.retain(|_| keep.next().is_some_and(|keep| *keep));
}

fn with_values(batch: SpineBatch, of_files: &HashMap<String, Vec<ArrayRef>>, schema: &SchemaRef) -> Result<SpineBatch> {
    let SpineBatch { batch, file } = batch;
    let values = file.as_ref().and_then(|(file, _)| of_files.get(file.as_ref()));
    let values = values.ok_or_else(|| Error::internal("a batch of a spine is of none of its files"))?;
    let added = values.iter().map(|value| repeat(value, batch.num_rows()));
    let columns = batch.columns().iter().cloned().map(Ok).chain(added).collect::<Result<_>>()?;
    let batch =
        RecordBatch::try_new(Arc::clone(schema), columns).map_err(|error| Error::internal(error.to_string()))?;
    Ok(SpineBatch { batch, file })
}

fn other_folders(first: &FoundFile, file: &FoundFile) -> Error {
    let (first, file) = (&first.version.path, &file.version.path);
    let message = format!("the folders of `{first}` and `{file}` do not name the same columns (name=value)");
    Error::invalid_field("spine", message)
}

fn misfit(file: &FoundFile, name: &str, text: &str, wanted: ValueType) -> Error {
    let path = &file.version.path;
    Error::invalid_field("spine", format!("`{path}`: `{name}={text}` in its path is no {wanted}, which is needed"))
}
