//! What happens during a pass, and what it means for those it tries.

use std::collections::BTreeSet;

use fieldmesh_model::DeviceId;
use fieldmesh_net::discovery::Sighting;
use fieldmesh_replica::{Event, Input, LinkId, LinkStats};

use crate::api::Progress;
use crate::connectivity::Input::Moved;
use crate::mesh::{Call, Carried, MeshEvent, Parting};

use super::super::connectivity::REOPENED;
use super::attempt::{Attempt, Life, Seen, State};
use super::pass::{Dialled, Pass};

impl Pass<'_> {
    pub(super) fn dialled(&mut self, (address, result): Dialled) {
        let found = self
            .attempts
            .iter_mut()
            .find(|attempt| attempt.address == address && attempt.link.is_none());
        let Some(attempt) = found else { return };
        match result {
            Ok((link, device)) => {
                attempt.link = Some(link);
                attempt.device = Some(device);
            }
            Err(error) => attempt.state = State::Failed(error),
        }
        self.follow();
    }

    /// Brings every attempt up to what is known of its link.
    fn follow(&mut self) {
        for index in 0..self.attempts.len() {
            // A link that ended may have been given up for another one, and that one too.
            while let State::Trying = self.attempts[index].state
                && self.step(index)
            {}
        }
        self.merge();
    }

    /// Follows the link of one attempt; true if the attempt goes on over another link.
    fn step(&mut self, index: usize) -> bool {
        let attempt = &mut self.attempts[index];
        let Some(link) = attempt.link else { return false };
        let Some(seen) = self.links.get(&link) else { return false };
        match &seen.life {
            Life::Old => self.compare(link),
            Life::Up => {}
            // Everything is asked for, and this link was made before it was.
            Life::InStep(_) if seen.is_part && self.node.inner.watch.is_lifted() => {
                let reason = REOPENED.to_owned();
                self.node.inner.mesh.urgent(Call::Ended { link, reason, parting: Parting::Broken });
                // Where it cannot be dialled, it dials again.
                let _ = self.redial(index);
            }
            Life::InStep(stats) => {
                let stats = *stats;
                self.agree(index, link, stats);
            }
            Life::Down(reason) => {
                let device = seen.device;
                let of_device = || self.links.iter().filter(|(_, other)| other.device == device);
                let other = of_device().find(|(_, other)| !matches!(other.life, Life::Down(_)));
                if let Some((other, seen)) = other {
                    attempt.link = Some(*other);
                    attempt.before = seen.before;
                    return true;
                }
                // Of two links that were dialled at once one is given up; the other one may have
                // done all there was to do, and ended, before this one was known.
                let agreed = of_device().find_map(|(other, seen)| Some((*other, seen.agreed?)));
                if let Some((other, stats)) = agreed {
                    self.agree(index, other, stats);
                    return false;
                }
                // A peer that shut this device out is asked once more whether that is all it knows.
                let (reason, may_redial) = (reason.clone(), !attempt.is_redialled);
                if !(may_redial && self.node.awaits_agreement() && self.redial(index)) {
                    self.attempts[index].state = State::Failed(reason);
                }
            }
        }
        false
    }

    /// An attempt has come to its end: both held the same over `link`.
    fn agree(&mut self, index: usize, link: LinkId, stats: LinkStats) {
        let attempt = &mut self.attempts[index];
        let Some(seen) = self.links.get(&link) else { return };
        (attempt.link, attempt.before) = (Some(link), seen.before);
        attempt.state = State::InStep(stats);
        let contacts = &self.node.inner.contacts;
        contacts.went_over(seen.device, seen.transport);
        match seen.is_part {
            true => contacts.answered(seen.device, &attempt.address),
            false => contacts.succeeded(seen.device, &attempt.address),
        }
    }

    /// Has an attempt go on over a new connection; false where only the peer can make one.
    fn redial(&mut self, index: usize) -> bool {
        let attempt = &mut self.attempts[index];
        (attempt.link, attempt.is_redialled) = (None, true);
        let (device, address) = (attempt.device, attempt.address.clone());
        let mut addresses = device.map_or_else(Vec::new, |device| self.node.known(device));
        if self.dialled.contains(&address) && !addresses.contains(&address) {
            addresses.push(address.clone());
        }
        if addresses.is_empty() {
            return false;
        }
        self.dialled.extend(addresses.iter().cloned());
        self.try_in_turn(device, address, addresses);
        true
    }

    /// Two attempts that lead to one device are one.
    fn merge(&mut self) {
        let (mut seen, mut links) = (BTreeSet::new(), BTreeSet::new());
        let in_step: BTreeSet<DeviceId> = self
            .attempts
            .iter()
            .filter(|attempt| matches!(attempt.state, State::InStep(_)))
            .filter_map(|attempt| attempt.device)
            .collect();
        for attempt in &mut self.attempts {
            let Some(device) = attempt.device else { continue };
            let is_double = match attempt.state {
                State::InStep(_) => !attempt.link.is_none_or(|link| links.insert(link)),
                State::Elsewhere => false,
                State::Trying => in_step.contains(&device),
                State::Failed(_) => in_step.contains(&device) || !seen.insert(device),
            };
            if is_double {
                attempt.state = State::Elsewhere;
            }
        }
    }

    pub(super) fn happened(
        &mut self,
        event: MeshEvent,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) {
        match event {
            MeshEvent::Linked { link, device, address, transport, is_part } => {
                let (before, life) = (LinkStats::default(), Life::Up);
                let seen = Seen { device, transport, before, is_part, agreed: None, life };
                self.links.entry(link).or_insert(seen);
                self.linked(link, device, address);
            }
            MeshEvent::Unlinked { link, reason, refused_at } => {
                if let (Some(address), Some(seen)) = (refused_at, self.links.get(&link)) {
                    // Whoever is named is known from here on: it has proved who it is.
                    self.node.inner.contacts.heard(Some(seen.device), &address);
                    self.node.inner.contacts.refused(&address, &reason);
                }
                self.became(link, Life::Down(reason));
            }
            MeshEvent::Replica(Event::InStep { link, stats }) => {
                self.became(link, Life::InStep(stats));
                let Carried { received, sent } = self.carried();
                self.node.inner.watch.feed(Moved(received + sent));
                progress(self.progress());
            }
            MeshEvent::Replica(Event::Stalled { link, .. }) => {
                let text = "it holds something else and comparing does not help: something cannot \
                            be read there or here; run `verify` on both sides";
                self.fail(link, text);
            }
            MeshEvent::Replica(_) => {}
        }
    }

    /// Follows the state instead of events that were lost.
    pub(super) async fn catch_up(&mut self, progress: &mut (dyn FnMut(Progress) + Send)) {
        let Some(snapshot) = self.node.inner.mesh.snapshot().await else { return };
        let gone: Vec<LinkId> = self
            .links
            .keys()
            .filter(|link| snapshot.links.iter().all(|state| state.id != **link))
            .copied()
            .collect();
        for link in snapshot.links {
            if !self.links.contains_key(&link.id) {
                let (device, address, transport) = (link.device, link.address, link.transport);
                let (link, is_part) = (link.id, link.part.is_some());
                let event = MeshEvent::Linked { link, device, address, transport, is_part };
                self.happened(event, progress);
            }
            // Whether it came into step before or after this pass asked cannot be seen from here.
            if link.in_step && self.links.get(&link.id).is_some_and(|seen| seen.life == Life::Up) {
                let again = Input::Resync { link: Some(link.id) };
                self.node.inner.mesh.urgent(Call::Input(again));
            }
        }
        for link in gone {
            self.became(link, Life::Down("the connection ended; sync again".into()));
        }
    }

    fn became(&mut self, link: LinkId, life: Life) {
        if let Some(seen) = self.links.get_mut(&link)
            // A link from before the pass may finish what it was at; that is not this comparison.
            && (seen.life != Life::Old || matches!(life, Life::Down(_)))
        {
            let is_enough = !(seen.is_part && self.node.inner.watch.is_lifted());
            if let Life::InStep(stats) = life
                && is_enough
            {
                seen.agreed = Some(stats);
            }
            seen.life = life;
        }
        for attempt in &mut self.attempts {
            let news = self.links.get(&link).map(|seen| &seen.life);
            if let (State::InStep(stats), Some(Life::InStep(newer))) = (&mut attempt.state, news)
                && attempt.link == Some(link)
            {
                *stats = *newer;
            }
        }
        self.follow();
    }

    fn linked(&mut self, link: LinkId, device: DeviceId, address: String) {
        let expected = self.attempts.iter().any(|attempt| attempt.link == Some(link));
        let dialling = self.dialled.contains(&address);
        if expected || dialling {
            return;
        }
        if self.is_open || self.attempts.iter().any(|a| a.device == Some(device)) {
            self.attempts.push(Attempt {
                device: Some(device),
                address,
                link: Some(link),
                is_chance: true,
                before: LinkStats::default(),
                state: State::Trying,
                is_redialled: false,
            });
        }
    }

    fn fail(&mut self, link: LinkId, text: &str) {
        for attempt in self.attempts.iter_mut().filter(|attempt| attempt.link == Some(link)) {
            attempt.state = State::Failed(text.to_owned());
        }
    }

    pub(super) fn sighted(&mut self, sighting: Sighting) {
        match sighting {
            Sighting::Found { addresses, .. } => {
                let addresses = addresses.into_iter().map(|address| address.to_string());
                self.dial(None, addresses.collect(), true);
            }
            Sighting::Lost { .. } => {}
            Sighting::Unavailable { reason } => tracing::info!(reason, "no discovery by mDNS"),
        }
    }
}

