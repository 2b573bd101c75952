//! Metadata requests: one a stream.
//!
//! Owns the way of a request to the service and of its run of replies back. It must not know what
//! any request means, but that a commit and a subscription go on after their first frame.

use super::stream::{Reader, StreamError, Writer};
use super::{commit, subscribe};
use crate::service::Service;
use common::ids::DeviceId;
use common::wire::meta::{Refusal, RefusalCode, Reply, ReplyFrame, Request, RequestFrame};
use tokio::sync::Semaphore;

/// Serves one request of an enrolled device.
pub(super) async fn serve(
    service: &Service,
    peer: DeviceId,
    commits: &Semaphore,
    reader: &mut Reader,
    writer: &mut Writer,
) -> Result<(), StreamError> {
    match read(reader).await? {
        Some(Request::Commit(begin)) => {
            commit::serve(service, peer, &begin, commits, reader, writer).await?;
        }
        Some(Request::Subscribe(request)) => {
            subscribe::serve(service, peer, request, writer).await?;
        }
        Some(request) => {
            let mut replies = service.replies(peer, request).await;
            while let Some(reply) = replies.next().await {
                send(writer, reply).await?;
            }
        }
        None => send(writer, unknown_request()).await?,
    }
    writer.finish();
    Ok(())
}

/// Serves one request of a joiner.
pub(super) async fn serve_joiner(
    service: &Service,
    peer: DeviceId,
    reader: &mut Reader,
    writer: &mut Writer,
) -> Result<(), StreamError> {
    match read(reader).await? {
        Some(request @ (Request::InvitationFetch(_) | Request::InvitationRedeem(_))) => {
            let mut replies = service.join_replies(peer, request).await;
            while let Some(reply) = replies.next().await {
                send(writer, reply).await?;
            }
        }
        Some(_) => {
            let refusal = Refusal::new(
                RefusalCode::NotEnrolled,
                "this connection was opened to join; reconnect as an enrolled device",
            );
            send(writer, Reply::Refused(refusal)).await?;
        }
        None => send(writer, unknown_request()).await?,
    }
    writer.finish();
    Ok(())
}

async fn read(reader: &mut Reader) -> Result<Option<Request>, StreamError> {
    let (frame, _) =
        reader.frame::<RequestFrame>().await?.ok_or(StreamError::Malformed("no request came"))?;
    Ok(frame.request)
}

fn unknown_request() -> Reply {
    Reply::Refused(Refusal::new(
        RefusalCode::Malformed,
        "the request is not one that this server knows",
    ))
}

/// Sends one reply frame.
pub(super) async fn send(writer: &mut Writer, reply: Reply) -> Result<(), StreamError> {
    writer.frame(&ReplyFrame { reply: Some(reply) }).await
}
