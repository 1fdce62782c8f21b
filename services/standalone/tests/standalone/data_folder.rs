//! The data folder at a start.

use std::{fs, os::unix::fs::symlink};

use larder_standalone::stores::{data_folder_around, open, spill_folder};
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
    symlink(elsewhere.path(), spill.join("link")).unwrap();
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

#[tokio::test]
async fn what_is_in_a_data_folder_is_known_whatever_way_leads_there() {
    let home = larder_test_kit::temporary_folder();
    let home = fs::canonicalize(home.path()).unwrap();
    let at = |path: &str| home.join(path);
    fs::create_dir(at("sets")).unwrap();
    drop(open(&at("data"), CACHE).unwrap());
    symlink("data/push-log", at("link")).unwrap();
    symlink("data/online.redb", at("file")).unwrap();
    symlink("data/new/set.parquet", at("to-new")).unwrap();
    symlink("circle", at("circle")).unwrap();
    for inside in [
        "data",
        "data/format",
        "data/push-log/new/newer/set.parquet",
        "sets/../data/set.parquet",
        "link/set.parquet",
        "link/new/set.parquet",
        "file",
        "to-new",
    ] {
        assert_eq!(data_folder_around(&at(inside)), Some(at("data")), "{inside}");
    }
    fs::write(at("sets/format"), "parquet").unwrap();
    for outside in ["set.parquet", "sets/set.parquet", "new/set.parquet", "circle", "link/../../set.parquet"] {
        assert_eq!(data_folder_around(&at(outside)), None, "{outside}");
    }
}
