//! Runs: what they were asked to do, how far they are, how they ended.

use std::fmt::Write as _;

use larder_definitions::run::{
    MaterializeRequest, PartKind, Progress, Run, RunRequest, RunState, Scope, TrainingSetRequest,
};
use larder_types::Timestamp;
use serde_json::{Value, json};

use super::{
    Ink, Paint,
    numbers::{counted, grouped, rate},
    table::{Cell, table},
};
use crate::console::Report;

/// Runs as a list, newest first.
#[derive(Debug)]
pub(crate) struct Runs(pub(crate) Vec<Run>);

/// Runs that were waited for: what each did, and how fast.
#[derive(Debug)]
pub(crate) struct Summary(pub(crate) Vec<Run>);

/// One run in full.
#[derive(Debug)]
pub(crate) struct OneRun(pub(crate) Run);

impl Report for Runs {
    fn json(&self) -> Value {
        json!({ "runs": self.0.iter().map(run_json).collect::<Vec<_>>() })
    }

    fn text(&self, paint: Paint) -> String {
        let row = |run: &Run| {
            vec![
                run.id.clone().into(),
                what(run).into(),
                state(run),
                run.created_at.to_string().into(),
                Cell::number(took(run)),
                Cell::number(grouped(run.progress.read)),
                Cell::number(grouped(run.progress.written)),
            ]
        };
        let headings = ["RUN", "WHAT", "STATE", "ASKED FOR AT", "TOOK", "READ", "WRITTEN"];
        table(paint, &headings, self.0.iter().map(row).collect())
    }
}

impl Report for Summary {
    fn json(&self) -> Value {
        Runs(self.0.clone()).json()
    }

    fn text(&self, paint: Paint) -> String {
        let row = |run: &Run| {
            let Progress { read, written, older, expired, refused, future, .. } = run.progress;
            let counts = [read, written, older, expired, refused, future].map(|count| Cell::number(grouped(count)));
            let mut row = vec![subject(run).into(), state(run)];
            row.extend(counts);
            row.extend([Cell::number(took(run)), Cell::number(seconds(run).map_or("-".to_owned(), |s| rate(read, s)))]);
            row
        };
        let headings = ["VIEW", "STATE", "READ", "WRITTEN", "OLDER", "EXPIRED", "REFUSED", "FUTURE", "TOOK", "ROWS/S"];
        let mut text = table(paint, &headings, self.0.iter().map(row).collect());
        for run in &self.0 {
            if let Some(error) = &run.error {
                let _ = write!(text, "\n{}", paint.ink(Ink::Red, &format!("{} ({}): {error}", subject(run), run.id)));
            }
        }
        text
    }
}

impl Report for OneRun {
    fn json(&self) -> Value {
        run_json(&self.0)
    }

    fn text(&self, paint: Paint) -> String {
        let run = &self.0;
        let mut text = format!("{}\n", paint.ink(Ink::Bold, &format!("run {}", run.id)));
        for (fact, value) in facts(run).into_iter().filter(|(_, value)| !value.is_empty()) {
            let _ = writeln!(text, "  {fact:<16} {value}");
        }
        let parts = parts_table(run, paint);
        if !parts.is_empty() {
            let _ = write!(text, "\n{parts}");
        }
        text.trim_end().to_owned()
    }
}

