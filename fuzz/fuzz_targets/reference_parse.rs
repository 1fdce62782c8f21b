//! Any lines as references to features, and any words that such lines are made of: references or an error that says why not.
//! What could be read is written and read again without change; all together they are a selection of a catalog, whose columns
//! differ in name, or are refused.

#![no_main]

use std::{collections::HashSet, path::Path, sync::LazyLock};

use larder_definitions::{
    Catalog, ChangeSet, ProjectState, RevisionMeta, apply,
    selection::{Asked, Selection},
    yaml::read_text,
};
use larder_types::{FeatureReference, ProjectNumber, Timestamp};
use libfuzzer_sys::fuzz_target;

const DEFINITIONS: &str = "
project: p
entities:
  - { name: e, join_keys: [{ name: k, type: int64 }, { name: l, type: string }] }
sources:
  - { name: s, push: {} }
feature_views:
  - { name: a, entities: [e], source: s, features: [{ name: x, type: int64 }, { name: y, type: string }] }
  - { name: b, source: s, features: [{ name: x, type: int64 }] }
on_demand_feature_views:
  - name: c
    inputs: [a, b]
    request: [{ name: r, type: int64 }]
    features: [{ name: z, type: int64, sql: a.x + r }, { name: x, type: int64, sql: b.x }]
";

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    let repository = read_text("fuzz.yaml", Path::new("/repo"), DEFINITIONS).expect("definitions");
    let empty = ProjectState::empty(repository.project.clone(), ProjectNumber(1));
    let change = ChangeSet::whole(&empty, "fuzz", repository.into_objects());
    let meta = RevisionMeta { at: Timestamp::from_micros(0), principal: String::new(), address: String::new() };
    let (_, state) = apply(&empty, &change, meta).expect("they are valid").expect("they are new");
    Catalog::build(&state).expect("a catalog")
});

/// What references are made of.
const WORDS: [&str; 20] =
    ["a", "b", "c", "k", "l", "x", "y", "z", "r", ".", ".x", " as ", " as", "by ", " by ", "=", "k=", "l=", " ", "\n"];

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        check(text);
    }
    check(&bytes.iter().map(|byte| WORDS[usize::from(*byte) % WORDS.len()]).collect::<String>());
});

fn check(text: &str) {
    let mut references = Vec::new();
    for line in text.lines() {
        match line.parse::<FeatureReference>() {
            Ok(reference) => {
                let again: FeatureReference = reference.to_string().parse().expect("what was written can be read");
                assert_eq!(again, reference);
                references.push(reference);
            }
            Err(error) => assert!(error.message().contains("is not a feature reference"), "{error}"),
        }
    }
    let asked = Asked::References(references);
    for full_names in [false, true] {
        let Ok(selection) = Selection::resolve(&CATALOG, &asked, full_names) else { continue };
        let names: HashSet<&str> = selection.outputs.iter().map(|output| output.name.as_str()).collect();
        assert_eq!(names.len(), selection.outputs.len(), "{text}");
        for view in &selection.views {
            assert_eq!(view.key_columns.len(), view.view.key_space.keys.len());
            assert!(view.key_columns.iter().all(|column| selection.entity_columns.contains_key(column)), "{text}");
        }
    }
}
