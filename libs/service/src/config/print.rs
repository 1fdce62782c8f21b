//! Shows a configuration as YAML with the origin of each value.

use std::collections::BTreeMap;

use serde_json::Value;

use super::tree::{Node, Step};

/// `value` as YAML, its keys sorted; `tree` knows where each part came from.
pub(super) fn print(value: &Value, tree: &Node) -> String {
    let mut text = String::new();
    if let Value::Object(entries) = value {
        print_table(entries, tree, &mut Vec::new(), &mut text);
    }
    text
}

fn print_table(entries: &serde_json::Map<String, Value>, tree: &Node, path: &mut Vec<Step>, text: &mut String) {
    let sorted: BTreeMap<_, _> = entries.iter().collect();
    for (key, value) in sorted {
        let indent = "  ".repeat(path.len());
        path.push(Step::Key(key.clone()));
        if let Value::Object(inner) = value
            && !inner.is_empty()
        {
            text.push_str(&format!("{indent}{key}:\n"));
            print_table(inner, tree, path, text);
        } else {
            // JSON is YAML, so a value of any other kind can stand on one line as it is.
            text.push_str(&format!("{indent}{key}: {value}  # {}\n", tree.origin_at(path)));
        }
        path.pop();
    }
}
