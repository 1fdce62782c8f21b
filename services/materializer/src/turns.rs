//! Whose turn it is: which of the open runs are worked on next.
//!
//! One run of each view at once, the view's oldest. Runs of different views come in the order in which they were met. One
//! that could not be had, or was left to be resumed, waits for a while without a place and then stands behind those that
//! were met in between: what fails again and again keeps nobody waiting.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use larder_definitions::run::{Run, RunId, RunRequest};
use larder_types::Name;
use tokio::time::Instant;

/// How long a run waits that could not be had or was left.
const WAIT: Duration = Duration::from_secs(1);

/// Runs that have not ended.
#[derive(Debug, Default)]
pub(crate) struct Open {
    /// The oldest first.
    pub(crate) runs: Vec<(Name, Run)>,
    /// The projects that said which they are.
    pub(crate) asked: HashSet<Name>,
}

impl Open {
    /// What knows something of runs knows nothing more of those that have ended, whoever ended them.
    pub(crate) fn forget_ended<T>(&self, known: &mut HashMap<(Name, RunId), T>) {
        let open: HashSet<(&Name, &str)> = self.runs.iter().map(|(project, run)| (project, run.id.as_str())).collect();
        known.retain(|(project, id), _| !self.asked.contains(project) || open.contains(&(project, id.as_str())));
    }
}

/// A run that is worked on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) project: Name,
    pub(crate) view: Name,
    pub(crate) run: RunId,
}

/// The order of turns.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// The views that are worked on.
    busy: HashSet<(Name, Name)>,
    waiting: HashMap<(Name, RunId), Waiting>,
    /// How many have come into the line.
    come: u64,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    until: Instant,
}

impl Turns {
    /// The runs to work on now, at most `places`.
    pub(crate) fn next(&mut self, open: &Open, places: usize, now: Instant) -> Vec<Turn> {
        open.forget_ended(&mut self.waiting);
        let mut views = HashSet::new();
        let mut ready = Vec::new();
        for (project, run) in &open.runs {
            let RunRequest::Materialize(request) = &run.request else { continue };
            let turn = Turn { project: project.clone(), view: request.view.clone(), run: run.id.clone() };
            let come = &mut self.come;
            let waiting = self.waiting.entry((turn.project.clone(), turn.run.clone())).or_insert_with(|| {
                *come += 1;
                Waiting { number: *come, until: now }
            });
            let is_oldest = views.insert((project, &request.view));
            if is_oldest && waiting.until <= now && !self.busy.contains(&(turn.project.clone(), turn.view.clone())) {
                ready.push((waiting.number, turn));
            }
        }
        ready.sort_unstable_by_key(|(number, _)| *number);
        let turns: Vec<Turn> = ready.into_iter().take(places).map(|(_, turn)| turn).collect();
        self.busy.extend(turns.iter().map(|turn| (turn.project.clone(), turn.view.clone())));
        turns
    }

    /// The work on a run is over, and the run perhaps not.
    pub(crate) fn is_over(&mut self, turn: Turn, now: Instant) {
        self.come += 1;
        self.waiting.insert((turn.project.clone(), turn.run), Waiting { number: self.come, until: now + WAIT });
        self.busy.remove(&(turn.project, turn.view));
    }
}

#[cfg(test)]
mod tests {
    use larder_definitions::run::{MaterializeRequest, RunEvent, RunEventKind, Scope, apply_event};
    use larder_types::Timestamp;

    use super::*;

    fn open(runs: &[(&str, &str)]) -> Open {
        let project = Name::new("shop").unwrap();
        let run = |(id, view): &(&str, &str)| {
            let view = Name::new(view).unwrap();
            let request = RunRequest::Materialize(MaterializeRequest { view, scope: Scope::Full, tick: None });
            let what = RunEventKind::Created { request, principal: "ada".to_owned(), traceparent: None };
            let event = RunEvent { run: (*id).to_owned(), at: Timestamp::from_micros(0), what };
            let run = apply_event(None, &event).unwrap();
            (project.clone(), run)
        };
        Open { runs: runs.iter().map(run).collect(), asked: HashSet::from([project.clone()]) }
    }

    fn ids(turns: &[Turn]) -> Vec<&str> {
        turns.iter().map(|turn| turn.run.as_str()).collect()
    }

    #[tokio::test]
    async fn what_was_left_waits_without_a_place_and_stands_behind_the_others() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        let all = open(&[("1", "a"), ("2", "b"), ("3", "c"), ("4", "d")]);
        let first = turns.next(&all, 2, now);
        assert_eq!(ids(&first), ["1", "2"]);
        first.into_iter().for_each(|turn| turns.is_over(turn, now));
        // A place is left free rather than given to one that waits.
        assert_eq!(ids(&turns.next(&all, 1, now)), ["3"]);
        assert_eq!(ids(&turns.next(&all, 3, now)), ["4"]);
        assert_eq!(ids(&turns.next(&all, 3, now)), [""; 0]);
        // What comes in between comes first of those that come later, and not before those that wait.
        let more = open(&[("1", "a"), ("2", "b"), ("5", "e")]);
        assert_eq!(ids(&turns.next(&more, 3, now + WAIT)), ["1", "2", "5"]);
    }

    #[tokio::test]
    async fn one_of_each_view_at_once_and_its_oldest() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        let all = open(&[("1", "a"), ("2", "a"), ("3", "b")]);
        let first = turns.next(&all, 9, now);
        assert_eq!(ids(&first), ["1", "3"]);
        turns.is_over(first[0].clone(), now);
        assert_eq!(ids(&turns.next(&all, 9, now)), [""; 0], "the oldest of the view is not to be had");
        assert_eq!(ids(&turns.next(&open(&[("2", "a"), ("3", "b")]), 9, now)), ["2"], "it has ended");
    }

    #[tokio::test]
    async fn nothing_is_kept_of_what_has_ended() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        turns.next(&open(&[("1", "a"), ("2", "b")]), 9, now);
        let unknown = Open::default();
        turns.next(&unknown, 9, now);
        assert_eq!(turns.waiting.len(), 2, "nobody said that they have ended");
        turns.next(&open(&[("2", "b")]), 9, now);
        assert_eq!(turns.waiting.len(), 1);
    }
}
