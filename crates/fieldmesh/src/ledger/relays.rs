//! Where the tenant's relays are, as admins sign it.

use fieldmesh_identity::{Item, Policy, RelayAddress, SignedAddress, Statement};
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
        let is_counted = dialable(&policy).any(|(counted, _)| counted == address);
        if !is_counted && dialable(&policy).count() >= RELAY_ADDRESSES_MAX {
            return Err(Error::Usage {
                reason: format!(
                    "the tenant names {RELAY_ADDRESSES_MAX} addresses of relays, and more are not \
                     dialled; take one back with `fieldmesh relay remove`"
                ),
            });
        }
        Ok(())
    }

    /// Says that `relay` is at `address`; gives the item, durable and in force here.
    pub(crate) fn name_relay(&self, address: &str, relay: DeviceId) -> Result<Item, Error> {
        let _alone = self.enrolment();
        self.check_relay(address, Some(relay))?;
        self.say_of(address, Some(relay))
    }

    /// Takes an address back; gives what was said of it, in words, and the item.
    pub(crate) fn forget_relay(&self, address: &str) -> Result<(String, Item), Error> {
        let _alone = self.enrolment();
        let policy = self.policy();
        let known = policy.relay_address(address).filter(|said| said.relay.is_some());
        let Some(said) = known else {
            return Err(Error::NotFound { kind: "address of a relay", name: address.into() });
        };
        let item = self.say_of(address, None)?;
        Ok((words(&policy, said), item))
    }

    fn say_of(&self, address: &str, relay: Option<DeviceId>) -> Result<Item, Error> {
        let policy = self.policy();
        let known = policy.relay_address(address).map_or(0, |said| said.version);
        let statement = Statement::Relay(RelayAddress {
            address: address.to_owned(),
            version: known.saturating_add(1),
            relay,
            at: clock::now(),
        });
        let is_admin = policy.member(&self.device()).is_some_and(|me| me.role == Role::Admin);
        let item = if is_admin {
            // Not by the authority where that is here too: every admin is to be able to change it.
            let keys = self.identity.keys();
            let place = policy.next_place(&keys.public_key());
            Item::sign(&keys, self.identity.tenant, place, &statement)
                .map_err(|error| Error::Usage { reason: with_causes(&error) })?
        } else {
            self.sign(&policy, &statement)?
        };
        let after = self.policy_with(std::slice::from_ref(&item))?;
        if !after.counts(&item.id()) {
            return Err(self.may_not_name(&policy));
        }
        match after.relay_address(address) {
            Some(said) if said.relay == relay => {}
            Some(said) => {
                let reason = format!(
                    "what is said of {address} goes before what this device says: {}; whoever \
                     holds the tenant's authority can change it",
                    words(&after, said)
                );
                return Err(Error::NotAllowed { reason });
            }
            None => return Err(self.may_not_name(&policy)),
        }
        self.add_item(&item)?;
        Ok(item)
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
