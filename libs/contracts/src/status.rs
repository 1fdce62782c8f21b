//! Errors and gRPC statuses, both ways: the one place that maps codes.
//!
//! A status of ours carries `google.rpc.ErrorInfo` (reason: our code, domain: `larder`), which tells it from one that the
//! transport made, and `google.rpc.BadRequest` with a field violation for each of the error's. Details travel in
//! trailers, which are headers: all of it together is kept below 8 KiB, and what is cut is counted.

use std::{collections::HashMap, error::Error as StdError};

use larder_types::{Error, ErrorCode, Violation};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

/// Says that a status is ours.
const DOMAIN: &str = "larder";

/// What message and violations may take in trailers, both of which travel as text and as base64.
const TRAILER_BUDGET: usize = 7_000;
/// What the message may take of it.
const MESSAGE_BUDGET: usize = 4_000;

/// The gRPC code of ours.
pub fn to_grpc(code: ErrorCode) -> Code {
    match code {
        ErrorCode::InvalidArgument => Code::InvalidArgument,
        ErrorCode::NotFound => Code::NotFound,
        ErrorCode::AlreadyExists => Code::AlreadyExists,
        ErrorCode::FailedPrecondition => Code::FailedPrecondition,
        ErrorCode::Conflict => Code::Aborted,
        ErrorCode::PermissionDenied => Code::PermissionDenied,
        ErrorCode::Unauthenticated => Code::Unauthenticated,
        ErrorCode::ResourceExhausted => Code::ResourceExhausted,
        ErrorCode::Cancelled => Code::Cancelled,
        ErrorCode::DeadlineExceeded => Code::DeadlineExceeded,
        ErrorCode::Unavailable => Code::Unavailable,
        ErrorCode::Unimplemented => Code::Unimplemented,
        ErrorCode::DataLoss => Code::DataLoss,
        ErrorCode::Internal => Code::Internal,
    }
}

/// What a caller is told of a status that the transport made of its request. One of ours, which has details, stays as it is.
///
/// The transport calls a request that it cannot read INTERNAL, and a connection that broke UNKNOWN or INTERNAL, but the
/// fault is the caller's: INVALID_ARGUMENT and CANCELLED.
pub fn of_unreadable_request(status: Status) -> Status {
    if status.code() == Code::Ok || !status.details().is_empty() {
        return status;
    }
    let starts_as = |known: &[&str]| known.iter().any(|start| status.message().starts_with(start));
    let error = if starts_as(&BROKEN) || (is_vague(from_grpc(status.code())) && is_connection_lost(&status)) {
        let message = format!("the caller's connection broke: {}", status.message());
        Error::new(ErrorCode::Cancelled, message)
    } else if status.code() == Code::Internal && starts_as(&UNREADABLE) {
        let message = format!("the request is not the message that this call takes: {}", status.message());
        Error::invalid_argument(message)
    } else {
        Error::new(from_grpc(status.code()), status.message())
    };
    let mut told = to_status(&error);
    // The encodings that are taken, where that is what was wrong.
    *told.metadata_mut() = status.metadata().clone();
    told
}

/// How the transport's messages begin about a request that it cannot read.
const UNREADABLE: [&str; 5] = [
    "failed to decode Protobuf message",
    "Missing request message",
    "Unexpected EOF decoding stream",
    "protocol error: received message with",
    "Error decompressing",
];

/// How they begin where the other side broke the connection, or the call.
const BROKEN: [&str; 1] = ["h2 protocol error"];

/// Our code of gRPC's.
pub fn from_grpc(code: Code) -> ErrorCode {
    match code {
        // What tonic answers to a message beyond the transport's limit.
        Code::InvalidArgument | Code::OutOfRange => ErrorCode::InvalidArgument,
        Code::NotFound => ErrorCode::NotFound,
        Code::AlreadyExists => ErrorCode::AlreadyExists,
        Code::FailedPrecondition => ErrorCode::FailedPrecondition,
        Code::Aborted => ErrorCode::Conflict,
        Code::PermissionDenied => ErrorCode::PermissionDenied,
        Code::Unauthenticated => ErrorCode::Unauthenticated,
        Code::ResourceExhausted => ErrorCode::ResourceExhausted,
        Code::Cancelled => ErrorCode::Cancelled,
        Code::DeadlineExceeded => ErrorCode::DeadlineExceeded,
        Code::Unavailable => ErrorCode::Unavailable,
        Code::Unimplemented => ErrorCode::Unimplemented,
        Code::DataLoss => ErrorCode::DataLoss,
        Code::Ok | Code::Unknown | Code::Internal => ErrorCode::Internal,
    }
}

