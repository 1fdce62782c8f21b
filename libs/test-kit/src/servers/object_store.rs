//! Servers that speak S3.

use std::{
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use tempfile::TempDir;

use super::{Server, bound_command, free_port, program, server_folder};
use crate::get;

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectStoreKind {
    /// MinIO.
    Minio,
    /// VersityGW over a folder.
    VersityGw,
}

/// A server that speaks S3, with one user.
pub struct ObjectStoreServer {
    server: Server,
    /// A bucket is a folder in here.
    data: PathBuf,
    buckets: AtomicU32,
    _folder: TempDir,
}

impl ObjectStoreServer {
    /// The key id of its user.
    pub const ACCESS_KEY_ID: &str = "larder-test";
    /// The user's secret.
    pub const SECRET_ACCESS_KEY: &str = "larder-secret";

    /// Starts one.
    pub fn start(kind: ObjectStoreKind) -> Self {
        let folder = server_folder();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).expect("a folder for buckets");
        let (id, secret) = (Self::ACCESS_KEY_ID, Self::SECRET_ACCESS_KEY);
        let root = data.clone();
        let server = match kind {
            ObjectStoreKind::Minio => {
                let make = move |port: u16| {
                    let mut command = bound_command(&program("minio", "minio"), false);
                    command.args(["server", "--quiet", "--address", &format!("127.0.0.1:{port}")]);
                    command.args(["--console-address", &format!("127.0.0.1:{}", free_port())]).arg(&root);
                    command.env("MINIO_ROOT_USER", id).env("MINIO_ROOT_PASSWORD", secret);
                    command.env("MINIO_BROWSER", "off").env("MINIO_UPDATE", "off");
                    command
                };
                // It knows its users a moment after it listens.
                let is_ready = |port: u16| matches!(get(SocketAddr::from(([127, 0, 0, 1], port)), "/"), Ok((403, _)));
                Server::start(make, is_ready)
            }
            ObjectStoreKind::VersityGw => {
                let make = move |port: u16| {
                    let mut command = bound_command(&program("versitygw", "versitygw"), false);
                    command.args(["--access", id, "--secret", secret, "--port", &format!("127.0.0.1:{port}")]);
                    command.args(["--quiet", "posix"]).arg(&root);
                    command
                };
                Server::start(make, |port| TcpStream::connect(("127.0.0.1", port)).is_ok())
            }
        };
        Self { server, data, buckets: AtomicU32::new(0), _folder: folder }
    }

    /// One of that kind that all tests of this process share: each takes a [`ObjectStoreServer::bucket`] of its own.
    pub fn shared(kind: ObjectStoreKind) -> &'static Self {
        static MINIO: OnceLock<ObjectStoreServer> = OnceLock::new();
        static VERSITY_GW: OnceLock<ObjectStoreServer> = OnceLock::new();
        let shared = match kind {
            ObjectStoreKind::Minio => &MINIO,
            ObjectStoreKind::VersityGw => &VERSITY_GW,
        };
        shared.get_or_init(|| Self::start(kind))
    }

    /// A new, empty bucket: both servers take a folder for one.
    pub fn bucket(&self) -> String {
        let name = format!("bucket-{}", self.buckets.fetch_add(1, Ordering::Relaxed));
        std::fs::create_dir(self.data.join(&name)).expect("a bucket's folder");
        name
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The endpoint's URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Kills it and starts it again on the same port.
    pub fn restart(&mut self) {
        self.server.restart();
    }
}
