//! The functions an expression may call: this list and no other. Each has golden results in `tests/golden`, and a line
//! in `docs/expressions.md`; tests hold both to it.

use crate::{
    kernels::{
        choose::Choice,
        rows::{Row, RowFunction},
        text,
    },
    kind::Kind,
    parse::At,
    plan::{Planner, Typed, special},
};
use larder_types::Error;

/// A function of the list.
pub(crate) struct Function {
    /// Its name, then others for the same.
    names: &'static [&'static str],
    /// How it is called.
    pub(crate) usage: &'static str,
    about: &'static str,
    pub(crate) body: Body,
}

/// How a function is typed and computed.
pub(crate) enum Body {
    /// float64 → float64
    Float(fn(f64) -> f64),
    /// float64, float64 → float64
    Float2(fn(f64, f64) -> f64),
    /// float64 → bool
    FloatTest(fn(f64) -> bool),
    /// Row by row; the last `optional` parameters may be left out.
    Rows { parameters: &'static [Kind], optional: usize, function: RowFunction },
    /// One of its arguments.
    Choice(Choice),
    /// Typed by code of its own; `arity` is the least and greatest number of arguments.
    Special { arity: (usize, usize), plan: fn(&mut Planner<'_>, Vec<Typed>, At) -> Result<Typed, Error> },
}

impl Function {
    /// Its first name.
    pub(crate) fn name(&self) -> &'static str {
        self.names[0]
    }

    /// The least and greatest number of arguments.
    pub(crate) fn arity(&self) -> (usize, usize) {
        match self.body {
            Body::Float(_) | Body::FloatTest(_) => (1, 1),
            Body::Float2(_) => (2, 2),
            Body::Rows { parameters, optional, .. } => (parameters.len() - optional, parameters.len()),
            Body::Choice(Choice::NullIf) => (2, 2),
            Body::Choice(Choice::Coalesce | Choice::Least | Choice::Greatest) => (1, usize::MAX),
            Body::Special { arity, .. } => arity,
        }
    }
}

/// What is said of a function in the documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunctionDoc {
    /// Its name, then others for the same.
    pub names: &'static [&'static str],
    /// How it is called.
    pub usage: &'static str,
    /// What it gives.
    pub about: &'static str,
}

/// Every function, in the order of the documentation.
pub fn functions() -> impl Iterator<Item = FunctionDoc> {
    FUNCTIONS.iter().map(|Function { names, usage, about, .. }| FunctionDoc { names, usage, about })
}

/// The function that `name`, in lower case, means.
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.names.contains(&name))
}

/// Every name of every function.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().flat_map(|function| function.names.iter().copied())
}

/// How the function of that name is called.
pub(crate) fn usage(name: &str) -> &'static str {
    find(name).map_or("", |function| function.usage)
}

fn round(row: &Row<'_>) -> Option<f64> {
    let x = row.float(0)?;
    let digits = if row.has(1) { row.int(1)? } else { 0 };
    // Powers of ten are exact up to 22.
    let factor = POWERS_OF_TEN.get(usize::try_from(digits.unsigned_abs()).ok()?)?;
    let rounded = if digits < 0 { (x / factor).round() * factor } else { (x * factor).round() / factor };
    // Too great to have digits there, or not finite anyway.
    Some(if digits > 0 && !(x * factor).is_finite() { x } else { rounded })
}

const POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

fn sign(x: f64) -> f64 {
    if x == 0.0 || x.is_nan() { x } else { x.signum() }
}

fn log(row: &Row<'_>) -> Option<f64> {
    let x = row.float(0)?;
    Some(if row.has(1) { row.float(1)?.ln() / x.ln() } else { x.log10() })
}

