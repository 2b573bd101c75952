//! M8: after a failed sync the server stops serving, and never takes the sync for a success.

use super::super::ledger::Ledger;

/// Checks, at each acknowledgement, that the part of the server which gave it had not stopped.
pub fn m8_a_stopped_server_acknowledges_nothing(ledger: &Ledger, stopped: bool, what: &str) {
    if stopped {
        ledger.violation(format!("M8: a {what} was acknowledged after a failed sync"));
    }
}
