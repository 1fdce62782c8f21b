//! A run as the fold of its events, and the fence of its leases.

use std::sync::Arc;

use larder_types::{Error, LeaseNumber, Result};

use super::{Outcome, Part, Progress, Run, RunEvent, RunEventKind, RunPlan, RunRequest, RunState};
use crate::stored;

/// The newest format of an event.
const FORMAT: u32 = 1;

impl RunEvent {
    /// The bytes that a registry store keeps.
    pub fn encode(&self) -> Result<Vec<u8>> {
        stored::encode(&format!("an event of run {}", self.run), FORMAT, self)
    }

    /// Reads an event. UNIMPLEMENTED for one of a newer release, DATA_LOSS for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        stored::decode("an event of a run", FORMAT, bytes)
    }
}

/// The run after an event; `run` is none before the first.
///
/// An event that carries another lease than the run's last is refused with CONFLICT: its worker must stop. An event that
/// cannot follow is FAILED_PRECONDITION. An event that says again what is so already changes nothing, so a worker that did
/// not hear the answer may send it again.
pub fn apply_event(run: Option<Run>, event: &RunEvent) -> Result<Run> {
    let Some(run) = run else { return created(event) };
    if run.id != event.run {
        return Err(Error::internal(format!("an event of run {} cannot follow those of run {}", event.run, run.id)));
    }
    match &event.what {
        RunEventKind::Created { .. } => {
            Err(Error::already_exists(format!("run {} was created at {} already", run.id, run.created_at)))
        }
        RunEventKind::Leased { number, holder } => run.leased(*number, holder),
        RunEventKind::Planned { lease, plan } => run.planned(*lease, plan),
        RunEventKind::PartsDone { lease, parts, progress } => run.parts_done(*lease, parts, *progress),
        RunEventKind::CancelRequested { .. } => run.cancel_requested(),
        RunEventKind::Ended { lease, outcome } => run.ended(*lease, outcome, event),
    }
}

fn created(event: &RunEvent) -> Result<Run> {
    match &event.what {
        RunEventKind::Created { request, principal, traceparent } => Ok(Run {
            id: event.run.clone(),
            request: request.clone(),
            principal: principal.clone(),
            traceparent: traceparent.clone(),
            state: RunState::Pending,
            created_at: event.at,
            ended_at: None,
            lease: None,
            plan: None,
            parts_done: Vec::new(),
            progress: Progress::default(),
            cancel_requested: false,
            error: None,
            result: None,
        }),
        RunEventKind::Leased { .. }
        | RunEventKind::Planned { .. }
        | RunEventKind::PartsDone { .. }
        | RunEventKind::CancelRequested { .. }
        | RunEventKind::Ended { .. } => Err(Error::not_found(format!("run {} is not known", event.run))),
    }
}

impl Run {
    /// The parts that are still to be done, by position in the plan.
    pub fn parts_left(&self) -> impl Iterator<Item = (usize, &Part)> {
        let parts = self.plan.iter().flat_map(|plan| &plan.parts).enumerate();
        parts.filter(|(position, _)| !self.is_done(*position))
    }

    /// Whether the part at that position of the plan is done.
    pub fn is_done(&self, part: usize) -> bool {
        self.parts_done.get(part).copied().unwrap_or(false)
    }

    /// The run without the list of its parts and the positions it reaches, which may be long.
    #[must_use]
    pub fn without_parts(&self) -> Self {
        let plan = self.plan.as_ref().map(|plan| {
            Arc::new(RunPlan {
                revision: plan.revision,
                started_at: plan.started_at,
                row_set: plan.row_set,
                parts: Vec::new(),
                watermarks: Vec::new(),
                gone: Vec::new(),
                meets: plan.meets,
                spine: plan.spine.clone(),
            })
        });
        Self {
            id: self.id.clone(),
            request: self.request.clone(),
            principal: self.principal.clone(),
            traceparent: self.traceparent.clone(),
            state: self.state,
            created_at: self.created_at,
            ended_at: self.ended_at,
            lease: self.lease.clone(),
            plan,
            parts_done: Vec::new(),
            progress: self.progress,
            cancel_requested: self.cancel_requested,
            error: self.error.clone(),
            result: self.result.clone(),
        }
    }

    /// CONFLICT unless `lease` is the last that was given for this run.
    pub fn check_lease(&self, lease: LeaseNumber) -> Result<()> {
        match &self.lease {
            Some((current, _)) if *current == lease => Ok(()),
            Some((current, holder)) => Err(Error::conflict(format!(
                "lease {lease} of run {} is over: {holder} holds lease {current}; stop working on it",
                self.id
            ))),
            None => Err(Error::conflict(format!("run {} has no lease {lease}: take one first", self.id))),
        }
    }

