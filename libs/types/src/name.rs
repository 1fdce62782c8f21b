//! Names of everything that users declare.

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The name of a project, entity, source, view, feature, service or column.
///
/// An ASCII letter or underscore, then letters, digits and underscores, at most 128 characters: it can stand unquoted in
/// SQL, in a file path, in a metric label and in `view.feature`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

/// Why a text is not a [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a name: a name is a letter or underscore, then letters, digits and underscores, at most {max} characters", max = Name::MAX_LENGTH)]
pub struct NameError(String);

impl Name {
    /// The most characters a name may have.
    pub const MAX_LENGTH: usize = 128;

    /// Checks `text`.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let mut bytes = text.bytes();
        let starts_well = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        let goes_on_well = bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if starts_well && goes_on_well && text.len() <= Self::MAX_LENGTH {
            Ok(Self(text.into()))
        } else {
            Err(NameError(text.chars().take(2 * Self::MAX_LENGTH).collect()))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl std::str::FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl TryFrom<&str> for Name {
    type Error = NameError;

    fn try_from(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl From<NameError> for crate::Error {
    fn from(error: NameError) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

/// The most bytes of what somebody may have misspelt: likeness takes the product of two lengths, and what is longer was
/// hardly meant to be a name.
const LONGEST_SLIP: usize = 2 * Name::MAX_LENGTH;

/// Which of `known` a person who wrote `wrong` may have meant, best first, at most three.
pub fn near_names<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    if wrong.len() > LONGEST_SLIP {
        return Vec::new();
    }
    let wrong = wrong.to_lowercase();
    let mut near: Vec<_> = known
        .into_iter()
        .filter(|name| name.len() <= LONGEST_SLIP)
        .map(|name| {
            let known = name.to_lowercase();
            let is_slip = wrong.len() >= 3 && strsim::osa_distance(&wrong, &known) == 1;
            let likeness = strsim::jaro_winkler(&wrong, &known);
            (if is_slip { likeness.max(0.9) } else { likeness }, name)
        })
        .filter(|(likeness, _)| *likeness >= 0.8)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    near.dedup_by(|a, b| a.1 == b.1);
    near.into_iter().take(3).map(|(_, name)| name).collect()
}

/// What a message ends with when something of `near` may have been meant: `; did you mean a, b?`, or nothing.
pub fn did_you_mean(near: &[&str]) -> String {
    if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_identifiers_and_nothing_else() {
        for good in ["a", "_", "customer_features", "A9", &"x".repeat(128)] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
        for bad in ["", "9a", "a-b", "a.b", "é", "a b", "a\n", &"x".repeat(129)] {
            assert!(Name::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn near_names_are_the_likely_ones_best_first() {
        let known = ["customer_features", "transaction_features", "real_time_features"];
        assert_eq!(near_names("custmer_features", known), ["customer_features"]);
        assert!(near_names("zzz", known).is_empty());
        assert_eq!(near_names("tll", ["ttl", "online"]), ["ttl"]);
        assert_eq!(near_names("aeg", ["income", "age"]), ["age"]);
        let long = "x".repeat(4 << 20);
        assert!(near_names(&long, [long.as_str(), "x"]).is_empty(), "and at once");
    }

    #[test]
    fn a_hint_lists_what_may_have_been_meant() {
        for (near, hint) in [(&[][..], ""), (&["a"], "; did you mean a?"), (&["a", "b"], "; did you mean a, b?")] {
            assert_eq!(did_you_mean(near), hint);
        }
    }
}
