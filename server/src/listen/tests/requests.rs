//! Requests without manners: lengths, trickles, streams that wait, replies that are not taken.

use super::peer::{Manners, Peer, read, write};
use super::{Bed, soon};
use crate::listen::ListenLimits;
use common::ids::ChunkId;
use common::limits::{HAVE_IDS_MAX, SEALED_BYTES_MAX};
use common::wire::meta::{Empty, RefusalCode, Reply, ReplyFrame, Request, RequestFrame, Subscribe};
use common::wire::store::{
    GetHeader, GetRequest, HaveRequest, PutHeader, PutReply, StoreOpen, StoreVerb,
};
use common::wire::{ALPN_META, ALPN_STORE};
use quinn::{Connection, ReadError, ReadExactError, ReadToEndError, RecvStream, SendStream};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Limits under which a slow peer is cut off while a test waits.
fn hasty() -> ListenLimits {
    ListenLimits {
        read: Duration::from_millis(300),
        item: Duration::from_millis(900),
        ..ListenLimits::default()
    }
}

/// The code with which the server cut a stream off.
async fn reset_code(receive: &mut RecvStream) -> u64 {
    match soon(receive.read_exact(&mut [0])).await {
        Err(ReadExactError::ReadError(ReadError::Reset(code))) => code.into_inner(),
        other => panic!("{other:?}"),
    }
}

/// Reads on to the end: the code of a reset, or none.
async fn end_of(receive: &mut RecvStream) -> Option<u64> {
    match receive.read_to_end(1_000_000).await {
        Err(ReadToEndError::Read(ReadError::Reset(code))) => Some(code.into_inner()),
        _ => None,
    }
}

async fn open_store(
    bed: &Bed,
    connection: &Connection,
    verb: StoreVerb,
) -> (SendStream, RecvStream) {
    let (mut send, receive) = connection.open_bi().await.unwrap();
    let open = StoreOpen { capability: bed.capability().await, verb: verb as i32 };
    write(&mut send, &open).await;
    (send, receive)
}

#[tokio::test]
async fn what_is_no_frame_is_cut_off_and_the_connection_goes_on() {
    let bed = Bed::start().await;
    let connection = Peer::new(&Manners::new(&bed.device, ALPN_META)).greet(&bed).await;
    for bytes in [
        [0xff; 4].as_slice(),
        // A frame that does not decode.
        &[3, 0, 0, 0, 0xff, 0xff, 0xff],
        // Ends inside a frame, and inside the length.
        &[3, 0, 0, 0, 1],
        &[3, 0],
        // No request at all.
        &[],
    ] {
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        send.write_all(bytes).await.unwrap();
        send.finish().unwrap();
        assert_eq!(reset_code(&mut receive).await, RefusalCode::Malformed as u64, "{bytes:?}");
    }
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    write(&mut send, &RequestFrame { request: None }).await;
    let frame: ReplyFrame = soon(read(&mut receive)).await.unwrap();
    let Some(Reply::Refused(refusal)) = frame.reply else { panic!("{frame:?}") };
    assert_eq!(refusal.code(), RefusalCode::Malformed);

    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    write(&mut send, &RequestFrame { request: Some(Request::FolderList(Empty {})) }).await;
    let frame: ReplyFrame = soon(read(&mut receive)).await.unwrap();
    assert!(matches!(frame.reply, Some(Reply::Folders(_))), "{frame:?}");
    assert_eq!(bed.listener.counters().streams_failed, 5);
}

