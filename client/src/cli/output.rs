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
        self.tell(value, text).map(|_| Outcome::Done)
    }

    /// As [`Output::answer`], and says whether it was written out.
    pub(super) fn tell(
        self,
        value: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<bool, Failure> {
        if self.json {
            return self.object(value);
        }
        match text() {
            text if text.is_empty() => Ok(true),
            text => self.line(text.trim_end_matches('\n')),
        }
    }

    /// Prints an object as a line, and says whether it was written out.
    pub(super) fn object(self, value: &impl Serialize) -> Result<bool, Failure> {
        let line =
            serde_json::to_string(value).map_err(|error| failed(&io::Error::other(error)))?;
        self.line(&line)
    }

    /// Prints a line to standard output at once, and says whether it was written out: whoever read
    /// what came before may have seen enough, and then it was not.
    pub(super) fn line(self, line: &str) -> Result<bool, Failure> {
        let mut out = io::stdout().lock();
        match writeln!(out, "{line}").and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            outcome => outcome.map(|()| true).map_err(|error| failed(&error)),
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

#[cfg(test)]
mod tests {
    /// Whatever is printed as an object is declared in one of these.
    const SOURCES: [&str; 7] = [
        include_str!("../daemon/control/answers.rs"),
        include_str!("../daemon/control/history_answers.rs"),
        include_str!("../daemon/control/label_answers.rs"),
        include_str!("../daemon/control/protocol.rs"),
        include_str!("doctor/mod.rs"),
        include_str!("foreground.rs"),
        include_str!("join.rs"),
    ];

    /// The fields of every struct of a source that derives `Serialize`, with the names that serde
    /// gives them.
    fn shapes(source: &str) -> Vec<(&str, Vec<&str>)> {
        let (mut shapes, mut derived, mut renamed) = (Vec::new(), false, None);
        let mut open: Option<(&str, Vec<&str>)> = None;
        let code = source.split("#[cfg(test)]").next().unwrap_or_default();
        for line in code.lines() {
            let item = line.trim_start_matches("pub(super) ").trim_start_matches("pub ");
            let field = line.trim().trim_start_matches("pub ");
            if line.starts_with("#[derive(") {
                derived = line.contains("Serialize");
            } else if let Some(rest) = item.strip_prefix("struct ") {
                open =
                    rest.split([' ', '<', ';']).next().filter(|_| derived).map(|it| (it, vec![]));
                derived = false;
            } else if item.starts_with("enum ") {
                derived = false;
            } else if line == "}" {
                shapes.extend(open.take());
            } else if let Some(rest) = field.strip_prefix("#[serde(rename = ") {
                renamed = rest.split('"').nth(1);
            } else if let (Some((_, fields)), false) = (&mut open, field.starts_with(['/', '#'])) {
                let name = field.split_once(": ").map(|(name, _)| name);
                fields.extend(renamed.take().or(name));
            }
        }
        shapes
    }

    /// What the document says in one place: a line of a table, or a paragraph.
    fn places(document: &str) -> Vec<&str> {
        let paragraphs = document.split("\n\n");
        paragraphs
            .flat_map(|text| match text.starts_with('|') {
                true => text.lines().collect(),
                false => vec![text],
            })
            .collect()
    }

    #[test]
    fn every_object_that_is_printed_is_documented_whole_and_in_one_place() {
        let document = include_str!("../../../docs/json.md");
        let places = places(document);
        let shapes: Vec<_> = SOURCES.iter().flat_map(|source| shapes(source)).collect();
        for known in ["ExportedAnswer", "Joined", "Ready", "Check", "Failure"] {
            assert!(shapes.iter().any(|(shape, _)| *shape == known), "{known}: {shapes:?}");
        }
        // No command prints what goes over the control socket.
        let unprinted = ["PathArgument", "FolderArgument", "FolderProgress", "SettingsArgument"];
        let printed = shapes.iter().filter(|(shape, _)| !unprinted.contains(shape));
        for (shape, fields) in printed {
            assert!(!fields.is_empty(), "{shape}");
            let is_whole =
                |place: &str| fields.iter().all(|field| place.contains(&format!("\"{field}\"")));
            assert!(places.iter().any(|place| is_whole(place)), "{shape}: {fields:?}");
        }
    }

    #[test]
    fn a_command_that_prints_another_object_than_most_has_a_line_of_its_own() {
        let document = include_str!("../../../docs/json.md");
        for (command, fields) in
            [("restore --to", &["exported_bytes"][..]), ("join --no-run", &["folder", "path"][..])]
        {
            let line = document.lines().find(|line| line.starts_with(&format!("| `{command}`")));
            for field in fields {
                assert!(line.is_some_and(|line| line.contains(field)), "{command}: {field}");
            }
        }
    }
}
