//! What the tests declare, and what becomes of it.

use larder_client::Rollback;
use larder_types::{ErrorCode, Name, Revision};

use crate::sandbox::Sandbox;

pub(crate) const SHOP: &str = r#"
project: shop
entities:
  - name: customer
    join_keys: [{ name: customer_id, type: int64 }]
sources:
  - name: customer_history
    parquet: { path: ../history/ }
    event_time: event_timestamp
    created_time: created_at
  - name: clicks
    push: {}
feature_views:
  - name: profile
    entities: [customer]
    source: customer_history
    ttl: 7d
    features:
      - { name: score, type: float64 }
      - { name: visits, type: int32 }
      - { name: active, type: bool }
      - { name: city, type: string }
      - { name: amounts, type: "list<int32>" }
  - name: profile_for_ever
    entities: [customer]
    source: customer_history
    features:
      - { name: last_score, column: score, type: float64 }
  - name: activity
    entities: [customer]
    source: clicks
    ttl: 24h
    features:
      - { name: clicks, type: int64 }
      - { name: last_page, type: string }
on_demand_feature_views:
  - name: derived
    inputs: [profile, activity]
    request: [{ name: basket, type: float64 }]
    features:
      - { name: score_per_visit, type: float64, sql: "score / visits" }
      - { name: basket_per_click, type: float64, sql: "CASE WHEN clicks > 0 THEN basket / clicks END" }
      - { name: visits_left, type: int64, sql: "coalesce(10 / visits, -1)" }
feature_services:
  - name: shop_service
    features:
      - { view: profile }
      - { view: profile_for_ever }
      - { view: activity }
      - { view: derived }
  - name: pair_service
    features:
      - { view: profile, select: [score], as: buyer, join_keys: { customer_id: buyer_id } }
      - { view: profile, select: [score], as: seller, join_keys: { customer_id: seller_id } }
"#;

pub(crate) fn shop() -> Name {
    Name::new("shop").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_are_kept_over_a_restart_compared_and_rolled_back() {
    let mut sandbox = Sandbox::start().await;
    assert_eq!(sandbox.apply(SHOP).await.unwrap().revision, Revision(1));
    let again = sandbox.apply(SHOP).await.unwrap();
    assert!(!again.changed);
    let renamed =
        SHOP.replace("{ name: city, type: string }", "{ name: town, column: city, renamed_from: city, type: string }");
    assert_eq!(sandbox.apply(&renamed).await.unwrap().revision, Revision(2));

    sandbox.restart().await;
    let registry = sandbox.registry();
    let catalog = registry.catalog(&shop(), None).await.unwrap();
    let (_, town) = catalog.feature_view("profile").unwrap().feature("town").unwrap();
    let first = registry.catalog(&shop(), Some(Revision(1))).await.unwrap();
    let (_, city) = first.feature_view("profile").unwrap().feature("city").unwrap();
    assert_eq!(town, city, "a renamed feature keeps its column");

    let rollback = Rollback {
        to: Revision(1),
        expected_revision: Some(Revision(2)),
        origin: "test".into(),
        message: String::new(),
    };
    assert_eq!(registry.rollback(&shop(), &rollback).await.unwrap().revision, Revision(3));
    let stale = registry.rollback(&shop(), &rollback).await.unwrap_err();
    assert_eq!(stale.code(), ErrorCode::Conflict, "{stale}");
    assert!(stale.message().contains("is at revision 3"), "{stale}");
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_project_is_told_with_near_names() {
    let mut sandbox = Sandbox::start().await;
    sandbox.apply(SHOP).await.unwrap();
    let error = sandbox.registry().catalog(&Name::new("shopp").unwrap(), None).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::NotFound);
    assert!(error.message().contains("did you mean shop?"), "{error}");
    sandbox.stop().await;
}
