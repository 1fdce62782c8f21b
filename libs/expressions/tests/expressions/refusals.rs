//! Each refusal, with the whole of its message. `tests/refusals.txt` is written with `UPDATE_EXPECT=1`.

use expect_test::expect_file;
use larder_expressions::Expression;
use larder_types::{ErrorCode, ScalarType, ValueType};

use crate::sample::{input, sample};

const REFUSALS: &str = include_str!("../refusals.txt");

#[test]
fn each_refusal_says_what_was_wrong_and_what_would_be_right() {
    let mut inputs = sample().inputs;
    inputs.push(input(Some("other"), "x", ScalarType::Float64));
    inputs.push(input(None, "loan_amount", ScalarType::Float64));
    inputs.push(input(None, "i", ScalarType::Int32));
    let mut text = String::new();
    for line in REFUSALS.lines() {
        let Some((declared, sql)) = line.split_once(" | ") else {
            text += if line.starts_with('#') || line.is_empty() { line } else { continue };
            text += "\n";
            continue;
        };
        let declared: ValueType = declared.parse().unwrap();
        let error = match Expression::compile(sql, &inputs, declared) {
            Ok(_) => panic!("{sql} is not refused"),
            Err(error) => error,
        };
        assert_eq!(error.code(), ErrorCode::InvalidArgument, "{sql}: {error}");
        text += &format!("{line}\n    {}\n", error.message().replace('\n', "\n    "));
    }
    expect_file!["../refusals.txt"].assert_eq(&text);
}
