//! Enrolment: what a joining device asks, what it is answered, and who decides.
//!
//! Both sides prove that they know the invitation's secret, bound to the TLS channel between
//! them by its exported key, so that neither proof can be used on another channel.

use std::collections::{BTreeMap, BTreeSet};

use ed25519_dalek::{Signature, VerifyingKey};
use fieldmesh_model::{DeviceId, Moment, Role, TenantId, UserId};
use serde::{Deserialize, Serialize};

use crate::statement::{self, NAME_LENGTH_MAX};
use crate::{
    Access, Certificate, DeviceKeys, Invitation, InvitationId, Item, JoinSecret, Policy, Signer,
};

/// The largest encoded [`JoinRequest`].
pub const JOIN_REQUEST_MAX: usize = 2 * 1024;
/// The largest encoded [`JoinAnswer`]: the items that the new member needs to be believed; the
/// rest of the policy comes with the first synchronisation.
pub const JOIN_ANSWER_MAX: usize = 1024 * 1024;

/// The largest number of invitations that a book holds.
pub const INVITATIONS_MAX: usize = 4_096;
/// The largest number of devices that one invitation serves.
pub const INVITATION_USES_MAX: u32 = 1_000;

const SIGNING_DOMAIN: &[u8] = b"fieldmesh/join-request/1\0";

/// What a device that wants to join sends first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// The tenant that it wants to join.
    pub tenant: TenantId,
    /// Which invitation it holds.
    pub invitation: InvitationId,
    /// Its Ed25519 public key.
    pub public_key: [u8; 32],
    /// The name that it goes by.
    pub device_name: String,
    proof: [u8; 32],
    #[serde(with = "halves")]
    signature: [u8; 64],
}

/// What the device is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinAnswer {
    /// It is a member.
    Granted(Granted),
    /// It is not.
    Refused(JoinRefusal),
}

/// What a new member is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// Policy items, at least those that make the device a member.
    pub items: Vec<Vec<u8>>,
    /// The device's certificate for TLS (DER), its issuers after it.
    pub chain: Vec<Vec<u8>>,
    /// The tenant's name.
    pub tenant_name: String,
    /// Where to find relays and peers: `host:port`.
    pub addresses: Vec<String>,
    proof: [u8; 32],
}

/// Why a device may not join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum JoinRefusal {
    /// The request is for another tenant.
    #[error("the invitation belongs to another tenant")]
    OtherTenant,
    /// There is no such invitation here.
    #[error("the invitation is not known here; it may have been withdrawn")]
    UnknownInvitation,
    /// The proof does not match the invitation, the channel or the device's key.
    #[error("the invitation's secret is wrong")]
    WrongSecret,
    /// Other devices have used the invitation up.
    #[error("the invitation has been used already; ask for a new one")]
    Used,
    /// The invitation is no longer valid.
    #[error("the invitation has expired; ask for a new one")]
    Expired,
    /// The name of the device is empty, too long or not printable.
    #[error("the device's name is empty, too long or not printable")]
    DeviceName,
}

/// What a join grant contains that cannot be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// Whoever answered does not know the invitation's secret.
    #[error("whoever answered does not know the invitation's secret")]
    Proof,
    /// An item is malformed.
    #[error("a policy item in the grant is malformed")]
    Item(#[source] crate::ItemError),
    /// The items do not make this device a member of the invited tenant.
    #[error("the grant does not make this device a member")]
    NotAMember,
}

/// An invitation that cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// Too many invitations are open.
    #[error("{INVITATIONS_MAX} invitations are open already; withdraw some")]
    BookFull,
    /// It would serve no device or too many.
    #[error("an invitation serves 1 to {INVITATION_USES_MAX} devices, not {uses}")]
    Uses {
        /// What was asked for.
        uses: u32,
    },
}

/// What an invitation gives to the device that uses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The person; chosen when the invitation is made.
    pub user: UserId,
    /// The person's name; may be empty.
    pub user_name: String,
    /// The person's e-mail address; may be empty.
    pub email: String,
    /// The role.
    pub role: Role,
    /// What the device may read.
    pub read: Access,
    /// What the device may write.
    pub write: Access,
    /// When the membership ends, if it does.
    pub expires: Option<Moment>,
    /// Whether a manager's device may certify operators.
    pub may_issue: bool,
}

/// The invitations that were made here, and who used them: the one place that decides.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct InvitationBook {
    issued: BTreeMap<InvitationId, Issued>,
}

/// One invitation as its issuer remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    secret: JoinSecret,
    /// What it gives.
    pub grant: Grant,
    /// Until when it can be used.
    pub expires: Moment,
    /// How many more devices can use it.
    pub uses_left: u32,
    /// The public keys of the devices that used it.
    pub used_by: BTreeSet<[u8; 32]>,
}

/// The leave to join that an invitation gives to one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permit<'a> {
    /// The invitation.
    pub issued: &'a Issued,
    /// Whether the device used it before.
    pub usage: Usage,
}

