//! The X.509 certificate that a device shows in TLS: tenant, device and key, nothing else.
//!
//! It goes to anyone who asks, so it names nobody. It is valid from 1970 to 9999, because device
//! clocks decide nothing; whether its device is a member is for the policy to say.

use data_encoding::BASE32_NOPAD;
use fieldmesh_model::{DeviceId, TenantId};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyIdMethod,
    PublicKeyData, SerialNumber, SignatureAlgorithm, SigningKey,
};

use crate::{Authority, Signer};

/// The DER of the authority's subject, the same for every tenant: `CN=fieldmesh authority`,
/// without the outer sequence header, as trust anchors hold it.
///
/// With it, the public key alone makes a trust anchor: a joiner knows nothing else.
pub const AUTHORITY_SUBJECT: &[u8] =
    b"\x31\x1c\x30\x1a\x06\x03\x55\x04\x03\x0c\x13fieldmesh authority";

const AUTHORITY_NAME: &str = "fieldmesh authority";
const DEVICE_NAME: &str = "fieldmesh device";
const NAME_SUFFIX: &str = ".fieldmesh";
/// The DER of an Ed25519 public key before its 32 bytes, without the outer sequence header.
const PUBLIC_KEY_PREFIX: [u8; 10] = [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A certificate could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("certificate could not be encoded")]
pub struct CertificateError(#[source] rcgen::Error);

/// What a device's certificate says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CertificateName {
    /// The tenant.
    pub tenant: TenantId,
    /// The device.
    pub device: DeviceId,
}

impl CertificateName {
    /// The DNS name in the certificate: `<device>.<tenant>.fieldmesh`, each in lower-case base32.
    pub fn to_dns_name(self) -> String {
        let label = |bytes: &[u8; 32]| BASE32_NOPAD.encode(bytes).to_lowercase();
        format!("{}.{}{NAME_SUFFIX}", label(self.device.as_bytes()), label(self.tenant.as_bytes()))
    }

    /// Reads [`Self::to_dns_name`] again.
    pub fn from_dns_name(name: &str) -> Option<Self> {
        let (device, tenant) = name.strip_suffix(NAME_SUFFIX)?.split_once('.')?;
        let read = |label: &str| -> Option<[u8; 32]> {
            let bytes = BASE32_NOPAD.decode(label.to_uppercase().as_bytes()).ok()?;
            bytes.try_into().ok()
        };
        let name = Self {
            tenant: TenantId::from_bytes(read(tenant)?),
            device: DeviceId::from_bytes(read(device)?),
        };
        Some(name)
    }
}

/// The certificate (DER) of the device with `public_key`, signed by `authority`.
///
/// The same arguments give the same bytes.
///
/// # Errors
///
/// [`CertificateError`] does not happen with well-formed arguments.
pub fn device_certificate(
    authority: &Authority,
    tenant: TenantId,
    public_key: &[u8; 32],
) -> Result<Vec<u8>, CertificateError> {
    let name = CertificateName { tenant, device: DeviceId::of_key(public_key) };
    let mut params = CertificateParams::new(vec![name.to_dns_name()]).map_err(CertificateError)?;
    params.distinguished_name = distinguished(DEVICE_NAME);
    params.not_before = rcgen::date_time_ymd(1970, 1, 1);
    params.not_after = rcgen::date_time_ymd(9999, 12, 31);
    params.serial_number = Some(serial_number(tenant, public_key));
    params.key_identifier_method = KeyIdMethod::PreSpecified(Vec::new());
    let key = CertificateKey { public_key: authority.public_key(), signer: authority };
    let issuer = Issuer::new(authority_params(), key);
    let subject = SubjectKey(*public_key);
    let certificate = params.signed_by(&subject, &issuer).map_err(CertificateError)?;
    Ok(certificate.der().to_vec())
}

/// The DER of an Ed25519 `public_key` without the outer sequence header, as trust anchors hold it.
pub fn anchor_key(public_key: &[u8; 32]) -> [u8; 42] {
    let mut der = [0; 42];
    der[..PUBLIC_KEY_PREFIX.len()].copy_from_slice(&PUBLIC_KEY_PREFIX);
    der[PUBLIC_KEY_PREFIX.len()..].copy_from_slice(public_key);
    der
}

/// The Ed25519 public key in the DER of a SubjectPublicKeyInfo, outer sequence header included.
pub fn public_key_of(subject_public_key_info: &[u8]) -> Option<[u8; 32]> {
    let rest = subject_public_key_info.strip_prefix(&[0x30, 0x2a])?;
    rest.strip_prefix(&PUBLIC_KEY_PREFIX)?.try_into().ok()
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished(AUTHORITY_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_identifier_method = KeyIdMethod::PreSpecified(Vec::new());
    params
}

fn distinguished(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// Positive and at most 20 bytes, as RFC 5280 asks.
fn serial_number(tenant: TenantId, public_key: &[u8; 32]) -> SerialNumber {
    let mut hasher = blake3::Hasher::new_derive_key("fieldmesh/certificate-serial/1");
    hasher.update(tenant.as_bytes());
    hasher.update(public_key);
    let mut bytes = hasher.finalize().as_bytes()[..16].to_vec();
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    SerialNumber::from(bytes)
}

struct SubjectKey([u8; 32]);

impl PublicKeyData for SubjectKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

struct CertificateKey<'a> {
    public_key: [u8; 32],
    signer: &'a Authority,
}

impl PublicKeyData for CertificateKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        &self.public_key
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

impl SigningKey for CertificateKey<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.signer.sign(message).to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;

    fn certificate() -> Vec<u8> {
        let authority = Authority::from_seed(&Seed::from_bytes([1; 32]));
        device_certificate(&authority, TenantId::from_bytes([2; 32]), &[3; 32]).unwrap()
    }

    #[test]
    fn the_bytes_of_a_certificate_never_change() {
        let hex = data_encoding::HEXLOWER.encode(&certificate());
        assert_eq!(hex, include_str!("x509/certificate.hex").trim());
    }

    #[test]
    fn the_certificate_is_issued_under_the_constant_subject_and_names_nobody() {
        let der = certificate();
        let holds = |needle: &[u8]| der.windows(needle.len()).any(|window| window == needle);
        assert!(holds(AUTHORITY_SUBJECT));
        let device = DeviceId::of_key(&[3; 32]);
        let name = CertificateName { tenant: TenantId::from_bytes([2; 32]), device };
        assert!(holds(name.to_dns_name().as_bytes()));
        assert_eq!(CertificateName::from_dns_name(&name.to_dns_name()), Some(name));
    }

    #[test]
    fn a_foreign_dns_name_names_no_device() {
        for name in ["", "fieldmesh", "a.b.fieldmesh", "example.org", "..fieldmesh"] {
            assert_eq!(CertificateName::from_dns_name(name), None);
        }
    }
}
