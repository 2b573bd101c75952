//! The device's half of mutual authentication by raw public keys (RFC 7250, RFC 8446).
//!
//! Owns the TLS configuration and the pinning of the server's key. It must not know where the
//! pinned key comes from.

use common::keys::SigningKey;
use quinn::crypto::rustls::QuicClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, CertificateError, DigitallySignedStruct, Error, PeerIncompatible,
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

/// A key that TLS cannot work with.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    /// Rustls does not take it.
    #[error("cannot set up TLS: {0}")]
    Rustls(#[from] Error),
    /// The crypto provider lacks the cipher suite that QUIC begins with.
    #[error("the crypto provider lacks TLS13_AES_128_GCM_SHA256")]
    InitialCipherSuite,
}

/// The TLS configuration of a device that expects the server key `pinned`: TLS 1.3 only, no
/// resumption, no early data.
pub(super) fn client_config(
    key: &SigningKey,
    pinned: &[u8; 32],
    alpn: &[u8],
) -> Result<QuicClientConfig, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = PinnedKey { spki: spki(pinned), provider: Arc::clone(&provider) };
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::new(
            certified_key(key)?,
        ))));
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
    QuicClientConfig::try_from(config).map_err(|_| TlsError::InitialCipherSuite)
}

pub(super) fn certified_key(key: &SigningKey) -> Result<CertifiedKey, Error> {
    let mut pkcs8 = Zeroizing::new([0; 48]);
    pkcs8[..16].copy_from_slice(&PKCS8_PREFIX);
    pkcs8[16..].copy_from_slice(key.seed());
    let signer = aws_lc_rs::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(&pkcs8[..]))?;
    Ok(CertifiedKey::new(vec![CertificateDer::from(spki(&key.public()))], signer))
}

fn spki(key: &[u8; 32]) -> Vec<u8> {
    let mut spki = SPKI_PREFIX.to_vec();
    spki.extend_from_slice(key);
    spki
}

/// Whether a handshake failed because the server proved another key than the pinned one. Only
/// [`PinnedKey`] ends a handshake of ours with this alert.
pub(super) fn is_wrong_key(error: &quinn::ConnectionError) -> bool {
    // CRYPTO_ERROR (RFC 9000, section 20.1) with the alert in its lowest byte.
    let wrong_key = 0x100 + u64::from(u8::from(AlertDescription::AccessDenied));
    matches!(error, quinn::ConnectionError::TransportError(error) if u64::from(error.code) == wrong_key)
}

/// Takes one server key and no other.
#[derive(Debug)]
struct PinnedKey {
    spki: Vec<u8>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if end_entity.as_ref() != self.spki || !intermediates.is_empty() {
            // Its alert is `AccessDenied`: see `is_wrong_key`.
            let failure = CertificateError::ApplicationVerificationFailure;
            return Err(Error::InvalidCertificate(failure));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls13RequiredForQuic))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
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
