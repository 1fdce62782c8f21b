//! What most tests declare, and how they ask for it.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, StringArray, cast::AsArray};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use larder_client::{Asked, FeatureValues, OnlineAnswer, OnlineRequest};
use larder_types::{Revision, Status, Timestamp};

use crate::sandbox::{Sandbox, name};

pub(crate) const SHOP: &str = r#"
project: shop
entities:
  - { name: customer, join_keys: [{ name: customer_id, type: int64 }] }
  - { name: product, join_keys: [{ name: sku, type: string }] }
  - { name: account, join_keys: [{ name: account_id, type: int32 }] }
sources:
  - { name: visits, push: {} }
  - { name: baskets, push: {} }
  - { name: skies, push: {} }
  - { name: accounts, push: {} }
feature_views:
  - name: profile
    entities: [customer]
    source: visits
    ttl: 24h
    features:
      - { name: score, type: float64 }
      - { name: visits, type: int32 }
      - { name: city, type: string }
  - name: basket
    entities: [product, customer]
    source: baskets
    features: [{ name: quantity, type: int64 }]
  - name: weather
    entities: []
    source: skies
    features: [{ name: temperature, type: float64 }]
  - name: ledger
    entities: [account]
    source: accounts
    features: [{ name: balance, type: int64 }]
on_demand_feature_views:
  - name: derived
    inputs: [profile]
    request: [{ name: total, type: float64 }, { name: bonus, type: int64 }]
    features:
      - { name: share, type: float64, sql: "score / total" }
      - { name: reward, type: int64, sql: "coalesce(visits, 0) + bonus" }
  - name: asked_only
    inputs: []
    request: [{ name: total, type: float64 }]
    features: [{ name: doubled, type: float64, sql: "total * 2" }]
feature_services:
  - { name: profile_service, features: [{ view: profile }] }
  - { name: basket_service, features: [{ view: basket }, { view: profile, select: [city] }] }
  - { name: weather_service, features: [{ view: weather }] }
  - { name: ledger_service, features: [{ view: ledger }] }
  - { name: derived_service, features: [{ view: derived }] }
  - { name: asked_service, features: [{ view: asked_only }] }
  - name: pair_service
    features:
      - { view: profile, select: [score], as: buyer, join_keys: { customer_id: buyer_id } }
      - { view: profile, select: [city, score], as: seller, join_keys: { customer_id: seller_id } }
"#;

/// `SHOP` with customers 1 to 4, of whom the third has nulls and the fourth is past the ttl of a day in an hour.
pub(crate) async fn shop() -> Sandbox {
    let sandbox = Sandbox::with(SHOP).await;
    let now = larder_test_kit::NEW_YEAR;
    let ages = [1, 2, 3, 23 * HOUR].map(|seconds| ago(now, seconds));
    let columns = vec![
        ("customer_id", ints(&[1, 2, 3, 4])),
        ("score", Arc::new(Float64Array::from(vec![Some(1.5), Some(2.5), None, Some(4.5)])) as ArrayRef),
        ("visits", Arc::new(Int32Array::from(vec![Some(10), Some(20), None, Some(40)])) as ArrayRef),
        ("city", texts(&["Bern", "Oslo", "Rome", "Lyon"])),
    ];
    sandbox.push("visits", columns, ages.to_vec()).await;
    sandbox
}

pub(crate) const HOUR: i64 = 3_600;

pub(crate) fn ago(now: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_micros(now.as_micros() - seconds * 1_000_000)
}

pub(crate) fn service(service: &str, entities: Vec<(&str, ArrayRef)>) -> OnlineRequest {
    asked(Asked::Service(name(service)), entities)
}

pub(crate) fn references(references: &[&str], entities: Vec<(&str, ArrayRef)>) -> OnlineRequest {
    let references = references.iter().map(|reference| reference.parse().unwrap()).collect();
    asked(Asked::References(references), entities)
}

fn asked(features: Asked, entities: Vec<(&str, ArrayRef)>) -> OnlineRequest {
    OnlineRequest {
        project: name("shop"),
        features,
        entities: owned(entities),
        request_data: Vec::new(),
        full_names: false,
        include_replay: true,
        min_revision: Revision(0),
        rows: 0,
    }
}

pub(crate) fn owned(columns: Vec<(&str, ArrayRef)>) -> Vec<(String, ArrayRef)> {
    columns.into_iter().map(|(name, values)| (name.to_owned(), values)).collect()
}

pub(crate) fn ints(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

pub(crate) fn floats(values: &[f64]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

pub(crate) fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

pub(crate) fn names(answer: &OnlineAnswer) -> Vec<&str> {
    answer.features.iter().map(|feature| feature.name.as_str()).collect()
}

/// A feature's values as text, or its status where it is not PRESENT; such a value is null.
pub(crate) fn shown(feature: &FeatureValues) -> Vec<String> {
    let value = |row: usize| {
        let status = feature.status(row);
        assert_eq!(feature.values.is_valid(row), status == Status::Present, "{status}");
        if status == Status::Present { value_text(&feature.values, row) } else { status.to_string() }
    };
    (0..feature.values.len()).map(value).collect()
}

fn value_text(values: &ArrayRef, row: usize) -> String {
    let float = values.as_primitive_opt::<Float64Type>().map(|values| values.value(row).to_string());
    let wide = || values.as_primitive_opt::<Int64Type>().map(|values| values.value(row).to_string());
    let narrow = || values.as_primitive_opt::<Int32Type>().map(|values| values.value(row).to_string());
    float.or_else(wide).or_else(narrow).unwrap_or_else(|| values.as_string::<i32>().value(row).to_owned())
}

/// Every feature, shown.
pub(crate) fn table(answer: &OnlineAnswer) -> Vec<(&str, Vec<String>)> {
    answer.features.iter().map(|feature| (feature.name.as_str(), shown(feature))).collect()
}

/// What [`table`] is compared with.
pub(crate) fn rows<'a>(expected: &[(&'a str, &[&str])]) -> Vec<(&'a str, Vec<String>)> {
    expected.iter().map(|(name, values)| (*name, values.iter().map(ToString::to_string).collect())).collect()
}
