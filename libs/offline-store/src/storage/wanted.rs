//! What a location stands for below a folder, told by names alone.

use glob::{MatchOptions, Pattern};
use larder_types::{Error, Result};

/// `*` and `?` match within one name, and no leading dot.
const MATCHING: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// The files that are wanted of those below a folder.
#[derive(Debug)]
pub(super) enum Wanted {
    /// All with this extension, but for what is hidden.
    With { extension: String },
    /// Those that a glob matches.
    Matching {
        pattern: Pattern,
        /// The same by names; none: it cannot be parted.
        steps: Option<Vec<Step>>,
    },
}

/// What stands between two slashes of a glob.
#[derive(Debug)]
pub(super) enum Step {
    /// `**`: any number of folders, none of them with a leading dot.
    Folders,
    Name(Pattern),
}

impl Wanted {
    pub(super) fn with(extension: &str) -> Self {
        Self::With { extension: extension.to_owned() }
    }

    /// `location` is for messages.
    pub(super) fn matching(location: &str, pattern: &str) -> Result<Self> {
        let wrong = |error| Error::invalid_argument(format!("`{location}` is not a pattern of files: {error}"));
        let step = |name: &str| match name {
            "**" => Some(Step::Folders),
            name => Pattern::new(name).ok().map(Step::Name),
        };
        let steps: Option<Vec<Step>> = pattern.split('/').map(step).collect();
        // Any number of any number is any number: to try each way to part them would take for ever.
        let steps = steps.map(|mut steps| {
            steps.dedup_by(|a, b| matches!((a, b), (Step::Folders, Step::Folders)));
            steps
        });
        Ok(Self::Matching { pattern: Pattern::new(pattern).map_err(wrong)?, steps })
    }

    /// Whether a file is wanted that has these names below the folder: those of folders, and its own.
    pub(super) fn has(&self, names: &[String]) -> bool {
        match self {
            Self::With { extension } => {
                let own = names.last().and_then(|name| name.rsplit_once('.'));
                !is_hidden(names) && own.is_some_and(|(_, found)| found == extension)
            }
            Self::Matching { pattern, .. } => pattern.matches_with(&names.join("/"), MATCHING),
        }
    }

    /// Whether a file may be wanted that lies below a folder of these names.
    pub(super) fn leads_below(&self, names: &[String]) -> bool {
        match self {
            Self::With { .. } => !is_hidden(names),
            Self::Matching { steps, .. } => steps.as_ref().is_none_or(|steps| has_more(steps, names)),
        }
    }
}

fn is_hidden(names: &[String]) -> bool {
    names.iter().any(|name| name.starts_with(['.', '_']))
}

/// Whether these folders match the first steps, and some are left.
fn has_more(steps: &[Step], names: &[String]) -> bool {
    match (steps, names) {
        ([], _) => false,
        (_, []) => true,
        ([Step::Folders, rest @ ..], [name, below @ ..]) => {
            has_more(rest, names) || (!name.starts_with('.') && has_more(steps, below))
        }
        ([Step::Name(pattern), rest @ ..], [name, below @ ..]) => {
            pattern.matches_with(name, MATCHING) && has_more(rest, below)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &str) -> Vec<String> {
        path.split('/').map(str::to_owned).collect()
    }

    #[test]
    fn a_glob_leads_only_to_where_it_may_match() {
        for (pattern, path, expected) in [
            ("purch*.parquet", "sub", false),
            ("purch*.parquet", "purchases.parquet", false),
            ("*/x.parquet", "sub", true),
            ("*/x.parquet", ".sub", false),
            ("*/x.parquet", "sub/deep", false),
            ("a/*/x.parquet", "b", false),
            ("a[bc]/x.parquet", "ab", true),
            ("a[bc]/x.parquet", "ad", false),
            ("**/x.parquet", "sub/deep", true),
            ("**/x.parquet", "sub/.deep", false),
            ("a/**/b/*.parquet", "a/c", true),
            ("a/**/b/*.parquet", "c", false),
            ("a/**", "a/b/c", true),
            // A class with a slash, which matches none.
            ("[a/b].parquet", "sub", true),
        ] {
            let wanted = Wanted::matching(pattern, pattern).unwrap();
            assert_eq!(wanted.leads_below(&names(path)), expected, "{pattern} {path}");
        }
    }

    /// Were it not so, a file that is matched would not be found.
    #[test]
    fn whatever_is_matched_is_led_to() {
        let parts = ["a", "b", "*", "?", "**", "[ab]", "[!a]", ".a", "a*"];
        let paths = ["a", "b", "ab", ".a", "_a"];
        let three = |of: &[&str]| -> Vec<String> {
            let pairs = || of.iter().flat_map(|a| of.iter().map(move |b| format!("{a}/{b}")));
            let all = pairs().flat_map(|pair| of.iter().map(move |c| format!("{pair}/{c}")));
            pairs().chain(all).collect()
        };
        let mut matched = 0;
        for pattern in three(&parts) {
            let wanted = Wanted::matching(&pattern, &pattern).unwrap();
            for path in three(&paths) {
                let names = names(&path);
                if wanted.has(&names) {
                    matched += 1;
                    assert!((1..names.len()).all(|len| wanted.leads_below(&names[..len])), "{pattern} {path}");
                }
            }
        }
        assert!(matched > 1_000);
    }
}
