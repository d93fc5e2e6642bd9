//! Putting a node together from what its home holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, RwLock};

use fieldmesh_identity::{Item, Policy};
use fieldmesh_model::{BatchId, ItemId};
use fieldmesh_replica::{Config, Replica};
use fieldmesh_store::{
    Direction, KeyRange, OpenError, OpenReport, Options, Place, Store, Tree, ViewCondition,
};
use fieldmesh_trie::Key;
use tokio::task::JoinSet;

use crate::entry::Entry;
use crate::error::Error;
use crate::home::{Home, Identity};
use crate::ledger::{Ledger, Parts, read_item};
use crate::mesh::Mesh;
use crate::places::Places;
use crate::projector::{Projector, ProjectorThread, Work};
use crate::rows;

use super::connectivity::Watch;
use super::contacts::Contacts;
use super::{Builder, Inner, Node};

/// Bytes that a relay takes from one peer before they are durable; a device takes less.
const RELAY_INGEST_WINDOW: u32 = 4 * 1024 * 1024;

/// Everything but the tasks.
struct Assembled {
    home: Home,
    store: Arc<Store>,
    replica: Replica,
    places: Arc<Places>,
    policy: Arc<RwLock<Arc<Policy>>>,
    projector: Projector,
    thread: ProjectorThread,
    ledger: Arc<Ledger>,
}

/// Opens the node of a home that exists.
pub(super) async fn open(builder: Builder) -> Result<Node, Error> {
    let Builder { home, unlock, forward_only, listener } = builder;
    let assembled = tokio::task::spawn_blocking(move || {
        let home = Home::open(&home, &unlock)?;
        let identity = home.read_identity()?;
        assemble(home, identity, forward_only)
    })
    .await
    .map_err(|_| Error::ShuttingDown)??;
    start(assembled, listener).await
}

/// Opens the store of a home, or makes it.
pub(super) fn open_store(home: &Home) -> Result<Store, Error> {
    let folder = home.store_folder();
    Store::open(&folder, &home.key, &Options::default()).map_err(|error| match error {
        OpenError::Locked { holder, .. } => {
            Error::InUse { folder: home.folder.clone(), pid: holder }
        }
        error => Error::store(&error),
    })
}

async fn start(assembled: Assembled, listener: Option<super::Listener>) -> Result<Node, Error> {
    let Assembled { home, store, replica, places, policy, projector, thread, ledger } = assembled;
    let mut tasks = JoinSet::new();
    let mesh = Mesh::start(replica, store, places, projector, policy, &mut tasks);
    ledger.set_mesh(mesh.clone());
    let contacts = Contacts::open(&ledger)?;
    let watch = Arc::new(Watch::open(&home, contacts.last_sync()));
    let inner = Inner {
        home,
        ledger,
        mesh,
        contacts,
        watch,
        owns_listener: listener.is_none(),
        listener: tokio::sync::Mutex::new(None),
        is_running: AtomicBool::new(false),
        syncing: tokio::sync::Mutex::new(()),
        tasks: Mutex::new(tasks),
        thread: Mutex::new(Some(thread)),
    };
    let node = Node { inner: Arc::new(inner) };
    node.watch();
    if let Some(listener) = listener {
        node.share(listener).await?;
    }
    Ok(node)
}

fn assemble(home: Home, identity: Identity, forward_only: bool) -> Result<Assembled, Error> {
    let store = Arc::new(open_store(&home)?);
    let mut damage = describe(store.report(), store.end());
    for line in &damage {
        tracing::warn!(line, "damage found at open");
    }
    let items = read_items(&store, &mut damage)?;
    let policy = Arc::new(Policy::evaluate(identity.tenant, items.values()));
    let policy = Arc::new(RwLock::new(policy));
    let (projector, thread) = Projector::start(Work {
        store: Arc::clone(&store),
        policy: Arc::clone(&policy),
        me: identity.keys().device(),
        forward_only,
    })?;
    if let Some(end) = store.end() {
        projector.wait(end)?;
    }
    let (keys, places) = read_leaves(&store)?;
    let config = Config {
        tenant: identity.tenant,
        device: identity.keys().device(),
        store: store.id(),
        store_epoch: 0,
    };
    let mut replica = Replica::new(config, items.into_values().collect(), keys);
    if forward_only {
        replica = replica.with_ingest_window(RELAY_INGEST_WINDOW);
    }
    let places = Arc::new(places);
    let parts = Parts {
        store: Arc::clone(&store),
        projector: projector.clone(),
        places: Arc::clone(&places),
        identity,
        policy: Arc::clone(&policy),
    };
    let new_damage = store.report().past_is_uncertain().then(|| damage_mark(&damage));
    let ledger = Arc::new(Ledger::open(parts, new_damage)?);
    if let Err(error) = ledger.note_damage(&damage) {
        tracing::warn!(%error, "found damage could not be noted");
    }
    Ok(Assembled { home, store, replica, places, policy, projector, thread, ledger })
}

