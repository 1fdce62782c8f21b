//! What is answered.

use std::{sync::Arc, time::Duration};

use arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray};
use futures::{StreamExt, stream};
use larder_client::{OnlineAnswer, OnlineRequest, ViewReplay};
use larder_types::{Clock, Error, Revision, RowVersion, Timestamp};

use crate::{
    held_store::Held,
    shop::{HOUR, SHOP, ago, floats, ints, names, owned, references, rows, service, shop, table, texts},
};

#[tokio::test]
async fn all_four_statuses_in_the_order_of_entities_and_features() {
    let sandbox = shop().await;
    sandbox.clock.advance(Duration::from_secs(3_601));
    let answer = sandbox.ask(&service("profile_service", vec![("customer_id", ints(&[9, 3, 1, 4, 1]))])).await.unwrap();
    let expected: [(&str, &[&str]); 3] = [
        ("score", &["NOT_FOUND", "NULL", "1.5", "OUTSIDE_MAX_AGE", "1.5"]),
        ("visits", &["NOT_FOUND", "NULL", "10", "OUTSIDE_MAX_AGE", "10"]),
        ("city", &["NOT_FOUND", "Rome", "Bern", "OUTSIDE_MAX_AGE", "Bern"]),
    ];
    assert_eq!(table(&answer), rows(&expected));

    let asked = references(&["profile.city", "profile.score"], vec![("customer_id", ints(&[2]))]);
    let answer = sandbox.ask(&asked).await.unwrap();
    assert_eq!(table(&answer), rows(&[("city", &["Oslo"]), ("score", &["2.5"])]));
    let all = sandbox.ask(&references(&["profile"], vec![("customer_id", ints(&[]))])).await.unwrap();
    assert_eq!(table(&all), rows(&[("score", &[]), ("visits", &[]), ("city", &[])]));
}

#[tokio::test]
async fn of_no_entities_the_columns_are_empty_computed_ones_too() {
    let sandbox = shop().await;
    let asked = |totals: &[f64]| OnlineRequest {
        request_data: owned(vec![("total", floats(totals)), ("bonus", ints(&[7]))]),
        ..service("derived_service", vec![("customer_id", ints(&[]))])
    };
    let some = OnlineRequest { entities: owned(vec![("customer_id", ints(&[1]))]), ..asked(&[3.0]) };
    let some = sandbox.ask(&some).await.unwrap();
    let requests = [asked(&[]), asked(&[2.0])];
    let streamed = sandbox.client().stream_online_features(stream::iter(requests.clone())).await.unwrap();
    let mut answers: Vec<OnlineAnswer> = streamed.map(Result::unwrap).collect().await;
    for request in &requests {
        answers.push(sandbox.ask(request).await.unwrap());
    }
    assert_eq!(answers.len(), 4);
    for answer in answers {
        assert_eq!(table(&answer), rows(&[("share", &[]), ("reward", &[])]));
        let types = |answer: &OnlineAnswer| -> Vec<_> {
            answer.features.iter().map(|feature| feature.values.data_type().clone()).collect()
        };
        assert_eq!(types(&answer), types(&some));
    }
}

#[tokio::test]
async fn a_deleted_row_is_not_found_and_its_version_is_told() {
    let sandbox = shop().await;
    sandbox.clock.advance(Duration::from_secs(10));
    let at = sandbox.clock.now();
    let only_key = vec![("customer_id", ints(&[2]))];
    sandbox.push_by(Revision(1), "visits", only_key.clone(), vec![at], true).await.unwrap();
    let answer = sandbox.ask(&references(&["profile.city"], only_key)).await.unwrap();
    assert_eq!(table(&answer), rows(&[("city", &["NOT_FOUND"])]));
    let version = answer.replay.unwrap().views[0].versions[0].unwrap();
    assert_eq!(version, RowVersion { event_time: at, created_time: at });
}

