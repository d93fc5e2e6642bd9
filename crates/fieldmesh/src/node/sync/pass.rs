//! The pass itself: whom it tries, and when it has done enough.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fieldmesh_model::DeviceId;
use fieldmesh_net::discovery::{Announcement, Discovery, Sighting};
use fieldmesh_net::mdns::{Interfaces, Mdns};
use fieldmesh_replica::{Input, LinkId, LinkStats};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::api::{Progress, SyncOptions};
use crate::clock;
use crate::error::Error;
use crate::mesh::{Call, Carried, MeshEvent};

use super::super::Node;
use super::super::keeper::SEALED_WITHIN;
use super::attempt::{Attempt, Life, Seen, State};

/// How long a pass looks around although everybody it knew of is in step.
const LOOK_AROUND: Duration = Duration::from_millis(1_500);
/// How long a pass that reached nobody goes on listening for others that sync.
const LISTEN_ALONE: Duration = Duration::from_secs(10);

/// How long a pass waits for receipts and for what is set aside once everybody is in step.
const FINISH_PATIENCE: Duration = Duration::from_secs(2);
/// How often it looks meanwhile.
const FINISH_POLL: Duration = Duration::from_millis(5);

/// What came of dialling.
pub(super) type Dialled = (String, Result<(LinkId, DeviceId), String>);

pub(super) struct Pass<'a> {
    pub(super) node: &'a Node,
    pub(super) attempts: Vec<Attempt>,
    /// Every link of which the pass has heard, whether an attempt knows already that it is its own
    /// or not: what happens to a link is often told before what came of dialling.
    pub(super) links: BTreeMap<LinkId, Seen>,
    pub(super) dials: JoinSet<Dialled>,
    /// Comparisons that are put off for a moment; they end with the pass.
    pub(super) waits: JoinSet<()>,
    pub(super) dialled: BTreeSet<String>,
    /// Whether anybody will do, or only those that were named.
    pub(super) is_open: bool,
    pub(super) may_look_around: bool,
    /// How many changes each link had carried when the pass began.
    pub(super) carried_before: BTreeMap<LinkId, Carried>,
}

impl<'a> Pass<'a> {
    pub(super) fn new(node: &'a Node, options: &SyncOptions) -> Self {
        Self {
            node,
            attempts: Vec::new(),
            links: BTreeMap::new(),
            dials: JoinSet::new(),
            waits: JoinSet::new(),
            dialled: BTreeSet::new(),
            is_open: options.with.is_empty(),
            may_look_around: options.mdns && options.with.is_empty(),
            carried_before: node.inner.mesh.carried(),
        }
    }

    /// Lines up those who are connected already and dials those who are not.
    pub(super) async fn begin(&mut self, options: &SyncOptions) -> Result<(), Error> {
        let node = self.node;
        let snapshot = node.inner.mesh.snapshot().await;
        let linked = snapshot.map_or_else(Vec::new, |snapshot| snapshot.links);
        let mut targets: BTreeMap<DeviceId, Vec<String>> = BTreeMap::new();
        let mut addresses = Vec::new();
        for name in &options.with {
            match node.find_device(name)? {
                Some(device) => targets.entry(device).or_default().extend(node.known(device)),
                None => addresses.push(name.clone()),
            }
        }
        if options.with.is_empty() {
            for contact in node.ways() {
                match contact.device {
                    Some(device) => targets.entry(device).or_default().push(contact.address),
                    None => addresses.push(contact.address),
                }
            }
            for link in &linked {
                targets.entry(link.device).or_default();
            }
        }
        let (mut connected, mut ended) = (BTreeMap::new(), BTreeSet::new());
        for link in linked {
            let known = targets.get_mut(&link.device);
            let is_wanted = known.is_some() || addresses.contains(&link.address);
            if is_wanted && link.part.is_some() && node.inner.watch.is_lifted() {
                // It carries less than what is asked for, and another one is dialled.
                node.reopen(&link);
                ended.insert(link.device);
                known.into_iter().for_each(|known| known.extend(link.dialled().map(Into::into)));
                continue;
            }
            let (device, before, is_part) = (link.device, link.stats, link.part.is_some());
            let transport = link.transport;
            let life = Life::Old;
            let seen = Seen { device, transport, before, is_part, agreed: None, life };
            self.links.insert(link.id, seen);
            connected.insert(link.device, (link.id, link.address, link.stats));
        }
        for (device, known) in targets {
            match connected.remove(&device) {
                Some((link, address, stats)) => {
                    self.resume(device, link, address, stats);
                }
                None if known.is_empty() && ended.contains(&device) => self.expect(device),
                None => self.dial(Some(device), known, false),
            }
        }
        for address in addresses {
            self.dial(None, vec![address], false);
        }
        Ok(())
    }

