//! Feature services.

use std::collections::{BTreeMap, BTreeSet};

use larder_types::{Name, ScalarType, ValueType};

use super::{Checker, did_you_mean, path};
use crate::{FeatureService, FeatureView, ObjectKind, OnDemandFeatureView, RequestField, ViewUse};

/// The view of a use.
#[derive(Clone, Copy)]
enum Used<'a> {
    Stored(&'a FeatureView),
    Computed(&'a OnDemandFeatureView),
}

impl<'a> Used<'a> {
    fn features(self) -> Vec<&'a Name> {
        match self {
            Self::Stored(view) => view.features.iter().map(|feature| &feature.name).collect(),
            Self::Computed(view) => view.features.iter().map(|feature| &feature.name).collect(),
        }
    }
}

/// A column that requests of a service have, and why.
struct RequestColumn<'a> {
    /// None where it could not be read.
    value_type: Option<ValueType>,
    view: &'a Name,
    /// What the view takes it for.
    what: &'static str,
    /// The path of the mapping that names it, if one does.
    mapped_at: Option<String>,
}

impl<'a> Checker<'a> {
    pub(super) fn feature_service(&mut self, service: &'a FeatureService) {
        let path = path(ObjectKind::FeatureService, &service.name);
        self.check_name(&path, &service.name);
        if service.features.is_empty() && !self.broken.has_field(ObjectKind::FeatureService, &service.name, "features")
        {
            self.problem(format!("{path}.features"), "a feature service has at least one view");
        }
        let mut outputs = Outputs::default();
        let mut columns = BTreeMap::new();
        let mut answered = Vec::new();
        for (position, view_use) in service.features.iter().enumerate() {
            let path = format!("{path}.features[{position}]");
            if let Some(alias) = &view_use.alias {
                self.check_name(&format!("{path}.as"), alias);
            }
            let Some(used) = self.used(&format!("{path}.view"), view_use) else { continue };
            self.selected(&path, view_use, used);
            self.outputs(&path, view_use, used, &mut outputs);
            self.join_keys(&path, view_use, used, &mut columns);
            self.answered(&path, view_use, used, &mut answered);
        }
        for feature in &answered {
            self.beside_columns(feature, &columns);
        }
        self.answered_once(&answered);
    }

