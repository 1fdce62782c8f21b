//! Search, lineage, and names that are nearly right.

use larder_client::RegistryClient;
use larder_definitions::{
    ObjectKind,
    run::{Outcome, RunRequest, TrainingSetRequest},
};
use larder_test_kit::clock;
use larder_types::{ErrorCode, Revision};

use crate::{
    declared::{BASE, declare_base, id, view, whole},
    leases::materialize,
    surroundings::{Registry, Storage, project},
};

#[tokio::test]
async fn a_search_finds_words_in_names_owners_tags_and_descriptions() {
    let client = Registry::start(&Storage::in_memory(), &clock()).await.definitions();
    declare_base(&client).await;
    let found = async |query: &str, limit: u32| {
        let hits = client.search(&project(), query, limit).await.unwrap();
        let show = |hit: &larder_client::SearchHit| match &hit.feature {
            Some(feature) => format!("{}.{feature}", hit.id.name),
            None => hit.id.to_string(),
        };
        hits.iter().map(show).collect::<Vec<_>>().join(", ")
    };
    for (query, expected) in [
        ("age", "profile.age"),
        ("YEARS", "profile.age"),
        ("risk", "entity customer"),
        ("credit", "feature view profile"),
        ("loan income", "ratios.loan_to_income"),
        ("scor", "feature service scoring"),
        ("nothing_like_it", ""),
        (" ", ""),
    ] {
        assert_eq!(found(query, 0).await, expected, "{query}");
    }
    assert_eq!(found("profile", 0).await.split(", ").next(), Some("feature view profile"));
    assert_eq!(found("profile", 1).await, "feature view profile");
    assert_eq!(client.search(&project(), "customer", 0).await.unwrap()[0].owner, "risk-platform");
    // It is the newest revision that is searched.
    client.apply(&project(), &whole(&BASE.replace("Age in years", "Birthdays"))).await.unwrap();
    assert_eq!((found("years", 0).await, found("birthdays", 0).await), (String::new(), "profile.age".to_owned()));
}

#[tokio::test]
async fn lineage_goes_both_ways_from_what_is_asked_for() {
    let registry = Registry::start(&Storage::in_memory(), &clock()).await;
    for way in registry.both_ways().await {
        let client = RegistryClient::new(way);
        if client.projects().await.unwrap().is_empty() {
            declare_base(&client).await;
        }
        let edges = async |kind, text: &str, feature: Option<&str>| {
            let lineage = client.lineage(&project(), &id(kind, text), feature).await.unwrap();
            let show = |position: usize| {
                let node = &lineage.nodes[position];
                let column = node.column.as_ref().map(|column| format!(".{column}")).unwrap_or_default();
                format!("{}{column}", node.id.name)
            };
            let mut edges: Vec<_> =
                lineage.edges.iter().map(|(from, to)| format!("{} > {}", show(*from), show(*to))).collect();
            edges.sort();
            edges
        };
        assert_eq!(
            edges(ObjectKind::FeatureView, "profile", Some("income")).await,
            [
                "customer > profile.income",
                "history.income > profile.income",
                "profile.income > ratios.loan_to_income",
                "pushed.income > profile.income",
                "ratios.loan_to_income > scoring",
            ]
        );
        let of_service = edges(ObjectKind::FeatureService, "scoring", None).await;
        assert!(
            of_service.contains(&"ratios.request.loan_amount > ratios.loan_to_income".to_owned()),
            "{of_service:?}"
        );
        assert!(of_service.contains(&"profile.age > scoring".to_owned()), "{of_service:?}");
        let error = client.lineage(&project(), &view("profil"), None).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::NotFound);
        assert!(error.message().contains("did you mean profile?"), "{error}");
        let parts =
            [(ObjectKind::FeatureView, "profile", "incom"), (ObjectKind::OnDemandFeatureView, "ratios", "loan")];
        for (kind, object, part) in parts.into_iter().chain([(ObjectKind::FeatureService, "scoring", "age")]) {
            let error = client.lineage(&project(), &id(kind, object), Some(part)).await.unwrap_err();
            assert_eq!(error.code(), ErrorCode::NotFound);
            assert!(error.message().contains(&format!("has no feature `{part}`")), "{error}");
        }
        let error = client.lineage(&project(), &view("profile"), Some("incom")).await.unwrap_err();
        assert!(error.message().contains("did you mean income?"), "{error}");
    }
}

