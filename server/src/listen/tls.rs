//! The server's half of mutual authentication by raw public keys (RFC 7250, RFC 8446).
//!
//! Owns the TLS configuration and the reading of a peer's key out of a connection. It must not
//! decide who is admitted: a handshake proves that the peer holds its key, nothing more.

use super::ListenError;
use common::ids::DeviceId;
use common::keys::SigningKey;
use common::wire::{ALPN_JOIN, ALPN_META, ALPN_STORE};
use quinn::crypto::rustls::{HandshakeData, QuicServerConfig};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible,
    SignatureScheme,
};
use std::sync::Arc;
use zeroize::Zeroizing;

/// What stands before the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410).
const SPKI_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// What stands before the 32 bytes of an Ed25519 seed in PKCS #8 version 1 (RFC 8410).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// Which protocol a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Metadata requests of an enrolled device.
    Meta,
    /// Chunk requests of an enrolled device.
    Store,
    /// A joiner.
    Join,
}

/// The TLS configuration of a server with this key: TLS 1.3 only, no resumption, no early data,
/// and a raw Ed25519 key demanded of the peer.
///
/// # Errors
/// [`ListenError::Tls`].
pub(super) fn server_config(key: &SigningKey) -> Result<QuicServerConfig, ListenError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(AnyEd25519Key { provider: Arc::clone(&provider) });
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::new(
            certified_key(key)?,
        ))));
    config.alpn_protocols = [ALPN_META, ALPN_STORE, ALPN_JOIN].map(<[u8]>::to_vec).to_vec();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    QuicServerConfig::try_from(config).map_err(|_| ListenError::InitialCipherSuite)
}

pub(super) fn certified_key(key: &SigningKey) -> Result<CertifiedKey, Error> {
    let mut pkcs8 = Zeroizing::new([0; 48]);
    pkcs8[..16].copy_from_slice(&PKCS8_PREFIX);
    pkcs8[16..].copy_from_slice(key.seed());
    let signer = aws_lc_rs::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(&pkcs8[..]))?;
    let mut spki = SPKI_PREFIX.to_vec();
    spki.extend_from_slice(&key.public());
    Ok(CertifiedKey::new(vec![CertificateDer::from(spki)], signer))
}

/// The key inside a SubjectPublicKeyInfo, if it is an Ed25519 key and nothing else.
pub(super) fn ed25519_key(spki: &[u8]) -> Option<[u8; 32]> {
    spki.strip_prefix(&SPKI_PREFIX).and_then(|key| key.try_into().ok())
}

/// What a connection speaks and the key that its peer has proved to hold.
pub(super) fn peer_of(connection: &quinn::Connection) -> Option<(Protocol, DeviceId)> {
    let handshake = connection.handshake_data()?.downcast::<HandshakeData>().ok()?;
    let protocol = match handshake.protocol?.as_slice() {
        protocol if protocol == ALPN_META => Protocol::Meta,
        protocol if protocol == ALPN_STORE => Protocol::Store,
        protocol if protocol == ALPN_JOIN => Protocol::Join,
        _ => return None,
    };
    let keys = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    let [key] = keys.as_slice() else { return None };
    Some((protocol, DeviceId::from_bytes(ed25519_key(key)?)))
}

/// Demands that the peer prove to hold some Ed25519 key, whichever it is.
#[derive(Debug)]
struct AnyEd25519Key {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyEd25519Key {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if ed25519_key(end_entity).is_none() || !intermediates.is_empty() {
            return Err(Error::InvalidCertificate(CertificateError::BadEncoding));
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls13RequiredForQuic))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        let spki = SubjectPublicKeyInfoDer::from(cert.as_ref());
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &spki, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_ed25519_key_is_read_from_a_spki() {
        let mut spki = SPKI_PREFIX.to_vec();
        spki.extend_from_slice(&[7; 32]);
        assert_eq!(ed25519_key(&spki), Some([7; 32]));
        assert_eq!(ed25519_key(&spki[..43]), None);
        spki.push(0);
        assert_eq!(ed25519_key(&spki), None);
        // X25519 has another last byte in its object identifier.
        spki.pop();
        spki[8] = 0x6e;
        assert_eq!(ed25519_key(&spki), None);
    }
}
