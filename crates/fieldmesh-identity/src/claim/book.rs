//! The claims that a relay has made, and who used them: the one place that decides.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use fieldmesh_model::{Moment, Role, TenantId};
use serde::{Deserialize, Deserializer, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{ClaimId, ClaimRefusal, ClaimSecret};
use crate::Seed;

/// The largest number of claims that a book holds.
pub const CLAIMS_MAX: usize = 256;
/// For how long a claim is remembered that can be used no more.
const KEPT_MILLIS: i64 = 30 * 86_400_000;

/// The claims of one relay.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimBook {
    /// The secret by which the relay proves who it is.
    key: SecretBytes,
    claims: BTreeMap<ClaimId, IssuedClaim>,
    /// Those that ask to be taken in as a gateway.
    // Not written where there are none, so that a book without is what older programs write. They
    // read past it in any other.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", deserialize_with = "last_claims")]
    gateways: BTreeSet<ClaimId>,
}

/// One claim as the relay remembers it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedClaim {
    /// A hash of the secret.
    hash: [u8; 32],
    /// When it was made.
    pub made: Moment,
    /// Until when it can be used.
    pub expires: Moment,
    state: State,
}

/// What became of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimState {
    /// Nobody has used it.
    Open,
    /// A tenant has begun to take the relay in, and may try again.
    Begun(TenantId),
    /// The relay has joined a tenant by it.
    Used(TenantId),
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    Open,
    /// The relay is to be this device in the tenant, however often that is tried.
    Begun(TenantId, SecretBytes),
    Used(TenantId),
}

#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop, Serialize, Deserialize)]
struct SecretBytes([u8; 32]);

/// What a claim that was offered opens.
#[derive(Debug)]
pub enum Taken {
    /// The relay is to join as the device with this seed.
    Join(Seed),
    /// It has joined that tenant by this claim before; the answer was lost.
    Again,
}

/// Too many claims are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{CLAIMS_MAX} claims are remembered already; revoke some")]
pub struct ClaimFull;

impl fmt::Debug for ClaimBook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimBook").field("claims", &self.claims.len()).finish_non_exhaustive()
    }
}

impl ClaimBook {
    /// An empty book of the relay whose key `seed` is.
    pub fn new(seed: &Seed) -> Self {
        let key = SecretBytes(*seed.expose());
        Self { key, claims: BTreeMap::new(), gateways: BTreeSet::new() }
    }

    /// The secret by which the relay proves who it is, see [`super::ClaimDesk`].
    pub fn key(&self) -> Seed {
        Seed::from_bytes(self.key.0)
    }

    /// Remembers a new claim, by which the relay is to have `role`.
    ///
    /// # Errors
    ///
    /// [`ClaimFull`] where too many are remembered.
    pub fn issue(
        &mut self,
        secret: &ClaimSecret,
        role: Role,
        made: Moment,
        expires: Moment,
    ) -> Result<ClaimId, ClaimFull> {
        self.forget_old(made);
        if self.claims.len() >= CLAIMS_MAX {
            return Err(ClaimFull);
        }
        let hash = *secret.hash().as_bytes();
        let claim = IssuedClaim { hash, made, expires, state: State::Open };
        self.claims.insert(secret.id(), claim);
        if role == Role::Gateway {
            self.gateways.insert(secret.id());
        }
        Ok(secret.id())
    }

    /// Forgets a claim; whether there was one. A tenant that was joined by it stays.
    pub fn revoke(&mut self, id: &ClaimId) -> bool {
        self.gateways.remove(id);
        self.claims.remove(id).is_some()
    }

    /// The role that the relay has by the claim with this `id`.
    pub fn role(&self, id: &ClaimId) -> Role {
        if self.gateways.contains(id) { Role::Gateway } else { Role::Relay }
    }

    /// The claims, in the order of their ids.
    pub fn claims(&self) -> impl Iterator<Item = (&ClaimId, &IssuedClaim)> {
        self.claims.iter()
    }

    /// Whether `secret` is one of a claim here.
    pub fn knows(&self, secret: &ClaimSecret) -> bool {
        let claim = self.claims.get(&secret.id());
        claim.is_some_and(|claim| secret.hash() == blake3::Hash::from_bytes(claim.hash))
    }

    /// Whether a claim can be offered at `now`, if only to hear that it was used.
    pub fn is_wanted(&self, now: Moment) -> bool {
        self.claims.values().any(|claim| !claim.is_old(now))
    }

