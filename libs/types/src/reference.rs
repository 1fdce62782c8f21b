//! How a request names a feature.

use std::{collections::BTreeMap, fmt, str::FromStr};

use crate::{Error, Name};

/// `view.feature`, or `view` for all features of the view; `as alias` behind it, and `by key=column` for each join key that is
/// found in another column of the request: `profile.age as payer by customer_id=payer_id`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FeatureReference {
    /// A feature view or on-demand feature view.
    pub view: Name,
    /// One of its features; none: all of them, in the order of the definition.
    pub feature: Option<Name>,
    /// What the view is called in the answer.
    pub alias: Option<Name>,
    /// Which column of the request a join key is found in; of its own name, where it is not here.
    pub join_keys: BTreeMap<Name, Name>,
}

impl fmt::Display for FeatureReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view.fmt(f)?;
        if let Some(feature) = &self.feature {
            write!(f, ".{feature}")?;
        }
        if let Some(alias) = &self.alias {
            write!(f, " as {alias}")?;
        }
        self.join_keys.iter().try_for_each(|(key, column)| write!(f, " by {key}={column}"))
    }
}

impl FromStr for FeatureReference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        read(text).map_err(|wrong| {
            Error::invalid_argument(format!(
                "`{text}` is not a feature reference, which is `view.feature` or `view`, with `as alias` and `by key=column` \
                 behind it where that is wanted: {wrong}"
            ))
        })
    }
}

fn read(text: &str) -> Result<FeatureReference, String> {
    let name = |text: &str| Name::new(text).map_err(|error| error.to_string());
    let mut words = text.split_whitespace();
    let (view, feature) = match words.next().unwrap_or_default().split_once('.') {
        Some((view, feature)) => (name(view)?, Some(name(feature)?)),
        None => (name(text.split_whitespace().next().unwrap_or_default())?, None),
    };
    let mut reference = FeatureReference { view, feature, alias: None, join_keys: BTreeMap::new() };
    while let Some(word) = words.next() {
        let next = words.next().ok_or_else(|| format!("nothing follows `{word}`"))?;
        match word {
            "as" if reference.alias.is_none() => reference.alias = Some(name(next)?),
            "as" => return Err("it has two aliases".to_owned()),
            "by" => {
                let (key, column) = next.split_once('=').ok_or_else(|| format!("`{next}` is not key=column"))?;
                if reference.join_keys.insert(name(key)?, name(column)?).is_some() {
                    return Err(format!("{key} is in two columns"));
                }
            }
            other => return Err(format!("`{other}` is neither `as` nor `by`")),
        }
    }
    Ok(reference)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_back_as_written_and_otherwise_refused() {
        for text in [
            "customer_features.age",
            "customer_features",
            "profile as payer",
            "profile.age as payer by customer_id=payer_id",
            "visits by customer_id=payer_id by merchant_id=shop",
        ] {
            assert_eq!(text.parse::<FeatureReference>().unwrap().to_string(), text);
        }
        let wrong =
            ["", ".", "a.", ".b", "a.b.c", "a:b", "a as", "a as b as c", "a by", "a by k", "a by k=1 ", "a of b"];
        for text in wrong.into_iter().chain(["a by k=x by k=y", "a as b.c"]) {
            let error = text.parse::<FeatureReference>().unwrap_err();
            assert!(error.message().contains("not a feature reference"), "{error}");
        }
    }
}
