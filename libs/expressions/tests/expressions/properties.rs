//! Random expressions on random rows with edge values: the result of a row is what a naive interpreter of that row says,
//! bit for bit, alone and in any batch.

use std::{cmp::Ordering, fmt::Write as _, rc::Rc, sync::Arc};

use arrow::array::{ArrayRef, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array};
use larder_expressions::{Expression, Input};
use larder_types::{ScalarType, ValueType};
use proptest::prelude::*;

use crate::sample::{evaluate, input, odd_nan, show};

const TYPES: [ScalarType; 5] =
    [ScalarType::Bool, ScalarType::Int32, ScalarType::Int64, ScalarType::Float32, ScalarType::Float64];
/// Columns of each type.
const COLUMNS: usize = 2;

#[derive(Debug, Clone, Copy)]
enum Value {
    Null,
    Bool(bool),
    Int32(i32),
    Int64(i64),
    Float32(f32),
    Float64(f64),
}

type Row = Vec<Value>;

/// A generated expression: its text, its type, and what it is for a row.
#[derive(Clone)]
struct Sample {
    sql: String,
    kind: ScalarType,
    value: Rc<dyn Fn(&Row) -> Value>,
}

/// A source of choices.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(n).unwrap()).unwrap()
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn value(&mut self, kind: ScalarType) -> Value {
        if self.below(6) == 0 {
            return Value::Null;
        }
        let int = self.one_of(&[
            0,
            1,
            -1,
            2,
            3,
            -7,
            10,
            46_341,
            i64::from(i32::MAX),
            i64::from(i32::MIN),
            1 << 53,
            i64::MAX,
            i64::MIN,
            i64::MIN + 1,
        ]);
        let float = self.one_of(&[
            0.0,
            -0.0,
            1.0,
            -1.5,
            0.1,
            2.5e9,
            1e19,
            -1e300,
            f64::MAX,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
            odd_nan(),
            5e-324,
        ]);
        match kind {
            ScalarType::Bool => Value::Bool(int % 2 == 0),
            ScalarType::Int32 => Value::Int32(i32::try_from(int).unwrap_or(if int < 0 { i32::MIN } else { i32::MAX })),
            ScalarType::Int64 => Value::Int64(int),
            ScalarType::Float32 if float.is_nan() => Value::Float32(f32::from_bits(0xffc0_1234)),
            ScalarType::Float32 => Value::Float32(float as f32),
            _ => Value::Float64(float),
        }
    }
}

// What the documentation says, written once more and as plainly as it goes.

fn float(value: Value) -> f64 {
    match value {
        Value::Int32(x) => f64::from(x),
        Value::Int64(x) => x as f64,
        Value::Float32(x) => f64::from(x),
        Value::Float64(x) => x,
        other => panic!("{other:?} is not a number"),
    }
}

fn int(value: Value) -> i64 {
    match value {
        Value::Int32(x) => x.into(),
        Value::Int64(x) => x,
        other => panic!("{other:?} is not an integer"),
    }
}

fn meet(a: ScalarType, b: ScalarType) -> ScalarType {
    let integer = |kind| matches!(kind, ScalarType::Int32 | ScalarType::Int64);
    match (a, b) {
        (a, b) if a == b => a,
        (a, b) if integer(a) && integer(b) => ScalarType::Int64,
        _ => ScalarType::Float64,
    }
}

