//! Waits for a condition, with a deadline and a name for what did not come.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    thread::sleep,
    time::{Duration, Instant},
};

const PAUSE: Duration = Duration::from_millis(10);

/// Asks until `answer` is there; fails the test after `patience`, saying `what` did not come.
pub fn eventually<T>(what: &str, patience: Duration, mut answer: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} in vain: {what}");
        sleep(PAUSE);
    }
}

/// Waits until `GET path` at `address` answers 200, as `/readyz` of an admin port does.
pub fn wait_for_http(address: SocketAddr, path: &str, patience: Duration) {
    let what = format!("http://{address}{path} answers 200");
    eventually(&what, patience, || matches!(get(address, path), Ok((200, _))).then_some(()));
}

/// One `GET`: the status code and the body.
pub fn get(address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    status.map(|status| (status, body.to_owned())).ok_or_else(|| io::Error::other("not an HTTP answer"))
}
