//! What a request asks for, resolved against a catalog: which views are read by which keys, what is computed, and under
//! which names it is answered. Serving and training sets resolve by this same code.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use larder_expressions::{Expression, Input};
use larder_types::{Error, FeatureReference, KeyType, Name, Result, ValueType};

use crate::{AnyView, Catalog, Engine, JoinKey, OnDemandFeatureView, ResolvedView, ViewUse, unknown_name};

/// How a request names its features.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Asked {
    /// By a feature service.
    Service(Name),
    /// One by one.
    References(Vec<FeatureReference>),
}

/// A request's features, resolved.
#[derive(Debug, Clone)]
pub struct Selection {
    /// The stored views to read, each (view, keys) once.
    pub views: Vec<SelectedView>,
    /// What is computed from them.
    pub computed: Vec<ComputedFeature>,
    /// What is answered, in the order asked.
    pub outputs: Vec<Output>,
    /// The request's columns that hold join keys, with the type each must have.
    pub entity_columns: BTreeMap<Name, KeyType>,
    /// The request data that computed features need, in the order of [`ComputedInput::Request`].
    pub request_columns: Vec<(Name, ValueType)>,
    /// Request data that the on-demand views asked for declare and none of the chosen features uses: it may be sent too.
    pub spare_request_columns: Vec<(Name, ValueType)>,
}

/// A stored view that is read by certain columns of the request.
#[derive(Debug, Clone)]
pub struct SelectedView {
    /// The alias it was first used under, or its own name.
    pub name: Name,
    /// The view.
    pub view: Arc<ResolvedView>,
    /// For each key of its key space, the request's column.
    pub key_columns: Vec<Name>,
    /// The features that are read, by position in the view's definition.
    pub features: Vec<usize>,
}

/// A feature to be computed.
#[derive(Debug, Clone)]
pub struct ComputedFeature {
    /// The on-demand view.
    pub view: Arc<OnDemandFeatureView>,
    /// Its position in the view's definition.
    pub feature: usize,
    /// What computes it.
    pub expression: Arc<Expression>,
    /// Its columns, in the order in which the expression takes them.
    pub inputs: Vec<ComputedInput>,
}

/// A column that an expression takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComputedInput {
    /// A feature that is read.
    Stored(StoredFeature),
    /// Position in [`Selection::request_columns`].
    Request(usize),
}

/// A feature that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredFeature {
    /// Position in [`Selection::views`].
    pub view: usize,
    /// Position in [`SelectedView::features`].
    pub feature: usize,
}

/// A column of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// What it is called.
    pub name: String,
    /// Where its values come from.
    pub source: OutputSource,
    /// Their type.
    pub value_type: ValueType,
}

/// Where an answered column comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputSource {
    /// It is read.
    Stored(StoredFeature),
    /// It is computed: position in [`Selection::computed`].
    Computed(usize),
}

impl Selection {
    /// Resolves what was asked for.
    ///
    /// A feature is called `feature`, or `view.feature` where `full_names` are asked for; one that is used under an alias is
    /// always `alias.feature`. Two of one name are an error that offers full names.
    pub fn resolve(catalog: &Catalog, asked: &Asked, full_names: bool) -> Result<Self> {
        let mut resolver = Resolver { catalog, selection: Self::empty() };
        for view_use in &uses(catalog, asked)? {
            resolver.add(view_use, full_names)?;
        }
        let mut selection = resolver.selection;
        selection.check_names(full_names)?;
        let mut told: HashSet<Name> = selection.request_columns.iter().map(|(name, _)| name.clone()).collect();
        selection.spare_request_columns.retain(|(name, _)| told.insert(name.clone()));
        Ok(selection)
    }

    fn empty() -> Self {
        Self {
            views: Vec::new(),
            computed: Vec::new(),
            outputs: Vec::new(),
            entity_columns: BTreeMap::new(),
            request_columns: Vec::new(),
            spare_request_columns: Vec::new(),
        }
    }

    fn check_names(&self, full_names: bool) -> Result<()> {
        let mut seen = HashSet::new();
        let twice: BTreeSet<&str> =
            self.outputs.iter().map(|output| output.name.as_str()).filter(|name| !seen.insert(*name)).collect();
        let twice: Vec<&str> = twice.into_iter().collect();
        if twice.is_empty() {
            return Ok(());
        }
        let way_out = if full_names { "use one of them under an alias" } else { "ask for full names, or use an alias" };
        Err(Error::invalid_field(
            "features",
            format!("more than one feature is called {}: {way_out}", twice.join(", ")),
        ))
    }
}

