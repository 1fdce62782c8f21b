//! What can be set, and that `docs/configuration.md` says all of it and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use larder_service::config::Layers;
use larder_standalone::Config;
use serde_json::Value;

const PAGE: &str = include_str!("../../../../docs/configuration.md");
const SERVICES: [&str; 4] = ["registry", "serving", "push_ingest", "materializer"];

/// A key of the page: its default and its environment name, without quotes.
struct Documented {
    default: String,
    environment: String,
}

/// The rows of all tables of keys; a row of SERVICE is one of each service.
fn documented() -> BTreeMap<String, Documented> {
    let mut keys = BTreeMap::new();
    let rows = PAGE.lines().filter(|line| line.starts_with("| `") && line.contains("`LARDER__"));
    for row in rows {
        let cells: Vec<&str> = row.split(" | ").map(|cell| cell.trim_matches(['|', ' '])).collect();
        let [key, _, default, environment, _] = cells[..] else { panic!("{row}") };
        let bare = |cell: &str| cell.trim_matches('`').to_owned();
        let services: &[&str] = if key.contains("SERVICE") { &SERVICES } else { &[""] };
        for service in services {
            let key = bare(key).replace("SERVICE", service);
            let environment = bare(environment).replace("__SERVICE__", &format!("__{}__", service.to_uppercase()));
            let documented = Documented { default: bare(default), environment };
            assert!(keys.insert(key.clone(), documented).is_none(), "{key} is there twice");
        }
    }
    keys
}

/// Every key of the defaults, as text.
fn defaults() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    add_defaults(&serde_json::to_value(Config::default()).unwrap(), "", &mut found);
    found
}

fn add_defaults(value: &Value, path: &str, found: &mut BTreeMap<String, String>) {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let shown = match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                add_defaults(value, &path, found);
            }
            return;
        }
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        Value::Null => "none".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => text(value),
    };
    found.insert(path.to_owned(), shown);
}

#[test]
fn the_page_names_every_key_with_its_default_and_its_variable() {
    let (documented, defaults) = (documented(), defaults());
    let names = |keys: Vec<&String>| keys.into_iter().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(documented.keys().collect()), names(defaults.keys().collect()));
    for (key, Documented { default, environment }) in &documented {
        // What differs by service the page has in words.
        if !key.ends_with("listen") && key != "registry.server.max_request_bytes" {
            assert_eq!(*default, defaults[key], "{key}");
        }
        assert_eq!(*environment, format!("LARDER__{}", key.to_uppercase().replace('.', "__")), "{key}");
        let value = if defaults[key] == "none" { "some" } else { &defaults[key] };
        let value = if key.ends_with("key_prefix") { "" } else { value };
        let loaded = Layers::new().environment([(environment.clone(), value.to_owned())]).load::<Config>();
        loaded.unwrap_or_else(|error| panic!("{environment}={value}: {error}"));
    }
}

#[test]
fn the_example_of_the_page_is_a_configuration() {
    let (_, rest) = PAGE.split_once("```yaml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let loaded = Layers::new().yaml("page", example).load::<Config>().unwrap();
    assert_eq!(loaded.config.materializer.roots, ["/srv/history", "/mnt/lake"]);
}

/// Services that read and write one store must agree on its keys, and on when its rows go.
#[test]
fn what_services_of_one_store_have_to_agree_on_is_checked() {
    let load = |settings: &[(&str, &str)]| {
        let layers = settings.iter().fold(Layers::new(), |layers, (key, value)| layers.flag("--set", key, *value));
        layers.load::<Config>().map(|loaded| loaded.config).map_err(|error| error.to_string())
    };
    let prefixes = SERVICES[1..].iter().map(|service| format!("{service}.key_prefix")).collect::<Vec<_>>();
    let all: Vec<_> = prefixes.iter().map(|key| (key.as_str(), "live/")).collect();
    assert_eq!(load(&all).unwrap().materializer.key_prefix.as_deref(), Some("live/"));
    let same = |key: &str, as_key: &str, value: &str| {
        (key.to_owned(), format!("): must be the same as {as_key}, which is {value}: they share one store"))
    };
    let prefix = |service: &str, value| same(&format!("{service}.key_prefix ("), "serving.key_prefix", value);
    let grace = same("materializer.expiry_grace (", "push_ingest.expiry_grace", "1d");
    let ahead = "): must be the same as push_ingest.max_ahead, which is 2m".to_owned();
    let ahead = ("materializer.max_ahead (".to_owned(), ahead);
    for (settings, expected) in [
        (&all[..1], vec![prefix("push_ingest", "`live/`"), prefix("materializer", "`live/`")]),
        (&all[1..], vec![prefix("push_ingest", "not set"), prefix("materializer", "not set")]),
        (&[("materializer.expiry_grace", "2d")], vec![grace]),
        (&[("push_ingest.max_ahead", "2m")], vec![ahead]),
    ] {
        let error = load(settings).unwrap_err();
        for (key, message) in expected {
            assert!(
                error.lines().any(|line| line.contains(&key) && line.ends_with(&message)),
                "{key} {message}\n{error}"
            );
        }
    }
}

/// Two that want one port name each other; nobody else is to blame.
#[test]
fn a_port_is_taken_by_one_of_them() {
    let load = |settings: &[(&str, &str)]| {
        let layers = settings.iter().fold(Layers::new(), |layers, (key, value)| layers.flag("--set", key, *value));
        layers.load::<Config>().map(drop).map_err(|error| error.to_string())
    };
    let (serving, push, admin) = ("serving.server.listen", "push_ingest.server.listen", "serving.server.admin_listen");
    for (settings, message) in [
        (
            &[(serving, "127.0.0.1:6570")][..],
            "serving.server.listen (--set): is the port of registry.server.listen, too",
        ),
        (&[(serving, "0.0.0.0:6570")], "serving.server.listen (--set): is the port of registry.server.listen, too"),
        (
            &[(serving, "127.0.0.1:1"), (admin, "127.0.0.1:1")],
            "admin_listen (--set): is the port of serving.server.listen",
        ),
    ] {
        let error = load(settings).unwrap_err();
        assert!(error.contains(message), "{error}");
    }
    load(&[(serving, "127.0.0.1:0"), (push, "127.0.0.1:0")]).unwrap();
    load(&[(serving, "127.0.0.2:6570")]).unwrap();
}