/// Every policy item of the log: those that the view knows, and those behind its position.
///
/// One that cannot be read is added to `damage` and left out, so that peers bring it again.
fn read_items(store: &Store, damage: &mut Vec<String>) -> Result<BTreeMap<ItemId, Item>, Error> {
    let mut items = BTreeMap::new();
    for row in rows::scan(store.view(), Tree::Item, KeyRange::all(), Direction::Ascending) {
        let place: Place = rows::decode(&row?.1)?;
        match read_item(store, place) {
            Ok(item) => {
                items.insert(item.id(), item);
            }
            Err(error) => damage.push(format!("a policy item is lost: {error}")),
        }
    }
    let applied = store.view().applied().map_err(|error| Error::store(&error))?;
    let replayed = store.replay(applied, |_, entry| {
        if let Ok(Entry::Item(bytes)) = Entry::decode(&entry)
            && let Ok(item) = Item::decode(&bytes)
        {
            items.insert(item.id(), item);
        }
        std::ops::ControlFlow::Continue(())
    });
    replayed.map_err(|error| Error::store(&error))?;
    Ok(items)
}

/// The key and the place of every batch.
///
/// Batches that are known to be damaged are left out, so that peers bring them again.
fn read_leaves(store: &Store) -> Result<(Vec<Key>, Places), Error> {
    let places = Places::default();
    let lost: BTreeSet<Place> = store.report().bad_frames.iter().map(|bad| bad.place).collect();
    let mut keys = Vec::new();
    for row in rows::scan(store.view(), Tree::Leaf, KeyRange::all(), Direction::Ascending) {
        let (key, value) = row?;
        let Ok(key) = <[u8; 46]>::try_from(key) else { continue };
        let key = Key::from_bytes(key);
        let place = rows::decode::<Place>(&value)?;
        if !lost.contains(&place) && !store.report().missing_segments.contains(&place.segment) {
            places.insert_all([(BatchId::from_bytes(key.id()), place)]);
            keys.push(key);
        }
    }
    Ok((keys, places))
}

/// What tells one state of damage from another.
fn damage_mark(damage: &[String]) -> [u8; 16] {
    let hash = blake3::hash(damage.join("\n").as_bytes());
    *hash.as_bytes().first_chunk().expect("32 bytes have a first sixteen")
}

/// What an open found, in words.
fn describe(report: &OpenReport, end: Option<Place>) -> Vec<String> {
    let mut lines = Vec::new();
    for bad in &report.bad_frames {
        lines.push(format!(
            "a frame of the log at segment {}, byte {} is damaged ({:?}, {} bytes)",
            bad.place.segment, bad.place.offset, bad.damage, bad.length
        ));
    }
    if let Some(tail) = &report.torn_tail {
        let kept = tail.kept_as.as_deref().map_or_else(
            || "where it is".to_owned(),
            |file| format!("as {file} in the store's folder"),
        );
        lines.push(format!(
            "the last {} bytes of the log (segment {}, byte {}) could not be read and are kept {kept}",
            tail.length, tail.place.segment, tail.place.offset
        ));
    }
    for segment in &report.missing_segments {
        lines.push(format!("segment {segment} of the log is missing"));
    }
    if report.view == ViewCondition::AheadOfLog {
        let end = end.map_or_else(
            || "its beginning".to_owned(),
            |place| format!("segment {}, byte {}", place.segment, place.offset),
        );
        lines.push(format!("the log ends at {end}, before what the view had seen of it"));
    }
    lines
}