/// The uses of views that were asked for.
fn uses(catalog: &Catalog, asked: &Asked) -> Result<Vec<ViewUse>> {
    let references = match asked {
        Asked::Service(name) => return Ok(catalog.feature_service(name.as_str())?.features.clone()),
        Asked::References(references) => references,
    };
    if references.is_empty() {
        return Err(Error::invalid_field("features", "no feature is asked for: name a feature service or references"));
    }
    Ok(references
        .iter()
        .map(|reference| ViewUse {
            view: reference.view.clone(),
            select: reference.feature.iter().cloned().collect(),
            alias: reference.alias.clone(),
            join_keys: reference.join_keys.clone(),
        })
        .collect())
}

struct Resolver<'a> {
    catalog: &'a Catalog,
    selection: Selection,
}

impl Resolver<'_> {
    fn add(&mut self, view_use: &ViewUse, full_names: bool) -> Result<()> {
        match self.catalog.view(view_use.view.as_str())? {
            AnyView::Feature(view) => self.add_stored(&view.clone(), view_use, full_names),
            AnyView::OnDemand(view) => self.add_computed(&view.clone(), view_use, full_names),
        }
    }

    fn add_stored(&mut self, view: &Arc<ResolvedView>, view_use: &ViewUse, full_names: bool) -> Result<()> {
        let known: Vec<&Name> = view.definition.features.iter().map(|feature| &feature.name).collect();
        let selected = self.view(view, view_use)?;
        for position in chosen(&view_use.view, &view_use.select, &known)? {
            let feature = &view.definition.features[position];
            let source = OutputSource::Stored(self.read(selected, position));
            let name = output_name(view_use, &feature.name, full_names);
            self.selection.outputs.push(Output { name, source, value_type: feature.value_type });
        }
        Ok(())
    }

    fn add_computed(&mut self, view: &Arc<OnDemandFeatureView>, view_use: &ViewUse, full_names: bool) -> Result<()> {
        let known: Vec<&Name> = view.features.iter().map(|feature| &feature.name).collect();
        let inputs = Inputs::of(self.catalog, view)?;
        inputs.check_keys(view, &view_use.join_keys)?;
        let declared = view.request.iter().map(|field| (field.name.clone(), field.value_type));
        self.selection.spare_request_columns.extend(declared);
        for position in chosen(&view_use.view, &view_use.select, &known)? {
            let feature = &view.features[position];
            let Engine::Sql(sql) = &feature.engine;
            let expression = Expression::compile(sql, &inputs.columns, feature.value_type)
                .map_err(|error| error.context(format!("{}.{}", view.name, feature.name)))?;
            let used = expression.inputs_used().iter().map(|input| self.input(&inputs, *input, view_use));
            let computed = ComputedFeature {
                view: view.clone(),
                feature: position,
                inputs: used.collect::<Result<_>>()?,
                expression: Arc::new(expression),
            };
            self.selection.computed.push(computed);
            let source = OutputSource::Computed(self.selection.computed.len() - 1);
            let name = output_name(view_use, &feature.name, full_names);
            self.selection.outputs.push(Output { name, source, value_type: feature.value_type });
        }
        Ok(())
    }

    /// The column of one input of an expression, under the use's key mapping.
    fn input(&mut self, inputs: &Inputs, input: usize, view_use: &ViewUse) -> Result<ComputedInput> {
        match &inputs.origins[input] {
            InputOrigin::Request(name, value_type) => self.request_column(name, *value_type),
            InputOrigin::View(view, feature) => {
                let mapping = own_keys(view, &view_use.join_keys);
                let input_use = ViewUse { view: view.name().clone(), select: vec![], alias: None, join_keys: mapping };
                let selected = self.view(view, &input_use)?;
                Ok(ComputedInput::Stored(self.read(selected, *feature)))
            }
        }
    }

    fn request_column(&mut self, name: &Name, value_type: ValueType) -> Result<ComputedInput> {
        let columns = &mut self.selection.request_columns;
        if let Some(position) = columns.iter().position(|(known, _)| known == name) {
            let known_type = columns[position].1;
            if known_type != value_type {
                return Err(Error::invalid_field(
                    format!("request_data.{name}"),
                    format!("one on-demand view wants it as {known_type} and another as {value_type}"),
                ));
            }
            return Ok(ComputedInput::Request(position));
        }
        columns.push((name.clone(), value_type));
        Ok(ComputedInput::Request(columns.len() - 1))
    }

    /// The position of the view, read by the columns of this use; added if it is not there.
    fn view(&mut self, view: &Arc<ResolvedView>, view_use: &ViewUse) -> Result<usize> {
        let keys = &view.key_space.keys;
        let names: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
        if let Some(wrong) = view_use.join_keys.keys().find(|mapped| !names.contains(&mapped.as_str())) {
            return Err(unknown_name(&format!("view {}", view.name()), "join key", wrong.as_str(), &names));
        }
        let key_columns: Vec<Name> =
            keys.iter().map(|key| view_use.join_keys.get(&key.name).unwrap_or(&key.name).clone()).collect();
        let same = |known: &SelectedView| known.view.name() == view.name() && known.key_columns == key_columns;
        if let Some(position) = self.selection.views.iter().position(same) {
            return Ok(position);
        }
        for (column, key) in key_columns.iter().zip(keys) {
            self.entity_column(column, key.key_type)?;
        }
        let name = view_use.alias.as_ref().unwrap_or(view.name()).clone();
        self.selection.views.push(SelectedView { name, view: view.clone(), key_columns, features: Vec::new() });
        Ok(self.selection.views.len() - 1)
    }

    fn entity_column(&mut self, column: &Name, key_type: KeyType) -> Result<()> {
        let wanted = self.selection.entity_columns.entry(column.clone()).or_insert(key_type);
        match (*wanted, key_type) {
            (known, new) if known == new => Ok(()),
            (KeyType::Int32 | KeyType::Int64, KeyType::Int32 | KeyType::Int64) => {
                *wanted = KeyType::Int64;
                Ok(())
            }
            (known, new) => Err(Error::invalid_field(
                format!("entities.{column}"),
                format!("one view wants it as {known} and another as {new}: map one of them to another column"),
            )),
        }
    }

    /// Sees to it that the feature is read, once.
    fn read(&mut self, view: usize, position: usize) -> StoredFeature {
        let features = &mut self.selection.views[view].features;
        let known = features.iter().position(|feature| *feature == position);
        let feature = known.unwrap_or_else(|| {
            features.push(position);
            features.len() - 1
        });
        StoredFeature { view, feature }
    }
}