#[tokio::test]
async fn a_key_of_several_parts_finds_its_row_by_all_of_them() {
    let sandbox = shop().await;
    let now = sandbox.clock.now();
    let columns = vec![
        ("sku", texts(&["tea", "tea", "milk"])),
        ("customer_id", ints(&[1, 2, 1])),
        ("quantity", ints(&[5, 6, 7])),
    ];
    sandbox.push("baskets", columns, vec![now; 3]).await;
    let entities = vec![("customer_id", ints(&[2, 1, 1, 2])), ("sku", texts(&["tea", "milk", "tea", "milk"]))];
    let answer = sandbox.ask(&service("basket_service", entities)).await.unwrap();
    let expected: [(&str, &[&str]); 2] =
        [("quantity", &["6", "7", "5", "NOT_FOUND"]), ("city", &["Oslo", "Bern", "Bern", "Oslo"])];
    assert_eq!(table(&answer), rows(&expected));
}

#[tokio::test]
async fn a_view_without_entity_has_one_row_for_as_many_as_are_asked_for() {
    let sandbox = shop().await;
    let asked = service("weather_service", vec![]);
    let before = sandbox.ask(&asked).await.unwrap();
    assert_eq!(table(&before), rows(&[("temperature", &["NOT_FOUND"])]));
    let now = sandbox.clock.now();
    sandbox.push("skies", vec![("temperature", floats(&[21.5]))], vec![now]).await;
    for (count, values) in [(0, vec!["21.5"]), (3, vec!["21.5"; 3])] {
        let answer = sandbox.ask(&OnlineRequest { rows: count, ..asked.clone() }).await.unwrap();
        assert_eq!(table(&answer), rows(&[("temperature", &values)]));
    }
    // Beside a view with a key, there is a value an entity.
    let both = references(&["weather", "profile.city"], vec![("customer_id", ints(&[1, 9]))]);
    let answer = sandbox.ask(&both).await.unwrap();
    assert_eq!(table(&answer), rows(&[("temperature", &["21.5", "21.5"]), ("city", &["Bern", "NOT_FOUND"])]));
}

#[tokio::test]
async fn integers_are_the_same_key_whatever_their_width_and_null_is_none() {
    let sandbox = shop().await;
    let now = sandbox.clock.now();
    let columns = vec![("account_id", narrow(&[Some(7), Some(-1)])), ("balance", ints(&[70, -10]))];
    sandbox.push("accounts", columns, vec![now; 2]).await;
    let wide: ArrayRef = Arc::new(Int64Array::from(vec![Some(-1), None, Some(7), Some(i64::MAX)]));
    let expected: [(&str, &[&str]); 1] = [("balance", &["-10", "NOT_FOUND", "70", "NOT_FOUND"])];
    let answer = sandbox.ask(&service("ledger_service", vec![("account_id", wide)])).await.unwrap();
    assert_eq!(table(&answer), rows(&expected));
    assert_eq!(
        answer.replay.unwrap().views[0].versions.iter().map(Option::is_some).collect::<Vec<_>>(),
        [true, false, true, false]
    );
    let asked = references(&["profile.city"], vec![("customer_id", narrow(&[Some(2), None]))]);
    assert_eq!(table(&sandbox.ask(&asked).await.unwrap()), rows(&[("city", &["Oslo", "NOT_FOUND"])]));
}

fn narrow(values: &[Option<i32>]) -> ArrayRef {
    Arc::new(Int32Array::from(values.to_vec()))
}

#[tokio::test]
async fn request_data_is_one_for_all_or_one_each_and_may_be_narrower() {
    let sandbox = shop().await;
    let asked = service("derived_service", vec![("customer_id", ints(&[1, 3, 9]))]);
    // What is not PRESENT is null to an expression.
    let cases: [(ArrayRef, ArrayRef, [&str; 3], [&str; 3]); 3] = [
        (floats(&[3.0]), ints(&[1]), ["0.5", "NULL", "NULL"], ["11", "1", "1"]),
        (floats(&[1.0, 2.0, 3.0]), ints(&[1, 2, 3]), ["1.5", "NULL", "NULL"], ["11", "2", "3"]),
        (narrow(&[Some(3)]), narrow(&[None]), ["0.5", "NULL", "NULL"], ["NULL", "NULL", "NULL"]),
    ];
    for (total, bonus, share, reward) in cases {
        let request_data = owned(vec![("bonus", bonus), ("total", total)]);
        let answer = sandbox.ask(&OnlineRequest { request_data, ..asked.clone() }).await.unwrap();
        assert_eq!(table(&answer), rows(&[("share", &share), ("reward", &reward)]));
    }
}

