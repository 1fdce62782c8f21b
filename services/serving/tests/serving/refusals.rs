//! What a wrong request is told.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use larder_client::OnlineRequest;
use larder_types::{ErrorCode, Revision};

use crate::{
    sandbox::name,
    shop::{SHOP, floats, ints, owned, references, service, shop, texts},
};

fn data(columns: Vec<(&str, ArrayRef)>) -> OnlineRequest {
    let asked = service("derived_service", vec![("customer_id", ints(&[1, 2]))]);
    OnlineRequest { request_data: owned(columns), ..asked }
}

/// The request, the code, the field at fault, and what its message says.
type Case = (OnlineRequest, ErrorCode, &'static str, &'static str);

fn names_that_are_not_there() -> Vec<Case> {
    let customers = || vec![("customer_id", ints(&[1]))];
    vec![
        (
            OnlineRequest { project: name("shopp"), ..service("profile_service", customers()) },
            ErrorCode::NotFound,
            "",
            "did you mean shop?",
        ),
        (service("profile_servise", customers()), ErrorCode::NotFound, "", "did you mean profile_service?"),
        (references(&["profil.score"], customers()), ErrorCode::NotFound, "", "did you mean profile?"),
        (references(&["profile.scor"], customers()), ErrorCode::NotFound, "", "did you mean score?"),
        (
            service("profile_service", vec![("customer_ids", ints(&[1]))]),
            ErrorCode::InvalidArgument,
            "entities.customer_ids",
            "did you mean customer_id?",
        ),
        (
            service("weather_service", customers()),
            ErrorCode::InvalidArgument,
            "entities.customer_id",
            "they need no entity at all",
        ),
        (
            data(vec![("total", floats(&[1.0])), ("bonus", ints(&[1])), ("bonuss", ints(&[1]))]),
            ErrorCode::InvalidArgument,
            "request_data.bonuss",
            "did you mean bonus?",
        ),
        (references(&[], customers()), ErrorCode::InvalidArgument, "features", "no feature is asked for"),
        (
            references(&["profile.score", "profile.score"], customers()),
            ErrorCode::InvalidArgument,
            "features",
            "more than one feature is called score",
        ),
    ]
}

fn wrong_columns() -> Vec<Case> {
    let both = |customers: ArrayRef, skus: ArrayRef| {
        service("basket_service", vec![("customer_id", customers), ("sku", skus)])
    };
    let wrong = ErrorCode::InvalidArgument;
    vec![
        (
            service("profile_service", vec![]),
            wrong,
            "entities.customer_id",
            "send a column of that name with the type int64",
        ),
        (
            service("profile_service", vec![("customer_id", texts(&["1"]))]),
            wrong,
            "entities.customer_id",
            "has the type string; int64 is expected",
        ),
        (
            service("profile_service", vec![("customer_id", floats(&[1.0]))]),
            wrong,
            "entities.customer_id",
            "has the type float64; int64 is expected",
        ),
        (both(ints(&[1]), ints(&[1])), wrong, "entities.sku", "has the type int64; string is expected"),
        (both(ints(&[1, 2]), texts(&["a"])), wrong, "entities.", "every column needs a row for every entity"),
        (
            service("profile_service", vec![("customer_id", ints(&[1])), ("customer_id", ints(&[1]))]),
            wrong,
            "entities.customer_id",
            "is given twice",
        ),
        (
            OnlineRequest { rows: 2, ..service("profile_service", vec![("customer_id", ints(&[1]))]) },
            wrong,
            "rows",
            "customer_id has 1 rows: leave it 0",
        ),
        (
            data(vec![("bonus", ints(&[1]))]),
            wrong,
            "request_data.total",
            "send a column of that name with the type float64",
        ),
        (
            data(vec![("bonus", ints(&[1])), ("total", texts(&["1"]))]),
            wrong,
            "request_data.total",
            "has the type string; float64 is expected",
        ),
        (
            data(vec![("bonus", floats(&[1.0])), ("total", floats(&[1.0]))]),
            wrong,
            "request_data.bonus",
            "has the type float64; int64 is expected",
        ),
        (
            data(vec![("bonus", ints(&[1, 2, 3])), ("total", floats(&[1.0]))]),
            wrong,
            "request_data.bonus",
            "has 3 rows: send one for all, or 2",
        ),
        (
            data(vec![("bonus", ints(&[1])), ("bonus", ints(&[1])), ("total", floats(&[1.0]))]),
            wrong,
            "request_data.bonus",
            "is given twice",
        ),
        (
            both(ints(&[1, 2]), Arc::new(StringArray::from(vec!["x".to_owned(), "x".repeat(5_000)]))),
            wrong,
            "entities.sku",
            "row 2: ",
        ),
        (
            both(ints(&[1]), Arc::new(StringArray::from(vec!["x".repeat(5_000)]))),
            wrong,
            "entities.sku",
            "at most 4096 are allowed",
        ),
    ]
}

#[tokio::test]
async fn every_wrong_request_is_told_what_would_be_right() {
    let sandbox = shop().await;
    for (request, code, field, message) in names_that_are_not_there().into_iter().chain(wrong_columns()) {
        let error = sandbox.ask(&request).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.message().contains(message), "{message}: {error}");
        let named = error.violations().first().map(|violation| violation.field.as_str()).unwrap_or_default();
        assert!(named.starts_with(field), "{field}: {:?}", error.violations());
    }
}

/// What it would say of a view that is not served would be old, or nothing.
#[tokio::test]
async fn a_view_that_is_not_served_is_refused() {
    let sandbox = shop().await;
    let not_served = SHOP.replace("name: profile\n", "name: profile\n    online: false\n");
    let min_revision = sandbox.apply(&not_served).await.unwrap().revision;
    for features in [&["profile.city"][..], &["weather", "derived.reward"]] {
        let asked = OnlineRequest { min_revision, ..references(features, vec![("customer_id", ints(&[1]))]) };
        let error = sandbox.ask(&asked).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::FailedPrecondition);
        assert!(error.message().contains("view profile says `online: false`"), "{error}");
    }
}

#[tokio::test]
async fn a_revision_that_does_not_come_is_said_to_be_late() {
    let sandbox = shop().await;
    let asked = service("profile_service", vec![("customer_id", ints(&[1]))]);
    let asked = OnlineRequest { min_revision: Revision(9), ..asked };
    let client = sandbox.client().within(std::time::Duration::from_millis(200));
    assert_eq!(client.online_features(&asked).await.unwrap_err().code(), ErrorCode::DeadlineExceeded);
}
