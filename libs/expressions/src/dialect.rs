//! The syntax: PostgreSQL's, as far as expressions go, with a limit on the parser's work.
//!
//! The parser goes back and tries again in places (arguments that might be named, keywords that might be names), and
//! doubles its work with each level of nesting there: a text of a few hundred bytes can keep it busy for years.

use std::{
    any::TypeId,
    sync::atomic::{AtomicUsize, Ordering},
};

use datafusion_sql::sqlparser::{
    ast::Expr,
    dialect::{Dialect, PostgreSqlDialect, Precedence},
    keywords::Keyword,
    parser::{Parser, ParserError},
};

use crate::MAX_BYTES;

/// Far more starts of an expression than a text has that is read once.
const MOST_STARTS: usize = 4 * MAX_BYTES;

/// PostgreSQL's syntax, for one text.
#[derive(Debug, Default)]
pub(crate) struct ExpressionDialect {
    starts: AtomicUsize,
}

impl ExpressionDialect {
    /// Whether the parser was stopped because it went back too often.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.starts.load(Ordering::Relaxed) > MOST_STARTS
    }
}

impl Dialect for ExpressionDialect {
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }

    /// Counts the starts of expressions. Once there were too many all fail, so the parser ends however it goes back.
    fn parse_prefix(&self, _: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        self.starts.fetch_add(1, Ordering::Relaxed);
        self.is_exhausted().then_some(Err(ParserError::RecursionLimitExceeded))
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        PostgreSqlDialect {}.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        PostgreSqlDialect {}.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        PostgreSqlDialect {}.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        PostgreSqlDialect {}.is_identifier_part(ch)
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        PostgreSqlDialect {}.is_reserved_for_identifier(keyword)
    }

    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        PostgreSqlDialect {}.get_next_precedence(parser)
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        PostgreSqlDialect {}.prec_value(precedence)
    }

    fn allow_extract_custom(&self) -> bool {
        true
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_comma_separated_trim(&self) -> bool {
        true
    }

    fn supports_bitwise_shift_operators(&self) -> bool {
        true
    }

    fn supports_nested_comments(&self) -> bool {
        true
    }
}
