//! Syntax tree to physical expression: counts, finds names, settles types, chooses kernels.
//!
//! Only what is named here is an expression; everything else that the parser knows is refused. Recursion is bounded:
//! chains of operators are walked in a loop, the rest by [`MAX_DEPTH`].

mod case;
mod function;
mod literal;
mod operator;
pub(crate) mod special;

use std::{fmt, sync::Arc};

use datafusion_common::{DataFusionError, ScalarValue};
use datafusion_physical_expr::expressions::{Column, Literal};
use datafusion_sql::sqlparser::ast::{self, AccessExpr, Expr, Ident, Subscript};
use larder_types::{Error, ScalarType, ValueType};

use crate::{
    MAX_DEPTH, MAX_NODES,
    call::{self, Kernel, Node, literal_value},
    inputs::{Input, resolve, resolve_qualified},
    kernels::{cast::cast, logic::Test},
    kind::Kind,
    parse::{At, refuse, too_deep},
    refused,
};

/// A planned part: what computes it, its type, and where in the text it begins.
#[derive(Clone)]
pub(crate) struct Typed {
    pub(crate) node: Node,
    pub(crate) kind: Kind,
    pub(crate) at: At,
    /// A number written in the text: takes the type of what it meets where it fits that exactly.
    pub(crate) is_number_literal: bool,
}

impl Typed {
    pub(crate) fn new(node: Node, kind: Kind, at: At) -> Self {
        Self { node, kind, at, is_number_literal: false }
    }

    pub(crate) fn literal(value: ScalarValue, kind: Kind, at: At) -> Self {
        Self::new(Arc::new(Literal::new(value)), kind, at)
    }

    pub(crate) fn null(at: At) -> Self {
        Self::literal(ScalarValue::Null, Kind::Null, at)
    }

    /// The text, where it is a literal one.
    pub(crate) fn literal_text(&self) -> Option<&str> {
        match literal_value(&self.node) {
            Some(ScalarValue::Utf8(Some(text))) => Some(text),
            _ => None,
        }
    }

    /// Whether it is a number of the text that `kind` holds exactly.
    fn fits(&self, kind: Kind) -> bool {
        let Some(scalar) = kind.as_scalar() else { return false };
        self.is_number_literal && literal_value(&self.node).is_some_and(|value| literal::fits(value, scalar))
    }
}

/// A column of the batches that the expression will be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// The input of that index.
    Input(usize),
    /// The instant of the request.
    RequestTime,
}

impl Slot {
    pub(crate) fn input(&self) -> Option<usize> {
        match self {
            Self::Input(index) => Some(*index),
            Self::RequestTime => None,
        }
    }

    fn kind(self, inputs: &[Input]) -> Kind {
        match self {
            Self::Input(index) => Kind::Value(inputs[index].value_type),
            Self::RequestTime => Kind::TIMESTAMP,
        }
    }
}

/// Plans one expression over `inputs`.
pub(crate) struct Planner<'a> {
    inputs: &'a [Input],
    slots: Vec<Slot>,
    nodes: usize,
    depth: usize,
}

impl<'a> Planner<'a> {
    pub(crate) fn new(inputs: &'a [Input]) -> Self {
        Self { inputs, slots: Vec::new(), nodes: 0, depth: 0 }
    }

    /// Plans the whole; its result has the type `declared`.
    pub(crate) fn plan_root(&mut self, tree: &Expr, declared: ValueType) -> Result<Node, Error> {
        let root = self.plan(tree)?;
        let target = Kind::Value(declared);
        if !root.kind.widens_to(declared) && !root.fits(target) {
            return Err(Error::invalid_argument(wrong_type(&root, declared)));
        }
        Ok(self.convert(root, target)?.node)
    }

    /// The columns it reads, in the order in which they were met.
    pub(crate) fn into_slots(self) -> Vec<Slot> {
        self.slots
    }

