//! A program that runs beside the test: its output is kept, it can be killed in every way, and it never outlives the
//! test.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read},
    os::unix::process::ExitStatusExt,
    process::{Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use crate::eventually;

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// A running program. Dropping it kills it.
pub struct Child {
    name: String,
    process: std::process::Child,
    output: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Child {
    /// Starts `program` with `arguments`.
    pub fn spawn<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, arguments: impl IntoIterator<Item = S>) -> Self {
        let mut command = Command::new(program);
        command.args(arguments);
        Self::start(command)
    }

    /// Starts `command`, with its output and error output kept, and nothing to read.
    pub fn start(mut command: Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        let output = Arc::default();
        let streams: [Option<Box<dyn Read + Send>>; 2] =
            [process.stdout.take().map(|out| Box::new(out) as _), process.stderr.take().map(|err| Box::new(err) as _)];
        let readers = streams.into_iter().flatten().map(|stream| keep(stream, &output)).collect();
        Self { name, process, output, readers }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// All that it has said so far, both outputs, line by line.
    pub fn output(&self) -> String {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a line with `text` in it, and gives that line.
    pub fn wait_for_line(&mut self, text: &str, patience: Duration) -> String {
        let line = |output: &str| output.lines().find(|line| line.contains(text)).map(str::to_owned);
        let what = format!("a line with `{text}` from {}", self.name);
        let found = eventually(&what, patience, || match line(&self.output()) {
            Some(line) => Some(Some(line)),
            None => self.exited().map(|_| None),
        });
        // It may have said so and ended: what it said is complete once the readers are through.
        found.or_else(|| line(&self.finish())).unwrap_or_else(|| panic!("{what}, but it ended:\n{}", self.output()))
    }

    /// SIGTERM: asks it to stop.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// SIGINT: Ctrl-C.
    pub fn interrupt(&self) {
        self.signal("INT");
    }

    /// SIGKILL: as if the power went, and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Waits for its end.
    pub fn wait(&mut self, patience: Duration) -> Exit {
        let what = format!("the end of {}, which has said:\n{}", self.name, self.output());
        let status = eventually(&what, patience, || self.exited());
        match (status.code(), status.signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, Some(signal)) => Exit::Signal(signal),
            (None, None) => panic!("{} ended without a code or a signal", self.name),
        }
    }

    /// All that it said, if it has ended.
    pub fn said_at_end(&mut self) -> Option<String> {
        self.exited().map(|_| self.finish())
    }

    /// Waits for the outputs' ends too, and gives all that it said.
    fn finish(&mut self) -> String {
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        self.output()
    }

    fn exited(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().unwrap_or_else(|error| panic!("{} cannot be waited for: {error}", self.name))
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(self.id().to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()), "SIG{signal} cannot be sent to {}", self.name);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Appends the lines of `stream` to `output` until its end.
fn keep(stream: Box<dyn Read + Send>, output: &Arc<Mutex<String>>) -> JoinHandle<()> {
    let output = Arc::clone(output);
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stream);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            output.lock().unwrap_or_else(PoisonError::into_inner).push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> Child {
        Child::spawn("sh", ["-c", script])
    }

    #[test]
    fn output_and_exit_code_are_kept() {
        let mut child = shell("echo one; echo two >&2; exit 3");
        assert_eq!(child.wait(PATIENCE), Exit::Code(3));
        let output = child.finish();
        assert!(output.contains("one\n") && output.contains("two\n"), "{output}");
        assert_eq!(child.wait_for_line("tw", PATIENCE), "two");
    }

    #[test]
    fn signals_reach_it() {
        let mut child = shell("trap 'echo stopping; exit 7' TERM; echo ready; while :; do sleep 0.01; done");
        child.wait_for_line("ready", PATIENCE);
        child.terminate();
        assert_eq!(child.wait(PATIENCE), Exit::Code(7));
        assert_eq!(child.wait_for_line("stopping", PATIENCE), "stopping");

        let mut child = shell("echo ready; while :; do sleep 0.01; done");
        child.wait_for_line("ready", PATIENCE);
        child.kill();
        assert_eq!(child.wait(PATIENCE), Exit::Signal(9));
    }

    #[test]
    #[should_panic(expected = "but it ended")]
    fn waiting_for_a_line_ends_with_the_program() {
        shell("echo other").wait_for_line("ready", PATIENCE);
    }
}
