//! The rows of a request: its join keys and request data, checked against what the plan needs.

use std::collections::HashMap;

use arrow::{
    array::{Array, ArrayRef},
    datatypes::DataType,
};
use larder_contracts::columns::{widen, wrong_type};
use larder_definitions::{selection::Selection, unknown_name};
use larder_types::{Error, Name, Result, ScalarType, ValueType};

use crate::{app::Request, budget::Budget, keys::repeat_for_all};

/// The columns of a request by name, all of `rows` rows.
#[derive(Debug)]
pub struct Entities {
    /// Entities asked for.
    pub rows: usize,
    /// Join keys by name.
    keys: HashMap<Name, ArrayRef>,
    /// Request data in the order of [`Selection::request_columns`].
    pub request: Vec<ArrayRef>,
}

impl Entities {
    /// Checks what came against what `selection` needs.
    ///
    /// `rows` counts where no column tells. INVALID_ARGUMENT names the column: missing, not needed, of another type, of
    /// another length. RESOURCE_EXHAUSTED names the limit that so many rows are above.
    pub fn check(selection: &Selection, asked: &Request, budget: &mut Budget) -> Result<Self> {
        let Request { entities, request_data, rows, .. } = asked;
        let keys = check_keys(selection, entities)?;
        let rows = count(&keys, request_data, *rows)?;
        // Before anything is made of so many rows: `rows` is a number that anybody can write.
        budget.check_entities(rows, selection.outputs.len())?;
        let request = check_request(selection, request_data, rows, budget)?;
        Ok(Self { rows, keys, request })
    }

    /// The columns of a key, in its order.
    pub fn key(&self, columns: &[Name]) -> Vec<ArrayRef> {
        columns.iter().filter_map(|column| self.keys.get(column)).cloned().collect()
    }
}

fn check_keys(selection: &Selection, columns: &[(String, ArrayRef)]) -> Result<HashMap<Name, ArrayRef>> {
    let wanted = &selection.entity_columns;
    let mut keys = HashMap::with_capacity(wanted.len());
    for (name, values) in columns {
        let Some((name, key_type)) = wanted.get_key_value(name.as_str()) else {
            let known: Vec<&str> = wanted.keys().map(Name::as_str).collect();
            let hint = unknown_name("what these features need", "join key", name, &known);
            return Err(Error::invalid_field(format!("entities.{name}"), expected(&hint, &known)));
        };
        let key_type = key_type.scalar();
        if !is_key(values.data_type(), key_type) {
            return Err(wrong_type(format!("entities.{name}"), values.data_type(), key_type.into()));
        }
        if keys.insert(name.clone(), values.clone()).is_some() {
            return Err(Error::invalid_field(format!("entities.{name}"), "is given twice"));
        }
    }
    match wanted.iter().find(|(name, _)| !keys.contains_key(*name)) {
        None => Ok(keys),
        Some((missing, key_type)) => Err(Error::invalid_field(
            format!("entities.{missing}"),
            format!("is missing: these features are found by it; send a column of that name with the type {key_type}"),
        )),
    }
}

fn expected(hint: &Error, known: &[&str]) -> String {
    format!("{hint}; they need {}", if known.is_empty() { "no entity at all".to_owned() } else { known.join(", ") })
}

/// Integers are the same key whatever their width.
fn is_key(found: &DataType, wanted: ScalarType) -> bool {
    let is_integer = |data_type: &DataType| matches!(data_type, DataType::Int32 | DataType::Int64);
    *found == wanted.arrow() || (is_integer(found) && is_integer(&wanted.arrow()))
}

/// Without join keys, request data tells how many rows there are, and one row is the least.
fn count(keys: &HashMap<Name, ArrayRef>, request: &[(String, ArrayRef)], rows: usize) -> Result<usize> {
    let mut lengths = keys.iter().map(|(name, values)| (name, values.len()));
    let Some((first, length)) = lengths.next() else {
        let told = if rows > 0 { rows } else { request.iter().map(|(_, values)| values.len()).max().unwrap_or(1) };
        return Ok(told.max(1));
    };
    match lengths.find(|(_, other)| *other != length) {
        None if rows == 0 || rows == length => Ok(length),
        None => Err(Error::invalid_field("rows", format!("is {rows}, but {first} has {length} rows: leave it 0"))),
        Some((name, other)) => Err(Error::invalid_field(
            format!("entities.{name}"),
            format!("has {other} rows, but {first} has {length}: every column needs a row for every entity"),
        )),
    }
}

fn check_request(
    selection: &Selection,
    columns: &[(String, ArrayRef)],
    rows: usize,
    budget: &mut Budget,
) -> Result<Vec<ArrayRef>> {
    let mut given: HashMap<&str, &ArrayRef> = HashMap::with_capacity(columns.len());
    for (name, values) in columns {
        if given.insert(name, values).is_some() {
            return Err(Error::invalid_field(format!("request_data.{name}"), "is given twice"));
        }
    }
    let wanted = selection.request_columns.iter();
    let column = |(name, value_type): &(Name, ValueType)| {
        request_column(given.remove(name.as_str()), name, *value_type, rows, budget)
    };
    let request = wanted.map(column);
    let request = request.collect::<Result<_>>()?;
    // A view's request data may be sent with any choice of its features.
    for (name, value_type) in &selection.spare_request_columns {
        if let spare @ Some(_) = given.remove(name.as_str()) {
            request_column(spare, name, *value_type, rows, budget)?;
        }
    }
    match given.keys().min() {
        None => Ok(request),
        Some(extra) => {
            let known: Vec<&str> = selection.request_columns.iter().map(|(name, _)| name.as_str()).collect();
            let hint = unknown_name("what these features need", "request data", extra, &known);
            Err(Error::invalid_field(format!("request_data.{extra}"), hint.message()))
        }
    }
}

fn request_column(
    given: Option<&ArrayRef>,
    name: &Name,
    wanted: ValueType,
    rows: usize,
    budget: &mut Budget,
) -> Result<ArrayRef> {
    let field = || format!("request_data.{name}");
    let values = given.ok_or_else(|| {
        Error::invalid_field(
            field(),
            format!("is missing: an on-demand feature needs it; send a column of that name with the type {wanted}"),
        )
    })?;
    let values = widen(field, values, wanted)?;
    match values.len() {
        length if length == rows => Ok(values),
        1 => repeat_for_all(&values, rows, budget),
        length => Err(Error::invalid_field(field(), format!("has {length} rows: send one for all, or {rows}"))),
    }
}
