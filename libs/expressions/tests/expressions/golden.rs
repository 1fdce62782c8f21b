//! Golden results of every operator and function over the rows of the sample.
//!
//! A line of `tests/golden/results.txt` is `type | expression | a result per row`; the last row is null throughout. Lines
//! are only added: a changed result is another feature under an old name. To add one, write `type | expression |` and run
//! the test with `UPDATE_EXPECT=1`.

use std::collections::BTreeMap;

use expect_test::expect_file;
use larder_expressions::{Expression, functions};

use crate::sample::{Sample, evaluate, sample, show};

const GOLDEN: &str = include_str!("../golden/results.txt");

fn cases() -> impl Iterator<Item = (&'static str, &'static str)> {
    GOLDEN.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(|line| {
        let (declared, rest) = line.split_once(" | ").unwrap();
        let sql = rest.rsplit_once(" |").unwrap().0;
        (declared, sql)
    })
}

fn compile(sample: &Sample, declared: &str, sql: &str) -> Expression {
    Expression::compile(sql, &sample.inputs, declared.parse().unwrap()).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

#[test]
fn results_are_those_of_the_file() {
    let sample = sample();
    let mut cases = cases();
    let results = GOLDEN.lines().map(|line| {
        if line.is_empty() || line.starts_with('#') {
            return format!("{line}\n");
        }
        let (declared, sql) = cases.next().unwrap();
        let expression = compile(&sample, declared, sql);
        let all: Vec<_> = (0..sample.rows).collect();
        let result = evaluate(&expression, &sample.columns, &all);
        let shown: Vec<_> = all.iter().map(|row| show(&result, *row)).collect();
        format!("{declared} | {sql} | {}\n", shown.join(", "))
    });
    expect_file!["../golden/results.txt"].assert_eq(&results.collect::<String>());
}

#[test]
fn a_row_alone_gives_the_same_as_in_any_batch() {
    let sample = sample();
    for (declared, sql) in cases() {
        let expression = compile(&sample, declared, sql);
        let alone: Vec<_> =
            (0..sample.rows).map(|row| show(&evaluate(&expression, &sample.columns, &[row]), 0)).collect();
        for batch in [&[0, 1, 2, 3][..], &[3, 2, 1, 0], &[1, 1, 1], &[2, 0], &[0, 3, 0, 3, 1, 2, 2, 2, 1]] {
            let together = evaluate(&expression, &sample.columns, batch);
            for (at, row) in batch.iter().enumerate() {
                assert_eq!(show(&together, at), alone[*row], "{sql}, row {row} in {batch:?}");
            }
        }
        assert_eq!(evaluate(&expression, &sample.columns, &[]).len(), 0, "{sql}");
    }
}

#[test]
fn every_function_has_golden_results() {
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, sql) in cases() {
        for name in functions().flat_map(|function| function.names) {
            let call = format!("{name}(");
            let calls = sql.match_indices(&call);
            *count.entry(name).or_default() +=
                calls.filter(|(at, _)| !sql[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_')).count();
        }
    }
    // Each case has four rows, one of them null throughout; a name without arguments has less to say.
    let missing: Vec<_> = count.iter().filter(|(_, count)| **count == 0).collect();
    assert!(missing.is_empty(), "without golden results: {missing:?}");
}