/// Whether a device uses an invitation for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// It took a use.
    First,
    /// It asks again, perhaps because its answer was lost: it gets nothing new.
    Again,
}

impl JoinRequest {
    /// The request of the device with `keys` over the channel whose exported key is `channel`.
    pub fn new(
        invitation: &Invitation,
        channel: &[u8; 32],
        keys: &DeviceKeys,
        device_name: &str,
    ) -> Self {
        let mut request = Self {
            tenant: invitation.tenant,
            invitation: invitation.id(),
            public_key: keys.public_key(),
            device_name: device_name.trim().into(),
            proof: [0; 32],
            signature: [0; 64],
        };
        request.proof = request.expected_proof(&invitation.secret, channel);
        request.signature = keys.sign(&request.signing_message());
        request
    }

    /// The bytes to send.
    pub fn encode(&self) -> Vec<u8> {
        statement::encode(self)
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > JOIN_REQUEST_MAX { None } else { statement::decode(bytes) }
    }

    /// The device that asks.
    pub fn device(&self) -> DeviceId {
        DeviceId::of_key(&self.public_key)
    }

    fn expected_proof(&self, secret: &JoinSecret, channel: &[u8; 32]) -> [u8; 32] {
        let mut hasher = keyed("fieldmesh/join-proof/joiner/1", secret, channel);
        hasher.update(self.tenant.as_bytes());
        hasher.update(&self.public_key);
        hasher.update(self.device_name.as_bytes());
        *hasher.finalize().as_bytes()
    }

    /// The proof names the channel, so the signature does too.
    fn signing_message(&self) -> Vec<u8> {
        [SIGNING_DOMAIN, &self.proof[..]].concat()
    }

    fn is_proven(&self, secret: &JoinSecret, channel: &[u8; 32]) -> bool {
        // blake3::Hash compares in constant time.
        let expected = blake3::Hash::from_bytes(self.expected_proof(secret, channel));
        let Ok(key) = VerifyingKey::from_bytes(&self.public_key) else { return false };
        let signature = Signature::from_bytes(&self.signature);
        expected == blake3::Hash::from_bytes(self.proof)
            && key.verify_strict(&self.signing_message(), &signature).is_ok()
    }
}

impl JoinAnswer {
    /// The bytes to send.
    pub fn encode(&self) -> Vec<u8> {
        statement::encode(self)
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > JOIN_ANSWER_MAX { None } else { statement::decode(bytes) }
    }
}

impl Granted {
    /// The answer to a request that `issued` allows, proven over the same `channel`.
    pub fn new(
        issued: &Issued,
        channel: &[u8; 32],
        request: &JoinRequest,
        contents: GrantContents,
    ) -> Self {
        let GrantContents { items, chain, tenant_name, addresses } = contents;
        let mut granted = Self { items, chain, tenant_name, addresses, proof: [0; 32] };
        granted.proof = granted.expected_proof(&issued.secret, channel, &request.public_key);
        granted
    }

    /// Checks the answer from the joiner's side and returns the items in it.
    ///
    /// # Errors
    ///
    /// Any error means that the answer must not be kept: whoever gave it is not the tenant.
    pub fn check(
        &self,
        invitation: &Invitation,
        channel: &[u8; 32],
        device: &DeviceKeys,
    ) -> Result<Vec<Item>, GrantError> {
        let expected = self.expected_proof(&invitation.secret, channel, &device.public_key());
        if blake3::Hash::from_bytes(expected) != blake3::Hash::from_bytes(self.proof) {
            return Err(GrantError::Proof);
        }
        let items: Result<Vec<Item>, _> =
            self.items.iter().map(|bytes| Item::decode(bytes)).collect();
        let items = items.map_err(GrantError::Item)?;
        let policy = Policy::evaluate(invitation.tenant, &items);
        let invited = policy.authority() == Some(&invitation.authority);
        if !invited || policy.member(&device.device()).is_none() {
            return Err(GrantError::NotAMember);
        }
        Ok(items)
    }

    fn expected_proof(
        &self,
        secret: &JoinSecret,
        channel: &[u8; 32],
        public_key: &[u8; 32],
    ) -> [u8; 32] {
        let mut hasher = keyed("fieldmesh/join-proof/issuer/1", secret, channel);
        hasher.update(public_key);
        let contents = (&self.items, &self.chain, &self.tenant_name, &self.addresses);
        hasher.update(&statement::encode(&contents));
        *hasher.finalize().as_bytes()
    }
}

/// What the issuer puts into a [`Granted`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantContents {
    /// Policy items, at least those that make the device a member.
    pub items: Vec<Vec<u8>>,
    /// The device's certificate for TLS (DER), its issuers after it.
    pub chain: Vec<Vec<u8>>,
    /// The tenant's name.
    pub tenant_name: String,
    /// Where to find relays and peers: `host:port`.
    pub addresses: Vec<String>,
}

