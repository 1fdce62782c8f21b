//! Two workers on one run, in any order of calls, lapses of time, cancellations and restarts, against a model that is so
//! simple that it can be seen to be right.

use std::time::Duration;

use larder_client::RunsClient;
use larder_definitions::run::{LEASE_TERM, Outcome, RunPlan, RunState};
use larder_test_kit::clock;
use larder_types::{ErrorCode, LeaseNumber, Result};
use proptest::{prelude::*, test_runner::TestCaseError};

use crate::{
    declared::declare_base,
    leases::{counts, materialize, plan, watermark},
    surroundings::{Registry, Storage, project},
};

const TERM: u64 = LEASE_TERM.as_secs();
const WORKERS: [&str; 2] = ["ada", "bob"];

#[derive(Debug, Clone, Copy)]
enum Step {
    Acquire(usize),
    Report(usize),
    Plan(usize),
    Part(usize, usize),
    Finish(usize, End),
    Cancel,
    Pass(u64),
    Restart,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Success,
    Failure,
    Cancellation,
}

impl End {
    fn outcome(self) -> Outcome {
        match self {
            Self::Success => Outcome::Succeeded { progress: counts(20), result: None },
            Self::Failure => Outcome::Failed { error: "no such file".to_owned() },
            Self::Cancellation => Outcome::Cancelled,
        }
    }

