//! Who trusts whom in the handshake.
//!
//! A client names its tenant by an opaque tag in the server name; the server answers with its
//! certificate for that tenant and verifies the client's certificate against the authority of the
//! tenant that the certificate itself names. Both must be one tenant, which the endpoint checks
//! after the handshake. No list of authorities is ever sent, no ticket is issued, and a clock
//! decides nothing. A client certificate is offered but not required, because joins have none.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::HEXLOWER;
use fieldmesh_identity::x509::{self, CertificateName};
use fieldmesh_model::{DeviceId, TenantId, TenantTag};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{
    CertificateDer, Der, ServerName, SignatureVerificationAlgorithm, TrustAnchor, UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, SignatureScheme,
};
use webpki::{EndEntityCert, KeyUsage};

use crate::identity::{Identities, Identity};

/// The protocol between members.
pub(crate) const ALPN_PEER: &[u8] = b"fieldmesh/1";
/// The protocol of enrolment; it needs no client certificate and serves nothing else.
pub(crate) const ALPN_JOIN: &[u8] = b"fieldmesh-join/1";
/// The protocol by which a relay is taken into a tenant; it needs no client certificate either.
pub(crate) const ALPN_CLAIM: &[u8] = b"fieldmesh-claim/1";

const SERVER_NAME_SUFFIX: &str = ".fieldmesh";
/// The moment at which certificates are judged, on every device alike.
const JUDGED_AT: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(1_000_000_000));
/// The longest chain that is looked at.
const CHAIN_LENGTH_MAX: usize = 3;

static ED25519: &[&dyn SignatureVerificationAlgorithm] = &[webpki::ring::ED25519];
static ALGORITHMS: WebPkiSupportedAlgorithms =
    WebPkiSupportedAlgorithms { all: ED25519, mapping: &[(SignatureScheme::ED25519, ED25519)] };

/// The server name under which connections name the tenant with `tag`.
pub(crate) fn server_name(tag: &TenantTag) -> String {
    format!("{tag}{SERVER_NAME_SUFFIX}")
}

/// The tag that [`server_name`] wrote.
pub(crate) fn tag_of_server_name(name: &str) -> Option<TenantTag> {
    let bytes = HEXLOWER.decode(name.strip_suffix(SERVER_NAME_SUFFIX)?.as_bytes()).ok()?;
    bytes.try_into().ok().map(TenantTag::from_bytes)
}

/// What a certificate says about its holder, without a word on whether it is true.
pub(crate) fn certificate_name(certificate: &CertificateDer<'_>) -> Option<CertificateName> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let mut names = certificate.valid_dns_names();
    let name = CertificateName::from_dns_name(names.next()?)?;
    names.next().is_none().then_some(name)
}

/// A tenant and the public key of its authority: all that is needed to trust a certificate.
#[derive(Debug, Clone)]
pub(crate) struct Anchor {
    tenant: TenantId,
    trust: TrustAnchor<'static>,
}

impl Anchor {
    pub(crate) fn new(tenant: TenantId, authority: &[u8; 32]) -> Self {
        let trust = TrustAnchor {
            subject: Der::from_slice(x509::AUTHORITY_SUBJECT),
            subject_public_key_info: Der::from(x509::anchor_key(authority).to_vec()),
            name_constraints: None,
        };
        Self { tenant, trust }
    }

    /// The device whose certificate this is, if the authority vouches for it.
    pub(crate) fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<DeviceId, CertificateError> {
        if intermediates.len() >= CHAIN_LENGTH_MAX {
            return Err(CertificateError::BadEncoding);
        }
        let name = certificate_name(end_entity).ok_or(CertificateError::BadEncoding)?;
        let certificate =
            EndEntityCert::try_from(end_entity).map_err(|_| CertificateError::BadEncoding)?;
        let anchors = std::slice::from_ref(&self.trust);
        let usage = KeyUsage::client_auth();
        certificate
            .verify_for_usage(ED25519, anchors, intermediates, JUDGED_AT, usage, None, None)
            .map_err(|_| CertificateError::UnknownIssuer)?;
        let key = x509::public_key_of(certificate.subject_public_key_info().as_ref())
            .ok_or(CertificateError::BadEncoding)?;
        if name.tenant != self.tenant || name.device != DeviceId::of_key(&key) {
            return Err(CertificateError::NotValidForName);
        }
        Ok(name.device)
    }
}

