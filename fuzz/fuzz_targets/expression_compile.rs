//! Any text compiles or is refused, quickly; what compiles gives a result for every row, the same alone as in a batch.
#![no_main]

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use larder_expressions::{Expression, Input, RequestTime};
use larder_types::{Name, ScalarType, Timestamp};
use libfuzzer_sys::fuzz_target;

fn columns() -> [(&'static str, ScalarType, ArrayRef); 3] {
    [
        ("n", ScalarType::Int64, Arc::new(Int64Array::from(vec![Some(0), Some(i64::MIN), Some(i64::MAX), None]))),
        ("x", ScalarType::Float64, Arc::new(Float64Array::from(vec![Some(-0.0), Some(f64::NAN), Some(1e308), None]))),
        ("s", ScalarType::String, Arc::new(StringArray::from(vec![Some(""), Some("ß1"), Some("2026-01-31"), None]))),
    ]
}

fuzz_target!(|sql: &str| {
    let columns = columns();
    let input =
        |name: &str, kind: ScalarType| Input { view: None, name: Name::new(name).unwrap(), value_type: kind.into() };
    let inputs = columns.each_ref().map(|(name, kind, _)| input(name, *kind));
    for declared in ScalarType::ALL {
        let Ok(expression) = Expression::compile(sql, &inputs, declared.into()) else { continue };
        let used: Vec<_> = expression.inputs_used().iter().map(|at| Arc::clone(&columns[*at].2)).collect();
        let at = RequestTime::One(Timestamp::from_micros(1));
        let together = expression.evaluate(&used, &at, 4).unwrap();
        for row in 0..4 {
            let alone: Vec<_> = used.iter().map(|column| column.slice(row, 1)).collect();
            let alone = expression.evaluate(&alone, &at, 1).unwrap();
            assert_eq!(format!("{alone:?}"), format!("{:?}", together.slice(row, 1)), "{sql}");
        }
    }
});
