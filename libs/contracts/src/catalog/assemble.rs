//! Pieces put together to a catalog, sharing with the catalog before what did not change.

use std::{collections::BTreeMap, mem, sync::Arc};

use larder_definitions::{
    Catalog, KeySpace, Object, ObjectId, ObjectKind, PushSchema, ResolvedSource, ResolvedView, catalog::share,
};
use larder_types::{Error, ErrorCode, KeySpaceNumber, Name, ProjectNumber, Result, Revision, Timestamp};

use super::state::{UnlinkedView, view_from_wire};
use crate::{
    registry::v1::{CatalogEntry, CatalogPiece, ObjectId as IdMessage},
    wire::{Path, Wire},
};

/// Takes the pieces of one revision, in order.
///
/// INVALID_ARGUMENT for pieces that do not belong together or contradict themselves: the stream is to be opened anew.
#[derive(Debug)]
pub struct Assembler {
    previous: Option<Arc<Catalog>>,
    /// None: the pieces are of a whole catalog.
    since: Option<Revision>,
    /// What is put together so far, once there is a piece; its views are linked at the end.
    catalog: Option<Catalog>,
    unlinked: BTreeMap<Name, UnlinkedView>,
}

impl Assembler {
    /// For the pieces of a whole catalog. What is as it was in `previous` is shared with it.
    pub fn whole(previous: Option<Arc<Catalog>>) -> Self {
        Self { previous, since: None, catalog: None, unlinked: BTreeMap::new() }
    }

    /// For the pieces of a change of `previous`.
    pub fn change(previous: Arc<Catalog>) -> Self {
        let since = Some(previous.revision);
        Self { previous: Some(previous), since, catalog: None, unlinked: BTreeMap::new() }
    }

    /// Takes a piece; gives the catalog once it was the last.
    pub fn add(&mut self, piece: CatalogPiece) -> Result<Option<Catalog>> {
        let CatalogPiece { project, project_number, revision, created_at, entries, removed, last, since } = piece;
        let header = Header {
            project: Path::ROOT.name("project", &project)?,
            project_number: ProjectNumber(project_number),
            revision: Revision(revision),
            created_at: Timestamp::from_micros(created_at),
            since: Revision(since),
        };
        let mut catalog = self.catalog_for(&header)?;
        for id in removed {
            remove(&mut catalog, id);
        }
        for (position, entry) in entries.into_iter().enumerate() {
            self.put(&mut catalog, entry, &Path::ROOT.field("entries").index(position))?;
        }
        if last {
            self.finish(catalog).map(Some)
        } else {
            self.catalog = Some(catalog);
            Ok(None)
        }
    }

    /// The catalog that a piece goes into.
    fn catalog_for(&mut self, header: &Header) -> Result<Catalog> {
        if header.since != self.since.unwrap_or(Revision(0)) {
            return Err(Error::invalid_argument(format!(
                "a piece of revision {} changes revision {}, and revision {} is here",
                header.revision,
                header.since,
                self.since.unwrap_or(Revision(0))
            )));
        }
        match (self.catalog.take(), &self.previous, self.since) {
            (Some(catalog), _, _) if header.belongs_to(&catalog) => Ok(catalog),
            (Some(catalog), _, _) => Err(header.foreign(&catalog)),
            (None, Some(previous), Some(_)) if previous.project_number != header.project_number => {
                Err(header.foreign(previous))
            }
            (None, Some(previous), Some(_)) => Ok(header.onto(Catalog::clone(previous))),
            (None, _, _) => Ok(header.empty()),
        }
    }