    fn resume(&mut self, device: DeviceId, link: LinkId, address: String, before: LinkStats) {
        self.attempts.push(Attempt {
            device: Some(device),
            address,
            link: Some(link),
            is_chance: false,
            before,
            state: State::Trying,
            is_redialled: false,
        });
        self.compare(link);
    }

    /// Compares once more on a link that was there when the pass began.
    pub(super) fn compare(&mut self, link: LinkId) {
        if let Some(seen) = self.links.get_mut(&link) {
            seen.life = Life::Up;
        }
        // What the peer acknowledged to its user a moment ago may wait for others to share a
        // batch; it is to be part of this pass.
        let mesh = self.node.inner.mesh.clone();
        self.waits.spawn(async move {
            tokio::time::sleep(SEALED_WITHIN).await;
            mesh.urgent(Call::Input(Input::Resync { link: Some(link) }));
        });
    }

    /// Waits for a device that dialled this one and whose link was ended because it carried a part:
    /// there is no address at which it listens, and it dials again.
    fn expect(&mut self, device: DeviceId) {
        self.attempts.push(Attempt {
            device: Some(device),
            address: "the address that it dials from".into(),
            link: None,
            is_chance: true,
            before: LinkStats::default(),
            state: State::Trying,
            is_redialled: false,
        });
    }

    /// Dials addresses of one device in turn.
    pub(super) fn dial(
        &mut self,
        device: Option<DeviceId>,
        addresses: Vec<String>,
        is_chance: bool,
    ) {
        let addresses: Vec<String> =
            addresses.into_iter().filter(|address| self.dialled.insert(address.clone())).collect();
        let Some(first) = addresses.first().cloned() else { return };
        self.attempts.push(Attempt {
            device,
            address: first.clone(),
            link: None,
            is_chance,
            before: LinkStats::default(),
            state: State::Trying,
            is_redialled: false,
        });
        self.try_in_turn(device, first, addresses);
    }

    /// Dials addresses in turn for the attempt that has the `first`.
    pub(super) fn try_in_turn(
        &mut self,
        device: Option<DeviceId>,
        first: String,
        addresses: Vec<String>,
    ) {
        let node = self.node.clone();
        self.dials.spawn(async move {
            let mut failures = Vec::new();
            for address in addresses {
                match node.dial(&address).await {
                    Ok(linked) => return (first, Ok(linked)),
                    Err(error) => {
                        node.inner.contacts.failed(device, &address, &error);
                        failures.push(error);
                    }
                }
            }
            (first, Err(failures.join("; ")))
        });
    }

    pub(super) fn look_around(
        &self,
        port: u16,
    ) -> (Option<Mdns>, Option<mpsc::Receiver<Sighting>>) {
        if !self.may_look_around {
            return (None, None);
        }
        let (mdns, sightings) = Mdns::start(&Interfaces::default(), clock::random());
        let tenants = vec![self.node.inner.ledger.identity.tenant];
        mdns.announce(&Announcement { port, tenants });
        (Some(mdns), Some(sightings))
    }

