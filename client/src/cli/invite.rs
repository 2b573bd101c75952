//! `driftless invite`: a join code for another device.

use super::asking::{ask, folder_argument, unexpected};
use super::table::to_the_second;
use super::{Context, Outcome, qr};
use crate::daemon::control::{Answer, Failure, Request};
use common::duration::parse_life_ms;

/// Flags of `invite`.
#[derive(Debug, clap::Args)]
pub(super) struct InviteFlags {
    /// The folder that the other device is to sync [default: the one around the working directory,
    /// or the only one]
    #[arg(long, value_name = "NAME")]
    folder: Option<String>,
    /// How long the code works: 90s, 30m, 24h, 7d
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_life_ms)]
    expires: u64,
}

pub(super) fn run(flags: InviteFlags, context: &Context) -> Result<Outcome, Failure> {
    let InviteFlags { folder, expires: life_ms } = flags;
    let folder = folder_argument(folder);
    let Answer::Invite(invitation) = ask(context, &Request::Invite { folder, life_ms })? else {
        return Err(unexpected(&context.home));
    };
    let outcome = context.output.answer(&invitation, || invitation.code.clone())?;
    // Not part of the answer, so that the code can be piped.
    if context.output.is_terminal()
        && let Some(picture) = qr::draw(&invitation.code)
    {
        context.output.remark(&picture);
    }
    let folder = invitation.folder.iter().map(|name| format!(" for {name}")).collect::<String>();
    context.output.remark(&format!(
        "It works once{folder}, until {}. On the other device:",
        to_the_second(&invitation.expires)
    ));
    context.output.remark("  driftless join CODE DIR");
    Ok(outcome)
}
