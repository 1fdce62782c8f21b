//! What every conversion shares: the [`Wire`] trait, and the [`Path`] that says where in a message something is wrong.

use std::{collections::BTreeMap, fmt, time::Duration};

use larder_types::{Error, ErrorCode, Name, Result};

/// A domain type that has a message.
///
/// `from_wire` checks everything: the message may come from anybody. Its errors name the field's path:
/// INVALID_ARGUMENT where something is missing or wrong, UNIMPLEMENTED where a kind, type or engine is of a later release.
pub trait Wire: Sized {
    /// The message that carries it.
    type Message;

    /// The message of it.
    fn to_wire(&self) -> Self::Message;

    /// What a message says. `at` is where the message was found.
    fn from_wire(message: Self::Message, at: &Path<'_>) -> Result<Self>;
}

/// Where in a message we are, e.g. `change.puts[3].features[0].type`. It costs nothing until an error is told.
#[derive(Debug, Clone, Copy)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Field(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    /// Of a request or answer itself; not shown.
    pub const ROOT: Path<'static> = Path { parent: None, step: Step::Field("") };

    /// A field of the message here.
    pub fn field(&'a self, name: &'a str) -> Path<'a> {
        Path { parent: Some(self), step: Step::Field(name) }
    }

    /// An item of the repeated field here.
    pub fn index(&'a self, position: usize) -> Path<'a> {
        Path { parent: Some(self), step: Step::Index(position) }
    }

    /// INVALID_ARGUMENT that names this place.
    pub fn invalid(&self, description: impl Into<String>) -> Error {
        Error::invalid_field(self.to_string(), description)
    }

    /// UNIMPLEMENTED that names this place: something of a later release.
    pub fn not_understood(&self, what: impl fmt::Display) -> Error {
        let description = format!("{what} is not known to this release");
        Error::unimplemented(format!("{self}: {description}")).with_violation(self.to_string(), description)
    }

    /// UNIMPLEMENTED that names this place, where one of `known` is to be: there is none, or one of a later release.
    pub fn none_known(&self, what: &str, known: &[&str]) -> Error {
        let known = known.join(", ");
        let description = format!("{what} is missing, or not known to this release, which knows {known}");
        Error::unimplemented(format!("{self}: {description}")).with_violation(self.to_string(), description)
    }

    /// The message of a field that must be there.
    pub fn required<T>(&self, name: &str, message: Option<T>) -> Result<T> {
        message.ok_or_else(|| self.field(name).invalid("is missing"))
    }

    /// A field that must be there.
    pub fn read<T: Wire>(&self, name: &str, message: Option<T::Message>) -> Result<T> {
        T::from_wire(self.required(name, message)?, &self.field(name))
    }

    /// A field that may be absent.
    pub fn read_optional<T: Wire>(&self, name: &str, message: Option<T::Message>) -> Result<Option<T>> {
        message.map(|message| T::from_wire(message, &self.field(name))).transpose()
    }

    /// All items of a repeated field; what is wrong with any of them is told at once.
    pub fn read_all<T: Wire>(&self, name: &str, messages: Vec<T::Message>) -> Result<Vec<T>> {
        let at = self.field(name);
        let items = messages.into_iter().enumerate();
        at.all(items.map(|(position, message)| T::from_wire(message, &at.index(position))))
    }

    /// What items became, or what is wrong with them. Nothing more is read once so much is wrong that nobody is told of more.
    fn all<T>(&self, items: impl Iterator<Item = Result<T>>) -> Result<Vec<T>> {
        let (mut read, mut wrong, mut violations) = (Vec::with_capacity(items.size_hint().0), Vec::new(), 0);
        for item in items {
            match item {
                Ok(item) => read.push(item),
                Err(error) if error.code() == ErrorCode::InvalidArgument => {
                    violations += error.violations().len();
                    wrong.push(error);
                }
                // Of a later release all of it may be right.
                Err(unknown) => return Err(unknown),
            }
            if violations >= MOST_TOLD {
                break;
            }
        }
        match wrong.len() {
            0 => Ok(read),
            1 => Err(wrong.swap_remove(0)),
            count => {
                let at_least = if violations >= MOST_TOLD { "at least " } else { "" };
                let message = format!("{at_least}{count} items of {self} are wrong, the first: {}", wrong[0].message());
                Err(Error::invalid_fields(message, wrong.iter().flat_map(Error::violations).cloned().collect()))
            }
        }
    }

    /// A field with a name.
    pub fn name(&self, name: &str, text: &str) -> Result<Name> {
        Name::new(text).map_err(|error| self.field(name).invalid(error.to_string()))
    }

    /// A field with a name, or empty.
    pub fn optional_name(&self, name: &str, text: &str) -> Result<Option<Name>> {
        if text.is_empty() { Ok(None) } else { self.name(name, text).map(Some) }
    }

    /// A repeated field of names.
    pub fn names(&self, name: &str, texts: &[String]) -> Result<Vec<Name>> {
        let at = self.field(name);
        let one = |(position, text): (usize, &String)| {
            Name::new(text).map_err(|error| at.index(position).invalid(error.to_string()))
        };
        at.all(texts.iter().enumerate().map(one))
    }

    /// A map from name to name.
    pub fn name_map(&self, name: &str, texts: &BTreeMap<String, String>) -> Result<BTreeMap<Name, Name>> {
        let at = self.field(name);
        texts.iter().map(|(key, value)| Ok((at.name(key, key)?, at.name(key, value)?))).collect()
    }

    /// A span of time that may be absent: not negative, in whole microseconds (finer ones are rounded down).
    pub fn span(&self, name: &str, span: Option<prost_types::Duration>) -> Result<Option<Duration>> {
        let Some(prost_types::Duration { seconds, nanos }) = span else { return Ok(None) };
        let wrong = || self.field(name).invalid("a span of time is not negative, and below 10,000 years");
        let seconds = u64::try_from(seconds).ok().filter(|seconds| *seconds <= MAX_SPAN_SECONDS).ok_or_else(wrong)?;
        let nanos = u32::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000).ok_or_else(wrong)?;
        Ok(Some(Duration::new(seconds, nanos / 1_000 * 1_000)))
    }

    /// A count or position as we keep it in memory.
    pub fn size(&self, name: &str, size: u64) -> Result<usize> {
        usize::try_from(size).map_err(|_| self.field(name).invalid(format!("{size} is too great")))
    }
}