#[tokio::test]
async fn a_peer_that_trickles_is_cut_off() {
    let bed = Bed::start_with(hasty()).await;
    let connection = Peer::new(&Manners::new(&bed.device, ALPN_META)).greet(&bed).await;
    let begun = Instant::now();
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_all(&10_000_u32.to_le_bytes()).await.unwrap();
    let trickle = async {
        // A byte now and then is in time for the next byte, and never done with the frame.
        let mut beat = tokio::time::interval(Duration::from_millis(50));
        while send.write_all(&[0]).await.is_ok() {
            beat.tick().await;
        }
    };
    let (code, ()) = tokio::join!(reset_code(&mut receive), soon(trickle));
    assert_eq!(code, RefusalCode::Busy as u64);
    assert!(begun.elapsed() >= Duration::from_millis(800), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn idle_streams_are_bounded_and_do_not_last() {
    let limits = ListenLimits { streams_max: 8, subscriptions_max: 0, ..hasty() };
    let bed = Bed::start_with(limits).await;
    let connection = Peer::new(&Manners::new(&bed.device, ALPN_META)).greet(&bed).await;
    let mut held = Vec::new();
    while let Ok(opened) = timeout(Duration::from_millis(100), connection.open_bi()).await {
        let (mut send, receive) = opened.unwrap();
        send.write_all(&[1]).await.unwrap();
        held.push((send, receive));
        assert!(held.len() <= 8, "more streams than granted");
    }
    for (_, receive) in &mut held {
        assert_eq!(reset_code(receive).await, RefusalCode::Busy as u64);
    }
    drop(held);
    soon(connection.open_bi()).await.unwrap();
}

#[tokio::test]
async fn a_peer_that_takes_no_reply_is_cut_off() {
    let bed = Bed::start_with(hasty()).await;
    let manners = Manners { window_bytes: 1024, ..Manners::new(&bed.device, ALPN_STORE) };
    let connection = Peer::new(&manners).greet(&bed).await;
    let chunk = vec![7; 100_000];
    let id = ChunkId::of(&chunk);
    let (mut send, mut receive) = open_store(&bed, &connection, StoreVerb::Put).await;
    write(&mut send, &PutHeader { id: id.to_vec(), length: 100_000 }).await;
    send.write_all(&chunk).await.unwrap();
    send.finish().unwrap();
    let reply: PutReply = soon(read(&mut receive)).await.unwrap();
    assert_eq!(reply.refusal, None);

    let (mut send, _receive) = open_store(&bed, &connection, StoreVerb::Get).await;
    write(&mut send, &GetRequest { ids: vec![id.to_vec()] }).await;
    soon(async {
        while bed.listener.counters().streams_failed == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn store_requests_over_a_bound_are_cut_off() {
    let bed = Bed::start().await;
    let connection = Peer::new(&Manners::new(&bed.device, ALPN_STORE)).greet(&bed).await;

    let (mut send, mut receive) = open_store(&bed, &connection, StoreVerb::Put).await;
    let length = u32::try_from(SEALED_BYTES_MAX + 1).unwrap();
    write(&mut send, &PutHeader { id: vec![0; 32], length }).await;
    assert_eq!(reset_code(&mut receive).await, RefusalCode::Malformed as u64);

    let (mut send, mut receive) = open_store(&bed, &connection, StoreVerb::Put).await;
    write(&mut send, &PutHeader { id: vec![0; 31], length: 1 }).await;
    assert_eq!(reset_code(&mut receive).await, RefusalCode::Malformed as u64);

    let (mut send, mut receive) = open_store(&bed, &connection, StoreVerb::Have).await;
    write(&mut send, &HaveRequest { ids: vec![vec![0; 32]; HAVE_IDS_MAX + 1] }).await;
    assert_eq!(reset_code(&mut receive).await, RefusalCode::Malformed as u64);

    let (_send, mut receive) = open_store(&bed, &connection, StoreVerb::Unspecified).await;
    assert_eq!(reset_code(&mut receive).await, RefusalCode::Malformed as u64);
}

#[tokio::test]
async fn a_forged_capability_is_refused_in_the_words_of_the_verb() {
    let bed = Bed::start().await;
    let connection = Peer::new(&Manners::new(&bed.device, ALPN_STORE)).greet(&bed).await;
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    let mut capability = bed.capability().await;
    *capability.last_mut().unwrap() ^= 1;
    write(&mut send, &StoreOpen { capability, verb: StoreVerb::Get as i32 }).await;
    let header: GetHeader = soon(read(&mut receive)).await.unwrap();
    assert_eq!(header.refusal.unwrap().code(), RefusalCode::Capability);
}

#[tokio::test]
async fn what_arrived_whole_is_stored_when_the_rest_never_comes() {
    let bed = Bed::start().await;
    let connection = Peer::new(&Manners::new(&bed.device, ALPN_STORE)).greet(&bed).await;
    let whole = b"whole";
    let (mut send, mut receive) = open_store(&bed, &connection, StoreVerb::Put).await;
    write(&mut send, &PutHeader { id: ChunkId::of(whole).to_vec(), length: 5 }).await;
    send.write_all(whole).await.unwrap();
    write(&mut send, &PutHeader { id: vec![0; 32], length: 1_000 }).await;
    send.write_all(&[0; 10]).await.unwrap();
    send.finish().unwrap();
    // A receipt may have come before the reset, or have been overtaken by it.
    assert_eq!(soon(end_of(&mut receive)).await, Some(RefusalCode::Malformed as u64));

    let (mut send, mut receive) = open_store(&bed, &connection, StoreVerb::Get).await;
    write(&mut send, &GetRequest { ids: vec![ChunkId::of(whole).to_vec()] }).await;
    let header: GetHeader = soon(read(&mut receive)).await.unwrap();
    assert!(header.found);
}

#[tokio::test]
async fn a_subscription_ends_when_nobody_listens() {
    let limits = ListenLimits { streams_max: 1, subscriptions_max: 0, ..ListenLimits::default() };
    let bed = Bed::start_with(limits).await;
    let connection = Peer::new(&Manners::new(&bed.device, ALPN_META)).greet(&bed).await;
    for _ in 0..5 {
        let (mut send, mut receive) = soon(connection.open_bi()).await.unwrap();
        let subscribe = Subscribe { folder: bed.folder.to_vec(), epoch: 1, revision: 0 };
        write(&mut send, &RequestFrame { request: Some(Request::Subscribe(subscribe)) }).await;
        send.finish().unwrap();
        let frame: ReplyFrame = soon(read(&mut receive)).await.unwrap();
        assert!(matches!(frame.reply, Some(Reply::Journal(_))), "{frame:?}");
        receive.stop(0_u32.into()).unwrap();
    }
}
