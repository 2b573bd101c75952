//! A server of the tests' own: a stranger at the server's address that would have a device believe
//! that it was revoked, or the pinned server being hostile.
//!
//! Owns a QUIC endpoint with a key of its own that says what no true server says.

use super::{HASTY, Remote, Timing, soon};
use crate::remote::tls::certified_key;
use crate::remote::{QuicRemote, RemoteError, Server};
use common::ids::ClusterId;
use common::keys::SigningKey;
use common::wire::ALPN_META;
use common::wire::frame;
use common::wire::hello::{HelloReply, VERSION};
use common::wire::meta::{RefusalCode, Request, Subscribe};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, Incoming, SendStream, VarInt};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use std::net::SocketAddr;
use std::sync::Arc;

/// Takes any key of a client.
#[derive(Debug)]
struct Anybody;

impl ClientCertVerifier for Anybody {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

fn endpoint(key: &SigningKey) -> Endpoint {
    let resolver = AlwaysResolvesServerRawPublicKeys::new(Arc::new(certified_key(key).unwrap()));
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(Arc::new(Anybody))
        .with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![ALPN_META.to_vec()];
    let crypto = QuicServerConfig::try_from(config).unwrap();
    let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    Endpoint::server(config, SocketAddr::from(([127, 0, 0, 1], 0))).unwrap()
}

/// Says that the device was revoked: before the handshake is done, after it, or never gets so far.
async fn lie(number: usize, incoming: Incoming) {
    let revoked = VarInt::from_u32(RefusalCode::Revoked as u32);
    let reason = b"this device was revoked";
    match number % 3 {
        0 => incoming.refuse(),
        1 => {
            if let Ok((connection, _)) = incoming.accept().unwrap().into_0rtt() {
                connection.close(revoked, reason);
                connection.closed().await;
            }
        }
        _ => {
            if let Ok(connection) = incoming.accept().unwrap().await {
                connection.close(revoked, reason);
                connection.closed().await;
            }
        }
    }
}

#[tokio::test]
async fn a_stranger_cannot_make_a_device_believe_that_it_was_revoked() {
    let endpoint = endpoint(&SigningKey::from_seed([1; 32]));
    let address = endpoint.local_addr().unwrap().to_string();
    let lies = tokio::spawn(async move {
        let mut number = 0;
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(lie(number, incoming));
            number += 1;
        }
    });
    let cluster = ClusterId::from_bytes(SigningKey::from_seed([2; 32]).public());
    let server = Server { addresses: vec![address], cluster };
    let remote = QuicRemote::with_timing(server, &SigningKey::from_seed([10; 32]), HASTY);
    for attempt in 0..9 {
        let error = soon(remote.connect()).await.unwrap_err();
        let stranger =
            matches!(error, RemoteError::WrongServerKey { .. } | RemoteError::Unreachable { .. });
        assert!(stranger && !error.is_barred(), "attempt {attempt}: {error}");
        assert_eq!(remote.barred(), None);
    }
    lies.abort();
}

#[tokio::test]
async fn the_pinned_server_is_believed() {
    // The same endpoint with the key that was joined: the test above is not passed by deafness.
    let key = SigningKey::from_seed([1; 32]);
    let endpoint = endpoint(&key);
    let server = Server {
        addresses: vec![endpoint.local_addr().unwrap().to_string()],
        cluster: ClusterId::from_bytes(key.public()),
    };
    let truth = tokio::spawn(async move {
        if let Some(incoming) = endpoint.accept().await {
            lie(2, incoming).await;
        }
    });
    let remote = QuicRemote::with_timing(server, &SigningKey::from_seed([10; 32]), HASTY);
    let error = soon(remote.connect()).await.unwrap_err();
    assert_eq!(error.refusal_code(), Some(RefusalCode::Revoked), "{error}");
    assert_eq!(remote.barred(), Some(error));
    truth.abort();
}

/// How a server that trickles begins its replies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trickle {
    /// With the first byte of a frame.
    Prefix,
    /// With the announcement of a long frame.
    Body,
}

/// Greets, and then answers each request with a byte now and then, more often than the device's
/// patience.
async fn trickle(endpoint: Endpoint, cluster: ClusterId, how: Trickle) {
    let connection = endpoint.accept().await.unwrap().await.unwrap();
    let (mut send, _greeting) = connection.accept_bi().await.unwrap();
    let reply = HelloReply { version: VERSION, cluster: cluster.to_vec(), ..HelloReply::default() };
    send.write_all(&frame::encode(&reply).unwrap()).await.unwrap();
    send.finish().unwrap();
    while let Ok((send, _request)) = connection.accept_bi().await {
        tokio::spawn(drip(send, how));
    }
}

async fn drip(mut send: SendStream, how: Trickle) {
    if how == Trickle::Body {
        // An end of input while it is written means that the device has had enough.
        let Ok(()) = send.write_all(&10_000_u32.to_le_bytes()).await else { return };
    }
    // No gap is longer than the device's patience.
    let mut drops = tokio::time::interval(HASTY.connect * 2 / 3); // ok: how the server trickles
    while send.write_all(&[0]).await.is_ok() {
        drops.tick().await;
    }
}

#[tokio::test]
async fn a_server_that_trickles_does_not_hold_a_request() {
    for how in [Trickle::Prefix, Trickle::Body] {
        let key = SigningKey::from_seed([1; 32]);
        let endpoint = endpoint(&key);
        let cluster = ClusterId::from_bytes(key.public());
        let addresses = vec![endpoint.local_addr().unwrap().to_string()];
        let server = tokio::spawn(trickle(endpoint, cluster, how));
        let timing = Timing { answer: HASTY.connect, ..HASTY };
        let server_at = Server { addresses, cluster };
        let remote = QuicRemote::with_timing(server_at, &SigningKey::from_seed([10; 32]), timing);
        let error = soon(remote.request(Request::FolderList(Default::default()))).await;
        assert!(matches!(error, Err(RemoteError::Timeout(_))), "{how:?}: {error:?}");
        let subscribed = soon(remote.subscribe(Subscribe::default())).await.map(drop);
        assert!(matches!(subscribed, Err(RemoteError::Timeout(_))), "{how:?}: {subscribed:?}");
        server.abort();
    }
}
