//! Status, peers and devices, as people and programs see them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use fieldmesh_model::DeviceId;
use fieldmesh_net::address;
use fieldmesh_replica::{LinkId, LinkStats};

use crate::api::{DeviceReport, PeerReport, RevokedReport, StatusReport, Traffic};
use crate::clock;
use crate::error::Error;
use crate::filter;
use crate::ledger::revoker;
use crate::mesh::{LinkState, Watch, sum};

use super::contacts::Failure;
use super::{Node, notes};

impl Node {
    /// The state of this home.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn status(&self) -> Result<StatusReport, Error> {
        let snapshot = self.inner.mesh.snapshot().await.ok_or(Error::ShuttingDown)?;
        let listening = match &*self.inner.listener.lock().await {
            Some(listener) => Some(listener.local_addr()?),
            None => None,
        };
        let addresses = listening.map_or_else(Vec::new, addresses_of);
        let connected = snapshot.links.len() as u64;
        let is_syncing = snapshot.links.iter().any(|link| !link.in_step);
        let tenant = self.tenant();
        let last_sync = self.inner.contacts.last_sync();
        let rekey = self.inner.rekey.report();
        let mut notes = notes::notes(&snapshot, &self.inner.mesh.policy());
        let protocols = protocols(&snapshot.watch);
        self.blocking(move |ledger| {
            let remaking = ledger.settle_partly()?;
            // Before the numbers are read, so that what it says is not less than what they lack.
            let behind = if remaking.is_some() { 0 } else { ledger.behind() };
            let fault = ledger.remaking_fault();
            let policy = ledger.policy();
            let me = policy.known(&ledger.device()).ok_or_else(|| Error::NotAllowed {
                reason: "this device is no member of its tenant".into(),
            })?;
            let damage = ledger.damage_lines()?;
            let is_revoked = policy.is_revoked(&ledger.device());
            let state = match (connected, is_syncing) {
                _ if !damage.is_empty() || fault.is_some() => "damaged",
                _ if is_revoked => "revoked",
                _ if remaking.is_some() => "remaking",
                (0, _) => "ready",
                (_, true) => "syncing",
                (_, false) => "online",
            };
            let whereabouts = ledger.whereabouts()?;
            notes.splice(0..0, ledger.own_notes().into_iter().chain(ledger.checking()));
            notes.splice(0..0, fault);
            notes.extend(ledger.missed_lines()?);
            notes.extend(ledger.upkeep_fault());
            notes.extend(ledger.sweep_note()?);
            Ok(StatusReport {
                state: state.into(),
                remaking,
                behind,
                tenant,
                role: me.role,
                user: (!me.email.is_empty()).then(|| me.email.clone()),
                store: ledger.store.id(),
                records: ledger.record_counts()?,
                batches: snapshot.batches,
                root: snapshot.root,
                unsealed: ledger.unsealed().0 as u64,
                conflicts: ledger.open_conflicts()?,
                quarantined: ledger.quarantined()?,
                notices: remaking.is_none().then(|| ledger.notice_count()).transpose()?,
                awaiting: remaking.is_none().then(|| ledger.awaiting_count()).transpose()?,
                places: whereabouts.counts,
                only: filter::words(&ledger.only),
                kept: ledger.kept()?,
                not_sent: whereabouts.not_sent,
                protocols,
                notes,
                disk: ledger.disk()?,
                rekey,
                damage,
                addresses: addresses.iter().map(ToString::to_string).collect(),
                connected,
                last_sync,
            })
        })
        .await
    }

    /// Peers that are connected, nearby or remembered.
    ///
    /// # Errors
    ///
    /// The node is shutting down.
    pub async fn peers(&self) -> Result<Vec<PeerReport>, Error> {
        let snapshot = self.inner.mesh.snapshot().await.ok_or(Error::ShuttingDown)?;
        let policy = self.inner.mesh.policy();
        let name = |device: Option<DeviceId>| {
            device.and_then(|device| policy.known(&device)).map(|known| known.name.clone())
        };
        let greeted = |device: &DeviceId| snapshot.watch.greetings.get(device).copied();
        let contacts = &self.inner.contacts;
        let mut peers: Vec<PeerReport> = Vec::new();
        for link in &snapshot.links {
            peers.push(PeerReport {
                device: Some(link.device),
                name: name(Some(link.device)),
                state: state_of(link).into(),
                addresses: vec![link.address.clone()],
                found_by: "connected".into(),
                transport: Some(link.transport),
                last_transport: None,
                last_in_step: None,
                error: None,
                protocol: greeted(&link.device).map(|greeted| greeted.version),
                clock_ahead: greeted(&link.device).map(|greeted| greeted.skew_millis),
                traffic: Some(traffic(&sum(&link.stats, &link.earlier))),
            });
        }
        for contact in self.ways() {
            let known = peers.iter_mut().find(|peer| {
                contact.device.is_some() && peer.device == contact.device
                    || peer.addresses.contains(&contact.address)
            });
            if let Some(peer) = known {
                peer.last_in_step = peer.last_in_step.max(contact.last_success);
                tell_refusal(peer, contact.failure);
                if !peer.addresses.contains(&contact.address) {
                    peer.addresses.push(contact.address);
                }
                continue;
            }
            let greeted = contact.device.as_ref().and_then(greeted);
            let is_signed = contact.last_success.is_none()
                && policy.relay_address(&contact.address).is_some_and(|it| it.relay.is_some());
            peers.push(PeerReport {
                device: contact.device,
                name: name(contact.device),
                state: state_of_contact(contact.failure.as_ref()).into(),
                addresses: vec![contact.address],
                found_by: if is_signed { "policy" } else { "remembered" }.into(),
                transport: None,
                last_transport: contact.device.and_then(|device| contacts.last_over(&device)),
                last_in_step: contact.last_success,
                error: contact.failure.map(|failure| failure.words),
                protocol: greeted.map(|greeted| greeted.version),
                clock_ahead: greeted.map(|greeted| greeted.skew_millis),
                traffic: None,
            });
        }
        for address in contacts.nearby() {
            if !peers.iter().any(|peer| peer.addresses.contains(&address)) {
                peers.push(seen_nearby(address));
            }
        }
        Ok(peers)
    }

    /// The devices of the tenant.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn devices(&self) -> Result<Vec<DeviceReport>, Error> {
        let snapshot = self.inner.mesh.snapshot().await.ok_or(Error::ShuttingDown)?;
        let mut contact: BTreeMap<DeviceId, _> = BTreeMap::new();
        for known in self.inner.contacts.all() {
            if let Some(device) = known.device {
                let last = contact.entry(device).or_insert(known.last_success);
                *last = (*last).max(known.last_success);
            }
        }
        let met = |device: &DeviceId| {
            let is_linked = snapshot.links.iter().any(|link| link.device == *device);
            if is_linked { Some(clock::now()) } else { self.inner.contacts.last_met(device) }
        };
        for member in self.inner.mesh.policy().everybody() {
            let last = contact.entry(member.device).or_default();
            *last = (*last).max(met(&member.device));
        }
        let moved = snapshot.moved();
        let policy = self.inner.mesh.policy();
        self.blocking(move |ledger| {
            ledger.settle_partly()?;
            let outputs = ledger.outputs()?;
            let aside = ledger.aside_by_device()?;
            let founder = ledger.founder()?;
            let mut devices: Vec<DeviceReport> = policy
                .everybody()
                .map(|member| {
                    let output = outputs.get(&member.device).copied().unwrap_or_default();
                    let revoked = policy.revocation(&member.device);
                    DeviceReport {
                        device: member.device,
                        name: member.name.clone(),
                        user: member.user_name.clone(),
                        email: (!member.email.is_empty()).then(|| member.email.clone()),
                        role: member.role,
                        this: member.device == ledger.device(),
                        batches: output.batches,
                        last_change: output.last_change,
                        last_contact: contact.get(&member.device).copied().flatten(),
                        aside: aside.get(&member.device).copied().unwrap_or(0),
                        founder: founder == Some(member.device),
                        traffic: moved.get(&member.device).map(traffic),
                        revoked: revoked.map(|revocation| RevokedReport {
                            reason: revocation.reason.clone(),
                            wipe: revocation.wipe,
                            by: Some(revoker(&policy, &member.device)),
                        }),
                    }
                })
                .collect();
            devices.sort_by(|a, b| a.name.cmp(&b.name).then(a.device.cmp(&b.device)));
            Ok(devices)
        })
        .await
    }

    /// The device that `name` means: its id, the end of it, or its name; `None` for an address.
    pub(super) fn find_device(&self, name: &str) -> Result<Option<DeviceId>, Error> {
        let policy = self.inner.mesh.policy();
        if let Ok(device) = name.parse::<DeviceId>() {
            return Ok(Some(device));
        }
        let wanted = name.trim().to_lowercase();
        let fits = |member: &&fieldmesh_identity::Member| {
            member.name.to_lowercase() == wanted
                || (wanted.len() >= 4 && member.device.to_string().ends_with(&wanted))
        };
        let found: Vec<DeviceId> = policy.members().filter(fits).map(|m| m.device).collect();
        match found.as_slice() {
            [] => Ok(None),
            [device] => Ok(Some(*device)),
            several => Err(Error::Ambiguous {
                name: name.into(),
                candidates: several.iter().map(ToString::to_string).collect(),
            }),
        }
    }

    /// The addresses at which a device was reached.
    pub(super) fn known(&self, device: DeviceId) -> Vec<String> {
        let contacts = self.ways().into_iter();
        contacts
            .filter(|contact| contact.device == Some(device))
            .map(|contact| contact.address)
            .collect()
    }

    /// Notes that a link is in step; gives the address that worked, if this device dialled it.
    pub(super) async fn remember_in_step(&self, link: LinkId) -> Option<String> {
        let snapshot = self.inner.mesh.snapshot().await?;
        let state = snapshot.links.into_iter().find(|state| state.id == link)?;
        self.inner.contacts.went_over(state.device, state.transport);
        match (state.is_dialled, state.part) {
            (true, None) => self.inner.contacts.succeeded(state.device, &state.address),
            (true, Some(_)) => self.inner.contacts.answered(state.device, &state.address),
            (false, None) => self.inner.contacts.joined(),
            (false, Some(_)) => {}
        }
        state.is_dialled.then_some(state.address)
    }
}

