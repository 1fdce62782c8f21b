//! Functions whose types or checks need more than a list of parameters.

use datafusion_common::ScalarValue;
use larder_types::{Error, ScalarType, ValueType};
use regex::RegexBuilder;

use super::{Planner, Slot, Typed};
use crate::{
    kernels::{arithmetic, list, rows::RowFunction, text, time},
    kind::Kind,
    parse::{At, refuse},
};

/// The most memory a compiled pattern may take.
const PATTERN_BYTES: usize = 1 << 20;

type Planned = Result<Typed, Error>;

pub(crate) fn request_time(planner: &mut Planner<'_>, _: Vec<Typed>, at: At) -> Planned {
    Ok(planner.read(Slot::RequestTime, at))
}

pub(crate) fn pi(_: &mut Planner<'_>, _: Vec<Typed>, at: At) -> Planned {
    Ok(Typed::literal(ScalarValue::Float64(Some(std::f64::consts::PI)), Kind::FLOAT64, at))
}

pub(crate) fn abs(planner: &mut Planner<'_>, arguments: Vec<Typed>, at: At) -> Planned {
    let kind = arguments[0].kind;
    match kind {
        Kind::Null => Ok(Typed::null(at)),
        kind @ Kind::Value(_) if kind.is_number() => {
            planner.apply("abs", arguments, kind, arithmetic::absolute(&kind.arrow()))
        }
        kind @ (Kind::Value(_) | Kind::Duration) => {
            Err(refuse(at, format!("argument 1 of `abs` must be a number, not {kind}")))
        }
    }
}

pub(crate) fn concat(planner: &mut Planner<'_>, arguments: Vec<Typed>, _: At) -> Planned {
    let arguments = planner.arguments("concat", arguments, std::iter::repeat(Kind::STRING))?;
    planner.apply("concat", arguments, Kind::STRING, text::concat())
}

pub(crate) fn regexp_like(planner: &mut Planner<'_>, mut arguments: Vec<Typed>, _: At) -> Planned {
    let pattern = arguments.remove(1);
    let Some(pattern_text) = pattern.literal_text() else {
        return Err(refuse(
            pattern.at,
            "the pattern of `regexp_like` must be a text literal, so that it is checked once",
        ));
    };
    let regex = RegexBuilder::new(pattern_text).size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES).build();
    let regex = regex.map_err(|error| refuse(pattern.at, format!("the pattern of `regexp_like`: {error}")))?;
    let arguments = planner.arguments("regexp_like", arguments, std::iter::once(Kind::STRING))?;
    planner.apply("regexp_like", arguments, Kind::BOOL, text::matches(regex))
}

pub(crate) fn date_part(planner: &mut Planner<'_>, mut arguments: Vec<Typed>, at: At) -> Planned {
    let value = arguments.remove(1);
    let part = one_of(&arguments[0], "date_part", &time::PARTS)?;
    match (value.kind, part) {
        (Kind::Duration, "epoch") => planner.apply("date_part", vec![value], Kind::FLOAT64, time::duration_seconds()),
        (Kind::Duration, _) => Err(refuse(at, "of a duration, `date_part` gives 'epoch' alone: its seconds")),
        _ => {
            let value = planner.expect(value, Kind::TIMESTAMP, "argument 2 of `date_part`")?;
            match time::part(part) {
                Some(kernel) => planner.apply("date_part", vec![value], Kind::INT64, kernel),
                None => planner.apply("date_part", vec![value], Kind::FLOAT64, time::epoch()),
            }
        }
    }
}

pub(crate) fn date_trunc(planner: &mut Planner<'_>, mut arguments: Vec<Typed>, at: At) -> Planned {
    let value = arguments.remove(1);
    let unit = one_of(&arguments[0], "date_trunc", &time::UNITS)?;
    let value = planner.expect(value, Kind::TIMESTAMP, "argument 2 of `date_trunc`")?;
    let kernel = time::truncate(unit).ok_or_else(|| refuse(at, "unknown unit"))?;
    planner.apply("date_trunc", vec![value], Kind::TIMESTAMP, kernel)
}

