//! `larder validate`: checks definitions without a server.

use std::collections::BTreeMap;

use larder_definitions::{
    ObjectKind, Problem,
    yaml::{FeatureRepository, json_schema, read_folder},
};
use serde_json::{Value, json};

use super::Context;
use crate::{
    console::{Report, say},
    exit::Exit,
    failure::Outcome,
    render::{
        Paint,
        numbers::{counted, counted_as},
    },
};

/// Check the definitions, without a server
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  larder validate && larder apply\n\n\
    Every problem is told at once as `file:line:column: what is wrong and what would be right`; the exit code is 5 then.\n\
    For completion and checks in an editor: larder validate --json-schema > larder.schema.json")]
pub(crate) struct Arguments {
    /// Print the JSON Schema of definition files instead, for editors
    #[arg(long, alias = "schema")]
    json_schema: bool,
}

pub(crate) fn run(context: &Context, arguments: &Arguments) -> Outcome {
    if arguments.json_schema {
        context.console.text(&format!("{:#}", json_schema()))?;
        return Ok(Exit::Ok);
    }
    let validated = Validated(read_folder(&context.globals.repository));
    context.console.report(&validated)?;
    match &validated.0 {
        Ok(_) => Ok(Exit::Ok),
        Err(problems) => {
            if context.console.is_table() {
                say(&format!("error: {}", counted(problems.len() as u64, "problem")));
            }
            Ok(Exit::Invalid)
        }
    }
}

/// Definitions, or everything that is wrong with them.
struct Validated(Result<FeatureRepository, Vec<Problem>>);

impl Report for Validated {
    fn json(&self) -> Value {
        match &self.0 {
            Ok(repository) => json!({
                "valid": true,
                "project": repository.project,
                "objects": counts(repository),
                "problems": [],
            }),
            Err(problems) => {
                let problems: Vec<Value> = problems.iter().map(problem_json).collect();
                json!({ "valid": false, "project": null, "objects": {}, "problems": problems })
            }
        }
    }

    fn text(&self, _paint: Paint) -> String {
        match &self.0 {
            Ok(repository) => {
                let counts: Vec<String> =
                    ObjectKind::ALL.into_iter().filter_map(|kind| counted_kind(repository, kind)).collect();
                let counts = if counts.is_empty() { "nothing is declared".to_owned() } else { counts.join(", ") };
                format!("Project {}: {counts}; all is well", repository.project)
            }
            Err(problems) => problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        }
    }
}

/// Objects by the section that has them.
fn counts(repository: &FeatureRepository) -> BTreeMap<&'static str, u64> {
    ObjectKind::ALL.into_iter().map(|kind| (kind.section(), number(repository, kind))).collect()
}

fn number(repository: &FeatureRepository, kind: ObjectKind) -> u64 {
    repository.objects.iter().filter(|(object, _)| object.id().kind == kind).count() as u64
}

/// `2 feature views`; none where there are none.
fn counted_kind(repository: &FeatureRepository, kind: ObjectKind) -> Option<String> {
    let number = number(repository, kind);
    (number > 0).then(|| counted_as(number, kind.as_str(), kind.plural()))
}

fn problem_json(problem: &Problem) -> Value {
    let Problem { location, path, message } = problem;
    let place = location.as_ref();
    json!({
        "file": place.map(|place| &*place.file),
        "line": place.map(|place| place.line),
        "column": place.map(|place| place.column),
        "path": path,
        "message": message,
    })
}
