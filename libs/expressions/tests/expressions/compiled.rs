//! What a compiled expression tells of itself, and that it survives being sent to another process.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, TimestampMicrosecondArray};
use arrow::datatypes::Float64Type;
use larder_expressions::{ENGINE_VERSION, Expression, ExpressionSpec, RequestTime};
use larder_types::{ErrorCode, ScalarType, Timestamp};

use crate::sample::{evaluate, input, sample, show};

fn scoring() -> Expression {
    let inputs = [
        input(Some("customer_features"), "income", ScalarType::Float64),
        input(Some("customer_features"), "debt_ratio", ScalarType::Float64),
        input(Some("real_time_features"), "login_attempts_24h", ScalarType::Int64),
        input(None, "loan_amount", ScalarType::Float64),
    ];
    let sql = "0.7 * debt_ratio + 0.3 * least(1.0, coalesce(login_attempts_24h, 0) / 10.0)";
    Expression::compile(sql, &inputs, ScalarType::Float64.into()).unwrap()
}

#[test]
fn it_names_the_inputs_it_reads_and_no_others() {
    let expression = scoring();
    assert_eq!(expression.inputs_used(), [1, 2]);
    assert_eq!(expression.value_type(), ScalarType::Float64.into());
    assert!(expression.sql().starts_with("0.7 * debt_ratio"));
}

#[test]
fn the_sample_definition_gives_what_it_says() {
    let expression = scoring();
    let debt_ratio: ArrayRef = Arc::new(Float64Array::from(vec![Some(0.5), Some(0.5), None]));
    let logins: ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![Some(4), None, Some(1)]));
    let at = RequestTime::One(Timestamp::from_micros(0));
    let result = expression.evaluate(&[debt_ratio, logins], &at, 3).unwrap();
    let expected = [Some(0.7 * 0.5 + 0.3 * 0.4), Some(0.7 * 0.5 + 0.3 * 0.0), None];
    assert_eq!(result.as_primitive::<Float64Type>().iter().collect::<Vec<_>>(), expected);
}

#[test]
fn the_request_time_is_one_for_all_or_one_per_row() {
    let inputs = [input(Some("v"), "t", ScalarType::Timestamp)];
    let sql = "date_part('epoch', request_time() - t)";
    let expression = Expression::compile(sql, &inputs, ScalarType::Float64.into()).unwrap();
    let instants = |micros: &[i64]| -> ArrayRef {
        let array = TimestampMicrosecondArray::from(micros.to_vec());
        Arc::new(array.with_data_type(ScalarType::Timestamp.arrow()))
    };
    let columns = [instants(&[1_000_000, 2_500_000])];
    let one = expression.evaluate(&columns, &RequestTime::One(Timestamp::from_micros(3_000_000)), 2).unwrap();
    assert_eq!(one.as_primitive::<Float64Type>().values(), &[2.0, 0.5]);
    let each = RequestTime::PerRow(instants(&[5_000_000, 2_000_000]));
    let each = expression.evaluate(&columns, &each, 2).unwrap();
    assert_eq!(each.as_primitive::<Float64Type>().values(), &[4.0, -0.5]);
}

#[test]
fn it_gives_the_same_bits_after_encoding_and_decoding() {
    let sample = sample();
    for sql in ["CASE WHEN b THEN y / x ELSE exp(x) END", "nanvl(y, -x) * n", "x - least(x, y)"] {
        let expression = Expression::compile(sql, &sample.inputs, ScalarType::Float64.into()).unwrap();
        let bytes = serde_json::to_vec(expression.spec()).unwrap();
        let decoded: ExpressionSpec = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(decoded, *expression.spec());
        let decoded = decoded.compile().unwrap();
        assert_eq!(decoded.inputs_used(), expression.inputs_used());
        let [before, after] = [expression, decoded].map(|e| evaluate(&e, &sample.columns, &[0, 1, 2, 3]));
        for row in 0..sample.rows {
            assert_eq!(show(&before, row), show(&after, row), "{sql}");
        }
    }
}

#[test]
fn the_encoded_form_is_kept() {
    expect_test::expect![[r#"{"sql":"0.7 * debt_ratio + 0.3 * least(1.0, coalesce(login_attempts_24h, 0) / 10.0)","inputs":[{"view":"customer_features","name":"income","value_type":"float64"},{"view":"customer_features","name":"debt_ratio","value_type":"float64"},{"view":"real_time_features","name":"login_attempts_24h","value_type":"int64"},{"view":null,"name":"loan_amount","value_type":"float64"}],"declared":"float64"}"#]]
    .assert_eq(&serde_json::to_string(scoring().spec()).unwrap());
    assert_eq!(ENGINE_VERSION, "sql-1/datafusion-55.2");
}

#[test]
fn columns_that_do_not_fit_are_an_error() {
    let expression = scoring();
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
    let at = RequestTime::One(Timestamp::from_micros(0));
    for columns in [vec![], vec![Arc::clone(&floats)], vec![Arc::clone(&floats), floats]] {
        let error = expression.evaluate(&columns, &at, 1).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Internal, "{error}");
    }
}
