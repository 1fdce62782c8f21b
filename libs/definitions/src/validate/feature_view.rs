//! Feature views.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use larder_types::{KeyType, Name, format_duration};

use super::{Checker, path};
use crate::{FeatureView, ObjectKind, schedule::Ticks, yaml::UNREAD};

/// The greatest span of time: ten thousand years, as the contracts can say it.
const LONGEST: Duration = Duration::from_secs(3_652_500 * 86_400);

impl<'a> Checker<'a> {
    pub(super) fn feature_view(&mut self, view: &'a FeatureView) {
        let path = path(ObjectKind::FeatureView, &view.name);
        self.check_name(&path, &view.name);
        self.entities_of(&path, view);
        self.sources_of(&path, view);
        self.features_of(&path, view);
        self.spans_of(&path, view);
        if !view.online && !view.offline {
            let message =
                "a view that is neither served nor in training sets is of no use: `online` or `offline` is true";
            self.problem(format!("{path}.offline"), message);
        }
        if let Some(schedule) = &view.schedule {
            if !view.online {
                let message = "a view with `online: false` is not materialized: it has no schedule";
                self.problem(format!("{path}.schedule"), message);
            }
            let (cron, time_zone) = Ticks::check(schedule);
            for (field, error) in [("cron", cron), ("time_zone", time_zone)] {
                if let Some(error) = error {
                    self.problem(format!("{path}.schedule.{field}"), error.message());
                }
            }
        }
    }

    fn spans_of(&mut self, path: &str, view: &'a FeatureView) {
        if view.ttl == Some(Duration::ZERO) {
            self.problem(format!("{path}.ttl"), "a ttl is above zero; `ttl: none` means no limit");
        }
        for (field, span) in [("ttl", view.ttl), ("allowed_lateness", view.allowed_lateness)] {
            if span.is_some_and(|span| span > LONGEST) {
                let none = if field == "ttl" { "; `ttl: none` means no limit" } else { "" };
                self.problem(
                    format!("{path}.{field}"),
                    format!("is longer than {}, the greatest{none}", format_duration(LONGEST)),
                );
            }
        }
    }

    fn entities_of(&mut self, path: &str, view: &'a FeatureView) {
        let mut seen = BTreeSet::new();
        for (position, name) in view.entities.iter().enumerate() {
            let path = format!("{path}.entities[{position}]");
            if !seen.insert(name) {
                self.problem(&path, format!("entity `{name}` is there twice"));
            }
            if !self.index.entities.contains_key(name.as_str()) {
                self.unknown(&path, "entity", name, self.index.entities.keys().copied());
            }
        }
        let mut types: BTreeMap<&Name, (KeyType, &Name)> = BTreeMap::new();
        for entity in view.entities.iter().filter_map(|name| self.index.entities.get(name.as_str())) {
            for key in &entity.join_keys {
                let Some(this) = self.type_of_key(entity, key) else { continue };
                let (key_type, other) = *types.entry(&key.name).or_insert((this, &entity.name));
                if key_type != this {
                    let message = format!(
                        "join key `{}` is {key_type} in entity `{other}` and {this} in entity `{}`: \
                         entities of one view agree on their join keys' types",
                        key.name, entity.name
                    );
                    self.problem(format!("{path}.entities"), message);
                }
            }
        }
    }

    fn sources_of(&mut self, path: &str, view: &'a FeatureView) {
        let known = self.index.sources.keys().copied();
        let source_is_push = self.source_is_push(&view.source);
        let is_told = self.broken.has_field(ObjectKind::FeatureView, &view.name, "source") && view.source == UNREAD;
        if !is_told && !self.index.sources.contains_key(view.source.as_str()) {
            self.unknown(format!("{path}.source"), "source", &view.source, known.clone());
        }
        let Some(push_source) = &view.push_source else { return };
        match self.source_is_push(push_source) {
            None if self.index.sources.contains_key(push_source.as_str()) => {}
            None => self.unknown(format!("{path}.push_source"), "source", push_source, known),
            Some(false) => {
                let message =
                    format!("`{push_source}` is not a push source: a push source is declared with `push: {{}}`");
                self.problem(format!("{path}.push_source"), message);
            }
            Some(true) if source_is_push == Some(true) => {
                let message = format!(
                    "`{}` is a push source: `push_source` stands beside a batch source; a view that is only pushed names its \
                     push source under `source`",
                    view.source
                );
                self.problem(format!("{path}.source"), message);
            }
            Some(true) => {}
        }
    }

    fn features_of(&mut self, path: &str, view: &'a FeatureView) {
        let path = format!("{path}.features");
        if view.features.is_empty() && !self.broken.has_field(ObjectKind::FeatureView, &view.name, "features") {
            self.problem(&path, "a feature view has at least one feature");
        }
        self.check_distinct(&path, "feature", view.features.iter().map(|feature| &feature.name));
        let entities = view.entities.iter().filter_map(|name| self.index.entities.get(name.as_str()));
        let keys: BTreeMap<&Name, &Name> =
            entities.flat_map(|entity| entity.join_keys.iter().map(|key| (&key.name, &entity.name))).collect();
        let mut renamed: BTreeMap<&Name, &Name> = BTreeMap::new();
        for feature in &view.features {
            let path = format!("{path}.{}", feature.name);
            self.check_name(&path, &feature.name);
            if let Some(entity) = keys.get(&feature.name) {
                self.problem(
                    &path,
                    format!("feature `{}` has the name of a join key of entity `{entity}`", feature.name),
                );
            }
            if let Some(column) = &feature.column {
                self.check_filled(&format!("{path}.column"), column);
            }
            let Some(from) = &feature.renamed_from else { continue };
            let path = format!("{path}.renamed_from");
            if *from == feature.name {
                self.problem(path, format!("feature `{from}` cannot be renamed from itself: name the old one"));
            } else if let Some(other) = renamed.insert(from, &feature.name) {
                self.problem(path, format!("feature `{other}` is renamed from `{from}` too: only one can be"));
            }
        }
    }
}
