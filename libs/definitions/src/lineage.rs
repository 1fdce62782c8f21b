//! Lineage: which column of which source, through which features, reaches which service.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use larder_expressions::Expression;
use larder_types::{Name, Result};

use crate::{AnyView, Catalog, Engine, FeatureService, ObjectId, ObjectKind, OnDemandFeatureView, ResolvedView};

/// A point of the graph.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Node {
    /// An entity, whose join keys find rows.
    Entity(Name),
    /// A column of a source.
    SourceColumn {
        /// The source.
        source: Name,
        /// The source's name for it.
        column: String,
    },
    /// A value that the request brings for an on-demand view.
    RequestData {
        /// The view.
        view: Name,
        /// The value.
        field: Name,
    },
    /// A feature of a view of either kind.
    Feature {
        /// The view.
        view: Name,
        /// The feature.
        feature: Name,
    },
    /// A feature service.
    FeatureService(Name),
}

/// Who reads whom, from sources to services.
#[derive(Debug, Clone, Default)]
pub struct Lineage {
    nodes: BTreeSet<Node>,
    readers: BTreeMap<Node, BTreeSet<Node>>,
    read: BTreeMap<Node, BTreeSet<Node>>,
}

/// A part of the graph.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subgraph {
    /// Every point, those asked about among them.
    pub nodes: BTreeSet<Node>,
    /// From what is read to what reads it.
    pub edges: BTreeSet<(Node, Node)>,
}

/// Which way to go from a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To what it is made of.
    Upstream,
    /// To what is made of it.
    Downstream,
}

impl Lineage {
    /// The graph of a catalog. Compiles the on-demand features, to know which inputs each of them reads.
    pub fn of(catalog: &Catalog) -> Result<Self> {
        let mut lineage = Self::default();
        for name in catalog.entities.keys() {
            lineage.nodes.insert(Node::Entity(name.clone()));
        }
        for view in catalog.feature_views.values() {
            lineage.add_feature_view(view);
        }
        for view in catalog.on_demand_feature_views.values() {
            lineage.add_on_demand_view(catalog, view)?;
        }
        for service in catalog.feature_services.values() {
            lineage.add_service(catalog, service)?;
        }
        Ok(lineage)
    }

    /// Everything that an object, or one feature of it, is made of or goes into, at any distance.
    pub fn around(&self, object: &ObjectId, feature: Option<&Name>, direction: Direction) -> Subgraph {
        let next = match direction {
            Direction::Upstream => &self.read,
            Direction::Downstream => &self.readers,
        };
        let mut graph = Subgraph::default();
        let mut queue: VecDeque<&Node> = self.nodes.iter().filter(|node| node.is_of(object, feature)).collect();
        graph.nodes.extend(queue.iter().map(|node| (*node).clone()));
        while let Some(node) = queue.pop_front() {
            for other in next.get(node).into_iter().flatten() {
                graph.edges.insert(match direction {
                    Direction::Upstream => (other.clone(), node.clone()),
                    Direction::Downstream => (node.clone(), other.clone()),
                });
                if graph.nodes.insert(other.clone()) {
                    queue.push_back(other);
                }
            }
        }
        graph
    }

    fn add_feature_view(&mut self, view: &ResolvedView) {
        for feature in &view.definition.features {
            let node = Node::Feature { view: view.name().clone(), feature: feature.name.clone() };
            self.nodes.insert(node.clone());
            for entity in &view.definition.entities {
                self.add(Node::Entity(entity.clone()), node.clone());
            }
            for source in [&view.batch_source, &view.push_source].into_iter().flatten() {
                let column = feature.source_column().to_owned();
                let source = source.definition.name.clone();
                self.add(Node::SourceColumn { source, column }, node.clone());
            }
        }
    }

    fn add_on_demand_view(&mut self, catalog: &Catalog, view: &OnDemandFeatureView) -> Result<()> {
        let inputs = catalog.expression_inputs(view)?;
        for feature in &view.features {
            let node = Node::Feature { view: view.name.clone(), feature: feature.name.clone() };
            self.nodes.insert(node.clone());
            let Engine::Sql(sql) = &feature.engine;
            let expression = Expression::compile(sql, &inputs, feature.value_type)
                .map_err(|error| error.context(format!("{}.{}", view.name, feature.name)))?;
            for input in expression.inputs_used().iter().filter_map(|position| inputs.get(*position)) {
                let name = input.name.clone();
                let input = match &input.view {
                    Some(view) => Node::Feature { view: view.clone(), feature: name },
                    None => Node::RequestData { view: view.name.clone(), field: name },
                };
                self.add(input, node.clone());
            }
        }
        Ok(())
    }

    fn add_service(&mut self, catalog: &Catalog, service: &FeatureService) -> Result<()> {
        let node = Node::FeatureService(service.name.clone());
        self.nodes.insert(node.clone());
        for view_use in &service.features {
            let features: Vec<Name> = match catalog.view(view_use.view.as_str())? {
                _ if !view_use.select.is_empty() => view_use.select.clone(),
                AnyView::Feature(view) => view.definition.features.iter().map(|feature| feature.name.clone()).collect(),
                AnyView::OnDemand(view) => view.features.iter().map(|feature| feature.name.clone()).collect(),
            };
            for feature in features {
                self.add(Node::Feature { view: view_use.view.clone(), feature }, node.clone());
            }
        }
        Ok(())
    }

    fn add(&mut self, read: Node, reader: Node) {
        self.nodes.insert(read.clone());
        self.readers.entry(read.clone()).or_default().insert(reader.clone());
        self.read.entry(reader).or_default().insert(read);
    }
}

impl Node {
    fn is_of(&self, object: &ObjectId, wanted: Option<&Name>) -> bool {
        let (kinds, name): (&[ObjectKind], &Name) = match self {
            Self::Entity(name) => (&[ObjectKind::Entity], name),
            Self::SourceColumn { source, .. } => (&[ObjectKind::Source], source),
            Self::RequestData { view, .. } => (&[ObjectKind::OnDemandFeatureView], view),
            Self::Feature { view, .. } => (&[ObjectKind::FeatureView, ObjectKind::OnDemandFeatureView], view),
            Self::FeatureService(name) => (&[ObjectKind::FeatureService], name),
        };
        let part = match self {
            Self::Feature { feature, .. } => Some(feature),
            Self::RequestData { field, .. } => Some(field),
            Self::Entity(_) | Self::SourceColumn { .. } | Self::FeatureService(_) => None,
        };
        kinds.contains(&object.kind) && *name == object.name && (wanted.is_none() || part == wanted)
    }
}

/// `source customer_history: age`, `feature customer_features.age`
impl std::fmt::Display for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Entity(name) => write!(f, "entity {name}"),
            Self::SourceColumn { source, column } => write!(f, "source {source}: {column}"),
            Self::RequestData { view, field } => write!(f, "request data {field} of {view}"),
            Self::Feature { view, feature } => write!(f, "feature {view}.{feature}"),
            Self::FeatureService(name) => write!(f, "feature service {name}"),
        }
    }
}