fn convert(value: Value, kind: ScalarType) -> Value {
    match (value, kind) {
        (Value::Null, _) => Value::Null,
        (value @ Value::Bool(_), ScalarType::Bool)
        | (value @ Value::Int32(_), ScalarType::Int32)
        | (value @ Value::Int64(_), ScalarType::Int64)
        | (value @ Value::Float32(_), ScalarType::Float32)
        | (value @ Value::Float64(_), ScalarType::Float64) => value,
        (Value::Bool(b), kind) => convert(Value::Int64(b.into()), kind),
        (value, ScalarType::Bool) => Value::Bool(int(value) != 0),
        (Value::Int64(x), ScalarType::Float32) => Value::Float32(x as f32),
        (Value::Int32(x), ScalarType::Float32) => Value::Float32(x as f32),
        (value, ScalarType::Float32) => Value::Float32(float(value) as f32),
        (value, ScalarType::Float64) => Value::Float64(float(value)),
        (Value::Int32(x), ScalarType::Int64) => Value::Int64(x.into()),
        (Value::Int64(x), ScalarType::Int32) => i32::try_from(x).map_or(Value::Null, Value::Int32),
        (value, kind) => {
            let whole = float(value).trunc();
            let (least, beyond) = if kind == ScalarType::Int32 {
                (-2_147_483_648.0, 2_147_483_648.0)
            } else {
                (-(2f64.powi(63)), 2f64.powi(63))
            };
            if !(whole >= least && whole < beyond) {
                Value::Null
            } else if kind == ScalarType::Int32 {
                Value::Int32(whole as i32)
            } else {
                Value::Int64(whole as i64)
            }
        }
    }
}

fn arithmetic(operator: &str, a: Value, b: Value) -> Value {
    let whole = |a: i128, b: i128| match operator {
        "+" => Some(a + b),
        "-" => Some(a - b),
        "*" => Some(a * b),
        "/" => a.checked_div(b),
        _ => a.checked_rem(b),
    };
    let real = |a: f64, b: f64| match operator {
        "+" => a + b,
        "-" => a - b,
        "*" => a * b,
        "/" => a / b,
        _ => a % b,
    };
    match (a, b) {
        (Value::Null, _) | (_, Value::Null) => Value::Null,
        (Value::Int32(a), Value::Int32(b)) => {
            whole(a.into(), b.into()).and_then(|x| i32::try_from(x).ok()).map_or(Value::Null, Value::Int32)
        }
        (Value::Int64(a), Value::Int64(b)) => {
            whole(a.into(), b.into()).and_then(|x| i64::try_from(x).ok()).map_or(Value::Null, Value::Int64)
        }
        (Value::Float32(a), Value::Float32(b)) => {
            let x = match operator {
                "+" => a + b,
                "-" => a - b,
                "*" => a * b,
                "/" => a / b,
                _ => a % b,
            };
            Value::Float32(if x.is_nan() { f32::NAN } else { x })
        }
        (a, b) => {
            let x = real(float(a), float(b));
            Value::Float64(if x.is_nan() { f64::NAN } else { x })
        }
    }
}

/// The one order; both are of one type and not null.
fn order(a: Value, b: Value) -> Ordering {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(&b),
        (Value::Float32(_) | Value::Float64(_), _) => {
            let (a, b) = (float(a), float(b));
            match (a.is_nan(), b.is_nan()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => a.partial_cmp(&b).unwrap(),
            }
        }
        (a, b) => int(a).cmp(&int(b)),
    }
}

fn is_null(value: Value) -> bool {
    matches!(value, Value::Null)
}

fn truth(value: Value) -> Option<bool> {
    match value {
        Value::Bool(b) => Some(b),
        _ => None,
    }
}

fn boolean(value: Option<bool>) -> Value {
    value.map_or(Value::Null, Value::Bool)
}