#[cfg(test)]
mod tests {
    use fieldmesh_model::Role;
    use fieldmesh_net::Transport;

    use super::*;
    use crate::TenantOptions;
    use crate::api::{InviteOptions, LinkClass, SyncOptions, SyncSettingsChange};
    use crate::node::Node;

    struct Scene {
        truck: Node,
        lead: Node,
        address: String,
        _folder: tempfile::TempDir,
    }

    impl Scene {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
            let builder = Node::builder(folder.path().join("lead")).passphrase("one");
            let (lead, _) = builder.create_tenant(options).await.unwrap();
            let address = lead.listen(Some(([127, 0, 0, 1], 0).into())).await.unwrap();
            let valid = std::time::Duration::from_secs(600);
            let invite = InviteOptions { role: Role::Operator, user: None, valid, count: 1 };
            let invitation = lead.invite(invite).await.unwrap().remove(0).invitation;
            let builder = Node::builder(folder.path().join("truck")).passphrase("two");
            let (truck, _) = builder.join(&invitation, Some("truck".into())).await.unwrap();
            truck.listen(Some(([127, 0, 0, 1], 0).into())).await.unwrap();
            Self { truck, lead, address: address.to_string(), _folder: folder }
        }

        /// A link of the truck to the lead that is in step.
        async fn link(&self) -> (LinkId, DeviceId) {
            let mut events = self.truck.events();
            let (link, device) = self.truck.dial(&self.address).await.unwrap();
            loop {
                let event = events.recv().await.unwrap();
                match event {
                    MeshEvent::Replica(Event::InStep { link: one, .. }) if one == link => {
                        return (link, device);
                    }
                    _ => {}
                }
            }
        }

