//! `name=value` and `name=v1,v2` arguments.

use std::str::FromStr;

use larder_types::{Name, ScalarType, ValueType};

use super::{Cells, Column, Rows, cell::Cell};
use crate::failure::{Failure, Outcome};

/// A column with one or more values. `null` is null; `\,` is a comma within a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) name: Name,
    text: String,
}

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not name=value"))?;
        Ok(Self { name: Name::new(name).map_err(|error| error.to_string())?, text: value.to_owned() })
    }
}

impl Pair {
    /// Its values as cells of a column of that type: a list is one value, however many items it has.
    pub(crate) fn cells(&self, value_type: ValueType) -> Vec<Cell> {
        let parts = match value_type {
            ValueType::Scalar(_) => split(&self.text),
            ValueType::List(_) => vec![self.text.clone()],
        };
        parts.into_iter().map(|part| if part == "null" { Cell::Null } else { Cell::Plain(part) }).collect()
    }
}

/// Rows of such columns: as many as the longest has values; a column with one value has it in every row.
pub(crate) fn rows(columns: Vec<(&Pair, ValueType)>) -> Outcome<Rows> {
    let columns: Vec<(&Pair, Vec<Cell>)> =
        columns.into_iter().map(|(pair, value_type)| (pair, pair.cells(value_type))).collect();
    let len = columns.iter().map(|(_, cells)| cells.len()).max().unwrap_or(0);
    let mut made: Vec<Column> = Vec::new();
    for (pair, mut cells) in columns {
        if made.iter().any(|column| pair.name == *column.name.as_str()) {
            return Err(Failure::wrong(format!("{} is given twice: write {0}=v1,v2 for several values", pair.name)));
        }
        match cells.len() {
            given if given == len => {}
            1 => cells = vec![cells[0].clone(); len],
            given => {
                return Err(Failure::wrong(format!(
                    "{} has {given} values and another column has {len}: give as many, or one for all",
                    pair.name
                )));
            }
        }
        made.push(Column { name: pair.name.to_string(), cells: Cells::Untyped(cells) });
    }
    Ok(Rows { file: "arguments".to_owned(), first: 1, len, columns: made })
}

/// Text, whose commas part values.
pub(crate) const TEXT: ValueType = ValueType::Scalar(ScalarType::String);

fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, parts.last_mut()) {
            (',', _) => parts.push(String::new()),
            ('\\', Some(part)) if characters.peek() == Some(&',') => {
                part.push(',');
                characters.next();
            }
            (character, Some(part)) => part.push(character),
            (_, None) => {}
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(text: &str) -> Pair {
        text.parse().unwrap()
    }

    #[test]
    fn several_values_are_parted_by_commas() {
        let cells = |text: &str, value_type| -> Vec<String> {
            pair(text).cells(value_type).iter().map(ToString::to_string).collect()
        };
        assert_eq!(cells("a=1,2", TEXT), ["\"1\"", "\"2\""]);
        assert_eq!(cells(r"a=x\,y,null,", TEXT), ["\"x,y\"", "null", "\"\""]);
        assert_eq!(cells("a=b=c", TEXT), ["\"b=c\""]);
        assert_eq!(cells("a=[1,2]", ValueType::List(ScalarType::Int64)), ["\"[1,2]\""]);
        assert!("a".parse::<Pair>().is_err() && "9=1".parse::<Pair>().is_err());
    }

    #[test]
    fn one_value_is_for_every_row() {
        let (a, b, c) = (pair("a=1,2,3"), pair("b=x"), pair("c=1,2"));
        let made = rows(vec![(&a, TEXT), (&b, TEXT)]).unwrap();
        assert_eq!(made.len, 3);
        assert_eq!(made.typed("b", TEXT).unwrap().unwrap().len(), 3);
        assert!(
            rows(vec![(&a, TEXT), (&c, TEXT)])
                .unwrap_err()
                .to_string()
                .contains("c has 2 values and another column has 3")
        );
        assert!(rows(vec![(&a, TEXT), (&a, TEXT)]).unwrap_err().to_string().contains("a is given twice"));
    }
}