/// How many peers speak which version of the protocol with this device.
fn protocols(watch: &Watch) -> BTreeMap<u16, u64> {
    let mut protocols = BTreeMap::new();
    for greeted in watch.greetings.values() {
        *protocols.entry(greeted.version).or_default() += 1;
    }
    protocols
}

/// Where a listener can be reached.
fn addresses_of(bound: SocketAddr) -> Vec<SocketAddr> {
    match bound.ip().is_unspecified() {
        true => address::own_addresses(bound.port()),
        false => vec![bound],
    }
}

/// How far a link is; what its class holds back is not in step.
const fn state_of(link: &LinkState) -> &'static str {
    match (link.in_step, &link.part) {
        (false, _) => "syncing",
        (true, None) => "in-step",
        (true, Some(_)) => "in-part",
    }
}

fn state_of_contact(failure: Option<&Failure>) -> &'static str {
    match failure {
        Some(failure) if failure.is_refusal => "refused",
        Some(_) => "unreachable",
        None => "remembered",
    }
}

/// Says why the last conversation with a peer ended, at whichever of its addresses, unless both
/// are in step by now.
fn tell_refusal(peer: &mut PeerReport, failure: Option<Failure>) {
    let Some(failure) = failure.filter(|failure| failure.is_refusal) else { return };
    if matches!(peer.state.as_str(), "in-step" | "in-part") {
        return;
    }
    if peer.transport.is_none() {
        peer.state = state_of_contact(Some(&failure)).into();
    }
    peer.error = Some(failure.words);
}

