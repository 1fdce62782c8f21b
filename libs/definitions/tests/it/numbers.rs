//! Numbers under random histories of applies, renames, removals and rollbacks, against rules stated naively here.

use std::collections::{BTreeMap, BTreeSet};

use larder_definitions::{
    Catalog, ChangeSet, Entity, Feature, FeatureView, JoinKey, Metadata, Object, ParquetSource, ProjectState,
    RevisionRecord, RollbackRequest, Source, SourceKind, apply, plan, rollback,
    state::{SchemaColumns, ViewAssignment},
};
use larder_types::{ColumnNumber, ErrorCode, KeyType, Name, RowSetNumber, ScalarType, SchemaNumber, ValueType};
use proptest::prelude::*;

use crate::projects::{empty, meta, name};

/// A feature: which name, which type, maybe renamed from another name.
type FeatureDraft = (usize, usize, Option<usize>);

#[derive(Debug, Clone)]
struct ViewDraft {
    /// A set of entities, by bits.
    entities: usize,
    features: Vec<FeatureDraft>,
    pushed: bool,
}

#[derive(Debug, Clone)]
enum Step {
    /// Views by number; one that is left out is removed.
    Declare(BTreeMap<usize, ViewDraft>),
    /// To a revision: an index into those there are.
    Rollback(prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let renamed = prop_oneof![3 => Just(None), 1 => (0..5_usize).prop_map(Some)];
    let feature = (0..5_usize, prop_oneof![4 => Just(0_usize), 1 => Just(1)], renamed);
    let view = (prop_oneof![4 => Just(1_usize), 1 => 0..4_usize], prop::collection::vec(feature, 1..5), any::<bool>());
    let view = view.prop_map(|(entities, features, pushed)| ViewDraft { entities, features, pushed });
    let declare = prop::collection::btree_map(0..3_usize, view, 0..4).prop_map(Step::Declare);
    let step = prop_oneof![4 => declare, 1 => any::<prop::sample::Index>().prop_map(Step::Rollback)];
    prop::collection::vec(step, 1..14)
}

fn objects(views: &BTreeMap<usize, ViewDraft>) -> Vec<Object> {
    let entity = |number: usize, key: &str, key_type| {
        let join_keys = vec![JoinKey { name: name(key), key_type }];
        Object::Entity(Entity { name: name(&format!("e{number}")), join_keys, metadata: Metadata::default() })
    };
    let source = |text: &str, kind| Object::Source(Source { name: name(text), kind, metadata: Metadata::default() });
    let parquet = ParquetSource { path: "/data/".to_owned(), event_time: "at".to_owned(), created_time: None };
    let mut objects = vec![
        entity(0, "k", KeyType::String),
        entity(1, "b", KeyType::Int64),
        source("history", SourceKind::Parquet(parquet)),
    ];
    for (number, draft) in views {
        let pushed = format!("pushed{number}");
        objects.push(source(&pushed, SourceKind::Push(Default::default())));
        objects.push(Object::FeatureView(FeatureView {
            name: name(&format!("v{number}")),
            entities: (0..2).filter(|bit| draft.entities >> bit & 1 == 1).map(|bit| name(&format!("e{bit}"))).collect(),
            source: name("history"),
            push_source: draft.pushed.then(|| name(&pushed)),
            ttl: None,
            online: true,
            offline: true,
            schedule: None,
            allowed_lateness: None,
            features: draft.features.iter().map(feature).collect(),
            metadata: Metadata::default(),
        }));
    }
    objects
}

fn feature((number, value_type, renamed_from): &FeatureDraft) -> Feature {
    let types = [ScalarType::Int64, ScalarType::Float64];
    Feature {
        name: name(&format!("f{number}")),
        column: None,
        value_type: ValueType::Scalar(types[*value_type]),
        renamed_from: renamed_from.map(|number| name(&format!("f{number}"))),
        description: String::new(),
        tags: BTreeMap::new(),
    }
}

/// What was ever given, in any revision.
#[derive(Default)]
struct Given {
    columns: BTreeMap<(Name, ColumnNumber), ValueType>,
    schemas: BTreeMap<(Name, SchemaNumber), SchemaColumns>,
    row_sets: BTreeMap<RowSetNumber, Name>,
}

impl Given {
    fn record(&mut self, view: &Name, assignment: &ViewAssignment, state: &ProjectState) {
        let columns = &state.numbers.row_sets[&assignment.row_set].schemas[&assignment.schema];
        let numbers: BTreeSet<_> = assignment.columns.values().collect();
        assert_eq!(numbers, columns.keys().collect(), "a schema has the columns of its features, each once");
        for (number, value_type) in columns {
            let first = self.columns.entry((view.clone(), *number)).or_insert(*value_type);
            assert_eq!(first, value_type, "a column has one type for ever");
        }
        let first = self.schemas.entry((view.clone(), assignment.schema)).or_insert_with(|| columns.clone());
        assert_eq!(first, columns, "a schema number stands for one schema for ever");
        assert_eq!(self.row_sets.entry(assignment.row_set).or_insert_with(|| view.clone()), view);
    }
}

fn keys(state: &ProjectState, view: &FeatureView) -> Vec<String> {
    let mut keys: Vec<_> =
        view.entities.iter().map(|entity| if *entity == "e0" { "k" } else { "b" }.to_owned()).collect();
    keys.sort();
    let current = state.numbers.views[&view.name].current.as_ref().unwrap();
    let space = &state.numbers.key_spaces[&state.numbers.row_sets[&current.row_set].key_space];
    assert_eq!(space.iter().map(|key| key.name.to_string()).collect::<Vec<_>>(), keys, "sorted by name");
    keys
}

/// The rules for a view that was put, stated from the definitions before and after.
fn check_view(given: &Given, before: &ProjectState, after: &ProjectState, view: &FeatureView) {
    let new = after.numbers.views[&view.name].current.as_ref().unwrap();
    let fresh_column = |number: &ColumnNumber| !given.columns.contains_key(&(view.name.clone(), *number));
    let after_keys = keys(after, view);
    let Some(old_view) = before.feature_view(&view.name) else {
        assert!(!given.row_sets.contains_key(&new.row_set), "a view that was not there has a new row set");
        assert!(new.columns.values().all(fresh_column), "and new columns");
        return;
    };
    let old = before.numbers.views[&view.name].current.as_ref().unwrap();
    let mut retyped = false;
    for feature in &view.features {
        let known = old_view.features.iter().find(|known| known.name == feature.name);
        let is_new_renaming =
            feature.renamed_from.is_some() && known.is_none_or(|known| known.renamed_from != feature.renamed_from);
        let from =
            feature.renamed_from.as_ref().and_then(|from| old_view.features.iter().find(|known| known.name == *from));
        let origin = from.filter(|_| is_new_renaming).or(known);
        let number = &new.columns[&feature.name];
        match origin {
            Some(origin) if origin.value_type == feature.value_type => assert_eq!(*number, old.columns[&origin.name]),
            Some(_) => {
                retyped = true;
                assert!(fresh_column(number));
            }
            None => assert!(fresh_column(number)),
        }
    }
    let is_pushed_no_more = old_view.push_source.is_some() && view.push_source.is_none();
    let is_new_row_set = retyped || is_pushed_no_more || after_keys != keys(before, old_view);
    assert_eq!(new.row_set != old.row_set, is_new_row_set);
    assert!(!is_new_row_set || !given.row_sets.contains_key(&new.row_set));
    if !is_new_row_set {
        let same_columns = old.columns.values().collect::<BTreeSet<_>>() == new.columns.values().collect();
        assert_eq!(same_columns, old.schema == new.schema, "another schema only for another set of columns");
    }
}

fn check_state(given: &mut Given, before: &ProjectState, after: &ProjectState) {
    let current: BTreeMap<_, _> =
        after.numbers.views.iter().filter_map(|(view, numbers)| Some((view, numbers.current.as_ref()?))).collect();
    for (view, assignment) in &current {
        given.record(view, assignment, after);
        assert!(after.feature_view(view).is_some());
    }
    let read: BTreeSet<_> = current.values().map(|assignment| assignment.row_set).collect();
    assert_eq!(read.len(), current.len(), "no two views share a row set");
    for (number, row_set) in &after.numbers.row_sets {
        assert_eq!(row_set.retired.is_none(), read.contains(number), "row set {number} is read or retired");
    }
    for (number, row_set) in &before.numbers.row_sets {
        let kept = &after.numbers.row_sets[number].schemas;
        assert!(
            row_set.schemas.iter().all(|(schema, columns)| kept.get(schema) == Some(columns)),
            "schemas stay known"
        );
    }
    let counters = |state: &ProjectState| (state.numbers.next_key_space, state.numbers.next_row_set);
    assert!(counters(before) <= counters(after));
}

fn declare(
    state: &ProjectState,
    views: &BTreeMap<usize, ViewDraft>,
    given: &Given,
) -> Option<(RevisionRecord, ProjectState)> {
    let change = ChangeSet::whole(state, "test", objects(views));
    match apply(state, &change, meta(state)) {
        Err(error) => {
            assert_eq!(error.code(), ErrorCode::InvalidArgument, "{error}");
            None
        }
        Ok(None) => {
            assert!(plan(state, &change).unwrap().is_empty());
            None
        }
        Ok(Some((record, after))) => {
            assert!(!plan(state, &change).unwrap().is_empty());
            for object in &change.puts {
                if let Object::FeatureView(view) = object {
                    check_view(given, state, &after, view);
                }
            }
            let again = ChangeSet::whole(&after, "test", change.puts);
            assert!(plan(&after, &again).unwrap().changes.is_empty(), "a plan says nothing when nothing changed");
            assert!(apply(&after, &again, meta(&after)).unwrap().is_none());
            Some((record, after))
        }
    }
}

fn go_back(states: &[ProjectState], target: &ProjectState) -> Option<(RevisionRecord, ProjectState)> {
    let state = states.last()?;
    let request =
        RollbackRequest { expected_revision: Some(state.revision), origin: "ops".to_owned(), message: String::new() };
    let (record, after) = rollback(state, target, &request, meta(state)).unwrap()?;
    let declared = |state: &ProjectState| -> Vec<_> {
        state.objects.values().map(|declared| (declared.object.clone(), declared.origin.clone())).collect()
    };
    assert_eq!(declared(&after), declared(target));
    for (view, numbers) in &target.numbers.views {
        let (now, Some(then)) = (&after.numbers.views[view].current, &numbers.current) else {
            assert_eq!(after.numbers.views[view].current, None);
            continue;
        };
        let now = now.as_ref().unwrap();
        assert_eq!(now.columns, then.columns, "columns as of then");
        let columns = |of: &ProjectState, assignment: &ViewAssignment| {
            of.numbers.row_sets[&assignment.row_set].schemas[&assignment.schema].clone()
        };
        assert_eq!(columns(&after, now), columns(target, then), "and the schema's");
        // Events may have got into a row set that the view does not have then.
        let is_pushed = |state: &ProjectState| state.feature_view(view).is_some_and(|view| view.push_source.is_some());
        let current = |state: &ProjectState| Some(state.numbers.views.get(view)?.current.as_ref()?.row_set);
        let is_fit = |row_set| {
            is_pushed(target) || !states.iter().filter(|state| current(state) == Some(row_set)).any(is_pushed)
        };
        // The present one, if its rows may have the columns; else that of then; else another.
        let present = current(state).filter(|row_set| {
            let known = |row_set| &state.numbers.row_sets[row_set];
            let had = |column| known(row_set).schemas.values().any(|schema| schema.contains_key(column));
            known(row_set).key_space == known(&then.row_set).key_space && then.columns.values().all(had)
        });
        match [present, Some(then.row_set)].into_iter().flatten().find(|row_set| is_fit(*row_set)) {
            Some(expected) => assert_eq!(now.row_set, expected),
            None => assert!(!state.numbers.row_sets.contains_key(&now.row_set)),
        }
    }
    for (source, numbers) in &target.numbers.push_sources {
        assert_eq!(after.numbers.push_sources[source].current, numbers.current);
    }
    Some((record, after))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn numbers_keep_their_meaning(steps in steps()) {
        let mut states = vec![empty()];
        let mut records = Vec::new();
        let mut given = Given::default();
        let mut catalog = Catalog::build(&states[0]).unwrap();
        for step in &steps {
            let state = states.last().unwrap();
            let next = match step {
                Step::Declare(views) => declare(state, views, &given),
                Step::Rollback(to) => go_back(&states, to.get(&states)),
            };
            let Some((record, after)) = next else { continue };
            check_state(&mut given, state, &after);
            let bytes = record.encode().unwrap();
            prop_assert_eq!(&RevisionRecord::decode(&bytes).unwrap(), &record);
            let next_catalog = Catalog::build_from(&after, Some(&catalog)).unwrap();
            prop_assert_eq!(&next_catalog, &Catalog::build(&after).unwrap());
            for (view, before) in &catalog.feature_views {
                let shared = next_catalog.feature_views.get(view).filter(|now| *now == before);
                prop_assert!(shared.is_none_or(|now| std::sync::Arc::ptr_eq(now, before)), "unchanged views are shared");
            }
            catalog = next_catalog;
            records.push(record);
            states.push(after);
        }
        let last = states.last().unwrap();
        prop_assert_eq!(&empty().fold_all(&records).unwrap(), last);
        prop_assert_eq!(&ProjectState::decode(&last.encode().unwrap()).unwrap(), last);
    }

    /// Neither bytes at random nor damaged records make the decoders or the fold panic.
    #[test]
    fn damaged_bytes_are_an_error(position in any::<prop::sample::Index>(), byte in any::<u8>(), noise in prop::collection::vec(any::<u8>(), 0..64)) {
        let views = BTreeMap::from([(0, ViewDraft { entities: 1, features: vec![(0, 0, None)], pushed: true })]);
        let (record, _) = declare(&empty(), &views, &Given::default()).unwrap();
        let mut bytes = record.encode().unwrap();
        let at = position.index(bytes.len());
        bytes[at] = byte;
        for bytes in [bytes, noise] {
            if let Ok(record) = RevisionRecord::decode(&bytes)
                && let Ok(state) = empty().next(&record)
            {
                let _ = Catalog::build(&state);
            }
        }
    }
}

/// A view whose entities change their keys has other keys itself, though nobody put it.
#[test]
fn a_changed_entity_moves_its_views() {
    let text = crate::projects::small(crate::projects::TWO_FEATURES, "");
    let (_, state) = crate::projects::applied(&empty(), &text);
    let (record, after) =
        crate::projects::applied(&state, &text.replace("customer_id, type: string", "customer_id, type: int64"));
    assert_eq!(record.puts.len(), 1);
    let row_sets: Vec<_> = record.numbers.views.values().map(|view| (view.key_space.0, view.row_set.0)).collect();
    assert_eq!(row_sets, [(2, 2)]);
    assert_eq!(after.retired_row_sets().count(), 1);
}

/// A record that gives a number again is not folded.
#[test]
fn a_record_that_does_not_follow_is_refused() {
    let text = crate::projects::small(crate::projects::TWO_FEATURES, "");
    let (record, state) = crate::projects::applied(&empty(), &text);
    assert_eq!(state.next(&record).unwrap_err().code(), ErrorCode::DataLoss);
    let renamed = text.replace("name: profile", "name: other");
    let (mut second, _) = crate::projects::applied(&state, &renamed);
    for view in second.numbers.views.values_mut() {
        view.row_set = RowSetNumber(1);
    }
    let error = state.next(&second).unwrap_err();
    assert_eq!(error.code(), ErrorCode::DataLoss);
    assert!(error.message().contains("row set 1"), "{error}");
}