    fn put(&mut self, catalog: &mut Catalog, entry: CatalogEntry, at: &Path<'_>) -> Result<()> {
        let CatalogEntry { object, origin, view, push, name } = entry;
        let object = match object.unwrap_or_default().object {
            None => Err(at.field("object").not_understood("its kind")),
            Some(object) => {
                let id = known_id(&object);
                // What was of that name is replaced, also by something that is not understood.
                remove(catalog, id.clone());
                Object::from_wire(crate::registry::v1::Object { object: Some(object) }, &Path::ROOT.field(&id.name))
            }
        };
        let taken = object.and_then(|object| {
            let id = object.id();
            self.put_object(catalog, object, view, push, at)?;
            catalog.origins.insert(id, origin);
            Ok(())
        });
        match taken {
            Err(error) if error.code() == ErrorCode::Unimplemented => {
                if let Ok(name) = Name::new(&name) {
                    self.unlinked.remove(&name);
                    catalog.not_understood.insert(name, error.message().to_owned());
                }
                Ok(())
            }
            other => other,
        }
    }

    fn put_object(
        &mut self,
        catalog: &mut Catalog,
        object: Object,
        view: Option<crate::registry::v1::ViewState>,
        push: Option<crate::registry::v1::PushState>,
        at: &Path<'_>,
    ) -> Result<()> {
        let before = self.previous.as_deref();
        match object {
            Object::Entity(entity) => {
                let before = before.and_then(|before| before.entities.get(&entity.name));
                catalog.entities.insert(entity.name.clone(), share(entity, before));
            }
            Object::Source(definition) => {
                let before = before.and_then(|before| before.sources.get(&definition.name));
                let push_schema = at.read_optional::<PushSchema>("push", push)?.map(Arc::new);
                let source = ResolvedSource { definition, push_schema };
                catalog.sources.insert(source.definition.name.clone(), share(source, before));
            }
            Object::FeatureView(definition) => {
                let state = at.required("view", view)?;
                let view = view_from_wire(definition, state, &at.field("view"))?;
                self.unlinked.insert(view.definition.name.clone(), view);
            }
            Object::OnDemandFeatureView(view) => {
                let before = before.and_then(|before| before.on_demand_feature_views.get(&view.name));
                catalog.on_demand_feature_views.insert(view.name.clone(), share(view, before));
            }
            Object::FeatureService(service) => {
                let before = before.and_then(|before| before.feature_services.get(&service.name));
                catalog.feature_services.insert(service.name.clone(), share(service, before));
            }
        }
        Ok(())
    }

    /// Looks up what views refer to: those that are new, and those whose sources are others now.
    fn finish(&mut self, mut catalog: Catalog) -> Result<Catalog> {
        let mut linker = Linker { key_spaces: BTreeMap::new() };
        let kept = mem::take(&mut catalog.feature_views);
        for (name, view) in kept {
            linker.know(&view.key_space);
            let (batch_source, push_source) = sources(&catalog, &view.definition)?;
            let same = same_source(&batch_source, &view.batch_source) && same_source(&push_source, &view.push_source);
            let view = if same {
                view
            } else {
                Arc::new(ResolvedView { batch_source, push_source, ..ResolvedView::clone(&view) })
            };
            catalog.feature_views.insert(name, view);
        }
        for (name, view) in mem::take(&mut self.unlinked) {
            let before = self.previous.as_ref().and_then(|previous| previous.feature_views.get(&name));
            if let Some(before) = before {
                linker.know(&before.key_space);
            }
            let linked = linker.link(&catalog, view)?;
            catalog.feature_views.insert(name, share(linked, before));
        }
        Ok(catalog)
    }
}

/// What a piece says of the whole.
struct Header {
    project: Name,
    project_number: ProjectNumber,
    revision: Revision,
    created_at: Timestamp,
    since: Revision,
}

impl Header {
    fn belongs_to(&self, catalog: &Catalog) -> bool {
        (&self.project, self.project_number, self.revision)
            == (&catalog.project, catalog.project_number, catalog.revision)
    }

    fn foreign(&self, catalog: &Catalog) -> Error {
        Error::invalid_argument(format!(
            "a piece of project {} ({}) at revision {} does not belong to project {} ({}) at revision {}",
            self.project, self.project_number, self.revision, catalog.project, catalog.project_number, catalog.revision
        ))
    }

