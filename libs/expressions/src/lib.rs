//! SQL scalar expressions over one row: parse, type-check, compile, evaluate over Arrow batches. Floor 1.
//!
//! What it guarantees:
//! - **A result depends on its row alone.** Every operator and function here is total: what cannot be computed (integer
//!   division by zero, overflow, a cast that fails) is NULL, never an error, never a wrapped number. As nothing can
//!   fail, neither the order of evaluation, nor laziness, nor the other rows of a batch can matter.
//! - **Everything is checked by [`Expression::compile`]**: size, names, types, functions. There is no session, no
//!   locale, and no clock but `request_time()`.
//! - **Bounded work**: text and node count are limited, no function makes a value whose size the text alone decides.
//!
//! It uses DataFusion's parser and physical expressions, never its engine. Types are settled and operators chosen by
//! the planner here, because DataFusion's own rules wrap integers, fail whole batches, fold `x / x` to 1 and compare
//! text with numbers. `docs/expressions.md` is what users read; a test keeps it true.

mod call;
mod dialect;
mod expression;
mod functions;
mod inputs;
mod kernels;
mod kind;
mod parse;
mod plan;
mod refused;

pub use expression::{Expression, ExpressionSpec, RequestTime};
pub use functions::{FunctionDoc, functions};
pub use inputs::Input;

/// What computed an answer: the semantics of this crate, and the library below. Part of what a replay needs.
pub const ENGINE_VERSION: &str = "sql-1/datafusion-55.2";

/// The most bytes of text an expression may have.
pub const MAX_BYTES: usize = 4096;

/// The most nodes (columns, literals, operators, calls) an expression may have.
pub const MAX_NODES: usize = 500;

/// How deep nodes may be nested; a chain like `a + b + c` counts as one level.
pub const MAX_DEPTH: usize = 64;
