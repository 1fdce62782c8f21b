//! Any bytes as a project, a revision, a project's snapshot, an event of a run or a snapshot of runs: what they say, or an
//! error. What could be read is written and read again without change, and folded or refused.

#![no_main]

use larder_definitions::{
    Catalog, ProjectRecord, ProjectState, RevisionRecord,
    run::{RunEvent, RunsState},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(project) = ProjectRecord::decode(bytes) {
        let again = project.encode().expect("what was read can be written");
        assert_eq!(ProjectRecord::decode(&again).expect("what was written can be read"), project);
    }
    if let Ok(record) = RevisionRecord::decode(bytes) {
        let again = record.encode().expect("what was read can be written");
        assert_eq!(RevisionRecord::decode(&again).expect("what was written can be read"), record);
        let empty = ProjectState::empty(record.project.clone(), larder_types::ProjectNumber(1));
        if let Ok(state) = empty.next(&record) {
            let _ = Catalog::build(&state);
        }
    }
    if let Ok(state) = ProjectState::decode(bytes) {
        let _ = Catalog::build(&state);
    }
    if let Ok(event) = RunEvent::decode(bytes) {
        let again = event.encode().expect("what was read can be written");
        assert_eq!(RunEvent::decode(&again).expect("what was written can be read"), event);
        let _ = RunsState::default().apply(&event);
        if let Ok(mut state) = RunsState::decode(bytes) {
            let _ = state.apply(&event);
        }
    }
    if let Ok(state) = RunsState::decode(bytes) {
        let again = state.encode().expect("what was read can be written");
        assert_eq!(RunsState::decode(&again).expect("what was written can be read"), state);
    }
});
