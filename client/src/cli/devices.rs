//! `driftless devices`: the devices of this user.

use super::asking::{ask, unexpected};
use super::table::{table, to_the_second};
use super::{Context, Outcome};
use crate::daemon::control::{Answer, DeviceAnswer, Failure, Request};

/// Digits of an id that are shown.
const ID_DIGITS: usize = 12;

pub(super) fn run(context: &Context) -> Result<Outcome, Failure> {
    match ask(context, &Request::Devices)? {
        Answer::Devices(answer) => context
            .output
            .answer(&answer, || table(&answer.devices.iter().map(row).collect::<Vec<_>>())),
        _ => Err(unexpected(&context.home)),
    }
}

fn row(device: &DeviceAnswer) -> Vec<String> {
    let seen = device.last_seen.as_ref().map(|seen| format!("last seen {}", to_the_second(seen)));
    let state = match device {
        DeviceAnswer { revoked: true, .. } => "revoked".to_owned(),
        DeviceAnswer { online: Some(true), .. } => "online".to_owned(),
        DeviceAnswer { online: Some(false), .. } => seen.unwrap_or_else(|| "offline".to_owned()),
        DeviceAnswer { online: None, .. } => "not known, the server is not reached".to_owned(),
    };
    let this = if device.is_self { "this device" } else { "" };
    let id = device.id.get(..ID_DIGITS).unwrap_or(&device.id);
    vec![device.name.clone(), id.to_owned(), state, this.to_owned()]
}
