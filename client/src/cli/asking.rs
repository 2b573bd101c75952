//! Asking the running daemon.
//!
//! Owns what it means for a person that none runs, and the working directory that path arguments
//! are relative to and that says which folder is meant.

use super::Context;
use crate::daemon::control::{
    self, Answer, AskFailure, Failure, FolderArgument, PathArgument, Request,
};
use crate::daemon::roots::RootError;
use crate::home::Home;
use std::path::{Path, PathBuf};

/// Asks and waits.
pub(super) fn ask(context: &Context, request: &Request) -> Result<Answer, Failure> {
    control::ask(&context.home, request, |_| ()).map_err(|error| explain(error, &context.home))
}

/// Why the daemon did not answer.
pub(super) fn explain(error: AskFailure, home: &Home) -> Failure {
    let message = error.to_string();
    let (kind, hint) = match error {
        AskFailure::Refused(failure) => return failure,
        AskFailure::NotRunning if !home.is_enrolled() => {
            return crate::home::HomeError::NotEnrolled { home: home.path().to_owned() }.into();
        }
        AskFailure::NotRunning => ("not_running", "start it with `driftless run`".to_owned()),
        AskFailure::Io(source) if source.kind() == std::io::ErrorKind::PermissionDenied => {
            ("control", "run this as the user who runs driftless".to_owned())
        }
        AskFailure::Io(_) | AskFailure::Stopped => {
            ("control", "look at the output of the running driftless".to_owned())
        }
        AskFailure::NotUtf8 => {
            ("usage", "choose paths and a --home whose names are UTF-8".to_owned())
        }
        AskFailure::NotUnderstood => {
            ("control", "use the version of driftless that is running".to_owned())
        }
    };
    Failure::new(kind, message, hint)
}

/// An answer of another kind than asked for.
pub(super) fn unexpected(home: &Home) -> Failure {
    explain(AskFailure::NotUnderstood, home)
}

/// A path argument with the directory that it is relative to.
pub(super) fn path_argument(text: String) -> Result<PathArgument, Failure> {
    Ok(PathArgument { text, directory: in_utf8(working_directory()?)? })
}

/// A folder by its name, with the directory that tells which is meant when there is no name.
pub(super) fn folder_argument(name: Option<String>) -> FolderArgument {
    let directory = working_directory().and_then(in_utf8);
    // One that cannot be told, or is no UTF-8, says nothing: the daemon asks for a name if it has to.
    FolderArgument { name, directory: directory.ok() }
}

/// A directory or file outside the folders, made absolute.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    in_utf8(working_directory()?.join(path))
}

/// Neither requests nor the configuration hold other paths.
fn in_utf8(path: PathBuf) -> Result<PathBuf, Failure> {
    if path.to_str().is_some() { Ok(path) } else { Err(RootError::NotUtf8 { path }.into()) }
}

fn working_directory() -> Result<PathBuf, Failure> {
    std::env::current_dir().map_err(|error| {
        Failure::new(
            "directory",
            format!("the working directory: {error}"),
            "change to another one",
        )
    })
}
