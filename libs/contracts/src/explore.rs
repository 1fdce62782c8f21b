//! What search finds, and lineage.

use larder_definitions::ObjectId;
use larder_types::Result;

use crate::{
    registry::v1 as api,
    wire::{Path, Wire, all_to_wire, optional_text, text},
};

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchHit {
    /// The object.
    pub id: ObjectId,
    /// One of its features; none: the object itself.
    pub feature: Option<String>,
    /// For people.
    pub description: String,
    /// Who answers for it.
    pub owner: String,
}

/// What is made from what.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lineage {
    /// Objects and their columns.
    pub nodes: Vec<LineageNode>,
    /// Positions in `nodes`: the second is made from the first.
    pub edges: Vec<(usize, usize)>,
}

/// An object, or a column of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LineageNode {
    /// The object.
    pub id: ObjectId,
    /// A feature or source column of it; none: the object itself.
    pub column: Option<String>,
}

impl Wire for SearchHit {
    type Message = api::SearchHit;

    fn to_wire(&self) -> api::SearchHit {
        api::SearchHit {
            id: Some(self.id.to_wire()),
            feature: text(self.feature.as_ref()),
            description: self.description.clone(),
            owner: self.owner.clone(),
        }
    }

    fn from_wire(message: api::SearchHit, at: &Path<'_>) -> Result<Self> {
        let api::SearchHit { id, feature, description, owner } = message;
        Ok(Self { id: at.read("id", id)?, feature: optional_text(feature), description, owner })
    }
}

impl Wire for LineageNode {
    type Message = api::LineageNode;

    fn to_wire(&self) -> api::LineageNode {
        api::LineageNode { id: Some(self.id.to_wire()), column: text(self.column.as_ref()) }
    }

    fn from_wire(message: api::LineageNode, at: &Path<'_>) -> Result<Self> {
        let api::LineageNode { id, column } = message;
        Ok(Self { id: at.read("id", id)?, column: optional_text(column) })
    }
}

impl Lineage {
    /// The nodes and edges of an answer.
    pub fn to_wire(&self) -> (Vec<api::LineageNode>, Vec<api::LineageEdge>) {
        let position = |position: usize| u32::try_from(position).unwrap_or(u32::MAX);
        let edge = |(from, to): &(usize, usize)| api::LineageEdge { from: position(*from), to: position(*to) };
        (all_to_wire(&self.nodes), self.edges.iter().map(edge).collect())
    }

    /// Of the nodes and edges of an answer. INVALID_ARGUMENT for an edge without a node at an end.
    pub fn from_wire(nodes: Vec<api::LineageNode>, edges: Vec<api::LineageEdge>, at: &Path<'_>) -> Result<Self> {
        let nodes: Vec<LineageNode> = at.read_all("nodes", nodes)?;
        let edges_at = at.field("edges");
        let edge = |(position, api::LineageEdge { from, to })| {
            let (from, to) = (from as usize, to as usize);
            if from.max(to) < nodes.len() {
                Ok((from, to))
            } else {
                Err(edges_at.index(position).invalid(format!("there are {} nodes", nodes.len())))
            }
        };
        let edges = edges.into_iter().enumerate().map(edge).collect::<Result<_>>()?;
        Ok(Self { nodes, edges })
    }
}

#[cfg(test)]
mod tests {
    use larder_definitions::ObjectKind;
    use larder_types::Name;

    use super::*;

    fn id(name: &str) -> ObjectId {
        ObjectId { kind: ObjectKind::Source, name: Name::new(name).unwrap() }
    }

    #[test]
    fn a_hit_and_a_graph_come_back() {
        let hit = SearchHit { id: id("a"), feature: Some("f".into()), description: "d".into(), owner: String::new() };
        assert_eq!(SearchHit::from_wire(hit.to_wire(), &Path::ROOT).unwrap(), hit);
        let node = |name, column: Option<&str>| LineageNode { id: id(name), column: column.map(str::to_owned) };
        let lineage = Lineage { nodes: vec![node("a", Some("x")), node("b", None)], edges: vec![(0, 1)] };
        let (nodes, edges) = lineage.to_wire();
        assert_eq!(Lineage::from_wire(nodes.clone(), edges, &Path::ROOT).unwrap(), lineage);
        let error = Lineage::from_wire(nodes, vec![api::LineageEdge { from: 0, to: 2 }], &Path::ROOT).unwrap_err();
        assert!(error.message().contains("edges[0]: there are 2 nodes"), "{error}");
    }
}
