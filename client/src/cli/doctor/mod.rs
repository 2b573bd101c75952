//! `driftless doctor`: looks for what is wrong with this device, and says what to do about it.
//!
//! Owns the list of checks and their shapes. It changes nothing but for two empty files that it
//! makes and removes in each folder's staging area. It runs with and without a daemon.

mod disk;
mod home;
mod server;

use super::foreground;
use super::table::table;
use super::{Context, Outcome};
use crate::daemon::control::Failure;
use serde::Serialize;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// As it should be.
    Ok,
    /// It works, but not as well as it could.
    Warning,
    /// It does not work.
    Problem,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Check {
    /// What was looked at.
    check: String,
    /// How it is.
    verdict: Verdict,
    /// What was found.
    message: String,
    /// What to do; empty when there is nothing to do.
    hint: String,
}

impl Check {
    fn new(check: impl Into<String>, verdict: Verdict, message: impl Into<String>) -> Self {
        Self { check: check.into(), verdict, message: message.into(), hint: String::new() }
    }

    fn ok(check: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(check, Verdict::Ok, message)
    }

    fn warning(check: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(check, Verdict::Warning, message)
    }

    fn problem(check: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(check, Verdict::Problem, message)
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    fn failed(check: impl Into<String>, failure: Failure) -> Self {
        Self::problem(check, failure.message).hint(failure.hint)
    }
}

#[derive(Debug, Serialize)]
struct Report {
    checks: Vec<Check>,
}

pub(super) fn run(context: &Context) -> Result<Outcome, Failure> {
    let (mut checks, found) = home::look(&context.home);
    checks.extend(disk::limits());
    if let Some(found) = found {
        checks.push(disk::space("home", context.home.path()));
        for folder in &found.config.folders {
            checks.extend(disk::folder(folder, &found.account.device()));
        }
        checks.extend(foreground::block_on(async { Ok(server::look(&found).await) })?);
    }
    let report = Report { checks };
    context.output.answer(&report, || text(&report))?;
    let has_problem = report.checks.iter().any(|check| check.verdict == Verdict::Problem);
    Ok(if has_problem { Outcome::Failed } else { Outcome::Done })
}

fn text(report: &Report) -> String {
    let mut rows = Vec::new();
    for check in &report.checks {
        let verdict = match check.verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Problem => "PROBLEM",
        };
        rows.push(vec![verdict.to_owned(), check.check.clone(), check.message.clone()]);
        if !check.hint.is_empty() {
            rows.push(vec![String::new(), String::new(), format!("-> {}", check.hint)]);
        }
    }
    table(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_tells_what_to_do() {
        let checks =
            vec![Check::ok("home", "fine"), Check::problem("server", "not there").hint("start it")];
        let report = Report { checks };
        let expected =
            "ok       home    fine\nPROBLEM  server  not there\n                 -> start it\n";
        assert_eq!(text(&report), expected);
        let json = serde_json::to_string(&report.checks[0]).unwrap();
        let expected = r#"{"check":"home","verdict":"ok","message":"fine","hint":""}"#;
        assert_eq!(json, expected);
    }
}
