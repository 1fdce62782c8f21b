//! The commands against a `larder up` of their own, on what `larder init` made.

use std::{
    fs,
    io::Write,
    process::Command,
    time::{Duration, Instant},
};

use expect_test::expect;
use larder_types::{Clock, SystemClock};
use serde_json::json;

use crate::running::Up;

#[test]
fn a_newcomer_gets_from_definitions_to_a_training_set() {
    let up = Up::start();
    let planned = up.larder(&["plan", "--detailed-exitcode"]);
    assert_eq!(planned.code, 10, "{}", planned.err);
    assert!(planned.out.starts_with("Project shop at revision 0, origin shop: 7 created\n  + entity customer\n"));
    let refused = up.larder(&["apply"]);
    assert_eq!((refused.code, refused.out.as_str()), (1, ""));
    assert!(refused.err.contains("7 created") && refused.err.contains("say --yes"), "{}", refused.err);
    assert!(up.good(&["apply", "--yes"]).starts_with("Project shop is at revision 1: 7 created"));
    assert_eq!(up.larder(&["plan", "--detailed-exitcode"]).code, 0);

    let summary = up.good(&["materialize", "purchases"]);
    assert_eq!(words(summary.lines().nth(1).unwrap())[..5], ["purchases", "SUCCEEDED", "8", "4", "0"]);
    expect![[r#"
        FEATURE              C1         C2         C9
        orders_30d           4          NULL       NOT_FOUND
        spent_30d            180.2      0.0        NOT_FOUND
        cart_value           NOT_FOUND  NOT_FOUND  NOT_FOUND
        cart_to_usual_order  NULL       NULL       NULL
    "#]]
    .assert_eq(&up.good(&["online", "offer_service", "customer_id=C1,C2,C9", "--request", "discount=0.2"]));

    up.good(&["push", "cart_events", "customer_id=C1", "cart_value=45.05"]);
    let online =
        up.larder(&["online", "--features", "cart,offer", "customer_id=C1", "discount=0.5", "--output", "json"]);
    assert_eq!(
        online.json()["features"],
        json!([
            { "name": "cart_value", "values": [45.05], "statuses": ["PRESENT"] },
            { "name": "cart_to_usual_order", "values": [0.5], "statuses": ["PRESENT"] },
        ])
    );
    up.good(&["push", "cart_events", "customer_id=C1", "--delete"]);
    let online = up.good(&["online", "--features", "cart", "customer_id=C1", "--replay"]);
    assert!(online.contains("cart_value  NOT_FOUND\n\njudged at "), "{online}");

    let trained = up.good(&["train", "offer_service", "--spine", "data/spine.csv", "--out", "training.parquet"]);
    assert!(trained.starts_with("5 rows in training.parquet: "), "{trained}");
    let on_server = ["train", "offer_service", "--spine", "data/spine.csv", "--out", "other.parquet", "--on-server"];
    assert!(up.good(&on_server).starts_with("5 rows in other.parquet: "));
    for file in ["training.parquet", "other.parquet"] {
        assert!(up.folder().join(file).exists());
    }
}

#[test]
fn what_is_declared_can_be_found_compared_and_taken_back() {
    let up = Up::start();
    up.good(&["apply", "--yes", "--message", "first"]);
    assert!(up.good(&["list", "features"]).contains("purchases.spent_30d        float64  What they cost\n"));
    assert!(up.good(&["list", "projects"]).contains("shop"));
    assert!(up.good(&["describe", "purchases.spent_30d"]).contains("\n\nFEATURE    TYPE     COLUMN"));
    assert!(up.good(&["search", "orders"]).contains("purchases.orders_30d  feature"));
    expect![[r#"
        feature view purchases.spent_30d
        made from:
          ├─ entity customer
          └─ source purchase_history.spent_30d
        used by:
          ├─ on-demand feature view offer.cart_to_usual_order
          │  └─ feature service offer_service
          └─ feature service offer_service
    "#]]
    .assert_eq(&up.good(&["lineage", "purchases.spent_30d"]));
    assert!(up.good(&["docs"]).starts_with("# Features of shop\n"));
    let json = |arguments: &[&str]| up.larder(&[arguments, &["--output", "json"]].concat()).json();
    assert!(json(&["docs"])["markdown"].as_str().unwrap().starts_with("# Features of shop\n"));
    assert_eq!(json(&["docs", "--out", "FEATURES.md"])["file"], "FEATURES.md");
    assert!(up.folder().join("FEATURES.md").exists());
    assert_eq!(json(&["describe", "purchases"])["objects"][0]["definition"]["ttl"], "365d");
    let service = up.good(&["describe", "offer_service"]);
    assert!(
        service.contains("\n  join keys        customer_id string\n  request data     discount float64\n"),
        "{service}"
    );
    let service = &json(&["describe", "offer_service"])["objects"][0];
    assert_eq!(service["join_keys"], json!([{ "name": "customer_id", "type": "string" }]));
    assert_eq!(service["request_data"], json!([{ "name": "discount", "type": "float64" }]));

    let file = up.folder().join("larder.yaml");
    let definitions = fs::read_to_string(&file).unwrap();
    fs::write(&file, definitions.replace("ttl: 365d", "ttl: 30d")).unwrap();
    up.good(&["apply", "--yes"]);
    expect![[r#"
        Project shop, from revision 1 to 2: 1 changed
          ~ feature view purchases
              ttl: 365d → 30d
    "#]]
    .assert_eq(&up.good(&["diff", "1"]));
    up.good(&["rollback", "1", "--yes"]);
    let revisions = up.larder(&["revisions", "--output", "json"]).json();
    let of = |field: &str| -> Vec<_> {
        revisions["revisions"].as_array().unwrap().iter().map(|revision| revision[field].clone()).collect()
    };
    assert_eq!(of("revision"), [3, 2, 1]);
    assert_eq!(of("rollback_to"), [json!(1), json!(null), json!(null)]);
    assert_eq!(of("message"), ["", "", "first"]);

    let cost = ("description: What they cost }", "description: \"What\\nthey cost\\n\", tags: { unit: EUR } }");
    let two_lines = ("description: A person who buys", "description: |\n      A person\n      who buys");
    let tagged = definitions.replace(cost.0, cost.1).replace(two_lines.0, two_lines.1);
    fs::write(&file, tagged).unwrap();
    up.good(&["apply", "--yes"]);
    let described = up.good(&["describe", "purchases.spent_30d"]);
    assert!(described.ends_with("  What\\nthey cost  unit=EUR\n"), "{described}");
    assert!(up.good(&["describe", "customer"]).contains("\n  description      A person\\nwho buys\n"));
    assert!(up.good(&["docs"]).contains("| What they cost | unit: EUR |\n"));

    fs::write(&file, "project: shopp\n").unwrap();
    let ran = up.larder(&["apply", "--yes"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{}", ran.err);
    assert!(ran.err.starts_with("error: nothing is declared here: "), "{}", ran.err);
    assert!(ran.err.contains("did you mean shop?"), "{}", ran.err);
    assert_eq!(json(&["list", "projects"])["projects"].as_array().map(Vec::len), Some(1));
}

#[test]
fn events_that_are_wrong_are_told_by_row_and_the_others_go_in() {
    let up = Up::start();
    up.good(&["apply", "--yes"]);
    let push = |name: &str, content: &str, more: &[&str]| {
        fs::write(up.folder().join(name), content).unwrap();
        up.larder(&[&["push", "cart_events", "--file", name], more].concat())
    };
    let lines = "{\"customer_id\":\"C1\",\"cart_value\":0.12345678901234568,\"event_time\":\"2026-01-01\"}\n\
                 {\"customer_id\":null,\"cart_value\":1,\"event_time\":\"2026-01-01\"}\n";
    let pushed = push("events.jsonl", lines, &["--output", "json", "--target", "offline"]);
    assert_eq!(pushed.code, 1);
    let counts = pushed.json();
    assert_eq!((&counts["rows"], &counts["refused"], &counts["refusals"][0]["row"]), (&json!(2), &json!(1), &json!(2)));

    let cases = [
        (
            "customer_id,cart_value,event_time\nC1,abc,2026-01-01\n",
            "bad.csv: row 1, column cart_value: \"abc\" is not a value",
        ),
        ("customer_id,cart_valu,event_time\nC1,1,2026-01-01\n", "did you mean cart_value?"),
        ("customer_id,event_time\nC1,2026-01-01\n", "cart_value: is missing"),
        ("customer_id,cart_value\nC1,1\n", "bad.csv has no column event_timestamp"),
        (
            "customer_id,cart_value,event_time\n\"C1\",1,2026-01-01\n\"C",
            "bad.csv: line 3: a quote opens a value here and is never closed",
        ),
    ];
    for (content, message) in cases {
        let ran = push("bad.csv", content, &[]);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""));
        assert!(ran.err.contains(message), "{message}: {}", ran.err);
    }
    let ran = push(
        "late.csv",
        "customer_id,cart_value,event_time\nC1,1,2026-01-01\nC2,x,2026-01-01\n",
        &["--batch-size", "1"],
    );
    assert!(ran.err.contains("Rows pushed before it: 1;") && ran.err.contains("--batch-id "), "{}", ran.err);
    assert!(ran.err.trim_end().ends_with(" --batch-size 1"), "{}", ran.err);
}

#[test]
fn rows_without_a_time_are_refused_and_the_others_go_in() {
    let up = Up::start();
    up.good(&["apply", "--yes"]);
    let now = SystemClock.now();
    let file = format!(
        "customer_id,cart_value,event_time,seen\nC1,1,,{now}\nC2,2,{now},{now}\n,3,{now},{now}\nC4,4,{now},\nC5,5,{now},{now}\n"
    );
    fs::write(up.folder().join("events.csv"), &file).unwrap();
    for size in ["1", "2", "3", "1000"] {
        let push =
            ["push", "cart_events", "--file", "events.csv", "--created-time-column", "seen", "--batch-size", size];
        let pushed = up.larder(&[&push[..], &["--batch-id", &format!("b{size}"), "--output", "json"]].concat());
        assert_eq!(pushed.code, 1, "{}", pushed.err);
        let pushed = pushed.json();
        assert_eq!((&pushed["rows"], &pushed["refused"]), (&json!(5), &json!(3)), "{pushed}");
        assert_eq!(pushed["batch_id"], format!("b{size}"));
        let refusals = pushed["refusals"].as_array().unwrap().iter();
        let refusals: Vec<_> =
            refusals.map(|of| (of["row"].as_u64().unwrap(), of["reason"].as_str().unwrap())).collect();
        assert_eq!(refusals[0], (1, "event_time is null: every event needs a time"));
        assert!(refusals[1].0 == 3 && refusals[1].1.starts_with("customer_id is null"), "{refusals:?}");
        assert_eq!(refusals[2], (4, "seen is null: every event needs a time"));
    }
    let served = up.good(&["online", "--features", "cart", "customer_id=C1,C2,C4,C5"]);
    assert_eq!(words(served.lines().nth(1).unwrap()), ["cart_value", "NOT_FOUND", "2.0", "NOT_FOUND", "5.0"]);
    // Put right and pushed under the same id, all of it is in.
    fs::write(
        up.folder().join("events.csv"),
        file.replace(",,", &format!(",{now},")).replace(",\n", &format!(",{now}\n")),
    )
    .unwrap();
    up.larder(&["push", "cart_events", "--file", "events.csv", "--created-time-column", "seen", "--batch-id", "b3"]);
    let served = up.good(&["online", "--features", "cart", "customer_id=C1,C2,C4,C5"]);
    assert_eq!(words(served.lines().nth(1).unwrap()), ["cart_value", "1.0", "2.0", "4.0", "5.0"]);
}

#[test]
fn limits_of_requests_and_answers_are_told_as_the_command_knows_them() {
    let up = Up::start();
    up.good(&["apply", "--yes"]);
    let event = |key: String| format!("{{\"customer_id\":\"{key}\",\"cart_value\":1,\"event_time\":\"2026-01-01\"}}\n");
    fs::write(up.folder().join("great.jsonl"), event("x".repeat(1 << 20)).repeat(20)).unwrap();
    let ran = up.larder(&["push", "cart_events", "--file", "great.jsonl"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("(push_ingest.server.max_request_bytes)"), "{}", ran.err);
    assert!(ran.err.contains("--batch-size says how many events a batch has: fewer than 20 then"), "{}", ran.err);
    fs::write(up.folder().join("great.jsonl"), event("x".repeat(20 << 20))).unwrap();
    let ran = up.larder(&["push", "cart_events", "--file", "great.jsonl"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("It is one event: no --batch-size makes it smaller"), "{}", ran.err);
    // More entities than one call has, whose answers are put together in order.
    let entities: String = (0..20_011).map(|number| format!("E{number}\n")).collect();
    fs::write(up.folder().join("entities.csv"), format!("customer_id\n{entities}C1\n")).unwrap();
    up.good(&["push", "cart_events", "customer_id=C1,E0,E10000", "cart_value=1,2,3"]);
    let online = ["online", "--features", "cart", "--entities", "entities.csv", "--replay"];
    let document = up.larder(&[&online[..], &["--output", "json"]].concat()).json();
    let values = document["features"][0]["values"].as_array().unwrap();
    assert_eq!((values.len(), document["entities"].as_array().unwrap().len()), (20_012, 20_012));
    let present: Vec<_> = (0..values.len()).filter(|row| !values[*row].is_null()).collect();
    assert_eq!(present, [0, 10_000, 20_011]);
    assert_eq!(document["entities"][20_011]["customer_id"], "C1");
    let replay = &document["replay"];
    assert_eq!(replay["views"][0]["versions"].as_array().unwrap().len(), 20_012);
    assert!(replay["views"][0]["versions"][10_000]["event_time"].is_string());
    let firsts: Vec<_> = replay["judged"].as_array().unwrap().iter().map(|judged| judged["first"].clone()).collect();
    assert_eq!(firsts, [0, 10_000, 20_000]);
    let table = up.good(&online);
    assert!(
        table.lines().nth(10_001).is_some_and(|line| words(line) == ["E10000", "3.0"]),
        "{:?}",
        table.lines().nth(10_001)
    );
}

#[test]
fn a_push_that_is_interrupted_names_the_batches_it_is_repeated_under() {
    let up = Up::start();
    up.good(&["apply", "--yes"]);
    let events = up.folder().join("events.jsonl");
    assert!(Command::new("mkfifo").arg(&events).status().unwrap().success());
    let push = up.begin(&["push", "cart_events", "--file", "events.jsonl", "--batch-size", "1"]);
    let mut writer = fs::File::options().write(true).open(&events).unwrap();
    // Now: an event past its ttl is not served.
    let event = json!({ "customer_id": "C1", "cart_value": 7.5, "event_time": SystemClock.now().to_string() });
    writer.write_all(format!("{event}\n").repeat(2).as_bytes()).unwrap();
    let online = ["online", "--features", "cart.cart_value", "customer_id=C1", "--output", "json"];
    let deadline = Instant::now() + Duration::from_secs(60);
    while up.larder(&online).json()["features"][0]["statuses"][0] != "PRESENT" {
        assert!(Instant::now() < deadline, "the first event is not served");
    }
    assert!(Command::new("kill").args(["-INT", &push.id().to_string()]).status().unwrap().success());
    let ran = push.wait_with_output().unwrap();
    let err = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(130), "{err}");
    assert!(err.contains("push it again with --batch-id ") && err.contains(" --batch-size 1\n"), "{err}");
    assert!(err.ends_with("error: interrupted\n"), "{err}");
}

#[test]
fn runs_that_fail_exit_with_6_and_unknown_names_with_1() {
    let up = Up::start();
    up.good(&["apply", "--yes"]);
    fs::write(up.folder().join("data/purchases.parquet"), "PAR1 cut short").unwrap();
    let serving =
        up.addresses.iter().find(|(service, _)| *service == "SERVING").map(|(_, address)| address.clone()).unwrap();
    let elsewhere = up.larder(&["list", "features", "--registry", &serving]);
    assert_eq!(elsewhere.code, 3, "{}", elsewhere.err);
    assert!(elsewhere.err.contains(&format!("what answers at {serving} is a service of Larder")), "{}", elsewhere.err);
    let failed = up.larder(&["materialize", "purchases"]);
    assert_eq!(failed.code, 6, "{}{}", failed.out, failed.err);
    assert!(
        failed.out.contains("FAILED") && failed.err.ends_with("error: 1 run failed or cancelled\n"),
        "{}",
        failed.err
    );
    let listed = up.larder(&["runs", "list", "--state", "failed", "--output", "json"]).json();
    let id = listed["runs"][0]["id"].as_str().unwrap().to_owned();
    assert!(up.good(&["runs", "show", &id]).contains("error            "));
    assert_eq!(up.larder(&["runs", "watch", &id]).code, 6);
    let cancelled = up.larder(&["runs", "cancel", &id]);
    assert_eq!(cancelled.code, 0, "{}", cancelled.err);
    assert_eq!(cancelled.err, format!("Run {id} had ended already: FAILED\n"));
    let cases: [(&[&str], &str); 6] = [
        (&["online", "offer_servise", "customer_id=C1"], "did you mean offer_service?"),
        (&["online", "offer_service", "customer_id=C1"], "request data discount (float64) is missing"),
        (&["describe", "purchase"], "did you mean purchases"),
        (&["runs", "show", "nothing"], "nothing"),
        (&["runs", "list", "--view", "purchses"], "did you mean purchases?"),
        (&["rollback", "7", "--yes"], "no revision 7"),
    ];
    for (arguments, message) in cases {
        let ran = up.larder(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(message), "{message}: {}", ran.err);
    }
    let train = |spine: &str, more: &[&str]| {
        let ran = up.larder(&[&["train", "offer_service", "--spine", spine, "--out", "t.parquet"], more].concat());
        assert!(ran.out.is_empty() && !up.folder().join("t.parquet").exists());
        (ran.code, ran.err)
    };
    for more in [&["--event-time", "at"][..], &["--event-time", "at", "--on-server"]] {
        let (code, err) = train("data/spine.csv", more);
        assert_eq!(code, 6, "{err}");
        assert!(err.starts_with("error: run ") && err.contains("no column `at`"), "{err}");
    }
    // What is wrong with the file is told, and not what the service makes of it.
    let rows = |rows: usize| format!("customer_id,event_timestamp,discount\n{}", "C1,2026-01-02,1\n".repeat(rows));
    for before in [0, 9_000, 40_000] {
        fs::write(up.folder().join("wrong.csv"), rows(before) + "C1,2026-01-02,much\n").unwrap();
        let (code, err) = train("wrong.csv", &[]);
        let line = before + 2;
        let message = format!(
            "error: wrong.csv: line {line}, column discount: \"much\" is not a value of type float64; write a number such as 12.5, NaN or Infinity\n"
        );
        assert_eq!((code, err), (1, message));
    }
}

/// A view that is gone has its runs; one that is there need not have any.
#[test]
fn runs_are_listed_of_views_that_are_known_or_were() {
    let up = Up::start();
    up.good(&["apply", "--yes"]);
    let of = |view: &str, more: &[&str]| up.larder(&[&["runs", "list", "--view", view], more].concat());
    let none = of("cart", &[]);
    assert_eq!((none.code, none.err.as_str()), (0, "There are no such runs.\n"));
    up.good(&["materialize", "purchases"]);
    fs::write(
        up.folder().join("larder.yaml"),
        "project: shop\nentities: [{ name: customer, join_keys: [{ name: customer_id, type: string }] }]\n",
    )
    .unwrap();
    up.good(&["apply", "--yes"]);
    let gone = of("purchases", &["--output", "json"]);
    assert_eq!(gone.json()["runs"].as_array().map(Vec::len), Some(1), "{}", gone.err);
    let failed = of("purchases", &["--state", "failed"]);
    assert_eq!((failed.code, failed.err.as_str()), (0, "There are no such runs.\n"));
    let unknown = of("cart", &[]);
    assert_eq!((unknown.code, unknown.out.as_str()), (1, ""), "{}", unknown.err);
    assert!(unknown.err.contains("has no feature view `cart`"), "{}", unknown.err);
}

/// What a command writes here is never what it, or Larder, reads.
#[test]
fn neither_spines_nor_sources_nor_definitions_are_written_over() {
    let up = Up::start();
    up.good(&["apply", "--yes"]);
    let at = |name: &str| up.folder().join(name);
    let train = |spine: &str, out: &str| up.larder(&["train", "offer_service", "--spine", spine, "--out", out]);
    assert_eq!(train("data/spine.csv", "spine.parquet").code, 0);
    std::os::unix::fs::symlink("data", at("link")).unwrap();
    std::os::unix::fs::symlink("../spine.parquet", at("data/link.parquet")).unwrap();
    let kept = [at("spine.parquet"), at("data/purchases.parquet"), at("larder.yaml")];
    let before: Vec<_> = kept.iter().map(|file| fs::read(file).unwrap()).collect();
    let source = up.folder().join("data/purchases.parquet");
    for (out, message) in [
        ("spine.parquet", "spine.parquet is the spine itself: name another file"),
        ("data/link.parquet", "data/link.parquet is the spine itself"),
        ("data/purchases.parquet", "is among the files of source `purchase_history`"),
        ("link/purchases.parquet", "is among the files of source `purchase_history`"),
        (source.to_str().unwrap(), "is among the files of source `purchase_history`"),
    ] {
        let ran = train("spine.parquet", out);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{out}: {}", ran.err);
        assert!(ran.err.contains(message), "{out}: {}", ran.err);
    }
    // Nor over what Larder keeps, nor beside it.
    up.good(&["push", "cart_events", "customer_id=C1", "cart_value=7"]);
    fs::create_dir(at(".larder/push-log/new")).unwrap();
    std::os::unix::fs::symlink(".larder/push-log/new.parquet", at("to-data.parquet")).unwrap();
    std::os::unix::fs::symlink(".larder/online.redb", at("to-data.md")).unwrap();
    for out in [".larder/a.parquet", ".larder/push-log/new/a.parquet", ".larder/none/a.parquet", "to-data.parquet"] {
        let ran = train("spine.parquet", out);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{out}: {}", ran.err);
        assert!(ran.err.contains("/.larder, where Larder keeps its data: name a place outside"), "{out}: {}", ran.err);
        assert!(!at(out).exists());
    }
    let format = fs::read(at(".larder/format")).unwrap();
    for out in [".larder/format", ".larder/online.redb", "to-data.md", ".larder/lock", ".larder/new.md"] {
        let ran = up.larder(&["docs", "--out", out]);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{out}: {}", ran.err);
        assert!(ran.err.contains("/.larder, where Larder keeps its data"), "{out}: {}", ran.err);
    }
    assert!(format == fs::read(at(".larder/format")).unwrap() && !at(".larder/new.md").exists());
    // Though the repository has a problem.
    std::os::unix::fs::symlink("larder.yaml", at("link.md")).unwrap();
    std::os::unix::fs::symlink("nowhere", at("gone.yaml")).unwrap();
    for (out, message) in [
        ("larder.yaml", "larder.yaml is a file of definitions"),
        ("new.yml", "new.yml is a file of definitions"),
        ("link.md", "link.md is a file of definitions"),
        ("data/purchases.parquet", "is among the files of source `purchase_history`"),
    ] {
        let ran = up.larder(&["docs", "--out", out]);
        assert_eq!(ran.code, 1, "{out}");
        assert!(ran.err.contains(message), "{out}: {}", ran.err);
    }
    assert!(!at("new.yml").exists());
    let after: Vec<_> = kept.iter().map(|file| fs::read(file).unwrap()).collect();
    assert!(before == after);
}

/// A spine without rows gives a training set without rows, with all columns, whoever writes it.
#[test]
fn an_empty_spine_gives_an_empty_training_set() {
    let up = Up::start();
    up.good(&["apply", "--yes"]);
    fs::write(up.folder().join("empty.csv"), "customer_id,event_timestamp,discount,label\n").unwrap();
    for more in [&["--stream"][..], &["--on-server"]] {
        let out = format!("out{}.parquet", more[0]);
        let train = ["train", "offer_service", "--spine", "empty.csv", "--out", &out];
        let trained = up.good(&[&train[..], more].concat());
        assert!(trained.starts_with(&format!("0 rows in {out}")), "{trained}");
        let read = fs::File::open(up.folder().join(&out)).unwrap();
        let read = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(read).unwrap();
        let columns: Vec<_> = read.schema().fields().iter().map(|field| field.name().clone()).collect();
        let features = ["orders_30d", "spent_30d", "cart_value", "cart_to_usual_order"];
        assert_eq!(columns, [&["customer_id", "event_timestamp", "discount", "label"][..], &features].concat());
        assert_eq!(read.metadata().file_metadata().num_rows(), 0);
    }
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}
