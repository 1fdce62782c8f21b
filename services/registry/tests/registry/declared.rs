//! Definitions to test with.

use std::path::Path;

use larder_client::{ChangeRequest, RegistryClient};
use larder_definitions::{ChangeSet, Entity, JoinKey, Metadata, Object, ObjectId, ObjectKind, yaml::read_text};
use larder_types::{KeyType, Revision};

use crate::surroundings::{name, project};

/// Every kind of object.
pub(crate) const BASE: &str = "project: payments
entities:
  - { name: customer, join_keys: [{ name: customer_id, type: string }], owner: risk-platform }
sources:
  - { name: history, parquet: { path: /data/history/ }, event_time: at }
  - { name: pushed, push: {} }
feature_views:
  - name: profile
    entities: [customer]
    source: history
    push_source: pushed
    ttl: 30d
    tags: { domain: credit }
    features:
      - { name: age, type: int64, description: Age in years }
      - { name: income, type: float64 }
on_demand_feature_views:
  - name: ratios
    inputs: [profile]
    request: [{ name: loan_amount, type: float64 }]
    features: [{ name: loan_to_income, type: float64, sql: loan_amount / income }]
feature_services:
  - { name: scoring, features: [{ view: profile, select: [age] }, { view: ratios }] }
";

pub(crate) fn objects(text: &str) -> Vec<Object> {
    match read_text("larder.yaml", Path::new("/repo"), text) {
        Ok(repository) => repository.into_objects(),
        Err(problems) => panic!("{problems:?}"),
    }
}

/// What `larder apply` sends: `repo` declares exactly `text`.
pub(crate) fn whole(text: &str) -> ChangeRequest {
    let change = ChangeSet { puts: objects(text), message: "as declared".to_owned(), ..of_origin("repo") };
    ChangeRequest { change, remove_missing: true }
}

pub(crate) fn of_origin(origin: &str) -> ChangeSet {
    ChangeSet { origin: origin.to_owned(), ..ChangeSet::default() }
}

pub(crate) fn only(change: ChangeSet) -> ChangeRequest {
    ChangeRequest { change, remove_missing: false }
}

/// `origin` declares one more entity.
pub(crate) fn one_more(origin: &str, entity_name: &str) -> ChangeRequest {
    let message = format!("{entity_name} by {origin}");
    only(ChangeSet { puts: vec![entity(entity_name, "")], message, ..of_origin(origin) })
}

pub(crate) fn entity(text: &str, description: &str) -> Object {
    let join_keys = vec![JoinKey { name: name("id"), key_type: KeyType::Int64 }];
    let metadata = Metadata { description: description.to_owned(), ..Metadata::default() };
    Object::Entity(Entity { name: name(text), join_keys, metadata })
}

pub(crate) fn id(kind: ObjectKind, text: &str) -> ObjectId {
    ObjectId { kind, name: name(text) }
}

pub(crate) fn view(text: &str) -> ObjectId {
    id(ObjectKind::FeatureView, text)
}

/// Applies `BASE` as the first revision.
pub(crate) async fn declare_base(client: &RegistryClient) {
    let applied = client.apply(&project(), &whole(BASE)).await.unwrap();
    assert_eq!((applied.revision, applied.changed), (Revision(1), true));
}

/// The names of all objects at the newest revision.
pub(crate) async fn declared_names(client: &RegistryClient) -> Vec<String> {
    let page = client.objects(&project(), None, None, "").await.unwrap();
    assert_eq!(page.next_page_token, None);
    page.objects.iter().map(|object| object.id().to_string()).collect()
}
