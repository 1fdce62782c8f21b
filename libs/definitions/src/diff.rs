//! What differs between two sets of definitions, field by field.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use larder_types::{Revision, format_duration};
use serde_json::Value;

use crate::{Object, ObjectId, numbering::Objects, state::ProjectState};

/// The difference between two states of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff {
    /// The one that is compared with.
    pub from: Revision,
    /// The one that is compared.
    pub to: Revision,
    /// In the order of kinds, by name; unchanged objects are left out.
    pub changes: Vec<ObjectChange>,
}

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// It was not there.
    Created,
    /// It was another.
    Changed,
    /// It is no longer there.
    Removed,
}

impl ChangeKind {
    /// The name on the outside.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Removed => "removed",
        }
    }
}

/// What happened to an object, and to which of its fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectChange {
    /// Which.
    pub id: ObjectId,
    /// What.
    pub kind: ChangeKind,
    /// Of a changed object only.
    pub fields: Vec<FieldChange>,
}

/// A field before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldChange {
    /// E.g. `features.age.type`; things with a name are found by it.
    pub path: String,
    /// None: it was not there.
    pub old: Option<String>,
    /// None: it is not there.
    pub new: Option<String>,
}

/// `features.age.type: int32 → int64`
impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => write!(f, "{}: {old} → {new}", self.path),
            (None, Some(new)) => write!(f, "{}: {new} (added)", self.path),
            (Some(old), None) => write!(f, "{}: {old} (removed)", self.path),
            (None, None) => f.write_str(&self.path),
        }
    }
}

/// What differs in `to` from `from`.
pub fn diff(from: &ProjectState, to: &ProjectState) -> Diff {
    Diff { from: from.revision, to: to.revision, changes: state_changes(from, to) }
}

/// What differs in `to` from `from`: definitions, and who declares them.
pub(crate) fn state_changes(from: &ProjectState, to: &ProjectState) -> Vec<ObjectChange> {
    let mut changes: BTreeMap<ObjectId, ObjectChange> =
        object_changes(&from.by_id(), &to.by_id()).into_iter().map(|change| (change.id.clone(), change)).collect();
    for (id, new) in &to.objects {
        let Some(old) = from.objects.get(id).filter(|old| old.origin != new.origin) else { continue };
        let change = changes.entry(id.clone()).or_insert_with(|| ObjectChange {
            id: id.clone(),
            kind: ChangeKind::Changed,
            fields: Vec::new(),
        });
        let (old, new) = (Some(old.origin.clone()), Some(new.origin.clone()));
        change.fields.push(FieldChange { path: ORIGIN.to_owned(), old, new });
    }
    changes.into_values().collect()
}

/// Who declares an object, among its fields.
const ORIGIN: &str = "origin";

/// What differs in `new` from `old`, in the order of kinds, by name.
pub(crate) fn object_changes(old: &Objects<'_>, new: &Objects<'_>) -> Vec<ObjectChange> {
    let ids: BTreeSet<&ObjectId> = old.keys().chain(new.keys()).collect();
    let changes = ids.into_iter().filter_map(|id| {
        let (kind, fields) = match (old.get(id), new.get(id)) {
            (None, None) => return None,
            (None, Some(_)) => (ChangeKind::Created, Vec::new()),
            (Some(_), None) => (ChangeKind::Removed, Vec::new()),
            (Some(old), Some(new)) if old == new => return None,
            (Some(old), Some(new)) => (ChangeKind::Changed, field_changes(old, new)),
        };
        Some(ObjectChange { id: id.clone(), kind, fields })
    });
    changes.collect()
}

/// What differs between two objects of one id.
fn field_changes(old: &Object, new: &Object) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    compare("", Some(&fields(old)), Some(&fields(new)), &mut changes);
    changes
}