    fn onto(&self, catalog: Catalog) -> Catalog {
        Catalog {
            project: self.project.clone(),
            project_number: self.project_number,
            revision: self.revision,
            created_at: self.created_at,
            ..catalog
        }
    }

    fn empty(&self) -> Catalog {
        Catalog::empty(self.project.clone(), self.project_number, self.revision, self.created_at)
    }
}

/// Kind and name of an object, before anything else of it is read.
fn known_id(object: &crate::registry::v1::object::Object) -> IdMessage {
    use crate::registry::v1::object::Object as Message;
    let (kind, name) = match object {
        Message::Entity(entity) => (ObjectKind::Entity, &entity.name),
        Message::Source(source) => (ObjectKind::Source, &source.name),
        Message::FeatureView(view) => (ObjectKind::FeatureView, &view.name),
        Message::OnDemandFeatureView(view) => (ObjectKind::OnDemandFeatureView, &view.name),
        Message::FeatureService(service) => (ObjectKind::FeatureService, &service.name),
    };
    IdMessage { kind: kind.to_wire(), name: name.clone() }
}

fn remove(catalog: &mut Catalog, id: IdMessage) {
    let Ok(name) = Name::new(&id.name) else { return };
    catalog.not_understood.remove(&name);
    let Ok(id) = ObjectId::from_wire(id, &Path::ROOT) else { return };
    match id.kind {
        ObjectKind::Entity => drop(catalog.entities.remove(&name)),
        ObjectKind::Source => drop(catalog.sources.remove(&name)),
        ObjectKind::FeatureView => drop(catalog.feature_views.remove(&name)),
        ObjectKind::OnDemandFeatureView => drop(catalog.on_demand_feature_views.remove(&name)),
        ObjectKind::FeatureService => drop(catalog.feature_services.remove(&name)),
    }
    catalog.origins.remove(&id);
}

struct Linker {
    key_spaces: BTreeMap<KeySpaceNumber, Arc<KeySpace>>,
}

impl Linker {
    fn know(&mut self, key_space: &Arc<KeySpace>) {
        self.key_spaces.entry(key_space.number).or_insert_with(|| key_space.clone());
    }

    fn link(&mut self, catalog: &Catalog, view: UnlinkedView) -> Result<ResolvedView> {
        let UnlinkedView {
            definition,
            key_space,
            keys,
            row_set,
            write_row_sets,
            columns,
            schema,
            schemas,
            pushed_since,
        } = view;
        let shared = self.key_spaces.entry(key_space);
        let key_space = shared.or_insert_with(|| Arc::new(KeySpace { number: key_space, keys: keys.clone() })).clone();
        if key_space.keys != keys {
            return Err(Error::invalid_argument(format!(
                "key space {} of feature view {} has other join keys than in another view",
                key_space.number, definition.name
            )));
        }
        let (batch_source, push_source) = sources(catalog, &definition)?;
        Ok(ResolvedView {
            definition,
            key_space,
            row_set,
            write_row_sets,
            columns,
            schema,
            schemas,
            pushed_since,
            batch_source,
            push_source,
        })
    }
}

type Linked = Option<Arc<ResolvedSource>>;

/// The batch source and the push source of a view. A source that is not understood is none: whoever needs it finds that
/// out by its name.
fn sources(catalog: &Catalog, view: &larder_definitions::FeatureView) -> Result<(Linked, Linked)> {
    let find = |name: &Name| match catalog.sources.get(name) {
        Some(source) => Ok(Some(source.clone())),
        None if catalog.not_understood.contains_key(name) => Ok(None),
        None => {
            Err(Error::invalid_argument(format!("feature view {} names source {name}, which is not here", view.name)))
        }
    };
    let named = find(&view.source)?;
    let beside = view.push_source.as_ref().map(find).transpose()?.flatten();
    match named {
        Some(named) if named.is_push() => Ok((None, Some(named))),
        Some(_) | None => Ok((named, beside)),
    }
}

fn same_source(one: &Linked, other: &Linked) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (Some(_), None) | (None, Some(_)) => false,
    }
}
