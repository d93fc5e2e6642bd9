//! How an authority looks for a relay: it dials its port and asks for the proof (RFC 8737).

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use x509_parser::oid_registry::asn1_rs::oid;
use x509_parser::prelude::GeneralName;

const PROTOCOL: &[u8] = b"acme-tls/1";

/// Whether what is at `place` proves that it answers for `domain`; else why it does not.
pub(crate) async fn prove(place: SocketAddr, domain: &str, expected: &str) -> Result<(), String> {
    let shown = show(place, domain).await.ok_or("nobody answers\u{1b}[31m\nthere")?;
    let (_, shown) = x509_parser::parse_x509_certificate(&shown).map_err(|it| it.to_string())?;
    let names = shown.subject_alternative_name().unwrap().ok_or("it names nobody")?;
    if names.value.general_names != [GeneralName::DNSName(domain)] {
        return Err(format!("it is {:?}", names.value.general_names));
    }
    let proof = oid!(1.3.6.1.5.5.7.1.31);
    let proof = shown.get_extension_unique(&proof).unwrap().ok_or("it has no proof")?;
    let digest = ::ring::digest::digest(&::ring::digest::SHA256, expected.as_bytes());
    let is_right = proof.critical && proof.value == [&[0x04, 0x20], digest.as_ref()].concat();
    if is_right { Ok(()) } else { Err("its answer\u{1b}[31m\nis wrong".into()) }
}

/// The certificate that a port shows to an authority which asks for `domain`.
pub(crate) async fn show(place: SocketAddr, domain: &str) -> Option<CertificateDer<'static>> {
    let provider = Arc::new(ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    let stream = TcpStream::connect(place).await.ok()?;
    let name = ServerName::try_from(domain.to_owned()).unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
    let (_, connection) = stream.get_ref();
    assert_eq!(connection.alpn_protocol(), Some(PROTOCOL));
    Some(connection.peer_certificates()?.first()?.clone().into_owned())
}

/// Takes whatever certificate is shown, as it is looked at afterwards.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("a relay speaks TLS 1.3".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // The critical extension of the proof forbids to read it as a usual certificate.
        let odd = |_| rustls::Error::General("it is no certificate".into());
        let (_, certificate) = x509_parser::parse_x509_certificate(certificate).map_err(odd)?;
        let key = SubjectPublicKeyInfoDer::from(certificate.public_key().raw);
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &key, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