/// The status that a caller gets for an error. What caused it stays here, for logs.
pub fn to_status(error: &Error) -> Status {
    let message = cut(error.message(), MESSAGE_BUDGET);
    let mut details = ErrorDetails::with_error_info(error.code().as_str(), DOMAIN, HashMap::new());
    let violations = bounded(error.violations(), TRAILER_BUDGET.saturating_sub(trailer_bytes(&message)));
    if !violations.is_empty() {
        details.set_bad_request(violations);
    }
    Status::with_error_details(to_grpc(error.code()), message, details)
}

/// The error that a status tells of, also of one that the transport made.
pub fn from_status(status: Status) -> Error {
    let details = status.get_error_details();
    let ours = details.error_info().filter(|info| info.domain == DOMAIN).and_then(|info| code_of(&info.reason));
    let violations = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
    let code = ours.unwrap_or_else(|| foreign_code(&status));
    let message = if status.message().is_empty() { code.as_str() } else { status.message() };
    let error = Error::new(code, message);
    let error = violations.iter().fold(error, |error, FieldViolation { field, description, .. }| {
        error.with_violation(field.clone(), description.clone())
    });
    if ours.is_some() { error } else { error.with_source(status) }
}

fn code_of(reason: &str) -> Option<ErrorCode> {
    ErrorCode::ALL.into_iter().find(|code| code.as_str() == reason)
}

/// The code of a status that none of our services made.
fn foreign_code(status: &Status) -> ErrorCode {
    let code = from_grpc(status.code());
    if code == ErrorCode::Cancelled && status.message() == "Timeout expired" {
        // tonic answers so where the time that a caller gave is over, on either side.
        ErrorCode::DeadlineExceeded
    } else if is_vague(code) && is_connection_lost(status) {
        // tonic knows no better code for a connection that broke.
        ErrorCode::Unavailable
    } else {
        code
    }
}

/// What the transport says where it knows no better.
fn is_vague(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::Internal | ErrorCode::Cancelled)
}

fn is_connection_lost(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<tonic::transport::Error>() || error.is::<std::io::Error>() {
            return true;
        }
        cause = error.source();
    }
    let message = status.message();
    ["transport error", "error reading a body from connection", "operation was canceled", "connection closed"]
        .iter()
        .any(|known| message.contains(known))
}

/// What a text takes in trailers: percent-encoded as `grpc-message`, and within the details as base64.
fn trailer_bytes(text: &str) -> usize {
    let encoded: usize = text.bytes().map(|byte| if matches!(byte, b' '..=b'~') && byte != b'%' { 1 } else { 3 }).sum();
    encoded + base64_bytes(text.len())
}

fn base64_bytes(bytes: usize) -> usize {
    bytes * 4 / 3 + 4
}

