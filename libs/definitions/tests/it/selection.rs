//! What a request asks for: which views are read by which keys, what is computed from them, and what it is called.

use std::{fmt::Write as _, sync::Arc};

use expect_test::{Expect, expect};
use larder_definitions::{
    Asked, Catalog, ComputedInput, FeatureService, Metadata, OutputSource, Selection, StoredFeature, ViewUse,
};
use larder_types::{ErrorCode, FeatureReference, Name, Result, ValueType};

use crate::projects::{applied, empty, name};

const PROJECT: &str = "project: payments
entities:
  - { name: customer, join_keys: [{ name: customer_id, type: string }] }
  - { name: merchant, join_keys: [{ name: merchant_id, type: int64 }] }
  - { name: branch, join_keys: [{ name: branch_id, type: int32 }] }
sources: [{ name: history, parquet: { path: data/ }, event_time: at }]
feature_views:
  - name: profile
    entities: [customer]
    source: history
    features: [{ name: age, type: int64 }, { name: income, type: float64 }, { name: name, type: string }]
  - name: shop
    entities: [merchant]
    source: history
    features: [{ name: risk, type: float64 }, { name: age, type: int32 }]
  - name: visits
    entities: [customer, merchant]
    source: history
    features: [{ name: visits, type: int64 }]
  - name: office
    entities: [branch]
    source: history
    features: [{ name: size, type: int64 }]
  - name: world
    source: history
    features: [{ name: rate, type: float64 }]
on_demand_feature_views:
  - name: ratios
    inputs: [profile, shop, world]
    request: [{ name: amount, type: float64 }]
    features:
      - { name: share, type: float64, sql: amount / income }
      - { name: danger, type: float64, sql: risk * rate * amount }
      - { name: constant, type: int64, sql: 1 + 1 }
  - name: doubled
    request: [{ name: amount, type: float64 }]
    features: [{ name: doubled, type: float64, sql: amount * 2 }]
  - name: counted
    request: [{ name: amount, type: int64 }]
    features: [{ name: more, type: int64, sql: amount + 1 }]
feature_services:
  - { name: scoring, features: [{ view: profile, select: [income, age] }, { view: ratios, select: [share] }] }
  - name: transfer
    features:
      - { view: profile, select: [age], as: payer, join_keys: { customer_id: payer_id } }
      - { view: profile, select: [income, age], as: payee, join_keys: { customer_id: payee_id } }
      - { view: visits, join_keys: { customer_id: payer_id } }
";

fn catalog() -> Catalog {
    Catalog::build(&applied(&empty(), PROJECT).1).unwrap()
}

fn references(texts: &[&str]) -> Asked {
    Asked::References(texts.iter().map(|text| text.parse::<FeatureReference>().unwrap()).collect())
}

fn service(text: &str) -> Asked {
    Asked::Service(name(text))
}

/// What a service of these uses selects; they need not be valid.
fn of_uses(uses: &str, full_names: bool) -> Result<Selection> {
    let features: Vec<ViewUse> = serde_json::from_str(uses).unwrap();
    let mut catalog = catalog();
    let service = FeatureService { name: name("made_up"), features, metadata: Metadata::default() };
    catalog.feature_services.insert(name("made_up"), Arc::new(service));
    Selection::resolve(&catalog, &Asked::Service(name("made_up")), full_names)
}

fn stored(selection: &Selection, StoredFeature { view, feature }: StoredFeature) -> String {
    let selected = &selection.views[view];
    let feature = &selected.view.definition.features[selected.features[feature]].name;
    format!("#{view} {}.{feature}", selected.view.name())
}

fn shown(selection: &Selection) -> String {
    let mut text = String::new();
    for (number, selected) in selection.views.iter().enumerate() {
        let keys: Vec<_> = selected.key_columns.iter().map(ToString::to_string).collect();
        let (view, keys) = (selected.view.name(), keys.join(", "));
        writeln!(text, "read #{number} {view} as {} by [{keys}]", selected.name).unwrap();
    }
    for computed in &selection.computed {
        let feature = &computed.view.features[computed.feature].name;
        let inputs = computed.inputs.iter().map(|input| match input {
            ComputedInput::Stored(feature) => stored(selection, *feature),
            ComputedInput::Request(position) => format!("request {}", selection.request_columns[*position].0),
        });
        let inputs: Vec<_> = inputs.collect();
        writeln!(text, "compute {}.{feature} from [{}]", computed.view.name, inputs.join(", ")).unwrap();
    }
    for output in &selection.outputs {
        let source = match output.source {
            OutputSource::Stored(feature) => stored(selection, feature),
            OutputSource::Computed(position) => format!("computed {position}"),
        };
        writeln!(text, "{}: {} = {source}", output.name, output.value_type).unwrap();
    }
    let keys = selection.entity_columns.iter().map(|(name, key_type)| format!("{name} {key_type}"));
    writeln!(text, "keys [{}]", keys.collect::<Vec<_>>().join(", ")).unwrap();
    let columns = |columns: &[(Name, ValueType)]| {
        columns.iter().map(|(name, value_type)| format!("{name} {value_type}")).collect::<Vec<_>>().join(", ")
    };
    writeln!(text, "request [{}]", columns(&selection.request_columns)).unwrap();
    if !selection.spare_request_columns.is_empty() {
        writeln!(text, "request data that may be sent too [{}]", columns(&selection.spare_request_columns)).unwrap();
    }
    text
}

