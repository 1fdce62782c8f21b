//! The data folder at a start.

use std::fs;

use larder_standalone::stores::{open, spill_folder};
use larder_types::ErrorCode;

/// As much as the test's store keeps in memory.
const CACHE: usize = 1 << 20;

#[tokio::test]
async fn what_a_killed_process_spilled_is_removed_and_what_a_living_one_spills_is_not() {
    let folder = larder_test_kit::temporary_folder();
    open(folder.path(), CACHE).unwrap();
    let (spill, elsewhere) = (spill_folder(folder.path()), larder_test_kit::temporary_folder());
    let left = spill.join("larder-training-x1/deeper");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("rows"), "rows").unwrap();
    fs::write(spill.join("unnamed"), "rows").unwrap();
    fs::write(elsewhere.path().join("mine"), "rows").unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), spill.join("link")).unwrap();
    let opened = open(folder.path(), CACHE).unwrap();
    assert_eq!(fs::read_dir(&spill).unwrap().count(), 0);
    assert!(elsewhere.path().join("mine").exists(), "what a link leads to is somebody else's");

    let spilled = spill.join("larder-training-x2");
    fs::create_dir(&spilled).unwrap();
    assert_eq!(open(folder.path(), CACHE).map(drop).unwrap_err().code(), ErrorCode::FailedPrecondition);
    assert!(spilled.exists());
    drop(opened);
    open(folder.path(), CACHE).unwrap();
    assert!(!spilled.exists());
}
