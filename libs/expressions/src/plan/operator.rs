//! Operators: what types they take and which kernel computes them.

use std::sync::Arc;

use datafusion_common::ScalarValue;
use datafusion_physical_expr::expressions::LikeExpr;
use datafusion_sql::sqlparser::ast::{self, BinaryOperator, Expr, UnaryOperator, Value};
use larder_types::{Error, ScalarType, ValueType};

use super::{Planner, Typed, internal, literal, scalar_type};
use crate::{
    call::fold,
    kernels::{
        arithmetic::{self, Operator, arithmetic},
        compare::{self, Comparison, compare},
        logic::{self, Test},
        text,
    },
    kind::Kind,
    parse::{At, refuse},
};

impl Planner<'_> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the parser's enum: an operator that is not named is refused")]
    pub(super) fn binary(&self, left: Typed, operator: &BinaryOperator, right: Typed) -> Result<Typed, Error> {
        match operator {
            BinaryOperator::Plus => self.arithmetic(left, Operator::Add, right),
            BinaryOperator::Minus => self.arithmetic(left, Operator::Subtract, right),
            BinaryOperator::Multiply => self.arithmetic(left, Operator::Multiply, right),
            BinaryOperator::Divide => self.arithmetic(left, Operator::Divide, right),
            BinaryOperator::Modulo => self.arithmetic(left, Operator::Remainder, right),
            BinaryOperator::Eq => self.compare(left, Comparison::Equal, right),
            BinaryOperator::NotEq => self.compare(left, Comparison::NotEqual, right),
            BinaryOperator::Lt => self.compare(left, Comparison::Less, right),
            BinaryOperator::LtEq => self.compare(left, Comparison::LessOrEqual, right),
            BinaryOperator::Gt => self.compare(left, Comparison::Greater, right),
            BinaryOperator::GtEq => self.compare(left, Comparison::GreaterOrEqual, right),
            BinaryOperator::And => self.logical("AND", logic::and(), left, right),
            BinaryOperator::Or => self.logical("OR", logic::or(), left, right),
            BinaryOperator::StringConcat => {
                let left = self.expect(left, Kind::STRING, "an operand of `||`")?;
                let right = self.expect(right, Kind::STRING, "an operand of `||`")?;
                self.apply("||", vec![left, right], Kind::STRING, text::join())
            }
            other => Err(refuse(
                left.at,
                format!("the operator `{other}` is not available; there are + - * / % || = <> < <= > >= AND OR NOT"),
            )),
        }
    }

    fn arithmetic(&self, left: Typed, operator: Operator, right: Typed) -> Result<Typed, Error> {
        let (symbol, at) = (operator.symbol(), left.at);
        let moves = matches!(operator, Operator::Add | Operator::Subtract);
        match (left.kind, right.kind) {
            (Kind::Null, Kind::Null) => Ok(Typed::null(at)),
            (a, b) if [a, b].iter().all(|kind| kind.is_number() || *kind == Kind::Null) => {
                let kind = a.meet(b).unwrap_or(Kind::FLOAT64);
                let operands = vec![self.convert(left, kind)?, self.convert(right, kind)?];
                self.apply(symbol, operands, kind, arithmetic(operator, &kind.arrow()))
            }
            (Kind::TIMESTAMP, Kind::TIMESTAMP) if operator == Operator::Subtract => {
                self.apply(symbol, vec![left, right], Kind::Duration, arithmetic::between_instants())
            }
            (Kind::TIMESTAMP, Kind::Duration) if moves => {
                self.apply(symbol, vec![left, right], Kind::TIMESTAMP, arithmetic::shift(operator))
            }
            (Kind::Duration, Kind::TIMESTAMP) if operator == Operator::Add => {
                self.apply(symbol, vec![right, left], Kind::TIMESTAMP, arithmetic::shift(operator))
            }
            (Kind::Duration, Kind::Duration) if moves => {
                self.apply(symbol, vec![left, right], Kind::Duration, arithmetic::durations(operator))
            }
            (a, b) => {
                Err(refuse(at, format!("`{symbol}` takes numbers, or timestamps and intervals, not {a} and {b}")))
            }
        }
    }

    fn compare(&self, left: Typed, comparison: Comparison, right: Typed) -> Result<Typed, Error> {
        let symbol = comparison.symbol();
        let (operands, kind) = self.comparable(vec![left, right], &format!("`{symbol}`"))?;
        match kind {
            Kind::Null => self.compare_nulls(comparison, &operands),
            Kind::Value(_) | Kind::Duration => self.apply(symbol, operands, Kind::BOOL, compare(comparison)),
        }
    }

    fn compare_nulls(&self, comparison: Comparison, operands: &[Typed]) -> Result<Typed, Error> {
        let answer = match comparison {
            Comparison::Distinct => Some(false),
            Comparison::NotDistinct => Some(true),
            Comparison::Equal
            | Comparison::NotEqual
            | Comparison::Less
            | Comparison::LessOrEqual
            | Comparison::Greater
            | Comparison::GreaterOrEqual => None,
        };
        Ok(Typed::literal(ScalarValue::Boolean(answer), Kind::BOOL, operands[0].at))
    }

    /// All as one type whose values have an order.
    pub(super) fn comparable(&self, values: Vec<Typed>, what: &str) -> Result<(Vec<Typed>, Kind), Error> {
        let at = values.first().map_or(At::NOWHERE, |value| value.at);
        let (values, kind) = self.unify(values, what)?;
        match kind {
            Kind::Value(ValueType::List(_)) => Err(refuse(at, format!("{what} compares single values, not {kind}"))),
            Kind::Value(ValueType::Scalar(_)) | Kind::Null | Kind::Duration => Ok((values, kind)),
        }
    }

    fn logical(&self, name: &'static str, kernel: crate::call::Kernel, a: Typed, b: Typed) -> Result<Typed, Error> {
        let a = self.expect(a, Kind::BOOL, format_args!("an operand of {name}"))?;
        let b = self.expect(b, Kind::BOOL, format_args!("an operand of {name}"))?;
        self.apply(name, vec![a, b], Kind::BOOL, kernel)
    }

    fn negated(&self, value: Typed, negated: bool) -> Result<Typed, Error> {
        if negated { self.apply("NOT", vec![value], Kind::BOOL, logic::not()) } else { Ok(value) }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the parser's enum: an operator that is not named is refused")]
    pub(super) fn unary(&mut self, operator: UnaryOperator, operand: &Expr) -> Result<Typed, Error> {
        match operator {
            UnaryOperator::Minus => self.minus(operand),
            UnaryOperator::Plus => {
                let value = self.plan(operand)?;
                if value.kind.is_number() {
                    Ok(value)
                } else {
                    Err(refuse(value.at, format!("`+` takes a number, not {}", value.kind)))
                }
            }
            UnaryOperator::Not => {
                let value = self.plan(operand)?;
                let value = self.expect(value, Kind::BOOL, "the operand of NOT")?;
                self.negated(value, true)
            }
            other => Err(Error::invalid_argument(format!("the operator `{other}` is not available"))),
        }
    }

    fn minus(&mut self, operand: &Expr) -> Result<Typed, Error> {
        if let Expr::Value(value) = operand
            && let Value::Number(text, _) = &value.value
        {
            // Together, so that the least int64 can be written.
            return literal::number(&format!("-{text}"), value.span.into());
        }
        let value = self.plan(operand)?;
        match value.kind {
            Kind::Null => Ok(value),
            kind @ (Kind::Value(_) | Kind::Duration) if kind.is_number() || kind == Kind::Duration => {
                self.apply("-", vec![value], kind, arithmetic::negate(&kind.arrow()))
            }
            kind @ (Kind::Value(_) | Kind::Duration) => {
                Err(refuse(value.at, format!("`-` takes a number, not {kind}")))
            }
        }
    }

    pub(super) fn test(&mut self, test: Test, operand: &Expr) -> Result<Typed, Error> {
        let value = self.plan(operand)?;
        let value = match test {
            Test::Null | Test::NotNull => value,
            Test::True | Test::NotTrue | Test::False | Test::NotFalse => {
                self.expect(value, Kind::BOOL, "the operand of IS TRUE or IS FALSE")?
            }
        };
        let kind = value.kind;
        match (test, kind) {
            (Test::Null, Kind::Null) => Ok(Typed::literal(ScalarValue::Boolean(Some(true)), Kind::BOOL, value.at)),
            (Test::NotNull, Kind::Null) => Ok(Typed::literal(ScalarValue::Boolean(Some(false)), Kind::BOOL, value.at)),
            _ => self.apply("IS", vec![value], Kind::BOOL, logic::test(test)),
        }
    }

    pub(super) fn distinct(&mut self, left: &Expr, right: &Expr, negated: bool) -> Result<Typed, Error> {
        let (left, right) = (self.plan(left)?, self.plan(right)?);
        self.compare(left, if negated { Comparison::NotDistinct } else { Comparison::Distinct }, right)
    }

    pub(super) fn between(&mut self, value: &Expr, low: &Expr, high: &Expr, negated: bool) -> Result<Typed, Error> {
        let operands = self.plan_all([value, low, high])?;
        let (operands, kind) = self.comparable(operands, "BETWEEN")?;
        let answer = match kind {
            Kind::Null => Typed::literal(ScalarValue::Boolean(None), Kind::BOOL, operands[0].at),
            Kind::Value(_) | Kind::Duration => self.apply("BETWEEN", operands, Kind::BOOL, compare::between())?,
        };
        self.negated(answer, negated)
    }

    pub(super) fn in_list(&mut self, value: &Expr, list: &[Expr], negated: bool) -> Result<Typed, Error> {
        let mut operands = vec![self.plan(value)?];
        operands.extend(self.plan_all(list)?);
        let (operands, kind) = self.comparable(operands, "IN")?;
        let at = operands[0].at;
        if kind == Kind::Null {
            return Ok(Typed::literal(ScalarValue::Boolean(None), Kind::BOOL, at));
        }
        let answer = self.apply("IN", operands, Kind::BOOL, compare::is_in())?;
        self.negated(answer, negated)
    }

    /// Floats as Arrow's total order sorts them as ours; other values as they are.
    pub(super) fn ordered(&self, value: Typed) -> Result<Typed, Error> {
        let kind = value.kind;
        if kind.is_float() { self.apply("order_key", vec![value], kind, compare::order_key()) } else { Ok(value) }
    }

    pub(super) fn like(&mut self, value: &Expr, pattern: &Expr, negated: bool, any_case: bool) -> Result<Typed, Error> {
        let value = self.plan(value)?;
        let value = self.expect(value, Kind::STRING, "what is compared by LIKE")?;
        let pattern = self.plan(pattern)?;
        if pattern.kind == Kind::Null {
            return Ok(Typed::literal(ScalarValue::Boolean(None), Kind::BOOL, value.at));
        }
        if pattern.literal_text().is_none() {
            return Err(refuse(pattern.at, "the pattern of LIKE must be a text literal, so that it is checked once"));
        }
        let like = |value| LikeExpr::new(negated, any_case, value, Arc::clone(&pattern.node));
        let sample = Typed::literal(ScalarValue::Utf8(Some("sample".to_owned())), Kind::STRING, value.at);
        fold(Arc::new(like(sample.node))).map_err(|error| refuse(pattern.at, error.strip_backtrace()))?;
        let node = fold(Arc::new(like(value.node))).map_err(internal)?;
        Ok(Typed::new(node, Kind::BOOL, value.at))
    }

    pub(super) fn cast_to(&mut self, value: &Expr, data_type: &ast::DataType) -> Result<Typed, Error> {
        let value = self.plan(value)?;
        let at = value.at;
        let target = scalar_type(data_type).ok_or_else(|| {
            let names = ScalarType::ALL.map(ScalarType::as_str).join(", ");
            refuse(at, format!("no cast to `{data_type}`: the types are {names}"))
        })?;
        let advice = match (value.kind.as_scalar(), target) {
            (Some(ScalarType::Int32 | ScalarType::Int64), ScalarType::Timestamp) => {
                ": of what unit? There are to_timestamp_seconds, to_timestamp_millis and to_timestamp_micros"
            }
            (Some(ScalarType::Timestamp), ScalarType::Int32 | ScalarType::Int64 | ScalarType::Float64) => {
                ": in what unit? There is date_part('epoch', …), in seconds"
            }
            _ => "",
        };
        self.convert(value, Kind::scalar(target)).map_err(|error| match advice {
            "" => error,
            advice => refuse(At::NOWHERE, format!("{error}{advice}")),
        })
    }
}
