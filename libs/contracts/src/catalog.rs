//! A catalog in pieces: split below 1 MiB each, and put together again.
//!
//! [`whole`] and [`change`] make pieces; an [`Assembler`] takes them; [`encode_kept`] puts all of them in one. What a reader does not understand (a kind, a type or
//! an engine of a later release) is left out into `not_understood` and never an error.

mod assemble;
mod kept;
mod state;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use larder_definitions::{
    Catalog, Entity, FeatureService, Object, ObjectId, ObjectKind, OnDemandFeatureView, ResolvedSource, ResolvedView,
};
use larder_types::{Name, Revision};
use prost::Message as _;

pub use assemble::Assembler;
pub use kept::{decode_kept, encode_kept};

use crate::{
    registry::v1::{CatalogEntry, CatalogPiece},
    wire::Wire,
};

/// How often a registry says that it is there to who follows a catalog.
pub const HEARTBEAT: Duration = Duration::from_secs(2);

/// A piece is at most this long, but for one with a single object that is longer itself.
pub const PIECE_BYTES: usize = 1_000_000;

/// All of a catalog.
pub fn whole(catalog: &Catalog) -> Vec<CatalogPiece> {
    let mut packer = Packer::new(catalog, None);
    items(catalog).for_each(|(id, item)| packer.put(item.entry(catalog, &id)));
    catalog.not_understood.keys().for_each(|name| packer.put(unknown_entry(name)));
    packer.finish()
}

/// What differs in `to` from `from`, which is what the reader has. Fast where unchanged objects are shared.
pub fn change(from: &Catalog, to: &Catalog) -> Vec<CatalogPiece> {
    let before: BTreeMap<ObjectId, Item<'_>> = items(from).collect();
    let after: BTreeMap<ObjectId, Item<'_>> = items(to).collect();
    let origin = |catalog: &Catalog, id| catalog.origins.get(id).cloned();
    let mut packer = Packer::new(to, Some(from.revision));
    // What is gone comes first, so that the same name can come again as something else.
    before.keys().filter(|id| !after.contains_key(id)).for_each(|id| packer.remove(id.to_wire()));
    for name in from.not_understood.keys().filter(|name| !to.not_understood.contains_key(*name)) {
        packer.remove(crate::registry::v1::ObjectId { kind: 0, name: name.to_string() });
    }
    for (id, item) in &after {
        let same = before.get(id).is_some_and(|old| old.is(item)) && origin(from, id) == origin(to, id);
        if !same {
            packer.put(item.entry(to, id));
        }
    }
    for name in to.not_understood.keys().filter(|name| !from.not_understood.contains_key(*name)) {
        packer.put(unknown_entry(name));
    }
    packer.finish()
}