/// An object's fields as users write them: description, owner and tags stand beside the others.
fn fields(object: &Object) -> Value {
    let tagged = serde_json::to_value(object).unwrap_or_default();
    let Value::Object(tagged) = tagged else { return tagged };
    let Some(Value::Object(mut fields)) = tagged.into_values().next() else { return Value::Null };
    if let Some(Value::Object(metadata)) = fields.remove("metadata") {
        fields.extend(metadata);
    }
    Value::Object(fields)
}

fn compare(path: &str, old: Option<&Value>, new: Option<&Value>, changes: &mut Vec<FieldChange>) {
    let nothing = Value::Object(serde_json::Map::new());
    match (old, new) {
        _ if old == new => {}
        (Some(old), None) if is_group(old) => compare(path, Some(old), Some(&nothing), changes),
        (None, Some(new)) if is_group(new) => compare(path, Some(&nothing), Some(new), changes),
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys {
                compare(&join(path, key), old.get(key), new.get(key), changes);
            }
        }
        (Some(Value::Array(old_items)), Some(Value::Array(new_items))) => match (named(old_items), named(new_items)) {
            (Some(old), Some(new)) => compare_named(path, &old, &new, changes),
            (None, _) | (_, None) => changes.push(change(path, old, new)),
        },
        (_, _) => changes.push(change(path, old, new)),
    }
}

/// Things with names, found by name; a change of their order is a change too.
fn compare_named(path: &str, old: &[(String, &Value)], new: &[(String, &Value)], changes: &mut Vec<FieldChange>) {
    let find = |items: &[(String, &'_ Value)], name: &str| items.iter().position(|(known, _)| known == name);
    for (name, value) in old {
        let other = find(new, name).map(|position| new[position].1);
        compare(&join(path, name), Some(value), other, changes);
    }
    for (name, value) in new.iter().filter(|(name, _)| find(old, name).is_none()) {
        compare(&join(path, name), None, Some(value), changes);
    }
    let order = |items: &[(String, &Value)], others: &[(String, &Value)]| -> Vec<String> {
        items.iter().filter(|(name, _)| find(others, name).is_some()).map(|(name, _)| name.clone()).collect()
    };
    let (old_order, new_order) = (order(old, new), order(new, old));
    if old_order != new_order {
        changes.push(FieldChange {
            path: format!("{path} (order)"),
            old: Some(old_order.join(", ")),
            new: Some(new_order.join(", ")),
        });
    }
}

/// Fields without a name of their own, as tags or a schedule: each is told.
fn is_group(value: &Value) -> bool {
    value
        .as_object()
        .is_some_and(|fields| !fields.is_empty() && !fields.contains_key("name") && !fields.contains_key("view"))
}

/// The items of a list by their names, where all have one and no two the same: features and join keys by name, uses of a
/// view by alias or view.
fn named(items: &[Value]) -> Option<Vec<(String, &Value)>> {
    let name = |item: &Value| {
        let name = item.get("name").or_else(|| item.get("as")).or_else(|| item.get("view"))?;
        name.as_str().map(str::to_owned)
    };
    let named: Vec<_> = items.iter().map(|item| Some((name(item)?, item))).collect::<Option<_>>()?;
    let distinct: BTreeSet<&String> = named.iter().map(|(name, _)| name).collect();
    (distinct.len() == named.len()).then_some(named)
}

fn change(path: &str, old: Option<&Value>, new: Option<&Value>) -> FieldChange {
    let show = |value: Option<&Value>| match (path, value) {
        ("ttl" | "allowed_lateness", Some(Value::Number(micros))) => {
            Some(format_duration(Duration::from_micros(micros.as_u64().unwrap_or(0))))
        }
        ("ttl", None) => Some("none".to_owned()),
        (_, value) => value.map(show),
    };
    FieldChange { path: path.to_owned(), old: show(old), new: show(new) }
}

fn show(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(show).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => match fields.get("type").or_else(|| fields.get("view")) {
            Some(Value::String(text)) => text.clone(),
            Some(_) | None => value.to_string(),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
