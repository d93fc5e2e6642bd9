//! The tenant's relays: where they are by the word of its admins, and how this device reaches them.

use fieldmesh_identity::{Claim, Policy};
use fieldmesh_model::DeviceId;
use fieldmesh_net::address;

use crate::api::{RelayOptions, RelayReport};
use crate::error::{Error, with_causes};

use super::Node;

mod list;
mod ways;

impl Node {
    /// Says at which address a relay of the tenant is found, so that every device dials it; with a
    /// claim in place of an address as [`Node::claim_relay`].
    ///
    /// The address is dialled first, unless the options name the relay and want it unchecked.
    ///
    /// # Errors
    ///
    /// [`Error::NotAllowed`] says who may, [`Error::Unreachable`] why nobody answers there, and
    /// [`Error::Usage`] why what answers cannot be meant.
    pub async fn add_relay(&self, options: RelayOptions) -> Result<Vec<RelayReport>, Error> {
        if Claim::is_meant(&options.address) {
            if options.device.is_some() || options.unchecked {
                let reason = "a claim names its relay, which is dialled in any case; leave out \
                              --device and --no-check";
                return Err(Error::Usage { reason: reason.into() });
            }
            return self.take_relay_in(&options).await;
        }
        if options.gateway {
            let reason = "what a relay may do is said when it is taken in by its claim, not with its \
                          address; leave out --gateway";
            return Err(Error::Usage { reason: reason.into() });
        }
        let address = normal(&options.address)?;
        let named = match &options.device {
            Some(name) => Some(
                self.find_device(name)?
                    .ok_or_else(|| Error::NotFound { kind: "device", name: name.clone() })?,
            ),
            None => None,
        };
        let wanted = address.clone();
        let holder = self.blocking(move |ledger| {
            ledger.check_relay(&wanted, named)?;
            Ok(ledger.holder(&wanted))
        });
        let holder = holder.await?;
        if let Some((_, words)) = holder.as_ref().filter(|_| options.unchecked) {
            let reason = format!(
                "{address} is {words}; leave out --no-check, so that whoever answers there says \
                 who it is, or take it back first: fieldmesh relay remove {address}"
            );
            return Err(Error::Usage { reason });
        }
        let relay = match (options.unchecked, named) {
            (true, Some(named)) => named,
            (true, None) => {
                let reason = "an address that is not checked needs the relay's name: add --device";
                return Err(Error::Usage { reason: reason.into() });
            }
            (false, named) => self.who_answers(&address, named).await?,
        };
        check_is_relay(&self.inner.ledger.policy(), relay, &address)?;
        let wanted = address.clone();
        self.blocking(move |ledger| ledger.name_relay(&wanted, relay)).await?;
        let mut relays = self.relay_addresses().await?;
        relays.retain(|report| report.address == address);
        for report in &mut relays {
            report.was = holder.as_ref().map(|(_, words)| words.clone());
        }
        Ok(relays)
    }

    /// Takes back what was said of an address; devices dial it no more by themselves. Gives what it
    /// was.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] where no relay has the address; [`Error::NotAllowed`] says who may.
    pub async fn remove_relay(&self, address: &str) -> Result<String, Error> {
        // What is signed in no way that devices dial goes by its very text.
        let signed = self
            .inner
            .ledger
            .policy()
            .relay_address(address.trim())
            .is_some_and(|said| said.relay.is_some());
        let address = if signed { address.trim().to_owned() } else { normal(address)? };
        self.blocking(move |ledger| ledger.forget_relay(&address)).await
    }

    /// Dials an address and gives the device that proves to be there.
    async fn who_answers(&self, address: &str, named: Option<DeviceId>) -> Result<DeviceId, Error> {
        self.listen(None).await?;
        let connection = self.reach(address).await.map_err(|reason| Error::Unreachable {
            reason: format!(
                "no relay of this tenant answers at {address}: {reason}. Where that is as it should \
                 be for now, name the relay: --device NAME --no-check"
            ),
        })?;
        let found = connection.peer();
        let Some(named) = named.filter(|named| *named != found) else { return Ok(found) };
        let policy = self.inner.mesh.policy();
        let name = |device: DeviceId| {
            policy.known(&device).map_or_else(|| device.short(), |known| known.name.clone())
        };
        Err(Error::Usage {
            reason: format!("{} answers at {address}, not {}", name(found), name(named)),
        })
    }
}

fn normal(text: &str) -> Result<String, Error> {
    address::normal(text).map_err(|error| Error::Usage { reason: with_causes(&error) })
}

fn check_is_relay(policy: &Policy, device: DeviceId, address: &str) -> Result<(), Error> {
    let Some(member) = policy.member(&device) else {
        let reason = format!("the device at {address} is no member of this tenant any more");
        return Err(Error::Usage { reason });
    };
    if member.role.is_relay() {
        return Ok(());
    }
    let reason = format!(
        "{} is no relay: it has the role {}; only a device with the role relay or gateway has an \
         address that every other one dials",
        member.name, member.role
    );
    Err(Error::Usage { reason })
}

#[cfg(test)]
mod tests;