impl Grant {
    /// A full-access grant of `role` to `user`, without expiry or issuing right.
    pub fn new(user: UserId, role: Role) -> Self {
        Self {
            user,
            user_name: String::new(),
            email: String::new(),
            role,
            read: Access::ALL,
            write: Access::ALL,
            expires: None,
            may_issue: false,
        }
    }

    /// The certificate that this grant gives to the device that made `request`.
    pub fn certificate(&self, request: &JoinRequest) -> Certificate {
        Certificate {
            public_key: request.public_key,
            version: 1,
            device_name: request.device_name.clone(),
            user: self.user,
            user_name: self.user_name.clone(),
            email: self.email.clone(),
            role: self.role,
            read: self.read.clone(),
            write: self.write.clone(),
            expires: self.expires,
            may_issue: self.may_issue,
        }
    }
}

impl InvitationBook {
    /// Remembers a new invitation for `uses` devices until `expires`.
    ///
    /// # Errors
    ///
    /// The [`IssueError`] names the limit; forgetting expired invitations may help.
    pub fn issue(
        &mut self,
        secret: JoinSecret,
        grant: Grant,
        expires: Moment,
        uses: u32,
    ) -> Result<InvitationId, IssueError> {
        if uses == 0 || uses > INVITATION_USES_MAX {
            return Err(IssueError::Uses { uses });
        }
        if self.issued.len() >= INVITATIONS_MAX {
            return Err(IssueError::BookFull);
        }
        let id = secret.invitation();
        let used_by = BTreeSet::new();
        self.issued.insert(id, Issued { secret, grant, expires, uses_left: uses, used_by });
        Ok(id)
    }

    /// Lets an invitation be good until `expires`; whether there is one. Who used it stays known.
    pub fn prolong(&mut self, id: &InvitationId, expires: Moment) -> bool {
        let Some(issued) = self.issued.get_mut(id) else { return false };
        issued.expires = expires;
        true
    }

    /// Forgets an invitation; whether there was one.
    pub fn withdraw(&mut self, id: &InvitationId) -> bool {
        self.issued.remove(id).is_some()
    }

    /// Forgets the invitations that expired before `moment`; how many.
    pub fn forget_expired(&mut self, moment: Moment) -> usize {
        let before = self.issued.len();
        self.issued.retain(|_, issued| issued.expires > moment);
        before - self.issued.len()
    }

    /// The invitations, in the order of their ids.
    pub fn issued(&self) -> impl Iterator<Item = (&InvitationId, &Issued)> {
        self.issued.iter()
    }

    /// Decides a request to join `tenant`, made at `now` over the channel with the exported key
    /// `channel`, and takes one use from the invitation.
    ///
    /// The same device is granted again without a use, because an answer may have been lost. Store
    /// the book before answering, or a crash gives the use twice.
    ///
    /// # Errors
    ///
    /// The [`JoinRefusal`] is what the device is to be told. Nothing about an invitation is told
    /// to a device that does not know its secret.
    pub fn decide(
        &mut self,
        now: Moment,
        tenant: TenantId,
        channel: &[u8; 32],
        request: &JoinRequest,
    ) -> Result<Permit<'_>, JoinRefusal> {
        if request.tenant != tenant {
            return Err(JoinRefusal::OtherTenant);
        }
        let issued =
            self.issued.get_mut(&request.invitation).ok_or(JoinRefusal::UnknownInvitation)?;
        if !request.is_proven(&issued.secret, channel) {
            return Err(JoinRefusal::WrongSecret);
        }
        if !statement::is_clean(&request.device_name, 1, NAME_LENGTH_MAX) {
            return Err(JoinRefusal::DeviceName);
        }
        if issued.expires <= now {
            return Err(JoinRefusal::Expired);
        }
        if issued.used_by.contains(&request.public_key) {
            return Ok(Permit { issued, usage: Usage::Again });
        }
        issued.uses_left = issued.uses_left.checked_sub(1).ok_or(JoinRefusal::Used)?;
        issued.used_by.insert(request.public_key);
        Ok(Permit { issued, usage: Usage::First })
    }
}

fn keyed(context: &str, secret: &JoinSecret, channel: &[u8; 32]) -> blake3::Hasher {
    let mut key = blake3::Hasher::new_derive_key(context);
    key.update(secret.expose());
    key.update(channel);
    blake3::Hasher::new_keyed(key.finalize().as_bytes())
}

/// Serde implements arrays up to 32 bytes, so a signature travels as two of them.
mod halves {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        bytes: &[u8; 64],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let (first, second) = bytes.split_at(32);
        let halves: ([u8; 32], [u8; 32]) = (
            first.try_into().map_err(serde::ser::Error::custom)?,
            second.try_into().map_err(serde::ser::Error::custom)?,
        );
        halves.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[u8; 64], D::Error> {
        let (first, second) = <([u8; 32], [u8; 32])>::deserialize(deserializer)?;
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&first);
        bytes[32..].copy_from_slice(&second);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests;
