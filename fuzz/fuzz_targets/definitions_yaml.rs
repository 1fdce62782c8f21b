//! Any text as a definition file: a valid repository, or problems that each have a place or say why not.

#![no_main]

use std::path::Path;

use larder_definitions::{ChangeSet, ProjectState, RevisionMeta, apply, yaml::read_text};
use larder_types::{ProjectNumber, Timestamp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match read_text("fuzz.yaml", Path::new("/repo"), text) {
        Ok(repository) => {
            let state = ProjectState::empty(repository.project.clone(), ProjectNumber(1));
            let change = ChangeSet::whole(&state, "fuzz", repository.into_objects());
            let meta = RevisionMeta { at: Timestamp::from_micros(0), principal: String::new(), address: String::new() };
            apply(&state, &change, meta).expect("what is valid can be applied");
        }
        Err(problems) => assert!(!problems.is_empty(), "an error says why"),
    }
});
