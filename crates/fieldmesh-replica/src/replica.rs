//! The state of one participant and what each input does to it.

mod arrivals;
mod displaced;
mod doubts;
mod flights;
mod floods;
mod grants;
mod late;
mod ledger;
mod losses;
mod partials;
mod queries;
mod receipts;
mod rivals;
mod runs;
mod step;
mod waiting;
mod walks;
mod watch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fieldmesh_batch::{Chain, Gap};
use fieldmesh_identity::{Item, Policy};
use fieldmesh_model::{BatchId, DeviceId, Filter, ItemId, Moment};
use fieldmesh_session::limits::{VERSION_LANES, VERSION_MAX, VERSION_MIN};
use fieldmesh_session::{
    CloseReason, Greeting, Input as Step, LinkId, Manner, Session, Set, Settings, Settled, Side,
};
use fieldmesh_trie::{Key, Trie};

use crate::holdings::Holdings;
use crate::interface::{Config, Held, Input, Output, ReplicaError};
use crate::limits::{EAGER_LINKS_MAX, INGEST_WINDOW_DEFAULT};
use crate::proofs::Proofs;
use crate::signing::Signing;
use displaced::Displaced;
use flights::Flights;
use floods::Floods;
use grants::Grants;
use ledger::Ledger;
use partials::Partials;
use receipts::Questions;
use rivals::Rivals;
use runs::Runs;
use waiting::Waiting;
use walks::Walks;
use watch::Watch;

/// The oldest version of the protocol that knows runs, receipts and parts of the sets.
const VERSION_RUNS: u16 = VERSION_LANES;

/// One participant: a device, or a relay for one tenant.
///
/// Feed it inputs with [`Self::handle`], drain [`Self::poll`] after each, and say
/// [`Input::Tick`] when [`Self::deadline`] has passed.
pub struct Replica {
    config: Config,
    ingest_window: u32,
    /// The oldest and the newest version of the protocol that it speaks.
    versions: (u16, u16),
    /// What this side wants to hold of what others have.
    filter: Filter,
    items: BTreeMap<ItemId, Item>,
    policy: Policy,
    policy_keys: Trie,
    displaced: Displaced,
    floods: Floods,
    holdings: Holdings,
    /// Batches on the disk that nothing shows to be authentic.
    unheld: BTreeSet<BatchId>,
    /// Where chains of this device ended that it let go.
    let_go: BTreeMap<Chain, u64>,
    /// Gaps already reported.
    gaps: BTreeSet<(Chain, Gap)>,
    proofs: Proofs,
    signing: Signing,
    /// Questions for receipts that wait until a new epoch of the store is durable.
    raising: Option<BTreeMap<LinkId, Vec<Key>>>,
    watch: Watch,
    grants: Grants,
    walks: Walks,
    links: BTreeMap<LinkId, Link>,
    ledger: Ledger,
    waiting: Waiting,
    runs: Runs,
    partials: Partials,
    flights: Flights,
    rivals: Rivals,
    /// Verdicts on frames of other links than the one that takes a step.
    later: Vec<(LinkId, Settled)>,
    outputs: VecDeque<Output>,
}

/// One connection and its conversation.
struct Link {
    peer: DeviceId,
    side: Side,
    /// What this side wants over it.
    filter: Filter,
    /// The dialler's number of the conversation, once both know it.
    conversation: Option<u64>,
    /// How the peer introduced itself.
    greeting: Option<Greeting>,
    session: Session,
    receipts: Questions,
}

impl Link {
    /// Whether the peer knows runs, receipts and parts of the sets.
    fn takes_runs(&self) -> bool {
        self.greeting.as_ref().is_some_and(|greeting| greeting.version >= VERSION_RUNS)
    }

    /// Whether the peer may be asked for receipts: both sides have introduced themselves.
    fn takes_questions(&self) -> bool {
        self.takes_runs() && self.session.is_introduced()
    }
}

