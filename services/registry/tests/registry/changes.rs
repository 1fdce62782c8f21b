//! Change sets: who may change what, what Plan says and Apply does, and what an error leaves behind.

use larder_client::{ChangeRequest, RegistryClient};
use larder_definitions::{ChangeSet, Engine, Object, ObjectKind};
use larder_test_kit::clock;
use larder_types::{Error, ErrorCode, Revision};

use crate::{
    declared::{BASE, declare_base, declared_names, entity, id, objects, of_origin, one_more, only, view, whole},
    surroundings::{Registry, Storage, name, project},
};

/// What a notebook adds to the base.
fn of_the_notebook() -> ChangeRequest {
    let text = format!("{BASE}  - {{ name: experiment, features: [{{ view: profile }}] }}\n");
    let mut puts = objects(&text);
    puts.retain(|object| object.id().name == "experiment");
    ChangeRequest { change: ChangeSet { puts, ..of_origin("notebook") }, remove_missing: true }
}

/// `repo` declared the base and `notebook` a service on it: revision 2.
async fn two_origins(client: &RegistryClient) {
    declare_base(client).await;
    let applied = client.apply(&project(), &of_the_notebook()).await.unwrap();
    assert_eq!((applied.revision, applied.changes.len()), (Revision(2), 1));
}

/// The base without its service.
fn without_scoring() -> String {
    BASE.split("feature_services").next().unwrap().to_owned()
}

#[tokio::test]
async fn an_origin_removes_what_it_declared_before_and_nothing_else() {
    let client = Registry::start(&Storage::in_memory(), &clock()).await.definitions();
    two_origins(&client).await;
    let before = declared_names(&client).await;

    let same = client.apply(&project(), &whole(BASE)).await.unwrap();
    assert_eq!((same.revision, same.changed), (Revision(2), false), "the notebook's service is not missing");

    let less = client.apply(&project(), &whole(&without_scoring())).await.unwrap();
    let removed: Vec<_> = less.changes.iter().map(|change| format!("{} {}", change.kind.as_str(), change.id)).collect();
    assert_eq!(removed, ["removed feature service scoring"]);
    let mut left = before.clone();
    left.retain(|name| name != "feature service scoring");
    assert_eq!(declared_names(&client).await, left);

    // Without `remove_missing`, what is not named stays.
    let some = only(ChangeSet { puts: objects(BASE).split_off(5), ..of_origin("repo") });
    client.apply(&project(), &some).await.unwrap();
    assert_eq!(declared_names(&client).await, before);

    // An origin that declares nothing at all leaves what others declared.
    let nothing = ChangeRequest { change: of_origin("notebook"), remove_missing: true };
    assert_eq!(client.apply(&project(), &nothing).await.unwrap().changes.len(), 1);
    assert_eq!(declared_names(&client).await.len(), before.len() - 1);
    let nothing = ChangeRequest { change: of_origin("somebody"), remove_missing: true };
    assert!(!client.apply(&project(), &nothing).await.unwrap().changed);

    let profile = client.object(&project(), &view("profile"), None).await.unwrap();
    assert_eq!(profile.origin, "repo");
}

/// A change that is refused, and how.
struct Refused {
    change: ChangeSet,
    code: ErrorCode,
    says: &'static str,
    field: Option<&'static str>,
}

fn refused(change: ChangeSet, code: ErrorCode, says: &'static str, field: Option<&'static str>) -> Refused {
    Refused { change, code, says, field }
}

/// The base's object of that kind, changed.
fn changed(kind: ObjectKind, change: impl FnOnce(&mut Object)) -> Object {
    let mut object = objects(BASE).into_iter().find(|object| object.id().kind == kind).unwrap();
    change(&mut object);
    object
}

fn view_of_unknown_source() -> Object {
    changed(ObjectKind::FeatureView, |object| {
        let Object::FeatureView(view) = object else { panic!() };
        view.source = name("histry");
        view.ttl = Some(std::time::Duration::ZERO);
    })
}

fn expression_of_the_wrong_type() -> Object {
    changed(ObjectKind::OnDemandFeatureView, |object| {
        let Object::OnDemandFeatureView(view) = object else { panic!() };
        view.features[0].engine = Engine::Sql("'text' || loan_amount".to_owned());
    })
}