fn compare(operator: &str, a: Value, b: Value) -> Option<bool> {
    if is_null(a) || is_null(b) {
        return match operator {
            "IS DISTINCT FROM" => Some(is_null(a) != is_null(b)),
            "IS NOT DISTINCT FROM" => Some(is_null(a) == is_null(b)),
            _ => None,
        };
    }
    let order = order(a, b);
    Some(match operator {
        "=" | "IS NOT DISTINCT FROM" => order.is_eq(),
        "<>" | "IS DISTINCT FROM" => order.is_ne(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        _ => order.is_ge(),
    })
}

fn and(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

// The generator.

fn sample(sql: String, kind: ScalarType, value: impl Fn(&Row) -> Value + 'static) -> Sample {
    Sample { sql, kind, value: Rc::new(value) }
}

fn column_of(kind: ScalarType, at: usize) -> usize {
    TYPES.iter().position(|other| *other == kind).unwrap() * COLUMNS + at
}

fn leaf(dice: &mut Dice, kind: ScalarType) -> Sample {
    if dice.below(4) > 0 {
        let column = column_of(kind, dice.below(COLUMNS));
        return sample(format!("c{column}"), kind, move |row| row[column]);
    }
    let value = dice.value(kind);
    let text = match value {
        Value::Null => "NULL".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Int32(x) => x.to_string(),
        Value::Int64(x) => x.to_string(),
        Value::Float32(x) if x.is_finite() => format!("{:e}", f64::from(x)),
        Value::Float64(x) if x.is_finite() => format!("{x:e}"),
        Value::Float32(_) | Value::Float64(_) => return leaf(dice, kind),
    };
    sample(format!("CAST({text} AS {kind})"), kind, move |_| value)
}

fn number(dice: &mut Dice) -> ScalarType {
    dice.one_of(&TYPES[1..])
}

/// An expression of `kind`.
fn generate(dice: &mut Dice, kind: ScalarType, depth: usize) -> Sample {
    if depth == 0 {
        return leaf(dice, kind);
    }
    match (kind, dice.below(7)) {
        (_, 0) => leaf(dice, kind),
        (_, 1) => case(dice, kind, depth - 1),
        (_, 2) => choice(dice, kind, depth - 1),
        (_, 3) => cast(dice, kind, depth - 1),
        (ScalarType::Bool, 4) => comparison(dice, depth - 1),
        (ScalarType::Bool, 5) => membership(dice, depth - 1),
        (ScalarType::Bool, _) => logic(dice, depth - 1),
        (_, 4) => negation(dice, kind, depth - 1),
        (_, _) => operation(dice, kind, depth - 1),
    }
}

fn operation(dice: &mut Dice, kind: ScalarType, depth: usize) -> Sample {
    let operator = dice.one_of(&["+", "-", "*", "/", "%"]);
    let pairs: Vec<_> = TYPES[1..]
        .iter()
        .flat_map(|a| TYPES[1..].iter().map(move |b| (*a, *b)))
        .filter(|(a, b)| meet(*a, *b) == kind)
        .collect();
    let (a, b) = dice.one_of(&pairs);
    let (a, b) = (generate(dice, a, depth), generate(dice, b, depth));
    sample(format!("({} {operator} {})", a.sql, b.sql), kind, move |row| {
        arithmetic(operator, convert((a.value)(row), kind), convert((b.value)(row), kind))
    })
}

fn negation(dice: &mut Dice, kind: ScalarType, depth: usize) -> Sample {
    let a = generate(dice, kind, depth);
    let absolute = dice.below(2) == 0;
    sample(if absolute { format!("abs({})", a.sql) } else { format!("(- {})", a.sql) }, kind, move |row| {
        let value = (a.value)(row);
        let negative = match value {
            Value::Float32(x) => x.is_sign_negative(),
            Value::Float64(x) => x.is_sign_negative(),
            Value::Int32(x) => x < 0,
            Value::Int64(x) => x < 0,
            other => return other,
        };
        match value {
            Value::Float32(x) if x.is_nan() => Value::Float32(f32::NAN),
            Value::Float64(x) if x.is_nan() => Value::Float64(f64::NAN),
            value if absolute && !negative => value,
            Value::Float32(x) => Value::Float32(-x),
            Value::Float64(x) => Value::Float64(-x),
            value => arithmetic("-", convert(Value::Int32(0), kind), value),
        }
    })
}

fn case(dice: &mut Dice, kind: ScalarType, depth: usize) -> Sample {
    let (then, otherwise) = (generate(dice, kind, depth), generate(dice, kind, depth));
    let has_else = dice.below(2) == 0;
    let tail = if has_else { format!(" ELSE {}", otherwise.sql) } else { String::new() };
    let last = move |row: &Row| if has_else { (otherwise.value)(row) } else { Value::Null };
    if dice.below(2) == 0 {
        let when = generate(dice, ScalarType::Bool, depth);
        let sql = format!("CASE WHEN {} THEN {}{tail} END", when.sql, then.sql);
        return sample(sql, kind, move |row| match truth((when.value)(row)) {
            Some(true) => (then.value)(row),
            _ => last(row),
        });
    }
    let (a, b) = (number(dice), number(dice));
    let (a, b) = (generate(dice, a, depth), generate(dice, b, depth));
    let common = meet(a.kind, b.kind);
    let sql = format!("CASE {} WHEN {} THEN {}{tail} END", a.sql, b.sql, then.sql);
    sample(sql, kind, move |row| match compare("=", convert((a.value)(row), common), convert((b.value)(row), common)) {
        Some(true) => (then.value)(row),
        _ => last(row),
    })
}

fn choice(dice: &mut Dice, kind: ScalarType, depth: usize) -> Sample {
    let name = dice.one_of(&["coalesce", "least", "greatest", "nullif"]);
    let (a, b) = (generate(dice, kind, depth), generate(dice, kind, depth));
    sample(format!("{name}({}, {})", a.sql, b.sql), kind, move |row| {
        let (a, b) = ((a.value)(row), (b.value)(row));
        let keeps_first = match name {
            "nullif" => return if compare("=", a, b) == Some(true) { Value::Null } else { a },
            "coalesce" => !is_null(a),
            _ if is_null(a) || is_null(b) => !is_null(a),
            "least" => order(b, a).is_ge(),
            _ => order(b, a).is_le(),
        };
        if keeps_first { a } else { b }
    })
}

fn cast(dice: &mut Dice, kind: ScalarType, depth: usize) -> Sample {
    let from = match kind {
        ScalarType::Bool => dice.one_of(&TYPES[..3]),
        _ => dice.one_of(&TYPES),
    };
    let a = generate(dice, from, depth);
    sample(format!("CAST({} AS {kind})", a.sql), kind, move |row| convert((a.value)(row), kind))
}

fn comparison(dice: &mut Dice, depth: usize) -> Sample {
    let operator = dice.one_of(&["=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"]);
    let (a, b) = if dice.below(4) == 0 { (ScalarType::Bool, ScalarType::Bool) } else { (number(dice), number(dice)) };
    let common = meet(a, b);
    let (a, b) = (generate(dice, a, depth), generate(dice, b, depth));
    sample(format!("({} {operator} {})", a.sql, b.sql), ScalarType::Bool, move |row| {
        boolean(compare(operator, convert((a.value)(row), common), convert((b.value)(row), common)))
    })
}

fn membership(dice: &mut Dice, depth: usize) -> Sample {
    let kind = dice.one_of(&TYPES);
    let [a, b, c] = [(); 3].map(|()| generate(dice, kind, depth));
    let between = dice.below(2) == 0;
    let sql = if between {
        format!("({} BETWEEN {} AND {})", a.sql, b.sql, c.sql)
    } else {
        format!("({} IN ({}, {}))", a.sql, b.sql, c.sql)
    };
    sample(sql, ScalarType::Bool, move |row| {
        let [a, b, c] = [&a, &b, &c].map(|part| (part.value)(row));
        boolean(if between {
            and(compare(">=", a, b), compare("<=", a, c))
        } else {
            let not = |x: Option<bool>| x.map(|x| !x);
            not(and(not(compare("=", a, b)), not(compare("=", a, c))))
        })
    })
}

fn logic(dice: &mut Dice, depth: usize) -> Sample {
    let (a, b) = (generate(dice, ScalarType::Bool, depth), generate(dice, ScalarType::Bool, depth));
    let not = |x: Option<bool>| x.map(|x| !x);
    match dice.below(4) {
        0 => sample(format!("(NOT {})", a.sql), ScalarType::Bool, move |row| boolean(not(truth((a.value)(row))))),
        1 => sample(format!("({} IS NULL)", a.sql), ScalarType::Bool, move |row| Value::Bool(is_null((a.value)(row)))),
        2 => sample(format!("({} AND {})", a.sql, b.sql), ScalarType::Bool, move |row| {
            boolean(and(truth((a.value)(row)), truth((b.value)(row))))
        }),
        _ => sample(format!("({} OR {})", a.sql, b.sql), ScalarType::Bool, move |row| {
            boolean(not(and(not(truth((a.value)(row))), not(truth((b.value)(row))))))
        }),
    }
}

// The columns.

fn inputs() -> Vec<Input> {
    (0..TYPES.len() * COLUMNS).map(|at| input(None, &format!("c{at}"), TYPES[at / COLUMNS])).collect()
}

fn column(rows: &[Row], at: usize) -> ArrayRef {
    let values = rows.iter().map(|row| row[at]);
    match TYPES[at / COLUMNS] {
        ScalarType::Bool => Arc::new(values.map(truth).collect::<BooleanArray>()),
        ScalarType::Int32 => Arc::new(
            values
                .map(|v| match v {
                    Value::Int32(x) => Some(x),
                    _ => None,
                })
                .collect::<Int32Array>(),
        ),
        ScalarType::Int64 => Arc::new(
            values
                .map(|v| match v {
                    Value::Int64(x) => Some(x),
                    _ => None,
                })
                .collect::<Int64Array>(),
        ),
        ScalarType::Float32 => Arc::new(
            values
                .map(|v| match v {
                    Value::Float32(x) => Some(x),
                    _ => None,
                })
                .collect::<Float32Array>(),
        ),
        _ => Arc::new(
            values
                .map(|v| match v {
                    Value::Float64(x) => Some(x),
                    _ => None,
                })
                .collect::<Float64Array>(),
        ),
    }
}

fn shown(value: Value) -> String {
    let array: ArrayRef = match value {
        Value::Null => return "NULL".to_owned(),
        Value::Bool(x) => Arc::new(BooleanArray::from(vec![x])),
        Value::Int32(x) => Arc::new(Int32Array::from(vec![x])),
        Value::Int64(x) => Arc::new(Int64Array::from(vec![x])),
        Value::Float32(x) => Arc::new(Float32Array::from(vec![x])),
        Value::Float64(x) => Arc::new(Float64Array::from(vec![x])),
    };
    show(&array, 0)
}

fn check(seed: u64, depth: usize, count: usize) {
    let dice = &mut Dice(seed);
    let kind = dice.one_of(&TYPES);
    let generated = generate(dice, kind, depth);
    let inputs = inputs();
    let expression = match Expression::compile(&generated.sql, &inputs, ValueType::Scalar(kind)) {
        Ok(expression) => expression,
        Err(error) if error.message().contains("more than") || error.message().contains("bytes;") => return,
        Err(error) => panic!("{}: {error}", generated.sql),
    };
    let rows: Vec<Row> =
        (0..count).map(|_| (0..inputs.len()).map(|at| dice.value(TYPES[at / COLUMNS])).collect()).collect();
    let columns: Vec<_> = (0..inputs.len()).map(|at| column(&rows, at)).collect();
    let all: Vec<_> = (0..count).collect();
    let together = evaluate(&expression, &columns, &all);
    for row in all {
        let mut context = String::new();
        write!(context, "{} for {:?}", generated.sql, rows[row]).unwrap();
        let alone = evaluate(&expression, &columns, &[row]);
        assert_eq!(show(&together, row), show(&alone, 0), "in a batch and alone: {context}");
        assert_eq!(show(&alone, 0), shown((generated.value)(&rows[row])), "and by the oracle: {context}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_row_is_what_the_oracle_says_alone_and_in_any_batch(seed: u64, depth in 1_usize..5, count in 1_usize..24) {
        check(seed, depth, count);
    }
}

/// Found once: IN over a list of columns was false where only a null could have been equal.
#[test]
fn what_was_once_wrong_stays_right() {
    check(15_034_707_019_681_644_900, 4, 1);
}
