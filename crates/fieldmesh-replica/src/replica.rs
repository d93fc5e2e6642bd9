//! The state of one participant and what each input does to it.

mod arrivals;
mod flights;
mod ledger;
mod rivals;
mod step;
mod waiting;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fieldmesh_batch::{Chain, Chains, Gap};
use fieldmesh_identity::{Item, Policy};
use fieldmesh_model::{BatchId, DeviceId, ItemId, Moment};
use fieldmesh_session::{
    CloseReason, Input as Step, LinkId, LinkStats, Loaded, Manner, Session, Set, Settings, Side,
};
use fieldmesh_trie::{Digest, Key, Prefix, Trie};

use crate::interface::{Config, Input, Output, ReplicaError};
use crate::limits::{EAGER_LINKS_MAX, INGEST_WINDOW_DEFAULT};
use flights::Flights;
use ledger::Ledger;
use rivals::Rivals;
use waiting::Waiting;

/// One participant: a device, or a relay for one tenant.
///
/// Feed it inputs with [`Self::handle`], drain [`Self::poll`] after each, and say
/// [`Input::Tick`] when [`Self::deadline`] has passed.
pub struct Replica {
    config: Config,
    ingest_window: u32,
    items: BTreeMap<ItemId, Item>,
    policy: Policy,
    policy_keys: Trie,
    keys: Trie,
    chains: Chains,
    /// Gaps already reported; None if the shell does not tell the beginnings of chains.
    gaps: Option<BTreeSet<(Chain, Gap)>>,
    links: BTreeMap<LinkId, Link>,
    ledger: Ledger,
    waiting: Waiting,
    flights: Flights,
    rivals: Rivals,
    outputs: VecDeque<Output>,
}

/// One connection and its conversation.
struct Link {
    peer: DeviceId,
    side: Side,
    /// The dialler's number of the conversation, once both know it.
    conversation: Option<u64>,
    session: Session,
}

impl Replica {
    /// A replica that holds durable `items` and the durable batches with these `keys`.
    pub fn new(config: Config, items: Vec<Item>, keys: impl IntoIterator<Item = Key>) -> Self {
        let items: BTreeMap<ItemId, Item> = items
            .into_iter()
            .filter(|item| item.tenant() == config.tenant)
            .map(|item| (item.id(), item))
            .collect();
        let mut policy_keys: Trie = items.values().map(item_key).collect();
        policy_keys.rehash();
        let mut keys: Trie = keys.into_iter().collect();
        keys.rehash();
        Self {
            policy: Policy::evaluate(config.tenant, items.values()),
            config,
            ingest_window: INGEST_WINDOW_DEFAULT,
            items,
            policy_keys,
            keys,
            chains: Chains::new(),
            gaps: None,
            links: BTreeMap::new(),
            ledger: Ledger::default(),
            waiting: Waiting::default(),
            flights: Flights::default(),
            rivals: Rivals::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Knows the chains of the durable batches, so that missing batches are noticed.
    #[must_use]
    pub fn with_chains(mut self, chains: Chains) -> Self {
        self.chains = chains;
        self.gaps = Some(BTreeSet::new());
        self
    }

    /// Takes so many bytes from one link before they are durable; at least what one large batch
    /// needs.
    #[must_use]
    pub const fn with_ingest_window(mut self, bytes: u32) -> Self {
        let min = fieldmesh_session::limits::INGEST_WINDOW_MIN;
        self.ingest_window = if bytes < min { min } else { bytes };
        self
    }

    /// Applies one input; afterwards drain [`Self::poll`].
    ///
    /// A peer's faults close its link and are no errors.
    ///
    /// # Errors
    ///
    /// An error is a mistake of the shell and changes nothing.
    pub fn handle(&mut self, now: Moment, input: Input) -> Result<(), ReplicaError> {
        match input {
            Input::LinkUp { link, peer, side, channel_key } => {
                self.link_up(now, link, peer, side, channel_key)?;
            }
            Input::LinkDown { link } => self.link_down(now, link),
            Input::Control { link, bytes } => {
                self.step(now, link, Step::Control(bytes));
                self.settle_rivals(now);
            }
            Input::Data { link, bytes } => self.step(now, link, Step::Data(bytes)),
            Input::DataWritten { link, bytes } => self.step(now, link, Step::DataWritten(bytes)),
            Input::BatchesStored { ids } => self.batches_stored(now, &ids),
            Input::ItemsStored { ids } => self.items_stored(now, &ids),
            Input::StoreFailed { batches, items } => self.store_failed(now, &batches, &items),
            Input::BatchesLoaded { link, batches } => {
                let loaded = batches
                    .iter()
                    .map(|batch| Loaded { id: *batch.id().as_bytes(), bytes: batch.encode() });
                self.step(now, link, Step::Loaded(loaded.collect()));
            }
            Input::LoadFailed { link, ids } => {
                let ids = ids.iter().map(|id| *id.as_bytes()).collect();
                self.step(now, link, Step::LoadFailed(ids));
            }
            Input::LocalBatch { key } => {
                self.keys.insert(key);
                self.keys.rehash();
                self.offer(now, Set::Data, &[key], &BTreeSet::new());
            }
            Input::LocalItem { item } => self.local_item(now, item)?,
            Input::Resync { link: Some(link) } => self.step(now, link, Step::Check),
            Input::Resync { link: None } => self.step_all(now, || Step::Check),
            Input::Tick => self.tick(now),
        }
        Ok(())
    }

    /// The next output; drain until none is left.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to say [`Input::Tick`] if nothing else happens before.
    pub fn deadline(&self) -> Option<Moment> {
        let sessions = self.links.values().filter_map(|link| link.session.deadline());
        sessions.chain(self.flights.deadline()).chain(self.rivals.deadline()).min()
    }

    /// Who this replica is.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// What the durable policy items amount to.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The durable policy items, in the order of their ids.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.items.values()
    }

    /// The root of the durable batches; equal for equal sets.
    pub fn root(&self) -> Digest {
        self.keys.digest(&Prefix::ALL)
    }

    /// The root of the durable policy items.
    pub fn policy_root(&self) -> Digest {
        self.policy_keys.digest(&Prefix::ALL)
    }

    /// The number of durable batches.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no batch.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether the batch with this key is durable here.
    pub fn contains(&self, key: &Key) -> bool {
        self.keys.contains(key)
    }

    /// The keys of the durable batches, in order.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter()
    }

