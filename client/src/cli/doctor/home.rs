//! Looks at the home: permissions, files, and whether a daemon runs.

use super::Check;
use crate::daemon::account::Account;
use crate::home::{Config, Home, HomeError};
use std::os::unix::fs::PermissionsExt;

/// What the other checks need.
pub(super) struct Found {
    pub(super) config: Config,
    pub(super) account: Account,
}

pub(super) fn look(home: &Home) -> (Vec<Check>, Option<Found>) {
    let mut checks = vec![permissions(home)];
    checks.push(match home.running() {
        Ok(Some(Some(pid))) => Check::ok("daemon", format!("runs as process {pid}")),
        Ok(Some(None)) => Check::ok("daemon", "runs"),
        Ok(None) => Check::warning("daemon", "does not run").hint("start it with `driftless run`"),
        Err(error) => Check::failed("daemon", error.into()),
    });
    let config = match home.config() {
        Ok(config) => config,
        Err(error) => {
            checks.push(Check::failed("enrolment", error.into()));
            return (checks, None);
        }
    };
    match Account::load(home) {
        Ok(account) => {
            let message = format!(
                "{} with {} of this user in its device log",
                config.device,
                super::super::table::count(
                    account.log().devices().count() as u64,
                    "device",
                    "devices"
                )
            );
            checks.push(match account.check_enrolled() {
                Ok(()) => Check::ok("enrolment", message),
                Err(error) => Check::failed("enrolment", error.into()),
            });
            (checks, Some(Found { config, account }))
        }
        Err(error) => {
            checks.push(Check::failed("enrolment", error.into()));
            (checks, None)
        }
    }
}

fn permissions(home: &Home) -> Check {
    let path = home.path();
    match std::fs::metadata(path) {
        Ok(found) => {
            let mode = found.permissions().mode() & 0o777;
            if mode & 0o077 == 0 {
                Check::ok("home", path.display().to_string())
            } else {
                Check::warning(
                    "home",
                    format!("others may look into {} (mode {mode:o})", path.display()),
                )
                .hint(format!("chmod 700 {}", path.display()))
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Check::failed("home", HomeError::NotEnrolled { home: path.to_owned() }.into())
        }
        Err(error) => Check::problem("home", format!("{}: {error}", path.display())),
    }
}