    /// Plans a part, walking down the left side of a chain of operators in a loop.
    pub(crate) fn plan(&mut self, tree: &Expr) -> Result<Typed, Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(too_deep());
        }
        let mut chain = Vec::new();
        let mut first = tree;
        while let Expr::BinaryOp { left, op, right } = first {
            self.count()?;
            chain.push((op, right));
            first = left;
        }
        let mut planned = self.plan_one(first)?;
        for (operator, right) in chain.into_iter().rev() {
            let right = self.plan(right)?;
            planned = self.binary(planned, operator, right)?;
        }
        self.depth -= 1;
        Ok(planned)
    }

    fn plan_all<'t>(&mut self, trees: impl IntoIterator<Item = &'t Expr>) -> Result<Vec<Typed>, Error> {
        trees.into_iter().map(|tree| self.plan(tree)).collect()
    }

    fn count(&mut self) -> Result<(), Error> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(Error::invalid_argument(format!(
                "the expression has more than {MAX_NODES} columns, literals, operators and calls: move parts of it into features of their own"
            )));
        }
        Ok(())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "what the parser knows and is not named here is refused")]
    fn plan_one(&mut self, tree: &Expr) -> Result<Typed, Error> {
        if let Expr::Nested(inner) = tree {
            return self.plan(inner);
        }
        self.count()?;
        match tree {
            Expr::Identifier(name) => self.column(name),
            Expr::CompoundIdentifier(names) => self.qualified_column(names),
            Expr::CompoundFieldAccess { root, access_chain } => self.access(root, access_chain),
            Expr::Value(value) => literal::value(value),
            Expr::TypedString(text) => literal::typed(text),
            Expr::Interval(interval) => literal::interval(interval),
            Expr::UnaryOp { op, expr } => self.unary(*op, expr),
            Expr::IsNull(inner) | Expr::IsUnknown(inner) => self.test(Test::Null, inner),
            Expr::IsNotNull(inner) | Expr::IsNotUnknown(inner) => self.test(Test::NotNull, inner),
            Expr::IsTrue(inner) => self.test(Test::True, inner),
            Expr::IsNotTrue(inner) => self.test(Test::NotTrue, inner),
            Expr::IsFalse(inner) => self.test(Test::False, inner),
            Expr::IsNotFalse(inner) => self.test(Test::NotFalse, inner),
            Expr::IsDistinctFrom(left, right) => self.distinct(left, right, false),
            Expr::IsNotDistinctFrom(left, right) => self.distinct(left, right, true),
            Expr::Between { expr, negated, low, high } => self.between(expr, low, high, *negated),
            Expr::InList { expr, list, negated } => self.in_list(expr, list, *negated),
            Expr::Like { negated, any: false, expr, pattern, escape_char: None } => {
                self.like(expr, pattern, *negated, false)
            }
            Expr::ILike { negated, any: false, expr, pattern, escape_char: None } => {
                self.like(expr, pattern, *negated, true)
            }
            Expr::Cast { expr, data_type, array: false, format: None, .. } => self.cast_to(expr, data_type),
            Expr::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref())
            }
            Expr::Function(call) => self.function(call),
            Expr::Extract { field, expr, .. } => self.extract(field, expr),
            Expr::Ceil { expr, field } => self.rounded("ceil", expr, field),
            Expr::Floor { expr, field } => self.rounded("floor", expr, field),
            Expr::Position { expr, r#in } => self.syntax("strpos", [&**r#in, &**expr]),
            Expr::Substring { expr, substring_from, substring_for, .. } => {
                self.substring(expr, substring_from.as_deref(), substring_for.as_deref())
            }
            Expr::Trim { trim_where, trim_what, expr, trim_characters } => {
                self.trim(trim_where.as_ref(), trim_what.as_deref(), expr, trim_characters.as_deref())
            }
            other => Err(Error::invalid_argument(unsupported(other))),
        }
    }

    fn column(&mut self, name: &Ident) -> Result<Typed, Error> {
        let at = name.span.into();
        let found = resolve(self.inputs, &name.value, at);
        match found {
            Ok(index) => Ok(self.read(Slot::Input(index), at)),
            Err(error) => match refused::reason(&name.value.to_lowercase()) {
                Some(reason) => Err(refuse(at, reason)),
                None => Err(error),
            },
        }
    }

    fn qualified_column(&mut self, names: &[Ident]) -> Result<Typed, Error> {
        let [view, name] = names else {
            let at = names.first().map_or(At::NOWHERE, |name| name.span.into());
            return Err(refuse(at, "a column is written `feature` or `view.feature`"));
        };
        let at = view.span.into();
        let index = resolve_qualified(self.inputs, &view.value, &name.value, at)?;
        Ok(self.read(Slot::Input(index), at))
    }

    /// `list[position]`, where the list may be `view.feature`.
    fn access(&mut self, root: &Expr, chain: &[AccessExpr]) -> Result<Typed, Error> {
        let (mut value, rest) = match (root, chain) {
            (Expr::Identifier(view), [AccessExpr::Dot(Expr::Identifier(name)), rest @ ..]) => {
                (self.qualified_column(&[view.clone(), name.clone()])?, rest)
            }
            _ => (self.plan(root)?, chain),
        };
        for access in rest {
            let AccessExpr::Subscript(Subscript::Index { index }) = access else {
                return Err(refuse(value.at, "only `list[position]` and `view.feature` reach into a value"));
            };
            self.count()?;
            let (position, at) = (self.plan(index)?, value.at);
            value = self.named("array_element", vec![value, position], at)?;
        }
        Ok(value)
    }

    /// The column of `slot`, which is fetched from now on.
    pub(crate) fn read(&mut self, slot: Slot, at: At) -> Typed {
        let position = self.slots.iter().position(|other| *other == slot).unwrap_or_else(|| {
            self.slots.push(slot);
            self.slots.len() - 1
        });
        Typed::new(Arc::new(Column::new(&format!("${position}"), position)), slot.kind(self.inputs), at)
    }

    /// A kernel applied to planned arguments.
    pub(crate) fn apply(
        &self,
        name: &'static str,
        arguments: Vec<Typed>,
        kind: Kind,
        kernel: Kernel,
    ) -> Result<Typed, Error> {
        let at = arguments.first().map_or(At::NOWHERE, |argument| argument.at);
        let nodes = arguments.into_iter().map(|argument| argument.node).collect();
        let node = call::call(name, nodes, kind.arrow(), kernel).map_err(internal)?;
        Ok(Typed::new(node, kind, at))
    }

    /// `value` as `kind`, which is its type, one it can become without being asked, or one it has a cast to.
    pub(crate) fn convert(&self, value: Typed, kind: Kind) -> Result<Typed, Error> {
        let at = value.at;
        if value.kind == kind {
            return Ok(value);
        }
        if value.kind == Kind::Null {
            let null = ScalarValue::try_from(&kind.arrow()).map_err(internal)?;
            return Ok(Typed::literal(null, kind, at));
        }
        let kernel = match (value.kind.as_scalar(), kind.as_scalar()) {
            (Some(from), Some(to)) => cast(from, to),
            _ => None,
        };
        match kernel {
            Some(kernel) => self.apply("cast", vec![value], kind, kernel),
            None => Err(refuse(at, format!("{} cannot become {kind}", value.kind))),
        }
    }

    /// `value` as an argument of `kind`; integers become floats where those are wanted.
    pub(crate) fn expect(&self, value: Typed, kind: Kind, what: impl fmt::Display) -> Result<Typed, Error> {
        let fits = value.kind == Kind::Null
            || value.kind == kind
            || (kind == Kind::INT64 && value.kind.is_integer())
            || (kind == Kind::FLOAT64 && value.kind.is_number());
        if !fits {
            return Err(refuse(value.at, format!("{what} must be {kind}, not {}", value.kind)));
        }
        self.convert(value, kind)
    }

    /// All of `values` as one type: numbers of the text adapt to the others where they fit exactly.
    pub(crate) fn unify(&self, values: Vec<Typed>, what: &str) -> Result<(Vec<Typed>, Kind), Error> {
        let firm = values.iter().filter(|value| !value.is_number_literal);
        let kind = meet_all(firm, what)?;
        let adapts = kind.is_number() && values.iter().all(|value| !value.is_number_literal || value.fits(kind));
        let kind = if adapts { kind } else { meet_all(values.iter(), what)? };
        let values = values.into_iter().map(|value| self.convert(value, kind)).collect::<Result<_, _>>()?;
        Ok((values, kind))
    }
}

