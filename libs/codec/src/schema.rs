//! What a row's columns are: numbers and types. Names live in the view.

use larder_types::{ColumnNumber, Error, Result, SchemaNumber, ValueType};
use serde::{Deserialize, Serialize};

/// A column of a view, in rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SchemaColumn {
    /// Kept through renames, never given to another column.
    pub number: ColumnNumber,
    /// The type, the same in every schema of the view that has the column.
    pub value_type: ValueType,
}

/// A numbered list of columns. Every row names the schema it was written with.
///
/// The columns are in the order of their numbers, each number once: that is the order of a row's parts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct RowSchema {
    number: SchemaNumber,
    columns: Vec<SchemaColumn>,
}

impl RowSchema {
    /// A schema of `columns`, given in any order. INVALID_ARGUMENT where a column number comes twice.
    pub fn new(number: SchemaNumber, mut columns: Vec<SchemaColumn>) -> Result<Self> {
        columns.sort_by_key(|column| column.number);
        if let Some(pair) = columns.windows(2).find(|pair| pair[0].number == pair[1].number) {
            return Err(Error::invalid_argument(format!(
                "schema {number} has column {} twice: each column of a schema has a number of its own",
                pair[0].number
            )));
        }
        Ok(Self { number, columns })
    }

    /// The number that rows name.
    pub fn number(&self) -> SchemaNumber {
        self.number
    }

    /// The columns, in the order of their numbers.
    pub fn columns(&self) -> &[SchemaColumn] {
        &self.columns
    }

    /// Where in [`RowSchema::columns`] a column is, if it is there.
    pub fn position(&self, column: ColumnNumber) -> Option<usize> {
        self.columns.binary_search_by_key(&column, |column| column.number).ok()
    }
}

#[derive(Deserialize)]
struct Unchecked {
    number: SchemaNumber,
    columns: Vec<SchemaColumn>,
}

impl TryFrom<Unchecked> for RowSchema {
    type Error = Error;

    fn try_from(Unchecked { number, columns }: Unchecked) -> Result<Self> {
        Self::new(number, columns)
    }
}

#[cfg(test)]
mod tests {
    use larder_types::ScalarType;

    use super::*;

    fn column(number: u32) -> SchemaColumn {
        SchemaColumn { number: ColumnNumber(number), value_type: ScalarType::Int64.into() }
    }

    #[test]
    fn columns_are_kept_in_the_order_of_their_numbers() {
        let schema = RowSchema::new(SchemaNumber(1), vec![column(7), column(2)]).unwrap();
        assert_eq!(schema.columns(), [column(2), column(7)]);
        assert_eq!(schema.position(ColumnNumber(7)), Some(1));
        assert_eq!(schema.position(ColumnNumber(3)), None);
    }

    #[test]
    fn a_number_given_twice_is_refused_also_when_read() {
        let error = RowSchema::new(SchemaNumber(4), vec![column(7), column(7)]).unwrap_err();
        assert!(error.message().contains("schema 4 has column 7 twice"), "{error}");
        let text =
            serde_json::to_string(&RowSchema::new(SchemaNumber(4), vec![column(7), column(8)]).unwrap()).unwrap();
        assert!(serde_json::from_str::<RowSchema>(&text).is_ok());
        assert!(serde_json::from_str::<RowSchema>(&text.replace('8', "7")).is_err());
    }
}
