//! Real servers for tests: Redis, PostgreSQL and object stores, on free ports, with their data in temporary folders.
//!
//! `scripts/servers.sh` brings their programs. A server ends when its value is dropped, and with the process of the tests
//! however that ends: one that all tests of a process share is never dropped.

mod object_store;
mod postgres;
mod redis;

use std::{
    collections::HashMap,
    net::{SocketAddr, TcpListener},
    ops::Range,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex, Once, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::Duration,
};

pub use object_store::{ObjectStoreKind, ObjectStoreServer};
pub use postgres::Postgres;
pub use redis::Redis;

use tempfile::TempDir;

use crate::{Child, eventually};

/// How long a server may take to start: the machine may be busy with a build.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often another port is tried where somebody else took the one that was free.
const ATTEMPTS: usize = 5;

/// A server that runs, and how to start it again.
struct Server {
    make: Box<dyn Fn(u16) -> Command + Send + Sync>,
    is_ready: Box<dyn Fn(u16) -> bool + Send + Sync>,
    port: u16,
    child: Option<Child>,
}

impl Server {
    /// Starts what `make` gives for a port on one that is free, and waits until it `is_ready`.
    fn start(
        make: impl Fn(u16) -> Command + Send + Sync + 'static,
        is_ready: impl Fn(u16) -> bool + Send + Sync + 'static,
    ) -> Self {
        let mut server = Self { make: Box::new(make), is_ready: Box::new(is_ready), port: 0, child: None };
        for _ in 0..ATTEMPTS {
            server.port = free_port();
            match server.run() {
                Ok(()) => return server,
                Err(said) if said.contains("in use") => {}
                Err(said) => panic!("the server ended:\n{said}"),
            }
        }
        panic!("no free port was left free in {ATTEMPTS} attempts");
    }

    /// Where it listens.
    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Starts it on its port; an error is what it said before it ended.
    fn run(&mut self) -> Result<(), String> {
        let mut child = start((self.make)(self.port));
        let ready = eventually("the server answers", PATIENCE, || {
            if let Some(said) = child.said_at_end() {
                return Some(Err(said));
            }
            (self.is_ready)(self.port).then_some(Ok(()))
        });
        self.child = Some(child);
        ready
    }

    /// Kills it, as if the power went.
    fn kill(&mut self) {
        self.child = None;
    }

    /// Starts it again on the same port and folder.
    fn restart(&mut self) {
        self.kill();
        // What a killed server leaves to its own children may be in use for a moment.
        eventually("the server starts again", PATIENCE, || match self.run() {
            Ok(()) => Some(()),
            Err(said) if said.contains("in use") => None,
            Err(said) => panic!("the server did not start again:\n{said}"),
        });
    }

    /// Its process.
    fn child(&self) -> &Child {
        self.child.as_ref().expect("the server runs")
    }
}

/// A port that is free now, of those that the system gives to nobody by itself: so one is still free when its server is
/// started again. Another test may take it before it is used: who uses it has to look.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let ports = u32::from(PORTS.end - PORTS.start);
    let start = std::process::id().wrapping_mul(101);
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (0..ports)
        .filter_map(|_| {
            let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % ports;
            u16::try_from(offset).ok().map(|offset| PORTS.start + offset)
        })
        .find(is_free)
        .expect("a free port")
}

const PORTS: Range<u16> = 25_000..32_000;

/// A folder for a server's data. One that is shared by all tests of a process is there when the process ends: the next
/// process removes it.
fn server_folder() -> TempDir {
    static REMOVED: Once = Once::new();
    REMOVED.call_once(|| {
        let entries = std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name();
            let process =
                name.to_str().and_then(|name| name.strip_prefix(FOLDER)).and_then(|rest| rest.split('-').next());
            if cfg!(target_os = "linux") && process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    });
    let prefix = format!("{FOLDER}{}-", std::process::id());
    tempfile::Builder::new().prefix(&prefix).tempdir().expect("a temporary folder")
}

const FOLDER: &str = "larder-test-server-";

/// Starts a program that ends with this process. Linux tells a child that the thread has ended which started it, so a
/// thread that never ends starts all of them.
fn start(command: Command) -> Child {
    type Order = (Command, mpsc::SyncSender<Child>);
    static STARTER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (orders, ordered) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (command, started) in ordered {
                let _ = started.send(Child::start(command));
            }
        });
        orders
    });
    let (started, child) = mpsc::sync_channel(1);
    starter.send((command, started)).expect("the thread that starts servers");
    child.recv().expect("a server that starts")
}

/// A command that is killed with the process that starts it, and is not run as root where that is refused.
fn bound_command(program: &Path, unprivileged: bool) -> Command {
    if !cfg!(target_os = "linux") {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if unprivileged && is_root() {
        let id = NOBODY.to_string();
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
    }
    command.arg("--").arg(program);
    command
}

/// The user without rights, by its usual number.
const NOBODY: u32 = 65_534;

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// The path of one of a server's programs, which are installed where they are missing.
fn program(server: &str, name: &str) -> PathBuf {
    static FOLDERS: Mutex<Option<HashMap<String, PathBuf>>> = Mutex::new(None);
    let mut folders = FOLDERS.lock().unwrap_or_else(PoisonError::into_inner);
    let folders = folders.get_or_insert_default();
    let folder = folders.entry(server.to_owned()).or_insert_with(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/servers.sh");
        let output = Command::new(&script).arg(server).output();
        let output = output.unwrap_or_else(|error| panic!("{} cannot be run: {error}", script.display()));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {server}:\n{said}", script.display());
        PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
    });
    folder.join(name)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::get;

    #[test]
    fn redis_answers_forgets_nothing_it_was_told_to_keep_and_is_gone_when_killed() {
        let mut redis = Redis::start(&["--appendonly", "yes", "--appendfsync", "always"]);
        let ask = |redis: &Redis, request: &str| {
            let mut stream = std::net::TcpStream::connect(redis.address()).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = [0; 64];
            let read = stream.read(&mut answer).unwrap();
            String::from_utf8_lossy(&answer[..read]).into_owned()
        };
        assert_eq!(ask(&redis, "SET a 1\r\n"), "+OK\r\n");
        redis.kill();
        assert!(std::net::TcpStream::connect(redis.address()).is_err());
        redis.restart();
        assert_eq!(ask(&redis, "GET a\r\n"), "$1\r\n1\r\n");
    }

    #[test]
    fn postgres_makes_databases_and_is_there_again_after_a_restart() {
        let mut postgres = Postgres::start(&[]);
        let database = postgres.database();
        assert_ne!(database, postgres.database());
        postgres.sql(&database, "create table t (a int); insert into t values (7)");
        postgres.restart();
        assert_eq!(postgres.sql(&database, "select a from t"), "7\n");
    }

    #[test]
    fn object_stores_answer() {
        for kind in [ObjectStoreKind::Minio, ObjectStoreKind::VersityGw] {
            let server = ObjectStoreServer::start(kind);
            let bucket = server.bucket();
            assert_ne!(bucket, server.bucket());
            // Nobody may without credentials.
            assert_eq!(get(server.address(), &format!("/{bucket}")).unwrap().0, 403, "{kind:?}");
        }
    }
}