fn meet_all<'t>(values: impl Iterator<Item = &'t Typed>, what: &str) -> Result<Kind, Error> {
    let mut kind = Kind::Null;
    for value in values {
        kind = kind.meet(value.kind).ok_or_else(|| {
            refuse(
                value.at,
                format!("{what} takes values of one type, not {kind} and {}{}", value.kind, hint(kind, value.kind)),
            )
        })?;
    }
    Ok(kind)
}

/// What to write instead, where a type was expected to become another by itself.
fn hint(a: Kind, b: Kind) -> &'static str {
    let both = |x, y| (a == x && b == y) || (a == y && b == x);
    if both(Kind::TIMESTAMP, Kind::STRING) {
        "; write an instant as TIMESTAMP '2026-01-31T08:30:00Z'"
    } else if a.is_number() && b == Kind::STRING || a == Kind::STRING && b.is_number() {
        "; write CAST(… AS …) around one of them"
    } else {
        ""
    }
}

fn wrong_type(root: &Typed, declared: ValueType) -> String {
    let found = root.kind;
    let castable = match (found.as_scalar(), Kind::Value(declared).as_scalar()) {
        (Some(from), Some(to)) => cast(from, to).is_some(),
        _ => false,
    };
    let advice = match (castable, found) {
        (true, _) => format!(": declare {found}, or write CAST(… AS {declared})"),
        (false, Kind::Duration) => ": date_part('epoch', …) makes seconds, a float64, of it".to_owned(),
        (false, Kind::Null | Kind::Value(_)) => String::new(),
    };
    format!("the expression gives {found}, which does not widen to the declared {declared}{advice}")
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the parser's enum; all that is not named is named by what it is")]
fn unsupported(tree: &Expr) -> String {
    let what = match tree {
        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => {
            return "subqueries are not available: an expression sees one row".to_owned();
        }
        Expr::Like { .. } | Expr::ILike { .. } => "LIKE with ESCAPE or ANY",
        Expr::SimilarTo { .. } | Expr::RLike { .. } => "SIMILAR TO (there is `regexp_like`)",
        Expr::AnyOp { .. } | Expr::AllOp { .. } => "ANY and ALL (there is `array_has`)",
        Expr::AtTimeZone { .. } => "AT TIME ZONE (times are UTC)",
        Expr::Cast { .. } | Expr::Convert { .. } => "this form of CAST",
        Expr::Array(_) => "an array in the text",
        Expr::Tuple(_) => "a row of values",
        Expr::Collate { .. } => "COLLATE (text is compared byte by byte)",
        Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => "`*`",
        Expr::Lambda(_) => "a function in the text",
        _ => "this syntax",
    };
    format!("{what} is not available in expressions")
}

/// A failure of the machine while planning: nothing in the text can cause it.
pub(crate) fn internal(error: DataFusionError) -> Error {
    Error::internal(format!("compiling an expression: {}", error.strip_backtrace())).with_source(error)
}

/// The type that a cast names, by our names or by those of SQL.
#[expect(clippy::wildcard_enum_match_arm, reason = "the parser's enum: a type that is not named is refused")]
fn scalar_type(data_type: &ast::DataType) -> Option<ScalarType> {
    use ast::DataType as Sql;
    Some(match data_type {
        Sql::Bool | Sql::Boolean => ScalarType::Bool,
        Sql::Int(None) | Sql::Integer(None) | Sql::Int4(None) | Sql::Int32 => ScalarType::Int32,
        Sql::BigInt(None) | Sql::Int8(None) | Sql::Int64 => ScalarType::Int64,
        Sql::Real | Sql::Float4 | Sql::Float32 => ScalarType::Float32,
        Sql::DoublePrecision | Sql::Double(ast::ExactNumberInfo::None) | Sql::Float8 | Sql::Float64 => {
            ScalarType::Float64
        }
        Sql::Varchar(None) | Sql::CharacterVarying(None) | Sql::Text | Sql::String(None) => ScalarType::String,
        Sql::Bytea | Sql::Bytes(None) => ScalarType::Bytes,
        Sql::Timestamp(None, _) => ScalarType::Timestamp,
        Sql::Custom(name, arguments) if arguments.is_empty() => return name.to_string().to_lowercase().parse().ok(),
        _ => return None,
    })
}
