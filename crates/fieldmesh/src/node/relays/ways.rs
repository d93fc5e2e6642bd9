//! What is dialled: addresses that were heard of or worked, and those that admins have signed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use fieldmesh_identity::Policy;
use fieldmesh_model::DeviceId;
use fieldmesh_net::address;

use crate::ledger::{dialled_relays, is_relay};

use super::super::Node;
use super::super::contacts::Contact;

/// What decides about an address that is remembered.
struct Signed<'a> {
    policy: &'a Policy,
    /// Relays that this device dials by the word of admins.
    dialled: BTreeMap<String, DeviceId>,
    /// Where somebody here has asked to be connected.
    named: BTreeSet<String>,
    /// Whether the word of admins is enough to dial an address.
    is_heeded: bool,
}

impl Signed<'_> {
    /// Whether `way`, which leads to `place`, is tried; says who is to be there where that is signed.
    fn keeps(&self, way: &mut Contact, place: &str) -> bool {
        let is_named = self.named.contains(place);
        if way.device.is_some_and(|device| self.policy.is_revoked(&device)) {
            if !is_named {
                return false;
            }
            // Whoever asked for the address may find somebody else there.
            way.device = None;
        }
        let is_member = |device: DeviceId| self.policy.member(&device).is_some();
        let is_peer = |device| is_member(device) && !is_relay(self.policy, device);
        if way.device.is_some_and(is_peer) {
            return true;
        }
        let said = self.policy.relay_address(place);
        match said.or_else(|| self.policy.relay_address(&way.address)).map(|said| said.relay) {
            None => true,
            // What an admin took back is left alone.
            Some(None) => is_named,
            Some(Some(_)) if !self.is_heeded => is_named,
            Some(Some(relay)) if is_relay(self.policy, relay) => {
                let is_another = way.device.is_some_and(|device| device != relay);
                way.device = Some(relay);
                !is_another || is_named
            }
            Some(Some(gone)) => way.device.is_some_and(|device| device != gone) || is_named,
        }
    }
}

impl Node {
    /// Every address to try, each once for everybody who may be there.
    pub(in super::super) fn ways(&self) -> Vec<Contact> {
        let policy = self.inner.mesh.policy();
        let own = self.inner.ledger.device();
        let named = self.inner.watch.named_relays();
        let named = named.iter().map(|named| address::comparable(named)).collect();
        let is_heeded = self.inner.dials_signed.load(Ordering::Relaxed);
        let dialled = dialled_relays(&policy).filter(|(_, relay)| is_heeded && *relay != own);
        let dialled = dialled.map(|(place, relay)| (place.to_owned(), relay)).collect();
        let signed = Signed { policy: &policy, dialled, named, is_heeded };
        let (mut ways, mut known) = (Vec::new(), BTreeSet::new());
        for mut way in self.inner.contacts.all() {
            let place = address::comparable(&way.address);
            // An address that was written in two ways is still one.
            if signed.keeps(&mut way, &place) && known.insert((place.clone(), way.device)) {
                ways.push((place, way));
            }
        }
        for (place, relay) in signed.dialled {
            if known.insert((place.clone(), Some(relay))) {
                let failure = self.inner.contacts.failure(&place);
                let (device, address) = (Some(relay), place.clone());
                ways.push((place, Contact { device, address, last_success: None, failure }));
            }
        }
        // One that is matched to a device needs no second, nameless entry.
        let matched = known.into_iter().filter(|(_, device)| device.is_some());
        let matched: BTreeSet<String> = matched.map(|(place, _)| place).collect();
        ways.retain(|(place, way)| way.device.is_some() || !matched.contains(place));
        ways.into_iter().map(|(_, way)| way).collect()
    }
}