/// What the expressions of an on-demand view may use, and where each column comes from.
struct Inputs {
    columns: Vec<Input>,
    origins: Vec<InputOrigin>,
}

enum InputOrigin {
    View(Arc<ResolvedView>, usize),
    Request(Name, ValueType),
}

impl Inputs {
    fn of(catalog: &Catalog, on_demand: &OnDemandFeatureView) -> Result<Self> {
        let mut origins = Vec::new();
        for name in &on_demand.inputs {
            let view = catalog.feature_view(name.as_str())?;
            let features = 0..view.definition.features.len();
            origins.extend(features.map(|position| InputOrigin::View(view.clone(), position)));
        }
        let request = on_demand.request.iter();
        origins.extend(request.map(|field| InputOrigin::Request(field.name.clone(), field.value_type)));
        Ok(Self { columns: catalog.expression_inputs(on_demand)?, origins })
    }

    /// Each key of an on-demand view's mapping is one of its inputs'.
    fn check_keys(&self, on_demand: &OnDemandFeatureView, mapping: &BTreeMap<Name, Name>) -> Result<()> {
        let keys = self.origins.iter().flat_map(InputOrigin::keys);
        let known: BTreeSet<&str> = keys.map(|key| key.name.as_str()).collect();
        let Some(wrong) = mapping.keys().find(|key| !known.contains(key.as_str())) else { return Ok(()) };
        let known: Vec<&str> = known.into_iter().collect();
        Err(unknown_name(&format!("on-demand view {}", on_demand.name), "join key", wrong.as_str(), &known))
    }
}

impl InputOrigin {
    fn keys(&self) -> &[JoinKey] {
        match self {
            Self::View(view, _) => &view.key_space.keys,
            Self::Request(..) => &[],
        }
    }
}

/// The positions of the chosen features, or of all.
fn chosen(view: &Name, select: &[Name], known: &[&Name]) -> Result<Vec<usize>> {
    if select.is_empty() {
        return Ok((0..known.len()).collect());
    }
    let names: Vec<&str> = known.iter().map(|name| name.as_str()).collect();
    let position = |wanted: &Name| {
        let found = known.iter().position(|name| *name == wanted);
        found.ok_or_else(|| {
            crate::catalog::unknown_name_among(&format!("view {view}"), "feature", wanted.as_str(), &names)
        })
    };
    select.iter().map(position).collect()
}

/// The part of a mapping that speaks of this view's keys: an on-demand view's mapping is for all its inputs together.
fn own_keys(view: &ResolvedView, mapping: &BTreeMap<Name, Name>) -> BTreeMap<Name, Name> {
    let is_key = |name: &Name| view.key_space.keys.iter().any(|key| key.name == *name);
    mapping.iter().filter(|(key, _)| is_key(key)).map(|(key, column)| (key.clone(), column.clone())).collect()
}

fn output_name(view_use: &ViewUse, feature: &Name, full_names: bool) -> String {
    match (&view_use.alias, full_names) {
        (Some(alias), _) => format!("{alias}.{feature}"),
        (None, true) => format!("{}.{feature}", view_use.view),
        (None, false) => feature.to_string(),
    }
}
