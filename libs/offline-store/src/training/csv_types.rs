//! The types of columns of CSV that nobody asks for by a type: what all values of a column are.

use std::{
    fs::File,
    io::{BufReader, Seek},
    sync::Arc,
};

use arrow::{
    array::AsArray,
    csv::{ReaderBuilder, reader::Format},
    datatypes::{DataType, Field, Schema},
    error::ArrowError,
};

/// The columns of a CSV file with a header. Each has the type of all its values: bool, int64, float64, date, timestamp or
/// else string; null where it has none. Digits behind a zero are text, such as a postal code: the number that is left
/// without the zero is something else. That is looked for unless the column is `typed`: then its type is known already.
///
/// # Errors
/// Where it is no CSV, or rows have different numbers of columns.
pub fn csv_types(mut file: &File, typed: impl Fn(&str) -> bool) -> Result<Schema, ArrowError> {
    file.rewind()?;
    let (found, _) = Format::default().with_header(true).infer_schema(BufReader::new(file), None)?;
    let is_number = |field: &Field| matches!(field.data_type(), DataType::Int64 | DataType::Float64);
    let columns = found.fields().iter().enumerate();
    let numbers = columns.filter(|(_, field)| is_number(field) && !typed(field.name())).map(|(at, _)| at).collect();
    let codes = codes(file, &found, numbers)?;
    let columns = found.fields().iter().enumerate();
    let column = |(at, field): (usize, &Arc<Field>)| match codes.contains(&at) {
        true => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8)),
        false => Arc::clone(field),
    };
    Ok(Schema::new(columns.map(column).collect::<Vec<_>>()))
}

/// Which of these columns have a value of digits behind a zero.
fn codes(mut file: &File, schema: &Schema, columns: Vec<usize>) -> Result<Vec<usize>, ArrowError> {
    let mut codes = Vec::new();
    if columns.is_empty() {
        return Ok(codes);
    }
    file.rewind()?;
    let text = |field: &Arc<Field>| Field::new(field.name(), DataType::Utf8, true);
    let texts = Schema::new(schema.fields().iter().map(text).collect::<Vec<_>>());
    let reader = ReaderBuilder::new(Arc::new(texts)).with_header(true).with_projection(columns.clone());
    for batch in reader.build_buffered(BufReader::new(file))? {
        let batch = batch?;
        for (at, values) in columns.iter().zip(batch.columns()) {
            if !codes.contains(at) && values.as_string::<i32>().iter().flatten().any(is_code) {
                codes.push(*at);
            }
        }
        if codes.len() == columns.len() {
            break;
        }
    }
    Ok(codes)
}

fn is_code(value: &str) -> bool {
    let digits = value.strip_prefix('-').unwrap_or(value).as_bytes();
    digits.len() > 1 && digits[0] == b'0' && digits[1].is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn digits_behind_a_zero_are_text_and_all_else_is_what_it_is() {
        let mut file = tempfile::tempfile().unwrap();
        let numbers = "1,7,0,0.5,-1,1e3,true,2026-01-31,,007\n".repeat(3_000);
        write!(
            file,
            "a,zip,zero,half,minus,great,is,day,none,key\n{numbers}2,01234,0,0.25,-01,00.5,false,2026-02-01,,1\n"
        )
        .unwrap();
        let found = csv_types(&file, |name| name == "key").unwrap();
        let types: Vec<_> = found.fields().iter().map(|field| (field.name().as_str(), field.data_type())).collect();
        let expected = [
            ("a", &DataType::Int64),
            ("zip", &DataType::Utf8),
            ("zero", &DataType::Int64),
            ("half", &DataType::Float64),
            ("minus", &DataType::Utf8),
            ("great", &DataType::Utf8),
            ("is", &DataType::Boolean),
            ("day", &DataType::Date32),
            ("none", &DataType::Null),
            ("key", &DataType::Int64),
        ];
        assert_eq!(types, expected);
    }
}