static FUNCTIONS: &[Function] = &[
    Function {
        names: &["coalesce", "nvl", "ifnull"],
        usage: "coalesce(x, …)",
        about: "the first argument that is not null",
        body: Body::Choice(Choice::Coalesce),
    },
    Function {
        names: &["nullif"],
        usage: "nullif(x, y)",
        about: "x, or null where x equals y",
        body: Body::Choice(Choice::NullIf),
    },
    Function {
        names: &["least"],
        usage: "least(x, …)",
        about: "the smallest argument that is not null",
        body: Body::Choice(Choice::Least),
    },
    Function {
        names: &["greatest"],
        usage: "greatest(x, …)",
        about: "the greatest argument that is not null",
        body: Body::Choice(Choice::Greatest),
    },
    Function {
        names: &["abs"],
        usage: "abs(x)",
        about: "the absolute value, of the type of x; null where it does not fit",
        body: Body::Special { arity: (1, 1), plan: special::abs },
    },
    Function {
        names: &["ceil", "ceiling"],
        usage: "ceil(x)",
        about: "the least whole number not below x, as float64",
        body: Body::Float(f64::ceil),
    },
    Function {
        names: &["floor"],
        usage: "floor(x)",
        about: "the greatest whole number not above x, as float64",
        body: Body::Float(f64::floor),
    },
    Function {
        names: &["round"],
        usage: "round(x [, digits])",
        about: "x rounded to that many digits after the point (0), halves away from zero; null for digits beyond -22 to 22",
        body: Body::Rows {
            parameters: &[Kind::FLOAT64, Kind::INT64],
            optional: 1,
            function: RowFunction::Float(round),
        },
    },
    Function {
        names: &["trunc"],
        usage: "trunc(x)",
        about: "x without its fraction, as float64",
        body: Body::Float(f64::trunc),
    },
    Function { names: &["sign", "signum"], usage: "sign(x)", about: "-1, 0 or 1, as float64", body: Body::Float(sign) },
    Function {
        names: &["sqrt"],
        usage: "sqrt(x)",
        about: "the square root; NaN below zero",
        body: Body::Float(f64::sqrt),
    },
    Function { names: &["cbrt"], usage: "cbrt(x)", about: "the cube root", body: Body::Float(f64::cbrt) },
    Function { names: &["exp"], usage: "exp(x)", about: "e to the power x", body: Body::Float(f64::exp) },
    Function {
        names: &["ln"],
        usage: "ln(x)",
        about: "the natural logarithm; NaN below zero, -inf of zero",
        body: Body::Float(f64::ln),
    },
    Function { names: &["log10"], usage: "log10(x)", about: "the logarithm to base 10", body: Body::Float(f64::log10) },
    Function { names: &["log2"], usage: "log2(x)", about: "the logarithm to base 2", body: Body::Float(f64::log2) },
    Function {
        names: &["log"],
        usage: "log([base,] x)",
        about: "the logarithm to base 10, or to the given base",
        body: Body::Rows {
            parameters: &[Kind::FLOAT64, Kind::FLOAT64],
            optional: 1,
            function: RowFunction::Float(log),
        },
    },
    Function {
        names: &["power", "pow"],
        usage: "power(x, y)",
        about: "x to the power y, as float64",
        body: Body::Float2(f64::powf),
    },
    Function { names: &["sin"], usage: "sin(x)", about: "the sine of x radians", body: Body::Float(f64::sin) },
    Function { names: &["cos"], usage: "cos(x)", about: "the cosine of x radians", body: Body::Float(f64::cos) },
    Function { names: &["tan"], usage: "tan(x)", about: "the tangent of x radians", body: Body::Float(f64::tan) },
    Function {
        names: &["asin"],
        usage: "asin(x)",
        about: "the angle whose sine is x; NaN beyond -1 to 1",
        body: Body::Float(f64::asin),
    },
    Function {
        names: &["acos"],
        usage: "acos(x)",
        about: "the angle whose cosine is x; NaN beyond -1 to 1",
        body: Body::Float(f64::acos),
    },
    Function {
        names: &["atan"],
        usage: "atan(x)",
        about: "the angle whose tangent is x",
        body: Body::Float(f64::atan),
    },
    Function {
        names: &["atan2"],
        usage: "atan2(y, x)",
        about: "the angle of the point (x, y)",
        body: Body::Float2(f64::atan2),
    },
    Function { names: &["sinh"], usage: "sinh(x)", about: "the hyperbolic sine", body: Body::Float(f64::sinh) },
    Function { names: &["cosh"], usage: "cosh(x)", about: "the hyperbolic cosine", body: Body::Float(f64::cosh) },
    Function { names: &["tanh"], usage: "tanh(x)", about: "the hyperbolic tangent", body: Body::Float(f64::tanh) },
    Function {
        names: &["degrees"],
        usage: "degrees(x)",
        about: "radians as degrees",
        body: Body::Float(f64::to_degrees),
    },
    Function {
        names: &["radians"],
        usage: "radians(x)",
        about: "degrees as radians",
        body: Body::Float(f64::to_radians),
    },
    Function {
        names: &["pi"],
        usage: "pi()",
        about: "3.141592653589793",
        body: Body::Special { arity: (0, 0), plan: special::pi },
    },
    Function {
        names: &["isnan"],
        usage: "isnan(x)",
        about: "whether x is not a number",
        body: Body::FloatTest(f64::is_nan),
    },
    Function {
        names: &["nanvl"],
        usage: "nanvl(x, y)",
        about: "x, or y where x is not a number",
        body: Body::Float2(|x, y| if x.is_nan() { y } else { x }),
    },
    Function {
        names: &["lower"],
        usage: "lower(s)",
        about: "in lower case, by Unicode, without a locale",
        body: Body::Rows {
            parameters: &[Kind::STRING],
            optional: 0,
            function: RowFunction::Text(|row| Some(row.text(0)?.to_lowercase())),
        },
    },
    Function {
        names: &["upper"],
        usage: "upper(s)",
        about: "in upper case, by Unicode, without a locale",
        body: Body::Rows {
            parameters: &[Kind::STRING],
            optional: 0,
            function: RowFunction::Text(|row| Some(row.text(0)?.to_uppercase())),
        },
    },
    Function {
        names: &["char_length", "character_length", "length"],
        usage: "char_length(s)",
        about: "how many characters",
        body: Body::Rows {
            parameters: &[Kind::STRING],
            optional: 0,
            function: RowFunction::Int(|row| Some(text::length(row.text(0)?))),
        },
    },
    Function {
        names: &["octet_length"],
        usage: "octet_length(s)",
        about: "how many bytes, of text or bytes",
        body: Body::Special { arity: (1, 1), plan: special::octet_length },
    },
    Function {
        names: &["btrim", "trim"],
        usage: "btrim(s [, characters])",
        about: "without those characters (a space) at both ends; also TRIM(BOTH c FROM s)",
        body: Body::Rows {
            parameters: &[Kind::STRING, Kind::STRING],
            optional: 1,
            function: RowFunction::Text(|row| Some(row.text(0)?.trim_matches(text::trimmed(row)?).to_owned())),
        },
    },
    Function {
        names: &["ltrim"],
        usage: "ltrim(s [, characters])",
        about: "without those characters (a space) at the start",
        body: Body::Rows {
            parameters: &[Kind::STRING, Kind::STRING],
            optional: 1,
            function: RowFunction::Text(|row| Some(row.text(0)?.trim_start_matches(text::trimmed(row)?).to_owned())),
        },
    },
    Function {
        names: &["rtrim"],
        usage: "rtrim(s [, characters])",
        about: "without those characters (a space) at the end",
        body: Body::Rows {
            parameters: &[Kind::STRING, Kind::STRING],
            optional: 1,
            function: RowFunction::Text(|row| Some(row.text(0)?.trim_end_matches(text::trimmed(row)?).to_owned())),
        },
    },
    Function {
        names: &["concat"],
        usage: "concat(s, …)",
        about: "all arguments joined; null counts as empty (`||` gives null instead)",
        body: Body::Special { arity: (1, usize::MAX), plan: special::concat },
    },
    Function {
        names: &["substr", "substring"],
        usage: "substr(s, from [, length])",
        about: "characters from a position; null for a negative length; also SUBSTRING(s FROM 2 FOR 3)",
        body: Body::Rows {
            parameters: &[Kind::STRING, Kind::INT64, Kind::INT64],
            optional: 1,
            function: RowFunction::Text(text::substring),
        },
    },
    Function {
        names: &["left"],
        usage: "left(s, n)",
        about: "the first n characters; all but the last -n where n is negative",
        body: Body::Rows {
            parameters: &[Kind::STRING, Kind::INT64],
            optional: 0,
            function: RowFunction::Text(|row| Some(text::left(row.text(0)?, row.int(1)?))),
        },
    },
    Function {
        names: &["right"],
        usage: "right(s, n)",
        about: "the last n characters; all but the first -n where n is negative",
        body: Body::Rows {
            parameters: &[Kind::STRING, Kind::INT64],
            optional: 0,
            function: RowFunction::Text(|row| Some(text::right(row.text(0)?, row.int(1)?))),
        },
    },
    Function {
        names: &["strpos", "instr"],
        usage: "strpos(s, part)",
        about: "the position of part in s, 0 where it is not; also POSITION(part IN s)",
        body: Body::Rows {
            parameters: &[Kind::STRING, Kind::STRING],
            optional: 0,
            function: RowFunction::Int(|row| Some(text::position(row.text(0)?, row.text(1)?))),
        },
    },
    Function {
        names: &["starts_with"],
        usage: "starts_with(s, part)",
        about: "whether s begins with part",
        body: Body::Rows {
            parameters: &[Kind::STRING, Kind::STRING],
            optional: 0,
            function: RowFunction::Bool(|row| Some(row.text(0)?.starts_with(row.text(1)?))),
        },
    },
    Function {
        names: &["ends_with"],
        usage: "ends_with(s, part)",
        about: "whether s ends with part",
        body: Body::Rows {
            parameters: &[Kind::STRING, Kind::STRING],
            optional: 0,
            function: RowFunction::Bool(|row| Some(row.text(0)?.ends_with(row.text(1)?))),
        },
    },
    Function {
        names: &["contains"],
        usage: "contains(s, part)",
        about: "whether part occurs in s",
        body: Body::Rows {
            parameters: &[Kind::STRING, Kind::STRING],
            optional: 0,
            function: RowFunction::Bool(|row| Some(row.text(0)?.contains(row.text(1)?))),
        },
    },
    Function {
        names: &["replace"],
        usage: "replace(s, from, to)",
        about: "s with every from replaced; null where that is over 1 MiB and longer than s",
        body: Body::Rows {
            parameters: &[Kind::STRING, Kind::STRING, Kind::STRING],
            optional: 0,
            function: RowFunction::Text(|row| text::replace(row.text(0)?, row.text(1)?, row.text(2)?)),
        },
    },
    Function {
        names: &["split_part"],
        usage: "split_part(s, separator, n)",
        about: "the n-th part, from the end where n is negative; empty where there is none, null for 0",
        body: Body::Rows {
            parameters: &[Kind::STRING, Kind::STRING, Kind::INT64],
            optional: 0,
            function: RowFunction::Text(|row| text::split_part(row.text(0)?, row.text(1)?, row.int(2)?)),
        },
    },
    Function {
        names: &["reverse"],
        usage: "reverse(s)",
        about: "the characters in reverse order",
        body: Body::Rows {
            parameters: &[Kind::STRING],
            optional: 0,
            function: RowFunction::Text(|row| Some(row.text(0)?.chars().rev().collect())),
        },
    },
    Function {
        names: &["regexp_like"],
        usage: "regexp_like(s, 'pattern')",
        about: "whether the pattern (of the Rust crate regex; a literal) matches somewhere in s",
        body: Body::Special { arity: (2, 2), plan: special::regexp_like },
    },
    Function {
        names: &["request_time"],
        usage: "request_time()",
        about: "the instant of the request at serving, the time of the spine row in training",
        body: Body::Special { arity: (0, 0), plan: special::request_time },
    },
    Function {
        names: &["date_part"],
        usage: "date_part('part', t)",
        about: "of an instant in UTC: 'year', 'quarter', 'month', 'week', 'day', 'hour', 'minute', 'second', 'dow' (Sunday is 0), 'isodow' (Monday is 1), 'doy', 'isoyear' as int64, 'epoch' (seconds) as float64; of a difference of timestamps: 'epoch'. Also EXTRACT(part FROM t)",
        body: Body::Special { arity: (2, 2), plan: special::date_part },
    },
    Function {
        names: &["date_trunc"],
        usage: "date_trunc('unit', t)",
        about: "t rounded down in UTC to 'year', 'quarter', 'month', 'week' (Monday), 'day', 'hour', 'minute' or 'second'",
        body: Body::Special { arity: (2, 2), plan: special::date_trunc },
    },
    Function {
        names: &["to_timestamp_seconds"],
        usage: "to_timestamp_seconds(n)",
        about: "the instant n seconds after 1970-01-01T00:00:00Z; null where it does not fit",
        body: Body::Rows {
            parameters: &[Kind::INT64],
            optional: 0,
            function: RowFunction::Time(|row| row.int(0)?.checked_mul(1_000_000)),
        },
    },
    Function {
        names: &["to_timestamp_millis"],
        usage: "to_timestamp_millis(n)",
        about: "the instant n milliseconds after 1970-01-01T00:00:00Z; null where it does not fit",
        body: Body::Rows {
            parameters: &[Kind::INT64],
            optional: 0,
            function: RowFunction::Time(|row| row.int(0)?.checked_mul(1_000)),
        },
    },
    Function {
        names: &["to_timestamp_micros"],
        usage: "to_timestamp_micros(n)",
        about: "the instant n microseconds after 1970-01-01T00:00:00Z",
        body: Body::Rows { parameters: &[Kind::INT64], optional: 0, function: RowFunction::Time(|row| row.int(0)) },
    },
    Function {
        names: &["to_micros"],
        usage: "to_micros(t)",
        about: "microseconds from 1970-01-01T00:00:00Z to t, as int64",
        body: Body::Rows { parameters: &[Kind::TIMESTAMP], optional: 0, function: RowFunction::Int(|row| row.time(0)) },
    },
    Function {
        names: &["cardinality", "array_length"],
        usage: "cardinality(list)",
        about: "how many items, null ones too",
        body: Body::Special { arity: (1, 1), plan: special::cardinality },
    },
    Function {
        names: &["array_element"],
        usage: "array_element(list, n)",
        about: "item number n, from the end where n is negative; null where there is none; also list[n]",
        body: Body::Special { arity: (2, 2), plan: special::array_element },
    },
    Function {
        names: &["array_has", "list_contains"],
        usage: "array_has(list, x)",
        about: "whether an item equals x; null where only a null item could",
        body: Body::Special { arity: (2, 2), plan: special::array_has },
    },
    Function {
        names: &["array_min"],
        usage: "array_min(list)",
        about: "the smallest item that is not null",
        body: Body::Special { arity: (1, 1), plan: special::array_min },
    },
    Function {
        names: &["array_max"],
        usage: "array_max(list)",
        about: "the greatest item that is not null",
        body: Body::Special { arity: (1, 1), plan: special::array_max },
    },
];
