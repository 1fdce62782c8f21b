//! Plans, applied changes and differences between revisions: created `+`, changed `~`, removed `-`.

use larder_definitions::{ChangeKind, Consequence, ConsequenceKind, ObjectChange};
use larder_types::{Name, Revision};
use serde_json::{Value, json};

use super::{Ink, Paint};
use crate::console::Report;

/// What differs, and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Changes {
    /// The project.
    pub(crate) project: Name,
    /// Whose changes these are.
    pub(crate) what: What,
    /// In the order of kinds, by name.
    pub(crate) changes: Vec<ObjectChange>,
    /// What must be run after it, and other things to know.
    pub(crate) consequences: Vec<Consequence>,
}

/// Where changes lead from and to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// What an apply or rollback would do to the revision.
    Planned {
        /// The revision it would follow.
        base: Revision,
        /// Who declares, or which revision is to be restored.
        by: String,
    },
    /// What an apply or rollback did.
    Applied {
        /// The revision that is in force now.
        revision: Revision,
        /// False: nothing was different, and there is no new revision.
        changed: bool,
    },
    /// The difference between two revisions.
    Between {
        /// What is compared with.
        from: Revision,
        /// What is compared.
        to: Revision,
    },
}

impl Changes {
    /// `1 created, 2 changed`
    pub(crate) fn summary(&self) -> String {
        let counted = [ChangeKind::Created, ChangeKind::Changed, ChangeKind::Removed].map(|kind| {
            let number = self.changes.iter().filter(|change| change.kind == kind).count();
            (number > 0).then(|| format!("{number} {}", kind.as_str()))
        });
        match counted.into_iter().flatten().collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => "nothing to change".to_owned(),
            summary => summary,
        }
    }

    fn heading(&self) -> String {
        let project = &self.project;
        match &self.what {
            What::Planned { base, by } => format!("Project {project} at revision {base}, {by}: {}", self.summary()),
            What::Applied { revision, changed: true } => {
                format!("Project {project} is at revision {revision}: {}", self.summary())
            }
            What::Applied { revision, changed: false } => {
                format!("Project {project} stays at revision {revision}: nothing to change")
            }
            What::Between { from, to } if self.changes.is_empty() => {
                format!("Project {project}: no difference between revisions {from} and {to}")
            }
            What::Between { from, to } => {
                format!("Project {project}, from revision {from} to {to}: {}", self.summary())
            }
        }
    }
}

impl Report for Changes {
    fn json(&self) -> Value {
        let (from, to, changed) = match &self.what {
            What::Planned { base, .. } => (Some(base.0), None, !self.changes.is_empty()),
            What::Applied { revision, changed } => (None, Some(revision.0), *changed),
            What::Between { from, to } => (Some(from.0), Some(to.0), !self.changes.is_empty()),
        };
        json!({
            "project": self.project,
            "from_revision": from,
            "revision": to,
            "changed": changed,
            "changes": self.changes.iter().map(change_json).collect::<Vec<_>>(),
            "consequences": self.consequences.iter().map(consequence_json).collect::<Vec<_>>(),
        })
    }

    fn text(&self, paint: Paint) -> String {
        let mut lines = vec![self.heading()];
        for change in &self.changes {
            lines.extend(change_lines(change, paint));
        }
        if !self.consequences.is_empty() {
            lines.push("Consequences:".to_owned());
            lines.extend(self.consequences.iter().map(|consequence| consequence_line(consequence, paint)));
        }
        lines.join("\n")
    }
}

fn change_lines(change: &ObjectChange, paint: Paint) -> Vec<String> {
    let (sign, ink) = match change.kind {
        ChangeKind::Created => ('+', Ink::Green),
        ChangeKind::Changed => ('~', Ink::Yellow),
        ChangeKind::Removed => ('-', Ink::Red),
    };
    let first = paint.ink(ink, &format!("  {sign} {}", change.id));
    let fields = change.fields.iter().map(|field| format!("      {field}"));
    std::iter::once(first).chain(fields).collect()
}