/// The configuration that accepts connections of every tenant in `identities`.
pub(crate) fn server_config(
    identities: &Arc<Identities>,
) -> Result<Arc<rustls::ServerConfig>, rustls::Error> {
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(AcceptMembers(identities.clone())))
        .with_cert_resolver(Arc::new(AnswerTenant(identities.clone())));
    tls.alpn_protocols = vec![ALPN_PEER.to_vec(), ALPN_JOIN.to_vec(), ALPN_CLAIM.to_vec()];
    tls.send_tls13_tickets = 0;
    tls.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(tls))
}

/// The same for QUIC.
pub(crate) fn quic_server(
    tls: Arc<rustls::ServerConfig>,
) -> Result<quinn::ServerConfig, rustls::Error> {
    let quic = QuicServerConfig::try_from(tls).map_err(|_| no_initial_suite())?;
    Ok(quinn::ServerConfig::with_crypto(Arc::new(quic)))
}

/// The configuration that dials as a member.
pub(crate) fn peer_config(identity: &Identity) -> Result<Arc<ClientConfig>, rustls::Error> {
    client_config(identity.anchor.clone(), Some(identity.certified.clone()), ALPN_PEER)
}

/// The configuration that dials to join.
pub(crate) fn join_config(anchor: Anchor) -> Result<Arc<ClientConfig>, rustls::Error> {
    client_config(anchor, None, ALPN_JOIN)
}

/// The configuration that dials a relay with a claim.
pub(crate) fn claim_config(anchor: Anchor) -> Result<Arc<ClientConfig>, rustls::Error> {
    client_config(anchor, None, ALPN_CLAIM)
}

pub(crate) fn client_config(
    anchor: Anchor,
    certified: Option<Arc<CertifiedKey>>,
    alpn: &[u8],
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ExpectTenant(anchor)));
    let mut tls = match certified {
        Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key))),
        None => builder.with_no_client_auth(),
    };
    tls.alpn_protocols = vec![alpn.to_vec()];
    tls.resumption = Resumption::disabled();
    Ok(Arc::new(tls))
}

/// The same for QUIC.
pub(crate) fn quic_client(tls: Arc<ClientConfig>) -> Result<quinn::ClientConfig, rustls::Error> {
    let quic = QuicClientConfig::try_from(tls).map_err(|_| no_initial_suite())?;
    Ok(quinn::ClientConfig::new(Arc::new(quic)))
}

fn no_initial_suite() -> rustls::Error {
    rustls::Error::General("no initial cipher suite".into())
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Picks the certificate for the tenant that a client names.
#[derive(Debug)]
struct AnswerTenant(Arc<Identities>);

impl ResolvesServerCert for AnswerTenant {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let identity = self.0.of_server_name(hello.server_name()?)?;
        Some(identity.certified.clone())
    }
}

/// Verifies a client's certificate against the authority of the tenant that it names.
#[derive(Debug)]
struct AcceptMembers(Arc<Identities>);

impl ClientCertVerifier for AcceptMembers {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // A hint would name every tenant of this endpoint to whoever connects.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let name = certificate_name(end_entity).ok_or(CertificateError::BadEncoding)?;
        let identity = self.0.of_tag(&name.tenant.tag()).ok_or(CertificateError::UnknownIssuer)?;
        identity.anchor.verify(end_entity, intermediates)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &ALGORITHMS)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ALGORITHMS.supported_schemes()
    }
}

/// Verifies a server's certificate against the authority of the tenant that was dialled.
///
/// The server name only selects the tenant; the certificate names the device that answers.
#[derive(Debug)]
struct ExpectTenant(Anchor);

impl ServerCertVerifier for ExpectTenant {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.0.verify(end_entity, intermediates)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &ALGORITHMS)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ALGORITHMS.supported_schemes()
    }
}

fn only_tls13() -> rustls::Error {
    rustls::Error::General("only TLS 1.3 is spoken".into())
}
