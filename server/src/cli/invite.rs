//! `driftless-server invite`: the join code of a user's first device.

use super::{CommandFailure, asked, print_json, print_line};
use crate::control::{Reply, Request};
use common::duration::parse_life_ms;
use std::path::PathBuf;

/// Flags of `invite`.
#[derive(Debug, clap::Args)]
pub(super) struct InviteFlags {
    /// Data directory of the running server
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// How long the code works: 90s, 30m, 24h, 7d
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_life_ms)]
    expires: u64,
}

pub(super) fn run(flags: &InviteFlags, json: bool) -> Result<(), CommandFailure> {
    let request = Request::Invite { life_ms: flags.expires };
    let invitation = asked(&flags.data, &request, |reply| match reply {
        Reply::Invitation(found) => Some(found),
        _ => None,
    })?;
    if json {
        return print_json(&invitation);
    }
    print_line(&invitation.code)?;
    // Not part of the answer, so that the code can be piped.
    eprintln!("It works once, until {}. On the device:", invitation.expires);
    eprintln!("  driftless join CODE DIR");
    Ok(())
}
