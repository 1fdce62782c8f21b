//! Projects to test with.

use std::path::Path;

use larder_definitions::{
    ChangeSet, Object, Problem, ProjectState, RevisionMeta, RevisionRecord, apply,
    yaml::{FeatureRepository, read_text},
};
use larder_types::{Name, ProjectNumber, Timestamp};

/// The language's sample: every kind of object and nearly every field.
pub(crate) const SAMPLE: &str = include_str!("../sample.yaml");

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn read(text: &str) -> Result<FeatureRepository, Vec<Problem>> {
    read_text("larder.yaml", Path::new("/repo"), text)
}

pub(crate) fn objects(text: &str) -> Vec<Object> {
    match read(text) {
        Ok(repository) => repository.into_objects(),
        Err(problems) => panic!("{}", lines(&problems)),
    }
}

pub(crate) fn lines<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().map(|item| format!("{item}\n")).collect()
}

pub(crate) fn empty() -> ProjectState {
    ProjectState::empty(name("payments"), ProjectNumber(1))
}

pub(crate) fn meta(state: &ProjectState) -> RevisionMeta {
    let minutes = i64::try_from(state.revision.0).unwrap();
    RevisionMeta {
        at: Timestamp::from_micros(1_769_848_200_000_000 + minutes * 60_000_000),
        principal: "ada".to_owned(),
        address: "127.0.0.1:50000".to_owned(),
    }
}

/// The state and record after `origin` declares exactly what `text` says.
pub(crate) fn applied(state: &ProjectState, text: &str) -> (RevisionRecord, ProjectState) {
    let change = ChangeSet { message: "as declared".to_owned(), ..ChangeSet::whole(state, "repo", objects(text)) };
    apply(state, &change, meta(state)).unwrap().expect("something changes")
}

/// A small project: one view with two features, with room for more text.
pub(crate) fn small(view_fields: &str, more: &str) -> String {
    format!(
        "project: payments
entities:
  - name: customer
    join_keys: [{{ name: customer_id, type: string }}]
sources:
  - name: history
    parquet: {{ path: data/ }}
    event_time: at
  - name: pushed
    push: {{}}
feature_views:
  - name: profile
    entities: [customer]
    source: history
{view_fields}
{more}"
    )
}

pub(crate) const TWO_FEATURES: &str = "    features:
      - { name: age, type: int64 }
      - { name: income, type: float64 }";
