//! How a tenant begins: its genesis item and its first member.

use fieldmesh_model::TenantId;

use crate::x509::{self, CertificateError};
use crate::{Authority, Certificate, Genesis, Item, ItemError, ItemPlace, Statement};

/// A tenant that has just begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Founding {
    /// The new tenant.
    pub tenant: TenantId,
    /// Its genesis item and the certificate of its founder.
    pub items: Vec<Item>,
    /// The founder's certificate for TLS (DER), its issuers after it.
    pub chain: Vec<Vec<u8>>,
}

/// A tenant that cannot begin, or a member that cannot be admitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnrolError {
    /// A name is empty, too long or not printable, or a list is too long.
    #[error("the statement cannot be signed")]
    Item(#[from] ItemError),
    /// The certificate for TLS cannot be made.
    #[error("the certificate cannot be made")]
    Certificate(#[from] CertificateError),
    /// The tenant's genesis item is missing.
    #[error("the tenant's first policy item is missing here")]
    NoGenesis,
}

/// Begins the tenant `name` under `authority`, with `founder` as its first member.
///
/// `recovery` is the public key of the recovery kit.
///
/// # Errors
///
/// [`EnrolError::Item`] names a name that cannot be used.
pub fn found(
    authority: &Authority,
    recovery: [u8; 32],
    name: &str,
    founder: &Certificate,
) -> Result<Founding, EnrolError> {
    let genesis = Genesis { authority: authority.public_key(), recovery, name: name.trim().into() };
    let genesis = Statement::Genesis(genesis);
    let genesis = Item::sign(authority, TenantId::default(), ItemPlace::FIRST, &genesis)?;
    let tenant = genesis.tenant();
    let place = ItemPlace { sequence: 1, previous: Some(genesis.id()) };
    let statement = Statement::Certificate(Box::new(founder.clone()));
    let certificate = Item::sign(authority, tenant, place, &statement)?;
    let chain = vec![x509::device_certificate(authority, tenant, &founder.public_key)?];
    Ok(Founding { tenant, items: vec![genesis, certificate], chain })
}