fn change_json(change: &ObjectChange) -> Value {
    let fields =
        change.fields.iter().map(|field| json!({ "path": field.path, "before": field.old, "after": field.new }));
    json!({
        "kind": change.id.kind,
        "name": change.id.name,
        "change": change.kind.as_str(),
        "fields": fields.collect::<Vec<_>>(),
    })
}

fn consequence_line(consequence: &Consequence, paint: Paint) -> String {
    let ink = match consequence.kind {
        ConsequenceKind::MustMaterialize | ConsequenceKind::FullRunNeeded => Ink::Yellow,
        ConsequenceKind::Retires | ConsequenceKind::Note => Ink::Normal,
    };
    paint.ink(ink, &format!("  {consequence}"))
}

fn consequence_json(consequence: &Consequence) -> Value {
    let kind = match consequence.kind {
        ConsequenceKind::MustMaterialize => "must_materialize",
        ConsequenceKind::FullRunNeeded => "full_run_needed",
        ConsequenceKind::Retires => "retires",
        ConsequenceKind::Note => "note",
    };
    let Consequence { object, message, .. } = consequence;
    json!({ "kind": object.kind, "name": object.name, "consequence": kind, "message": message })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use larder_definitions::{FieldChange, ObjectId, ObjectKind};

    use super::*;

    fn changes() -> Changes {
        let change = |kind, name, what, fields| ObjectChange {
            id: ObjectId { kind, name: Name::new(name).unwrap() },
            kind: what,
            fields,
        };
        let field = |path: &str, old: Option<&str>, new: Option<&str>| FieldChange {
            path: path.to_owned(),
            old: old.map(str::to_owned),
            new: new.map(str::to_owned),
        };
        let fields = vec![field("ttl", Some("30d"), Some("60d")), field("features.income", None, Some("float64"))];
        Changes {
            project: Name::new("payments").unwrap(),
            what: What::Planned { base: Revision(3), by: "origin payments".to_owned() },
            changes: vec![
                change(ObjectKind::Entity, "customer", ChangeKind::Created, vec![]),
                change(ObjectKind::FeatureView, "customer_features", ChangeKind::Changed, fields),
                change(ObjectKind::FeatureService, "old", ChangeKind::Removed, vec![]),
            ],
            consequences: vec![Consequence {
                object: ObjectId { kind: ObjectKind::FeatureView, name: Name::new("customer_features").unwrap() },
                kind: ConsequenceKind::FullRunNeeded,
                message: "longer ttl".to_owned(),
            }],
        }
    }

    #[test]
    fn a_plan_is_read_at_a_glance() {
        expect![[r#"
            Project payments at revision 3, origin payments: 1 created, 1 changed, 1 removed
              + entity customer
              ~ feature view customer_features
                  ttl: 30d → 60d
                  features.income: float64 (added)
              - feature service old
            Consequences:
              feature view customer_features: longer ttl"#]]
        .assert_eq(&changes().text(Paint::Plain));
        assert!(changes().text(Paint::Coloured).contains("\u{1b}[31m  - feature service old\u{1b}[0m"));
    }

    #[test]
    fn programs_get_fields_before_and_after() {
        let json = changes().json();
        assert_eq!(json["from_revision"], 3);
        assert_eq!(json["changed"], true);
        assert_eq!(json["changes"][1]["kind"], "feature_view");
        assert_eq!(json["consequences"][0]["consequence"], "full_run_needed");
        assert_eq!(
            json["changes"][1]["fields"][1],
            json!({ "path": "features.income", "before": null, "after": "float64" })
        );
    }

    #[test]
    fn nothing_to_change_says_so() {
        let applied = Changes {
            what: What::Applied { revision: Revision(4), changed: false },
            changes: vec![],
            consequences: vec![],
            ..changes()
        };
        assert_eq!(applied.text(Paint::Plain), "Project payments stays at revision 4: nothing to change");
        assert_eq!(applied.json()["changed"], false);
    }
}