fn facts(run: &Run) -> Vec<(&'static str, String)> {
    let Progress { read, written, older, expired, refused, future, .. } = run.progress;
    let counts = format!(
        "{} read, {} written, {} older, {} expired, {} refused, {} in the future",
        grouped(read),
        grouped(written),
        grouped(older),
        grouped(expired),
        grouped(refused),
        grouped(future)
    );
    let plan = run.plan.as_ref();
    let spine = plan.and_then(|plan| plan.spine.as_ref());
    vec![
        ("what", what(run)),
        (
            "state",
            run.state.as_str().to_owned()
                + if run.cancel_requested && !run.state.is_final() { " (to be cancelled)" } else { "" },
        ),
        ("error", run.error.clone().unwrap_or_default()),
        ("asked for by", run.principal.clone()),
        ("asked for at", run.created_at.to_string()),
        ("ended at", run.ended_at.as_ref().map(Timestamp::to_string).unwrap_or_default()),
        ("took", took(run)),
        ("rows", counts),
        ("revision", plan.map(|plan| plan.revision.to_string()).unwrap_or_default()),
        ("worker", run.lease.as_ref().map(|(number, holder)| format!("{holder}, lease {number}")).unwrap_or_default()),
        (
            "spine",
            spine.map(|spine| format!("{}, sha256 {}", counted(spine.rows, "row"), spine.sha256)).unwrap_or_default(),
        ),
        ("result", run.result.clone().unwrap_or_default()),
    ]
}

fn parts_table(run: &Run, paint: Paint) -> String {
    let parts = run.plan.iter().flat_map(|plan| &plan.parts).enumerate();
    let row = |(position, part): (usize, &larder_definitions::run::Part)| {
        let is_done = run.parts_done.get(position).copied().unwrap_or(false);
        let done = if is_done { Cell::inked("done", Ink::Green) } else { Cell::inked("to do", Ink::Dim) };
        vec![part.source.to_string().into(), part_text(&part.what).into(), done]
    };
    table(paint, &["SOURCE", "PART", ""], parts.map(row).collect())
}

fn part_text(part: &PartKind) -> String {
    match part {
        PartKind::File(file) => format!("{} ({})", file.path, counted(file.size, "byte")),
        PartKind::TimeRange { start, end } => format!("from {start} to {end}"),
        PartKind::Log { to, .. } => format!("the push log up to {}", counted(to.values().sum(), "segment")),
    }
}

/// What the run is about: a view, or what a training set has.
pub(crate) fn subject(run: &Run) -> String {
    match &run.request {
        RunRequest::Materialize(MaterializeRequest { view, .. }) => view.to_string(),
        RunRequest::TrainingSet(TrainingSetRequest { feature_service, references, .. }) => {
            feature_service.as_ref().map_or_else(|| references.join(", "), ToString::to_string)
        }
    }
}

fn what(run: &Run) -> String {
    match &run.request {
        RunRequest::Materialize(MaterializeRequest { scope, tick, .. }) => {
            let scope = match scope {
                Scope::Full => "full".to_owned(),
                Scope::Incremental => "incremental".to_owned(),
                Scope::Range { start, end } => format!("from {start} to {end}"),
            };
            let tick = tick.map(|tick| format!(", scheduled for {tick}")).unwrap_or_default();
            format!("materialize {}, {scope}{tick}", subject(run))
        }
        RunRequest::TrainingSet(_) => format!("training set of {}", subject(run)),
    }
}

fn state(run: &Run) -> Cell {
    let ink = match run.state {
        RunState::Pending => Ink::Dim,
        RunState::Running => Ink::Normal,
        RunState::Succeeded => Ink::Green,
        RunState::Failed => Ink::Red,
        RunState::Cancelled => Ink::Yellow,
    };
    Cell::inked(run.state.as_str(), ink)
}

/// From its start to its end, in seconds.
pub(crate) fn seconds(run: &Run) -> Option<f64> {
    let started_at = run.plan.as_ref().map_or(run.created_at, |plan| plan.started_at);
    Some(run.ended_at?.since(started_at).as_secs_f64())
}

fn took(run: &Run) -> String {
    seconds(run).map_or("-".to_owned(), |seconds| format!("{seconds:.1} s"))
}

