//! Bytes that outlive a process. Files in `tests/golden` are only added to: what one release wrote, every later one reads.
//!
//! A file that is not there is written when `LARDER_WRITE_GOLDEN` is set.

use std::{collections::BTreeMap, fmt::Debug, fs, path::PathBuf};

use larder_definitions::{
    ProjectRecord, ProjectState, RevisionRecord, RollbackRequest, rollback,
    run::{RunEvent, RunsState},
};
use larder_types::{ErrorCode, Result};

use crate::{
    projects::{SAMPLE, TWO_FEATURES, applied, empty, meta, name, small},
    runs::life_of_a_run,
};

#[track_caller]
fn check<T: PartialEq + Debug>(
    file: &str,
    value: &T,
    encode: fn(&T) -> Result<Vec<u8>>,
    decode: fn(&[u8]) -> Result<T>,
) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    let bytes = encode(value).unwrap();
    if !path.exists() && std::env::var_os("LARDER_WRITE_GOLDEN").is_some() {
        fs::write(&path, &bytes).unwrap();
    }
    let golden = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(&decode(&golden).unwrap(), value, "{file} is read as it was meant");
    assert_eq!(String::from_utf8(golden).unwrap(), String::from_utf8(bytes).unwrap(), "{file} is written as before");
}

#[test]
fn revisions() {
    let (first, one) = applied(&empty(), SAMPLE);
    check("revision_1_apply.json", &first, RevisionRecord::encode, RevisionRecord::decode);
    let (_, two) = applied(&one, &small(TWO_FEATURES, ""));
    let request = RollbackRequest { expected_revision: None, origin: "ops".to_owned(), message: "back".to_owned() };
    let (third, three) = rollback(&two, &one, &request, meta(&two)).unwrap().unwrap();
    check("revision_1_rollback.json", &third, RevisionRecord::encode, RevisionRecord::decode);
    check("project_1.json", &three, ProjectState::encode, ProjectState::decode);
}

#[test]
fn projects() {
    check(
        "project_record_1.json",
        &ProjectRecord { name: name("payments") },
        ProjectRecord::encode,
        ProjectRecord::decode,
    );
}

#[test]
fn runs() {
    let mut runs = RunsState::default();
    for (number, event) in life_of_a_run("customer_features@2026-01-31T06:00:00Z").iter().enumerate() {
        check(&format!("run_event_1_{number}.json"), event, RunEvent::encode, RunEvent::decode);
        runs.apply(event).unwrap();
    }
    check("runs_1.json", &runs, RunsState::encode, RunsState::decode);
}

/// What a newer release wrote is told from what is damaged.
#[test]
fn newer_is_not_damaged() {
    let (record, _) = applied(&empty(), SAMPLE);
    let text = String::from_utf8(record.encode().unwrap()).unwrap();
    let code = |text: &str| RevisionRecord::decode(text.as_bytes()).unwrap_err().code();
    let cases = BTreeMap::from([
        (text.replace("\"format\":1", "\"format\":2"), ErrorCode::Unimplemented),
        (text.replace("\"ttl\":", "\"colour\":1,\"ttl\":"), ErrorCode::Unimplemented),
        (text.replace("\"sql\":", "\"lua\":"), ErrorCode::Unimplemented),
        (text.replace("\"format\":1", "\"format\":0"), ErrorCode::DataLoss),
        (text.replace("\"number\":1,", ""), ErrorCode::DataLoss),
        (text[..text.len() / 2].to_owned(), ErrorCode::DataLoss),
        (String::new(), ErrorCode::DataLoss),
        ("[".repeat(100_000), ErrorCode::DataLoss),
    ]);
    for (damaged, expected) in cases {
        assert_eq!(code(&damaged), expected, "{}", damaged.chars().take(200).collect::<String>());
    }
}
