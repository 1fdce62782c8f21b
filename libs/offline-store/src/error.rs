//! From the engine's errors to ours.

#![expect(clippy::wildcard_enum_match_arm, reason = "the engine's enum: what is not named is told as it is")]

use datafusion::common::DataFusionError;
use larder_types::{Error, ErrorCode};

/// Our own error where one lies beneath, and otherwise the closest there is.
pub(crate) fn from_engine(error: DataFusionError) -> Error {
    match error {
        DataFusionError::Context(context, inner) => match *inner {
            DataFusionError::ResourcesExhausted(why) => exhausted(&format!("{context}: {why}")),
            inner => from_engine(inner),
        },
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(own) => *own,
            Err(inner) => match inner.downcast::<DataFusionError>() {
                Ok(inner) => from_engine(*inner),
                Err(other) => Error::internal(other.to_string()).with_source(other),
            },
        },
        DataFusionError::Shared(shared) => from_shared(&shared),
        DataFusionError::ResourcesExhausted(why) => exhausted(&why),
        other => Error::internal(other.strip_backtrace()),
    }
}

/// An error that others hold too is told again.
fn from_shared(error: &DataFusionError) -> Error {
    match error.find_root() {
        DataFusionError::External(inner) => match inner.downcast_ref::<Error>() {
            Some(own) => Error::new(own.code(), own.message()),
            None => Error::internal(inner.to_string()),
        },
        DataFusionError::ResourcesExhausted(why) => exhausted(why),
        other => Error::internal(other.strip_backtrace()),
    }
}

fn exhausted(why: &str) -> Error {
    Error::new(ErrorCode::ResourceExhausted, format!("the memory or disk given to this training set is used up: {why}"))
}
