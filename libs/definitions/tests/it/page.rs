//! `docs/definitions.md`, which explains the language to people, says all of it, and what it shows is valid.

use std::{collections::BTreeSet, fs};

use larder_definitions::yaml::{json_schema, read_folder};
use serde_json::Value;

use crate::projects::lines;

const PAGE: &str = include_str!("../../../../docs/definitions.md");

/// The section about each type of the schema that has fields.
const SECTIONS: [(&str, &str); 14] = [
    ("", "## Files"),
    ("EntityText", "## Entities"),
    ("JoinKeyText", "### Join keys"),
    ("SourceText", "## Sources"),
    ("ParquetText", "### Parquet"),
    ("PostgresText", "### PostgreSQL"),
    ("FeatureViewText", "## Feature views"),
    ("FeatureText", "### Features"),
    ("ScheduleText", "### Schedules"),
    ("OnDemandFeatureViewText", "## On-demand feature views"),
    ("RequestText", "### Request data"),
    ("OnDemandFeatureText", "### On-demand features"),
    ("FeatureServiceText", "## Feature services"),
    ("ViewUseText", "### Uses of views"),
];

#[test]
fn every_field_of_the_language_is_explained() {
    let schema = json_schema();
    let fields = |of: &Value| -> BTreeSet<String> {
        of["properties"].as_object().into_iter().flat_map(|fields| fields.keys().cloned()).collect()
    };
    let types = schema["$defs"].as_object().unwrap();
    let with_fields = types.iter().filter(|(_, of)| !fields(of).is_empty()).map(|(name, _)| name.as_str());
    let known: BTreeSet<&str> = SECTIONS.iter().map(|(name, _)| *name).collect();
    assert_eq!(with_fields.chain([""]).collect::<BTreeSet<_>>(), known);
    for (name, heading) in SECTIONS {
        let wanted = fields(if name.is_empty() { &schema } else { &types[name] });
        assert_eq!(explained(heading), wanted, "{heading}");
    }
}

/// The fields that the table below a heading has.
fn explained(heading: &str) -> BTreeSet<String> {
    let after = PAGE.lines().skip_while(|line| *line != heading).skip(1);
    let section = after.take_while(|line| !line.starts_with('#'));
    let cells = section.filter(|line| line.starts_with("| `")).filter_map(|line| line.split('|').nth(1));
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[test]
fn the_examples_are_one_valid_project() {
    let folder = tempfile::tempdir().unwrap();
    let mut shown = 0;
    for block in PAGE.split("```yaml\n").skip(1) {
        let example = block.split("```").next().unwrap();
        fs::write(folder.path().join(format!("{shown}.yaml")), example).unwrap();
        shown += 1;
    }
    assert!(shown >= 6, "{shown}");
    if let Err(problems) = read_folder(folder.path()) {
        panic!("{}", lines(&problems));
    }
}