/// An object of a catalog, with what it resolves to.
enum Item<'a> {
    Entity(&'a Arc<Entity>),
    Source(&'a Arc<ResolvedSource>),
    FeatureView(&'a Arc<ResolvedView>),
    OnDemandFeatureView(&'a Arc<OnDemandFeatureView>),
    FeatureService(&'a Arc<FeatureService>),
}

/// In the order of kinds, by name.
fn items(catalog: &Catalog) -> impl Iterator<Item = (ObjectId, Item<'_>)> {
    fn named<'a, T>(
        kind: ObjectKind,
        objects: &'a BTreeMap<Name, Arc<T>>,
        item: impl Fn(&'a Arc<T>) -> Item<'a>,
    ) -> impl Iterator<Item = (ObjectId, Item<'a>)> {
        objects.iter().map(move |(name, object)| (ObjectId { kind, name: name.clone() }, item(object)))
    }
    let entities = named(ObjectKind::Entity, &catalog.entities, Item::Entity);
    let sources = named(ObjectKind::Source, &catalog.sources, Item::Source);
    let views = named(ObjectKind::FeatureView, &catalog.feature_views, Item::FeatureView);
    let computed = named(ObjectKind::OnDemandFeatureView, &catalog.on_demand_feature_views, Item::OnDemandFeatureView);
    let services = named(ObjectKind::FeatureService, &catalog.feature_services, Item::FeatureService);
    entities.chain(sources).chain(views).chain(computed).chain(services)
}

impl Item<'_> {
    fn is(&self, other: &Item<'_>) -> bool {
        fn same<T: PartialEq>(one: &Arc<T>, other: &Arc<T>) -> bool {
            Arc::ptr_eq(one, other) || one == other
        }
        match (self, other) {
            (Self::Entity(one), Item::Entity(other)) => same(one, other),
            (Self::Source(one), Item::Source(other)) => same(one, other),
            (Self::FeatureView(one), Item::FeatureView(other)) => same(one, other),
            (Self::OnDemandFeatureView(one), Item::OnDemandFeatureView(other)) => same(one, other),
            (Self::FeatureService(one), Item::FeatureService(other)) => same(one, other),
            (
                Self::Entity(_)
                | Self::Source(_)
                | Self::FeatureView(_)
                | Self::OnDemandFeatureView(_)
                | Self::FeatureService(_),
                _,
            ) => false,
        }
    }

    fn entry(&self, catalog: &Catalog, id: &ObjectId) -> CatalogEntry {
        let object = match self {
            Self::Entity(entity) => Object::Entity(Entity::clone(entity)),
            Self::Source(source) => Object::Source(source.definition.clone()),
            Self::FeatureView(view) => Object::FeatureView(view.definition.clone()),
            Self::OnDemandFeatureView(view) => Object::OnDemandFeatureView(OnDemandFeatureView::clone(view)),
            Self::FeatureService(service) => Object::FeatureService(FeatureService::clone(service)),
        };
        let view = match self {
            Self::FeatureView(view) => Some(state::view_to_wire(view)),
            Self::Entity(_) | Self::Source(_) | Self::OnDemandFeatureView(_) | Self::FeatureService(_) => None,
        };
        let push = match self {
            Self::Source(source) => source.push_schema.as_ref().map(|schema| schema.to_wire()),
            Self::Entity(_) | Self::FeatureView(_) | Self::OnDemandFeatureView(_) | Self::FeatureService(_) => None,
        };
        CatalogEntry {
            object: Some(object.to_wire()),
            origin: catalog.origins.get(id).cloned().unwrap_or_default(),
            view,
            push,
            name: id.name.to_string(),
        }
    }
}

fn unknown_entry(name: &Name) -> CatalogEntry {
    CatalogEntry { name: name.to_string(), ..CatalogEntry::default() }
}

/// Fills pieces up to [`PIECE_BYTES`].
struct Packer {
    empty: CatalogPiece,
    full: Vec<CatalogPiece>,
    open: CatalogPiece,
    bytes: usize,
}

/// Tag and length around an entry, at most.
const FRAME: usize = 8;

impl Packer {
    fn new(catalog: &Catalog, since: Option<Revision>) -> Self {
        let empty = CatalogPiece {
            project: catalog.project.to_string(),
            project_number: catalog.project_number.0,
            revision: catalog.revision.0,
            created_at: catalog.created_at.as_micros(),
            entries: Vec::new(),
            removed: Vec::new(),
            last: false,
            since: since.map_or(0, |since| since.0),
        };
        let bytes = empty.encoded_len() + FRAME;
        Self { open: empty.clone(), full: Vec::new(), bytes, empty }
    }

    fn put(&mut self, entry: CatalogEntry) {
        self.make_room(entry.encoded_len());
        self.open.entries.push(entry);
    }

    fn remove(&mut self, id: crate::registry::v1::ObjectId) {
        self.make_room(id.encoded_len());
        self.open.removed.push(id);
    }

    fn make_room(&mut self, bytes: usize) {
        let is_empty = self.open.entries.is_empty() && self.open.removed.is_empty();
        if !is_empty && self.bytes + bytes + FRAME > PIECE_BYTES {
            self.full.push(std::mem::replace(&mut self.open, self.empty.clone()));
            self.bytes = self.empty.encoded_len() + FRAME;
        }
        self.bytes += bytes + FRAME;
    }

    fn finish(mut self) -> Vec<CatalogPiece> {
        self.open.last = true;
        self.full.push(self.open);
        self.full
    }
}
