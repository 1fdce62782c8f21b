//! Catalogs there and back: whole, changed, in many pieces, and with what a reader does not know.

use std::sync::Arc;

use larder_definitions::{Catalog, Metadata, Object};
use larder_types::{ErrorCode, Name, Result};
use proptest::prelude::*;
use prost::Message as _;

use super::{Assembler, PIECE_BYTES, change, whole};
use crate::{
    registry::v1::{CatalogEntry, CatalogPiece, OnDemandFeature, OnDemandFeatureView, Source, ViewState, object},
    samples,
    wire::Wire,
};

fn assemble(mut assembler: Assembler, pieces: Vec<CatalogPiece>) -> Result<Catalog> {
    let mut assembled = None;
    for piece in pieces {
        assert!(assembled.is_none(), "a piece after the last");
        assert!(piece.encoded_len() <= PIECE_BYTES || piece.entries.len() + piece.removed.len() == 1);
        let bytes = piece.encode_to_vec();
        assembled = assembler.add(CatalogPiece::decode(&*bytes).unwrap())?;
    }
    Ok(assembled.expect("a last piece"))
}

/// Why something is not understood is for people, and not sent.
fn without_reasons(mut catalog: Catalog) -> Catalog {
    catalog.not_understood.values_mut().for_each(String::clear);
    catalog
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_catalog_comes_back_whole(catalog in samples::catalog(1)) {
        let back = assemble(Assembler::whole(None), whole(&catalog)).unwrap();
        prop_assert_eq!(without_reasons(back), catalog);
    }

    #[test]
    fn a_change_makes_the_one_catalog_of_the_other(from in samples::catalog(1), to in samples::catalog(5)) {
        let back = assemble(Assembler::change(Arc::new(from.clone())), change(&from, &to)).unwrap();
        prop_assert_eq!(without_reasons(back), to);
    }
}

#[test]
fn ten_thousand_features_come_back_in_pieces() {
    let catalog = samples::great_catalog(500);
    let pieces = whole(&catalog);
    assert!(pieces.len() > 1, "{}", pieces.len());
    let back = assemble(Assembler::whole(None), pieces).unwrap();
    assert_eq!(back, catalog);
    let first = &back.feature_views.values().next().unwrap().key_space;
    assert!(back.feature_views.values().all(|view| Arc::ptr_eq(&view.key_space, first)));
}

#[test]
fn a_small_change_is_a_small_piece_and_shares_the_rest() {
    let before = Arc::new(samples::great_catalog(500));
    let mut after = Catalog::clone(&before);
    after.revision = after.revision.next();
    let changed = Name::new("view_7").unwrap();
    let mut view = (*after.feature_views[&changed]).clone();
    view.definition.metadata = Metadata { owner: "somebody".into(), ..Metadata::default() };
    after.feature_views.insert(changed.clone(), Arc::new(view));
    let pieces = change(&before, &after);
    assert_eq!((pieces.len(), pieces[0].entries.len(), pieces[0].since), (1, 1, 1));
    let back = assemble(Assembler::change(before.clone()), pieces).unwrap();
    assert_eq!(back, after);
    for (name, view) in &back.feature_views {
        assert_eq!(Arc::ptr_eq(view, &before.feature_views[name]), *name != changed, "{name}");
    }
    let again = assemble(Assembler::whole(Some(before.clone())), whole(&before)).unwrap();
    assert!(again.feature_views.iter().all(|(name, view)| Arc::ptr_eq(view, &before.feature_views[name])));
}

#[test]
fn a_changed_source_reaches_the_views_that_read_it() {
    let before = Arc::new(samples::great_catalog(2));
    let mut pieces = change(&before, &Catalog { revision: before.revision.next(), ..Catalog::clone(&before) });
    let mut source = before.sources.values().next().unwrap().definition.clone();
    source.metadata.owner = "somebody".into();
    let object = Some(Object::Source(source).to_wire());
    pieces[0].entries = vec![CatalogEntry { object, name: "events".into(), ..CatalogEntry::default() }];
    let back = assemble(Assembler::change(before), pieces).unwrap();
    let source = back.sources.values().next().unwrap();
    assert_eq!(source.definition.metadata.owner, "somebody");
    assert!(back.feature_views.values().all(|view| Arc::ptr_eq(view.push_source.as_ref().unwrap(), source)));
}

fn entry(name: &str, object: object::Object) -> CatalogEntry {
    let object = Some(crate::registry::v1::Object { object: Some(object) });
    CatalogEntry { object, name: name.into(), ..CatalogEntry::default() }
}

