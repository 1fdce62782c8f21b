//! What a request needs of its spine.

use arrow::datatypes::{DataType, Schema};
use larder_definitions::selection::Selection;
use larder_types::{Error, KeyType, Name, Result, ScalarType, ValueType, near_names};

use crate::widen::{Declared, can_be_request, can_widen, has_no_values, is_integer, misfit, type_name};

/// The columns that a request needs of its spine.
#[derive(Debug, Clone)]
pub(super) struct Needed {
    pub(super) time: String,
    pub(super) keys: Vec<(Name, KeyType)>,
    pub(super) request: Vec<(Name, ValueType)>,
}

impl Needed {
    pub(super) fn new(selection: &Selection, event_time: &str) -> Self {
        Self {
            time: event_time.to_owned(),
            keys: selection.entity_columns.iter().map(|(name, key_type)| (name.clone(), *key_type)).collect(),
            request: selection.request_columns.clone(),
        }
    }

    /// The type that text of a column is read as, if the column is needed. The width of an integer key does not matter.
    pub(super) fn type_of(&self, column: &str) -> Option<ValueType> {
        let key_type = |key: KeyType| if key == KeyType::Int32 { KeyType::Int64 } else { key };
        let key = self.keys.iter().find(|(name, _)| *name == *column).map(|(_, key)| key_type(*key).scalar().into());
        let request = || self.request.iter().find(|(name, _)| *name == *column).map(|(_, value_type)| *value_type);
        let time = || (self.time == column).then_some(ValueType::Scalar(ScalarType::Timestamp));
        time().or(key).or_else(request)
    }

    /// Checks that a spine has what is needed. `INVALID_ARGUMENT` names each column at fault.
    pub(super) fn check(&self, spine: &str, schema: &Schema) -> Result<()> {
        let mut wrong = Vec::new();
        let mut look = |name: &str, what: &str, wanted: &str, fits: &dyn Fn(&DataType) -> bool| {
            let Ok(field) = schema.field_with_name(name) else {
                wrong.push((name.to_owned(), missing(schema, name, what, wanted)));
                return;
            };
            if !fits(field.data_type()) {
                let text = format!("column `{name}` ({what}) {}", instead(field.data_type(), wanted));
                wrong.push((name.to_owned(), text));
            }
        };
        let is_time = |found: &DataType| !has_no_values(found) && can_widen(found, ScalarType::Timestamp.into());
        look(&self.time, "the time of each row", ScalarType::Timestamp.as_str(), &is_time);
        for (name, key_type) in &self.keys {
            look(name.as_str(), "join key", &key_type.to_string(), &|found| fits_key(found, *key_type));
        }
        for (name, value_type) in &self.request {
            let what = "request data of on-demand features";
            look(name.as_str(), what, &value_type.to_string(), &|found| can_be_request(found, *value_type));
        }
        if wrong.is_empty() {
            return Ok(());
        }
        let texts: Vec<&str> = wrong.iter().map(|(_, text)| text.as_str()).collect();
        let error = Error::invalid_argument(format!("{spine}: {}", texts.join("; ")));
        Err(wrong.iter().fold(error, |error, (name, text)| error.with_violation(format!("spine.{name}"), text)))
    }
}

/// What is there in place of what is wanted, and what to write.
fn instead(found: &DataType, wanted: &str) -> String {
    if has_no_values(found) {
        return format!("has no value in any row, {wanted} is wanted");
    }
    if wanted != ScalarType::Timestamp.as_str() {
        return misfit(found, wanted, Declared::Not);
    }
    let advice = if matches!(found, DataType::Date32 | DataType::Date64) {
        "a day is no instant, write 2026-01-31T00:00:00Z or cast the column"
    } else {
        "times such as 2026-01-31T09:30:00Z, in a column of timestamps"
    };
    format!("has type {}, {wanted} is wanted: {advice}", type_name(found))
}

/// Integers are keys by value, whatever their width. Of a key that is null there are no features.
fn fits_key(found: &DataType, wanted: KeyType) -> bool {
    match wanted {
        KeyType::Int32 | KeyType::Int64 => is_integer(found) || has_no_values(found),
        KeyType::Bool | KeyType::String | KeyType::Bytes | KeyType::Timestamp => {
            can_widen(found, wanted.scalar().into())
        }
    }
}

fn missing(schema: &Schema, name: &str, what: &str, wanted: &str) -> String {
    let known: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let near = near_names(name, known.iter().copied());
    let hint = match near.as_slice() {
        [] if known.is_empty() => "it has no columns at all".to_owned(),
        [] => format!("its columns are {}", known.join(", ")),
        near => format!("did you mean {}?", near.join(", ")),
    };
    format!("there is no column `{name}` ({what}, {wanted}); {hint}")
}

/// A view that is not offline is in no training set.
pub(super) fn check_offline(selection: &Selection) -> Result<()> {
    let online_only = selection.views.iter().find(|selected| !selected.view.definition.offline);
    match online_only {
        Some(selected) => {
            let name = selected.view.name();
            Err(Error::failed_precondition(format!("view {name} says `offline: false`, so it is in no training set")))
        }
        None => Ok(()),
    }
}

/// A feature may not have the name of a column of the spine, nor two columns of the spine one name.
pub(super) fn check_names(selection: &Selection, schema: &Schema, full_names: bool) -> Result<()> {
    let mut names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let clash = selection.outputs.iter().find(|output| names.contains(&output.name.as_str()));
    if let Some(output) = clash {
        let way_out = if full_names {
            "use its view under an alias"
        } else {
            "ask for full names, or use its view under an alias"
        };
        return Err(Error::invalid_field(
            "features",
            format!("feature `{}` has the name of a column of the spine: {way_out}", output.name),
        ));
    }
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Error::invalid_field("spine", format!("two columns of the spine are called `{}`", pair[0]))),
        None => Ok(()),
    }
}