/// Of so many things that are wrong is told: more than an answer has room for.
const MOST_TOLD: usize = 100;

/// What `google.protobuf.Duration` may say.
const MAX_SPAN_SECONDS: u64 = 315_576_000_000;

/// The message of a span of time; one too long for it is cut to the longest.
pub fn span_to_wire(span: Duration) -> prost_types::Duration {
    let seconds = span.as_secs().min(MAX_SPAN_SECONDS);
    prost_types::Duration {
        seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
        nanos: i32::try_from(span.subsec_nanos()).unwrap_or(0),
    }
}

/// The messages of many.
pub(crate) fn all_to_wire<'a, T: Wire + 'a>(items: impl IntoIterator<Item = &'a T>) -> Vec<T::Message> {
    items.into_iter().map(T::to_wire).collect()
}

/// Empty for none.
pub(crate) fn text<T: ToString>(value: Option<&T>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

/// None for empty.
pub(crate) fn optional_text(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(parent) = self.parent else { return Ok(()) };
        parent.fmt(f)?;
        match self.step {
            Step::Field(name) if parent.parent.is_none() => f.write_str(name),
            Step::Field(name) => write!(f, ".{name}"),
            Step::Index(position) => write!(f, "[{position}]"),
        }
    }
}

/// How many bytes a message takes on the wire.
pub fn encoded_len(message: &impl prost::Message) -> usize {
    message.encoded_len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_place() {
        let root = Path::ROOT;
        let change = root.field("change");
        let puts = change.field("puts");
        let error = puts.index(3).field("type").invalid("is missing");
        assert_eq!(error.message(), "change.puts[3].type: is missing");
        assert_eq!(error.violations()[0].field, "change.puts[3].type");
        let error = change.names("puts", &["a".to_owned(), "9".to_owned()]).unwrap_err();
        assert_eq!(error.violations()[0].field, "change.puts[1]");
        assert_eq!(change.not_understood("kind 7").code(), ErrorCode::Unimplemented);
    }

    #[test]
    fn every_wrong_item_is_told() {
        let names = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
            Path::ROOT.names("removes", &texts)
        };
        let error = names(&["a", "8", "b", "9", ""]).unwrap_err();
        assert!(
            error.message().starts_with("3 items of removes are wrong, the first: removes[1]: `8` is not a name"),
            "{error}"
        );
        let fields: Vec<_> = error.violations().iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["removes[1]", "removes[3]", "removes[4]"]);
        let error = names(&["9"; 5_000]).unwrap_err();
        assert!(error.message().starts_with("at least 100 items of removes are wrong"), "{error}");
        assert_eq!(error.violations().len(), 100);
        let nested = |_| Path::ROOT.all((0..5_000).map(|_| names(&["9"; 5_000])));
        let error = Path::ROOT.all((0..5_000).map(nested)).unwrap_err();
        assert_eq!(error.violations().len(), 100, "and at once");
    }

    #[test]
    fn spans_are_read_back_to_the_microsecond_and_negative_ones_refused() {
        let at = Path::ROOT;
        for span in [Duration::ZERO, Duration::from_micros(1_234_567), Duration::from_secs(31_536_000)] {
            assert_eq!(at.span("ttl", Some(span_to_wire(span))).unwrap(), Some(span));
        }
        assert_eq!(at.span("ttl", None).unwrap(), None);
        let cut = at.span("ttl", Some(prost_types::Duration { seconds: 0, nanos: 1_999 })).unwrap();
        assert_eq!(cut, Some(Duration::from_micros(1)));
        for (seconds, nanos) in [(-1, 0), (0, -1), (0, 1_000_000_000), (i64::MAX, 0), (i64::MIN, i32::MIN)] {
            let error = at.span("ttl", Some(prost_types::Duration { seconds, nanos })).unwrap_err();
            assert!(error.message().starts_with("ttl: "), "{error}");
        }
    }
}
