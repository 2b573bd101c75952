//! `driftless device`: changes the devices of this user.

use super::asking::{ask, unexpected};
use super::table::printable;
use super::{Context, Outcome};
use crate::daemon::control::{Answer, Failure, Request};

/// Commands of `device`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum DeviceCommand {
    /// Take a device's access away, at once and for good
    Revoke {
        /// Its name, or the first digits of its id
        name: String,
    },
}

pub(super) fn run(command: DeviceCommand, context: &Context) -> Result<Outcome, Failure> {
    let DeviceCommand::Revoke { name } = command;
    match ask(context, &Request::DeviceRevoke { name })? {
        Answer::Done(done) => {
            let is = if done.already { "was revoked already" } else { "is revoked" };
            context.output.answer(&done, || format!("{} {is}", printable(&done.on.join(", "))))
        }
        _ => Err(unexpected(&context.home)),
    }
}