    /// The chains of the batches that arrived, and of those told at the beginning.
    pub const fn chains(&self) -> &Chains {
        &self.chains
    }

    /// The links that are up, with their peers.
    pub fn links(&self) -> impl Iterator<Item = (LinkId, DeviceId)> {
        self.links.iter().map(|(id, link)| (*id, link.peer))
    }

    /// What the conversation over `link` cost and moved so far.
    pub fn stats(&self, link: LinkId) -> Option<LinkStats> {
        self.links.get(&link).map(|link| link.session.stats())
    }

    /// The number of batches that wait in memory for a policy under which they count.
    pub fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    fn link_up(
        &mut self,
        now: Moment,
        id: LinkId,
        peer: DeviceId,
        side: Side,
        channel_key: [u8; 32],
    ) -> Result<(), ReplicaError> {
        if self.links.contains_key(&id) {
            return Err(ReplicaError::LinkInUse { link: id });
        }
        let settings = Settings {
            side,
            channel_key,
            tenant: self.config.tenant.tag(),
            store: self.config.store,
            store_epoch: self.config.store_epoch,
            conversation: id.0,
            ingest_window: self.ingest_window,
        };
        let session = Session::new(settings, now);
        self.links.insert(id, Link { peer, side, conversation: None, session });
        self.bound_links(now, peer);
        self.step(now, id, Step::Start);
        Ok(())
    }

    fn link_down(&mut self, now: Moment, id: LinkId) {
        if self.links.remove(&id).is_some() {
            self.forget_link(now, id);
        }
    }

    /// Ends a conversation from this side.
    fn close(&mut self, now: Moment, id: LinkId, reason: CloseReason) {
        if self.links.remove(&id).is_none() {
            return;
        }
        if !matches!(reason, CloseReason::Bye) {
            let bytes = Session::farewell(&reason);
            self.outputs.push_back(Output::Control { link: id, bytes });
        }
        self.outputs.push_back(Output::Close { link: id, reason });
        self.forget_link(now, id);
    }

    fn forget_link(&mut self, now: Moment, id: LinkId) {
        self.rivals.forget(id);
        self.ledger.forget_link(id);
        let wants = self.flights.leave(now, id);
        self.want(now, wants);
    }

    fn local_item(&mut self, now: Moment, item: Item) -> Result<(), ReplicaError> {
        if item.tenant() != self.config.tenant {
            return Err(ReplicaError::ForeignItem { item: item.id() });
        }
        let key = item_key(&item);
        self.take_items(now, vec![item]);
        self.offer(now, Set::Policy, &[key], &BTreeSet::new());
        Ok(())
    }

    /// Passes new keys on to the peers that did not bring them.
    fn offer(&mut self, now: Moment, set: Set, keys: &[Key], origins: &BTreeSet<DeviceId>) {
        let takers: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, link)| link.session.takes_offers() && !origins.contains(&link.peer))
            .map(|(id, _)| *id)
            .collect();
        for (index, id) in takers.into_iter().enumerate() {
            let manner = if index < EAGER_LINKS_MAX { Manner::Push } else { Manner::Name };
            self.step(now, id, Step::Offer(set, keys.to_vec(), manner));
        }
    }

    fn tick(&mut self, now: Moment) {
        let is_due = |link: &Link| link.session.deadline().is_some_and(|deadline| deadline <= now);
        let due: Vec<LinkId> =
            self.links.iter().filter(|(_, link)| is_due(link)).map(|(id, _)| *id).collect();
        for id in due {
            self.step(now, id, Step::Wake);
        }
        let wants = self.flights.expire(now);
        self.want(now, wants);
        self.settle_rivals(now);
    }

    fn want(&mut self, now: Moment, wants: BTreeMap<LinkId, Vec<Key>>) {
        for (id, keys) in wants {
            self.step(now, id, Step::Want(keys));
        }
    }

    fn step_all(&mut self, now: Moment, step: impl Fn() -> Step) {
        let ids: Vec<LinkId> = self.links.keys().copied().collect();
        for id in ids {
            self.step(now, id, step());
        }
    }
}

/// The key of a policy item in its trie.
fn item_key(item: &Item) -> Key {
    Key::from_bytes(item.key_bytes())
}

/// The id of the batch with this key.
fn batch_id(key: &Key) -> BatchId {
    BatchId::from_bytes(key.id())
}
