//! `larder up` where it cannot start: it says why and what to do, leaves everything as it was, and exits.

use std::{path::Path, process::Command, time::Duration};

use larder_test_kit::{Child, Exit, larder_binary, listener, temporary_folder};

const PATIENCE: Duration = Duration::from_secs(30);

fn up(data: &Path, settings: &[String]) -> Child {
    let mut command = Command::new(larder_binary());
    command.args(["up", "--data"]).arg(data).current_dir(data.parent().unwrap());
    for key in ["registry", "serving", "push_ingest", "materializer"] {
        command.args(["--set", &format!("{key}.server.listen=127.0.0.1:0")]);
    }
    command.args(["--set", "serving.server.admin_listen=127.0.0.1:0"]);
    settings.iter().for_each(|setting| {
        command.args(["--set", setting]);
    });
    Child::start(command)
}

/// It ends by itself, having said all of this.
#[track_caller]
fn assert_refused(mut child: Child, texts: &[&str]) {
    child.wait_for_line("error:", PATIENCE);
    assert_eq!(child.wait(PATIENCE), Exit::Code(1), "{}", child.output());
    let output = child.output();
    for text in texts {
        assert!(output.contains(text), "`{text}` is not in: {output}");
    }
    assert!(!output.contains("Larder listens"), "{output}");
}

#[test]
fn a_data_folder_in_use_is_refused_and_its_user_goes_on() {
    let folder = temporary_folder();
    let data = folder.path().join("data");
    let mut first = up(&data, &[]);
    first.wait_for_line("  materializer ", PATIENCE);
    assert_refused(up(&data, &[]), &["is in use by process", &first.id().to_string(), "name another folder"]);
    first.terminate();
    assert_eq!(first.wait(PATIENCE), Exit::Code(0), "{}", first.output());
    let mut next = up(&data, &[]);
    next.wait_for_line("  materializer ", PATIENCE);
    next.terminate();
    assert_eq!(next.wait(PATIENCE), Exit::Code(0), "{}", next.output());
}

#[test]
fn a_data_folder_of_a_newer_release_is_refused_and_left_as_it_is() {
    let folder = temporary_folder();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("format"), "7\n").unwrap();
    assert_refused(up(&data, &[]), &["has format 7", "reads formats up to 1", "newer release"]);
    let mut left: Vec<_> = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["format", "lock"]);
    assert_eq!(std::fs::read_to_string(data.join("format")).unwrap(), "7\n");
}

#[test]
fn a_folder_of_somebody_else_is_refused_and_left_as_it_is() {
    let folder = temporary_folder();
    let data = folder.path().join("data");
    std::fs::create_dir_all(data.join("photos")).unwrap();
    assert_refused(up(&data, &[]), &["is not Larder's", "photos", "with --data"]);
    let left: Vec<_> = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["photos"]);
    std::fs::remove_dir(data.join("photos")).unwrap();
    // As a fresh file system has it, and a start that was killed early.
    std::fs::create_dir(data.join("lost+found")).unwrap();
    std::fs::write(data.join("lock"), "").unwrap();
    let mut child = up(&data, &[]);
    child.wait_for_line("  materializer ", PATIENCE);
    child.terminate();
    assert_eq!(child.wait(PATIENCE), Exit::Code(0), "{}", child.output());
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_the_setting_to_change() {
    let folder = temporary_folder();
    let taken = listener().await.local_addr().unwrap();
    let _taken = std::net::TcpListener::bind(taken).unwrap();
    for key in ["registry", "serving", "push_ingest", "materializer"] {
        let setting = format!("{key}.server.listen={taken}");
        let child = up(&folder.path().join(key), &[setting]);
        assert_refused(child, &[&taken.to_string(), "is in use", &format!("{key}.server.listen")]);
    }
    let child = up(&folder.path().join("admin"), &[format!("serving.server.admin_listen={taken}")]);
    assert_refused(child, &[&taken.to_string(), "serving.server.admin_listen"]);
}

#[test]
fn a_data_folder_that_cannot_be_made_is_named() {
    let folder = temporary_folder();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let data = file.join("data");
    let mut command = Command::new(larder_binary());
    command.args(["up", "--data"]).arg(&data);
    assert_refused(Child::start(command), &[data.to_str().unwrap(), "data folder"]);
}
