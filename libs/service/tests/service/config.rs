//! Layers, every problem at once, and what is printed.

use expect_test::{Expect, expect};
use larder_service::config::{Config, Layers, Loaded, LogFormat, Problems, ServerConfig, TelemetryConfig};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
#[serde(default)]
struct Sample {
    server: ServerConfig,
    telemetry: TelemetryConfig,
    roots: Vec<String>,
    folder: Option<String>,
}

impl Default for Sample {
    fn default() -> Self {
        Self {
            server: ServerConfig::on_port(6567),
            telemetry: TelemetryConfig::default(),
            roots: Vec::new(),
            folder: None,
        }
    }
}

impl Config for Sample {
    fn check(&self, problems: &mut Problems) {
        problems.section("server", |problems| self.server.check(problems));
        problems.section("telemetry", |problems| self.telemetry.check(problems));
    }
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn load(yaml: &str, environment: &[(&str, &str)]) -> Result<Loaded<Sample>, larder_types::Error> {
    Layers::new().yaml("larder.yaml", yaml).environment(variables(environment)).load()
}

fn check_problems(yaml: &str, environment: &[(&str, &str)], expected: Expect) {
    expected.assert_eq(load(yaml, environment).unwrap_err().message());
}

#[test]
fn later_layers_win_and_each_value_says_where_it_came_from() {
    let yaml = "
server:
  max_in_flight: 7
  default_deadline: 2s
folder: /data
telemetry: { log_format: json }
";
    let environment =
        [("LARDER__SERVER__DEFAULT_DEADLINE", "3s"), ("LARDER__ROOTS", "/data, s3://bucket"), ("HOME", "/")];
    let loaded: Loaded<Sample> = Layers::new()
        .yaml("larder.yaml", yaml)
        .environment(variables(&environment))
        .flag("--listen", "server.listen", "127.0.0.1:0")
        .load()
        .unwrap();
    expect![[r#"
        folder: "/data"  # larder.yaml:5:9
        roots: ["/data","s3://bucket"]  # LARDER__ROOTS
        server:
          admin_listen: "127.0.0.1:7567"  # default
          default_deadline: "3s"  # LARDER__SERVER__DEFAULT_DEADLINE
          drain_timeout: "20s"  # default
          keepalive_interval: "20s"  # default
          keepalive_timeout: "10s"  # default
          listen: "127.0.0.1:0"  # --listen
          max_deadline: "1m"  # default
          max_in_flight: 7  # larder.yaml:3:18
          max_request_bytes: "16MiB"  # default
          max_streams: 1024  # default
          stop_delay: "0s"  # default
          stream_idle_limit: "10m"  # default
        telemetry:
          log_filter: "info"  # default
          log_format: "json"  # larder.yaml:6:26
    "#]]
    .assert_eq(&loaded.print().unwrap());
    assert_eq!(loaded.config.telemetry.log_format, LogFormat::Json);
    let again: Loaded<Sample> = Layers::new().load().unwrap();
    let printed: Loaded<Sample> = Layers::new().yaml("printed", &again.print().unwrap()).load().unwrap();
    assert_eq!(printed.config.server, again.config.server);
}

#[test]
fn every_problem_is_reported_at_once() {
    let yaml = "
server:
  listen: everywhere
  max_in_flight: lots
  max_streams: 0
  max_requst_bytes: 1MiB
  default_deadline: 2h
  keepalive_timeout: 3 days
roots: [/data, 7]
telemetry: { log_filter: 1.5 }
foldr: /data
";
    let environment = [("LARDER__SERVER__LISTEN_ON", "1"), ("LARDER__TELEMETRY__LOG_FORMAT", "xml")];
    check_problems(
        yaml,
        &environment,
        expect![[r#"
        the configuration has 11 problems:
          foldr (larder.yaml:11:8): there is no key `foldr`: did you mean folder?
          roots[1] (larder.yaml:9:16): must be text, not a whole number: put it in quotes
          server.default_deadline (larder.yaml:7:21): must not be above max_deadline, which is 1m
          server.keepalive_timeout (larder.yaml:8:22): `3 days` is not a span of time: write a whole number and ms, s, m, h or d, e.g. 500ms or 5s
          server.listen (larder.yaml:3:11): `everywhere` is not an address and a port: write them like 127.0.0.1:6567 or [::]:6567
          server.listen_on (LARDER__SERVER__LISTEN_ON): there is no key `listen_on`: did you mean listen?
          server.max_in_flight (larder.yaml:4:18): `lots` is not a whole number
          server.max_requst_bytes (larder.yaml:6:21): there is no key `max_requst_bytes`: did you mean max_request_bytes or max_streams?
          server.max_streams (larder.yaml:5:16): must be above zero
          telemetry.log_filter (larder.yaml:10:26): must be text, not a number: put it in quotes
          telemetry.log_format (LARDER__TELEMETRY__LOG_FORMAT): `xml` is not one of text, json"#]],
    );
}

#[test]
fn a_choice_is_one_of_its_names() {
    for (given, told) in [("xml", "`xml` is not"), ("{ json: {} }", "must be"), ("7", "must be")] {
        let error = load(&format!("telemetry: {{ log_format: {given} }}"), &[]).unwrap_err();
        let told = format!("telemetry.log_format (larder.yaml:1:26): {told} one of text, json");
        assert!(error.message().contains(&told), "{error}");
    }
}

#[test]
fn a_number_that_does_not_fit_is_refused_in_plain_words() {
    let error = load("server: { max_streams: -1 }", &[]).unwrap_err();
    let told = "server.max_streams (larder.yaml:1:24): `-1` is not a whole number from 0 on";
    assert!(error.message().ends_with(told), "{error}");
}

#[test]
fn what_is_no_table_of_keys_is_refused_with_the_file() {
    check_problems(
        "[1, 2]",
        &[],
        expect![[r#"
        the configuration has 1 problem:
          larder.yaml: must be a table of keys at the top, not a list"#]],
    );
    check_problems(
        "server: [",
        &[],
        expect![[r#"
            the configuration has 1 problem:
              larder.yaml: unclosed bracket '[' at line 1, column 9"#]],
    );
    check_problems(
        "server: 7",
        &[],
        expect![[r#"
        the configuration has 1 problem:
          server (larder.yaml:1:9): must be a table of keys, not a whole number"#]],
    );
    let error = Layers::new().file(std::path::Path::new("/no/such/larder.yaml")).load::<Sample>().unwrap_err();
    expect![[r#"
        the configuration has 1 problem:
          /no/such/larder.yaml: cannot be read: No such file or directory (os error 2)"#]]
    .assert_eq(error.message());
    assert!(load("", &[]).is_ok(), "an empty file changes nothing");
}

/// What is wrong with a section is told whatever a later layer sets in it, and in the same words.
#[test]
fn no_later_layer_covers_what_is_no_section() {
    for (yaml, told) in [
        ("server: 5", "server (larder.yaml:1:9): must be a table of keys, not a whole number"),
        ("server: hello", "server (larder.yaml:1:9): `hello` is not a table of keys"),
        ("server: [listen]", "server (larder.yaml:1:9): must be a table of keys, not a list"),
        ("server: { listen: { a: 1 } }", "server.listen (larder.yaml:1:19): must be text, not a table of keys"),
        ("roots: { a: 1 }", "roots (larder.yaml:1:8): must be a list, not a table of keys"),
    ] {
        let told = format!("the configuration has 1 problem:\n  {told}");
        for environment in [
            &[][..],
            &[("LARDER__SERVER__MAX_STREAMS", "2")],
            &[("LARDER__SERVER__LISTEN", "127.0.0.1:0"), ("LARDER__ROOTS", "/data")],
        ] {
            assert_eq!(load(yaml, environment).unwrap_err().message(), told, "{environment:?}");
        }
    }
    // Nor what is wrong beside it, in layers of one kind too.
    check_problems(
        "server: 5\nroots: 5",
        &[("LARDER__SERVER__MAX_STREMS", "2"), ("LARDER__TELEMETRY", "x"), ("LARDER__TELEMETRY__LOG_FORMAT", "json")],
        expect![[r#"
            the configuration has 4 problems:
              roots (larder.yaml:2:8): must be a list, not a whole number
              server (larder.yaml:1:9): must be a table of keys, not a whole number
              server.max_strems (LARDER__SERVER__MAX_STREMS): there is no key `max_strems`: did you mean max_streams or max_request_bytes?
              telemetry (LARDER__TELEMETRY): `x` is not a table of keys"#]],
    );
}

#[test]
fn a_section_without_keys_sets_nothing() {
    let origins = |loaded: Loaded<Sample>| {
        let printed = loaded.print().unwrap();
        let mut origins: Vec<String> =
            printed.lines().filter_map(|line| Some(line.split_once("  # ")?.1.to_owned())).collect();
        origins.sort();
        origins.dedup();
        origins
    };
    let yaml = "server:\n  # max_streams: 5\ntelemetry: {}\n";
    assert_eq!(origins(load(yaml, &[]).unwrap()), ["default"]);
    let variable = "LARDER__SERVER__MAX_STREAMS";
    assert_eq!(origins(load(yaml, &[(variable, "2")]).unwrap()), [variable, "default"]);
}

/// With the place, and in the words of who writes files.
#[test]
fn what_is_no_yaml_is_told_in_plain_words() {
    for (yaml, told) in [
        (": : :", "a key is missing before `:` at line 1, column 1"),
        ("server:\n  : 5", "a key is missing before `:` at line 2, column 3"),
        ("[server]: 5", "a key must be text at line 1, column 1"),
        ("roots: []\n---\nroots: []", "there is a second document: a file has one at line 3, column 1"),
        ("roots: []\nroots: []", "the key `roots` is there twice at line 2, column 1"),
    ] {
        let error = load(yaml, &[]).unwrap_err();
        assert_eq!(error.message(), format!("the configuration has 1 problem:\n  larder.yaml: {told}"));
    }
}
