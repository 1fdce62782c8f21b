//! Size and depth: a text within the limit is compiled or refused, quickly and within a small stack.

use std::time::{Duration, Instant};

use larder_expressions::{Expression, MAX_BYTES, MAX_NODES};
use larder_types::ScalarType;

use crate::sample::{evaluate, sample};

/// Less than a thread of tokio has.
const STACK: usize = 1 << 20;

/// Compiles and evaluates on a small stack.
fn run(sql: String, declared: ScalarType) -> Result<usize, String> {
    let work = move || {
        let sample = sample();
        let expression = Expression::compile(&sql, &sample.inputs, declared.into()).map_err(|e| e.to_string())?;
        Ok(evaluate(&expression, &sample.columns, &[0, 1, 2, 3]).len())
    };
    std::thread::Builder::new().stack_size(STACK).spawn(work).unwrap().join().unwrap()
}

#[test]
fn long_chains_compile_quickly_and_run() {
    let chain = |operator: &str, count: usize| vec!["x"; count].join(operator);
    let compare = |operator: &str| vec!["x>y"; 125].join(operator);
    for (sql, declared) in [
        (chain("+", 250), ScalarType::Float64),
        (chain("-", 250), ScalarType::Float64),
        (chain("/", 250), ScalarType::Float64),
        (compare(" AND "), ScalarType::Bool),
        (compare(" OR "), ScalarType::Bool),
        (vec!["s"; 250].join("||"), ScalarType::String),
        (format!("coalesce({})", vec!["x"; 499].join(",")), ScalarType::Float64),
        (format!("x IN ({})", vec!["y"; 498].join(",")), ScalarType::Bool),
        (format!("CASE {} END", "WHEN b THEN x ".repeat(249)), ScalarType::Float64),
        (format!("CASE x {} END", "WHEN 1 THEN y ".repeat(249)), ScalarType::Float64),
    ] {
        let started = Instant::now();
        assert_eq!(run(sql.clone(), declared), Ok(4), "{sql}");
        assert!(started.elapsed() < Duration::from_secs(2), "{:?} for {sql}", started.elapsed());
    }
}

#[test]
fn nested_calls_are_computed_once_each() {
    let nested = |call: &str, depth: usize| (0..depth).fold("x".to_owned(), |inner, _| call.replace('_', &inner));
    for call in ["coalesce(_, y)", "(_ + 1)", "nullif(_, 3)", "CASE WHEN _ > 1 THEN 0.5 END", "least(_, y, 9)"] {
        let started = Instant::now();
        assert_eq!(run(nested(call, 20), ScalarType::Float64), Ok(4), "{call}");
        assert!(started.elapsed() < Duration::from_secs(2), "{:?} for {call}", started.elapsed());
    }
}

#[test]
fn too_much_is_refused_without_a_deep_stack() {
    let fill = |part: &str| part.repeat(MAX_BYTES / part.len() - 8);
    let too_many = format!("the expression has more than {MAX_NODES} columns, literals, operators and calls");
    let too_deep = "the expression is nested too deeply";
    // Beyond its depth the parser takes a keyword for a name, and complains of what follows.
    let any = "expression";
    for (sql, message) in [
        (format!("x{}", fill("+x")), &*too_many),
        (format!("x{}", fill("||s")), &too_many),
        (format!("{}x", fill("- ")), too_deep),
        (format!("{}b", fill("NOT ")), any),
        (format!("{}x", fill("(")), too_deep),
        (fill("abs("), too_deep),
        (fill("CASE WHEN "), any),
        (fill("INTERVAL "), "an interval is written"),
        (fill("x["), too_deep),
        (fill("CAST("), any),
        (format!("x{}", fill(" IS NULL")), too_deep),
        (format!("x{}", fill("::int")), too_deep),
        (format!("x{}", fill(" NOT IN (1)")), too_deep),
        (format!("x{}", fill(" AT TIME ZONE 'UTC'")), "AT TIME ZONE (times are UTC) is not available"),
        (format!("x{}", fill(" COLLATE c")), any),
        (format!("li{}", fill("[1]")), "argument 1 of `array_element` must be a list"),
        (format!("x IN (x{})", fill(",x")), &too_many),
        ("x".repeat(MAX_BYTES + 1), "the expression has 4097 bytes; it may have 4096"),
    ] {
        let start: String = sql.chars().take(20).collect();
        let started = Instant::now();
        let error = run(sql, ScalarType::Float64).unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(5), "{:?} for {start}", started.elapsed());
        assert!(error.contains(message), "{start}…: {error}");
    }
}

/// Where the parser goes back and tries again, it may not do so on every level.
#[test]
fn a_wrong_text_is_refused_quickly_however_it_is_nested() {
    for (open, close) in [
        ("CAST(", " AS nothing)"),
        ("CAST(", ""),
        ("position(", " IN s IN s)"),
        ("substring(", " FROM 1 FROM 1)"),
        ("trim(BOTH ", " FROM s FROM s)"),
        ("extract(day FROM ", " FROM t)"),
        ("ceil(", " TO day TO)"),
        ("abs(", " => 1)"),
        ("abs(1, ", ") )"),
        ("CASE WHEN ", " THEN 1 THEN 1 END"),
        ("x IN (", ",,)"),
        ("x IN ((", "))"),
        ("INTERVAL ", " DAY DAY"),
        ("NOT (", "))"),
        ("EXISTS (SELECT ", ")"),
        ("(SELECT ", ")"),
    ] {
        for depth in [10, 25, 45, 100] {
            let started = Instant::now();
            let sql = format!("{}x{}", open.repeat(depth), close.repeat(depth));
            assert!(run(sql, ScalarType::Float64).is_err(), "{open}…{close}");
            assert!(started.elapsed() < Duration::from_secs(5), "{:?} for {open}…{close}", started.elapsed());
        }
    }
}

#[test]
fn a_text_cannot_grow_without_bound() {
    let growing = (0..30).fold("s".to_owned(), |inner, _| format!("replace({inner}, 'l', 'llllllllll')"));
    assert_eq!(run(growing, ScalarType::String), Ok(4));
}