#[tokio::test]
async fn the_request_data_of_a_view_may_be_sent_with_any_choice_of_its_features() {
    let sandbox = shop().await;
    let asked = references(&["derived.reward"], vec![("customer_id", ints(&[1, 3]))]);
    for data in [vec![("bonus", ints(&[1]))], vec![("total", floats(&[3.0])), ("bonus", ints(&[1]))]] {
        let request_data = owned(data);
        let answer = sandbox.ask(&OnlineRequest { request_data, ..asked.clone() }).await.unwrap();
        assert_eq!(table(&answer), rows(&[("reward", &["11", "1"])]));
    }
    let request_data = owned(vec![("total", texts(&["3"])), ("bonus", ints(&[1]))]);
    let error = sandbox.ask(&OnlineRequest { request_data, ..asked }).await.unwrap_err();
    assert!(error.to_string().contains("has the type string; float64 is expected"), "{error}");
}

#[tokio::test]
async fn without_any_key_the_rows_of_request_data_count() {
    let sandbox = shop().await;
    let asked = service("asked_service", vec![]);
    for (given, count, expected) in
        [(vec![1.0, 2.0], 0, vec!["2", "4"]), (vec![1.5], 0, vec!["3"]), (vec![4.0], 3, vec!["8", "8", "8"])]
    {
        let request_data = owned(vec![("total", floats(&given))]);
        let answer = sandbox.ask(&OnlineRequest { request_data, rows: count, ..asked.clone() }).await.unwrap();
        assert_eq!(table(&answer), rows(&[("doubled", &expected)]));
    }
}

#[tokio::test]
async fn one_view_is_used_twice_under_aliases_and_other_keys() {
    let sandbox = shop().await;
    let entities = vec![("seller_id", ints(&[2, 9])), ("buyer_id", ints(&[1, 2]))];
    for full_names in [false, true] {
        let asked = OnlineRequest { full_names, ..service("pair_service", entities.clone()) };
        let answer = sandbox.ask(&asked).await.unwrap();
        let expected: [(&str, &[&str]); 3] = [
            ("buyer.score", &["1.5", "2.5"]),
            ("seller.city", &["Oslo", "NOT_FOUND"]),
            ("seller.score", &["2.5", "NOT_FOUND"]),
        ];
        assert_eq!(table(&answer), rows(&expected));
        let replay = answer.replay.unwrap();
        let views: Vec<_> = replay.views.iter().map(|view| (view.name.as_str(), view.view.as_str())).collect();
        assert_eq!(views, [("buyer", "profile"), ("seller", "profile")]);
        let found = |view: &ViewReplay| view.versions.iter().map(Option::is_some).collect::<Vec<_>>();
        assert_eq!(replay.views.iter().map(found).collect::<Vec<_>>(), [[true, true], [true, false]]);
    }
}

#[tokio::test]
async fn names_are_short_or_full() {
    let sandbox = shop().await;
    let mut asked = references(&["profile.score", "weather"], vec![("customer_id", ints(&[1]))]);
    assert_eq!(names(&sandbox.ask(&asked).await.unwrap()), ["score", "temperature"]);
    asked.full_names = true;
    assert_eq!(names(&sandbox.ask(&asked).await.unwrap()), ["profile.score", "weather.temperature"]);
}

