//! Search and lineage over the newest catalog of a project.

use larder_contracts::explore::{Lineage as Answer, LineageNode, SearchHit};
use larder_definitions::{
    Catalog, ObjectId, ObjectKind,
    lineage::{Direction, Node},
    unknown_name,
};
use larder_types::{Error, Name, Result};

use crate::project::Snapshot;

/// How many hits there are at most, where the caller does not say.
const HITS: usize = 50;

/// The most bytes of a query.
const LONGEST_QUERY: usize = 1_024;

/// What has every word of the query, best first. INVALID_ARGUMENT for one that is too long.
pub fn search(current: &Snapshot, query: &str, limit: usize) -> Result<Vec<SearchHit>> {
    if query.len() > LONGEST_QUERY {
        let wrong = format!("has {} bytes: a search takes at most {LONGEST_QUERY}", query.len());
        return Err(Error::invalid_field("query", wrong));
    }
    let limit = if limit == 0 { HITS } else { limit };
    let hits = current.search_index().search(query, limit).into_iter().map(|hit| SearchHit {
        owner: hit.owner,
        id: hit.object,
        feature: hit.feature.map(|feature| feature.to_string()),
        description: hit.description,
    });
    Ok(hits.collect())
}

/// What an object, or a feature of it, is made from and what is made from it. NOT_FOUND with near names.
pub fn lineage(current: &Snapshot, id: &ObjectId, feature: Option<&Name>) -> Result<Answer> {
    let catalog = &current.catalog;
    check_known(catalog, id)?;
    if let Some(feature) = feature {
        check_part(catalog, id, feature)?;
    }
    let up = current.lineage()?.around(id, feature, Direction::Upstream);
    let down = current.lineage()?.around(id, feature, Direction::Downstream);
    let mut nodes: Vec<Node> = up.nodes.into_iter().chain(down.nodes).collect();
    nodes.sort();
    nodes.dedup();
    let position = |node: &Node| nodes.binary_search(node).ok();
    let mut edges: Vec<(usize, usize)> =
        up.edges.iter().chain(&down.edges).filter_map(|(from, to)| Some((position(from)?, position(to)?))).collect();
    edges.sort_unstable();
    edges.dedup();
    Ok(Answer { nodes: nodes.iter().map(|node| wire_node(catalog, node)).collect(), edges })
}

fn check_known(catalog: &Catalog, id: &ObjectId) -> Result<()> {
    let known: Vec<Name> = catalog
        .objects()
        .map(|object| object.id())
        .filter(|known| known.kind == id.kind)
        .map(|known| known.name)
        .collect();
    if known.contains(&id.name) {
        return Ok(());
    }
    let names: Vec<&str> = known.iter().map(Name::as_str).collect();
    let place = format!("project {} at revision {}", catalog.project, catalog.revision);
    Err(unknown_name(&place, id.kind.as_str(), id.name.as_str(), &names))
}

/// Views have features, and what is computed has request data besides; nothing else has parts that can be asked for.
fn check_part(catalog: &Catalog, id: &ObjectId, part: &Name) -> Result<()> {
    let known: Vec<&str> = match id.kind {
        ObjectKind::FeatureView => catalog.feature_views.get(&id.name).map_or_else(Vec::new, |view| {
            view.definition.features.iter().map(|feature| feature.name.as_str()).collect()
        }),
        ObjectKind::OnDemandFeatureView => {
            catalog.on_demand_feature_views.get(&id.name).map_or_else(Vec::new, |view| {
                let request = view.request.iter().map(|field| field.name.as_str());
                view.features.iter().map(|feature| feature.name.as_str()).chain(request).collect()
            })
        }
        ObjectKind::Entity | ObjectKind::Source | ObjectKind::FeatureService => Vec::new(),
    };
    if known.contains(&part.as_str()) {
        return Ok(());
    }
    Err(unknown_name(&id.to_string(), "feature", part.as_str(), &known))
}

fn wire_node(catalog: &Catalog, node: &Node) -> LineageNode {
    let at = |kind: ObjectKind, name: &Name, column: Option<String>| LineageNode {
        id: ObjectId { kind, name: name.clone() },
        column,
    };
    match node {
        Node::Entity(name) => at(ObjectKind::Entity, name, None),
        Node::SourceColumn { source, column } => at(ObjectKind::Source, source, Some(column.clone())),
        Node::RequestData { view, field } => {
            at(ObjectKind::OnDemandFeatureView, view, Some(format!("request.{field}")))
        }
        Node::Feature { view, feature } => {
            let is_stored = catalog.feature_views.contains_key(view);
            let kind = if is_stored { ObjectKind::FeatureView } else { ObjectKind::OnDemandFeatureView };
            at(kind, view, Some(feature.to_string()))
        }
        Node::FeatureService(name) => at(ObjectKind::FeatureService, name, None),
    }
}
