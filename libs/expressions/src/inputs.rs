//! The columns an expression may read, and how their names are found.

use std::collections::BTreeSet;

use larder_types::{Error, Name, ValueType, near_names};
use serde::{Deserialize, Serialize};

use crate::parse::{At, refuse};

/// A column an expression may use: a feature of an input view, or request data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// The view whose feature it is; none for request data.
    pub view: Option<Name>,
    /// The feature's or request column's name.
    pub name: Name,
    /// Its type.
    pub value_type: ValueType,
}

impl Input {
    /// How it can be written without doubt: `view.feature`, or the name of request data.
    fn full_name(&self) -> String {
        match &self.view {
            Some(view) => format!("{view}.{}", self.name),
            None => self.name.to_string(),
        }
    }
}

/// The inputs that an unqualified name means: exactly one, or an error.
pub(crate) fn resolve(inputs: &[Input], name: &str, at: At) -> Result<usize, Error> {
    let mut found = inputs.iter().enumerate().filter(|(_, input)| input.name == name);
    match (found.next(), found.next()) {
        (Some((index, _)), None) => Ok(index),
        (None, _) => Err(refuse(at, unknown(name, inputs.iter().map(|input| input.name.as_str())))),
        (Some(_), Some(_)) => Err(refuse(at, ambiguous(inputs, name))),
    }
}

/// The input that `view.feature` means.
pub(crate) fn resolve_qualified(inputs: &[Input], view: &str, name: &str, at: At) -> Result<usize, Error> {
    let of_view = |input: &&Input| input.view.as_ref().is_some_and(|input_view| *input_view == view);
    if let Some(index) = inputs.iter().position(|input| of_view(&input) && input.name == name) {
        return Ok(index);
    }
    let features: Vec<_> = inputs.iter().filter(of_view).map(|input| input.name.as_str()).collect();
    if features.is_empty() {
        let views = inputs.iter().filter_map(|input| input.view.as_ref()).map(Name::as_str);
        return Err(refuse(at, format!("`{view}` is not an input view{}", hint(view, views))));
    }
    Err(refuse(at, format!("view `{view}` has no feature `{name}`{}", hint(name, features))))
}

fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    format!("`{name}` is neither a feature of an input view nor request data{}", hint(name, known))
}

fn ambiguous(inputs: &[Input], name: &str) -> String {
    let candidates = inputs.iter().filter(|input| input.name == name);
    let (views, request): (Vec<_>, Vec<_>) = candidates.partition(|input| input.view.is_some());
    let mut views: Vec<_> = views.into_iter().map(|input| format!("`{}`", input.full_name())).collect();
    let mut seen = BTreeSet::new();
    views.retain(|view| seen.insert(view.clone()));
    match (views.as_slice(), request.is_empty()) {
        ([], _) => format!("`{name}` is ambiguous: request data is declared twice under that name"),
        ([one], true) => format!("`{name}` is ambiguous: {one} is there twice"),
        (several, true) => format!("`{name}` is ambiguous: write {}", several.join(" or ")),
        (several, false) => format!(
            "`{name}` is ambiguous: write {} (the request data of that name must be renamed to be used)",
            several.join(" or ")
        ),
    }
}

/// `: did you mean …?`, or what there is when nothing is near.
pub(crate) fn hint<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<_> = known.into_iter().collect();
    let near: Vec<_> = near_names(wrong, known.iter().copied()).into_iter().map(|name| format!("`{name}`")).collect();
    if !near.is_empty() {
        return format!(": did you mean {}?", near.join(" or "));
    }
    let mut some: Vec<_> = known.into_iter().map(|name| format!("`{name}`")).collect();
    some.sort();
    some.dedup();
    match some.len() {
        0 => "; there are none".to_owned(),
        1..=10 => format!("; there are {}", some.join(", ")),
        more => format!("; there are {}, and {} more", some[..10].join(", "), more - 10),
    }
}
