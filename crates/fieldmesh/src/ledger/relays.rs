//! Where the tenant's relays are, as admins sign it.

use std::collections::BTreeSet;

use fieldmesh_identity::{Item, Policy, RelayAddress, SignedAddress, Signer, Statement};
use fieldmesh_model::{DeviceId, Role};
use fieldmesh_net::address;

use crate::clock;
use crate::error::{Error, with_causes};

use super::Ledger;
use super::membership::named;

/// The most addresses of relays that a tenant names, and that a device dials by itself.
pub(crate) const RELAY_ADDRESSES_MAX: usize = 16;

/// The addresses that devices dial by themselves, with the relay that is to be there.
pub(crate) fn dialled_relays(policy: &Policy) -> impl Iterator<Item = (&str, DeviceId)> {
    dialable(policy).take(RELAY_ADDRESSES_MAX)
}

/// The addresses of current relays that are written in the one way.
fn dialable(policy: &Policy) -> impl Iterator<Item = (&str, DeviceId)> {
    let signed = policy.relay_addresses().map(|(address, relay, _)| (address, relay));
    signed.filter(|(address, relay)| is_relay(policy, *relay) && address::is_normal(address))
}

/// Whether `device` is a member, and one that all others dial.
pub(crate) fn is_relay(policy: &Policy, device: DeviceId) -> bool {
    policy.member(&device).is_some_and(|member| member.role.is_relay())
}

impl Ledger {
    /// Fails where this device may not say that `relay` has an address, nobody knows of it so far,
    /// or there is no room for it; `address` is written as it is signed.
    pub(crate) fn check_relay(&self, address: &str, relay: Option<DeviceId>) -> Result<(), Error> {
        let policy = self.policy();
        let is_admin = policy.member(&self.device()).is_some_and(|me| me.role == Role::Admin);
        if !is_admin && self.identity.authority().is_none() {
            return Err(self.may_not_name(&policy));
        }
        let known = policy.relay_address(address);
        let holder = known.and_then(|said| Some((said.relay?, said)));
        if let Some((_, said)) = holder.filter(|(holder, _)| relay == Some(*holder)) {
            return Err(Error::Usage {
                reason: format!("{address} is known already as {}", words(&policy, said)),
            });
        }
        self.check_room(std::slice::from_ref(&address.to_owned()))
    }

    /// Fails where devices would not dial all of `addresses` besides those that they dial already.
    pub(crate) fn check_room(&self, addresses: &[String]) -> Result<(), Error> {
        let policy = self.policy();
        let counted: BTreeSet<&str> = dialable(&policy).map(|(address, _)| address).collect();
        let wanted: BTreeSet<&str> = addresses.iter().map(String::as_str).collect();
        if wanted.is_subset(&counted) || counted.union(&wanted).count() <= RELAY_ADDRESSES_MAX {
            return Ok(());
        }
        Err(Error::Usage {
            reason: format!(
                "the tenant names {} addresses of relays, and more than {RELAY_ADDRESSES_MAX} are \
                 not dialled; take one back with `fieldmesh relay remove`",
                counted.len()
            ),
        })
    }

    /// The current relay that has `address`, and whose it is in words.
    pub(crate) fn holder(&self, address: &str) -> Option<(DeviceId, String)> {
        let policy = self.policy();
        let said = policy.relay_address(address)?;
        let holder = said.relay.filter(|relay| is_relay(&policy, *relay))?;
        Some((holder, words(&policy, said)))
    }

    /// Says that `relay` is at `address`, durably.
    pub(crate) fn name_relay(&self, address: &str, relay: DeviceId) -> Result<(), Error> {
        let _alone = self.enrolment();
        self.check_relay(address, Some(relay))?;
        self.say_of(address, Some(relay))
    }

    /// Takes an address back; gives what was said of it, in words.
    pub(crate) fn forget_relay(&self, address: &str) -> Result<String, Error> {
        let _alone = self.enrolment();
        let policy = self.policy();
        let known = policy.relay_address(address).filter(|said| said.relay.is_some());
        let Some(said) = known else {
            return Err(Error::NotFound { kind: "address of a relay", name: address.into() });
        };
        self.say_of(address, None)?;
        Ok(words(&policy, said))
    }