    fn check_open(&self, what: &str) -> Result<()> {
        if self.state.is_final() {
            return Err(Error::failed_precondition(format!("run {} is {}: {what}", self.id, self.state.as_str())));
        }
        Ok(())
    }

    fn leased(mut self, number: LeaseNumber, holder: &str) -> Result<Self> {
        self.check_open("it cannot be taken")?;
        if let Some((current, by)) = &self.lease
            && number <= *current
        {
            return Err(Error::conflict(format!(
                "run {} has lease {current} by {by}: {number} is no later one",
                self.id
            )));
        }
        self.lease = Some((number, holder.to_owned()));
        self.state = RunState::Running;
        Ok(self)
    }

    fn planned(mut self, lease: LeaseNumber, plan: &RunPlan) -> Result<Self> {
        self.check_lease(lease)?;
        self.check_open("it cannot be planned")?;
        match &self.plan {
            Some(known) if **known == *plan => Ok(self),
            Some(_) => Err(Error::failed_precondition(format!(
                "run {} has fixed what there is to do: resume its plan, do not make another",
                self.id
            ))),
            None => {
                self.parts_done = vec![false; plan.parts.len()];
                self.progress.parts = plan.parts.len() as u64;
                self.plan = Some(Arc::new(plan.clone()));
                Ok(self)
            }
        }
    }

    fn parts_done(mut self, lease: LeaseNumber, parts: &[usize], progress: Progress) -> Result<Self> {
        self.check_lease(lease)?;
        self.check_open("no part of it can be done")?;
        if let Some(unknown) = parts.iter().find(|part| **part >= self.parts_done.len()) {
            return Err(Error::failed_precondition(format!("run {} has no part {unknown}", self.id)));
        }
        if parts.iter().all(|part| self.is_done(*part)) {
            return Ok(self);
        }
        for part in parts {
            self.parts_done[*part] = true;
        }
        self.progress = self.counted(progress);
        Ok(self)
    }

    /// The parts are counted here: two workers may have counted them differently.
    fn counted(&self, progress: Progress) -> Progress {
        let parts_done = self.parts_done.iter().filter(|done| **done).count() as u64;
        Progress { parts_done, parts: self.parts_done.len() as u64, ..progress }
    }

    fn cancel_requested(mut self) -> Result<Self> {
        self.check_open("it cannot be cancelled")?;
        self.cancel_requested = true;
        Ok(self)
    }

    fn ended(mut self, lease: Option<LeaseNumber>, outcome: &Outcome, event: &RunEvent) -> Result<Self> {
        match lease {
            Some(lease) => self.check_lease(lease)?,
            None if self.lease.is_some() => {
                return Err(Error::conflict(format!("run {} has a worker, which ends it", self.id)));
            }
            None => {}
        }
        if self.has_ended_so(outcome) {
            return Ok(self);
        }
        self.check_open("it cannot end again")?;
        match outcome {
            Outcome::Succeeded { progress, result } => {
                self.check_complete()?;
                self.state = RunState::Succeeded;
                self.progress = self.counted(*progress);
                self.result.clone_from(result);
            }
            Outcome::Failed { error } => {
                self.state = RunState::Failed;
                self.error = Some(error.clone());
            }
            Outcome::Cancelled => self.state = RunState::Cancelled,
        }
        self.ended_at = Some(event.at);
        Ok(self)
    }

    /// Whether this very end was told before.
    fn has_ended_so(&self, outcome: &Outcome) -> bool {
        match outcome {
            Outcome::Succeeded { progress, result } => {
                let Progress { parts_done, parts, .. } = self.progress;
                let told = Progress { parts_done, parts, ..*progress };
                self.state == RunState::Succeeded && self.progress == told && self.result == *result
            }
            Outcome::Failed { error } => self.state == RunState::Failed && self.error.as_ref() == Some(error),
            Outcome::Cancelled => self.state == RunState::Cancelled,
        }
    }

    fn check_complete(&self) -> Result<()> {
        let is_planned = match &self.request {
            RunRequest::Materialize(_) => self.plan.is_some(),
            RunRequest::TrainingSet(_) => true,
        };
        let left = self.parts_left().count();
        if self.lease.is_none() || !is_planned || left > 0 {
            return Err(Error::failed_precondition(format!(
                "run {} has not succeeded: {left} of its {} parts are not done",
                self.id,
                self.parts_done.len()
            )));
        }
        Ok(())
    }
}