#[track_caller]
fn check(asked: &Asked, full_names: bool, expected: Expect) {
    expected.assert_eq(&shown(&Selection::resolve(&catalog(), asked, full_names).unwrap()));
}

#[track_caller]
fn refused(answer: Result<Selection>, code: ErrorCode, expected: Expect) {
    let error = answer.unwrap_err();
    expected.assert_eq(error.message());
    assert_eq!(error.code(), code);
}

#[test]
fn references_are_answered_in_the_order_asked_and_a_view_is_read_once() {
    check(
        &references(&["profile.income", "shop.risk", "world", "profile.age"]),
        false,
        expect![[r#"
        read #0 profile as profile by [customer_id]
        read #1 shop as shop by [merchant_id]
        read #2 world as world by []
        income: float64 = #0 profile.income
        risk: float64 = #1 shop.risk
        rate: float64 = #2 world.rate
        age: int64 = #0 profile.age
        keys [customer_id string, merchant_id int64]
        request []
    "#]],
    );
    check(
        &references(&["visits", "profile"]),
        true,
        expect![[r#"
        read #0 visits as visits by [customer_id, merchant_id]
        read #1 profile as profile by [customer_id]
        visits.visits: int64 = #0 visits.visits
        profile.age: int64 = #1 profile.age
        profile.income: float64 = #1 profile.income
        profile.name: string = #1 profile.name
        keys [customer_id string, merchant_id int64]
        request []
    "#]],
    );
}

#[test]
fn a_service_says_what_it_selects_under_which_names_and_keys() {
    check(
        &service("scoring"),
        false,
        expect![[r#"
        read #0 profile as profile by [customer_id]
        compute ratios.share from [request amount, #0 profile.income]
        income: float64 = #0 profile.income
        age: int64 = #0 profile.age
        share: float64 = computed 0
        keys [customer_id string]
        request [amount float64]
    "#]],
    );
    check(
        &service("scoring"),
        true,
        expect![[r#"
        read #0 profile as profile by [customer_id]
        compute ratios.share from [request amount, #0 profile.income]
        profile.income: float64 = #0 profile.income
        profile.age: int64 = #0 profile.age
        ratios.share: float64 = computed 0
        keys [customer_id string]
        request [amount float64]
    "#]],
    );
    check(
        &service("transfer"),
        false,
        expect![[r#"
        read #0 profile as payer by [payer_id]
        read #1 profile as payee by [payee_id]
        read #2 visits as visits by [payer_id, merchant_id]
        payer.age: int64 = #0 profile.age
        payee.income: float64 = #1 profile.income
        payee.age: int64 = #1 profile.age
        visits: int64 = #2 visits.visits
        keys [merchant_id int64, payee_id string, payer_id string]
        request []
    "#]],
    );
}

/// What no chosen expression uses is not read, and what a use and an expression read by the same keys is read once.
#[test]
fn computed_features_read_what_they_use() {
    check(
        &references(&["ratios.constant"]),
        false,
        expect![[r#"
            compute ratios.constant from []
            constant: int64 = computed 0
            keys []
            request []
            request data that may be sent too [amount float64]
        "#]],
    );
    check(
        &references(&["ratios.danger", "shop.risk"]),
        false,
        expect![[r#"
        read #0 shop as shop by [merchant_id]
        read #1 world as world by []
        compute ratios.danger from [#0 shop.risk, #1 world.rate, request amount]
        danger: float64 = computed 0
        risk: float64 = #0 shop.risk
        keys [merchant_id int64]
        request [amount float64]
    "#]],
    );
    check(
        &references(&["ratios", "doubled"]),
        false,
        expect![[r#"
        read #0 profile as profile by [customer_id]
        read #1 shop as shop by [merchant_id]
        read #2 world as world by []
        compute ratios.share from [request amount, #0 profile.income]
        compute ratios.danger from [#1 shop.risk, #2 world.rate, request amount]
        compute ratios.constant from []
        compute doubled.doubled from [request amount]
        share: float64 = computed 0
        danger: float64 = computed 1
        constant: int64 = computed 2
        doubled: float64 = computed 3
        keys [customer_id string, merchant_id int64]
        request [amount float64]
    "#]],
    );
}

/// The mapping of an on-demand view is for all its inputs, each of which takes the keys that it has.
#[test]
fn a_mapping_of_an_on_demand_view_is_for_its_inputs() {
    let uses = r#"[
        {"view": "ratios", "select": ["share", "danger"], "as": "payer", "join_keys": {"customer_id": "payer_id"}},
        {"view": "ratios", "select": ["share"], "as": "payee", "join_keys": {"customer_id": "payee_id", "merchant_id": "shop_id"}},
        {"view": "profile", "select": ["age"], "join_keys": {"customer_id": "payee_id"}},
        {"view": "shop", "select": ["risk"]}
    ]"#;
    expect![[r#"
        read #0 profile as profile by [payer_id]
        read #1 shop as shop by [merchant_id]
        read #2 world as world by []
        read #3 profile as profile by [payee_id]
        compute ratios.share from [request amount, #0 profile.income]
        compute ratios.danger from [#1 shop.risk, #2 world.rate, request amount]
        compute ratios.share from [request amount, #3 profile.income]
        payer.share: float64 = computed 0
        payer.danger: float64 = computed 1
        payee.share: float64 = computed 2
        age: int64 = #3 profile.age
        risk: float64 = #1 shop.risk
        keys [merchant_id int64, payee_id string, payer_id string]
        request [amount float64]
    "#]]
    .assert_eq(&shown(&of_uses(uses, false).unwrap()));
}

#[test]
fn a_name_that_is_not_known_is_answered_with_near_ones() {
    let resolve = |asked: &Asked| Selection::resolve(&catalog(), asked, false);
    use ErrorCode::{InvalidArgument, NotFound};
    refused(
        resolve(&service("scorin")),
        NotFound,
        expect!["project payments at revision 1 has no feature service `scorin`; did you mean scoring?"],
    );
    refused(
        resolve(&references(&["profil.age"])),
        NotFound,
        expect!["project payments at revision 1 has no feature view `profil`; did you mean profile?"],
    );
    refused(
        resolve(&references(&["ratio"])),
        NotFound,
        expect!["project payments at revision 1 has no feature view `ratio`; did you mean ratios?"],
    );
    refused(
        resolve(&references(&["profile.incme"])),
        NotFound,
        expect!["view profile has no feature `incme`; did you mean income?"],
    );
    refused(
        resolve(&references(&["profile.nothing_like_it"])),
        NotFound,
        expect!["view profile has no feature `nothing_like_it`; there is age, income, name"],
    );
    refused(
        resolve(&references(&["ratios.shares"])),
        NotFound,
        expect!["view ratios has no feature `shares`; did you mean share?"],
    );
    refused(
        resolve(&references(&["world.nothing_like_it"])),
        NotFound,
        expect!["view world has no feature `nothing_like_it`; there is rate"],
    );
    refused(
        resolve(&references(&[])),
        InvalidArgument,
        expect!["features: no feature is asked for: name a feature service or references"],
    );
    let error = catalog().feature_view("ratios").unwrap_err();
    expect!["project payments at revision 1 has no feature view `ratios`: it is an on-demand feature view, computed when it is asked for and never materialized"].assert_eq(error.message());
    let of = |uses| of_uses(uses, false);
    refused(
        of(r#"[{"view": "profile", "join_keys": {"custmer_id": "x"}}]"#),
        NotFound,
        expect!["view profile has no join key `custmer_id`; did you mean customer_id?"],
    );
    refused(
        of(r#"[{"view": "world", "join_keys": {"customer_id": "x"}}]"#),
        NotFound,
        expect!["view world has no join key `customer_id`"],
    );
}

/// It would say where a key comes from, and nothing would follow from it.
#[test]
fn a_mapping_of_a_key_that_no_input_has_is_an_error() {
    let of = |uses| of_uses(uses, false);
    use ErrorCode::NotFound;
    refused(
        of(r#"[{"view": "ratios", "join_keys": {"customr_id": "payer_id"}}]"#),
        NotFound,
        expect!["on-demand view ratios has no join key `customr_id`; did you mean customer_id?"],
    );
    let one_of_two = r#"[{"view": "ratios", "join_keys": {"customer_id": "payer_id", "branch_id": "x"}}]"#;
    refused(of(one_of_two), NotFound, expect!["on-demand view ratios has no join key `branch_id`"]);
    refused(
        of(r#"[{"view": "doubled", "join_keys": {"customer_id": "x"}}]"#),
        NotFound,
        expect!["on-demand view doubled has no join key `customer_id`"],
    );
    // One that an input has, though nothing that is chosen reads that input, says nothing wrong.
    let unused = r#"[{"view": "ratios", "select": ["constant"], "join_keys": {"merchant_id": "shop_id"}}]"#;
    assert!(of(unused).unwrap().views.is_empty());
}

#[test]
fn a_reference_says_what_a_service_may_say() {
    let asked = references(&[
        "profile.age as payer by customer_id=payer_id",
        "profile.income as payee by customer_id=payee_id",
    ]);
    let uses = r#"[{"view": "profile", "select": ["age"], "as": "payer", "join_keys": {"customer_id": "payer_id"}},
                   {"view": "profile", "select": ["income"], "as": "payee", "join_keys": {"customer_id": "payee_id"}}]"#;
    let by_references = Selection::resolve(&catalog(), &asked, false).unwrap();
    assert_eq!(shown(&by_references), shown(&of_uses(uses, false).unwrap()));
    let wrong = references(&["profile.age by customer=payer_id"]);
    let error = Selection::resolve(&catalog(), &wrong, false).unwrap_err();
    assert!(error.message().contains("did you mean customer_id?"), "{error}");
}

#[test]
fn two_features_of_one_name_need_full_names_or_an_alias() {
    let asked = references(&["profile", "shop"]);
    let resolve = |full_names| Selection::resolve(&catalog(), &asked, full_names);
    use ErrorCode::InvalidArgument;
    refused(
        resolve(false),
        InvalidArgument,
        expect!["features: more than one feature is called age: ask for full names, or use an alias"],
    );
    assert_eq!(resolve(true).unwrap().outputs.len(), 5);
    let twice = references(&["profile.age", "profile.age", "shop.age"]);
    refused(
        Selection::resolve(&catalog(), &twice, true),
        InvalidArgument,
        expect!["features: more than one feature is called profile.age: use one of them under an alias"],
    );
    refused(
        Selection::resolve(&catalog(), &twice, false),
        InvalidArgument,
        expect!["features: more than one feature is called age: ask for full names, or use an alias"],
    );
    let aliased = |alias: &str| {
        let uses = r#"[{"view": "profile", "select": ["age"]}, {"view": "profile", "select": ["age"], "as": "ALIAS"}]"#;
        of_uses(&uses.replace("ALIAS", alias), true)
    };
    let selection = aliased("other").unwrap();
    let names: Vec<_> = selection.outputs.iter().map(|output| output.name.as_str()).collect();
    assert_eq!((names, selection.views.len()), (vec!["profile.age", "other.age"], 1), "the same rows are read once");
    refused(
        aliased("profile"),
        InvalidArgument,
        expect!["features: more than one feature is called profile.age: use one of them under an alias"],
    );
}

#[test]
fn a_column_of_the_request_has_one_type() {
    let by_id = |first: &str, second: &str| {
        let uses = r#"[{"view": "FIRST", "as": "one", "join_keys": {FIRST_KEY: "id"}},
                       {"view": "SECOND", "as": "two", "join_keys": {SECOND_KEY: "id"}}]"#;
        let key = |view: &str| match view {
            "profile" => r#""customer_id""#,
            "shop" => r#""merchant_id""#,
            _ => r#""branch_id""#,
        };
        let uses = uses.replace("FIRST_KEY", key(first)).replace("SECOND_KEY", key(second));
        of_uses(&uses.replace("FIRST", first).replace("SECOND", second), false)
    };
    use ErrorCode::InvalidArgument;
    refused(
        by_id("profile", "shop"),
        InvalidArgument,
        expect!["entities.id: one view wants it as string and another as int64: map one of them to another column"],
    );
    refused(
        by_id("office", "profile"),
        InvalidArgument,
        expect!["entities.id: one view wants it as int32 and another as string: map one of them to another column"],
    );
    // Integers of both widths are the same key: the wider one is asked for.
    for (first, second) in [("shop", "office"), ("office", "shop")] {
        let selection = by_id(first, second).unwrap();
        let keys: Vec<_> = selection.entity_columns.iter().map(|(name, of)| format!("{name} {of}")).collect();
        assert_eq!(keys, ["id int64"], "{first} {second}");
    }
    let asked = references(&["doubled", "ratios.share"]);
    let shared = Selection::resolve(&catalog(), &asked, false).unwrap();
    assert_eq!(shared.request_columns.len(), 1);
    let asked = references(&["doubled", "counted"]);
    refused(
        Selection::resolve(&catalog(), &asked, false),
        InvalidArgument,
        expect!["request_data.amount: one on-demand view wants it as float64 and another as int64"],
    );
}

#[test]
fn what_this_release_does_not_understand_says_so() {
    let mut catalog = catalog();
    catalog.not_understood.insert(name("novel"), "its kind is of a later release".to_owned());
    for asked in [references(&["novel.feature"]), service("novel")] {
        let answer = Selection::resolve(&catalog, &asked, false);
        assert_eq!(answer.unwrap_err().code(), ErrorCode::Unimplemented);
    }
}