/// The word that a literal first argument is, of those that are `known`.
fn one_of(argument: &Typed, name: &str, known: &'static [&'static str]) -> Result<&'static str, Error> {
    let wanted = argument.literal_text().map(str::to_lowercase);
    known
        .iter()
        .copied()
        .find(|word| Some(*word) == wanted.as_deref())
        .ok_or_else(|| refuse(argument.at, format!("argument 1 of `{name}` must be one of '{}'", known.join("', '"))))
}

pub(crate) fn octet_length(planner: &mut Planner<'_>, arguments: Vec<Typed>, _: At) -> Planned {
    let bytes = Kind::scalar(ScalarType::Bytes);
    let kind = if arguments[0].kind == bytes { bytes } else { Kind::STRING };
    let function = if kind == bytes {
        RowFunction::Int(|row| Some(text::int(row.bytes(0)?.len())))
    } else {
        RowFunction::Int(|row| Some(text::int(row.text(0)?.len())))
    };
    let arguments = planner.arguments("octet_length", arguments, std::iter::once(kind))?;
    planner.apply("octet_length", arguments, Kind::INT64, function.kernel())
}

pub(crate) fn cardinality(planner: &mut Planner<'_>, arguments: Vec<Typed>, at: At) -> Planned {
    match items("cardinality", &arguments, at)? {
        None => Ok(Typed::literal(ScalarValue::Int64(None), Kind::INT64, at)),
        Some(_) => planner.apply("cardinality", arguments, Kind::INT64, list::cardinality()),
    }
}

pub(crate) fn array_element(planner: &mut Planner<'_>, mut arguments: Vec<Typed>, at: At) -> Planned {
    let Some(item) = items("array_element", &arguments, at)? else { return Ok(Typed::null(at)) };
    let position = arguments.remove(1);
    arguments.push(planner.expect(position, Kind::INT64, "argument 2 of `array_element`")?);
    planner.apply("array_element", arguments, item, list::element())
}

pub(crate) fn array_has(planner: &mut Planner<'_>, mut arguments: Vec<Typed>, at: At) -> Planned {
    let null = || Ok(Typed::literal(ScalarValue::Boolean(None), Kind::BOOL, at));
    let Some(item) = items("array_has", &arguments, at)? else { return null() };
    let value = arguments.remove(1);
    let value = if value.fits(item) { planner.convert(value, item)? } else { value };
    arguments.push(planner.expect(value, item, "argument 2 of `array_has`")?);
    planner.apply("array_has", arguments, Kind::BOOL, list::has())
}

pub(crate) fn array_min(planner: &mut Planner<'_>, arguments: Vec<Typed>, at: At) -> Planned {
    extreme("array_min", planner, arguments, at)
}

pub(crate) fn array_max(planner: &mut Planner<'_>, arguments: Vec<Typed>, at: At) -> Planned {
    extreme("array_max", planner, arguments, at)
}

fn extreme(name: &'static str, planner: &Planner<'_>, arguments: Vec<Typed>, at: At) -> Planned {
    let Some(item) = items(name, &arguments, at)? else { return Ok(Typed::null(at)) };
    planner.apply(name, arguments, item, list::extreme(name == "array_max"))
}

/// The type of the items of the first argument; none for the literal null.
fn items(name: &str, arguments: &[Typed], at: At) -> Result<Option<Kind>, Error> {
    match arguments[0].kind {
        Kind::Null => Ok(None),
        Kind::Value(ValueType::List(item)) => Ok(Some(Kind::scalar(item))),
        kind @ (Kind::Value(ValueType::Scalar(_)) | Kind::Duration) => {
            Err(refuse(at, format!("argument 1 of `{name}` must be a list, not {kind}")))
        }
    }
}