impl Replica {
    /// A replica that holds durable `items`, in the order in which they came, and `batches`.
    pub fn new(config: Config, items: Vec<Item>, batches: impl IntoIterator<Item = Held>) -> Self {
        let mut displaced = Displaced::default();
        items.iter().for_each(|item| displaced.arrived(item.id()));
        let policy = Policy::evaluate(config.tenant, &items);
        let (items, rest): (Vec<Item>, Vec<Item>) =
            items.into_iter().partition(|item| policy.holds(&item.id()));
        displaced.keep(&policy, rest);
        let items: BTreeMap<ItemId, Item> =
            items.into_iter().map(|item| (item.id(), item)).collect();
        let mut policy_keys: Trie = items.values().map(item_key).collect();
        policy_keys.rehash();
        let (holdings, unheld) = Holdings::open(&policy, batches);
        Self {
            config,
            ingest_window: INGEST_WINDOW_DEFAULT,
            versions: (VERSION_MIN, VERSION_MAX),
            filter: Filter::default(),
            items,
            policy,
            policy_keys,
            displaced,
            floods: Floods::default(),
            holdings,
            unheld: unheld.into_iter().collect(),
            let_go: BTreeMap::new(),
            gaps: BTreeSet::new(),
            proofs: Proofs::default(),
            signing: Signing::default(),
            raising: None,
            watch: Watch::default(),
            grants: Grants::default(),
            walks: Walks::default(),
            links: BTreeMap::new(),
            ledger: Ledger::default(),
            waiting: Waiting::default(),
            runs: Runs::default(),
            partials: Partials::default(),
            flights: Flights::default(),
            rivals: Rivals::default(),
            later: Vec::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Takes from peers, and gives them, only what `filter` admits; to be said before the first
    /// link.
    #[must_use]
    pub fn with_filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// Knows up to where chains of this device went that it holds no longer: that a peer has their
    /// batches is no surprise.
    #[must_use]
    pub fn with_let_go(mut self, chains: impl IntoIterator<Item = (Chain, u64)>) -> Self {
        self.let_go.extend(chains);
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

    /// Speaks only versions of the protocol from the first to the second number, as an older
    /// program does; to be said before the first link.
    #[must_use]
    pub const fn with_versions(mut self, oldest: u16, newest: u16) -> Self {
        self.versions = (oldest, newest);
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
            Input::LinkUp { link, peer, side, channel_key, filter } => {
                if self.links.contains_key(&link) {
                    return Err(ReplicaError::LinkInUse { link });
                }
                let filter = self.filter_of(filter.as_ref());
                self.link_up(now, (link, peer), side, channel_key, filter);
            }
            Input::LinkDown { link } => self.link_down(now, link),
            Input::Control { link, bytes } => {
                self.step(now, link, Step::Control(bytes));
                self.settle_rivals(now);
            }
            Input::Data { link, lane, bytes } => {
                self.runs.moved(now, link);
                self.step(now, link, Step::Data(lane, bytes));
            }
            Input::ControlWritten { link, bytes } => {
                self.step(now, link, Step::ControlWritten(bytes));
            }
            Input::DataWritten { link, lane, bytes } => {
                self.step(now, link, Step::DataWritten(lane, bytes));
            }
            Input::BatchesStored { ids } => self.batches_stored(now, &ids),
            Input::ItemsStored { ids } => self.items_stored(now, &ids),
            Input::StoreFailed { batches, items, why } => {
                self.store_failed(now, (&batches, &items), why);
            }
            Input::BatchesLoaded { link, batches } => self.batches_loaded(now, link, batches),
            Input::LoadFailed { link, ids } => {
                let ids = ids.iter().map(|id| *id.as_bytes()).collect();
                self.step(now, link, Step::LoadFailed(ids));
            }
            Input::BatchesLost { ids } => self.batches_lost(now, &ids),
            Input::Wanted { filter } => self.want_only(now, filter),
            Input::LocalBatch { held } => self.local_batch(now, &held),
            Input::LocalItem { item } => self.local_item(now, item)?,
            Input::Signed { link, bytes } => self.signed(now, link, bytes),
            Input::NotSigned { link } => self.not_signed(link),
            Input::EpochRaised { epoch } => self.epoch_raised(now, epoch),
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

    fn link_up(
        &mut self,
        now: Moment,
        (id, peer): (LinkId, DeviceId),
        side: Side,
        channel_key: [u8; 32],
        filter: Filter,
    ) {
        let settings = Settings {
            side,
            channel_key,
            tenant: self.config.tenant.tag(),
            store: self.config.store,
            store_epoch: self.config.store_epoch,
            conversation: self.rivals.number(now),
            ingest_window: self.ingest_window,
            filter: filter.clone(),
            versions: self.versions,
            partials: self.partials.take(&peer),
        };
        let session = Session::new(settings, now);
        let end = self.holdings.index.end();
        let receipts = Questions::new(end, self.proofs.latest_of(&peer));
        let (conversation, greeting) = (None, None);
        let link = Link { peer, side, filter, conversation, greeting, session, receipts };
        self.links.insert(id, link);
        self.bound_links(now, peer);
        match self.grant_for_peer(now, id) {
            Ok(_) => self.step(now, id, Step::Start),
            Err(reason) => self.close(now, id, reason),
        }
    }

    fn link_down(&mut self, now: Moment, id: LinkId) {
        if let Some(link) = self.links.remove(&id) {
            self.forget_link(now, id, link);
        }
    }

    /// Wants to hold something else: every conversation begins anew.
    fn want_only(&mut self, now: Moment, filter: Filter) {
        self.filter = filter;
        let ids: Vec<LinkId> = self.links.keys().copied().collect();
        for id in ids {
            self.close(now, id, CloseReason::Bye);
        }
    }

    /// Ends a conversation from this side.
    fn close(&mut self, now: Moment, id: LinkId, reason: CloseReason) {
        let Some(link) = self.links.remove(&id) else { return };
        if !matches!(reason, CloseReason::Bye) {
            let bytes = link.session.farewell(&reason);
            self.outputs.push_back(Output::Control { link: id, bytes });
        }
        self.outputs.push_back(Output::Close { link: id, reason });
        self.forget_link(now, id, link);
    }

    fn forget_link(&mut self, now: Moment, id: LinkId, mut link: Link) {
        self.partials.keep(link.peer, link.session.take_partials());
        self.grants.forget(id);
        self.runs.forget_link(id);
        self.later.retain(|(it, _)| *it != id);
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
        if self.policy_keys.contains(&key) {
            self.offer(now, Set::Policy, &[key], &BTreeSet::new());
        }
        Ok(())
    }

    /// Passes new keys on to the peers that did not bring them.
    fn offer(&mut self, now: Moment, set: Set, keys: &[Key], origins: &BTreeSet<DeviceId>) {
        let mut eager = 0;
        for id in self.takers(origins) {
            let keys = self.shown(id, set, keys);
            if keys.is_empty() {
                continue;
            }
            eager += 1;
            let manner = if eager <= EAGER_LINKS_MAX { Manner::Push } else { Manner::Name };
            self.step(now, id, Step::Offer(set, keys, manner));
            if set == Set::Data {
                self.ask_soon(now, id);
            }
        }
    }

    /// Tells the peers that did not bring them the names of batches that count again.
    fn name(&mut self, now: Moment, keys: &[Key], origins: &BTreeSet<DeviceId>) {
        for id in self.takers(origins) {
            let keys = self.shown(id, Set::Data, keys);
            if !keys.is_empty() {
                self.step(now, id, Step::Offer(Set::Data, keys, Manner::Name));
                self.ask_soon(now, id);
            }
        }
    }

    /// The links over which something new reaches its peer, except to `origins`.
    fn takers(&self, origins: &BTreeSet<DeviceId>) -> Vec<LinkId> {
        let takes = |link: &Link| link.session.takes_offers() && !origins.contains(&link.peer);
        self.links.iter().filter(|(_, link)| takes(link)).map(|(id, _)| *id).collect()
    }

    /// Those of `keys` that the peer at the other end of the link may know of.
    fn shown(&self, id: LinkId, set: Set, keys: &[Key]) -> Vec<Key> {
        let is_shown = |key: &&Key| match set {
            Set::Policy => true,
            Set::Data | Set::Quarantine => {
                let spot = self.holdings.index.find(&batch_id(key));
                spot.is_some_and(|spot| self.grants.shows(id, &self.holdings, spot))
            }
        };
        keys.iter().filter(is_shown).copied().collect()
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
        self.expire_runs(now);
        if self.floods.is_over(now) {
            self.rejudge(now);
        }
        self.ask_if_due(now);
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