fn refusals() -> Vec<Refused> {
    use ErrorCode::{AlreadyExists, Conflict, InvalidArgument, NotFound};
    let repo = |puts: Vec<Object>| ChangeSet { puts, ..of_origin("repo") };
    let expecting =
        |revision| ChangeSet { expected_revision: Some(Revision(revision)), ..repo(vec![entity("new", "")]) };
    let removing = |origin, ids: &[_]| ChangeSet { removes: ids.to_vec(), ..of_origin(origin) };
    let customer = || changed(ObjectKind::Entity, |_| ());
    vec![
        refused(expecting(1), Conflict, "was expected at revision 1 and is at revision 2", None),
        refused(expecting(9), Conflict, "was expected at revision 9 and is at revision 2", None),
        refused(
            ChangeSet { puts: vec![entity("new", ""), customer()], ..of_origin("notebook") },
            AlreadyExists,
            "entity customer is declared by origin `repo`: origin `notebook` can neither change nor remove it",
            Some("entities.customer"),
        ),
        refused(
            removing("repo", &[id(ObjectKind::FeatureService, "experiment")]),
            AlreadyExists,
            "is declared by origin `notebook`",
            Some("feature_services.experiment"),
        ),
        refused(removing("repo", &[view("profil")]), NotFound, "did you mean profile?", Some("feature_views.profil")),
        refused(
            removing("repo", &[view("profile"), id(ObjectKind::OnDemandFeatureView, "ratios")]),
            InvalidArgument,
            "there is no view `profile`",
            Some("feature_services.experiment.features[0].view"),
        ),
        refused(repo(vec![entity("new", ""), entity("new", "")]), InvalidArgument, "named twice", Some("entities.new")),
        refused(
            repo(vec![entity("new", ""), view_of_unknown_source()]),
            InvalidArgument,
            "did you mean `history`?",
            Some("feature_views.profile.source"),
        ),
        refused(
            repo(vec![entity("new", ""), view_of_unknown_source()]),
            InvalidArgument,
            "(and 1 more)",
            Some("feature_views.profile.ttl"),
        ),
        refused(
            repo(vec![entity("new", ""), expression_of_the_wrong_type()]),
            InvalidArgument,
            "loan_to_income",
            Some("on_demand_feature_views.ratios.features.loan_to_income.sql"),
        ),
    ]
}

fn told(error: &Error) -> (ErrorCode, String, Vec<larder_types::Violation>) {
    (error.code(), error.message().to_owned(), error.violations().to_vec())
}

#[tokio::test]
async fn after_an_error_nothing_is_changed() {
    let storage = Storage::in_memory();
    for way in Registry::start(&storage, &clock()).await.both_ways().await {
        let client = RegistryClient::new(way);
        if storage.contents().await.is_empty() {
            two_origins(&client).await;
        }
        let kept = storage.contents().await;
        for Refused { change, code, says, field } in refusals() {
            let change = only(change);
            let error = client.apply(&project(), &change).await.unwrap_err();
            assert_eq!(error.code(), code, "{error}");
            assert!(error.message().contains(says), "{error} does not say `{says}`");
            if let Some(field) = field {
                assert!(error.violations().iter().any(|violation| violation.field == field), "{error:?}");
            }
            let planned = client.plan(&project(), &change).await.unwrap_err();
            assert_eq!(told(&planned), told(&error), "Plan says what Apply would");
            assert!(storage.contents().await == kept, "{says}");
            let page = client.objects(&project(), None, None, "").await.unwrap();
            assert_eq!(page.revision, Revision(2), "{says}");
        }
        // The next good one follows as if nothing had been.
        let plan = client.plan(&project(), &one_more("repo", "new")).await.unwrap();
        assert_eq!((plan.base, plan.changes.len()), (Revision(2), 1));
    }
}