const fn traffic(stats: &LinkStats) -> Traffic {
    Traffic {
        received: stats.batches_received,
        sent: stats.batches_sent,
        bytes_in: stats.control_bytes_in + stats.data_bytes_in,
        bytes_out: stats.control_bytes_out + stats.data_bytes_out,
        rounds: stats.rounds,
    }
}

/// Somebody whom mDNS shows and of whom nothing else is known.
fn seen_nearby(address: String) -> PeerReport {
    PeerReport {
        device: None,
        name: None,
        state: "nearby".into(),
        addresses: vec![address],
        found_by: "mdns".into(),
        transport: None,
        last_transport: None,
        last_in_step: None,
        error: None,
        protocol: None,
        clock_ahead: None,
        traffic: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TenantOptions;
    use crate::api::NewRecord;

    async fn well(node: &Node, number: usize) {
        let assignments = [format!("name=Alder {number}"), format!("apiNumber=42-227-{number:05}")];
        let assignments = [&assignments[..], &["status=ACTIVE".to_owned()]].concat();
        let collection = "well".into();
        node.record(NewRecord { collection, assignments, ..NewRecord::default() }).await.unwrap();
    }

    #[tokio::test]
    async fn whoever_looks_at_the_status_after_each_entry_does_not_read_all_the_others() {
        const WELLS: u64 = 50;
        let folder = tempfile::tempdir().unwrap();
        let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
        let builder = Node::builder(folder.path().join("home")).passphrase("one");
        let (node, _) = builder.create_tenant(options).await.unwrap();
        for number in 1..=50 {
            well(&node, number).await;
        }
        assert_eq!(node.status().await.unwrap().places.here, WELLS);
        let looked = async || node.blocking(|ledger| Ok(ledger.records_looked_at())).await.unwrap();
        assert_eq!(looked().await, WELLS);
        for number in 51..=55 {
            well(&node, number).await;
            assert_eq!(node.status().await.unwrap().places.here, number as u64);
        }
        node.delete("Alder 7").await.unwrap();
        assert_eq!(node.status().await.unwrap().places.here, 55);
        // Each change once, or twice where a look came between the record and its batch.
        assert!(looked().await <= WELLS + 12, "{}", looked().await);
        node.shutdown().await.unwrap();
    }
}
