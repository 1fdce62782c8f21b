//! Push sources: one event has one set of columns, whatever views it feeds, and they can be pushed.

use std::collections::BTreeMap;

use larder_types::{Name, ValueType};

use super::{Checker, path};
use crate::{Feature, FeatureView, ObjectKind};

/// What a view takes a column of an event for.
struct Use<'a> {
    /// None where it could not be read.
    value_type: Option<ValueType>,
    is_key: bool,
    view: &'a Name,
    /// Of a feature's column.
    feature: Option<&'a Name>,
}

impl<'a> Checker<'a> {
    /// All views of a push source agree on the types of its events' columns, and on which are join keys.
    pub(super) fn push_sources(&mut self) {
        let mut columns: BTreeMap<(&'a Name, &'a str), Use<'a>> = BTreeMap::new();
        for view in self.index.feature_views.values().copied() {
            let Some(source) = self.push_source_of(view) else { continue };
            for (column, this) in self.uses(view) {
                self.check_event_column(source, column, &this);
                match columns.get(&(source, column)) {
                    Some(other) => self.compare(source, column, &this, other),
                    None => drop(columns.insert((source, column), this)),
                }
            }
        }
    }

    fn push_source_of(&self, view: &'a FeatureView) -> Option<&'a Name> {
        let is_push = |name: &&Name| self.source_is_push(name) == Some(true);
        view.push_source.as_ref().filter(is_push).or(Some(&view.source).filter(is_push))
    }

    fn uses(&self, view: &'a FeatureView) -> Vec<(&'a str, Use<'a>)> {
        let entities = view.entities.iter().filter_map(|name| self.index.entities.get(name.as_str()));
        let keys =
            entities.flat_map(|entity| entity.join_keys.iter().map(move |key| (entity, key))).map(|(entity, key)| {
                let value_type = self.type_of_key(entity, key).map(|key_type| key_type.scalar().into());
                (key.name.as_str(), Use { value_type, is_key: true, view: &view.name, feature: None })
            });
        let unread = self.broken.unread(ObjectKind::FeatureView, &view.name, "features");
        let has_column = |feature: &&Feature| match &feature.column {
            Some(_) => !unread.may_differ(&feature.name, "column"),
            None => !unread.may_be_there(&feature.name, "column"),
        };
        let features = view.features.iter().filter(has_column).map(|feature| {
            let value_type = self.type_of_feature(view, feature);
            (feature.source_column(), Use { value_type, is_key: false, view: &view.name, feature: Some(&feature.name) })
        });
        keys.chain(features).collect()
    }

    /// The push log names its columns after those of events, and keeps some names for itself.
    fn check_event_column(&mut self, source: &Name, column: &str, this: &Use<'_>) {
        let Some(feature) = this.feature else { return };
        let is_name = Name::new(column).is_ok() && !column.starts_with("__");
        if !is_name && !column.is_empty() {
            let path = format!("{}.features.{feature}", path(ObjectKind::FeatureView, this.view));
            self.problem(
                path,
                format!(
                    "column `{column}` of push source `{source}` cannot be pushed: an event's column is a letter or underscore, \
                     then letters, digits and underscores, and does not start with two underscores"
                ),
            );
        }
    }

    fn compare(&mut self, source: &Name, column: &str, this: &Use<'_>, other: &Use<'_>) {
        let kind = |is_key| if is_key { "a join key" } else { "a feature" };
        let message = if this.is_key != other.is_key {
            format!(
                "column `{column}` of push source `{source}` is {} here and {} of view `{}`: an event's column is one or the \
                 other",
                kind(this.is_key),
                kind(other.is_key),
                other.view
            )
        } else if let (Some(here), Some(there)) = (this.value_type, other.value_type)
            && here != there
        {
            format!(
                "column `{column}` of push source `{source}` is {here} here and {there} in view `{}`: views of one push \
                 source agree on its columns' types",
                other.view
            )
        } else {
            return;
        };
        let view = path(ObjectKind::FeatureView, this.view);
        let path = match this.feature {
            Some(feature) => format!("{view}.features.{feature}"),
            None => format!("{view}.entities"),
        };
        self.problem(path, message);
    }
}
