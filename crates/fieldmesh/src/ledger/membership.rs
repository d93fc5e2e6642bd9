//! The end of this device's membership: who shut it out, when it learned of it, what to do.

use fieldmesh_identity::Policy;
use fieldmesh_model::{DeviceId, Moment};

use crate::clock;
use crate::entry::Fact;
use crate::error::Error;

use super::Ledger;

impl Ledger {
    /// That this device was revoked, in words; nothing while it is a member.
    pub(crate) fn own_end(&self) -> Option<String> {
        let policy = self.policy();
        let me = self.device();
        let revocation = policy.revocation(&me).filter(|_| policy.is_revoked(&me))?;
        let why = match revocation.reason.trim() {
            "" => String::new(),
            reason => format!(" ({reason})"),
        };
        let learned = match self.recall(&Fact::Revoked(Moment::ZERO)) {
            Ok(Some(Fact::Revoked(at))) => format!(", and learned of it at {}", clock::minute(at)),
            _ => String::new(),
        };
        Some(format!(
            "this device was revoked{why} by {}{learned}; what it recorded that others had not \
             seen by then is kept aside and can be adopted by an admin; join again with a new \
             invitation, in a new home",
            revoker(&policy, &me),
        ))
    }

    /// Notes the moment at which this device learned that it was revoked. Blocks.
    pub(crate) fn note_own_end(&self) -> Result<(), Error> {
        if !self.policy().is_revoked(&self.device())
            || self.recall(&Fact::Revoked(Moment::ZERO))?.is_some()
        {
            return Ok(());
        }
        self.remember(Fact::Revoked(clock::now()))
    }
}

/// Who revoked `device`, in words.
pub(crate) fn revoker(policy: &Policy, device: &DeviceId) -> String {
    match policy.revoker(device) {
        Some(key) => named(policy, key),
        None => "somebody unknown".into(),
    }
}

/// Whose public key it is that signed a policy item, in words.
pub(super) fn named(policy: &Policy, key: &[u8; 32]) -> String {
    if policy.authority() == Some(key) {
        return "the tenant's authority".into();
    }
    match policy.known(&DeviceId::of_key(key)) {
        None => "the tenant's recovery kit".into(),
        Some(known) if known.email.is_empty() => known.name.clone(),
        Some(known) => format!("{} ({})", known.name, known.email),
    }
}
