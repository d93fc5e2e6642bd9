//! One pass of synchronisation with everyone reachable.
//!
//! The pass dials every address it knows, listens meanwhile, looks around by mDNS, and ends when
//! everybody it reached is in step, so that two devices that both sync find each other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fieldmesh_model::DeviceId;
use fieldmesh_net::address;
use fieldmesh_net::discovery::{Announcement, Discovery, Sighting};
use fieldmesh_net::mdns::{Interfaces, Mdns};
use fieldmesh_replica::{Event, Input, LinkId, LinkStats};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::api::{PeerSync, Progress, SyncOptions, SyncReport, SyncResult};
use crate::clock;
use crate::error::{Error, with_causes};
use crate::mesh::{Call, MeshEvent};

use super::Node;
use super::keeper::SEALED_WITHIN;

/// How long a pass looks around although everybody it knew of is in step.
const LOOK_AROUND: Duration = Duration::from_millis(1_500);
/// How long a pass that reached nobody goes on listening for others that sync.
const LISTEN_ALONE: Duration = Duration::from_secs(10);

/// Somebody a pass tries to get in step with.
struct Attempt {
    device: Option<DeviceId>,
    address: String,
    link: Option<LinkId>,
    /// Whether nobody asked for this peer: it was merely seen nearby.
    is_chance: bool,
    /// The numbers of the link when the pass began.
    before: LinkStats,
    state: State,
}

impl Attempt {
    fn is_failed(&self) -> bool {
        matches!(self.state, State::Failed(_))
    }
}

#[derive(Clone, PartialEq)]
enum State {
    Trying,
    InStep(LinkStats),
    Failed(String),
    /// Another attempt leads to the same device.
    Elsewhere,
}

/// A link that exists or existed during the pass.
struct Seen {
    device: DeviceId,
    /// The numbers of the link when the pass began.
    before: LinkStats,
    life: Life,
}

#[derive(Clone, PartialEq)]
enum Life {
    /// It was there when the pass began, and nobody has compared so far.
    Old,
    /// It is comparing.
    Up,
    InStep(LinkStats),
    Down(String),
}

/// What came of dialling.
type Dialled = (String, Result<(LinkId, DeviceId), String>);

struct Pass<'a> {
    node: &'a Node,
    attempts: Vec<Attempt>,
    /// Every link of which the pass has heard, whether an attempt knows already that it is its own
    /// or not: what happens to a link is often told before what came of dialling.
    links: BTreeMap<LinkId, Seen>,
    dials: JoinSet<Dialled>,
    /// Comparisons that are put off for a moment; they end with the pass.
    waits: JoinSet<()>,
    dialled: BTreeSet<String>,
    /// Whether anybody will do, or only those that were named.
    is_open: bool,
    may_look_around: bool,
}

impl Node {
    /// Seals what was recorded and comes into step with everyone reachable, or with those named.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] where there was nobody to try. A peer that failed is in the report.
    pub async fn sync(
        &self,
        options: SyncOptions,
        mut progress: impl FnMut(Progress) + Send + 'static,
    ) -> Result<SyncReport, Error> {
        let _one = self.inner.syncing.lock().await;
        self.blocking(|ledger| ledger.seal(None)).await?;
        let port = self.listen(None).await?.port();
        let mut events = self.events();
        let mut pass = Pass {
            node: self,
            attempts: Vec::new(),
            links: BTreeMap::new(),
            dials: JoinSet::new(),
            waits: JoinSet::new(),
            dialled: BTreeSet::new(),
            is_open: options.with.is_empty(),
            may_look_around: options.mdns && options.with.is_empty(),
        };
        pass.begin(&options).await?;
        let (mdns, sightings) = pass.look_around(port);
        pass.run(&options, &mut events, sightings, &mut progress).await;
        if let Some(mdns) = mdns {
            mdns.stop().await;
        }
        let report = pass.report().await?;
        pass.part();
        let inner = std::sync::Arc::clone(&self.inner);
        self.blocking(move |ledger| inner.contacts.save(ledger)).await?;
        match report {
            Some(report) => Ok(report),
            None => Err(Error::Unreachable {
                reason: "nobody to sync with: no address is known and nobody is nearby; give \
                         one with --with ADDRESS"
                    .into(),
            }),
        }
    }