    fn used(&mut self, path: &str, view_use: &ViewUse) -> Option<Used<'a>> {
        let name = view_use.view.as_str();
        let stored = self.index.feature_views.get(name).map(|view| Used::Stored(view));
        let used = stored.or_else(|| self.index.on_demand_feature_views.get(name).map(|view| Used::Computed(view)));
        if used.is_none() {
            self.unknown(path, "view", &view_use.view, self.index.view_names());
        }
        used
    }

    /// Whether all features of the view are known, though other things of it may be wrong.
    fn all_features_are_known(&self, used: Used<'_>) -> bool {
        match used {
            Used::Stored(view) => self.features_are_known(ObjectKind::FeatureView, &view.name),
            Used::Computed(view) => self.features_are_known(ObjectKind::OnDemandFeatureView, &view.name),
        }
    }

    /// Whether all join keys of the view are known.
    fn all_keys_are_known(&self, used: Used<'a>) -> bool {
        let inputs = self.stored_views(used);
        let inputs_are_known = match used {
            Used::Stored(_) => true,
            Used::Computed(view) => {
                let is_empty = view.inputs.is_empty();
                inputs.len() == view.inputs.len()
                    && !self
                        .broken
                        .unread_optional(ObjectKind::OnDemandFeatureView, &view.name, "inputs", is_empty)
                        .names
            }
        };
        inputs_are_known && inputs.iter().all(|input| self.keys_are_known(input))
    }

    fn selected(&mut self, path: &str, view_use: &ViewUse, used: Used<'_>) {
        let (features, all_are_known) = (used.features(), self.all_features_are_known(used));
        let mut seen = BTreeSet::new();
        for (position, name) in view_use.select.iter().enumerate() {
            let path = format!("{path}.select[{position}]");
            if all_are_known && !features.contains(&name) {
                let hint = did_you_mean(name, features.iter().map(|feature| feature.as_str()));
                self.problem(&path, format!("view `{}` has no feature `{name}`{hint}", view_use.view));
            }
            if !seen.insert(name) {
                self.problem(path, format!("feature `{name}` is there twice"));
            }
        }
    }

    /// No two features of an answer have the same full name.
    fn outputs(&mut self, path: &str, view_use: &'a ViewUse, used: Used<'a>, outputs: &mut Outputs<'a>) {
        if let Some(alias) = &view_use.alias
            && let Some(other) = outputs.prefixes.get(alias)
        {
            let message = if *other { "the alias of another use" } else { "a view used without an alias" };
            self.problem(format!("{path}.as"), format!("`{alias}` is {message}: give this use a name of its own"));
            return;
        }
        let prefix = view_use.alias.as_ref().unwrap_or(&view_use.view);
        if view_use.alias.is_none() && outputs.prefixes.get(prefix) == Some(&true) {
            self.problem(format!("{path}.view"), format!("`{prefix}` is the alias of another use: change that alias"));
            return;
        }
        outputs.prefixes.insert(prefix, view_use.alias.is_some());
        let features = if view_use.select.is_empty() { used.features() } else { view_use.select.iter().collect() };
        let distinct: BTreeSet<&Name> = features.into_iter().collect();
        let twice: Vec<_> = distinct.into_iter().filter(|feature| !outputs.names.insert((prefix, feature))).collect();
        if let Some(first) = twice.first() {
            let message = format!(
                "`{prefix}.{first}` is given by another use of the view: give one of them an alias with `as`, or select other \
                 features"
            );
            self.problem(path, message);
        }
    }

    /// The features of a use that are answered under their own names: those of an alias have it before them.
    fn answered(&self, path: &str, view_use: &'a ViewUse, used: Used<'a>, answered: &mut Vec<Answered<'a>>) {
        if view_use.alias.is_some() {
            return;
        }
        let features = used.features();
        let is_told = |name: &Name| match used {
            Used::Stored(view) => self.keys_of(view).any(|key| key == name),
            Used::Computed(view) => view.request.iter().any(|field| field.name == *name),
        };
        let chosen: Vec<(&'a Name, String)> = if view_use.select.is_empty() {
            features.into_iter().map(|name| (name, path.to_owned())).collect()
        } else {
            let selected = view_use.select.iter().enumerate();
            let selected = selected.map(|(position, name)| (name, format!("{path}.select[{position}]")));
            selected.filter(|(name, _)| features.contains(name)).collect()
        };
        // What is wrong with the view itself is told there.
        let chosen = chosen.into_iter().filter(|(name, _)| !is_told(name));
        answered.extend(chosen.map(|(name, path)| Answered { name, view: &view_use.view, path }));
    }

    /// Features of different views have different names: who asks for the service need not ask for full names.
    fn answered_once(&mut self, answered: &[Answered<'a>]) {
        let mut first: BTreeMap<&Name, &Name> = BTreeMap::new();
        for Answered { name, view, path } in answered {
            let other = *first.entry(name).or_insert(view);
            if other != *view {
                let message = format!(
                    "feature `{name}` of view `{view}` has the name of a feature of view `{other}` here: use one of the views \
                     under an alias with `as`, or select other features"
                );
                self.problem(path, message);
            }
        }
    }

    /// A training set has the request's columns and the features beside each other.
    fn beside_columns(&mut self, feature: &Answered<'_>, columns: &BTreeMap<&Name, RequestColumn<'_>>) {
        let Some(column) = columns.get(feature.name) else { return };
        let (Answered { name, view, path }, RequestColumn { what, view: of, mapped_at, .. }) = (feature, column);
        match mapped_at {
            Some(at) => self.problem(
                at,
                format!(
                    "the request's column `{name}` would have the name of a feature that the service answers, `{name}` of view \
                     `{view}`: take the join key from a column of another name, or use `{view}` under an alias with `as`"
                ),
            ),
            None => self.problem(
                path,
                format!(
                    "feature `{name}` of view `{view}` has the name of a column that requests of the service have, the {what} \
                     `{name}` of view `{of}`: use `{view}` under an alias with `as`, or give one of them another name"
                ),
            ),
        }
    }

    fn keys_of(&self, view: &'a FeatureView) -> impl Iterator<Item = &'a Name> {
        let entities = view.entities.iter().filter_map(|name| self.index.entities.get(name.as_str()));
        entities.flat_map(|entity| &entity.join_keys).map(|key| &key.name)
    }

    /// The feature views behind a use.
    fn stored_views(&self, used: Used<'a>) -> Vec<&'a FeatureView> {
        match used {
            Used::Stored(view) => vec![view],
            Used::Computed(view) => {
                view.inputs.iter().filter_map(|name| self.index.feature_views.get(name.as_str()).copied()).collect()
            }
        }
    }

    /// Mapped join keys are there, and all uses agree on the types of the request's columns.
    fn join_keys(
        &mut self,
        path: &str,
        view_use: &'a ViewUse,
        used: Used<'a>,
        columns: &mut BTreeMap<&'a Name, RequestColumn<'a>>,
    ) {
        let names = self.stored_views(used).into_iter().flat_map(|view| &view.entities);
        let entities = names.filter_map(|name| self.index.entities.get(name.as_str()));
        let all_are_known = self.all_keys_are_known(used);
        let keys: BTreeMap<&Name, Option<ValueType>> = entities
            .flat_map(|entity| entity.join_keys.iter().map(move |key| (entity, key)))
            .map(|(entity, key)| (&key.name, self.type_of_key(entity, key).map(|key_type| key_type.scalar().into())))
            .collect();
        for (key, column) in &view_use.join_keys {
            let path = format!("{path}.join_keys.{key}");
            self.check_name(&path, column);
            if all_are_known && !keys.contains_key(key) {
                let hint = did_you_mean(key, keys.keys().map(|known| known.as_str()));
                self.problem(path, format!("view `{}` has no join key `{key}`{hint}", view_use.view));
            }
        }
        let mapped = keys.iter().map(|(key, value_type)| {
            let column = view_use.join_keys.get(*key);
            let mapped_at = column.map(|_| format!("{path}.join_keys.{key}"));
            (column.unwrap_or(*key), *value_type, "join key", mapped_at)
        });
        let request = match used {
            Used::Stored(_) => [].iter(),
            Used::Computed(view) => view.request.iter(),
        };
        let type_of_request = |view: &Name, field: &RequestField| {
            let unread = self.broken.unread(ObjectKind::OnDemandFeatureView, view, "request");
            (!unread.may_differ(&field.name, "type")).then_some(field.value_type)
        };
        let request = request.map(|field| (&field.name, type_of_request(&view_use.view, field), "request data", None));
        let asked: Vec<_> = mapped.chain(request).collect();
        for (column, value_type, what, mapped_at) in asked {
            let this = RequestColumn { value_type, view: &view_use.view, what, mapped_at };
            let other = columns.entry(column).or_insert(this);
            if let (Some(there), Some(here)) = (other.value_type, value_type)
                && !agree(there, here)
            {
                let message = format!(
                    "the request's column `{column}` would be {here} for view `{}` and {there} for view `{}`: map the join \
                     key of one to another column with `join_keys`",
                    view_use.view, other.view
                );
                self.problem(path, message);
            }
        }
    }
}

/// A request's column of integers may serve keys of both widths: they are the same key.
fn agree(one: ValueType, other: ValueType) -> bool {
    let is_integer =
        |value_type| matches!(value_type, ValueType::Scalar(ScalarType::Int32) | ValueType::Scalar(ScalarType::Int64));
    one == other || (is_integer(one) && is_integer(other))
}

/// A feature that is answered under its own name.
struct Answered<'a> {
    name: &'a Name,
    view: &'a Name,
    path: String,
}

/// What an answer of the service has so far.
#[derive(Default)]
struct Outputs<'a> {
    /// Aliases (true) and names of views without one.
    prefixes: BTreeMap<&'a Name, bool>,
    names: BTreeSet<(&'a Name, &'a Name)>,
}