fn cut(text: &str, budget: usize) -> String {
    if trailer_bytes(text) <= budget {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut left = budget.saturating_sub(16);
    for character in text.chars() {
        let mut bytes = [0; 4];
        let cost = match character {
            ' '..='~' if character != '%' => 3,
            _ => 5 * character.encode_utf8(&mut bytes).len(),
        };
        let Some(rest) = left.checked_sub(cost) else { break };
        left = rest;
        kept.push(character);
    }
    kept + " ..."
}

/// As many violations as fit, and one that counts the rest.
fn bounded(violations: &[Violation], budget: usize) -> Vec<FieldViolation> {
    const FRAME: usize = 12;
    let mut left = budget.saturating_sub(base64_bytes(FRAME + 32));
    let mut kept = Vec::new();
    for Violation { field, description } in violations {
        let Some(rest) = left.checked_sub(base64_bytes(field.len() + description.len() + FRAME)) else { break };
        left = rest;
        kept.push(FieldViolation::new(field, description));
    }
    if kept.len() < violations.len() {
        kept.push(FieldViolation::new("", format!("and {} more", violations.len() - kept.len())));
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As over the network: through headers and back.
    fn through_headers(error: &Error) -> (Status, usize) {
        let headers = to_status(error).into_http::<()>().into_parts().0.headers;
        let bytes = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        (Status::from_header_map(&headers).unwrap(), bytes)
    }

    #[test]
    fn every_code_comes_back_with_its_violations() {
        for code in ErrorCode::ALL {
            let error = Error::new(code, "income: is missing; did you mean `óther`?")
                .with_violation("income", "is missing")
                .with_violation("age", "is a string");
            let (status, _) = through_headers(&error);
            assert_eq!(status.code(), to_grpc(code));
            assert_eq!(status.get_error_details().error_info().unwrap().domain, "larder");
            let back = from_status(status);
            assert_eq!((back.code(), back.message()), (code, error.message()));
            assert_eq!(back.violations(), error.violations());
        }
    }

    #[test]
    fn statuses_of_the_transport_are_mapped_sensibly() {
        let cases = [
            (Status::cancelled("Timeout expired"), ErrorCode::DeadlineExceeded),
            (Status::cancelled("gone"), ErrorCode::Cancelled),
            (Status::out_of_range("decoded message length too large"), ErrorCode::InvalidArgument),
            (Status::unknown("transport error"), ErrorCode::Unavailable),
            (Status::internal("h2 protocol error: error reading a body from connection"), ErrorCode::Unavailable),
            (Status::unknown("a handler that fell over"), ErrorCode::Internal),
            (Status::unavailable("tcp connect error"), ErrorCode::Unavailable),
            (Status::from_error(Box::new(std::io::Error::other("reset"))), ErrorCode::Unavailable),
            (Status::aborted("somebody else"), ErrorCode::Conflict),
            (Status::unimplemented(""), ErrorCode::Unimplemented),
        ];
        for (status, code) in cases {
            let text = format!("{status:?}");
            let error = from_status(status);
            assert_eq!(error.code(), code, "{text}");
            assert!(!error.message().is_empty() && StdError::source(&error).is_some(), "{text}");
        }
    }

    #[test]
    fn what_the_transport_says_of_a_request_is_told_as_ours() {
        let compressed = "Content is compressed with `gzip` which isn't supported";
        let cases = [
            (Status::internal("Missing request message."), ErrorCode::InvalidArgument),
            (Status::internal("Unexpected EOF decoding stream."), ErrorCode::InvalidArgument),
            (Status::internal("protocol error: received message with invalid"), ErrorCode::InvalidArgument),
            (Status::out_of_range("decoded message length too large"), ErrorCode::InvalidArgument),
            (Status::unimplemented(compressed), ErrorCode::Unimplemented),
            (Status::unknown("h2 protocol error: error reading a body from connection"), ErrorCode::Cancelled),
            (Status::internal("h2 protocol error: stream error"), ErrorCode::Cancelled),
            (Status::from_error(Box::new(std::io::Error::other("reset"))), ErrorCode::Cancelled),
            (Status::internal("a handler that fell over"), ErrorCode::Internal),
            (Status::not_found("no such file"), ErrorCode::NotFound),
        ];
        for (mut status, code) in cases {
            status.metadata_mut().insert("grpc-accept-encoding", "identity".parse().unwrap());
            let text = format!("{status:?}");
            let told = of_unreadable_request(status);
            assert_eq!(told.code(), to_grpc(code), "{text}");
            assert_eq!(told.get_error_details().error_info().unwrap().reason, code.as_str(), "{text}");
            assert!(told.metadata().contains_key("grpc-accept-encoding"));
            let again = of_unreadable_request(told.clone());
            assert_eq!((again.code(), again.message()), (told.code(), told.message()));
        }
    }

    #[test]
    fn thousands_of_violations_are_cut_and_counted() {
        let violations = (0..5_000)
            .map(|row| Violation { field: format!("features[{row}].type"), description: "is not a type".to_owned() });
        let error = Error::invalid_fields("5000 problems", violations.collect());
        let (status, bytes) = through_headers(&error);
        assert!(bytes < 8_192, "{bytes}");
        let back = from_status(status);
        let kept = back.violations().len();
        assert!(kept > 50, "{kept}");
        assert_eq!(back.violations()[kept - 1].description, format!("and {} more", 5_000 - (kept - 1)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn whatever_an_error_says_its_trailers_are_bounded(
            message in "(\\PC|[a-z]|\n){0,3000}",
            violations in proptest::collection::vec(("\\PC{0,200}", "\\PC{0,200}"), 0..40),
        ) {
            let violations = violations.into_iter().map(|(field, description)| Violation { field, description });
            let error = Error::invalid_fields(message.clone(), violations.collect());
            let (status, bytes) = through_headers(&error);
            prop_assert!(bytes < 8_192, "{}", bytes);
            let back = from_status(status);
            let start = back.message().trim_end_matches(" ...");
            prop_assert!(message.is_empty() || message.starts_with(start));
        }
    }
}