#[tokio::test]
async fn a_name_that_is_nearly_right_is_answered_with_what_there_is() {
    let client = Registry::start(&Storage::in_memory(), &clock()).await.definitions();
    declare_base(&client).await;
    client.apply(&project(), &whole("project: payments")).await.unwrap();
    client.apply(&project(), &whole(&BASE.replace("profile", "profiles"))).await.unwrap();
    for (kind, wrong, right) in [
        (ObjectKind::Entity, "custmer", "customer"),
        (ObjectKind::Source, "histroy", "history"),
        (ObjectKind::FeatureView, "profile", "profiles"),
        (ObjectKind::OnDemandFeatureView, "ratio", "ratios"),
        (ObjectKind::FeatureService, "scorings", "scoring"),
    ] {
        let error = client.object(&project(), &id(kind, wrong), None).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::NotFound);
        let says = format!("project payments at revision 3 has no {kind} `{wrong}`; did you mean {right}?");
        assert_eq!(error.message(), says);
    }
    // At an earlier revision, what was there then.
    assert!(client.object(&project(), &view("profile"), Some(Revision(1))).await.is_ok());
    let error = client.object(&project(), &view("profile"), Some(Revision(2))).await.unwrap_err();
    assert_eq!(error.message(), "project payments at revision 2 has no feature view `profile`");
    assert_eq!(client.objects(&project(), None, Some(Revision(4)), "").await.unwrap_err().code(), ErrorCode::NotFound);
}

#[tokio::test]
async fn what_is_listed_and_searched_for_is_short() {
    let registry = Registry::start(&Storage::in_memory(), &clock()).await;
    declare_base(&registry.definitions()).await;
    let error = registry.definitions().search(&project(), &"word ".repeat(300), 0).await.unwrap_err();
    assert!(error.message().contains("a search takes at most 1024"), "{error}");
    let runs = registry.runs();
    for name in ["x".repeat(257), "two\nlines".to_owned()] {
        let error = runs.create(&project(), &name, &materialize("profile")).await.unwrap_err();
        assert!(error.message().contains("it may have 256"), "{error}");
        runs.create(&project(), "run", &materialize("profile")).await.unwrap();
        let error = runs.acquire_lease(&project(), "run", &name).await.unwrap_err();
        assert!(error.message().contains("it may have 256"), "{error}");
    }
    let training = |spine: String| {
        RunRequest::TrainingSet(TrainingSetRequest {
            feature_service: None,
            references: vec!["profile".to_owned()],
            spine,
            event_time: String::new(),
            output: String::new(),
            full_names: false,
        })
    };
    let error = runs.create(&project(), "", &training("x".repeat(70_000))).await.unwrap_err();
    assert!(error.message().contains("has 70007 bytes, and a run keeps 65536"), "{error}");
    runs.create(&project(), "", &training("x".repeat(60_000))).await.unwrap();
    let lease = runs.acquire_lease(&project(), "run", "ada").await.unwrap().lease;
    let failed = Outcome::Failed { error: "ä".repeat(20_000) };
    let kept = runs.finish(&project(), "run", lease, &failed).await.unwrap().error.unwrap();
    assert_eq!((kept.chars().count(), kept.ends_with('…')), (8 * 1024 + 1, true));
    assert_eq!(runs.finish(&project(), "run", lease, &failed).await.unwrap().error, Some(kept), "told twice");
}
