//! The catalog and what is made of it: lineage, search, Markdown.

use std::sync::Arc;

use expect_test::expect;
use larder_definitions::{
    AnyView, Catalog, ObjectId, ObjectKind,
    lineage::{Direction, Lineage},
    markdown::catalogue,
    search::SearchIndex,
};

use crate::projects::{SAMPLE, TWO_FEATURES, applied, empty, lines, name, objects, small};

fn sample() -> Catalog {
    Catalog::build(&applied(&empty(), SAMPLE).1).unwrap()
}

#[test]
fn a_catalog_has_everything_resolved() {
    let catalog = sample();
    let view = catalog.feature_view("customer_features").unwrap();
    assert_eq!(view.feature("late_payments").unwrap().0, 3);
    assert_eq!(view.columns.len(), view.schema.columns().len());
    assert!(view.push_source.is_none() && !view.batch_source.as_ref().unwrap().is_push());
    let live = catalog.feature_view("real_time_features").unwrap();
    assert!(live.batch_source.is_none());
    let push = live.push_source.as_ref().unwrap();
    let schema = push.push_schema.as_ref().unwrap();
    let columns: Vec<_> = schema.columns.iter().map(|(name, value_type)| format!("{name}: {value_type}")).collect();
    assert_eq!(
        (schema.number.0, columns.join(", ").as_str()),
        (1, "current_balance: float64, login_attempts_24h: int64")
    );
    assert_eq!(schema.keys[0].name, "customer_id");
    assert!(Arc::ptr_eq(&view.key_space, &live.key_space) && view.row_set != live.row_set);
    assert!(matches!(catalog.view("credit_scoring_features").unwrap(), AnyView::OnDemand(_)));
    assert_eq!(catalog.views_of_push_source("real_time_push_source").count(), 1);
    assert_eq!(catalog.objects().collect::<Vec<_>>(), objects(SAMPLE));
    let error = catalog.feature_view("custmer_features").unwrap_err();
    expect!["project payments at revision 1 has no feature view `custmer_features`; did you mean customer_features?"]
        .assert_eq(error.message());

    // What would be refused next is not offered.
    for (stored, asked, said) in [
        (true, "credit_scoring_service", ": it is a feature service, of customer_features, real_time_features"),
        (
            false,
            "credit_scoring_service",
            ": it is a feature service, of credit_scoring_features, customer_features, real_time_features",
        ),
        (true, "credit_scoring_featurs", ""),
        (false, "credit_scoring_featurs", "; did you mean credit_scoring_features?"),
    ] {
        let error = if stored { catalog.feature_view(asked).unwrap_err() } else { catalog.view(asked).unwrap_err() };
        let expected = format!("project payments at revision 1 has no feature view `{asked}`{said}");
        assert_eq!(error.message(), expected);
    }
}

/// Keys are sorted, and entities named in another order are the same key space.
#[test]
fn the_order_of_entities_does_not_matter() {
    let text = "---
entities: [{ name: merchant, join_keys: [{ name: a_merchant, type: int64 }] }]
feature_views:
  - { name: one, entities: [customer, merchant], source: history, features: [{ name: x, type: bool }] }
  - { name: two, entities: [merchant, customer], source: history, features: [{ name: x, type: bool }] }
  - { name: none, source: history, features: [{ name: x, type: bool }] }";
    let catalog = Catalog::build(&applied(&empty(), &small(TWO_FEATURES, text)).1).unwrap();
    let space = |view: &str| catalog.feature_view(view).unwrap().key_space.clone();
    assert_eq!(space("one"), space("two"));
    assert_eq!(
        space("one").keys.iter().map(|key| key.name.as_str()).collect::<Vec<_>>(),
        ["a_merchant", "customer_id"]
    );
    assert!(space("none").keys.is_empty());
}

/// A catalog of ten thousand features shares what did not change with the one before.
#[test]
fn unchanged_objects_are_shared() {
    let view = |number: usize, extra: &str| {
        let features: String = (0..20).map(|f| format!("      - {{ name: f{f}, type: float64 }}\n")).collect();
        format!("  - name: v{number}\n    entities: [customer]\n    source: history\n{extra}    features:\n{features}")
    };
    let text = |extra: &str| {
        let views: String = (0..500).map(|number| view(number, if number == 7 { extra } else { "" })).collect();
        small(TWO_FEATURES, &format!("---\nfeature_views:\n{views}"))
    };
    let (_, first) = applied(&empty(), &text(""));
    let before = Catalog::build(&first).unwrap();
    let (record, second) = applied(&first, &text("    ttl: 3d\n"));
    assert_eq!((record.puts.len(), record.numbers.views.len()), (1, 0));
    let after = Catalog::build_from(&second, Some(&before)).unwrap();
    let shared = after.feature_views.iter().filter(|(name, view)| Arc::ptr_eq(view, &before.feature_views[*name]));
    assert_eq!(shared.count(), 500);
    assert!(Arc::ptr_eq(&after.entities["customer"], &before.entities["customer"]));
}

