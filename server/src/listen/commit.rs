//! A commit: its parts are read until the peer ends its side, and then take effect together.
//!
//! Owns the bound on what a commit holds in memory. It must not judge a group.

use super::limits::COMMIT_ITEM_COST_BYTES;
use super::request::send;
use super::stream::{Reader, StreamError, Writer};
use crate::service::Service;
use common::ids::{DeviceId, FolderId};
use common::limits::{COMMIT_BYTES_MAX, COMMIT_GROUPS_MAX};
use common::wire::meta::{CommitBegin, CommitPart, Refusal, RefusalCode, Reply};
use tokio::sync::Semaphore;

/// Reads and forwards one commit. `turns` bounds how many commits of a connection are in memory.
pub(super) async fn serve(
    service: &Service,
    peer: DeviceId,
    begin: &CommitBegin,
    turns: &Semaphore,
    reader: &mut Reader,
    writer: &mut Writer,
) -> Result<(), StreamError> {
    let Ok(folder) = FolderId::from_slice(&begin.folder) else {
        return Err(StreamError::Malformed("a folder id of another length"));
    };
    // Err: the semaphore is never closed; were it, going on without a turn is merely unfair.
    let _turn = turns.acquire().await;
    let reply = match read_parts(reader).await? {
        Ok(parts) => service.commit(peer, folder, parts).await,
        Err(refusal) => Reply::Refused(refusal),
    };
    send(writer, reply).await
}

async fn read_parts(reader: &mut Reader) -> Result<Result<Vec<CommitPart>, Refusal>, StreamError> {
    let mut parts = Vec::new();
    let (mut cost, mut groups) = (0, 0);
    while let Some((part, bytes)) = reader.frame::<CommitPart>().await? {
        // Thousands of empty items take few bytes on the wire and many in memory.
        let items = part.receipts.len() + part.pages.len() + part.groups.len();
        cost += bytes + (1 + items) * COMMIT_ITEM_COST_BYTES;
        groups += part.groups.len();
        if cost > COMMIT_BYTES_MAX || groups > COMMIT_GROUPS_MAX {
            return Ok(Err(Refusal::new(RefusalCode::Malformed, "the commit is too large")));
        }
        parts.push(part);
    }
    Ok(Ok(parts))
}
