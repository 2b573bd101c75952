//! One connection from handshake to close.
//!
//! Owns who is admitted to what: after the handshake and before any stream, by (protocol, key).
//! A task a connection, started by the listener; it ends when the connection is closed by either
//! side, by the revocation of its device, by newer connections that need its place, or by a joiner's
//! time running out. It must not know what a request means.

use super::gate::{Gate, Permit};
use super::limits::{COMMITS_AT_ONCE, ListenLimits, PUT_BUFFER_BYTES};
use super::stream::{Reader, StreamError, Writer, close_code};
use super::tls::{Protocol, peer_of};
use super::{hello, request, store};
use crate::service::{Presence, Service};
use common::ids::DeviceId;
use common::limits::{CONNECTION_WINDOW_BYTES, SEND_WINDOW_BYTES};
use common::wire::meta::{Refusal, RefusalCode};
use quinn::{Connecting, Connection, RecvStream, SendStream, VarInt};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Time for the requests of a closed connection to notice, in milliseconds.
const DRAIN_MS: u64 = 10_000;

/// What every connection needs.
pub(super) struct Context {
    pub(super) service: Service,
    pub(super) limits: ListenLimits,
    pub(super) gate: Arc<Gate>,
}

/// An admitted peer.
struct Peer {
    protocol: Protocol,
    device: DeviceId,
    /// Held by enrolled devices: they count as online, and learn of their revocation.
    presence: Option<Presence>,
    /// Holds the connection's place.
    permit: Permit,
}

/// Why a peer is not let in.
struct NotAdmitted {
    code: RefusalCode,
    message: Cow<'static, str>,
}

impl NotAdmitted {
    fn new(code: RefusalCode, message: &'static str) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<Refusal> for NotAdmitted {
    fn from(refusal: Refusal) -> Self {
        Self { code: refusal.code(), message: refusal.message.into() }
    }
}

/// Sees a connection through to its end.
pub(super) async fn run(context: Arc<Context>, connecting: Connecting, permit: Permit) {
    let connection = match timeout(context.limits.handshake, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            context.gate.handshake_failed();
            tracing::debug!(%error, "a handshake failed");
            return;
        }
        Err(_) => {
            context.gate.handshake_failed();
            tracing::debug!("a handshake took too long");
            return;
        }
    };
    match admit(&context, &connection, permit) {
        Ok(peer) => serve(&context, &connection, peer).await,
        Err(NotAdmitted { code, message }) => {
            tracing::info!(address = %connection.remote_address(), %message, "not admitted");
            connection.close(close_code(code), message.as_bytes());
        }
    }
}

/// Decides by protocol and key; nothing of a stream is read before.
fn admit(
    context: &Context,
    connection: &Connection,
    mut permit: Permit,
) -> Result<Peer, NotAdmitted> {
    let (protocol, device) = peer_of(connection).ok_or(NotAdmitted::new(
        RefusalCode::Malformed,
        "the handshake names no protocol or key of ours",
    ))?;
    if protocol == Protocol::Join {
        if !permit.become_stranger(connection.remote_address().ip()) {
            return Err(NotAdmitted::new(RefusalCode::Busy, "too many connections"));
        }
        return Ok(Peer { protocol, device, presence: None, permit });
    }
    // Taken before the check, so that a revocation in between is either seen or told.
    let presence = context.service.connected(device);
    if let Err(refusal) = context.service.check_enrolled(&device) {
        context.gate.not_enrolled();
        return Err(refusal.into());
    }
    permit.become_device(device);
    let streams = streams_of(protocol, &context.limits);
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(streams));
    connection.set_receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES));
    connection.set_send_window(SEND_WINDOW_BYTES);
    Ok(Peer { protocol, device, presence: Some(presence), permit })
}

/// How many streams an admitted peer may have open.
fn streams_of(protocol: Protocol, limits: &ListenLimits) -> u32 {
    match protocol {
        Protocol::Join => limits.stranger_streams_max,
        Protocol::Store => limits.streams_max,
        Protocol::Meta => limits.streams_max.saturating_add(limits.subscriptions_max),
    }
}

async fn serve(context: &Arc<Context>, connection: &Connection, mut peer: Peer) {
    let (protocol, device) = (peer.protocol, peer.device);
    let address = connection.remote_address();
    tracing::info!(%address, %device, ?protocol, "connected");
    let mut requests = JoinSet::new();
    match greet(context, connection).await {
        Ok(()) => {
            tokio::select! {
                () = accept_requests(context, connection, protocol, device, &mut requests) => {}
                () = revoked(peer.presence.as_mut()) => {
                    let code = close_code(RefusalCode::Revoked);
                    connection.close(code, b"this device was revoked");
                }
                () = peer.permit.displaced() => {
                    let code = close_code(RefusalCode::Busy);
                    connection.close(code, b"newer connections of this device took the place");
                }
                () = out_of_time(protocol, context.limits.join_life) => {
                    let code = close_code(RefusalCode::Busy);
                    connection.close(code, b"joining took too long");
                }
            }
        }
        Err(NotAdmitted { code, message }) => {
            connection.close(close_code(code), message.as_bytes())
        }
    }
    let reason = connection.closed().await;
    drain(requests).await;
    tracing::info!(%address, %device, ?protocol, %reason, "disconnected");
}