    /// Decides at `now` whether the relay joins `tenant`, whose holder knows `secret`; `seed` is the
    /// device that it is to be there, if this is the first time.
    ///
    /// Store the book before going on, or a retry would make another device.
    ///
    /// # Errors
    ///
    /// The [`ClaimRefusal`] is what the other side is to be told; nothing of a claim is told to
    /// somebody who does not know its secret.
    pub fn take(
        &mut self,
        now: Moment,
        secret: &ClaimSecret,
        tenant: TenantId,
        seed: Seed,
    ) -> Result<Taken, ClaimRefusal> {
        if !self.knows(secret) {
            return Err(ClaimRefusal::Unknown);
        }
        let claim = self.claims.get_mut(&secret.id()).ok_or(ClaimRefusal::Unknown)?;
        match &claim.state {
            State::Used(by) if *by == tenant => return Ok(Taken::Again),
            State::Used(_) => return Err(ClaimRefusal::Used),
            State::Open | State::Begun(..) => {}
        }
        // What was begun in time goes on: the tenant may have taken the relay in already.
        if let State::Begun(by, seed) = &claim.state
            && *by == tenant
            && !claim.is_old(now)
        {
            return Ok(Taken::Join(Seed::from_bytes(seed.0)));
        }
        if claim.expires <= now {
            return Err(ClaimRefusal::Expired);
        }
        claim.state = State::Begun(tenant, SecretBytes(*seed.expose()));
        Ok(Taken::Join(seed))
    }

    /// Whether the relay is still to be the device with `seed` in `tenant`, by the claim with this
    /// `id`; not where it was revoked since.
    pub fn is_begun(&self, id: &ClaimId, tenant: TenantId, seed: &Seed) -> bool {
        let claim = self.claims.get(id);
        claim.is_some_and(|claim| match &claim.state {
            State::Begun(by, begun) => *by == tenant && begun.0 == *seed.expose(),
            State::Open | State::Used(_) => false,
        })
    }

    /// The relay serves `tenant` by the claim with this `id`.
    pub fn used(&mut self, id: &ClaimId, tenant: TenantId) {
        if let Some(claim) = self.claims.get_mut(id) {
            claim.state = State::Used(tenant);
        }
    }

    fn forget_old(&mut self, now: Moment) {
        self.claims.retain(|_, claim| !claim.is_old(now));
        self.gateways.retain(|id| self.claims.contains_key(id));
    }
}

impl IssuedClaim {
    /// What became of it.
    pub const fn state(&self) -> ClaimState {
        match &self.state {
            State::Open => ClaimState::Open,
            State::Begun(tenant, _) => ClaimState::Begun(*tenant),
            State::Used(tenant) => ClaimState::Used(*tenant),
        }
    }

    fn is_old(&self, now: Moment) -> bool {
        self.expires.plus_millis(KEPT_MILLIS) <= now
    }
}