#[test]
fn lineage_goes_from_columns_to_services() {
    let lineage = Lineage::of(&sample()).unwrap();
    let id = |kind, text: &str| ObjectId { kind, name: name(text) };
    let edges = |graph: larder_definitions::lineage::Subgraph| {
        graph.edges.iter().map(|(from, to)| format!("{from} → {to}\n")).collect::<String>()
    };
    let on_demand = id(ObjectKind::OnDemandFeatureView, "credit_scoring_features");
    expect![[r#"
        entity customer → feature customer_features.income
        source customer_history: income → feature customer_features.income
        request data loan_amount of credit_scoring_features → feature credit_scoring_features.loan_to_income
        feature customer_features.income → feature credit_scoring_features.loan_to_income
    "#]]
    .assert_eq(&edges(lineage.around(&on_demand, Some(&name("loan_to_income")), Direction::Upstream)));
    expect![[r#"
        source real_time_push_source: current_balance → feature real_time_features.current_balance
        source real_time_push_source: login_attempts_24h → feature real_time_features.login_attempts_24h
        feature credit_scoring_features.combined_risk_score → feature service credit_scoring_service
        feature real_time_features.current_balance → feature service credit_scoring_service
        feature real_time_features.login_attempts_24h → feature credit_scoring_features.combined_risk_score
        feature real_time_features.login_attempts_24h → feature service credit_scoring_service
    "#]]
    .assert_eq(&edges(lineage.around(&id(ObjectKind::Source, "real_time_push_source"), None, Direction::Downstream)));
    let service = lineage.around(&id(ObjectKind::FeatureService, "transfer_service"), None, Direction::Upstream);
    expect![[r#"
        entity customer
        source customer_history: debt_ratio
        feature customer_features.debt_ratio
        feature service transfer_service
    "#]]
    .assert_eq(&lines(&service.nodes.iter().collect::<Vec<_>>()));
    let service = id(ObjectKind::FeatureService, "transfer_service");
    assert!(lineage.around(&service, None, Direction::Downstream).edges.is_empty());
    assert!(lineage.around(&id(ObjectKind::Entity, "nobody"), None, Direction::Upstream).nodes.is_empty());
}

#[test]
fn a_search_finds_words_best_first() {
    let index = SearchIndex::of(&sample());
    let found = |query: &str| {
        let hits = index.search(query, 4);
        let show = |hit: &larder_definitions::search::Hit| match &hit.feature {
            Some(feature) => format!("{}.{feature}", hit.object.name),
            None => hit.object.name.to_string(),
        };
        hits.iter().map(show).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(found("age"), "customer_features.age");
    assert_eq!(found("debt_ratio"), "customer_features.debt_ratio");
    assert_eq!(found("inco year"), "customer_features.income");
    assert_eq!(found("RISK platform"), "customer customer_features");
    assert_eq!(found("credit_scoring_service"), "credit_scoring_service");
    assert_eq!(found("scoring model"), "credit_scoring_service");
    assert_eq!(found("nothing_like_it"), "");
    assert_eq!(found(" ; "), "");
}

#[test]
fn the_catalogue_is_markdown() {
    expect![[r#"
        # Features of payments

        Revision 1, made at 2026-01-31T08:30:00Z.

        ## Feature services

        ### credit_scoring_service

        What the scoring model reads

        | View | Features | As | Join keys |
        |---|---|---|---|
        | customer_features | age, income, debt_ratio |  |  |
        | real_time_features | all |  |  |
        | credit_scoring_features | all |  |  |

        ### transfer_service

        | View | Features | As | Join keys |
        |---|---|---|---|
        | customer_features | debt_ratio | payer | customer_id from payer_id |
        | customer_features | debt_ratio | payee | customer_id from payee_id |

        ## Feature views

        ### customer_features

        - owner: risk-platform
        - domain: credit
        - version: v2

        - keys: customer_id (`string`)
        - source: customer_history
        - ttl: 365d
        - served, in training sets
        - materialized at `0 */6 * * *` UTC
        - allowed lateness: 1h

        | Feature | Type | Description |
        |---|---|---|
        | age | `int64` | Age in years |
        | income | `float64` | Yearly income |
        | debt_ratio | `float64` |  |
        | late_payments | `list<int32>` |  |

        ### real_time_features

        - keys: customer_id (`string`)
        - source: real_time_push_source
        - ttl: 1d
        - served, in training sets

        | Feature | Type | Description |
        |---|---|---|
        | current_balance | `float64` |  |
        | login_attempts_24h | `int64` |  |

        ## On-demand feature views

        ### credit_scoring_features

        - computed from: customer_features, real_time_features
        - request data: loan_amount (`float64`)

        | Feature | Type | Description | SQL |
        |---|---|---|---|
        | combined_risk_score | `float64` |  | `0.7 * debt_ratio + 0.3 * least(1.0, coalesce(login_attempts_24h, 0) / 10.0)` |
        | loan_to_income | `float64` |  | `CASE WHEN customer_features.income > 0 THEN loan_amount / customer_features.income END` |

        ## Entities

        ### customer

        A person with an account

        - owner: risk-platform

        | Join key | Type |
        |---|---|
        | customer_id | `string` |

        ### pair

        | Join key | Type |
        |---|---|
        | customer_id | `string` |
        | merchant_id | `int64` |

        ## Sources

        ### customer_history

        - Parquet: `/repo/data/customer_features/`
        - event time: `event_timestamp`
        - created time: `created_at`

        ### payments_agg

        - PostgreSQL `warehouse`: query `select user_id, as_of, failed_payments_90d from payments_agg_90d`
        - event time: `as_of`

        ### real_time_push_source

        - pushed
    "#]].assert_eq(&catalogue(&sample()));
}