#[tokio::test]
async fn replay_data_names_what_was_read_and_is_left_out_unless_asked_for() {
    let sandbox = shop().await;
    let mut asked = service("profile_service", vec![("customer_id", ints(&[4, 9, 2]))]);
    let now = sandbox.clock.now();
    let replay = sandbox.ask(&asked).await.unwrap().replay.unwrap();
    assert_eq!((replay.revision, replay.instant), (Revision(1), now));
    assert_eq!(replay.engine_version, larder_expressions::ENGINE_VERSION);
    let ViewReplay { name, view, row_set, versions } = &replay.views[0];
    assert_eq!((name.as_str(), view.as_str(), replay.views.len()), ("profile", "profile", 1));
    assert!(row_set.0 > 0);
    let event_times: Vec<_> = versions.iter().map(|version| version.map(|version| version.event_time)).collect();
    assert_eq!(event_times, [Some(ago(now, 23 * HOUR)), None, Some(ago(now, 2))]);
    // The four rows of the push were recorded one after the other.
    let created = |row: usize| versions[row].unwrap().created_time.as_micros() - now.as_micros();
    assert_eq!((created(0), created(2)), (3, 1));
    asked.include_replay = false;
    assert_eq!(sandbox.ask(&asked).await.unwrap().replay, None);
}

#[tokio::test]
async fn a_request_is_judged_by_the_one_instant_of_its_arrival() {
    let sandbox = shop().await;
    let asked = references(&["profile.city"], vec![("customer_id", ints(&[4, 1]))]);
    let arrived = sandbox.clock.now().plus(Duration::from_secs(3_600));
    // Customer 4 is a day old now, to the microsecond, which is not too old.
    sandbox.clock.set(arrived);
    sandbox.store.hold(Held::All);
    let client = sandbox.client();
    let answering = tokio::spawn(async move { client.online_features(&asked).await });
    sandbox.store.arrived(1).await;
    sandbox.clock.advance(Duration::from_secs(2 * 86_400));
    sandbox.store.hold(Held::Nothing);
    let answer = answering.await.unwrap().unwrap();
    assert_eq!(table(&answer), rows(&[("city", &["Lyon", "Bern"])]));
    assert_eq!(answer.replay.unwrap().instant, arrived);

    sandbox.clock.set(Timestamp::from_micros(arrived.as_micros() + 1));
    let asked = references(&["profile.city"], vec![("customer_id", ints(&[4, 1]))]);
    assert_eq!(table(&sandbox.ask(&asked).await.unwrap()), rows(&[("city", &["OUTSIDE_MAX_AGE", "Bern"])]));
}

#[tokio::test]
async fn a_row_within_the_bound_of_the_future_is_served() -> Result<(), Error> {
    let sandbox = shop().await;
    let ahead = sandbox.clock.now().plus(Duration::from_secs(60));
    let columns = vec![("account_id", narrow(&[Some(1)])), ("balance", ints(&[1]))];
    sandbox.push("accounts", columns, vec![ahead]).await;
    let answer: OnlineAnswer = sandbox.ask(&service("ledger_service", vec![("account_id", ints(&[1]))])).await?;
    assert_eq!(table(&answer), rows(&[("balance", &["1"])]));
    assert_eq!(answer.replay.unwrap().views[0].versions[0].unwrap().event_time, ahead);
    Ok(())
}

#[tokio::test]
async fn a_column_that_is_newer_than_a_row_is_not_found_in_it() {
    let sandbox = shop().await;
    let more = SHOP.replace(
        "- { name: city, type: string }",
        "- { name: town, column: city, renamed_from: city, type: string }\n      - { name: street, type: string }",
    );
    let more = more.replace("select: [city]", "select: [town]").replace("select: [city, score]", "select: [town]");
    let revision = sandbox.apply(&more).await.unwrap().revision;
    let now = sandbox.clock.now();
    let columns = vec![
        ("customer_id", ints(&[2])),
        ("score", floats(&[0.25])),
        ("visits", narrow(&[None])),
        ("city", Arc::new(StringArray::from(vec![None::<&str>])) as ArrayRef),
        ("street", texts(&["Storgata"])),
    ];
    sandbox.push_by(revision, "visits", columns, vec![now], false).await.unwrap();
    let asked = service("profile_service", vec![("customer_id", ints(&[1, 2]))]);
    let answer = sandbox.ask(&OnlineRequest { min_revision: revision, ..asked }).await.unwrap();
    let expected: [(&str, &[&str]); 4] = [
        ("score", &["1.5", "0.25"]),
        ("visits", &["10", "NULL"]),
        ("town", &["Bern", "NULL"]),
        ("street", &["NOT_FOUND", "Storgata"]),
    ];
    assert_eq!(table(&answer), rows(&expected));
}
