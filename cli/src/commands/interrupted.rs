//! Ctrl-C and SIGTERM end a command where it stands: its unfinished files go, and what is left to do is told.

use std::{io, process, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    time::sleep,
};

use crate::{
    console::say,
    exit::Exit,
    failure::{Failure, Outcome},
};

/// How long a command may go on after it was interrupted, e.g. with reading a file.
const PATIENCE: Duration = Duration::from_secs(2);

/// Runs `command` until it ends or is interrupted; what it holds is dropped then.
pub(super) async fn until_interrupted(command: impl Future<Output = Outcome>) -> Outcome {
    let (interrupt, interrupted) = oneshot::channel();
    tokio::spawn(async move {
        if interruption().await.is_ok() {
            let _ = interrupt.send(());
            sleep(PATIENCE).await;
            process::exit(Exit::Interrupted as i32);
        }
    });
    tokio::select! {
        outcome = command => outcome,
        Ok(()) = interrupted => Err(Failure::Interrupted),
    }
}

async fn interruption() -> io::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

/// What a person needs to know if the command is interrupted before [`Hint::not_needed`].
#[derive(Debug)]
pub(super) struct Hint(Option<String>);

impl Hint {
    pub(super) fn new(message: String) -> Self {
        Self(Some(message))
    }

    pub(super) fn not_needed(mut self) {
        self.0 = None;
    }
}

impl Drop for Hint {
    fn drop(&mut self) {
        if let Some(message) = &self.0 {
            say(message);
        }
    }
}
