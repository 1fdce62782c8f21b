//! Every problem of a repository, with file, line, column and what would be right.

use expect_test::{Expect, expect};
use larder_definitions::yaml::{read_folder, read_part};

use crate::projects::{TWO_FEATURES, lines, read, small};

#[track_caller]
fn check(text: &str, expected: Expect) {
    match read(text) {
        Ok(_) => expected.assert_eq("valid\n"),
        Err(problems) => expected.assert_eq(&lines(&problems)),
    }
}

/// A view beside the valid ones of [`small`].
#[track_caller]
fn check_more(more: &str, expected: Expect) {
    check(&small(TWO_FEATURES, more), expected);
}

#[track_caller]
fn check_view(fields: &str, expected: Expect) {
    check(&small(fields, ""), expected);
}

#[test]
fn what_is_right_is_valid() {
    check(
        crate::projects::SAMPLE,
        expect![[r#"
        valid
    "#]],
    );
    check_view(
        TWO_FEATURES,
        expect![[r#"
        valid
    "#]],
    );
}

#[test]
fn what_is_not_yaml() {
    check(
        "project: [unclosed\nentities:\n",
        expect![[r#"
            larder.yaml:2:9: is not YAML: illegal placement of ':' indicator
        "#]],
    );
    check(
        "project: a\n\tb: c\n",
        expect![[r#"
            larder.yaml:1:10: is not YAML: while scanning a plain scalar, found a tab
        "#]],
    );
    check(
        "just a text",
        expect![[r#"
        larder.yaml:1:1: a definition file is wanted here, not `just a text`
    "#]],
    );
    check(
        "- a\n- list",
        expect![[r#"
        larder.yaml:1:1: a definition file is wanted here, not a list
    "#]],
    );
    check(
        "",
        expect![[r#"
        larder.yaml does not say which project it declares: write `project: <name>` in it
    "#]],
    );
    check(
        "project: not a name\n",
        expect![[r#"
        larder.yaml:1:10: `not a name` is not a name: a name is a letter or underscore, then letters, digits and underscores, at most 128 characters
    "#]],
    );
    check(
        "entities: []\n",
        expect![[r#"
        larder.yaml does not say which project it declares: write `project: <name>` in it
    "#]],
    );
}

#[test]
fn unknown_and_repeated_fields() {
    check_view(
        &format!("{TWO_FEATURES}\n    tll: 3d\n    zzz: 1\n    online: true\n    online: false"),
        expect![[r#"
            larder.yaml:18:5: a feature view has no field `tll`: did you mean `ttl`?
            larder.yaml:19:5: a feature view has no field `zzz`; its fields are name, entities, source, push_source, ttl, online, offline, schedule, allowed_lateness, features, description, owner, tags
            larder.yaml:21:5: `online` is there twice
        "#]],
    );
    check(
        "projekt: a\n",
        expect![[r#"
        larder.yaml:1:1: a definition file has no field `projekt`: did you mean `project`?
    "#]],
    );
}

#[test]
fn missing_and_mistyped_fields() {
    check(
        "project: payments\nentities:\n  - join_keys: [{ type: string }]\n  - name: customer\nsources:\n  - name: s\n  - name: t\n    parquet: { path: x }\n  - name: u\n    push: {}\n    event_time: at\n  - name: p\n    postgres: { connection: w }\n    event_time: at\nfeature_views:\n  - name: v\n    source: t\n    online: maybe\n    description: 7\n    features: age\n",
        expect![[r#"
            larder.yaml:3:5: an entity needs the field `name`
            larder.yaml:3:17: a join key needs the field `name`
            larder.yaml:4:5: an entity needs the field `join_keys`
            larder.yaml:6:5: a source has exactly one of `parquet`, `postgres` and `push: {}`
            larder.yaml:7:5: a source that is read needs `event_time`, the column with the event time
            larder.yaml:11:17: a push source has no `event_time`: times come with each event
            larder.yaml:13:15: a PostgreSQL source has either `table` or `query`
            larder.yaml:18:13: `true` or `false` is wanted here, not `maybe`
            larder.yaml:19:18: text is wanted here, not the number 7: put it in quotes
            larder.yaml:20:15: a list is wanted here, not `age`
        "#]],
    );
}

#[test]
fn names_and_types() {
    check_view(
        "    features:
      - { name: 9lives, type: int64 }
      - { name: age, type: int }
      - { name: income, type: float46 }
      - { name: scores, type: list<list<int32>> }
      - { name: __row, type: int64 }
      - { name: twice, type: int64 }
      - { name: twice, type: int64 }
      - { name: customer_id, type: string }",
        expect![[r#"
            larder.yaml:16:17: `9lives` is not a name: a name is a letter or underscore, then letters, digits and underscores, at most 128 characters
            larder.yaml:17:28: `int` is not a type: a type is one of bool, int32, int64, float32, float64, string, bytes, timestamp, or list<…> of one of them: did you mean `int32` or `int64`?
            larder.yaml:18:31: `float46` is not a type: a type is one of bool, int32, int64, float32, float64, string, bytes, timestamp, or list<…> of one of them: did you mean `float64` or `float32`?
            larder.yaml:19:31: `list<list<int32>>` is not a type: a type is one of bool, int32, int64, float32, float64, string, bytes, timestamp, or list<…> of one of them
            larder.yaml:20:9: `__row`: names that start with two underscores are kept for Larder itself
            larder.yaml:21:9: feature `twice` is there twice: give each a name of its own
            larder.yaml:23:9: feature `customer_id` has the name of a join key of entity `customer`
        "#]],
    );
}

#[test]
fn keys() {
    check_more(
        "---
entities:
  - name: floating
    join_keys: [{ name: score, type: float64 }]
  - name: listed
    join_keys: [{ name: many, type: list<int64> }]
  - name: keyless
    join_keys: []
  - name: doubled
    join_keys: [{ name: a, type: int64 }, { name: a, type: string }]
  - name: other_customer
    join_keys: [{ name: customer_id, type: int64 }]
feature_views:
  - name: both
    entities: [customer, other_customer, customer]
    source: history
    features: [{ name: x, type: int64 }]
",
        expect![[r#"
            larder.yaml:21:38: `float64` cannot be a join key's type (equal floats are no ground to find a row by): use bool, int32, int64, string, bytes or timestamp
            larder.yaml:23:37: `list<int64>` cannot be a join key's type (a join key is one value): use bool, int32, int64, string, bytes or timestamp
            larder.yaml:25:16: an entity has at least one join key
            larder.yaml:27:17: join key `a` is there twice: give each a name of its own
            larder.yaml:32:15: join key `customer_id` is string in entity `customer` and int64 in entity `other_customer`: entities of one view agree on their join keys' types
            larder.yaml:32:42: entity `customer` is there twice
        "#]],
    );
}

#[test]
fn references() {
    check(
        "project: payments
entities:
  - { name: customer, join_keys: [{ name: customer_id, type: string }] }
sources:
  - { name: history, parquet: { path: x }, event_time: at }
feature_views:
  - name: profile
    entities: [custmer]
    source: histroy
    push_source: history
    features: [{ name: age, type: int64 }]
on_demand_feature_views:
  - name: computed
    inputs: [profil, computed, profile, profile]
    features: [{ name: x, type: int64, sql: age }]
  - name: profile
    features: [{ name: y, type: int64, sql: '1' }]
feature_services:
  - name: scoring
    features:
      - { view: profle }
      - { view: profile, select: [aeg, age, age], join_keys: { customr_id: payer } }
  - name: empty
    features: []
",
        expect![[r#"
            larder.yaml:8:16: there is no entity `custmer`: did you mean `customer`?
            larder.yaml:9:13: there is no source `histroy`: did you mean `history`?
            larder.yaml:10:18: `history` is not a push source: a push source is declared with `push: {}`
            larder.yaml:14:14: there is no feature view `profil`: did you mean `profile`?
            larder.yaml:14:22: `computed` is an on-demand feature view: inputs are feature views, whose rows are stored
            larder.yaml:14:41: input `profile` is there twice
            larder.yaml:16:5: `profile` is the name of a feature view too: views of both kinds share one space of names
            larder.yaml:21:17: there is no view `profle`: did you mean `profile`?
            larder.yaml:22:35: view `profile` has no feature `aeg`: did you mean `age`?
            larder.yaml:22:45: feature `age` is there twice
            larder.yaml:24:15: a feature service has at least one view
        "#]],
    );
}

#[test]
fn declared_twice() {
    check_more(
        "---
entities:
  - name: customer
    join_keys: [{ name: other, type: string }]
---
project: other
feature_views:
  - name: profile
    source: nowhere
    features: []
",
        expect![[r#"
            larder.yaml:20:5: `entities.customer` is declared twice, first at larder.yaml:3:5: give each a name of its own
            larder.yaml:23:10: this says project `other`, larder.yaml:1:10 says `payments`: a folder has one project
            larder.yaml:25:5: `feature_views.profile` is declared twice, first at larder.yaml:12:5: give each a name of its own
            larder.yaml:26:13: there is no source `nowhere`
            larder.yaml:27:15: a feature view has at least one feature
        "#]],
    );
}

/// Each declaration is validated by itself, and its problems are told where it stands.
#[test]
fn every_declaration_of_an_object_is_validated_where_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let write = |file: &str, text: &str| std::fs::write(folder.path().join(file), text).unwrap();
    write(
        "a.yaml",
        "project: p
entities: [{ name: c, join_keys: [{ name: cid, type: string }] }]
sources:
  - { name: s, parquet: { path: x/ }, event_time: ts }
feature_views:
  - { name: v, entities: [c], source: s, features: [{ name: x, type: int64 }, { name: cid, type: int64 }] }
",
    );
    write(
        "b.yaml",
        "# The second ones.
sources:
  - { name: s, parquet: { path: y/ } }
feature_views:
  - { name: v, entities: [nope], source: s, ttl: 0d, features: [{ name: y, type: int64 }, { name: y, type: int64 }] }
  - name: v
    source: other
    features: [{ name: z, type: int46 }]
feature_services:
  - { name: f, features: [{ view: v, select: [y] }, { view: missing }] }
---
sources:
  - { parquet: { path: z/ }, event_time: ts }
",
    );
    write("c.yaml", "sources:\n  - { parquet: { path: z/ }, event_time: ts }\n");
    let told = lines(&read_folder(folder.path()).unwrap_err());
    expect![[r#"
        a.yaml:6:79: feature `cid` has the name of a join key of entity `c`
        b.yaml:3:5: `sources.s` is declared twice, first at a.yaml:4:5: give each a name of its own
        b.yaml:3:5: a source that is read needs `event_time`, the column with the event time
        b.yaml:5:5: `feature_views.v` is declared twice, first at a.yaml:6:5: give each a name of its own
        b.yaml:5:27: there is no entity `nope`
        b.yaml:5:50: a ttl is above zero, e.g. 5d; `none` means no limit
        b.yaml:5:65: feature `y` is there twice: give each a name of its own
        b.yaml:6:5: `feature_views.v` is declared twice, first at a.yaml:6:5: give each a name of its own
        b.yaml:7:13: there is no source `other`
        b.yaml:8:33: `int46` is not a type: a type is one of bool, int32, int64, float32, float64, string, bytes, timestamp, or list<…> of one of them: did you mean `int64` or `int32`?
        b.yaml:10:61: there is no view `missing`
        b.yaml:13:5: a source needs the field `name`
        c.yaml:2:5: a source needs the field `name`
    "#]].assert_eq(&told.replace(&format!("{}/", folder.path().display()), ""));
}

/// What is declared without end is told soon.
#[test]
fn an_object_that_is_declared_thousands_of_times_is_told_soon() {
    let text = format!("project: p\nentities:\n{}", "  - { name: e, join_keys: [] }\n".repeat(3_000));
    let problems = read(&text).unwrap_err();
    assert_eq!(problems.len(), 101);
}

/// A path that begins with the name of a folder: the folder's own characters are not meant as wildcards.
#[test]
fn a_folder_with_a_wildcard_in_its_name_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let source =
        |name: &str, path: &str| format!("  - {{ name: {name}, parquet: {{ path: \"{path}\" }}, event_time: at }}\n");
    let sources = [
        source("relative", "data/*.parquet"),
        source("beside", "../data/x.parquet"),
        source("above", "../../data/x.parquet"),
        source("absolute", "/data/*.parquet"),
        source("url", "file:///data/[ab]/"),
    ];
    for (name, wildcard, told) in [("a[b]/c", "[", 2), ("a*", "*", 1), ("what?/x", "?", 2), ("plain/x", "", 0)] {
        let file = folder.path().join(name).join("larder.yaml");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, format!("project: p\nsources:\n{}", sources.concat())).unwrap();
        let problems = match read_folder(&file) {
            Ok(_) => Vec::new(),
            Err(problems) => problems,
        };
        assert_eq!(problems.len(), told, "{name}: {}", lines(&problems));
        for (problem, line) in problems.iter().zip(3..) {
            assert_eq!(problem.location.as_ref().map(|at| (at.line, at.column > 20)), Some((line, true)), "{problem}");
            let of = folder.path().join(name.split('/').next().unwrap_or_default());
            let of = std::fs::canonicalize(of).unwrap();
            let expected = format!("below the folder {}, and the `{wildcard}` in its name", of.display());
            assert!(problem.message.contains(&expected), "{problem}");
        }
    }
}

#[test]
fn spans_and_schedules() {
    for fields in [
        "    ttl: 0d",
        "    ttl: 90",
        "    ttl: soon",
        "    allowed_lateness: 1 hour",
        "    schedule: { cron: '0 */6 * * *', time_zone: Europe/Berln }",
        "    schedule: { cron: '61 * * * *' }",
        "    schedule: { cron: '0 0 0 * * *' }",
        "    schedule: { time_zone: UTC }",
    ] {
        let problems = read(&small(&format!("{fields}\n{TWO_FEATURES}"), "")).unwrap_err();
        assert_eq!(problems.len(), 1, "{fields}: {}", lines(&problems));
        assert_eq!(problems[0].location.as_ref().unwrap().line, 15, "{fields}: {}", lines(&problems));
    }
    check_view(
        &format!(
            "    ttl: 0d\n    allowed_lateness: 1 hour\n    schedule: {{ cron: '61 * * * *', time_zone: Europe/Berln }}\n{TWO_FEATURES}"
        ),
        expect![[r#"
            larder.yaml:15:10: a ttl is above zero, e.g. 5d; `none` means no limit
            larder.yaml:16:23: `1 hour` is not a span of time: write a whole number and s, m, h or d, e.g. 90d or 12h
            larder.yaml:17:23: `61 * * * *` is not a cron expression (Component error: Number out of bounds.): write five fields, minute hour day-of-month month day-of-week, e.g. `0 */6 * * *`
            larder.yaml:17:48: `Europe/Berln` is not an IANA time zone, e.g. Europe/Berlin or UTC: did you mean `Europe/Berlin` or `Europe/Dublin` or `Europe/Belgrade`?
        "#]],
    );
    check_view(
        &format!("    ttl: none\n{TWO_FEATURES}"),
        expect![[r#"
        valid
    "#]],
    );
}

#[test]
fn push_sources_agree_on_columns() {
    check_more(
        "---
feature_views:
  - name: live
    entities: [customer]
    source: pushed
    features: [{ name: balance, type: float64 }, { name: logins, column: n, type: int64 }]
  - name: live_too
    source: pushed
    features:
      - { name: balance, type: int64 }
      - { name: n, type: int32 }
      - { name: who, column: customer_id, type: string }
  - name: twice_pushed
    source: pushed
    push_source: pushed
    features: [{ name: z, type: int64 }]
  - name: cannot_be_pushed
    source: pushed
    features:
      - { name: spaced, column: last page, type: string }
      - { name: kept, column: __event_time, type: timestamp }
",
        expect![[r#"
            larder.yaml:27:9: column `balance` of push source `pushed` is int64 here and float64 in view `live`: views of one push source agree on its columns' types
            larder.yaml:28:9: column `n` of push source `pushed` is int32 here and int64 in view `live`: views of one push source agree on its columns' types
            larder.yaml:29:9: column `customer_id` of push source `pushed` is a feature here and a join key of view `live`: an event's column is one or the other
            larder.yaml:31:13: `pushed` is a push source: `push_source` stands beside a batch source; a view that is only pushed names its push source under `source`
            larder.yaml:37:9: column `last page` of push source `pushed` cannot be pushed: an event's column is a letter or underscore, then letters, digits and underscores, and does not start with two underscores
            larder.yaml:38:9: column `__event_time` of push source `pushed` cannot be pushed: an event's column is a letter or underscore, then letters, digits and underscores, and does not start with two underscores
        "#]],
    );
}

#[test]
fn expressions() {
    check_more(
        "---
on_demand_feature_views:
  - name: computed
    inputs: [profile]
    request: [{ name: amount, type: float64 }, { name: age, type: int64 }, { name: customer_id, type: string }]
    features:
      - { name: a, type: float64, sql: amount / incme }
      - { name: b, type: int64, sql: 'income + 1' }
      - { name: c, type: float64, sql: 'amount +' }
      - { name: d, type: float64, sql: now() }
      - { name: e, type: string, sql: income }
      - { name: f, type: float64, sql: 'amount / income' }
      - { name: g, type: float64 }
",
        expect![[r#"
            larder.yaml:22:48: request data `age` has the name of a feature of its input `profile`
            larder.yaml:22:76: request data `customer_id` has the name of a join key of entity `customer`
            larder.yaml:24:40: line 1, column 10: `incme` is neither a feature of an input view nor request data: did you mean `income`?
            larder.yaml:25:38: the expression gives float64, which does not widen to the declared int64: declare float64, or write CAST(… AS int64)
            larder.yaml:26:40: not a SQL expression: Expected: an expression, found: EOF
            larder.yaml:27:40: line 1, column 1: `now` reads a clock; the only clock is `request_time()`, the instant of the request
            larder.yaml:28:39: the expression gives float64, which does not widen to the declared string: declare float64, or write CAST(… AS string)
            larder.yaml:30:9: an on-demand feature needs the field `sql`
        "#]],
    );
    check_more(
        "---
on_demand_feature_views:
  - name: computed
    inputs: [profile]
    request: [{ name: amount, type: float64 }]
    features:
      - { name: a, type: float64, sql: amount / incme }
      - { name: b, type: int64, sql: 'income + 1' }
      - { name: c, type: float64, sql: 'amount +' }
      - { name: d, type: float64, sql: now() }
      - { name: e, type: string, sql: income }
      - { name: f, type: float64, sql: 'amount / income' }
",
        expect![[r#"
            larder.yaml:24:40: line 1, column 10: `incme` is neither a feature of an input view nor request data: did you mean `income`?
            larder.yaml:25:38: the expression gives float64, which does not widen to the declared int64: declare float64, or write CAST(… AS int64)
            larder.yaml:26:40: not a SQL expression: Expected: an expression, found: EOF
            larder.yaml:27:40: line 1, column 1: `now` reads a clock; the only clock is `request_time()`, the instant of the request
            larder.yaml:28:39: the expression gives float64, which does not widen to the declared string: declare float64, or write CAST(… AS string)
        "#]],
    );
}

/// What could not be read is not called wrong once more by those who refer to it.
#[test]
fn a_broken_object_has_no_consequences() {
    check(
        &small(
            "    features: [{ name: age, type: intt }, { type: int64 }]",
            "on_demand_feature_views:
  - name: computed
    inputs: [profile]
    features: [{ name: older, type: int64, sql: age + 1 }]
feature_services:
  - name: scoring
    features: [{ view: profile, select: [age, other] }, { view: computed }]
",
        ),
        expect![[r#"
            larder.yaml:15:35: `intt` is not a type: a type is one of bool, int32, int64, float32, float64, string, bytes, timestamp, or list<…> of one of them: did you mean `int32` or `int64`?
            larder.yaml:15:43: a feature needs the field `name`
        "#]],
    );
}

#[test]
fn services() {
    check_more(
        "---
entities:
  - { name: merchant, join_keys: [{ name: merchant_id, type: int64 }] }
feature_views:
  - name: shop
    entities: [merchant]
    source: history
    features: [{ name: age, type: int64 }]
feature_services:
  - name: twice
    features: [{ view: profile, select: [age] }, { view: profile }]
  - name: apart
    features: [{ view: profile, select: [age] }, { view: profile, select: [income] }, { view: shop, as: shop }]
  - name: short_names
    features: [{ view: profile, select: [income, age] }, { view: shop }]
  - name: chosen_names
    features: [{ view: shop }, { view: profile, select: [income, age] }]
  - name: same_alias
    features: [{ view: profile, as: p }, { view: shop, as: p }]
  - name: alias_is_a_view
    features: [{ view: profile }, { view: shop, as: profile }]
  - name: view_is_an_alias
    features: [{ view: shop, as: profile }, { view: profile }]
  - name: columns_disagree
    features: [{ view: profile, as: p, join_keys: { customer_id: who } }, { view: shop, join_keys: { merchant_id: who } }]
  - name: odd
    features: [{ view: profile, as: __p, select: [], join_keys: { 'not a name': x, customer_id: '1' } }]
",
        expect![[r#"
            larder.yaml:28:50: `profile.age` is given by another use of the view: give one of them an alias with `as`, or select other features
            larder.yaml:32:58: feature `age` of view `shop` has the name of a feature of view `profile` here: use one of the views under an alias with `as`, or select other features
            larder.yaml:34:66: feature `age` of view `profile` has the name of a feature of view `shop` here: use one of the views under an alias with `as`, or select other features
            larder.yaml:36:60: `p` is the alias of another use: give this use a name of its own
            larder.yaml:38:53: `profile` is a view used without an alias: give this use a name of its own
            larder.yaml:40:53: `profile` is the alias of another use: change that alias
            larder.yaml:42:75: the request's column `who` would be int64 for view `shop` and string for view `profile`: map the join key of one to another column with `join_keys`
            larder.yaml:44:37: `__p`: names that start with two underscores are kept for Larder itself
            larder.yaml:44:50: selects nothing: leave `select` out for all features of the view
            larder.yaml:44:81: `not a name` is not a name: a name is a letter or underscore, then letters, digits and underscores, at most 128 characters
            larder.yaml:44:97: `1` is not a name: a name is a letter or underscore, then letters, digits and underscores, at most 128 characters
        "#]],
    );
}

/// A training set has what the request brings and what is answered beside each other, so all of it needs a name of its own.
#[test]
fn what_is_answered_is_told_from_what_is_asked_with() {
    check_more(
        "---
entities:
  - { name: merchant, join_keys: [{ name: merchant_id, type: int64 }] }
feature_views:
  - name: shop
    entities: [merchant]
    source: history
    features: [{ name: customer_id, type: string }, { name: size, type: int64 }]
  - name: own_key
    entities: [merchant]
    source: history
    features: [{ name: merchant_id, type: int64 }]
on_demand_feature_views:
  - name: offer
    inputs: [profile]
    request: [{ name: size, type: int64 }]
    features: [{ name: customer_id, type: int64, sql: age }, { name: r, type: int64, sql: age + size }]
  - name: itself
    request: [{ name: q, type: int64 }]
    features: [{ name: q, type: int64, sql: q + 1 }]
feature_services:
  - name: key
    features: [{ view: offer }]
  - name: request
    features: [{ view: shop, select: [size] }, { view: offer, select: [r] }]
  - name: key_of_another
    features: [{ view: shop, select: [size, customer_id] }, { view: profile, select: [income] }]
  - name: mapped
    features: [{ view: profile, select: [income, age], join_keys: { customer_id: age } }]
  - name: told_at_the_view
    features: [{ view: itself }, { view: own_key }]
  - name: told_apart
    features:
      - { view: shop, as: s }
      - { view: offer, select: [r], join_keys: { customer_id: who } }
      - { view: profile, as: p, join_keys: { customer_id: age } }
      - { view: profile, select: [income], join_keys: { customer_id: who } }
",
        expect![[r#"
            larder.yaml:29:16: feature `merchant_id` has the name of a join key of entity `merchant`
            larder.yaml:37:16: feature `q` has the name of request data of this view, beside which it stands in every training set: give one of them another name
            larder.yaml:40:16: feature `customer_id` of view `offer` has the name of a column that requests of the service have, the join key `customer_id` of view `offer`: use `offer` under an alias with `as`, or give one of them another name
            larder.yaml:42:39: feature `size` of view `shop` has the name of a column that requests of the service have, the request data `size` of view `offer`: use `shop` under an alias with `as`, or give one of them another name
            larder.yaml:44:45: feature `customer_id` of view `shop` has the name of a column that requests of the service have, the join key `customer_id` of view `profile`: use `shop` under an alias with `as`, or give one of them another name
            larder.yaml:46:82: the request's column `age` would have the name of a feature that the service answers, `age` of view `profile`: take the join key from a column of another name, or use `profile` under an alias with `as`
        "#]],
    );
}

#[test]
fn what_is_there_twice_is_told_in_whole_sentences() {
    check_more(
        "---
sources: [{ name: clicks, push: { a: 1 } }]
feature_views:
  - name: double
    source: history
    features: [{ name: x, type: int64 }, { name: x, type: int64 }]
on_demand_feature_views:
  - name: computed
    inputs: [double]
    request: [{ name: y, type: int64 }, { name: y, type: int64 }]
    features: [{ name: a, type: int64, sql: x }, { name: b, type: int64, sql: y }]
",
        expect![[r#"
            larder.yaml:19:35: `push: {}` has no field `a`: it has no fields
            larder.yaml:23:16: feature `x` is there twice: give each a name of its own
            larder.yaml:27:15: request data `y` is there twice: give each a name of its own
            larder.yaml:28:45: line 1, column 1: `x` is ambiguous: `double.x` is there twice
            larder.yaml:28:79: line 1, column 1: `y` is ambiguous: request data is declared twice under that name
        "#]],
    );
}

#[test]
fn renaming() {
    check_view(
        "    features:
      - { name: a, type: int64, renamed_from: a }
      - { name: b, type: int64, renamed_from: c }
      - { name: d, type: int64, renamed_from: c }",
        expect![[r#"
            larder.yaml:16:47: feature `a` cannot be renamed from itself: name the old one
            larder.yaml:18:47: feature `b` is renamed from `c` too: only one can be
        "#]],
    );
}

#[test]
fn a_problem_in_a_folder_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("entities.yml", "project: payments\nentities:\n  - { name: c, join_keys: [{ name: id, type: int64 }] }\n");
    write(
        "views/a.yaml",
        "sources: [{ name: s, parquet: { path: ../data/ }, event_time: at }]\nfeature_views:\n  - { name: v, entities: [c], source: s, features: [{ name: x, type: int64 }] }\n",
    );
    write(".hidden/b.yaml", "not: [read");
    write("notes.txt", "not: [read");
    let repository = read_folder(folder.path()).unwrap();
    assert_eq!(repository.objects.len(), 3);
    let location = repository.locate("feature_views.v.features.x.description").unwrap();
    assert!(location.file.ends_with("views/a.yaml") && location.line == 3, "{location}");
    let data = folder.path().canonicalize().unwrap().join("data/").display().to_string();
    let source = format!("{:?}", repository.objects[1]);
    assert!(source.contains(&data), "{source}");

    write("views/b.yaml", "project: other\nfeature_services:\n  - { name: s, features: [{ view: w }] }\n");
    write("views/c.yaml", "a: \"\\xff");
    std::fs::write(folder.path().join("views/d.yaml"), b"project: payments\nentities: \xff").unwrap();
    let problems = read_folder(folder.path()).unwrap_err();
    let text = lines(&problems).replace(&format!("{}/", folder.path().display()), "");
    expect![[r#"
        views/b.yaml:1:10: this says project `other`, entities.yml:1:10 says `payments`: a folder has one project
        views/b.yaml:3:35: there is no view `w`
        views/c.yaml:1:4: is not YAML: unclosed quote
        views/d.yaml:2:1: is not UTF-8 text
    "#]]
    .assert_eq(&text);
    assert!(read_folder(&folder.path().join("nowhere")).is_err());
}

/// What is linked is declared; what cannot be looked at is told, since it would be taken for removed otherwise.
#[cfg(unix)]
#[test]
fn links_are_followed_once_and_what_leads_nowhere_is_told() {
    use std::{fs, os::unix::fs::symlink};

    let (elsewhere, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (there, here) = (elsewhere.path(), folder.path());
    let entity =
        |name: &str| format!("entities:\n  - {{ name: {name}, join_keys: [{{ name: {name}_id, type: int64 }}] }}\n");
    fs::create_dir_all(there.join("shared/deep")).unwrap();
    fs::write(there.join("shared/deep/a.yaml"), entity("a")).unwrap();
    fs::write(there.join("b.txt"), entity("b")).unwrap();
    fs::create_dir(here.join("own")).unwrap();
    fs::write(here.join("own/c.yaml"), "project: p\n".to_owned() + &entity("c")).unwrap();
    // A folder, a file, a circle, and what is here or linked already.
    symlink(there.join("shared"), here.join("linked")).unwrap();
    symlink(there.join("b.txt"), here.join("b.yaml")).unwrap();
    symlink(here, there.join("shared/back")).unwrap();
    symlink(here.join("own"), here.join("again")).unwrap();
    symlink(here.join("own/c.yaml"), here.join("again.yaml")).unwrap();
    let repository = read_folder(here).unwrap();
    let found: Vec<String> =
        repository.objects.iter().map(|(object, at)| format!("{} {}", object.id(), at.file)).collect();
    let text = lines(&found).replace(&format!("{}/", here.display()), "");
    expect![[r#"
        entity a linked/deep/a.yaml
        entity b b.yaml
        entity c own/c.yaml
    "#]]
    .assert_eq(&text);

    // By its name, a link to something else.
    fs::create_dir(here.join("data")).unwrap();
    symlink("nowhere.parquet", here.join("data/dangling.parquet")).unwrap();
    assert!(read_folder(here).is_ok());

    symlink("nowhere", here.join("gone")).unwrap();
    symlink("nowhere.yaml", there.join("shared/gone.yaml")).unwrap();
    symlink("self", here.join("self")).unwrap();
    fs::create_dir(here.join("folder.yaml")).unwrap();
    let problems = read_folder(here).unwrap_err();
    let mut told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    told.sort();
    let text = lines(&told).replace(&format!("{}/", here.display()), "");
    expect![[r#"
        folder.yaml is named like definitions and is no file
        gone is a link that leads nowhere: No such file or directory (os error 2)
        linked/gone.yaml is a link that leads nowhere: No such file or directory (os error 2)
        self is a link that leads nowhere: Too many levels of symbolic links (os error 40)
    "#]]
    .assert_eq(&text);

    // What is wrong with the files that are there is told with it.
    fs::write(here.join("own/d.yaml"), "feature_views:\n  - { name: v, source: nothing, features: [] }\n").unwrap();
    let told = lines(&read_folder(here).unwrap_err()).replace(&format!("{}/", here.display()), "");
    for (at, message) in [("own/d.yaml:2:", "there is no source `nothing`"), ("own/d.yaml:2:", "at least one feature")]
    {
        assert!(told.lines().any(|line| line.starts_with(at) && line.contains(message)), "{message}: {told}");
    }
    assert!(told.contains("gone is a link that leads nowhere"), "{told}");
}

/// One thing that could not be read hides nothing that is wrong whatever it was to be.
#[test]
fn a_type_that_cannot_be_read_hides_no_other_problem() {
    let more = "on_demand_feature_views:
  - name: computed
    inputs: [profile]
    request: [{ name: amount, type: flot }]
    features:
      - { name: typo, type: int64, sql: agee + income }
      - { name: fine, type: int64, sql: age + 1 }
      - { name: whatever, type: float64, sql: upper(income + 1.5) }
      - { name: asked, type: float64, sql: amount * incme }
      - { name: untyped, type: itn64, sql: nope + 1 }
      - { name: unsaid, type: int64 }
";
    check(
        &small("    features: [{ name: age, type: int46 }, { name: income, type: float64 }]", more),
        expect![[r#"
            larder.yaml:15:35: `int46` is not a type: a type is one of bool, int32, int64, float32, float64, string, bytes, timestamp, or list<…> of one of them: did you mean `int64` or `int32`?
            larder.yaml:19:37: `flot` is not a type: a type is one of bool, int32, int64, float32, float64, string, bytes, timestamp, or list<…> of one of them: did you mean `float32` or `float64`?
            larder.yaml:21:41: line 1, column 1: `agee` is neither a feature of an input view nor request data: did you mean `age`?
            larder.yaml:23:47: line 1, column 7: argument 1 of `upper` must be string, not float64
            larder.yaml:24:44: line 1, column 10: `incme` is neither a feature of an input view nor request data: did you mean `income`?
            larder.yaml:25:32: `itn64` is not a type: a type is one of bool, int32, int64, float32, float64, string, bytes, timestamp, or list<…> of one of them: did you mean `int64`?
            larder.yaml:25:44: line 1, column 1: `nope` is neither a feature of an input view nor request data; there are `age`, `amount`, `income`
            larder.yaml:26:9: an on-demand feature needs the field `sql`
        "#]],
    );
}

#[test]
fn what_can_never_be_meant() {
    for fields in ["    ttl: 0", "    ttl: 5", "    ttl: true", "    ttl: 3652501d", "    ttl: 300000000d"] {
        let problems = read(&small(&format!("{fields}\n{TWO_FEATURES}"), "")).unwrap_err();
        assert_eq!(problems.len(), 1, "{fields}: {}", lines(&problems));
    }
    read(&small(&format!("    ttl: 3652500d\n    schedule: {{ cron: '0 0 29 2 *' }}\n{TWO_FEATURES}"), "")).unwrap();
    check_view(
        &format!(
            "    ttl: 5\n    allowed_lateness: 300000000d\n    online: false\n    offline: false\n    schedule: {{ cron: '0 0 31 2 *' }}\n{TWO_FEATURES}"
        ),
        expect![[r#"
            larder.yaml:15:10: `5` says no unit: write 5d, 5h, 5m or 5s; `none` means no limit
            larder.yaml:16:23: is longer than 3652500d, the greatest
            larder.yaml:18:14: a view that is neither served nor in training sets is of no use: `online` or `offline` is true
            larder.yaml:19:15: a view with `online: false` is not materialized: it has no schedule
            larder.yaml:19:23: `0 0 31 2 *` never comes round: there is no such day
        "#]],
    );
    check_view(
        "    ttl: 0\n    features: [{ name: 64, type: 64 }, { name: true, type: int64 }]",
        expect![[r#"
        larder.yaml:15:10: a ttl is above zero, e.g. 5d; `none` means no limit
        larder.yaml:16:24: `64` is not a name: a name is a letter or underscore, then letters, digits and underscores, at most 128 characters
        larder.yaml:16:34: `64` is not a type: a type is one of bool, int32, int64, float32, float64, string, bytes, timestamp, or list<…> of one of them
        larder.yaml:16:48: text is wanted here, not `true`: put it in quotes
    "#]],
    );
    check_view(
        &format!("    ttl: 300000000d\n{TWO_FEATURES}"),
        expect![[r#"
        larder.yaml:15:10: is longer than 3652500d, the greatest; `ttl: none` means no limit
    "#]],
    );
}

/// A part of a project: what it refers to may be declared by others, and all else is told.
#[test]
fn a_part_of_a_project_is_checked_as_far_as_it_goes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("uses.yaml");
    let read = |text: &str| {
        std::fs::write(&file, text).unwrap();
        (read_part(&file), read_folder(&file))
    };
    let text = "project: payments
feature_views:
  - { name: mine, entities: [customer], source: history, push_source: pushed, features: [{ name: a, type: int64 }] }
on_demand_feature_views:
  - { name: ratio, inputs: [mine, theirs], features: [{ name: r, type: int64, sql: a + b }] }
feature_services:
  - { name: s, features: [{ view: theirs, select: [b] }, { view: ratio, join_keys: { customer_id: payer } }, { view: mine }] }
";
    let (part, whole) = read(text);
    assert_eq!(part.unwrap().objects.len(), 3);
    assert_eq!(whole.unwrap_err().len(), 5, "alone, it refers to what is not there");
    let wrong = text
        .replace("type: int64 }] }\non", "type: int46 }], ttl: 0 }\non")
        .replace("view: mine }", "view: mine, select: [c] }");
    let problems = read(&wrong).0.unwrap_err();
    assert_eq!(problems.len(), 3, "{}", lines(&problems));
    assert!(problems[2].message == "view `mine` has no feature `c`", "{}", problems[2]);
    assert!(problems.iter().all(|problem| problem.location.is_some()));
    // What is wrong with an expression whatever others declare.
    let problems = read(&text.replace("a + b }", "a + b + random() }")).0.unwrap_err();
    let random =
        "line 1, column 9: `random` gives another result each time; a feature must be the same in training and serving";
    assert_eq!(problems[0].message, random);
}

/// What is not there hides only what depends on it.
#[test]
fn an_unknown_input_hides_no_other_problem() {
    check_more(
        "---
on_demand_feature_views:
  - name: computed
    inputs: [profile, profil]
    request: [{ name: amount, type: float64 }]
    features:
      - { name: a, type: float64, sql: 'amount +' }
      - { name: b, type: float64, sql: random() }
      - { name: c, type: float64, sql: profil.b * nowhere.x }
      - { name: d, type: float64, sql: profile.agee + profil.age }
      - { name: e, type: string, sql: upper(income) }
      - { name: f, type: float64, sql: profil.x + missing + amount }
      - { name: g, type: int64, sql: amount * income }
      - { name: h, type: string, sql: 'missing || profil.x' }
      - { name: i, type: float64, sql: \"profil.x + missing + coalesce(amount) * NoSuch (profil.y)\" }
      - { name: j, type: string, sql: \"missing || profil.x || 'é random()' || upper(profil.z)\" }
",
        expect![[r#"
            larder.yaml:21:23: there is no feature view `profil`: did you mean `profile`?
            larder.yaml:24:40: not a SQL expression: Expected: an expression, found: EOF
            larder.yaml:25:40: line 1, column 1: `random` gives another result each time; a feature must be the same in training and serving
            larder.yaml:26:40: line 1, column 12: `nowhere` is not an input view; there are `profil`, `profile`
            larder.yaml:27:40: line 1, column 1: view `profile` has no feature `agee`: did you mean `age`?
            larder.yaml:28:39: line 1, column 7: argument 1 of `upper` must be string, not float64
            larder.yaml:30:38: the expression gives float64, which does not widen to the declared int64: declare float64, or write CAST(… AS int64)
            larder.yaml:32:40: line 1, column 41: `nosuch` is not a function of the list, which docs/expressions.md has
        "#]],
    );
}

#[test]
fn a_problem_is_one_line_and_names_its_files() {
    check_more(
        "---
on_demand_feature_views:
  - name: computed
    request: [{ name: text, type: string }]
    features: [{ name: a, type: bool, sql: \"regexp_like(text, '(ab')\" }]
",
        expect![[r#"
            larder.yaml:22:44: line 1, column 19: the pattern of `regexp_like`: unclosed group
        "#]],
    );
    check(
        "project: __own\n",
        expect![[r#"
        larder.yaml:1:10: `__own`: names that start with two underscores are kept for Larder itself
    "#]],
    );
    check(
        "data: x\nserving: { server: { listen: '[::]:1' } }\n",
        expect![[r#"
        larder.yaml:1:1: these are settings of `larder up` and no definitions: keep them outside of the feature repository
    "#]],
    );
    let folder = tempfile::tempdir().unwrap();
    for file in ["a.yaml", "b.yml", "c.yaml"] {
        std::fs::write(folder.path().join(file), "entities: []\n").unwrap();
    }
    let told = lines(&read_folder(folder.path()).unwrap_err()).replace(&format!("{}/", folder.path().display()), "");
    assert_eq!(
        told,
        "none of a.yaml, b.yml, c.yaml says which project is declared: write `project: <name>` in one of them\n"
    );
}

/// A problem of a view is none of what is known of it.
#[test]
fn what_is_wrong_with_a_view_hides_nothing_of_its_users() {
    check(
        "project: p
entities:
  - { name: c, join_keys: [{ name: cid, type: string }], tll: 1 }
  - { name: d, join_keys: [{ name: cid, type: int64 }] }
sources:
  - { name: s, parquet: { path: '' }, event_time: at, strange: 1 }
  - { name: events, push: {} }
feature_views:
  - { name: a, entities: [c], source: s, push_source: events, ttl: 0s, features: [{ name: x, type: int64 }] }
  - { name: b, entities: [d], source: events, schedule: 7, features: [{ name: x, type: string }] }
on_demand_feature_views:
  - { name: o, inputs: [a], owner: 7, features: [{ name: q2, type: int64, sql: x + }, { name: r, type: int64, sql: x }] }
feature_services:
  - name: service
    features:
      - { view: a, select: [w], join_keys: { cidd: who } }
      - { view: o, select: [q], join_keys: { cidd: who } }
      - { view: b, as: other }
",
        expect![[r#"
            larder.yaml:3:58: an entity has no field `tll`; its fields are name, join_keys, description, owner, tags
            larder.yaml:6:33: is empty
            larder.yaml:6:55: a source has no field `strange`; its fields are name, parquet, postgres, push, event_time, created_time, description, owner, tags
            larder.yaml:9:68: a ttl is above zero, e.g. 5d; `none` means no limit
            larder.yaml:10:26: column `cid` of push source `events` is int64 here and string in view `a`: views of one push source agree on its columns' types
            larder.yaml:10:57: a schedule is wanted here, not the number 7
            larder.yaml:10:71: column `x` of push source `events` is string here and int64 in view `a`: views of one push source agree on its columns' types
            larder.yaml:12:36: text is wanted here, not the number 7: put it in quotes
            larder.yaml:12:80: not a SQL expression: Expected: an expression, found: EOF
            larder.yaml:16:29: view `a` has no feature `w`
            larder.yaml:16:52: view `a` has no join key `cidd`: did you mean `cid`?
            larder.yaml:17:29: view `o` has no feature `q`: did you mean `q2`?
            larder.yaml:17:52: view `o` has no join key `cidd`: did you mean `cid`?
            larder.yaml:18:9: the request's column `cid` would be int64 for view `b` and string for view `a`: map the join key of one to another column with `join_keys`
        "#]],
    );
}

/// However much is wrong, what is told can be read, and limits are told in words.
#[test]
fn much_that_is_wrong_is_told_in_part() {
    let problems = read(&format!("project: p\nentities: [{}]", "x, ".repeat(1_000))).unwrap_err();
    assert_eq!((problems.len(), problems[100].to_string().as_str()), (101, "and 900 more"));
    assert!(problems[..100].iter().all(|problem| problem.to_string().contains("an entity is wanted here, not `x`")));

    let repeated = |name: &str, of: &str| format!("{name}: &{name} [{}]\n", format!("*{of}, ").repeat(20));
    let bomb = format!("a: &a [1]\n{}", ["ab", "bc", "cd", "de", "ef"].map(|n| repeated(&n[1..], &n[..1])).concat());
    let deep = format!("project: {}{}", "[".repeat(3_000), "]".repeat(3_000));
    let deep_block: String = (0..70).map(|depth| format!("{}a:\n", "  ".repeat(depth))).collect();
    let long = format!("project: p\nentities: [{}]", "x, ".repeat(50_001));
    for (text, words) in [
        (bomb, "it is larger than a file of definitions may be: make it several, or repeat less"),
        (deep, "it is nested deeper than definitions ever are"),
        (deep_block, "it is nested deeper than definitions ever are"),
        (long, "a list has more than 50000 items"),
    ] {
        let problems = read(&text).unwrap_err();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].message.starts_with(&format!("is not YAML: {words}")), "{}", problems[0]);
    }
}
