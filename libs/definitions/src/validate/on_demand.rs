//! On-demand feature views and their expressions.

use std::collections::BTreeSet;

use larder_expressions::{Expression, Input};
use larder_types::{ScalarType, ValueType};

use super::{Checker, path};
use crate::{Engine, ObjectKind, OnDemandFeatureView, expressions::expression_inputs};

impl<'a> Checker<'a> {
    pub(super) fn on_demand_feature_view(&mut self, view: &'a OnDemandFeatureView) {
        let path = path(ObjectKind::OnDemandFeatureView, &view.name);
        self.check_name(&path, &view.name);
        if self.index.feature_views.contains_key(view.name.as_str()) {
            let message = format!(
                "`{}` is the name of a feature view too: views of both kinds share one space of names",
                view.name
            );
            self.problem(&path, message);
        }
        let inputs_are_known = self.inputs_of(&path, view);
        self.request_of(&path, view);
        if view.features.is_empty() && !self.is_broken(ObjectKind::OnDemandFeatureView, &view.name) {
            self.problem(format!("{path}.features"), "an on-demand feature view has at least one feature");
        }
        let features_path = format!("{path}.features");
        self.check_distinct(&features_path, "feature", view.features.iter().map(|feature| &feature.name));
        for feature in &view.features {
            let path = format!("{features_path}.{}", feature.name);
            self.check_name(&path, &feature.name);
            if view.request.iter().any(|field| field.name == feature.name) {
                let message = format!(
                    "feature `{}` has the name of request data of this view, beside which it stands in every training set: \
                     give one of them another name",
                    feature.name
                );
                self.problem(path, message);
            }
        }
        if inputs_are_known && !self.is_computed_before(view) {
            self.expressions_of(&path, view);
        }
    }

    /// Whether every input is a feature view, and all names that expressions may use are known.
    fn inputs_of(&mut self, path: &str, view: &'a OnDemandFeatureView) -> bool {
        let mut seen = BTreeSet::new();
        let mut all_known = ["inputs", "request"]
            .iter()
            .all(|list| !self.broken.unread(ObjectKind::OnDemandFeatureView, &view.name, list).names);
        for (position, name) in view.inputs.iter().enumerate() {
            let path = format!("{path}.inputs[{position}]");
            if !seen.insert(name) {
                self.problem(&path, format!("input `{name}` is there twice"));
            }
            match self.index.feature_views.get(name.as_str()) {
                Some(input) => {
                    all_known &= !self.broken.unread(ObjectKind::FeatureView, &input.name, "features").names;
                }
                None if self.index.on_demand_feature_views.contains_key(name.as_str()) => {
                    all_known = false;
                    let message = format!(
                        "`{name}` is an on-demand feature view: inputs are feature views, whose rows are stored"
                    );
                    self.problem(path, message);
                }
                None => {
                    all_known = false;
                    self.unknown(path, "feature view", name, self.index.feature_views.keys().copied());
                }
            }
        }
        all_known
    }

    /// Request data can be told from features, and its columns from join keys.
    fn request_of(&mut self, path: &str, view: &'a OnDemandFeatureView) {
        let path = format!("{path}.request");
        self.check_distinct(&path, "request data", view.request.iter().map(|field| &field.name));
        let inputs: Vec<_> =
            view.inputs.iter().filter_map(|name| self.index.feature_views.get(name.as_str())).collect();
        for field in &view.request {
            let path = format!("{path}.{}", field.name);
            self.check_name(&path, &field.name);
            let feature_of =
                inputs.iter().find(|input| input.features.iter().any(|feature| feature.name == field.name));
            if let Some(input) = feature_of {
                let message =
                    format!("request data `{}` has the name of a feature of its input `{}`", field.name, input.name);
                self.problem(&path, message);
            }
            let entities = inputs.iter().flat_map(|input| &input.entities);
            let mut entities = entities.filter_map(|name| self.index.entities.get(name.as_str()));
            let key_of = entities.find(|entity| entity.join_keys.iter().any(|key| key.name == field.name));
            if let Some(entity) = key_of {
                let message =
                    format!("request data `{}` has the name of a join key of entity `{}`", field.name, entity.name);
                self.problem(&path, message);
            }
        }
    }

    /// Whether this very view was valid with these very inputs.
    fn is_computed_before(&self, view: &OnDemandFeatureView) -> bool {
        let name = view.name.as_str();
        self.valid.on_demand_feature_views.get(name).is_some_and(|valid| *valid == view)
            && view.inputs.iter().all(|input| {
                let valid = self.valid.feature_views.get(input.as_str());
                valid.is_some() && valid == self.index.feature_views.get(input.as_str())
            })
    }

    fn expressions_of(&mut self, path: &str, view: &'a OnDemandFeatureView) {
        let views = view.inputs.iter().filter_map(|name| self.index.feature_views.get(name.as_str()).copied());
        let inputs: Vec<Input> = expression_inputs(view, views);
        let unread = self.broken.unread(ObjectKind::OnDemandFeatureView, &view.name, "features");
        let of_unknown_type: Vec<usize> = self.of_unknown_type(view, &inputs);
        for feature in &view.features {
            let Engine::Sql(sql) = &feature.engine;
            if unread.may_differ(&feature.name, "sql") {
                continue;
            }
            let is_declared = !unread.may_differ(&feature.name, "type");
            let declared = is_declared.then_some(feature.value_type);
            if let Some(message) = wrong_with(sql, &inputs, &of_unknown_type, declared) {
                self.problem(format!("{path}.features.{}.sql", feature.name), message);
            }
        }
    }

    /// Positions of inputs whose types could not be read.
    fn of_unknown_type(&self, view: &OnDemandFeatureView, inputs: &[Input]) -> Vec<usize> {
        let is_unknown = |input: &Input| {
            let unread = match &input.view {
                Some(view) => self.broken.unread(ObjectKind::FeatureView, view, "features"),
                None => self.broken.unread(ObjectKind::OnDemandFeatureView, &view.name, "request"),
            };
            unread.may_differ(&input.name, "type")
        };
        inputs.iter().enumerate().filter(|(_, input)| is_unknown(input)).map(|(position, _)| position).collect()
    }
}

/// What is wrong with an expression; where types are not known, what is wrong with it whatever they are.
fn wrong_with(sql: &str, inputs: &[Input], of_unknown_type: &[usize], declared: Option<ValueType>) -> Option<String> {
    let compile = |inputs: &[Input], declared| Expression::compile(sql, inputs, declared).err();
    if let (Some(declared), []) = (declared, of_unknown_type) {
        return compile(inputs, declared).map(|error| error.message().to_owned());
    }
    let types = ScalarType::ALL.into_iter().flat_map(|scalar| [ValueType::Scalar(scalar), ValueType::List(scalar)]);
    let mut wrong: Option<String> = None;
    for value_type in types {
        let mut inputs = inputs.to_vec();
        for position in of_unknown_type {
            inputs[*position].value_type = value_type;
        }
        let message = compile(&inputs, declared.unwrap_or(value_type))?.message().to_owned();
        if *wrong.get_or_insert_with(|| message.clone()) != message {
            return None;
        }
    }
    wrong
}
