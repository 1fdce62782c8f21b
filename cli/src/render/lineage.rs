//! Lineage as a tree: what something is made from, and what is made from it.

use std::fmt::Write as _;

use larder_client::{Lineage, LineageNode};
use serde_json::{Value, json};

use super::{Ink, Paint};
use crate::console::Report;

/// The graph around an object, or a feature of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LineageOf {
    /// What was asked for.
    pub(crate) of: LineageNode,
    /// What it is made from, and what is made from it.
    pub(crate) graph: Lineage,
}

/// Which way a tree grows.
#[derive(Debug, Clone, Copy)]
enum Direction {
    Origins,
    Uses,
}

/// Deeper than any lineage: views are two levels, services a third.
const MAX_DEPTH: usize = 16;

fn label(node: &LineageNode) -> String {
    match &node.column {
        Some(column) => format!("{} {}.{column}", node.id.kind, node.id.name),
        None => node.id.to_string(),
    }
}

fn node_json(node: &LineageNode) -> Value {
    json!({ "kind": node.id.kind, "name": node.id.name, "column": node.column })
}

impl LineageOf {
    /// What was asked for, or all columns of it.
    fn roots(&self) -> Vec<usize> {
        let is_root =
            |node: &LineageNode| node.id == self.of.id && (self.of.column.is_none() || node.column == self.of.column);
        let nodes = self.graph.nodes.iter().enumerate();
        nodes.filter(|(_, node)| is_root(node)).map(|(position, _)| position).collect()
    }

    /// The positions next to `node`.
    fn next(&self, node: usize, direction: Direction) -> Vec<usize> {
        let next = |(from, to): &(usize, usize)| match direction {
            Direction::Origins => (*to == node).then_some(*from),
            Direction::Uses => (*from == node).then_some(*to),
        };
        self.graph.edges.iter().filter_map(next).collect()
    }

    /// The tree that grows from the roots; a root that is only a part of what was asked for has a line of its own.
    fn tree(&self, direction: Direction) -> String {
        let mut lines = String::new();
        let roots = self.roots();
        let grown: Vec<usize> = roots.into_iter().filter(|root| !self.next(*root, direction).is_empty()).collect();
        match grown.as_slice() {
            [root] if self.graph.nodes.get(*root) == Some(&self.of) => self.grow(*root, direction, "  ", &mut lines),
            roots => self.branches(roots, direction, "  ", &mut lines),
        }
        lines
    }

    fn grow(&self, node: usize, direction: Direction, indent: &str, lines: &mut String) {
        self.branches(&self.next(node, direction), direction, indent, lines);
    }

    fn branches(&self, nodes: &[usize], direction: Direction, indent: &str, lines: &mut String) {
        for (position, node) in nodes.iter().enumerate() {
            let is_last = position + 1 == nodes.len();
            let (branch, below) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            let label = self.graph.nodes.get(*node).map(label).unwrap_or_default();
            let _ = writeln!(lines, "{indent}{branch}{label}");
            if indent.chars().count() < 3 * MAX_DEPTH {
                self.grow(*node, direction, &format!("{indent}{below}"), lines);
            }
        }
    }
}

impl Report for LineageOf {
    fn json(&self) -> Value {
        let edges = self.graph.edges.iter().map(|(from, to)| json!({ "from": from, "to": to }));
        json!({
            "of": node_json(&self.of),
            "nodes": self.graph.nodes.iter().map(node_json).collect::<Vec<_>>(),
            "edges": edges.collect::<Vec<_>>(),
        })
    }

    fn text(&self, paint: Paint) -> String {
        let mut text = paint.ink(Ink::Bold, &label(&self.of)) + "\n";
        for (title, direction) in [("made from", Direction::Origins), ("used by", Direction::Uses)] {
            let lines = self.tree(direction);
            let nothing = if lines.is_empty() { " nothing" } else { "" };
            let _ = write!(text, "{title}:{nothing}\n{lines}");
        }
        text.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use larder_definitions::{ObjectId, ObjectKind};
    use larder_types::Name;

    use super::*;

    fn node(kind: ObjectKind, name: &str, column: Option<&str>) -> LineageNode {
        LineageNode { id: ObjectId { kind, name: Name::new(name).unwrap() }, column: column.map(str::to_owned) }
    }

    #[test]
    fn both_directions_are_trees() {
        let view = node(ObjectKind::FeatureView, "customer", Some("income"));
        let graph = Lineage {
            nodes: vec![
                node(ObjectKind::Source, "history", Some("income")),
                view.clone(),
                node(ObjectKind::OnDemandFeatureView, "scores", Some("risk")),
                node(ObjectKind::FeatureService, "scoring", None),
                node(ObjectKind::FeatureService, "fraud", None),
            ],
            edges: vec![(0, 1), (1, 2), (2, 3), (1, 4)],
        };
        let lineage = LineageOf { of: view, graph };
        expect![[r#"
            feature view customer.income
            made from:
              └─ source history.income
            used by:
              ├─ on-demand feature view scores.risk
              │  └─ feature service scoring
              └─ feature service fraud"#]]
        .assert_eq(&lineage.text(Paint::Plain));
        assert_eq!(lineage.json()["edges"][0], json!({ "from": 0, "to": 1 }));
        let whole = LineageOf { of: node(ObjectKind::FeatureView, "customer", None), ..lineage };
        expect![[r#"
            feature view customer
            made from:
              └─ feature view customer.income
                 └─ source history.income
            used by:
              └─ feature view customer.income
                 ├─ on-demand feature view scores.risk
                 │  └─ feature service scoring
                 └─ feature service fraud"#]]
        .assert_eq(&whole.text(Paint::Plain));
    }

    #[test]
    fn a_cycle_that_should_not_be_there_ends() {
        let one = node(ObjectKind::FeatureView, "a", None);
        let graph = Lineage { nodes: vec![one.clone()], edges: vec![(0, 0)] };
        let lineage = LineageOf { of: one, graph };
        assert!(lineage.text(Paint::Plain).lines().count() < 100);
    }
}
