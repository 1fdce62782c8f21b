//! Functions on text. Positions and lengths count characters (Unicode code points), from 1.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, StringArray};
use regex::Regex;

use super::{rows::Row, to_array, to_arrays};
use crate::call::Kernel;

/// A function that can grow a text gives null beyond this, unless its argument was longer already.
pub(crate) const LONGEST: usize = 1 << 20;

/// `a || b`: null where either is.
pub(crate) fn join() -> Kernel {
    Arc::new(|arguments, rows| {
        let arrays = to_arrays(arguments, rows)?;
        let pairs = arrays[0].as_string::<i32>().iter().zip(arrays[1].as_string::<i32>().iter());
        Ok(Arc::new(pairs.map(|(left, right)| Some([left?, right?].concat())).collect::<StringArray>()))
    })
}

/// `concat(…)`: null counts as empty.
pub(crate) fn concat() -> Kernel {
    Arc::new(|arguments, rows| {
        let arrays = to_arrays(arguments, rows)?;
        let row = |row| -> String {
            let texts = arrays.iter().map(|array| array.as_string::<i32>());
            texts.map(|texts| if arrow::array::Array::is_null(texts, row) { "" } else { texts.value(row) }).collect()
        };
        Ok(Arc::new((0..rows).map(row).map(Some).collect::<StringArray>()))
    })
}

/// Whether `pattern` matches somewhere.
pub(crate) fn matches(pattern: Regex) -> Kernel {
    Arc::new(move |arguments, rows| {
        let array = to_array(&arguments[0], rows)?;
        let answers = array.as_string::<i32>().iter().map(|text| Some(pattern.is_match(text?)));
        Ok(Arc::new(answers.collect::<BooleanArray>()))
    })
}

pub(crate) fn length(text: &str) -> i64 {
    int(text.chars().count())
}

pub(crate) fn int(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Characters from position `start`, at most `length` of those at or after it; positions before 1 are empty.
pub(crate) fn substring(row: &Row<'_>) -> Option<String> {
    let (text, start) = (row.text(0)?, row.int(1)?);
    let end = if row.has(2) {
        let length = row.int(2)?;
        if length < 0 {
            return None;
        }
        start.saturating_add(length)
    } else {
        i64::MAX
    };
    let first = start.max(1);
    let skipped = usize::try_from(first - 1).unwrap_or(usize::MAX);
    let taken = usize::try_from(end.saturating_sub(first).max(0)).unwrap_or(usize::MAX);
    Some(text.chars().skip(skipped).take(taken).collect())
}

/// The first `count` characters; all but the last `-count` where it is negative.
pub(crate) fn left(text: &str, count: i64) -> String {
    text.chars().take(clip(text, count)).collect()
}

/// The last `count` characters; all but the first `-count` where it is negative.
pub(crate) fn right(text: &str, count: i64) -> String {
    let all = text.chars().count();
    text.chars().skip(all - clip(text, count)).collect()
}

fn clip(text: &str, count: i64) -> usize {
    let all = text.chars().count();
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    if count < 0 { all.saturating_sub(wanted) } else { wanted.min(all) }
}

/// Where `part` begins in `text`; 0 where it does not occur.
pub(crate) fn position(text: &str, part: &str) -> i64 {
    text.find(part).map_or(0, |at| length(&text[..at]) + 1)
}

/// `text` with every `from` replaced; null where that would be too long.
pub(crate) fn replace(text: &str, from: &str, to: &str) -> Option<String> {
    if from.is_empty() {
        return Some(text.to_owned());
    }
    let count = text.matches(from).count();
    let size = (text.len() - count * from.len()).saturating_add(count.saturating_mul(to.len()));
    (size <= LONGEST.max(text.len())).then(|| text.replace(from, to))
}

/// The part number `at` between `separator`s, from the end where it is negative; empty where there is none.
pub(crate) fn split_part(text: &str, separator: &str, at: i64) -> Option<String> {
    let skip = usize::try_from(at.unsigned_abs().checked_sub(1)?).unwrap_or(usize::MAX);
    let part = match (separator.is_empty(), at > 0) {
        (true, _) => (skip == 0).then_some(text),
        (false, true) => text.split(separator).nth(skip),
        (false, false) => text.rsplit(separator).nth(skip),
    };
    Some(part.unwrap_or_default().to_owned())
}

/// Whether `c` is one of those to be trimmed: of the optional second argument, else a space.
pub(crate) fn trimmed<'a>(row: &Row<'a>) -> Option<impl Fn(char) -> bool + Copy + use<'a>> {
    let set = if row.has(1) { row.text(1)? } else { " " };
    Some(move |c| set.contains(c))
}