    pub(super) async fn run(
        &mut self,
        options: &SyncOptions,
        events: &mut broadcast::Receiver<MeshEvent>,
        mut sightings: Option<mpsc::Receiver<Sighting>>,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) {
        let started = Instant::now();
        let deadline = started + options.timeout;
        let mut had_second_round = false;
        loop {
            let wake = self.next_wake(started, deadline);
            if self.is_settled() && Instant::now() >= wake {
                if had_second_round || !self.second_round() {
                    break;
                }
                had_second_round = true;
                continue;
            }
            tokio::select! {
                Some(Ok(dialled)) = self.dials.join_next() => self.dialled(dialled),
                event = events.recv() => match event {
                    Ok(event) => self.happened(event, progress),
                    Err(broadcast::error::RecvError::Lagged(_)) => self.catch_up(progress).await,
                    Err(broadcast::error::RecvError::Closed) => break,
                },
                sighting = receive(&mut sightings) => self.sighted(sighting),
                () = sleep_until(wake) => if Instant::now() >= deadline { break },
            }
        }
        for attempt in self.attempts.iter_mut().filter(|attempt| attempt.state == State::Trying) {
            let text = format!(
                "not in step within {} s; sync again, or give it longer with --timeout",
                options.timeout.as_secs()
            );
            attempt.state = State::Failed(text);
        }
    }

    /// Gives those in step a moment to sign for what they hold, without which a record would never
    /// be more than here, and to bring what the policy sets aside, without which nobody who only
    /// syncs could adopt it.
    pub(super) async fn finish_links(&self) {
        let deadline = Instant::now() + FINISH_PATIENCE;
        while let Some(snapshot) = self.node.inner.mesh.snapshot().await {
            let is_ours = |link: &LinkId| {
                let life = self.links.get(link).map(|seen| &seen.life);
                matches!(life, Some(Life::InStep(_)))
            };
            let mut links = snapshot.links.iter().filter(|link| is_ours(&link.id));
            if !links.any(|link| link.is_finishing) || Instant::now() >= deadline {
                return;
            }
            tokio::time::sleep(FINISH_POLL).await;
        }
    }

    /// When there is something to decide although nothing happens.
    fn next_wake(&self, started: Instant, deadline: Instant) -> Instant {
        if !self.is_settled() {
            return deadline;
        }
        let reached = self.attempts.iter().any(|attempt| matches!(attempt.state, State::InStep(_)));
        let wake = match (reached, self.is_open, self.may_look_around) {
            (false, true, _) => started + LISTEN_ALONE,
            (true, _, true) => started + LOOK_AROUND,
            (_, _, _) => started,
        };
        wake.min(deadline)
    }

    fn is_settled(&self) -> bool {
        self.dials.is_empty() && self.attempts.iter().all(|attempt| attempt.state != State::Trying)
    }

    /// Compares once more with everybody, if what came from one may be news for another.
    fn second_round(&mut self) -> bool {
        let live: Vec<usize> = (0..self.attempts.len())
            .filter(|index| {
                let link = self.attempts[*index].link.and_then(|link| self.links.get(&link));
                link.is_some_and(|seen| matches!(seen.life, Life::InStep(_)))
            })
            .collect();
        let came = self.attempts.iter().any(|attempt| match &attempt.state {
            State::InStep(stats) => stats.batches_received > attempt.before.batches_received,
            State::Trying | State::Failed(_) | State::Elsewhere => false,
        });
        if live.len() < 2 || !came {
            return false;
        }
        for index in live {
            let attempt = &mut self.attempts[index];
            attempt.state = State::Trying;
            if let Some(seen) = attempt.link.and_then(|link| self.links.get_mut(&link)) {
                (seen.life, seen.agreed) = (Life::Up, None);
            }
        }
        self.node.inner.mesh.urgent(Call::Input(Input::Resync { link: None }));
        true
    }
}

/// The next sighting; never, where nobody looks around.
async fn receive(sightings: &mut Option<mpsc::Receiver<Sighting>>) -> Sighting {
    if let Some(receiver) = sightings
        && let Some(sighting) = receiver.recv().await
    {
        return sighting;
    }
    std::future::pending().await
}
