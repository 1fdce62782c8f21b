//! redis-server.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tempfile::TempDir;

use super::{Server, bound_command, program, server_folder};

/// A Redis server. It keeps nothing on disk unless it is told to.
pub struct Redis {
    server: Server,
    databases: AtomicU32,
    _folder: TempDir,
}

/// So many tests may have a database of their own.
const DATABASES: u32 = 10_000;

impl Redis {
    /// Starts one with `arguments` behind the usual ones.
    pub fn start(arguments: &[&str]) -> Self {
        let folder = server_folder();
        let path = folder.path().to_owned();
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let make = move |port: u16| {
            let mut command = bound_command(&program("redis", "redis-server"), false);
            command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--dir"]).arg(&path);
            command.args(["--databases", &DATABASES.to_string(), "--enable-debug-command", "local"]);
            command.args(&arguments);
            command
        };
        Self { server: Server::start(make, answers), databases: AtomicU32::new(0), _folder: folder }
    }

    /// One that all tests of this process share: each takes a [`Redis::database`] of its own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Redis> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&["--hash-max-listpack-value", "1024"]))
    }

    /// The number of a database that nobody else was given.
    pub fn database(&self) -> u32 {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        assert!(number < DATABASES, "more than {DATABASES} databases were taken");
        number
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The URL of one of its databases.
    pub fn url(&self, database: u32) -> String {
        format!("redis://{}/{database}", self.address())
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts it again on the same port.
    pub fn restart(&mut self) {
        self.server.restart();
    }

    /// Its process id, to stop it for a while.
    pub fn id(&self) -> u32 {
        self.server.child().id()
    }
}

/// Whether a Redis server at the port has read what it kept: it may want to know who asks.
fn answers(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 64];
        let read = stream.read(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..read]).into_owned())
    };
    ask().is_ok_and(|answer| answer.starts_with("+PONG") || answer.starts_with("-NOAUTH"))
}