/// The greeting has to be the first stream, and soon.
async fn greet(context: &Context, connection: &Connection) -> Result<(), NotAdmitted> {
    let greeting = async {
        // Err: the connection is gone, as the caller sees from it.
        let Ok((send, receive)) = connection.accept_bi().await else { return Ok(true) };
        let mut reader = Reader::new(receive, &context.limits);
        let mut writer = Writer::new(send, &context.limits);
        hello::serve(&context.service, &mut reader, &mut writer).await
    };
    let malformed = |message| NotAdmitted::new(RefusalCode::Malformed, message);
    match timeout(context.limits.handshake, greeting).await {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err(NotAdmitted::new(
            RefusalCode::Version,
            "this server speaks version 1 of the protocol",
        )),
        Ok(Err(_)) => Err(malformed("the greeting is malformed")),
        Err(_) => Err(malformed("the greeting took too long")),
    }
}

async fn revoked(presence: Option<&mut Presence>) {
    match presence {
        Some(presence) => presence.revoked().await,
        None => std::future::pending().await,
    }
}

async fn out_of_time(protocol: Protocol, join_life: Duration) {
    match protocol {
        Protocol::Join => tokio::time::sleep(join_life).await,
        Protocol::Meta | Protocol::Store => std::future::pending().await,
    }
}

/// What the requests of one connection share.
struct Shared {
    context: Arc<Context>,
    protocol: Protocol,
    device: DeviceId,
    commits: Semaphore,
    put_room: Arc<Semaphore>,
}

/// Starts a task a stream until the connection is lost.
async fn accept_requests(
    context: &Arc<Context>,
    connection: &Connection,
    protocol: Protocol,
    device: DeviceId,
    requests: &mut JoinSet<()>,
) {
    let limits = &context.limits;
    let streams = streams_of(protocol, limits);
    // A peer that resets its stream frees it for QUIC at once, while the task may still work.
    let turns = Arc::new(Semaphore::new(streams as usize));
    let shared = Arc::new(Shared {
        context: Arc::clone(context),
        protocol,
        device,
        commits: Semaphore::new(COMMITS_AT_ONCE),
        put_room: Arc::new(Semaphore::new(PUT_BUFFER_BYTES)),
    });
    loop {
        tokio::select! {
            Some(ended) = requests.join_next(), if !requests.is_empty() => log_panic(ended),
            accepted = next_stream(connection, &turns) => {
                let Some((turn, send, receive)) = accepted else { return };
                requests.spawn(serve_stream(Arc::clone(&shared), turn, send, receive));
            }
        }
    }
}

/// `None` once the connection is lost. Cancel-safe: a turn is given back when it is dropped.
async fn next_stream(
    connection: &Connection,
    turns: &Arc<Semaphore>,
) -> Option<(OwnedSemaphorePermit, SendStream, RecvStream)> {
    let turn = Arc::clone(turns).acquire_owned().await.ok()?;
    let (send, receive) = connection.accept_bi().await.ok()?;
    Some((turn, send, receive))
}

async fn serve_stream(
    shared: Arc<Shared>,
    _turn: OwnedSemaphorePermit,
    send: SendStream,
    receive: RecvStream,
) {
    let Context { service, limits, gate } = &*shared.context;
    let mut reader = Reader::new(receive, limits);
    let mut writer = Writer::new(send, limits);
    let (reads, writes) = (&mut reader, &mut writer);
    let device = shared.device;
    let served = match shared.protocol {
        Protocol::Meta => request::serve(service, device, &shared.commits, reads, writes).await,
        Protocol::Store => store::serve(service, device, &shared.put_room, reads, writes).await,
        Protocol::Join => request::serve_joiner(service, device, reads, writes).await,
    };
    if let Err(error) = served {
        fail_stream(&error, device, gate, &mut reader, &mut writer);
    }
}

fn fail_stream(
    error: &StreamError,
    device: DeviceId,
    gate: &Gate,
    reader: &mut Reader,
    writer: &mut Writer,
) {
    let Some(code) = error.code() else {
        tracing::debug!(%device, %error, "a request was given up");
        writer.reset(close_code(RefusalCode::Unspecified));
        return;
    };
    gate.stream_failed();
    tracing::warn!(%device, %error, "a request was cut off");
    reader.stop(code);
    writer.reset(code);
}

/// Lets the requests of a closed connection come to their end.
async fn drain(mut requests: JoinSet<()>) {
    let ended = async {
        while let Some(ended) = requests.join_next().await {
            log_panic(ended);
        }
    };
    if timeout(Duration::from_millis(DRAIN_MS), ended).await.is_err() {
        tracing::warn!("requests of a closed connection were aborted");
    }
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a request failed in the server");
    }
}
