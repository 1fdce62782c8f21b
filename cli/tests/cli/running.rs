//! Runs the built command, with or without services to call.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use tempfile::TempDir;

/// What a command left behind.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// Standard output as one JSON document.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }
}

/// In a folder of its own.
pub(crate) fn larder(arguments: &[&str]) -> Ran {
    larder_in(tempfile::tempdir().unwrap().path(), arguments)
}

/// In that folder. Nobody listens on port 1.
pub(crate) fn larder_in(folder: &Path, arguments: &[&str]) -> Ran {
    let nowhere = SERVICES.map(|service| (service, "http://127.0.0.1:1".to_owned()));
    run(folder, arguments, &nowhere)
}

/// In that folder, with nobody to read its standard output: the exit code.
pub(crate) fn larder_unread(folder: &Path, arguments: &[&str]) -> i32 {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let status = command(folder, arguments).stdout(writer).stderr(Stdio::null()).status().expect("the command starts");
    status.code().expect("it was not killed")
}

/// In that folder, with no room for its standard output: the exit code and standard error.
pub(crate) fn larder_without_room(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let full = std::fs::File::options().write(true).open("/dev/full").expect("a device without room");
    let done = command(folder, arguments).stdout(full).stderr(Stdio::piped()).output().expect("the command starts");
    (done.status.code().expect("it was not killed"), String::from_utf8(done.stderr).expect("output is text"))
}

/// In that folder, where no file may have more than a few blocks, as on a disk that is all but full.
pub(crate) fn larder_with_small_files(folder: &Path, arguments: &[&str]) -> Ran {
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 16; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_larder")]);
    done(shell.args(arguments).current_dir(folder).env_clear())
}

/// In that folder, with one more variable.
pub(crate) fn larder_with(folder: &Path, variable: (&str, &str), arguments: &[&str]) -> Ran {
    done(command(folder, arguments).env(variable.0, variable.1))
}

/// The services, as variables name them.
const SERVICES: [&str; 4] = ["REGISTRY", "SERVING", "PUSH_INGEST", "MATERIALIZER"];

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(arguments).current_dir(folder).env_clear();
    command
}

fn run(folder: &Path, arguments: &[&str], addresses: &[(&str, String)]) -> Ran {
    let mut command = command(folder, arguments);
    command.envs(addresses.iter().map(|(service, address)| (format!("LARDER__CLIENT__{service}"), address)));
    done(&mut command)
}

fn done(command: &mut Command) -> Ran {
    let done = command.output().expect("the command starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is text");
    Ran { code: done.status.code().expect("it was not killed"), out: text(done.stdout), err: text(done.stderr) }
}

/// What makes `larder up` listen on free ports.
pub(crate) fn free_ports() -> Vec<String> {
    let servers = ["registry", "serving", "push_ingest", "materializer"].map(|name| format!("{name}.server.listen"));
    let keys = servers.into_iter().chain(["serving.server.admin_listen".to_owned()]);
    keys.flat_map(|key| ["--set".to_owned(), format!("{key}=127.0.0.1:0")]).collect()
}

/// `larder up` in a folder, on free ports, until it is dropped.
pub(crate) struct Up {
    process: Child,
    pub(crate) addresses: Vec<(&'static str, String)>,
    folder: TempDir,
}

impl Up {
    /// Over what `larder init` makes, in a project called `shop`.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(larder_in(folder.path(), &["init", "--project", "shop"]).code, 0);
        let ports = free_ports();
        let mut arguments = vec!["up", "--output", "json"];
        arguments.extend(ports.iter().map(String::as_str));
        let mut process =
            command(folder.path(), &arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
        let lines = BufReader::new(process.stdout.take().expect("its output")).lines().map_while(Result::ok);
        let mut document = String::new();
        for line in lines {
            document.push_str(&line);
            if line == "}" {
                break;
            }
        }
        let document: Value = serde_json::from_str(&document).expect("it says where it listens");
        let address = |service: &'static str| {
            let address = document[service.to_lowercase()].as_str().expect("an address");
            (service, address.to_owned())
        };
        Self { process, addresses: SERVICES.map(address).to_vec(), folder }
    }

    /// The folder with the definitions.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A command that calls these services.
    pub(crate) fn larder(&self, arguments: &[&str]) -> Ran {
        run(self.folder.path(), arguments, &self.addresses)
    }

    /// A command that calls these services, under way.
    pub(crate) fn begin(&self, arguments: &[&str]) -> Child {
        let mut command = command(self.folder.path(), arguments);
        command.envs(self.addresses.iter().map(|(service, address)| (format!("LARDER__CLIENT__{service}"), address)));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts")
    }

    /// The standard output of a command that goes well.
    pub(crate) fn good(&self, arguments: &[&str]) -> String {
        let ran = self.larder(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {}{}", ran.out, ran.err);
        ran.out
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A folder with that `larder.yaml`.
pub(crate) fn repository(definitions: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("larder.yaml"), definitions).unwrap();
    folder
}
