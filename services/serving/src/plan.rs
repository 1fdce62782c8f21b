//! How a request is answered, worked out once per (features asked for, catalog revision).

use std::{sync::Arc, time::Duration};

use larder_codec::{KeyEncoder, RowDecoder};
use larder_definitions::{
    Catalog,
    selection::{Asked, OutputSource, SelectedView, Selection, StoredFeature},
};
use larder_types::{Error, KeySpaceNumber, KeyType, Name, Result, RowSetNumber, SchemaNumber};

/// How many columns an expression counts as.
const EXPRESSION_SIZE: usize = 32;

/// Everything about an answer that does not depend on the entities.
#[derive(Debug)]
pub struct Plan {
    /// The catalog it was made from; the whole request is answered by it.
    pub catalog: Arc<Catalog>,
    /// What was asked for.
    pub selection: Selection,
    /// What is fetched: one call to the store each.
    pub fetches: Vec<Fetch>,
    /// How each view of the selection is read from what was fetched.
    pub readers: Vec<ViewReader>,
    uses: Uses,
}

/// How many columns of the answer come from each source.
#[derive(Debug)]
struct Uses {
    /// By view, by feature.
    stored: Vec<Vec<usize>>,
    computed: Vec<usize>,
}

/// Row sets that are read by the same keys.
#[derive(Debug)]
pub struct Fetch {
    /// The request's columns that make the key, in the order of the key space.
    pub key_columns: Vec<Name>,
    /// Makes the keys.
    pub encoder: KeyEncoder,
    /// What is read of each entity.
    pub row_sets: Vec<RowSetNumber>,
    key_space: KeySpaceNumber,
}

/// Where a view's rows are in what was fetched, and how they are read.
#[derive(Debug)]
pub struct ViewReader {
    /// Which fetch has them.
    pub fetch: usize,
    /// Which of its row sets.
    pub row_set: usize,
    /// How old a row may be.
    pub ttl: Option<Duration>,
    /// The greatest of the schemas that are known.
    pub newest_schema: SchemaNumber,
    /// Reads the features of [`SelectedView::features`], in that order.
    pub decoder: RowDecoder,
}

impl Plan {
    /// Works out how to answer `asked` by `catalog`. `key_prefix` stands in front of every key of the store.
    pub fn compile(catalog: Arc<Catalog>, asked: &Asked, full_names: bool, key_prefix: Option<&str>) -> Result<Self> {
        let selection = Selection::resolve(&catalog, asked, full_names)?;
        check_online(&selection)?;
        let mut fetches = Vec::new();
        let mut readers = Vec::with_capacity(selection.views.len());
        for view in &selection.views {
            let fetch = fetch_of(&mut fetches, &catalog, view, key_prefix)?;
            readers.push(reader(&mut fetches[fetch], fetch, view)?);
        }
        let uses = Uses::of(&selection);
        Ok(Self { catalog, selection, fetches, readers, uses })
    }

    /// How many columns of the answer come from `source`.
    pub fn uses(&self, source: OutputSource) -> usize {
        match source {
            OutputSource::Stored(StoredFeature { view, feature }) => self.uses.stored[view][feature],
            OutputSource::Computed(at) => self.uses.computed[at],
        }
    }

    /// How great the plan itself is: the columns that are read, by each schema, computed from, and answered. An
    /// expression is as great as many columns.
    pub fn size(&self) -> usize {
        let Selection { views, computed, outputs, .. } = &self.selection;
        let keys: usize = views.iter().map(|view| view.key_columns.len()).sum();
        let read: usize = views.iter().map(|view| view.features.len() * view.view.schemas.len()).sum();
        let computed: usize = computed.iter().map(|feature| EXPRESSION_SIZE + feature.inputs.len()).sum();
        keys + read + computed + outputs.len()
    }
}

impl Uses {
    fn of(selection: &Selection) -> Self {
        let stored = selection.views.iter().map(|view| vec![0; view.features.len()]).collect();
        let mut uses = Self { stored, computed: vec![0; selection.computed.len()] };
        for output in &selection.outputs {
            match output.source {
                OutputSource::Stored(StoredFeature { view, feature }) => uses.stored[view][feature] += 1,
                OutputSource::Computed(at) => uses.computed[at] += 1,
            }
        }
        uses
    }
}

/// What is not served is not kept up to date either, so nothing is computed from it.
fn check_online(selection: &Selection) -> Result<()> {
    match selection.views.iter().find(|selected| !selected.view.definition.online) {
        None => Ok(()),
        Some(selected) => {
            let name = selected.view.name();
            Err(Error::failed_precondition(format!("view {name} says `online: false`, so it is not served")))
        }
    }
}

/// The fetch by this view's keys; added if it is not there.
fn fetch_of(fetches: &mut Vec<Fetch>, catalog: &Catalog, view: &SelectedView, prefix: Option<&str>) -> Result<usize> {
    let key_space = &view.view.key_space;
    let same = |fetch: &Fetch| fetch.key_space == key_space.number && fetch.key_columns == view.key_columns;
    if let Some(position) = fetches.iter().position(same) {
        return Ok(position);
    }
    let types: Vec<KeyType> = key_space.keys.iter().map(|key| key.key_type).collect();
    fetches.push(Fetch {
        key_columns: view.key_columns.clone(),
        encoder: KeyEncoder::new(prefix, catalog.project_number, key_space.number, &types)?,
        row_sets: Vec::new(),
        key_space: key_space.number,
    });
    Ok(fetches.len() - 1)
}

fn reader(fetch: &mut Fetch, position: usize, selected: &SelectedView) -> Result<ViewReader> {
    let view = &selected.view;
    let row_set = fetch.row_sets.iter().position(|known| *known == view.row_set).unwrap_or_else(|| {
        fetch.row_sets.push(view.row_set);
        fetch.row_sets.len() - 1
    });
    let column = |feature: &usize| (view.columns[*feature], view.definition.features[*feature].value_type);
    let wanted: Vec<_> = selected.features.iter().map(column).collect();
    let schemas: Vec<_> = view.schemas.values().cloned().collect();
    let decoder = RowDecoder::new(&schemas, &wanted).map_err(|error| error.context(format!("view {}", view.name())))?;
    let newest_schema = view.schemas.keys().max().copied().unwrap_or(view.schema.number());
    Ok(ViewReader { fetch: position, row_set, ttl: view.definition.ttl, newest_schema, decoder })
}