        async fn end(self) {
            self.truck.shutdown().await.unwrap();
            self.lead.shutdown().await.unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_pass_that_lost_events_does_not_take_a_comparison_of_before_for_its_own() {
        let scene = Scene::new().await;
        let (_, device) = scene.link().await;
        let with = vec![device.to_string()];
        let options = SyncOptions { with, mdns: false, ..SyncOptions::default() };
        let mut events = scene.truck.events();
        let mut pass = Pass::new(&scene.truck, &options);
        pass.begin(&options).await.unwrap();
        pass.catch_up(&mut |_| {}).await;
        assert!(pass.attempts[0].state == State::Trying);
        pass.run(&options, &mut events, None, &mut |_| {}).await;
        assert!(matches!(pass.attempts[0].state, State::InStep(_)));
        drop(pass);
        scene.end().await;
    }

    /// The peer dialled first, did all there was to do and left, before the dial to it was over;
    /// then it gave that second link up.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_sync_that_is_done_has_not_failed_because_a_second_link_was_given_up() {
        let scene = Scene::new().await;
        let (device, address) = (scene.lead.inner.ledger.device(), scene.address.clone());
        let options = SyncOptions { mdns: false, ..SyncOptions::default() };
        let mut pass = Pass::new(&scene.truck, &options);
        pass.attempts.push(Attempt {
            device: None,
            address: address.clone(),
            link: None,
            is_chance: true,
            before: LinkStats::default(),
            state: State::Trying,
            is_redialled: false,
        });
        pass.dialled.insert(address.clone());
        let (first, second) = (LinkId(901), LinkId(902));
        let linked = |link| {
            let address = address.clone();
            MeshEvent::Linked { link, device, address, transport: Transport::Quic, is_part: false }
        };
        let ended = |link| {
            let reason = "another link is kept".into();
            MeshEvent::Unlinked { link, reason, refused_at: None }
        };
        let stats = LinkStats { batches_received: 3, ..LinkStats::default() };
        for event in [
            linked(first),
            MeshEvent::Replica(Event::InStep { link: first, stats }),
            ended(first),
            linked(second),
            ended(second),
        ] {
            pass.happened(event, &mut |_| {});
        }
        pass.dialled((address.clone(), Ok((second, device))));
        assert!(pass.attempts[0].state == State::InStep(stats));
        drop(pass);
        scene.end().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_asks_for_everything_does_not_get_what_a_link_of_a_moment_before_may_carry() {
        let scene = Scene::new().await;
        let classes = [(scene.address.clone(), LinkClass::Metered)].into();
        let change = SyncSettingsChange { classes, ..SyncSettingsChange::default() };
        scene.truck.configure_sync(change).await.unwrap();
        let (link, device) = scene.link().await;
        let _whole = scene.truck.inner.watch.lift();
        let with = vec![scene.address.clone()];
        let options = SyncOptions { with, mdns: false, ..SyncOptions::default() };
        let mut events = scene.truck.events();
        let mut pass = Pass::new(&scene.truck, &options);
        let address = scene.address.clone();
        pass.is_open = true;
        let transport = Transport::Quic;
        let linked = MeshEvent::Linked { link, device, address, transport, is_part: true };
        pass.happened(linked, &mut |_| {});
        pass.dialled.insert(scene.address.clone());
        let in_step = Event::InStep { link, stats: LinkStats::default() };
        pass.happened(MeshEvent::Replica(in_step), &mut |_| {});
        assert!(pass.attempts[0].state == State::Trying);
        pass.run(&options, &mut events, None, &mut |_| {}).await;
        assert!(matches!(pass.attempts[0].state, State::InStep(_)));
        assert!(!pass.is_part());
        drop(pass);
        scene.end().await;
    }
}
