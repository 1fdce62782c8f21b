//! How a request names a feature.

use std::{fmt, str::FromStr};

use crate::{Error, Name};

/// `view.feature`, or `view` for all features of the view.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FeatureReference {
    /// A feature view or on-demand feature view.
    pub view: Name,
    /// One of its features; none: all of them, in the order of the definition.
    pub feature: Option<Name>,
}

impl fmt::Display for FeatureReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.feature {
            Some(feature) => write!(f, "{}.{feature}", self.view),
            None => self.view.fmt(f),
        }
    }
}

impl FromStr for FeatureReference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |error: crate::NameError| {
            Error::invalid_argument(format!(
                "`{text}` is not a feature reference, which is `view.feature` or `view`: {error}"
            ))
        };
        let (view, feature) = match text.split_once('.') {
            Some((view, feature)) => (view, Some(feature)),
            None => (text, None),
        };
        Ok(Self { view: Name::new(view).map_err(wrong)?, feature: feature.map(Name::new).transpose().map_err(wrong)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_back_as_written_and_otherwise_refused() {
        for text in ["customer_features.age", "customer_features"] {
            assert_eq!(text.parse::<FeatureReference>().unwrap().to_string(), text);
        }
        for text in ["", ".", "a.", ".b", "a.b.c", "a:b"] {
            let error = text.parse::<FeatureReference>().unwrap_err();
            assert!(error.message().contains("not a feature reference"), "{error}");
        }
    }
}
