//! What this endpoint is in each of its tenants: certificate, key and the authority it trusts.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use fieldmesh_identity::DeviceKeys;
use fieldmesh_model::{DeviceId, TenantId, TenantTag};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use crate::tls::{self, Anchor};

/// What a device is in one tenant.
#[derive(Debug, Clone)]
pub struct TenantIdentity {
    /// The tenant.
    pub tenant: TenantId,
    /// The public key of the tenant's authority.
    pub authority: [u8; 32],
    /// The device's certificate (DER), its issuers after it.
    pub chain: Vec<Vec<u8>>,
    /// The device's keys.
    pub keys: DeviceKeys,
}

/// An identity that cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The certificate is malformed or of another authority.
    #[error("the certificate was not signed by the authority of tenant {tenant}")]
    Certificate {
        /// The tenant.
        tenant: TenantId,
    },
    /// The certificate is for another device or tenant.
    #[error("the certificate is not the one of device {device} in tenant {tenant}")]
    OtherDevice {
        /// The tenant.
        tenant: TenantId,
        /// The device whose keys were given.
        device: DeviceId,
    },
    /// The TLS library refuses the key.
    #[error("the device's key cannot be used for TLS")]
    Key(#[source] rustls::Error),
}

/// An identity that was checked, as TLS needs it.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) tenant: TenantId,
    pub(crate) anchor: Anchor,
    pub(crate) certified: Arc<CertifiedKey>,
}

/// The identities of an endpoint, found by the tag that connections name.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    by_tag: RwLock<BTreeMap<TenantTag, Arc<Identity>>>,
}

impl Identity {
    pub(crate) fn new(identity: TenantIdentity) -> Result<Self, IdentityError> {
        let TenantIdentity { tenant, authority, chain, keys } = identity;
        let chain: Vec<CertificateDer<'static>> =
            chain.into_iter().map(CertificateDer::from).collect();
        let anchor = Anchor::new(tenant, &authority);
        let (end_entity, intermediates) =
            chain.split_first().ok_or(IdentityError::Certificate { tenant })?;
        let certified = anchor
            .verify(end_entity, intermediates)
            .map_err(|_| IdentityError::Certificate { tenant })?;
        if certified != keys.device() {
            return Err(IdentityError::OtherDevice { tenant, device: keys.device() });
        }
        let pkcs8 = keys.pkcs8_der();
        let key =
            rustls::crypto::ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8.as_slice()))
                .map_err(IdentityError::Key)?;
        Ok(Self { tenant, anchor, certified: Arc::new(CertifiedKey::new(chain, key)) })
    }
}

impl Identities {
    pub(crate) fn add(&self, identity: Identity) {
        let mut by_tag = self.by_tag.write().unwrap_or_else(PoisonError::into_inner);
        by_tag.insert(identity.tenant.tag(), Arc::new(identity));
    }

    pub(crate) fn remove(&self, tenant: &TenantId) -> bool {
        let mut by_tag = self.by_tag.write().unwrap_or_else(PoisonError::into_inner);
        by_tag.remove(&tenant.tag()).is_some()
    }

    pub(crate) fn of_tag(&self, tag: &TenantTag) -> Option<Arc<Identity>> {
        self.by_tag.read().unwrap_or_else(PoisonError::into_inner).get(tag).cloned()
    }

    pub(crate) fn of_server_name(&self, name: &str) -> Option<Arc<Identity>> {
        self.of_tag(&tls::tag_of_server_name(name)?)
    }
}