/// A run for programs.
pub(crate) fn run_json(run: &Run) -> Value {
    let Progress { read, written, older, expired, refused, future, parts_done, parts } = run.progress;
    let (kind, request) = match &run.request {
        RunRequest::Materialize(MaterializeRequest { view, scope, tick }) => {
            let (scope, range) = match scope {
                Scope::Full => ("full", None),
                Scope::Incremental => ("incremental", None),
                Scope::Range { start, end } => ("range", Some([start.to_string(), end.to_string()])),
            };
            let scheduled = tick.map(|tick| tick.to_string());
            ("materialize", json!({ "view": view, "scope": scope, "range": range, "scheduled": scheduled }))
        }
        RunRequest::TrainingSet(request) => ("training_set", serde_json::to_value(request).unwrap_or_default()),
    };
    let plan = run.plan.as_ref();
    let spine = plan.and_then(|plan| plan.spine.as_ref());
    json!({
        "id": run.id,
        "kind": kind,
        "request": request,
        "state": run.state.as_str(),
        "error": run.error,
        "principal": run.principal,
        "traceparent": run.traceparent,
        "created_at": run.created_at.to_string(),
        "ended_at": run.ended_at.map(|at| at.to_string()),
        "seconds": seconds(run),
        "revision": plan.map(|plan| plan.revision),
        "cancel_requested": run.cancel_requested,
        "progress": {
            "read": read, "written": written, "older": older, "expired": expired, "refused": refused, "future": future,
            "parts_done": parts_done, "parts": parts,
        },
        "spine": spine.map(|spine| json!({ "rows": spine.rows, "sha256": spine.sha256 })),
        "result": run.result,
    })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use larder_types::Name;

    use super::*;

    fn run(state: RunState, error: Option<&str>) -> Run {
        Run {
            id: "0198".to_owned(),
            request: RunRequest::Materialize(MaterializeRequest {
                view: Name::new("customer_features").unwrap(),
                scope: Scope::Incremental,
                tick: None,
            }),
            principal: "anonymous".to_owned(),
            traceparent: None,
            state,
            created_at: Timestamp::from_micros(0),
            ended_at: Some(Timestamp::from_micros(2_000_000)),
            lease: None,
            plan: None,
            parts_done: vec![],
            progress: Progress {
                read: 1_000_000,
                written: 999_990,
                expired: 10,
                parts: 3,
                parts_done: 3,
                ..Progress::default()
            },
            cancel_requested: false,
            error: error.map(str::to_owned),
            result: None,
        }
    }

    #[test]
    fn a_summary_counts_and_says_what_went_wrong() {
        let summary =
            Summary(vec![run(RunState::Succeeded, None), run(RunState::Failed, Some("part-1.parquet changed"))]);
        expect![[r#"
            VIEW               STATE           READ  WRITTEN  OLDER  EXPIRED  REFUSED  FUTURE   TOOK   ROWS/S
            customer_features  SUCCEEDED  1,000,000  999,990      0       10        0       0  2.0 s  500,000
            customer_features  FAILED     1,000,000  999,990      0       10        0       0  2.0 s  500,000
            customer_features (0198): part-1.parquet changed"#]]
        .assert_eq(&summary.text(Paint::Plain));
    }

    #[test]
    fn a_run_in_full_leaves_out_what_there_is_not() {
        expect![[r#"
            run 0198
              what             materialize customer_features, incremental
              state            SUCCEEDED
              asked for by     anonymous
              asked for at     1970-01-01T00:00:00Z
              ended at         1970-01-01T00:00:02Z
              took             2.0 s
              rows             1,000,000 read, 999,990 written, 0 older, 10 expired, 0 refused, 0 in the future"#]]
        .assert_eq(&OneRun(run(RunState::Succeeded, None)).text(Paint::Plain));
        let json = run_json(&run(RunState::Succeeded, None));
        assert_eq!(
            json["request"],
            json!({ "view": "customer_features", "scope": "incremental", "range": null, "scheduled": null })
        );
        assert_eq!((&json["seconds"], &json["progress"]["expired"]), (&json!(2.0), &json!(10)));
    }
}
