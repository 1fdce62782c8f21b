//! The language and its JSON Schema.

use std::path::Path;

use expect_test::{expect, expect_file};
use larder_definitions::{
    Catalog, ChangeSet, Object, apply,
    yaml::{json_schema, read_folder},
};
use larder_types::ScalarType;
use proptest::prelude::*;

use crate::projects::{SAMPLE, empty, lines, meta, objects, read, small};

#[test]
fn the_sample_is_read_completely() {
    let objects = objects(SAMPLE);
    let ids: Vec<String> = objects.iter().map(|object| object.id().to_string()).collect();
    expect![[r#"
        entity customer
        entity pair
        source customer_history
        source payments_agg
        source real_time_push_source
        feature view customer_features
        feature view real_time_features
        on-demand feature view credit_scoring_features
        feature service credit_scoring_service
        feature service transfer_service
    "#]]
    .assert_eq(&lines(&ids));
    let view = objects.iter().find(|object| object.id().name == "customer_features").unwrap();
    expect![[r#"
        {
          "feature_view": {
            "name": "customer_features",
            "entities": [
              "customer"
            ],
            "source": "customer_history",
            "ttl": 31536000000000,
            "online": true,
            "offline": true,
            "schedule": {
              "cron": "0 */6 * * *",
              "time_zone": "UTC"
            },
            "allowed_lateness": 3600000000,
            "features": [
              {
                "name": "age",
                "type": "int64",
                "description": "Age in years"
              },
              {
                "name": "income",
                "type": "float64",
                "description": "Yearly income"
              },
              {
                "name": "debt_ratio",
                "type": "float64"
              },
              {
                "name": "late_payments",
                "column": "late_pmts",
                "type": "list<int32>"
              }
            ],
            "metadata": {
              "owner": "risk-platform",
              "tags": {
                "domain": "credit",
                "version": "v2"
              }
            }
          }
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(view).unwrap());
}

#[test]
fn the_example_is_valid() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/credit-scoring");
    match read_folder(&example) {
        Ok(repository) => {
            assert!(repository.objects.iter().any(|(object, _)| object.id().name == "credit_scoring_service"))
        }
        Err(problems) => panic!("{}", lines(&problems)),
    }
}

#[test]
fn every_field_has_its_place() {
    let repository = read(SAMPLE).unwrap();
    let at = |path: &str| repository.locate(path).unwrap().to_string();
    assert_eq!(at("feature_views.customer_features.ttl"), "larder.yaml:30:10");
    assert_eq!(at("feature_views.customer_features.features.age.type"), "larder.yaml:36:28");
    assert_eq!(at("feature_services.transfer_service.features[1].join_keys.customer_id"), "larder.yaml:72:95");
    assert_eq!(at("feature_views.customer_features.push_source"), at("feature_views.customer_features"));
    assert!(repository.locate("nothing").is_none());
}

/// `docs/larder.schema.json` is what editors are pointed to. `UPDATE_EXPECT=1` writes it anew.
#[test]
fn the_schema_in_the_docs_is_the_generated_one() {
    let schema = serde_json::to_string_pretty(&json_schema()).unwrap() + "\n";
    expect_file!["../../../../docs/larder.schema.json"].assert_eq(&schema);
}

/// The schema and the reader agree on what is well formed, but for what needs more than one value to be judged.
#[test]
fn the_schema_and_the_reader_agree() {
    let validator = jsonschema::validator_for(&json_schema()).unwrap();
    let is_valid = |yaml: &str| {
        let value: serde_json::Value = serde_saphyr::from_str(yaml).unwrap();
        validator.is_valid(&value)
    };
    let feature = |fields: &str| small(&format!("    features: [{{ {fields} }}]"), "");
    for good in [SAMPLE, &feature("name: a, type: int64"), &feature("name: a, type: 'list<bytes>', column: 'B C'")] {
        assert!(is_valid(good), "{good}");
        assert!(read(good).is_ok(), "{good}");
    }
    for bad in [
        feature("name: a"),
        feature("name: a-b, type: int64"),
        feature("name: a, type: int"),
        feature("name: a, type: int64, colour: red"),
        small("    ttl: 1w\n    features: [{ name: a, type: int64 }]", ""),
        small("    online: sometimes\n    features: [{ name: a, type: int64 }]", ""),
        small("    ttl: 00s\n    features: [{ name: a, type: int64 }]", ""),
        small("    features: []", ""),
        "project: p\nentities: [{ name: e, join_keys: [] }]".to_owned(),
        "project: p\non_demand_feature_views: [{ name: v, features: [] }]".to_owned(),
        "project: p\nfeature_services: [{ name: s, features: [] }]".to_owned(),
        small(
            "    features: [{ name: a, type: int64 }]",
            "feature_services: [{ name: s, features: [{ view: profile, select: [] }] }]",
        ),
        "project: p\nentities: [{ name: e, join_keys: [{ name: k, type: float64 }] }]".to_owned(),
        "project: p\nsources: [{ name: s }]".to_owned(),
        "project: p\nsources: [{ name: s, event_time: t, push: {}, parquet: { path: x } }]".to_owned(),
        "project: p\nsources: [{ name: s, event_time: t, postgres: { connection: c } }]".to_owned(),
    ] {
        assert!(!is_valid(&bad), "{bad}");
        assert!(read(&bad).is_err(), "{bad}");
    }
}

#[test]
fn objects_survive_json() {
    for object in objects(SAMPLE) {
        let json = serde_json::to_string(&object).unwrap();
        assert_eq!(serde_json::from_str::<Object>(&json).unwrap(), object, "{json}");
    }
    let unknown = r#"{"source":{"name":"s","parquet":{"path":"x","event_time":"t"},"colour":"red"}}"#;
    assert!(serde_json::from_str::<Object>(unknown).is_err());
}

/// One damage to a text: a line left out, doubled, or with a word replaced; or any character put anywhere.
fn damage(text: &str, kind: u8, at: prop::sample::Index, word: &str, noise: char) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let line = at.index(lines.len());
    match kind {
        0 => drop(lines.remove(line)),
        1 => lines.insert(line, lines[line].clone()),
        2 => {
            let words: Vec<&str> = lines[line].split_inclusive([' ', ',', ':']).collect();
            let old = words.get(at.index(words.len().max(1))).copied().unwrap_or_default().to_owned();
            lines[line] = lines[line].replacen(&old, &format!("{word} "), 1);
        }
        _ => {
            let end = at.index(lines[line].chars().count() + 1);
            let place = lines[line].char_indices().nth(end).map_or(lines[line].len(), |(place, _)| place);
            lines[line].insert(place, noise);
        }
    }
    lines.join("\n")
}

proptest! {
    /// A damaged file is read, or has problems; what is called valid can be applied.
    #[test]
    fn a_damaged_file_has_problems_or_can_be_applied(
        damages in prop::collection::vec((0..4_u8, any::<prop::sample::Index>(), 0..12_usize, any::<char>()), 1..4),
    ) {
        const WORDS: [&str; 12] = [
            "float64", "customer", "customer_features", "[]", "{}", "null", "0d", "none", "pair", "age", "name:", "-",
        ];
        let text = damages.into_iter().fold(SAMPLE.to_owned(), |text, (kind, at, word, noise)| {
            damage(&text, kind, at, WORDS[word], noise)
        });
        match read(&text) {
            Ok(repository) => {
                let state = empty();
                let change = ChangeSet::whole(&state, "test", repository.into_objects());
                if let Some((_, after)) = apply(&state, &change, meta(&state)).unwrap() {
                    Catalog::build(&after).unwrap();
                }
            }
            Err(problems) => prop_assert!(!problems.is_empty()),
        }
    }
}

/// The names of types stand once more in the schema's pattern.
#[test]
fn the_schema_knows_every_type() {
    let mut schema = json_schema();
    let known = schema["$defs"]["Type"].take();
    let validator = jsonschema::validator_for(&known).unwrap();
    for scalar in ScalarType::ALL {
        for text in [scalar.to_string(), format!("list<{scalar}>")] {
            assert!(validator.is_valid(&text.clone().into()), "{text}");
        }
    }
    assert!(!validator.is_valid(&"text".into()));
}