/// The claims at the end of a book, where there are some.
fn last_claims<'de, D>(deserializer: D) -> Result<BTreeSet<ClaimId>, D::Error>
where
    D: Deserializer<'de>,
{
    // Whoever keeps a book seals it, so that one which ends early was written so.
    Ok(BTreeSet::deserialize(deserializer).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment::from_millis(1_000);
    const LATER: Moment = Moment::from_millis(2_000);
    const ONE: TenantId = TenantId::from_bytes([1; 32]);
    const OTHER: TenantId = TenantId::from_bytes([2; 32]);

    fn secret(byte: u8) -> ClaimSecret {
        ClaimSecret::from_bytes([byte; 16])
    }

    fn book() -> ClaimBook {
        let mut book = ClaimBook::new(&Seed::from_bytes([9; 32]));
        book.issue(&secret(1), Role::Relay, NOW, LATER).unwrap();
        book
    }

    /// The first byte of the device that the relay is to be; nothing where it is one already.
    fn take(
        book: &mut ClaimBook,
        now: Moment,
        byte: u8,
        tenant: TenantId,
        seed: u8,
    ) -> Result<Option<u8>, ClaimRefusal> {
        // As after a restart at each step.
        let bytes = postcard::to_stdvec(book).unwrap();
        *book = postcard::from_bytes(&bytes).unwrap();
        let taken = book.take(now, &secret(byte), tenant, Seed::from_bytes([seed; 32]))?;
        Ok(match taken {
            Taken::Join(seed) => Some(seed.expose()[0]),
            Taken::Again => None,
        })
    }

    #[test]
    fn a_try_that_is_repeated_makes_the_same_device_and_another_tenant_another_one() {
        let mut book = book();
        assert_eq!(take(&mut book, NOW, 1, ONE, 5), Ok(Some(5)));
        assert_eq!(take(&mut book, NOW, 1, ONE, 6), Ok(Some(5)));
        assert_eq!(take(&mut book, NOW, 1, OTHER, 7), Ok(Some(7)));
        assert_eq!(take(&mut book, NOW, 1, ONE, 8), Ok(Some(8)), "not the device of the other");
    }

    #[test]
    fn a_claim_serves_one_tenant_and_tells_that_one_again() {
        let mut book = book();
        let id = secret(1).id();
        assert_eq!(take(&mut book, NOW, 1, ONE, 5), Ok(Some(5)));
        book.used(&id, ONE);
        assert_eq!(take(&mut book, NOW, 1, ONE, 6), Ok(None));
        assert_eq!(take(&mut book, LATER, 1, ONE, 6), Ok(None));
        assert_eq!(take(&mut book, NOW, 1, OTHER, 7), Err(ClaimRefusal::Used));
        assert_eq!(book.claims().next().unwrap().1.state(), ClaimState::Used(ONE));
        // The device's key is not kept any longer than it is needed.
        let bytes = postcard::to_stdvec(&book).unwrap();
        assert!(!bytes.windows(32).any(|part| part == [5; 32]));
    }

    #[test]
    fn what_was_begun_in_time_goes_on_after_that_and_nothing_else_begins() {
        let (mut book, id) = (book(), secret(1).id());
        assert_eq!(take(&mut book, NOW, 1, ONE, 5), Ok(Some(5)));
        assert_eq!(take(&mut book, LATER, 1, ONE, 6), Ok(Some(5)));
        assert_eq!(take(&mut book, LATER, 1, OTHER, 7), Err(ClaimRefusal::Expired));
        assert_eq!(take(&mut book, LATER, 1, ONE, 6), Ok(Some(5)));
        let old = LATER.plus_millis(KEPT_MILLIS);
        assert_eq!(take(&mut book, old, 1, ONE, 6), Err(ClaimRefusal::Expired));
        let seed = |byte| Seed::from_bytes([byte; 32]);
        assert!(book.is_begun(&id, ONE, &seed(5)));
        assert!(!book.is_begun(&id, OTHER, &seed(5)) && !book.is_begun(&id, ONE, &seed(6)));
        assert!(book.revoke(&id) && !book.is_begun(&id, ONE, &seed(5)));
    }

    #[test]
    fn what_is_wrong_expired_or_revoked_opens_nothing() {
        let mut book = book();
        assert_eq!(take(&mut book, NOW, 2, ONE, 5), Err(ClaimRefusal::Unknown));
        assert_eq!(take(&mut book, LATER, 1, ONE, 5), Err(ClaimRefusal::Expired));
        assert!(book.is_wanted(LATER));
        assert!(book.revoke(&secret(1).id()) && !book.revoke(&secret(1).id()));
        assert_eq!(take(&mut book, NOW, 1, ONE, 5), Err(ClaimRefusal::Unknown));
        assert!(!book.is_wanted(NOW));
    }

    #[test]
    fn the_book_stays_small_and_forgets_what_is_old() {
        let mut book = book();
        for byte in 2..=255 {
            book.issue(&secret(byte), Role::Relay, NOW, LATER).unwrap();
        }
        book.issue(&secret(0), Role::Relay, NOW, LATER).unwrap();
        let one_more = ClaimSecret::from_bytes([0xab; 16]);
        let more = ClaimSecret::from_bytes([&[0xab; 15][..], &[1]].concat().try_into().unwrap());
        assert_eq!(book.claims().count(), CLAIMS_MAX);
        assert_eq!(book.issue(&more, Role::Relay, NOW, LATER), Err(ClaimFull));
        let old = LATER.plus_millis(KEPT_MILLIS);
        assert!(!book.is_wanted(old));
        book.issue(&one_more, Role::Relay, old, old.plus_millis(1)).unwrap();
        assert_eq!(book.claims().count(), 1);
    }

    #[test]
    fn the_bytes_of_a_book_never_change() {
        let mut book = ClaimBook::new(&Seed::from_bytes([9; 32]));
        book.issue(&secret(1), Role::Relay, NOW, LATER).unwrap();
        book.issue(&secret(2), Role::Relay, NOW, LATER).unwrap();
        book.take(NOW, &secret(2), ONE, Seed::from_bytes([5; 32])).unwrap();
        book.issue(&secret(3), Role::Relay, NOW, LATER).unwrap();
        book.used(&secret(3).id(), OTHER);
        let hex = data_encoding::HEXLOWER.encode(&postcard::to_stdvec(&book).unwrap());
        assert_eq!(hex, include_str!("book.hex").trim());
        book.issue(&secret(4), Role::Gateway, NOW, LATER).unwrap();
        let hex = data_encoding::HEXLOWER.encode(&postcard::to_stdvec(&book).unwrap());
        assert_eq!(hex, include_str!("book_gateway.hex").trim());
    }

    #[test]
    fn a_claim_asks_for_its_role_until_it_is_forgotten_also_behind_an_older_program() {
        /// What a program that knows of no gateways keeps.
        #[derive(Serialize, Deserialize)]
        struct Older {
            key: SecretBytes,
            claims: BTreeMap<ClaimId, IssuedClaim>,
        }
        let read = |bytes: &[u8]| postcard::from_bytes::<ClaimBook>(bytes).unwrap();
        let mut book = book();
        let (plain, gateway) = (secret(1).id(), secret(4).id());
        book.issue(&secret(4), Role::Gateway, NOW, LATER).unwrap();
        let bytes = postcard::to_stdvec(&book).unwrap();
        let again = read(&bytes);
        assert_eq!((again.role(&plain), again.role(&gateway)), (Role::Relay, Role::Gateway));
        let older: Older = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(older.claims.len(), 2);
        let behind = read(&postcard::to_stdvec(&older).unwrap());
        assert_eq!((behind.claims().count(), behind.role(&gateway)), (2, Role::Relay));
        let mut revoked = book.clone();
        assert!(revoked.revoke(&gateway) && revoked.gateways.is_empty());
        let old = LATER.plus_millis(KEPT_MILLIS);
        book.issue(&secret(5), Role::Relay, old, old.plus_millis(1)).unwrap();
        assert!(book.gateways.is_empty());
    }
}
