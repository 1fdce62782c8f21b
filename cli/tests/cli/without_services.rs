//! Exit codes, what goes to which output, what a mistake is answered with, where no service is needed.

use expect_test::expect;

use crate::running::{
    Ran, free_ports, larder, larder_in, larder_unread, larder_with, larder_with_small_files, larder_without_room,
    repository,
};

#[test]
fn help_groups_the_commands_and_names_the_exit_codes() {
    let ran = larder(&["--help"]);
    assert_eq!(ran.code, 0);
    for text in ["Declare features:", "  apply        Make a revision", "Exit codes:", "  5  validation found problems"]
    {
        assert!(ran.out.contains(text), "{text}: {}", ran.out);
    }
    assert_eq!(ran.err, "");
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    for arguments in
        [&[][..], &["aply"], &["online", "--nonsense"], &["materialize", "--from", "2026-01-01"], &["push", "events"]]
    {
        let ran = larder(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}: {}", ran.err);
        assert!(!ran.err.is_empty());
    }
    assert!(larder(&["aply"]).err.contains("similar subcommand exists: 'apply'"));
    let ran = larder(&["materialize", "--incremental", "--scheduled", "yesterday"]);
    assert!(ran.err.contains("`yesterday` is not a time"), "{}", ran.err);
}

#[test]
fn a_number_that_is_none_is_told_in_plain_words() {
    let revision = "` is not the number of a revision, such as 3: `larder revisions` lists them\n";
    let count = "` is not a whole number from 0 to 4294967295\n";
    let count_above_zero = "` is not a whole number from 1 to 4294967295\n";
    for (arguments, told) in [
        (&["diff", "1", "x"][..], revision),
        (&["diff", "-1"], revision),
        (&["rollback", "1.5", "--yes"], revision),
        (&["revisions", "--limit", "x"], count),
        (&["search", "income", "--limit", "-1"], count),
        (&["runs", "list", "--limit", "4294967296"], count),
        (&["push", "events", "--file", "e.csv", "--batch-size", "0"], count_above_zero),
        (&["push", "events", "--file", "e.csv", "--batch-size", "many"], count_above_zero),
    ] {
        let ran = larder(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(told), "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn completions_are_a_script() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = larder(&["completions", shell]);
        assert_eq!(ran.code, 0);
        assert!(ran.out.contains("materialize") && ran.err.is_empty(), "{shell}");
    }
}

#[test]
fn what_init_makes_is_valid_and_never_overwrites() {
    let folder = tempfile::tempdir().unwrap();
    let made = larder_in(folder.path(), &["init", "my-shop"]);
    assert_eq!((made.code, made.out.as_str()), (0, ""), "{}", made.err);
    let shop = folder.path().join("my-shop");
    let valid = larder_in(&shop, &["validate"]);
    assert_eq!((valid.code, valid.err.as_str()), (0, ""));
    expect![[r#"
        Project my_shop: 1 entity, 2 sources, 2 feature views, 1 on-demand feature view, 1 feature service; all is well
    "#]]
    .assert_eq(&valid.out);
    for file in ["README.md", "larder.schema.json", ".gitignore", "data/purchases.parquet", "data/spine.csv"] {
        assert!(shop.join(file).exists(), "{file}");
    }
    std::fs::write(shop.join("larder.yaml"), "mine").unwrap();
    let again = larder_in(folder.path(), &["init", "my-shop"]);
    assert_eq!(again.code, 1);
    assert!(again.err.starts_with("error: my-shop has larder.yaml, larder.schema.json, README.md"), "{}", again.err);
    assert_eq!(std::fs::read_to_string(shop.join("larder.yaml")).unwrap(), "mine");
}

/// So that it can be done again once what was in the way is gone.
#[test]
fn what_init_cannot_finish_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let ran = larder_with_small_files(folder.path(), &["init", "outer/shop"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{}", ran.err);
    assert!(ran.err.contains("outer/shop/larder.schema.json cannot be written: "), "{}", ran.err);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

    let shop = folder.path().join("outer/shop");
    std::fs::create_dir_all(&shop).unwrap();
    std::fs::write(shop.join("data"), "mine").unwrap();
    let ran = larder_in(folder.path(), &["init", "outer/shop"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("outer/shop/data/purchases.parquet cannot be written: "), "{}", ran.err);
    assert_eq!(std::fs::read_dir(&shop).unwrap().count(), 1);
    std::fs::remove_file(shop.join("data")).unwrap();
    let ran = larder_in(folder.path(), &["init", "outer/shop"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(std::fs::read_dir(&shop).unwrap().count(), 5);
    assert_eq!(std::fs::read_dir(shop.join("data")).unwrap().count(), 2);
}

#[test]
fn every_problem_is_told_with_its_place() {
    let folder = repository(
        "project: shop
entities:
  - name: customer
    join_keys: [{ name: customer_id, type: float64 }]
sources:
  - { name: events, push: {} }
feature_views:
  - name: cart
    entities: [custmer]
    source: events
    ttl: 0d
    features: [{ name: value, type: float65 }]
",
    );
    let ran = larder_in(folder.path(), &["validate"]);
    assert_eq!((ran.code, ran.err.as_str()), (5, "error: 4 problems\n"), "{}", ran.out);
    let places: Vec<&str> = ran.out.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(
        places,
        ["larder.yaml:4:44", "larder.yaml:9:16", "larder.yaml:11:10", "larder.yaml:12:37"],
        "{}",
        ran.out
    );
    assert!(ran.out.contains("did you mean `customer`?"), "{}", ran.out);

    let ran = larder_in(folder.path(), &["validate", "--output", "json"]);
    assert_eq!((ran.code, ran.err.as_str()), (5, ""));
    let document = ran.json();
    assert_eq!(document["valid"], false);
    assert_eq!(document["problems"][0]["line"], 4);
    assert_eq!(document["problems"].as_array().unwrap().len(), 4);
}

#[test]
fn what_is_not_yaml_or_not_there_is_told_too() {
    let folder = repository("project: [shop\n");
    let ran = larder_in(folder.path(), &["validate"]);
    assert_eq!(ran.code, 5);
    assert!(ran.out.starts_with("larder.yaml:") && ran.out.contains("is not YAML"), "{}", ran.out);
    let empty = tempfile::tempdir().unwrap();
    let ran = larder_in(empty.path(), &["validate"]);
    assert_eq!(ran.code, 5);
    assert!(ran.out.contains("no definitions (*.yaml, *.yml)"), "{}", ran.out);
}

#[test]
fn the_schema_for_editors_is_json() {
    for flag in ["--json-schema", "--schema"] {
        let ran = larder(&["validate", flag]);
        assert_eq!(ran.code, 0);
        assert_eq!(ran.json()["title"], "Larder definitions");
    }
}

#[test]
fn apply_tells_problems_of_the_definitions_before_it_calls_anybody() {
    let folder = repository("project: shop\nentities: [{ name: customer, join_keys: [] }]\n");
    let ran = larder_in(folder.path(), &["apply", "--yes"]);
    assert_eq!((ran.code, ran.out.as_str()), (5, ""));
    assert!(
        ran.err.contains("larder.yaml:2:") && ran.err.ends_with("error: 1 problem in the definitions\n"),
        "{}",
        ran.err
    );
}

#[test]
fn a_service_that_is_not_there_is_named_with_its_address() {
    let folder = repository("project: shop\nentities: [{ name: c, join_keys: [{ name: c, type: int64 }] }]\n");
    let commands: [&[&str]; 8] = [
        &["plan"],
        &["apply", "--yes"],
        &["list", "features"],
        &["search", "income"],
        &["rollback", "1", "--yes"],
        &["materialize"],
        &["online", "service", "c=1"],
        &["docs"],
    ];
    for command in commands {
        let ran = larder_in(folder.path(), command);
        assert_eq!((ran.code, ran.out.as_str()), (3, ""), "{command:?}: {}", ran.err);
        assert!(ran.err.starts_with("error: the registry does not answer at http://127.0.0.1:1: "), "{}", ran.err);
        assert!(ran.err.contains("`larder up` starts one"), "{}", ran.err);
    }
    let ran = larder_in(folder.path(), &["runs", "list"]);
    assert_eq!(ran.code, 3);
    assert!(ran.err.starts_with("error: the materializer does not answer"), "{}", ran.err);
    let ran = larder_in(folder.path(), &["plan", "--registry", "nowhere"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("--registry: `nowhere` is not the address of a service"), "{}", ran.err);
}

/// However a kind is written elsewhere, it can be listed by that name; help shows one.
#[test]
fn kinds_can_be_listed_by_each_of_their_names() {
    let folder = repository("project: shop\n");
    let kinds = [
        ("project", "projects"),
        ("entity", "entities"),
        ("source", "sources"),
        ("view", "views"),
        ("feature-view", "feature-views"),
        ("on-demand-view", "on-demand-views"),
        ("on-demand-feature-view", "on-demand-feature-views"),
        ("service", "services"),
        ("feature-service", "feature-services"),
        ("feature", "features"),
    ];
    for name in kinds.into_iter().flat_map(|(one, many)| [one, many]) {
        for name in [name.to_owned(), name.replace('-', "_")] {
            let ran = larder_in(folder.path(), &["list", &name]);
            assert_eq!(ran.code, 3, "{name}: {}", ran.err);
        }
    }
    let ran = larder(&["list", "feature_vieuws"]);
    assert_eq!(ran.code, 2);
    let names = "projects, entities, sources, feature-views, on-demand-feature-views, feature-services, features";
    assert!(ran.err.contains(&format!("[possible values: {names}]")), "{}", ran.err);
    let help = larder(&["list", "--help"]).out;
    assert!(names.split(", ").all(|name| help.contains(name)) && !help.contains("feature_view"), "{help}");
}

#[test]
fn without_a_project_the_command_says_how_to_name_one() {
    let empty = tempfile::tempdir().unwrap();
    let ran = larder_in(empty.path(), &["list", "features"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("--project NAME"), "{}", ran.err);
    let ran = larder_in(empty.path(), &["list", "features", "--project", "9"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("`9` is not a name"), "{}", ran.err);
}

/// Nobody waits for a whole disk to be looked through.
#[test]
fn the_project_is_looked_for_among_so_many_files_only() {
    let folder = tempfile::tempdir().unwrap();
    for outer in 0..110 {
        for inner in 0..100 {
            std::fs::create_dir_all(folder.path().join(format!("{outer}/{inner}"))).unwrap();
        }
    }
    std::fs::write(folder.path().join("0/0/far.yaml"), "project: far\n").unwrap();
    let ran = larder_in(folder.path(), &["list", "features"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("none of the first 10,000 files and folders in . names one"), "{}", ran.err);
    std::fs::write(folder.path().join("0/near.yaml"), "project: near\n").unwrap();
    assert_eq!(larder_in(folder.path(), &["list", "features"]).code, 3);
}

/// What can be applied can be asked about.
#[test]
fn the_project_is_found_where_definitions_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("features");
    std::fs::create_dir(&below).unwrap();
    let definitions = "project: shop\nentities: [{ name: c, join_keys: [{ name: c, type: int64 }] }]\n";
    std::fs::write(below.join("shop.yaml"), definitions).unwrap();
    for command in [&["apply", "--yes"][..], &["online", "service", "c=1"]] {
        let ran = larder_in(folder.path(), command);
        assert_eq!(ran.code, 3, "{command:?}: {}", ran.err);
        assert!(ran.err.starts_with("error: the registry does not answer"), "{}", ran.err);
    }
}

#[test]
fn files_that_cannot_be_read_or_written_are_told_by_name() {
    let folder = repository("project: shop\n");
    let Ran { code, err, .. } = larder_in(folder.path(), &["train", "--spine", "s.csv", "--out", "t.parquet"]);
    assert_eq!(code, 2);
    assert!(err.contains("which features?"), "{err}");
}

#[test]
fn a_command_line_that_cannot_be_meant_exits_with_2() {
    let folder = repository("project: shop\n");
    for (arguments, message) in [
        (&["online", "customer_id=C1"][..], "which features?"),
        (&["online", "scoring", "customer_id"], "`customer_id` is not name=value"),
        (&["online", "scoring", "--features", "a.b"], "not for both"),
        (&["list", "features", "--registry", "banana"], "`banana` is not the address"),
        (&["materialize", "--from", "2026-02-01", "--to", "2026-01-01"], "must lie before"),
    ] {
        let ran = larder_in(folder.path(), arguments);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(message), "{message}: {}", ran.err);
    }
}

#[test]
fn variables_are_known_and_are_not_in_the_usage() {
    let folder = repository("project: shop\n");
    let ran = larder_with(folder.path(), ("LARDER__CLIENT__REGISTRI", "127.0.0.1:1"), &["list", "features"]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("did you mean LARDER__CLIENT__REGISTRY?"), "{}", ran.err);
    let ran = larder_in(folder.path(), &["describe"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("Usage: larder describe [OPTIONS] <NAME>\n"), "{}", ran.err);
}

#[test]
fn a_command_is_explained_by_help_too() {
    for command in [&["apply"][..], &["runs", "show"]] {
        let (help, option) = (larder(&[&["help"], command].concat()), larder(&[command, &["--help"]].concat()));
        assert_eq!((help.code, &help.out), (0, &option.out), "{}", help.err);
        assert!(help.out.contains("Example:"), "{}", help.out);
    }
    assert_eq!(larder(&["help"]).out, larder(&["--help"]).out);
}

#[test]
fn a_name_that_is_none_and_a_file_that_is_no_folder_are_told() {
    let folder = repository("project: shop\n");
    let ran = larder_in(folder.path(), &["push", "events", "--file", "events.csv", "--batch-id", ""]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("--batch-id"), "{}", ran.err);
    let ran = larder_in(folder.path(), &["init", "a[b]"]);
    assert_eq!((ran.code, folder.path().join("a[b]").exists()), (1, false));
    assert!(ran.err.contains("/a[b] has `[` in its path"), "{}", ran.err);
    for name in ["__x", "日本", "日", "__"] {
        let ran = larder_in(folder.path(), &["init", name]);
        assert_eq!((ran.code, folder.path().join(name).exists()), (1, false), "{}", ran.err);
        assert!(ran.err.contains("gives the project no name: say --project NAME"), "{}", ran.err);
    }
    let ran = larder_in(folder.path(), &["init", "own", "--project", "__x"]);
    assert_eq!((ran.code, folder.path().join("own").exists()), (1, false), "{}", ran.err);
    assert!(ran.err.contains("kept for Larder itself"), "{}", ran.err);
    let ran = larder_in(folder.path(), &["init", "larder.yaml"]);
    assert_eq!((ran.code, ran.err.as_str()), (1, "error: larder.yaml is a file, not a folder\n"));
}

/// A closed pipe ends the output, not the verdict.
#[test]
fn nobody_who_reads_changes_no_exit_code() {
    let bad = repository("project: shop\nentities: [{ name: customer, join_keys: [] }]\n");
    for arguments in [&["validate"][..], &["validate", "--output", "json"]] {
        assert_eq!(larder_unread(bad.path(), arguments), 5, "{arguments:?}");
    }
    let good = repository("project: shop\nentities: [{ name: c, join_keys: [{ name: c, type: int64 }] }]\n");
    assert_eq!(larder_unread(good.path(), &["validate"]), 0);
    assert_eq!(larder_unread(good.path(), &["--help"]), 0);
}

#[test]
fn what_cannot_be_shown_is_told() {
    let folder = repository("project: shop\n");
    for arguments in
        [&["--help"][..], &["help", "apply"], &["runs", "list", "--help"], &["--version"], &["completions", "bash"]]
    {
        let (code, err) = larder_without_room(folder.path(), arguments);
        assert_eq!(code, 1, "{arguments:?}");
        assert!(err.starts_with("error: standard output cannot be written: No space left"), "{arguments:?}: {err}");
    }
}

#[test]
fn for_programs_there_is_one_document() {
    let folder = tempfile::tempdir().unwrap();
    let made = larder_in(folder.path(), &["init", "--project", "shop", "--output", "json"]);
    assert_eq!((made.code, made.err.as_str()), (0, ""));
    assert_eq!((&made.json()["project"], &made.json()["files"][1]), (&"shop".into(), &"larder.schema.json".into()));
    let settings = larder(&["up", "--print-config", "--output", "json", "--set", "data=there"]);
    assert_eq!(settings.json()["settings"]["data"], "there");
    let script = larder(&["completions", "bash", "--output", "json"]);
    assert!(script.json()["script"].as_str().unwrap().contains("materialize"));
}

#[test]
fn up_shows_its_settings_and_where_they_come_from() {
    let ran = larder(&["up", "--print-config", "--data", "elsewhere", "--set", "serving.server.listen=127.0.0.1:1234"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    for line in [
        "data: \"elsewhere\"  # --data",
        "    listen: \"127.0.0.1:1234\"  # --set",
        "    listen: \"127.0.0.1:6570\"  # default",
    ] {
        assert!(ran.out.lines().any(|known| known == line), "{line}: {}", ran.out);
    }
}

/// Settings beside definitions are told from definitions that are wrong, and a key is there once.
#[test]
fn settings_of_up_are_no_definitions() {
    let folder = repository("project: shop\n");
    std::fs::write(folder.path().join("larder-up.yaml"), "data: a\nserving: {}\n").unwrap();
    let ran = larder_in(folder.path(), &["validate"]);
    assert_eq!(ran.code, 5);
    assert!(ran.out.starts_with("larder-up.yaml:1:1: these are settings of `larder up`"), "{}", ran.out);
    std::fs::write(folder.path().join("twice.txt"), "data: a\ndata: b\n").unwrap();
    let ran = larder_in(folder.path(), &["up", "--config", "twice.txt"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("twice.txt: the key `data` is there twice at line 2, column 1"), "{}", ran.err);
}

#[test]
fn a_section_that_is_none_is_told_whatever_is_set_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let settings = |content: &str, more: &[&str]| {
        std::fs::write(folder.path().join("c.yaml"), content).unwrap();
        larder_in(folder.path(), &[&["up", "--config", "c.yaml", "--print-config"], more].concat())
    };
    for more in [&[][..], &["--set", "materializer.rewrite_every=2m"]] {
        let ran = settings("materializer: [roots]\n", more);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{}", ran.err);
        let told = "\n  materializer (c.yaml:1:15): must be a table of keys, not a list\n";
        assert!(ran.err.ends_with(told), "{}", ran.err);
        let ran = settings("materializer:\n  # rewrite_every: 5m\n", more);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""));
        let set = ran.out.lines().filter(|line| line.contains("  # ") && !line.ends_with("  # default")).count();
        assert_eq!(set, more.len() / 2, "{}", ran.out);
    }
    let ran = settings(": : :", &[]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("c.yaml: a key is missing before `:` at line 1, column 1"), "{}", ran.err);
}

/// What `up` itself lacks is no service that is not reachable.
#[test]
fn a_data_folder_that_cannot_be_used_exits_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir_all(data.join("online.redb")).unwrap();
    std::fs::write(data.join("format"), "1\n").unwrap();
    let ports = free_ports();
    let arguments: Vec<&str> = ["up", "--data", "data"].into_iter().chain(ports.iter().map(String::as_str)).collect();
    let ran = larder_in(folder.path(), &arguments);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{}", ran.err);
    assert!(ran.err.contains("error: the online store's file data/online.redb: "), "{}", ran.err);
}

#[test]
fn every_wrong_setting_of_up_is_told() {
    let ran = larder(&["up", "--set", "serving.server.lisen=1", "--set", "registry.server.listen=nowhere"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.starts_with("error: the configuration has 2 problems:"), "{}", ran.err);
    assert!(
        ran.err.contains("did you mean listen?") && ran.err.contains("registry.server.listen (--set)"),
        "{}",
        ran.err
    );
}
