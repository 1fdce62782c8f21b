//! Building a catalog from a state: every reference looked up once, unchanged objects shared with the catalog before.

use std::{collections::BTreeMap, sync::Arc};

use larder_codec::{RowSchema, SchemaColumn};
use larder_types::{Error, KeySpaceNumber, Name, ProjectNumber, Result, Revision, SchemaNumber, Timestamp};

use super::{Catalog, KeySpace, PushSchema, ResolvedSource, ResolvedView};
use crate::{
    FeatureView, Object, Source,
    state::{Numbers, ProjectState, RowSet, SchemaColumns},
};

impl Catalog {
    /// A catalog without objects.
    pub fn empty(project: Name, project_number: ProjectNumber, revision: Revision, created_at: Timestamp) -> Self {
        Self {
            project,
            project_number,
            revision,
            created_at,
            entities: BTreeMap::new(),
            sources: BTreeMap::new(),
            feature_views: BTreeMap::new(),
            on_demand_feature_views: BTreeMap::new(),
            feature_services: BTreeMap::new(),
            origins: BTreeMap::new(),
            not_understood: BTreeMap::new(),
        }
    }

    /// The catalog of a state.
    pub fn build(state: &ProjectState) -> Result<Self> {
        Self::build_from(state, None)
    }

    /// The catalog of a state; what is as it was in `previous` is shared with it.
    ///
    /// DATA_LOSS for a state that refers to what it does not have: no apply makes one.
    pub fn build_from(state: &ProjectState, previous: Option<&Self>) -> Result<Self> {
        let (project, number) = (state.project.clone(), state.project_number);
        let mut catalog = Self::empty(project, number, state.revision, state.created_at);
        catalog.origins = state.objects.iter().map(|(id, declared)| (id.clone(), declared.origin.clone())).collect();
        let mut builder = Builder { numbers: &state.numbers, previous, key_spaces: BTreeMap::new() };
        for object in state.all_objects() {
            builder.add(&mut catalog, object)?;
        }
        Ok(catalog)
    }
}

struct Builder<'a> {
    numbers: &'a Numbers,
    previous: Option<&'a Catalog>,
    key_spaces: BTreeMap<KeySpaceNumber, Arc<KeySpace>>,
}

impl Builder<'_> {
    /// Objects come in the order of kinds: those that an object refers to are there before it.
    fn add(&mut self, catalog: &mut Catalog, object: &Object) -> Result<()> {
        match object {
            Object::Entity(entity) => {
                let before = self.previous.and_then(|previous| previous.entities.get(&entity.name));
                catalog.entities.insert(entity.name.clone(), share_ref(entity, before));
            }
            Object::Source(source) => {
                let before = self.previous.and_then(|previous| previous.sources.get(&source.name));
                catalog.sources.insert(source.name.clone(), share(self.source(source), before));
            }
            Object::FeatureView(view) => {
                let before = self.previous.and_then(|previous| previous.feature_views.get(&view.name));
                let resolved = self.view(catalog, view)?;
                catalog.feature_views.insert(view.name.clone(), share(resolved, before));
            }
            Object::OnDemandFeatureView(view) => {
                let before = self.previous.and_then(|previous| previous.on_demand_feature_views.get(&view.name));
                catalog.on_demand_feature_views.insert(view.name.clone(), share_ref(view, before));
            }
            Object::FeatureService(service) => {
                let before = self.previous.and_then(|previous| previous.feature_services.get(&service.name));
                catalog.feature_services.insert(service.name.clone(), share_ref(service, before));
            }
        }
        Ok(())
    }

    fn source(&self, source: &Source) -> ResolvedSource {
        let numbers = self.numbers.push_sources.get(&source.name);
        let schema = numbers.and_then(|numbers| {
            let number = numbers.current?;
            let columns = numbers.schemas.get(&number)?;
            let keys = columns.keys.clone();
            let columns = columns.columns.iter().map(|(name, value_type)| (name.clone(), *value_type)).collect();
            Some(Arc::new(PushSchema { number, keys, columns }))
        });
        ResolvedSource { definition: source.clone(), push_schema: schema }
    }

    fn view(&mut self, catalog: &Catalog, view: &FeatureView) -> Result<ResolvedView> {
        let lost = |what: &str| Error::data_loss(format!("feature view {} has no {what}", view.name));
        let numbers = self.numbers.views.get(&view.name).ok_or_else(|| lost("numbers"))?;
        let current = numbers.current.as_ref().ok_or_else(|| lost("numbers"))?;
        let row_set = self.numbers.row_sets.get(&current.row_set).ok_or_else(|| lost("row set"))?;
        let schemas = schemas(row_set)?;
        let schema = schemas.get(&current.schema).cloned().ok_or_else(|| lost("schema"))?;
        let columns = view.features.iter().map(|feature| {
            let column = current.columns.get(&feature.name).copied();
            column.ok_or_else(|| lost(&format!("column for feature {}", feature.name)))
        });
        let source =
            |name: &Name| catalog.sources.get(name).cloned().ok_or_else(|| lost(&format!("source {name} to refer to")));
        let (named, beside) = (source(&view.source)?, view.push_source.as_ref().map(source).transpose()?);
        let (batch_source, push_source) = if named.is_push() { (None, Some(named)) } else { (Some(named), beside) };
        Ok(ResolvedView {
            definition: view.clone(),
            key_space: self.key_space(row_set.key_space).ok_or_else(|| lost("key space"))?,
            row_set: current.row_set,
            write_row_sets: vec![current.row_set],
            columns: columns.collect::<Result<_>>()?,
            schema,
            schemas,
            pushed_since: numbers.pushed_since,
            batch_source,
            push_source,
        })
    }

    fn key_space(&mut self, number: KeySpaceNumber) -> Option<Arc<KeySpace>> {
        if let Some(shared) = self.key_spaces.get(&number) {
            return Some(shared.clone());
        }
        let keys = self.numbers.key_spaces.get(&number)?.clone();
        let shared = Arc::new(KeySpace { number, keys });
        self.key_spaces.insert(number, shared.clone());
        Some(shared)
    }
}

fn schemas(row_set: &RowSet) -> Result<BTreeMap<SchemaNumber, Arc<RowSchema>>> {
    let schema = |(number, columns): (&SchemaNumber, &SchemaColumns)| {
        let columns =
            columns.iter().map(|(number, value_type)| SchemaColumn { number: *number, value_type: *value_type });
        Ok((*number, Arc::new(RowSchema::new(*number, columns.collect())?)))
    };
    row_set.schemas.iter().map(schema).collect()
}

/// What is as it was before stays the same, so that whoever has it has no more to do.
pub fn share<T: PartialEq>(built: T, before: Option<&Arc<T>>) -> Arc<T> {
    match before {
        Some(before) if **before == built => before.clone(),
        Some(_) | None => Arc::new(built),
    }
}

fn share_ref<T: PartialEq + Clone>(object: &T, before: Option<&Arc<T>>) -> Arc<T> {
    match before {
        Some(before) if **before == *object => before.clone(),
        Some(_) | None => Arc::new(object.clone()),
    }
}
