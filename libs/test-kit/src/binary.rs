//! Finds the built command.

use std::path::{Path, PathBuf};

/// The `larder` command of the build that the test belongs to; `$LARDER_BIN` names another one.
pub fn larder_binary() -> PathBuf {
    if let Some(path) = std::env::var_os("LARDER_BIN") {
        return PathBuf::from(path);
    }
    let test = std::env::current_exe().expect("the path of the test");
    // Tests lie in target/<profile>/deps, commands in target/<profile>.
    let folder = test.parent().and_then(Path::parent).expect("the folder of the build");
    let path = folder.join("larder");
    assert!(path.exists(), "{} is not built: run `cargo build -p larder-cli` with the test's profile", path.display());
    path
}
