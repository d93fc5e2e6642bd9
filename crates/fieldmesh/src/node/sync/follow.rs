//! What happens during a pass, and what it means for those it tries.

use std::collections::BTreeSet;

use fieldmesh_model::DeviceId;
use fieldmesh_net::discovery::Sighting;
use fieldmesh_replica::{Event, LinkId, LinkStats};

use crate::api::Progress;
use crate::mesh::MeshEvent;

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
            Life::InStep(stats) => {
                attempt.state = State::InStep(*stats);
                let contacts = &self.node.inner.contacts;
                match seen.is_part {
                    true => contacts.answered(seen.device, &attempt.address),
                    false => contacts.succeeded(seen.device, &attempt.address),
                }
            }
            Life::Down(reason) => {
                let device = seen.device;
                let other = self.links.iter().find(|(_, other)| {
                    other.device == device && !matches!(other.life, Life::Down(_))
                });
                if let Some((other, seen)) = other {
                    attempt.link = Some(*other);
                    attempt.before = seen.before;
                    return true;
                }
                attempt.state = State::Failed(reason.clone());
            }
        }
        false
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
            MeshEvent::Linked { link, device, address, is_part } => {
                let before = LinkStats::default();
                let seen = Seen { device, before, is_part, life: Life::Up };
                self.links.entry(link).or_insert(seen);
                self.linked(link, device, address);
            }
            MeshEvent::Unlinked { link, reason, .. } => self.became(link, Life::Down(reason)),
            MeshEvent::Replica(Event::InStep { link, stats }) => {
                self.became(link, Life::InStep(stats));
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
                let (device, address) = (link.device, link.address);
                let is_part = link.part.is_some();
                let event = MeshEvent::Linked { link: link.id, device, address, is_part };
                self.happened(event, progress);
            }
            if link.in_step {
                let event = Event::InStep { link: link.id, stats: link.stats };
                self.happened(MeshEvent::Replica(event), progress);
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