    fn state(self) -> RunState {
        match self {
            Self::Success => RunState::Succeeded,
            Self::Failure => RunState::Failed,
            Self::Cancellation => RunState::Cancelled,
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let end = prop_oneof![6 => Just(End::Success), 1 => Just(End::Failure), 1 => Just(End::Cancellation)];
    prop_oneof![
        4 => (0..2_usize).prop_map(Step::Acquire),
        1 => (0..2_usize).prop_map(Step::Report),
        3 => (0..2_usize).prop_map(Step::Plan),
        6 => (0..2_usize, 0..3_usize).prop_map(|(worker, part)| Step::Part(worker, part)),
        2 => (0..2_usize, end).prop_map(|(worker, end)| Step::Finish(worker, end)),
        1 => Just(Step::Cancel),
        4 => prop_oneof![Just(1), Just(7), Just(TERM - 1), Just(TERM)].prop_map(Step::Pass),
        1 => Just(Step::Restart),
    ]
}

/// What an answer is to be.
type Expected = std::result::Result<(), ErrorCode>;

/// The run, naively.
#[derive(Debug, Default)]
struct Model {
    now: u64,
    /// Who has it; the number is how often it was given.
    holder: Option<usize>,
    given: u64,
    good_until: u64,
    /// Each worker's own lease; 0: it never had one.
    leases: [u64; 2],
    planned_by: Option<usize>,
    done: [bool; 2],
    end: Option<End>,
    is_unwanted: bool,
}

impl Model {
    fn take(&mut self, step: Step) -> Expected {
        match step {
            Step::Acquire(worker) => self.acquire(worker),
            Step::Report(worker) => {
                self.working(worker)?;
                self.good_until = self.now + TERM;
                Ok(())
            }
            Step::Plan(worker) => {
                self.holding(worker)?;
                if self.planned_by.is_none() {
                    self.working(worker)?;
                    self.planned_by = Some(worker);
                }
                Ok(())
            }
            Step::Part(worker, part) => {
                self.working(worker)?;
                if self.planned_by.is_none() || part > 1 {
                    return Err(ErrorCode::FailedPrecondition);
                }
                self.done[part] = true;
                Ok(())
            }
            Step::Finish(worker, end) => self.finish(worker, end),
            Step::Cancel => {
                self.is_unwanted |= self.end.is_none();
                if self.holder.is_none() {
                    self.end.get_or_insert(End::Cancellation);
                }
                Ok(())
            }
            Step::Pass(seconds) => {
                self.now += seconds;
                Ok(())
            }
            Step::Restart => {
                self.good_until = self.now + TERM;
                Ok(())
            }
        }
    }

    fn acquire(&mut self, worker: usize) -> Expected {
        if self.end.is_some() {
            return Err(ErrorCode::FailedPrecondition);
        }
        if self.holder.is_some() && self.now < self.good_until {
            return Err(ErrorCode::Conflict);
        }
        self.given += 1;
        self.leases[worker] = self.given;
        self.holder = Some(worker);
        self.good_until = self.now + TERM;
        Ok(())
    }

    fn finish(&mut self, worker: usize, end: End) -> Expected {
        self.holding(worker)?;
        match self.end {
            Some(known) if known == end => return Ok(()),
            Some(_) => return Err(ErrorCode::FailedPrecondition),
            None => {}
        }
        if end == End::Success && !self.done.iter().all(|done| *done) {
            return Err(ErrorCode::FailedPrecondition);
        }
        self.end = Some(end);
        Ok(())
    }

    fn holding(&self, worker: usize) -> Expected {
        let holds = self.given > 0 && self.leases[worker] == self.given;
        if holds { Ok(()) } else { Err(ErrorCode::Conflict) }
    }

    fn working(&self, worker: usize) -> Expected {
        self.holding(worker)?;
        if self.end.is_some() { Err(ErrorCode::FailedPrecondition) } else { Ok(()) }
    }

    /// What its worker says: a lease that was never given, if it has none.
    fn lease(&self, worker: usize) -> LeaseNumber {
        LeaseNumber(if self.leases[worker] == 0 { 1_000 } else { self.leases[worker] })
    }

    fn state(&self) -> RunState {
        match (self.end, self.holder) {
            (Some(end), _) => end.state(),
            (None, Some(_)) => RunState::Running,
            (None, None) => RunState::Pending,
        }
    }
}

async fn call(runs: &RunsClient, model: &Model, step: Step) -> Result<()> {
    let project = project();
    match step {
        Step::Acquire(worker) => {
            let grant = runs.acquire_lease(&project, "r", WORKERS[worker]).await?;
            assert_eq!(grant.lease.0, model.given + 1);
        }
        Step::Report(worker) => {
            let is_unwanted = runs.report_progress(&project, "r", model.lease(worker), &counts(1), None).await?;
            assert_eq!(is_unwanted, model.is_unwanted);
        }
        Step::Plan(worker) => {
            let plan = plan(worker as u64, 10 + worker as u64);
            runs.plan(&project, "r", model.lease(worker), &plan).await?;
        }
        Step::Part(worker, part) => {
            runs.complete_parts(&project, "r", model.lease(worker), &[part], &counts(10)).await?
        }
        Step::Finish(worker, end) => {
            runs.finish(&project, "r", model.lease(worker), &end.outcome()).await?;
        }
        Step::Cancel => drop(runs.cancel(&project, "r").await?),
        Step::Pass(_) | Step::Restart => {}
    }
    Ok(())
}

async fn check(runs: &RunsClient, model: &Model) -> Result<(), TestCaseError> {
    let run = runs.get(&project(), "r").await.unwrap();
    prop_assert_eq!(run.state, model.state());
    let lease = run.lease.as_ref().map(|(number, holder)| (number.0, holder.as_str()));
    prop_assert_eq!(lease, model.holder.map(|holder| (model.given, WORKERS[holder])));
    // Of a run that has ended the parts are forgotten.
    let is_open = model.end.is_none();
    let planned = model.planned_by.map(|worker| plan(worker as u64, 10 + worker as u64));
    let forgotten = |plan| RunPlan { parts: Vec::new(), watermarks: Vec::new(), ..plan };
    prop_assert_eq!(run.plan.map(|plan| RunPlan::clone(&plan)), if is_open { planned } else { planned.map(forgotten) });
    let done = if is_open && model.planned_by.is_some() { model.done.to_vec() } else { Vec::new() };
    prop_assert_eq!(run.parts_done, done);
    prop_assert_eq!(run.cancel_requested, model.is_unwanted);
    let reached = model.planned_by.filter(|_| model.end == Some(End::Success)).map(|worker| 10 + worker as u64);
    prop_assert_eq!(watermark(runs).await, reached);
    Ok(())
}

async fn play(steps: &[Step]) -> Result<(), TestCaseError> {
    let (storage, clock) = (Storage::in_memory(), clock());
    let registry = Registry::start(&storage, &clock).await;
    declare_base(&registry.definitions()).await;
    let mut runs = registry.runs();
    runs.create(&project(), "r", &materialize("profile")).await.unwrap();
    let mut model = Model::default();
    for (number, step) in steps.iter().enumerate() {
        if let Step::Pass(seconds) = step {
            clock.advance(Duration::from_secs(*seconds));
        } else if let Step::Restart = step {
            runs = Registry::start(&storage, &clock).await.runs();
        }
        let answer = call(&runs, &model, *step).await.map_err(|error| error.code());
        let expected = model.take(*step);
        prop_assert_eq!(answer, expected, "step {}: {:?}", number, step);
        check(&runs, &model).await?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn two_workers_on_one_run_do_what_the_model_says(steps in proptest::collection::vec(step(), 1..50)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(&steps))?;
    }
}
