//! PostgreSQL.

use std::{
    net::SocketAddr,
    os::unix::fs::chown,
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use tempfile::TempDir;

use super::{NOBODY, Server, bound_command, is_root, program, server_folder};

/// A PostgreSQL server with one user, `larder`, whose password is `secret`.
pub struct Postgres {
    server: Server,
    databases: AtomicU32,
    _folder: TempDir,
}

const USER: &str = "larder";
const PASSWORD: &str = "secret";

impl Postgres {
    /// Starts one with `settings` (`name=value`) besides the usual ones.
    pub fn start(settings: &[&str]) -> Self {
        let folder = server_folder();
        if is_root() {
            chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("the folder is given to another user");
        }
        let data = folder.path().join("data");
        let password = folder.path().join("password");
        std::fs::write(&password, PASSWORD).expect("a file with the password");
        let mut initdb = bound_command(&program("postgres", "initdb"), true);
        initdb.args(["--no-sync", "--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", "--username", USER]);
        initdb.arg("--pwfile").arg(&password).arg("--pgdata").arg(&data);
        let made = initdb.current_dir("/").output().expect("initdb is run");
        assert!(made.status.success(), "initdb:\n{}", String::from_utf8_lossy(&made.stderr));
        let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let socket = folder.path().to_owned();
        let make = move |port: u16| {
            let mut command = bound_command(&program("postgres", "postgres"), true);
            command.current_dir("/").arg("-D").arg(&data).arg("-k").arg(&socket);
            command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-c", "fsync=off", "-c", "max_connections=200"]);
            settings.iter().for_each(|setting| _ = command.arg("-c").arg(setting));
            command
        };
        let server = Server::start(make, |port| psql(port, "postgres", "select 1").is_ok());
        Self { server, databases: AtomicU32::new(0), _folder: folder }
    }

    /// One that all tests of this process share: each takes a [`Postgres::database`] of its own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&[]))
    }

    /// A new, empty database.
    pub fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("create database {name}"));
        name
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The URL of one of its databases.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD}@{}/{database}", self.address())
    }

    /// Runs SQL; gives the rows, a line each, columns apart by `|`.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        psql(self.address().port(), database, sql).unwrap_or_else(|said| panic!("{sql}:\n{said}"))
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Kills it and starts it again on the same port.
    pub fn restart(&mut self) {
        self.server.restart();
    }

    /// Its process id, to stop it for a while.
    pub fn id(&self) -> u32 {
        self.server.child().id()
    }
}

fn psql(port: u16, database: &str, sql: &str) -> Result<String, String> {
    let mut command = Command::new(program("postgres", "psql"));
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", USER, "-d", database]);
    command.args(["-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1"]).env("PGPASSWORD", PASSWORD);
    let output = command.arg("-c").arg(sql).output().expect("psql is run");
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}