    fn say_of(&self, address: &str, relay: Option<DeviceId>) -> Result<(), Error> {
        let policy = self.policy();
        let is_admin = policy.member(&self.device()).is_some_and(|me| me.role == Role::Admin);
        if !is_admin && self.identity.authority().is_none() {
            return Err(self.may_not_name(&policy));
        }
        let known = policy.relay_address(address);
        // Of several with the greatest version it is luck whose counts.
        let is_at_end = known.is_some_and(|said| said.version == u32::MAX);
        let mut after = None;
        // By the device where that will do: every admin is to be able to change it.
        if is_admin && !is_at_end {
            let item = self.sign_address(&policy, &self.identity.keys(), address, relay)?;
            match self.heeded(&item, address, relay)? {
                Ok(()) => return self.add_item(&item),
                Err(policy) => after = Some(policy),
            }
        }
        if let Some(authority) = self.identity.authority() {
            let item = self.sign_address(&policy, &authority, address, relay)?;
            match self.heeded(&item, address, relay)? {
                Ok(()) => return self.add_item(&item),
                Err(policy) => after = Some(policy),
            }
        }
        let after = after.as_ref().unwrap_or(&policy);
        let Some(said) = after.relay_address(address) else {
            return Err(self.may_not_name(&policy));
        };
        let words = words(&policy, said);
        let who = match self.identity.authority() {
            Some(_) => "and nothing can be said of it any more".to_owned(),
            None => format!("and only the tenant's authority changes that: {}", self.whence()?),
        };
        let reason = format!(
            "what is said of {address} goes before what an admin says: it is {words}, {who}"
        );
        Err(Error::NotAllowed { reason })
    }

    fn sign_address(
        &self,
        policy: &Policy,
        signer: &impl Signer,
        address: &str,
        relay: Option<DeviceId>,
    ) -> Result<Item, Error> {
        let key = signer.public_key();
        let known = policy.relay_address(address);
        // The authority goes before admins however far they have counted.
        let is_counted = |said: &&SignedAddress| policy.authority() != Some(&key) || said.by == key;
        let known = known.filter(is_counted).map_or(0, |said| said.version);
        let statement = Statement::Relay(RelayAddress {
            address: address.to_owned(),
            version: known.saturating_add(1),
            relay,
            at: clock::now(),
        });
        Item::sign(signer, self.identity.tenant, policy.next_place(&key), &statement)
            .map_err(|error| Error::Usage { reason: with_causes(&error) })
    }

    /// Whether `item` would decide about `address`; the policy with it where it would not.
    fn heeded(
        &self,
        item: &Item,
        address: &str,
        relay: Option<DeviceId>,
    ) -> Result<Result<(), Policy>, Error> {
        let after = self.policy_with(std::slice::from_ref(item))?;
        let is_last = after.relay_address(address).is_some_and(|said| said.relay == relay);
        Ok(if after.counts(&item.id()) && is_last { Ok(()) } else { Err(after) })
    }

    /// From where what takes the tenant's authority is done, in words.
    pub(crate) fn whence(&self) -> Result<String, Error> {
        let policy = self.policy();
        let founder = self.founder()?.and_then(|device| policy.member(&device));
        Ok(match founder {
            None => "from the device or relay that made the tenant".to_owned(),
            Some(member) if member.role.is_relay() => format!("from the relay {}", member.name),
            Some(member) => format!("from {}", member.name),
        })
    }

    fn may_not_name(&self, policy: &Policy) -> Error {
        let role = policy.member(&self.device()).map(|me| me.role.to_string());
        let role = role.unwrap_or_else(|| "of nobody".into());
        Error::NotAllowed {
            reason: format!(
                "a device with the role {role} may not say where relays are; an admin may, or \
                 whoever holds the tenant's authority"
            ),
        }
    }
}

/// Whose address it is and by whose word.
fn words(policy: &Policy, said: &SignedAddress) -> String {
    let since = clock::minute(said.at);
    let by = named(policy, &said.by);
    match said.relay {
        Some(relay) => {
            let name = policy.known(&relay).map_or_else(|| relay.short(), |it| it.name.clone());
            format!("the address of {name}, by {by} since {since}")
        }
        None => format!("nobody's address any more, by {by} since {since}"),
    }
}

/// Who signed it.
pub(crate) fn signer_of_address(policy: &Policy, said: &SignedAddress) -> String {
    named(policy, &said.by)
}
