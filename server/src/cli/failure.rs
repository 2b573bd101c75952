//! A failed command, as a person and as a script reads it.
//!
//! Owns the three parts of every error: what scripts branch on, what failed and why, what to do
//! next. It must not know which command failed.

use crate::control::{AskError, Failure};
use serde_json::json;
use std::path::Path;

/// What a command prints when it fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandFailure {
    kind: String,
    message: String,
    hint: String,
}

impl CommandFailure {
    /// A failure; an empty hint says nothing.
    #[must_use]
    pub fn new(kind: &str, message: &str, hint: &str) -> Self {
        Self { kind: kind.to_owned(), message: message.to_owned(), hint: hint.to_owned() }
    }

    /// Prints it: as text to standard error, as `{"error":…}` to standard output.
    pub fn print(&self, json: bool) {
        if json {
            let Self { kind, message, hint } = self;
            let object = json!({ "error": { "kind": kind, "message": message, "hint": hint } });
            println!("{object}");
            return;
        }
        eprintln!("error: {}", self.message);
        if !self.hint.is_empty() {
            eprintln!("hint: {}", self.hint);
        }
    }
}

impl From<Failure> for CommandFailure {
    fn from(failure: Failure) -> Self {
        Self { kind: failure.kind, message: failure.message, hint: failure.hint }
    }
}

impl CommandFailure {
    /// The failure of asking the server that runs on `data`.
    #[must_use]
    pub fn asking(error: AskError, data: &Path) -> Self {
        let serve = format!("start it with `driftless-server serve --data {}`", data.display());
        let (kind, hint) = match &error {
            AskError::Refused(failure) => return failure.clone().into(),
            AskError::NoData { .. } => ("no_data", serve),
            AskError::NotRunning { .. } => ("not_running", serve),
            AskError::Io { source, .. }
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                ("control", "run this as the user who runs the server".to_owned())
            }
            AskError::Io { .. } => ("control", "look at the server's log".to_owned()),
            // It may also be stuck: then it ends the conversation itself.
            AskError::Gone { .. } => {
                let status =
                    "see with `driftless-server status` whether it runs, and look at its log";
                ("server_gone", format!("{status}; if it does not, {serve}, and ask again"))
            }
            AskError::NotUnderstood { .. } => {
                ("control", "use the version of driftless-server that is running".to_owned())
            }
        };
        Self::new(kind, &error.to_string(), &hint)
    }
}