    /// Resolves an address and dials until one of its meanings answers.
    pub(super) async fn dial(&self, text: &str) -> Result<(LinkId, DeviceId), String> {
        let resolved = address::resolve(text).await.map_err(|error| with_causes(&error))?;
        let mut failure = format!("{text:?} leads nowhere");
        for address in resolved {
            match self.dial_address(address, text).await {
                Ok(linked) => return Ok(linked),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    async fn dial_address(
        &self,
        address: SocketAddr,
        text: &str,
    ) -> Result<(LinkId, DeviceId), String> {
        let endpoint = match &*self.inner.listener.lock().await {
            Some(listener) => listener.endpoint.clone(),
            None => return Err("this device does not listen".into()),
        };
        let tenant = self.inner.ledger.identity.tenant;
        let connection =
            endpoint.dial(address, tenant).await.map_err(|error| with_causes(&error))?;
        let device = connection.peer();
        if device == self.inner.ledger.device() {
            return Err("this is the device itself".into());
        }
        let link = self.inner.mesh.attach(connection, text.to_owned()).await;
        link.map(|link| (link, device)).ok_or_else(|| "the node is shutting down".into())
    }
}

impl Pass<'_> {
    /// Lines up those who are connected already and dials those who are not.
    async fn begin(&mut self, options: &SyncOptions) -> Result<(), Error> {
        let node = self.node;
        let mut connected = BTreeMap::new();
        if let Some(snapshot) = node.inner.mesh.snapshot().await {
            for link in snapshot.links {
                let (device, before) = (link.device, link.stats);
                self.links.insert(link.id, Seen { device, before, life: Life::Old });
                connected.insert(link.device, (link.id, link.address, link.stats));
            }
        }
        let mut targets: BTreeMap<DeviceId, Vec<String>> = BTreeMap::new();
        let mut addresses = Vec::new();
        for name in &options.with {
            match node.find_device(name)? {
                Some(device) => targets.entry(device).or_default().extend(node.known(device)),
                None => addresses.push(name.clone()),
            }
        }
        if options.with.is_empty() {
            for contact in node.inner.contacts.all() {
                match contact.device {
                    Some(device) => targets.entry(device).or_default().push(contact.address),
                    None => addresses.push(contact.address),
                }
            }
            for device in connected.keys() {
                targets.entry(*device).or_default();
            }
        }
        for (device, known) in targets {
            match connected.remove(&device) {
                Some((link, address, stats)) => {
                    self.resume(device, link, address, stats);
                }
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
        });
        self.compare(link);
    }

    /// Compares once more on a link that was there when the pass began.
    fn compare(&mut self, link: LinkId) {
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

    /// Dials addresses of one device in turn.
    fn dial(&mut self, device: Option<DeviceId>, addresses: Vec<String>, is_chance: bool) {
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
        });
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

    fn look_around(&self, port: u16) -> (Option<Mdns>, Option<mpsc::Receiver<Sighting>>) {
        if !self.may_look_around {
            return (None, None);
        }
        let (mdns, sightings) = Mdns::start(&Interfaces::default(), clock::random());
        let tenants = vec![self.node.inner.ledger.identity.tenant];
        mdns.announce(&Announcement { port, tenants });
        (Some(mdns), Some(sightings))
    }

    async fn run(
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
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => break,
                },
                sighting = receive(&mut sightings) => self.sighted(sighting),
                () = sleep_until(wake) => if Instant::now() >= deadline { break },
            }
        }
        for attempt in self.attempts.iter_mut().filter(|attempt| attempt.state == State::Trying) {
            let text = format!("not in step within {} s", options.timeout.as_secs());
            attempt.state = State::Failed(text);
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
                seen.life = Life::Up;
            }
        }
        self.node.inner.mesh.urgent(Call::Input(Input::Resync { link: None }));
        true
    }

    fn dialled(&mut self, (address, result): Dialled) {
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
                self.node.inner.contacts.succeeded(seen.device, &attempt.address);
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

    fn happened(&mut self, event: MeshEvent, progress: &mut (dyn FnMut(Progress) + Send)) {
        match event {
            MeshEvent::Linked { link, device, address } => {
                let before = LinkStats::default();
                self.links.entry(link).or_insert(Seen { device, before, life: Life::Up });
                self.linked(link, device, address);
            }
            MeshEvent::Unlinked { link, reason, .. } => self.became(link, Life::Down(reason)),
            MeshEvent::Replica(Event::InStep { link, stats }) => {
                self.became(link, Life::InStep(stats));
                progress(self.progress());
            }
            MeshEvent::Replica(Event::Stalled { link, .. }) => {
                let text = "the peer holds something else and comparing does not help";
                self.fail(link, text);
            }
            MeshEvent::Replica(_) => {}
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

    fn sighted(&mut self, sighting: Sighting) {
        match sighting {
            Sighting::Found { addresses, .. } => {
                let addresses = addresses.into_iter().map(|address| address.to_string());
                self.dial(None, addresses.collect(), true);
            }
            Sighting::Lost { .. } => {}
            Sighting::Unavailable { reason } => tracing::info!(reason, "no discovery by mDNS"),
        }
    }

    fn progress(&self) -> Progress {
        let (mut received, mut sent) = (0, 0);
        for attempt in &self.attempts {
            if let State::InStep(stats) = attempt.state {
                received += stats.batches_received.saturating_sub(attempt.before.batches_received);
                sent += stats.batches_sent.saturating_sub(attempt.before.batches_sent);
            }
        }
        Progress::Sync { received, sent }
    }

    /// Ends the links that were made for this pass, unless the node keeps connections by itself.
    fn part(&self) {
        if self.node.inner.is_running.load(Ordering::Relaxed) {
            return;
        }
        for link in self.attempts.iter().filter_map(|attempt| attempt.link) {
            self.node.inner.mesh.urgent(Call::Detach(link));
        }
    }

    /// What the pass did; `None` if there was nobody to try.
    async fn report(&self) -> Result<Option<SyncReport>, Error> {
        let reached = self.attempts.iter().any(|attempt| matches!(attempt.state, State::InStep(_)));
        let peers: Vec<PeerSync> = self
            .attempts
            .iter()
            // Somebody who was merely seen nearby and does not answer is no failure of the pass.
            .filter(|attempt| !(reached && attempt.is_chance && attempt.is_failed()))
            .filter_map(|attempt| self.peer(attempt))
            .fold(Vec::new(), add_peer);
        if peers.is_empty() {
            return Ok(None);
        }
        let failed = peers.iter().filter(|peer| peer.error.is_some()).count();
        let result = match failed {
            0 => SyncResult::Ok,
            failed if failed == peers.len() => SyncResult::Failed,
            _ => SyncResult::Partial,
        };
        let conflicts = self
            .node
            .blocking(|ledger| {
                ledger.catch_up()?;
                ledger.open_conflicts()
            })
            .await?;
        Ok(Some(SyncReport { result, peers, conflicts }))
    }

    fn peer(&self, attempt: &Attempt) -> Option<PeerSync> {
        let (stats, error) = match &attempt.state {
            State::Elsewhere => return None,
            State::InStep(stats) => (*stats, None),
            State::Failed(error) => (LinkStats::default(), Some(error.clone())),
            State::Trying => (LinkStats::default(), Some("not finished".to_owned())),
        };
        let before = &attempt.before;
        let policy = self.node.inner.mesh.policy();
        let member = attempt.device.and_then(|device| policy.member(&device));
        let bytes_in = stats.control_bytes_in + stats.data_bytes_in;
        let bytes_out = stats.control_bytes_out + stats.data_bytes_out;
        Some(PeerSync {
            device: attempt.device,
            name: member.map(|member| member.name.clone()),
            address: attempt.address.clone(),
            received: stats.batches_received.saturating_sub(before.batches_received),
            sent: stats.batches_sent.saturating_sub(before.batches_sent),
            bytes_in: bytes_in.saturating_sub(before.control_bytes_in + before.data_bytes_in),
            bytes_out: bytes_out.saturating_sub(before.control_bytes_out + before.data_bytes_out),
            rounds: stats.rounds.saturating_sub(before.rounds),
            error,
        })
    }
}

/// Adds what passed over one link to what passed over others with the same device: while two
/// devices dial each other there are two for a moment.
fn add_peer(mut peers: Vec<PeerSync>, peer: PeerSync) -> Vec<PeerSync> {
    let same = |known: &&mut PeerSync| {
        known.device.is_some() && known.device == peer.device && known.error.is_none()
    };
    match peers.iter_mut().find(same).filter(|_| peer.error.is_none()) {
        Some(known) => {
            known.received += peer.received;
            known.sent += peer.sent;
            known.bytes_in += peer.bytes_in;
            known.bytes_out += peer.bytes_out;
            known.rounds += peer.rounds;
        }
        None => peers.push(peer),
    }
    peers
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
