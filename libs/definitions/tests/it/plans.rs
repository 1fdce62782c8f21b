//! What Plan says, and what Apply refuses.

use expect_test::{Expect, expect};
use larder_definitions::{
    ChangeSet, Object, ObjectId, ObjectKind, ProjectState, RollbackRequest, Source, SourceKind, apply, diff, plan,
    plan_rollback, rollback,
};
use larder_types::{ErrorCode, Revision};

use crate::projects::{SAMPLE, TWO_FEATURES, applied, empty, lines, meta, name, objects, small};

/// The plan of `origin` declaring exactly `text` after `state`.
#[track_caller]
fn check(state: &ProjectState, text: &str, expected: Expect) {
    let plan = plan(state, &ChangeSet::whole(state, "repo", objects(text))).unwrap();
    let mut shown = String::new();
    for change in &plan.changes {
        shown += &format!("{} {}\n", change.kind.as_str(), change.id);
        shown += &change.fields.iter().map(|field| format!("  {field}\n")).collect::<String>();
    }
    shown += &plan.consequences.iter().map(|c| format!("{:?} {c}\n", c.kind)).collect::<String>();
    expected.assert_eq(&shown);
}

#[test]
fn everything_is_new() {
    check(
        &empty(),
        SAMPLE,
        expect![[r#"
            created entity customer
            created entity pair
            created source customer_history
            created source payments_agg
            created source real_time_push_source
            created feature view customer_features
            created feature view real_time_features
            created on-demand feature view credit_scoring_features
            created feature service credit_scoring_service
            created feature service transfer_service
            MustMaterialize feature view customer_features: new view: it must be materialized before it is served
            Note feature view real_time_features: new view: it fills as events are pushed; a materialization brings in what was pushed before
        "#]],
    );
}

#[test]
fn nothing_changes() {
    let (_, state) = applied(&empty(), SAMPLE);
    check(&state, SAMPLE, expect![[""]]);
    let change = ChangeSet::whole(&state, "repo", objects(SAMPLE));
    assert_eq!(plan(&state, &change).unwrap().unchanged.len(), objects(SAMPLE).len());
    assert!(apply(&state, &change, meta(&state)).unwrap().is_none());
}

#[test]
fn what_a_change_means() {
    let before = "    ttl: 30d
    online: false
    tags: { domain: credit }
    features:
      - { name: age, type: int64 }
      - { name: income, type: float64 }
      - { name: gone, type: string }";
    let (_, state) = applied(&empty(), &small(before, ""));
    check(
        &state,
        &small(&before.replace("30d", "60d").replace("online: false", "online: true"), ""),
        expect![[r#"
        changed feature view profile
          online: false → true
          ttl: 30d → 60d
        FullRunNeeded feature view profile: the view is served now: run a full materialization
        FullRunNeeded feature view profile: longer ttl: rows older than 30d were not kept online, run a full materialization
    "#]],
    );
    check(
        &state,
        &small(&before.replace("30d", "none").replace("credit }", "risk, team: a }"), ""),
        expect![[r#"
        changed feature view profile
          tags.domain: credit → risk
          tags.team: a (added)
          ttl: 30d → none
        FullRunNeeded feature view profile: longer ttl: rows older than 30d were not kept online, run a full materialization
    "#]],
    );
    check(
        &state,
        &small(&before.replace("ttl: 30d", "ttl: 1d\n    push_source: pushed"), ""),
        expect![[r#"
        changed feature view profile
          push_source: pushed (added)
          ttl: 30d → 1d
        FullRunNeeded feature view profile: source pushed is new to it or changed: the watermark starts anew, run a full materialization
    "#]],
    );
    check(
        &state,
        &small(
            &before.replace("name: age, type: int64", "name: years, renamed_from: age, column: yrs, type: int64"),
            "",
        ),
        expect![[r#"
            changed feature view profile
              features.age: int64 (removed)
              features.years: int64 (added)
            Note feature view profile: age is renamed to years: it keeps its column 1 and its values
            FullRunNeeded feature view profile: years reads column yrs in place of age: the watermark starts anew, run a full materialization
        "#]],
    );
    check(
        &state,
        &small(
            "    features: [{ name: income, type: float64 }, { name: age, type: int64 }, { name: new, type: bool }]",
            "",
        ),
        expect![[r#"
            changed feature view profile
              features.gone: string (removed)
              features.new: bool (added)
              features (order): age, income → income, age
              online: false → true
              tags.domain: credit (removed)
              ttl: 30d → none
            FullRunNeeded feature view profile: new is a new column: NOT_FOUND until a full materialization has run
            FullRunNeeded feature view profile: the view is served now: run a full materialization
            FullRunNeeded feature view profile: longer ttl: rows older than 30d were not kept online, run a full materialization
        "#]],
    );
    check(
        &state,
        &small(&before.replace("age, type: int64", "age, type: float64"), ""),
        expect![[r#"
        changed feature view profile
          features.age.type: int64 → float64
        MustMaterialize feature view profile: new row set (the type of age changes): the view must be materialized; until then its features are NOT_FOUND
    "#]],
    );
    check(
        &state,
        &small(before, "").replace("customer_id, type: string", "client_id, type: string"),
        expect![[r#"
        changed entity customer
          join_keys.customer_id: string (removed)
          join_keys.client_id: string (added)
        MustMaterialize feature view profile: new row set (its join keys change): the view must be materialized; until then its features are NOT_FOUND
    "#]],
    );
    check(
        &state,
        &small(before, "").replace("path: data/", "path: other/"),
        expect![[r#"
            changed source history
              parquet.path: /repo/data/ → /repo/other/
            FullRunNeeded feature view profile: source history is new to it or changed: the watermark starts anew, run a full materialization; rows that the history has no longer stay online until their ttl is over
        "#]],
    );
    check(
        &state,
        &small(before, "").replace("event_time: at", "event_time: other"),
        expect![[r#"
        changed source history
          parquet.event_time: at → other
        MustMaterialize feature view profile: new row set (its times come from other columns): the view must be materialized; until then its features are NOT_FOUND
    "#]],
    );
    check(
        &state,
        &small(before, "").replace("event_time: at", "event_time: at\n    created_time: made"),
        expect![[r#"
        changed source history
          parquet.created_time: made (added)
        MustMaterialize feature view profile: new row set (its times come from other columns): the view must be materialized; until then its features are NOT_FOUND
    "#]],
    );
    let (_, pushed) = applied(&state, &small(&before.replace("ttl", "push_source: pushed\n    ttl"), ""));
    check(
        &pushed,
        &small(before, ""),
        expect![[r#"
        changed feature view profile
          push_source: pushed (removed)
        MustMaterialize feature view profile: new row set (pushed is no longer pushed to it): the view must be materialized; until then its features are NOT_FOUND
    "#]],
    );
    check(
        &state,
        "project: payments",
        expect![[r#"
        removed entity customer
        removed source history
        removed source pushed
        removed feature view profile
        Retires feature view profile: its online rows are no longer read and may be purged
    "#]],
    );
}

#[test]
fn a_column_that_two_features_claim() {
    let (_, state) = applied(&empty(), &small(TWO_FEATURES, ""));
    let both = format!("{TWO_FEATURES}\n      - {{ name: years, type: int64, renamed_from: age }}");
    let error = plan(&state, &ChangeSet::whole(&state, "repo", objects(&small(&both, "")))).unwrap_err();
    expect!["`age` and `years` would both have the column of `age`: drop `renamed_from` or the feature `age`"]
        .assert_eq(&error.violations()[0].description);
    // Renamed, then a new feature takes the old name while `renamed_from` still stands: both are right.
    let renamed = TWO_FEATURES.replace("name: age,", "name: years, renamed_from: age,");
    let (_, state) = applied(&state, &small(&renamed, ""));
    let (_, state) = applied(&state, &small(&format!("{renamed}\n      - {{ name: age, type: int64 }}"), ""));
    let columns = &state.numbers.views["profile"].current.as_ref().unwrap().columns;
    let numbers: Vec<_> = columns.iter().map(|(name, number)| format!("{name}={number}")).collect();
    assert_eq!(numbers.join(" "), "age=3 income=2 years=1");
}

/// What a push log has under one name is not read under another.
#[test]
fn a_renamed_feature_of_a_pushed_view_keeps_its_column() {
    let pushed_only = |features: &str| small(features, "").replace("source: history", "source: pushed");
    let beside = |features: &str| small(&format!("    push_source: pushed\n{features}"), "");
    let renamed = TWO_FEATURES.replace("name: age,", "name: years, renamed_from: age,");
    let right = TWO_FEATURES.replace("name: age,", "name: years, column: age, renamed_from: age,");
    let other = TWO_FEATURES.replace("name: age,", "name: years, column: yrs, renamed_from: age,");
    for text in [&pushed_only as &dyn Fn(&str) -> String, &beside] {
        let (_, state) = applied(&empty(), &text(TWO_FEATURES));
        for wrong in [&renamed, &other] {
            let error = plan(&state, &ChangeSet::whole(&state, "repo", objects(&text(wrong)))).unwrap_err();
            let violation = &error.violations()[0];
            assert_eq!(violation.field, "feature_views.profile.features.years.renamed_from");
            assert!(violation.description.contains("add `column: age`, its values stand in the push log"), "{error}");
        }
        let columns = &state.numbers.push_sources["pushed"].current;
        let (_, after) = applied(&state, &text(&right));
        assert_eq!(after.numbers.push_sources["pushed"].current, *columns, "events are as they were");
        let column =
            |state: &ProjectState, name: &str| state.numbers.views["profile"].current.as_ref().unwrap().columns[name];
        assert_eq!(column(&after, "years"), column(&state, "age"));
        // The same file again changes nothing, and another name keeps the first one's column.
        assert!(plan(&after, &ChangeSet::whole(&after, "repo", objects(&text(&right)))).unwrap().is_empty());
        let again = TWO_FEATURES.replace("name: age,", "name: ages, renamed_from: years,");
        let error = plan(&after, &ChangeSet::whole(&after, "repo", objects(&text(&again)))).unwrap_err();
        assert!(error.message().contains("add `column: age`"), "{error}");
    }
    // A view that is read from files reads what the files have.
    let (_, state) = applied(&empty(), &small(TWO_FEATURES, ""));
    applied(&state, &small(&renamed, ""));
}

#[test]
fn renamed_from_names_what_was_there() {
    let (_, state) = applied(&empty(), &small(TWO_FEATURES, ""));
    let wrong = |state: &ProjectState, features: &str| {
        let error = plan(state, &ChangeSet::whole(state, "repo", objects(&small(features, "")))).unwrap_err();
        (error.violations()[0].field.clone(), error.violations()[0].description.clone())
    };
    let (field, message) = wrong(&state, &TWO_FEATURES.replace("name: age,", "name: years, renamed_from: agee,"));
    assert_eq!(field, "feature_views.profile.features.years.renamed_from");
    expect!["view `profile` has no feature `agee` that `years` could be renamed from: did you mean `age`?"]
        .assert_eq(&message);
    let (_, message) = wrong(&state, &TWO_FEATURES.replace("name: age,", "name: years, renamed_from: city,"));
    expect!["view `profile` has no feature `city` that `years` could be renamed from; drop `renamed_from`, and it is a new feature"].assert_eq(&message);
    // Once done it may stand, whatever else changes; and a project that never had the old name takes it too.
    let renamed = TWO_FEATURES.replace("name: age,", "name: years, renamed_from: age,");
    let (_, after) = applied(&state, &small(&renamed, ""));
    assert!(plan(&after, &ChangeSet::whole(&after, "repo", objects(&small(&renamed, "")))).unwrap().is_empty());
    applied(&after, &small(&format!("{renamed}\n    ttl: 5d"), ""));
    applied(&empty(), &small(&renamed, ""));
}

#[test]
fn refusals() {
    let (_, state) = applied(&empty(), &small(TWO_FEATURES, ""));
    let own = ChangeSet::whole(&state, "repo", objects(&small(TWO_FEATURES, "")));
    let view = ObjectId { kind: ObjectKind::FeatureView, name: name("profile") };
    let code = |change: &ChangeSet| {
        let error = plan(&state, change).unwrap_err();
        assert_eq!(apply(&state, change, meta(&state)).unwrap_err().message(), error.message());
        (error.code(), error.message().to_owned())
    };

    let (kind, message) = code(&ChangeSet { expected_revision: Some(Revision(0)), ..own.clone() });
    assert_eq!(kind, ErrorCode::Conflict);
    expect!["project payments was expected at revision 0 and is at revision 1, made at 2026-01-31T08:30:00Z by ada from repo: look at what changed, then try again"].assert_eq(&message);

    let (kind, message) = code(&ChangeSet { origin: "notebook".to_owned(), ..own.clone() });
    assert_eq!(kind, ErrorCode::AlreadyExists);
    expect!["entity customer is declared by origin `repo`: origin `notebook` can neither change nor remove it; give it another name, or have `repo` remove it first"].assert_eq(&message);

    let removal =
        |id: ObjectId, origin: &str| ChangeSet { removes: vec![id], origin: origin.to_owned(), ..ChangeSet::default() };
    assert_eq!(code(&removal(view.clone(), "notebook")).0, ErrorCode::AlreadyExists);
    let (kind, message) = code(&removal(ObjectId { name: name("profil"), ..view.clone() }, "repo"));
    assert_eq!(kind, ErrorCode::NotFound);
    expect!["feature view profil is to be removed and project payments has none at revision 1; did you mean profile?"]
        .assert_eq(&message);
    let (kind, message) = code(&removal(ObjectId { kind: ObjectKind::Entity, name: name("customer") }, "repo"));
    assert_eq!(kind, ErrorCode::InvalidArgument);
    expect!["feature_views.profile.entities[0]: there is no entity `customer`"].assert_eq(&message);
    let (kind, message) = code(&ChangeSet { removes: vec![view], ..own });
    assert_eq!(kind, ErrorCode::InvalidArgument);
    expect!["feature_views.profile: feature view profile is named twice in one change: put it or remove it, once"]
        .assert_eq(&message);
}

/// An origin removes what it declared and no longer does, and nothing of another.
#[test]
fn origins_keep_out_of_each_others_way() {
    let (_, state) = applied(&empty(), &small(TWO_FEATURES, ""));
    let mut theirs =
        objects(&small(TWO_FEATURES, "---\nfeature_services: [{ name: scoring, features: [{ view: profile }] }]"));
    theirs.retain(|object| object.id().kind == ObjectKind::FeatureService);
    let (_, state) = apply(&state, &ChangeSet::whole(&state, "notebook", theirs), meta(&state)).unwrap().unwrap();
    assert!(ChangeSet::whole(&state, "repo", objects(&small(TWO_FEATURES, ""))).removes.is_empty());
    assert_eq!(lines(&ChangeSet::whole(&state, "notebook", vec![]).removes), "feature service scoring\n");
    // What another origin still refers to cannot go.
    let error = plan(&state, &ChangeSet::whole(&state, "repo", vec![])).unwrap_err();
    assert_eq!(error.violations()[0].field, "feature_services.scoring.features[0].view");
}

#[test]
fn going_back() {
    let (_, first) = applied(&empty(), &small(TWO_FEATURES, ""));
    let (_, second) = applied(&first, &small(&TWO_FEATURES.replace("int64", "float64"), ""));
    let request = RollbackRequest { expected_revision: None, origin: "ops".to_owned(), message: "back".to_owned() };
    let plan = plan_rollback(&second, &first, &request).unwrap();
    expect![[r#"
        feature view profile: an earlier row set is read again: what came since is not in it until a materialization has run
    "#]].assert_eq(&lines(&plan.consequences));
    let (record, third) = rollback(&second, &first, &request, meta(&second)).unwrap().unwrap();
    assert_eq!((record.rollback_to, third.revision), (Some(Revision(1)), Revision(3)));
    assert!(diff(&first, &third).changes.is_empty());
    assert_eq!(diff(&second, &third).changes.len(), 1);
    assert_eq!(third.numbers.views["profile"].current, first.numbers.views["profile"].current);
    assert_eq!(third.numbers.next_row_set, second.numbers.next_row_set);
    assert_eq!(third.retired_row_sets().map(|(number, _)| number.0).collect::<Vec<_>>(), [2]);
    // Its origin has it back, and nothing is left to do.
    assert!(third.objects.values().all(|declared| declared.origin == "repo"));
    assert!(rollback(&third, &first, &request, meta(&third)).unwrap().is_none());
    assert!(rollback(&first, &third, &request, meta(&first)).is_err(), "not to the future");
}

/// Events that got into a row set would win for ever against the files that are left: going back means another row set.
#[test]
fn going_back_to_where_nothing_was_pushed() {
    let back = |state: &ProjectState, target: &ProjectState| {
        let request = RollbackRequest { expected_revision: None, origin: "ops".to_owned(), message: String::new() };
        let plan = plan_rollback(state, target, &request).unwrap();
        let after = rollback(state, target, &request, meta(state)).unwrap();
        (lines(&plan.consequences), after.map(|(_, after)| after))
    };
    let row_set = |state: &ProjectState| state.numbers.views["profile"].current.as_ref().unwrap().row_set.0;
    let unpushed = small(TWO_FEATURES, "");
    let pushed = small(&format!("    push_source: pushed\n{TWO_FEATURES}"), "");
    let (_, first) = applied(&empty(), &unpushed);
    let (_, second) = applied(&first, &pushed);
    assert_eq!((row_set(&first), row_set(&second)), (1, 1));
    let (said, third) = back(&second, &first);
    expect![[r#"
        feature view profile: new row set (pushed is no longer pushed to it): the view must be materialized; until then its features are NOT_FOUND
    "#]].assert_eq(&said);
    let third = third.unwrap();
    assert_eq!(row_set(&third), 2);
    // The new one is as good the second time.
    assert_eq!(back(&third, &first).1.map(|state| row_set(&state)), None);
    // By an apply too, and the first one stays spoilt.
    let (_, third) = applied(&second, &unpushed);
    assert_eq!(row_set(&third), 2);
    let (said, fourth) = back(&third, &first);
    expect![""].assert_eq(&said);
    assert_eq!(fourth.map(|state| row_set(&state)), None);
    // What it has now is right for what it was before, too.
    assert_eq!(row_set(&back(&third, &second).1.unwrap()), 2);
}

/// What a plan of a rollback says is so: of columns and row sets that come back, rows are there.
#[test]
fn what_going_back_means() {
    let back = |state: &ProjectState, target: &ProjectState| {
        let request = RollbackRequest { expected_revision: None, origin: "ops".to_owned(), message: String::new() };
        let plan = plan_rollback(state, target, &request).unwrap();
        let changes = plan.changes.iter().map(|change| {
            let fields: String = change.fields.iter().map(|field| format!("  {field}\n")).collect();
            format!("{} {}\n{fields}", change.kind.as_str(), change.id)
        });
        changes.chain(plan.consequences.iter().map(|c| format!("{:?} {c}\n", c.kind))).collect::<String>()
    };
    let (_, first) = applied(&empty(), &small(TWO_FEATURES, ""));
    let without = small("    features: [{ name: age, type: int64 }]", "");
    let (_, second) = applied(&first, &without);
    expect![[r#"
        changed feature view profile
          features.income: float64 (added)
        FullRunNeeded feature view profile: income has its column 2 again: rows written since it was removed have no value for it until a full materialization has run
    "#]].assert_eq(&back(&second, &first));
    let (_, second) =
        applied(&first, &small(&TWO_FEATURES.replace("name: age,", "name: years, renamed_from: age,"), ""));
    expect![[r#"
        changed feature view profile
          features.years: int64 (removed)
          features.age: int64 (added)
        Note feature view profile: years is renamed to age: it keeps its column 1 and its values
        FullRunNeeded feature view profile: age reads column age in place of years: the watermark starts anew, run a full materialization
    "#]].assert_eq(&back(&second, &first));
    let (_, second) = applied(&first, without.split("feature_views").next().unwrap());
    expect![[r#"
        created feature view profile
        FullRunNeeded feature view profile: an earlier row set is read again: what came since is not in it until a materialization has run
    "#]].assert_eq(&back(&second, &first));
    expect![[r#"
        removed entity customer
        removed source history
        removed source pushed
        removed feature view profile
        Retires feature view profile: its online rows are no longer read and may be purged
    "#]]
    .assert_eq(&back(&first, &empty()));

    // Declared anew by another origin, the same words belong to the first one again.
    let removed = ChangeSet::whole(&first, "repo", vec![]);
    let (_, second) = apply(&first, &removed, meta(&first)).unwrap().unwrap();
    let theirs = ChangeSet::whole(&second, "notebook", objects(&small(TWO_FEATURES, "")));
    let (_, third) = apply(&second, &theirs, meta(&second)).unwrap().unwrap();
    expect![[r#"
        changed entity customer
          origin: notebook → repo
        changed source history
          origin: notebook → repo
        changed source pushed
          origin: notebook → repo
        changed feature view profile
          origin: notebook → repo
        FullRunNeeded feature view profile: an earlier row set is read again: what came since is not in it until a materialization has run
    "#]].assert_eq(&back(&third, &first));
    assert_eq!(diff(&third, &first).changes.len(), 4);
}

#[test]
fn whoever_declares_says_so_and_is_brief() {
    let (_, state) = applied(&empty(), &small(TWO_FEATURES, ""));
    let own = ChangeSet::whole(&state, "repo", objects(&small(TWO_FEATURES, "")));
    let said = |origin: &str, message: String| ChangeSet { origin: origin.to_owned(), message, ..own.clone() };
    let cases = [
        (said("", String::new()), "origin"),
        (said("  ", String::new()), "origin"),
        (said(&"o".repeat(257), String::new()), "origin"),
        (said("repo", "m".repeat(4097)), "message"),
    ];
    for (change, field) in cases {
        let error = plan(&state, &change).unwrap_err();
        assert_eq!((error.code(), error.violations()[0].field.as_str()), (ErrorCode::InvalidArgument, field));
        let ChangeSet { origin, message, .. } = change;
        let request = RollbackRequest { expected_revision: None, origin, message };
        assert_eq!(plan_rollback(&state, &empty(), &request).unwrap_err().message(), error.message());
    }
    plan(&state, &said("repo", "m".repeat(4096))).unwrap();
}

/// What was pushed stays in the log as it was.
#[test]
fn events_of_another_type_or_key_are_told() {
    let (_, state) = applied(&empty(), SAMPLE);
    check(
        &state,
        &SAMPLE.replace("login_attempts_24h, type: int64", "login_attempts_24h, type: float64"),
        expect![[r#"
        changed feature view real_time_features
          features.login_attempts_24h.type: int64 → float64
        MustMaterialize feature view real_time_features: new row set (the type of login_attempts_24h changes): the view must be materialized; until then its features are NOT_FOUND
        Note feature view real_time_features: events that were pushed before have login_attempts_24h as int64: its values of before count as null from now on
    "#]],
    );
    check(
        &state,
        &SAMPLE.replace("customer_id, type: string", "customer_id, type: int64"),
        expect![[r#"
        changed entity customer
          join_keys.customer_id.type: string → int64
        changed entity pair
          join_keys.customer_id.type: string → int64
        MustMaterialize feature view customer_features: new row set (its join keys change): the view must be materialized; until then its features are NOT_FOUND
        MustMaterialize feature view real_time_features: new row set (its join keys change): the view must be materialized; until then its features are NOT_FOUND
        Note feature view real_time_features: events that were pushed before have other join keys and are left out from now on
    "#]],
    );
}

#[test]
fn an_object_has_a_greatest_size() {
    let state = empty();
    let described = |bytes: usize| {
        let text = TWO_FEATURES.replace("int64", &format!("int64, description: {}", "x".repeat(bytes)));
        plan(&state, &ChangeSet::whole(&state, "repo", objects(&small(&text, ""))))
    };
    described(500_000).unwrap();
    let error = described(600_000).unwrap_err();
    assert!(error.message().contains("an object has at most 524288"), "{}", error.message());
}

/// Files of definitions have their paths made absolute when they are read; who sends others is told.
#[test]
fn a_path_means_the_same_wherever_it_is_opened() {
    let state = empty();
    for (path, is_absolute) in [
        ("data/", false),
        ("./data/*.parquet", false),
        ("file://data/", false),
        ("/data/*.parquet", true),
        ("file:///data/", true),
        ("s3://shop/data/", true),
    ] {
        let mut change = ChangeSet::whole(&state, "repo", objects(&small(TWO_FEATURES, "")));
        for object in &mut change.puts {
            if let Object::Source(Source { kind: SourceKind::Parquet(parquet), .. }) = object {
                parquet.path = path.to_owned();
            }
        }
        match plan(&state, &change) {
            Ok(_) => assert!(is_absolute, "{path}"),
            Err(error) => {
                assert_eq!(
                    (is_absolute, error.violations()[0].field.as_str()),
                    (false, "sources.history.parquet.path")
                );
                assert!(error.message().contains(&format!("`{path}` is a relative path")), "{error}");
            }
        }
    }
}
