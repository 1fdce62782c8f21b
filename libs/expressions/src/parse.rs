//! Text to syntax tree, and errors that say where in the text.

use datafusion_common::DataFusionError;
use datafusion_sql::{
    parser::DFParserBuilder,
    sqlparser::{ast, parser::ParserError, tokenizer::Span},
};
use larder_types::Error;

use crate::{MAX_BYTES, dialect::ExpressionDialect};

/// Nesting that the parser follows; it bounds the stack.
const PARSER_DEPTH: usize = 50;

/// A place in the text: line and column from 1, where the parser tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct At(Option<(u64, u64)>);

impl At {
    /// Not known.
    pub(crate) const NOWHERE: Self = Self(None);
}

impl From<Span> for At {
    fn from(span: Span) -> Self {
        let start = span.start;
        Self((start.line > 0).then_some((start.line, start.column)))
    }
}

/// An error in the expression, with its place.
pub(crate) fn refuse(at: At, message: impl std::fmt::Display) -> Error {
    match at.0 {
        Some((line, column)) => Error::invalid_argument(format!("line {line}, column {column}: {message}")),
        None => Error::invalid_argument(message.to_string()),
    }
}

/// The syntax tree of one expression, all of the text.
pub(crate) fn parse(sql: &str) -> Result<ast::Expr, Error> {
    if sql.trim().is_empty() {
        return Err(Error::invalid_argument("the expression is empty"));
    }
    if sql.len() > MAX_BYTES {
        let bytes = sql.len();
        return Err(Error::invalid_argument(format!("the expression has {bytes} bytes; it may have {MAX_BYTES}")));
    }
    let dialect = ExpressionDialect::default();
    let parsed = DFParserBuilder::new(sql)
        .with_dialect(&dialect)
        .with_recursion_limit(PARSER_DEPTH)
        .build()
        .and_then(|mut parser| parser.parse_into_expr());
    let parsed = match parsed {
        Ok(parsed) => parsed,
        Err(_) if dialect.is_exhausted() => return Err(too_deep()),
        Err(error) => return Err(syntax_error(&error)),
    };
    match parsed.alias {
        None => Ok(parsed.expr),
        Some(alias) => Err(refuse(alias.span.into(), "an expression has no alias: its name is the feature's")),
    }
}

fn syntax_error(error: &DataFusionError) -> Error {
    let mut innermost = error;
    while let DataFusionError::Diagnostic(_, inner) | DataFusionError::Context(_, inner) = innermost {
        innermost = inner;
    }
    let DataFusionError::SQL(parser_error, _) = innermost else {
        return Error::invalid_argument(format!("not a SQL expression: {}", innermost.strip_backtrace()));
    };
    match &**parser_error {
        ParserError::RecursionLimitExceeded => too_deep(),
        ParserError::ParserError(message) | ParserError::TokenizerError(message) => {
            Error::invalid_argument(format!("not a SQL expression: {message}"))
        }
    }
}

/// The refusal of nesting beyond the limit.
pub(crate) fn too_deep() -> Error {
    Error::invalid_argument("the expression is nested too deeply: move parts of it into features of their own")
}
