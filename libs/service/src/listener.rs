//! Opens the ports. Listeners are handed to servers, so tests bind port 0 and nothing else in here opens a socket.

use std::{io, net::SocketAddr};

use larder_types::{Error, Result};
use tokio::net::TcpListener;

/// Listens at `address`, which the configuration has under `key` (e.g. `server.listen`). The error names both.
pub async fn bind(address: SocketAddr, key: &str) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).await.map_err(|error| cannot_listen(address, key, error))?;
    if !address.ip().is_loopback() {
        tracing::warn!(%address, key, "listening beyond this machine without TLS: anyone who reaches the port may call");
    }
    Ok(listener)
}

fn cannot_listen(address: SocketAddr, key: &str, error: io::Error) -> Error {
    let variable = format!("LARDER__{}", key.replace('.', "__").to_uppercase());
    let set_other = format!("set {key} (or {variable}) to another address; port 0 takes any free one");
    let kind = error.kind();
    let message = if kind == io::ErrorKind::AddrInUse {
        format!("{address} is in use by another process: stop that one, or {set_other}")
    } else if kind == io::ErrorKind::AddrNotAvailable {
        format!("{address} is not an address of this machine: {set_other}")
    } else if kind == io::ErrorKind::PermissionDenied {
        format!("{address} may not be opened by this user: {set_other}")
    } else {
        format!("cannot listen at {address}: {error}; {set_other}")
    };
    Error::failed_precondition(message).with_source(error)
}