#[test]
fn what_is_of_a_later_release_is_left_out_and_the_rest_is_there() {
    let before = Arc::new(samples::great_catalog(3));
    let mut pieces = whole(&before);
    let entries = &mut pieces[0].entries;
    entries.push(CatalogEntry { name: "new_kind".into(), ..CatalogEntry::default() });
    entries
        .push(entry("new_source", object::Object::Source(Source { name: "new_source".into(), ..Default::default() })));
    let engineless = OnDemandFeature { name: "f".into(), ..Default::default() };
    entries.push(entry(
        "new_engine",
        object::Object::OnDemandFeatureView(OnDemandFeatureView {
            name: "new_engine".into(),
            features: vec![engineless],
            ..Default::default()
        }),
    ));
    let view = entries.iter_mut().find(|entry| entry.name == "view_1").unwrap();
    let Some(object::Object::FeatureView(view)) = &mut view.object.as_mut().unwrap().object else { panic!("a view") };
    view.features[3].r#type.as_mut().unwrap().kind = 55;
    let catalog = assemble(Assembler::whole(None), pieces).unwrap();
    assert_eq!(catalog.feature_views.len(), 2);
    let names: Vec<&str> = catalog.not_understood.keys().map(Name::as_str).collect();
    assert_eq!(names, ["new_engine", "new_kind", "new_source", "view_1"]);
    let error = catalog.feature_view("view_1").unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unimplemented);
    assert!(error.message().contains("view_1.features[3].type.kind: type kind 55"), "{error}");
}

#[test]
fn an_object_that_becomes_one_of_a_later_release_is_no_longer_there_and_comes_back() {
    let before = Arc::new(samples::great_catalog(2));
    let next = Catalog { revision: before.revision.next(), ..Catalog::clone(&before) };
    let view = whole(&before).remove(0).entries.into_iter().find(|entry| entry.name == "view_1").unwrap();
    let mut unknown = view.clone();
    let Some(object::Object::FeatureView(message)) = &mut unknown.object.as_mut().unwrap().object else {
        panic!("a view")
    };
    message.features[0].r#type.as_mut().unwrap().kind = 55;
    let mut pieces = change(&before, &next);
    pieces[0].entries = vec![unknown];
    let without = Arc::new(assemble(Assembler::change(before.clone()), pieces).unwrap());
    assert!(!without.feature_views.contains_key("view_1") && without.not_understood.contains_key("view_1"));
    let mut pieces = change(&without, &Catalog { revision: without.revision.next(), ..Catalog::clone(&without) });
    pieces[0].entries = vec![view];
    let back = assemble(Assembler::change(without), pieces).unwrap();
    assert_eq!(back.feature_views, before.feature_views);
    assert!(back.not_understood.is_empty());
}

#[test]
fn pieces_that_do_not_belong_together_are_refused() {
    let catalog = Arc::new(samples::great_catalog(500));
    let two = || whole(&catalog);
    let state = |pieces: &mut Vec<CatalogPiece>, edit: fn(&mut ViewState)| {
        let entry = pieces[0].entries.iter_mut().find(|entry| entry.name == "view_1").unwrap();
        edit(entry.view.as_mut().unwrap());
    };
    let with = |edit: fn(&mut ViewState)| {
        let mut pieces = two();
        state(&mut pieces, edit);
        pieces
    };
    let mut other_revision = two();
    other_revision[1].revision = 9;
    let mut a_change = two();
    a_change[0].since = 4;
    let mut no_source = two();
    no_source[0].entries.retain(|entry| entry.name != "events");
    let cases = [
        (other_revision, "revision 9 does not belong"),
        (a_change, "changes revision 4, and revision 0 is here"),
        (no_source, "names source events, which is not here"),
        (with(|view| view.schema = 9), "entries[2].view.schema: schema 9 is not in `schemas`"),
        (with(|view| view.columns.truncate(19)), "view.columns: the view has 20 features, and 19 columns"),
        (with(|view| view.columns[0] = 99), "column 99 is not in schema 2"),
        (with(|view| view.keys.clear()), "key space 1 of feature view"),
    ];
    for (pieces, expected) in cases {
        let error = assemble(Assembler::whole(None), pieces).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidArgument);
        assert!(error.message().contains(expected), "{error} should contain {expected}");
    }
    let error = assemble(Assembler::change(catalog.clone()), two()).unwrap_err();
    assert!(error.message().contains("changes revision 0, and revision 1 is here"), "{error}");
}