#[tokio::test]
async fn a_project_is_made_by_its_first_good_apply_alone() {
    let storage = Storage::in_memory();
    let client = Registry::start(&storage, &clock()).await.definitions();
    let plan = client.plan(&project(), &whole(BASE)).await.unwrap();
    assert_eq!((plan.base, plan.changes.len()), (Revision(0), objects(BASE).len()));
    let bad = only(ChangeSet { puts: vec![view_of_unknown_source()], ..of_origin("repo") });
    assert_eq!(client.apply(&project(), &bad).await.unwrap_err().code(), ErrorCode::InvalidArgument);
    let stale = ChangeSet { expected_revision: Some(Revision(3)), ..one_more("repo", "new").change };
    assert_eq!(client.apply(&project(), &only(stale)).await.unwrap_err().code(), ErrorCode::Conflict);
    let nothing = only(of_origin("repo"));
    assert_eq!(client.apply(&project(), &nothing).await.unwrap_err().code(), ErrorCode::NotFound);
    assert!(client.projects().await.unwrap().is_empty() && storage.contents().await.is_empty());

    declare_base(&client).await;
    let error = client.apply(&name("paymens"), &nothing).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::NotFound);
    assert!(error.message().contains("did you mean payments?"), "{error}");
    assert!(!client.apply(&project(), &nothing).await.unwrap().changed);
    client.apply(&name("ledger"), &one_more("repo", "new")).await.unwrap();
    let numbers = |projects: Vec<larder_client::Project>| {
        projects.into_iter().map(|it| (it.name.to_string(), it.number.0, it.revision.0)).collect::<Vec<_>>()
    };
    let expected = [("ledger".to_owned(), 2, 1), ("payments".to_owned(), 1, 1)];
    assert_eq!(numbers(client.projects().await.unwrap()), expected);
    let client = Registry::start(&storage, &clock()).await.definitions();
    assert_eq!(numbers(client.projects().await.unwrap()), expected);

    let error = client.objects(&name("paymens"), None, None, "").await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::NotFound);
    assert!(error.message().contains("did you mean payments?"), "{error}");
}

/// Definitions, one after the other, that change in every way there is.
fn story() -> Vec<String> {
    let retyped = BASE.replace("name: age, type: int64", "name: age, type: float64");
    let renamed = retyped
        .replace("name: income,", "name: earnings, column: income, renamed_from: income,")
        .replace("/ income", "/ earnings");
    let longer = renamed.replace("ttl: 30d", "ttl: 60d");
    let keyed = longer.replace("customer_id, type: string", "client_id, type: int64");
    let moved = keyed.replace("/data/history/", "/data/elsewhere/");
    let fewer = moved.split("feature_services").next().unwrap().to_owned();
    vec![
        BASE.to_owned(),
        retyped,
        renamed,
        longer,
        keyed,
        moved,
        fewer,
        "project: payments".to_owned(),
        BASE.to_owned(),
    ]
}

#[tokio::test]
async fn apply_does_what_plan_says() {
    let storage = Storage::in_memory();
    let registry = Registry::start(&storage, &clock()).await;
    let client = RegistryClient::new(registry.over_a_port().await);
    for (number, text) in (0_u64..).zip(story()) {
        let change = whole(&text);
        let plan = client.plan(&project(), &change).await.unwrap();
        assert_eq!(plan.base, Revision(number));
        assert_eq!(plan, client.plan(&project(), &change).await.unwrap(), "planning changes nothing");
        let applied = client.apply(&project(), &change).await.unwrap();
        assert_eq!((applied.revision, applied.changed), (Revision(number + 1), true));
        assert!(!plan.changes.is_empty());
        assert_eq!((&applied.changes, &applied.consequences), (&plan.changes, &plan.consequences));
        if number > 0 {
            let diff = client.diff(&project(), Revision(number), None).await.unwrap();
            assert_eq!((diff.to, &diff.changes), (Revision(number + 1), &plan.changes));
        }

        let again = client.plan(&project(), &change).await.unwrap();
        assert!(again.is_empty() && again.unchanged.len() == change.change.puts.len(), "{again:?}");
        let nothing = client.apply(&project(), &change).await.unwrap();
        assert_eq!((nothing.revision, nothing.changed), (Revision(number + 1), false));
        assert!(nothing.changes.is_empty());
    }
}
