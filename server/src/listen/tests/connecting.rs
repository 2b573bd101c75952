//! Connecting without manners: keys, protocols, floods, and connections that do nothing.

use super::peer::{Manners, Peer, read, write};
use super::{Bed, soon};
use crate::listen::ListenLimits;
use common::keys::SigningKey;
use common::wire::hello::Hello;
use common::wire::meta::{
    Empty, InvitationFetch, RefusalCode, Reply, ReplyFrame, Request, RequestFrame,
};
use common::wire::{ALPN_JOIN, ALPN_META, ALPN_STORE};
use quinn::{Connection, ConnectionError};
use std::net::UdpSocket;
use std::time::Duration;

async fn close_code(connection: &Connection) -> Option<u64> {
    match soon(connection.closed()).await {
        ConnectionError::ApplicationClosed(close) => Some(close.error_code.into_inner()),
        _ => None,
    }
}

#[tokio::test]
async fn a_peer_without_a_key_or_with_another_protocol_is_turned_away() {
    let bed = Bed::start().await;
    let keyless = Manners { key: None, ..Manners::new(&bed.device, ALPN_META) };
    let connected = Peer::new(&keyless).connect(&bed).await;
    // A client's handshake may be over before the server has seen that the key is missing.
    if let Ok(connection) = connected {
        let reason = soon(connection.closed()).await;
        assert!(matches!(reason, ConnectionError::ConnectionClosed(_)), "{reason}");
    }
    for alpn in [b"h3".as_slice(), b"driftless-meta/2", b""] {
        let connected = Peer::new(&Manners::new(&bed.device, alpn)).connect(&bed).await;
        assert!(connected.is_err(), "{alpn:?}");
    }
    Peer::new(&Manners::new(&bed.device, ALPN_META)).greet(&bed).await;
    soon(async {
        while bed.listener.counters().connections > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_stranger_gets_in_to_join_and_for_nothing_else() {
    let bed = Bed::start().await;
    let stranger = SigningKey::from_seed([99; 32]);
    for alpn in [ALPN_META, ALPN_STORE] {
        let connection = Peer::new(&Manners::new(&stranger, alpn)).connect(&bed).await.unwrap();
        assert_eq!(close_code(&connection).await, Some(RefusalCode::NotEnrolled as u64));
    }
    let connection = Peer::new(&Manners::new(&stranger, ALPN_JOIN)).greet(&bed).await;
    for (request, expected) in [
        (Request::FolderList(Empty {}), RefusalCode::NotEnrolled),
        (
            Request::InvitationFetch(InvitationFetch { lookup: vec![0; 16] }),
            RefusalCode::InvitationInvalid,
        ),
    ] {
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        write(&mut send, &RequestFrame { request: Some(request) }).await;
        let frame: ReplyFrame = soon(read(&mut receive)).await.unwrap();
        let Some(Reply::Refused(refusal)) = frame.reply else { panic!("{frame:?}") };
        assert_eq!(refusal.code(), expected);
    }
}

#[tokio::test]
async fn there_is_no_early_data_and_no_resumption() {
    let bed = Bed::start().await;
    let peer = Peer::new(&Manners::new(&bed.device, ALPN_META));
    peer.greet(&bed).await;
    let again = peer.endpoint.connect(bed.address, "x").unwrap();
    assert!(again.into_0rtt().is_err(), "the server gave a ticket");
}

#[tokio::test]
async fn noise_on_the_port_is_ignored() {
    let bed = Bed::start().await;
    let noise = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut bytes = blake3::Hasher::new().update(b"noise").finalize_xof();
    for round in 0..2_000_usize {
        let mut packet = vec![0; 1 + round * 7 % 1_400];
        bytes.fill(&mut packet);
        if round % 3 == 0 {
            // Looks like the first packet of a handshake, of version 1.
            packet[0] |= 0xc0;
            packet.resize(1_200, 0);
            packet[1..5].copy_from_slice(&[0, 0, 0, 1]);
        }
        noise.send_to(&packet, bed.address).unwrap();
    }
    Peer::new(&Manners::new(&bed.device, ALPN_META)).greet(&bed).await;
}

#[tokio::test]
async fn addresses_are_proved_when_handshakes_pile_up() {
    let limits = ListenLimits { retry_above_handshakes: 0, ..ListenLimits::default() };
    let bed = Bed::start_with(limits).await;
    Peer::new(&Manners::new(&bed.device, ALPN_META)).greet(&bed).await;
    let counters = bed.listener.counters();
    assert_eq!((counters.retried, counters.accepted), (1, 1));
}

#[tokio::test]
async fn strangers_of_one_address_are_bounded_and_devices_get_in_beside_them() {
    let limits = ListenLimits { strangers_per_address_max: 3, ..ListenLimits::default() };
    let bed = Bed::start_with(limits).await;
    let stranger = SigningKey::from_seed([99; 32]);
    let joiner = Peer::new(&Manners::new(&stranger, ALPN_JOIN));
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(joiner.greet(&bed).await);
    }
    let over = joiner.connect(&bed).await.unwrap();
    assert_eq!(close_code(&over).await, Some(RefusalCode::Busy as u64));
    Peer::new(&Manners::new(&bed.device, ALPN_META)).greet(&bed).await;
}

#[tokio::test]
async fn connections_are_bounded() {
    let limits = ListenLimits { connections_max: 2, ..ListenLimits::default() };
    let bed = Bed::start_with(limits).await;
    let peer = Peer::new(&Manners::new(&bed.device, ALPN_META));
    let _held = [peer.greet(&bed).await, peer.greet(&bed).await];
    assert!(peer.connect(&bed).await.is_err());
    assert_eq!(bed.listener.counters().refused, 1);
}

#[tokio::test]
async fn a_connection_that_never_greets_is_closed() {
    let handshake = Duration::from_millis(300);
    let bed = Bed::start_with(ListenLimits { handshake, ..ListenLimits::default() }).await;
    let peer = Peer::new(&Manners::new(&bed.device, ALPN_META));
    let silent = peer.connect(&bed).await.unwrap();
    assert_eq!(close_code(&silent).await, Some(RefusalCode::Malformed as u64));

    let slow = peer.connect(&bed).await.unwrap();
    let (mut send, _receive) = slow.open_bi().await.unwrap();
    send.write_all(&[9, 0]).await.unwrap();
    assert_eq!(close_code(&slow).await, Some(RefusalCode::Malformed as u64));
}

#[tokio::test]
async fn another_version_is_told_apart() {
    let bed = Bed::start().await;
    let peer = Peer::new(&Manners::new(&bed.device, ALPN_META));
    let connection = peer.connect(&bed).await.unwrap();
    let (mut send, _receive) = connection.open_bi().await.unwrap();
    write(&mut send, &Hello { version: 2, software: "x".into(), features: vec![] }).await;
    assert_eq!(close_code(&connection).await, Some(RefusalCode::Version as u64));
}

#[tokio::test]
async fn joining_has_an_end() {
    let join_life = Duration::from_millis(300);
    let bed = Bed::start_with(ListenLimits { join_life, ..ListenLimits::default() }).await;
    let stranger = SigningKey::from_seed([99; 32]);
    let connection = Peer::new(&Manners::new(&stranger, ALPN_JOIN)).greet(&bed).await;
    assert_eq!(close_code(&connection).await, Some(RefusalCode::Busy as u64));
}

#[tokio::test]
async fn a_connection_that_falls_silent_is_let_go() {
    let idle = Duration::from_millis(400);
    let bed = Bed::start_with(ListenLimits { idle, ..ListenLimits::default() }).await;
    let _connection = Peer::new(&Manners::new(&bed.device, ALPN_META)).greet(&bed).await;
    soon(async {
        while bed.listener.counters().connections > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
