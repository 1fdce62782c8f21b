//! On-demand feature views and their expressions.

use std::collections::BTreeSet;

use larder_expressions::{Expression, Input, functions};
use larder_types::{Name, ScalarType, ValueType};

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
        let unknown = self.inputs_of(&path, view);
        self.request_of(&path, view);
        if view.features.is_empty() && !self.broken.has_field(ObjectKind::OnDemandFeatureView, &view.name, "features") {
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
        if !self.is_computed_before(view) {
            self.expressions_of(&path, view, &unknown);
        }
    }

    /// Every input is a feature view. What expressions may use and is not known here.
    fn inputs_of(&mut self, path: &str, view: &'a OnDemandFeatureView) -> Unknown<'a> {
        let mut seen = BTreeSet::new();
        let may_lack = |list, is_empty| {
            self.broken.unread_optional(ObjectKind::OnDemandFeatureView, &view.name, list, is_empty).names
        };
        let mut unknown = Unknown {
            features_of: BTreeSet::new(),
            inputs: may_lack("inputs", view.inputs.is_empty()),
            request: may_lack("request", view.request.is_empty()),
        };
        for (position, name) in view.inputs.iter().enumerate() {
            let path = format!("{path}.inputs[{position}]");
            if !seen.insert(name) {
                self.problem(&path, format!("input `{name}` is there twice"));
            }
            if self.index.feature_views.contains_key(name.as_str()) {
                if !self.features_are_known(ObjectKind::FeatureView, name) {
                    unknown.features_of.insert(name);
                }
                continue;
            }
            unknown.features_of.insert(name);
            if self.index.on_demand_feature_views.contains_key(name.as_str()) {
                let message =
                    format!("`{name}` is an on-demand feature view: inputs are feature views, whose rows are stored");
                self.problem(path, message);
            } else {
                self.unknown(path, "feature view", name, self.index.feature_views.keys().copied());
            }
        }
        unknown
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

    fn expressions_of(&mut self, path: &str, view: &'a OnDemandFeatureView, unknown: &Unknown<'_>) {
        // One that is there twice is told so; its features are no less clear for it.
        let names: BTreeSet<&Name> = view.inputs.iter().collect();
        let views = names.into_iter().filter_map(|name| self.index.feature_views.get(name.as_str()).copied());
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
            let guessed = unknown.named_in(sql, &inputs);
            let mut of_unknown_type = of_unknown_type.clone();
            of_unknown_type.extend(inputs.len()..inputs.len() + guessed.len());
            let inputs = [&inputs[..], &guessed[..]].concat();
            let wrong = wrong_with(sql, &inputs, &of_unknown_type, declared);
            let wrong = wrong.or_else(|| if of_unknown_type.is_empty() { None } else { refused_function(sql) });
            if let Some(message) = wrong.map(in_one_line) {
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

/// What expressions may use though it is not known here, or not completely.
struct Unknown<'a> {
    /// Inputs whose features are not all known.
    features_of: BTreeSet<&'a Name>,
    /// Whether there may be other inputs.
    inputs: bool,
    /// Whether there may be other request data.
    request: bool,
}

impl Unknown<'_> {
    /// What an expression seems to read of it, of some type: so that what else is wrong with the expression can be told. What
    /// is taken for a name and is none does no harm: nothing reads it.
    fn named_in(&self, sql: &str, known: &[Input]) -> Vec<Input> {
        let is_known = |found: &[Input], view: Option<&Name>, name: &Name| {
            let mut inputs = known.iter().chain(found);
            inputs.any(|input| input.name == *name && (view.is_none() || view == input.view.as_ref()))
        };
        let mut found: Vec<Input> = Vec::new();
        let (qualified, alone): (Vec<_>, Vec<_>) = names_in(sql).into_iter().partition(|(view, _)| view.is_some());
        for (view, name) in qualified.into_iter().chain(alone) {
            let may_be_there = match &view {
                Some(view) => {
                    let is_input = known.iter().any(|input| input.view.as_ref() == Some(view));
                    self.features_of.contains(view) || (self.inputs && !is_input)
                }
                None => self.inputs || self.request || !self.features_of.is_empty(),
            };
            if may_be_there && !is_known(&found, view.as_ref(), &name) {
                found.push(Input { view, name, value_type: ValueType::Scalar(ScalarType::Int64) });
            }
        }
        found
    }
}

/// Words that may be names, with the word before the dot before them.
fn names_in(sql: &str) -> Vec<(Option<Name>, Name)> {
    let mut names = Vec::new();
    let mut before: Option<&str> = None;
    let mut rest = sql;
    while let Some(start) = rest.find(is_word) {
        let between = rest[..start].replace(['"', ' ', '\n', '\t'], "");
        rest = &rest[start..];
        let (word, after) = rest.split_at(rest.find(|c: char| !is_word(c)).unwrap_or(rest.len()));
        rest = after;
        let view = before.filter(|_| between == ".");
        if let Ok(name) = Name::new(word) {
            names.push((view.and_then(|view| Name::new(view).ok()), name));
        }
        before = Some(word);
    }
    names
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

/// Why the first function that is called and not there, such as `random`, is refused, whatever its arguments are.
fn refused_function(sql: &str) -> Option<String> {
    let mut in_text = false;
    // Without literal texts, with everything at its place.
    let plain: String = sql
        .chars()
        .map(|c| {
            in_text ^= c == '\'';
            if in_text || c == '\'' { blank(c) } else { c }
        })
        .collect();
    let known: BTreeSet<&str> = functions().flat_map(|function| function.names).copied().collect();
    plain.match_indices('(').find_map(|(open, _)| {
        let before = plain.get(..open)?.trim_end();
        let start = before
            .rfind(|c: char| !is_word(c))
            .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
        let name =
            before.get(start..).filter(|name| !name.is_empty() && !known.contains(name.to_lowercase().as_str()))?;
        let alone: String = before.get(..start)?.chars().map(blank).collect();
        let error =
            Expression::compile(&format!("{alone}{name}()"), &[], ValueType::Scalar(ScalarType::Int64)).err()?;
        error.message().contains(&format!(": `{}`", name.to_lowercase())).then(|| error.message().to_owned())
    })
}

/// Of a pattern, the parser shows where it is wrong on lines below each other; a problem is one line.
fn in_one_line(message: String) -> String {
    match message
        .split_once("regex parse error:")
        .and_then(|(before, rest)| Some((before, rest.rsplit_once("error: ")?.1)))
    {
        Some((before, why)) => format!("{before}{why}"),
        None => message.split_whitespace().collect::<Vec<_>>().join(" "),
    }
}

fn blank(c: char) -> char {
    if c == '\n' { c } else { ' ' }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
