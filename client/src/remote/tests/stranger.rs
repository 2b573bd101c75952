//! A stranger at the server's address that would have a device believe that it was revoked.
//!
//! Owns a QUIC endpoint with a key of its own that says so at every moment of a connection. Only
//! the pinned server's word may count.

use super::{HASTY, soon};
use crate::remote::tls::certified_key;
use crate::remote::{QuicRemote, RemoteError, Server};
use common::ids::ClusterId;
use common::keys::SigningKey;
use common::wire::ALPN_META;
use common::wire::meta::RefusalCode;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, Incoming, VarInt};
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
