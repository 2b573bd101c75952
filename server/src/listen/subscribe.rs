//! A subscription: journal batches are sent as they come, until either side has enough.
//!
//! Owns the life of a subscription's stream. It must not know what a batch holds.

use super::request::send;
use super::stream::{StreamError, Writer};
use crate::service::Service;
use common::ids::DeviceId;
use common::wire::meta::{Reply, Subscribe};

/// Sends batches until the subscription ends or the peer wants no more.
pub(super) async fn serve(
    service: &Service,
    peer: DeviceId,
    request: Subscribe,
    writer: &mut Writer,
) -> Result<(), StreamError> {
    let mut subscription = match service.subscribe(peer, request).await {
        Ok(subscription) => subscription,
        Err(refusal) => return send(writer, Reply::Refused(refusal)).await,
    };
    let given_up = writer.given_up();
    tokio::pin!(given_up);
    loop {
        let batch = tokio::select! {
            () = &mut given_up => return Ok(()),
            batch = subscription.next() => batch,
        };
        match batch {
            Some(batch) => send(writer, Reply::Journal(batch)).await?,
            None => return Ok(()),
        }
    }
}
