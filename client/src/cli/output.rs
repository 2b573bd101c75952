//! What commands print, and where.
//!
//! Owns the choice between text and JSON: answers go to standard output, remarks and errors of text
//! to standard error, and with `--json` an error is an object on standard output.

use super::Outcome;
use super::table::printable;
use crate::daemon::control::Failure;
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// Where a command prints.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    json: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    pub(super) fn is_json(self) -> bool {
        self.json
    }

    /// Whether a person watches: progress may be drawn over itself.
    pub(super) fn is_watched(self) -> bool {
        !self.json && io::stderr().is_terminal()
    }

    /// Whether answers go to a terminal.
    pub(super) fn is_terminal(self) -> bool {
        !self.json && io::stdout().is_terminal()
    }

    /// Prints an answer: as an object, or as text. A text may be many lines or none.
    pub(super) fn answer(
        self,
        value: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<Outcome, Failure> {
        if self.json {
            self.object(value)?;
        } else {
            let text = text();
            if !text.is_empty() {
                self.line(text.trim_end_matches('\n'))?;
            }
        }
        Ok(Outcome::Done)
    }

    /// Prints an object as a line.
    pub(super) fn object(self, value: &impl Serialize) -> Result<(), Failure> {
        let line =
            serde_json::to_string(value).map_err(|error| failed(&io::Error::other(error)))?;
        self.line(&line)
    }

    /// Prints a line to standard output at once.
    pub(super) fn line(self, line: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        match writeln!(out, "{line}").and_then(|()| out.flush()) {
            // Whoever read it has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            outcome => outcome.map_err(|error| failed(&error)),
        }
    }

    /// Says something that is no part of the answer; nothing with `--json`.
    pub(super) fn remark(self, text: &str) {
        if !self.json {
            anstream::eprintln!("{text}");
        }
    }

    /// Prints why the command failed.
    pub(super) fn failure(self, failure: &Failure) {
        // Parts of it may be a server's words.
        let (message, hint) = (printable(&failure.message), printable(&failure.hint));
        if self.json {
            if let Err(unprinted) = self.object(&FailureObject { error: failure }) {
                anstream::eprintln!("error: {message}\nerror: {}", unprinted.message);
            }
            return;
        }
        anstream::eprintln!("error: {message}");
        if !hint.is_empty() {
            anstream::eprintln!("hint: {hint}");
        }
    }
}

/// A failure as scripts read it.
#[derive(Serialize)]
struct FailureObject<'a> {
    error: &'a Failure,
}

fn failed(error: &io::Error) -> Failure {
    Failure::new("output", format!("writing to standard output: {error}"), "")
}
