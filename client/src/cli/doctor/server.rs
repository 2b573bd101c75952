//! Looks at the server: whether it is reached, whether it is the one joined, and its clock.

use super::Check;
use super::home::Found;
use crate::daemon::control::Failure;
use crate::remote::{QuicRemote, Remote, RemoteError, Server};
use common::limits::CAPABILITY_LIFE_MS;
use common::wire::meta::{CapabilityRequest, Reply, Request};
use std::time::{SystemTime, UNIX_EPOCH};

/// Difference of clocks that is worth a word, in milliseconds. Expiry of invitations and the
/// times of versions follow clocks; nothing else does.
const SKEW_MS_MAX: u64 = 60_000;

pub(super) async fn look(found: &Found) -> Vec<Check> {
    let server = Server {
        addresses: found.config.server.addresses.clone(),
        cluster: found.config.server.cluster,
    };
    let address = server.addresses.first().cloned().unwrap_or_default();
    let remote = QuicRemote::new(server, &found.account.device_keys().signing);
    let mut checks = Vec::new();
    match remote.connect().await {
        Ok(()) => {
            checks.push(Check::ok("server", format!("{address}, with the key that was joined")));
            checks.extend(clock(found, &remote).await);
        }
        Err(error) => checks.push(Check::failed("server", Failure::from(error))),
    }
    remote.close().await;
    checks
}

/// The server's clock by the expiry of a capability that it signs now.
async fn clock(found: &Found, remote: &QuicRemote) -> Option<Check> {
    let folder = found.config.folders.first()?.id;
    let request = Request::Capability(CapabilityRequest { folder: folder.to_vec() });
    let replies = match remote.request(request).await {
        Ok(replies) => replies,
        Err(error) => return Some(Check::failed("clock", Failure::from(error))),
    };
    let [Reply::Capability(reply)] = replies.as_slice() else {
        let error = RemoteError::Protocol("no capability came".to_owned());
        return Some(Check::failed("clock", Failure::from(error)));
    };
    let here = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_millis();
    let here = u64::try_from(here).ok()?;
    let there = reply.expires_ms.saturating_sub(CAPABILITY_LIFE_MS);
    let skew_ms = here.abs_diff(there);
    let message = format!("{}.{:03} s from the server's", skew_ms / 1000, skew_ms % 1000);
    Some(if skew_ms <= SKEW_MS_MAX {
        Check::ok("clock", message)
    } else {
        Check::warning("clock", message).hint("set the clocks of both machines by NTP")
    })
}
