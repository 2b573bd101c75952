//! A peer without manners.
//!
//! Owns how a test connects with any key, protocol and window, and writes any bytes.

use super::super::tls::{certified_key, ed25519_key};
use super::Bed;
use common::keys::SigningKey;
use common::wire::frame::{self, PREFIX_BYTES};
use common::wire::hello::{Hello, HelloReply, VERSION};
use prost::Message;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, ReadExactError, RecvStream, SendStream,
    TransportConfig, VarInt,
};
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use std::net::SocketAddr;
use std::sync::Arc;

/// Takes any server: what is tested is the server's side.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        assert!(ed25519_key(end_entity).is_some());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// How a peer connects.
pub(super) struct Manners<'a> {
    /// None: it shows no key at all.
    pub(super) key: Option<&'a SigningKey>,
    /// Empty: it names no protocol.
    pub(super) alpn: &'a [u8],
    /// Bytes that it takes of a stream before the server has to wait.
    pub(super) window_bytes: u32,
}

impl<'a> Manners<'a> {
    pub(super) fn new(key: &'a SigningKey, alpn: &'a [u8]) -> Self {
        Self { key: Some(key), alpn, window_bytes: 1024 * 1024 }
    }

    fn config(&self) -> ClientConfig {
        let builder =
            rustls::ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_protocol_versions(&[&rustls::version::TLS13])
                .unwrap()
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyServer));
        let mut config = match self.key {
            Some(key) => builder.with_client_cert_resolver(Arc::new(
                AlwaysResolvesClientRawPublicKeys::new(Arc::new(certified_key(key).unwrap())),
            )),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols =
            if self.alpn.is_empty() { Vec::new() } else { vec![self.alpn.to_vec()] };
        config.enable_early_data = true;
        let mut transport = TransportConfig::default();
        transport.stream_receive_window(VarInt::from_u32(self.window_bytes));
        let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()));
        config.transport_config(Arc::new(transport));
        config
    }
}

/// A peer's endpoint.
pub(super) struct Peer {
    pub(super) endpoint: Endpoint,
}

impl Peer {
    pub(super) fn new(manners: &Manners<'_>) -> Self {
        let mut endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        endpoint.set_default_client_config(manners.config());
        Self { endpoint }
    }

    pub(super) async fn connect(&self, bed: &Bed) -> Result<Connection, ConnectionError> {
        self.endpoint.connect(bed.address, "x").unwrap().await
    }

    /// Connects and greets.
    pub(super) async fn greet(&self, bed: &Bed) -> Connection {
        let connection = self.connect(bed).await.unwrap();
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        let hello = Hello { version: VERSION, software: "x".into(), features: vec![] };
        write(&mut send, &hello).await;
        send.finish().unwrap();
        let reply: HelloReply = read(&mut receive).await.unwrap();
        assert_eq!(reply.cluster, bed.service.cluster().to_vec());
        connection
    }
}

pub(super) async fn write(send: &mut SendStream, message: &impl Message) {
    send.write_all(&frame::encode(message).unwrap()).await.unwrap();
}

pub(super) async fn read<M: Message + Default>(
    receive: &mut RecvStream,
) -> Result<M, ReadExactError> {
    let mut prefix = [0; PREFIX_BYTES];
    receive.read_exact(&mut prefix).await?;
    let mut body = vec![0; frame::length(prefix).unwrap()];
    receive.read_exact(&mut body).await?;
    Ok(frame::decode(&body).unwrap())
}
