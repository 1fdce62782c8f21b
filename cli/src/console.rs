//! Standard output has results and nothing else; standard error has messages, questions and progress.

use std::io::{self, BufRead, IsTerminal, Write};

use serde_json::Value;

use crate::{
    arguments::Format,
    failure::{Failure, Outcome},
    render::{Paint, harmless},
};

/// What a command found or did: shown as one document to programs, as text to people.
pub(crate) trait Report {
    /// Stable: fields are only added.
    fn json(&self) -> Value;

    /// Ends without a line break; empty: nothing to show.
    fn text(&self, paint: Paint) -> String;
}

/// Where results and messages go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Console {
    format: Format,
    paint: Paint,
}

impl Console {
    /// As asked for; colours where a person looks on and has not set NO_COLOR.
    pub(crate) fn new(format: Format) -> Self {
        let coloured = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { format, paint: if coloured { Paint::Coloured } else { Paint::Plain } }
    }

    /// Shows text that is the result to people, and a document of the same to programs.
    pub(crate) fn text_or(&self, text: &str, document: impl FnOnce() -> Value) -> Outcome<()> {
        match self.format {
            Format::Table => self.text(text),
            Format::Json => self.text(&format!("{:#}", document())),
        }
    }

    /// Shows the result.
    pub(crate) fn report(&self, report: &impl Report) -> Outcome<()> {
        match self.format {
            Format::Table => self.text(&harmless(&report.text(self.paint), self.paint)),
            Format::Json => self.text(&format!("{:#}", report.json())),
        }
    }

    /// Writes text that is a result as it is, e.g. a completion script.
    pub(crate) fn text(&self, text: &str) -> Outcome<()> {
        if text.is_empty() {
            return Ok(());
        }
        let end = if text.ends_with('\n') { "" } else { "\n" };
        let mut out = io::stdout().lock();
        written(out.write_all(text.as_bytes()).and_then(|()| out.write_all(end.as_bytes())).and_then(|()| out.flush()))
    }

    /// Shows `report` on standard error: what is to be decided on, not the result.
    pub(crate) fn preview(&self, report: &impl Report) {
        say(&report.text(Paint::Plain));
    }

    /// Asks for a yes. Without a terminal to ask at, it is an error that says how to answer beforehand.
    pub(crate) fn confirm(&self, question: &str) -> Outcome<bool> {
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            let message =
                format!("there is no terminal to ask at ({question}): say --yes to go on without being asked");
            return Err(Failure::wrong(message));
        }
        let _ = write!(io::stderr(), "{question} [y/N] ");
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).map_err(|error| Failure::io("the answer cannot be read", &error))?;
        Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
    }

    /// Whether people read the results.
    pub(crate) fn is_table(&self) -> bool {
        self.format == Format::Table
    }
}

/// What became of writing to standard output. Where nobody reads any more, the output ends there and the command goes on:
/// what it exits with is its own verdict.
pub(crate) fn written(result: io::Result<()>) -> Outcome<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::io("standard output cannot be written", &error))
        }
        Err(_) | Ok(()) => Ok(()),
    }
}

/// Tells a person something that is not a result. Nothing can be done where standard error is gone.
pub(crate) fn say(message: &str) {
    let _ = writeln!(io::stderr(), "{}", harmless(message, Paint::Plain));
}
