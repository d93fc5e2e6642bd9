//! Putting a node together from what its home holds.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, RwLock};

use fieldmesh_identity::{Item, Policy};
use fieldmesh_model::{Filter, ItemId, Role, TenantId};
use fieldmesh_replica::{Config, Replica};
use fieldmesh_store::{BadFrame, Damage, OpenError, Options, Place, Store};
use tokio::task::JoinSet;

use crate::backup::restore::after;
use crate::clock;
use crate::entry::{Entry, Fact};
use crate::error::{Error, with_causes};
use crate::harm::{self, Harms};
use crate::home::{Home, Identity};
use crate::ledger::{Ledger, Parts, Past, Seen, wanted};
use crate::making::LAG_MAX;
use crate::mesh::{self, Mesh};
use crate::places::Places;
use crate::projector::{Projector, ProjectorThread, STEP_CHANGES_MAX, Work};

use super::builder::Kind;
use super::connectivity::Watch;
use super::contacts::Contacts;
use super::contents::{self, Contents};
use super::rekey::Rekey;
use super::{Builder, Inner, Node};

/// Bytes that a relay takes from one peer before they are durable; a device takes less.
const RELAY_INGEST_WINDOW: u32 = 4 * 1024 * 1024;

/// What a tenant of a relay gives up on a full disk: it has no documents to write, and there may be
/// thousands of them.
const RELAY_RESERVE_BYTES: u64 = 512 * 1024;

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
    harms: Arc<Harms>,
}

/// Opens the node of a home that exists.
pub(super) async fn open(builder: Builder) -> Result<Node, Error> {
    let Builder { home, unlock, kind, listener, only } = builder;
    let assembled = tokio::task::spawn_blocking(move || {
        let home = Home::open(&home, &unlock)?;
        let identity = home.read_identity()?;
        assemble(home, identity, kind, only)
    })
    .await
    .map_err(|_| Error::ShuttingDown)??;
    start(assembled, listener).await
}

/// Opens the store of a home, or makes it.
pub(crate) fn open_store(home: &Home, options: &Options) -> Result<Store, Error> {
    let folder = home.store_folder();
    Store::open(&folder, &home.keys(), options).map_err(|error| match error {
        OpenError::Locked { holder, .. } => {
            Error::InUse { folder: home.folder.clone(), pid: holder }
        }
        OpenError::NewerVersion { part, version, reads } => {
            Error::Newer { what: folder.join(part).display().to_string(), version, reads }
        }
        error if lacks_space(&error) => Error::Full {
            reason: format!(
                "the disk of {} is full, and to open what is recorded there takes a little of it; \
                 nothing of it is lost: free some space and try again",
                folder.display()
            ),
        },
        error => Error::store(&error),
    })
}

/// Whether an error comes of a disk that is full.
fn lacks_space(error: &(dyn std::error::Error + 'static)) -> bool {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut causes = causes.filter_map(|error| error.downcast_ref::<io::Error>());
    causes.any(|error| {
        matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    })
}

async fn start(assembled: Assembled, listener: Option<super::Listener>) -> Result<Node, Error> {
    let Assembled { home, store, replica, places, policy, projector, thread, ledger, harms } =
        assembled;
    let mut tasks = JoinSet::new();
    let keys = ledger.identity.keys();
    let (home, rekey) = (Arc::new(home), Rekey::default());
    rekey.resume(&home, &store)?;
    let parts = mesh::Parts { replica, keys, store, places, projector, policy, harms };
    let mesh = Mesh::start(parts, &mut tasks);
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
        dials_signed: AtomicBool::new(true),
        syncing: tokio::sync::Mutex::new(()),
        tasks: Mutex::new(tasks),
        thread: Mutex::new(Some(thread)),
        rekey,
        is_erasing: AtomicBool::new(false),
        copies_noted: AtomicU64::new(0),
        erased: tokio::sync::watch::Sender::new(None),
    };
    let node = Node { inner: Arc::new(inner) };
    node.watch();
    node.mend();
    node.scrub();
    if let Some(listener) = listener {
        node.share(listener).await?;
    }
    Ok(node)
}

fn assemble(home: Home, identity: Identity, kind: Kind, only: Filter) -> Result<Assembled, Error> {
    let mut options = Options::default();
    if kind != Kind::Device {
        options.reserve_bytes = RELAY_RESERVE_BYTES;
    }
    let store = Arc::new(open_store(&home, &options)?);
    home.mend();
    let harms = Arc::new(Harms::default());
    let found = Arc::clone(&harms);
    store.on_damage(move |places| found.note(places));
    let mut damage = store.report().damage.clone();
    for line in &damage {
        tracing::warn!(line, "damage found at open");
    }
    let seen = Seen::of(&store)?;
    let mut contents = Contents::read(&store, &harms, &mut damage)?;
    let (policy, is_brought_back) = policy_of(&store, &home, &identity, &mut contents, &damage)?;
    let Contents { items, held, lost, places, recovered, unreadable, .. } = contents;
    let places = Arc::new(places);
    let forward_only = kind != Kind::Device && !is_gateway(&policy, &identity);
    let policy = Arc::new(RwLock::new(Arc::new(policy)));
    let (projector, thread) = Projector::start(Work {
        store: Arc::clone(&store),
        places: Arc::clone(&places),
        policy: Arc::clone(&policy),
        me: identity.keys().device(),
        forward_only,
        // Apps of others cannot be told that an answer lacks something.
        lag_max: if kind == Kind::Device { LAG_MAX } else { u64::MAX },
        step_changes: STEP_CHANGES_MAX,
    })?;
    wait_for_view(&store, &projector, kind)?;
    let told = told(&store, seen, kind, &damage)?;
    let has_forgotten = is_brought_back || has_forgotten(&store, &unreadable)?;
    let past = Past::read(&store, (&damage, told), has_forgotten)?;
    let config = Config {
        tenant: identity.tenant,
        device: identity.keys().device(),
        store: store.id(),
        store_epoch: past.restores,
    };
    let since = contents::since(store.view(), &held)?;
    let let_go = contents::let_go(store.view(), config.device)?;
    let mut replica = Replica::new(config, items.into_values().collect(), held.into_values())
        .with_lost(lost)
        .with_signed(contents::signed_until(store.view())?)
        .with_doubts(contents::doubts(store.view())?)
        .with_receipts(contents::receipts(store.view())?)
        .with_let_go(let_go);
    let filter = wanted(&only, since, replica.policy());
    replica = replica.with_filter(filter);
    if kind != Kind::Device {
        replica = replica.with_ingest_window(RELAY_INGEST_WINDOW);
    }
    reconcile(&store, &projector, &replica)?;
    let parts = Parts {
        store: Arc::clone(&store),
        projector: projector.clone(),
        places: Arc::clone(&places),
        identity,
        policy: Arc::clone(&policy),
        only,
        since,
        harms: Arc::clone(&harms),
        seen,
    };
    let ledger = Arc::new(Ledger::open(parts, past.epoch)?);
    conclude(&ledger, &past, &recovered);
    note_mended(&ledger, &home);
    ledger.try_sweep();
    Ok(Assembled { home, store, replica, places, policy, projector, thread, ledger, harms })
}

/// Whether how often others were told to forget what this store had signed may lie in what is lost:
/// the view was made of a log that lacks something, by this open or by one that ended before it
/// drew the consequences.
fn has_forgotten(store: &Store, unreadable: &[BadFrame]) -> Result<bool, Error> {
    if !store.is_made_anew() {
        return Ok(false);
    }
    let report = store.report();
    let is_lacking =
        !unreadable.is_empty() || report.past_is_uncertain() || report.lost_count() > 0;
    Ok(is_lacking || !harm::passed_over(store.view())?.is_empty())
}

/// What of `damage`, which an open has found, stays on the list until somebody has read it.
fn told<'d>(
    store: &Store,
    seen: Seen,
    kind: Kind,
    damage: &'d [String],
) -> Result<&'d [String], Error> {
    Ok(match kind {
        // Each of the entries is told by itself, and is no matter any more once it is here again.
        Kind::Device if seen.knows_all_lost(store)? => &damage[store.report().damage.len()..],
        // Nobody reads such a list on a relay.
        Kind::Device | Kind::Relay | Kind::Gateway => damage,
    })
}

/// Waits until the view knows of everything that the log has; a device does not wait for its
/// records.
fn wait_for_view(store: &Store, projector: &Projector, kind: Kind) -> Result<(), Error> {
    // A device may have been one of another kind when its view was made.
    let wait = if kind == Kind::Device { Projector::wait_noted } else { Projector::wait };
    store.end().map_or(Ok(()), |end| wait(projector, end))
}

/// Draws what follows from found damage: what is lacking is on the disk before the store forgets
/// that it has lost something.
fn conclude(ledger: &Ledger, past: &Past, recovered: &[Place]) {
    let (store, projector) = (&ledger.store, &ledger.projector);
    // What some of it was is known once all records are there.
    let is_whole = projector.position().making.is_none();
    let noted = ledger.note_recovered(recovered);
    match noted.and_then(|()| ledger.mend()) {
        Ok(()) if is_whole => past.settle(store, projector),
        Ok(()) => past.note(store, projector),
        Err(error) => tracing::warn!(%error, "what is damaged could not be noted"),
    }
}

/// Keeps in mind which files of the home were mended: whoever opened it may not be who asks.
fn note_mended(ledger: &Ledger, home: &Home) {
    let mended = home.mended().into_iter().filter(|mended| mended.failed.is_none());
    let found: Vec<String> = mended.map(|mended| mended.what).collect();
    if let Err(error) = ledger.note_mended(&found) {
        tracing::warn!(%error, "that files were mended could not be noted");
    }
}

/// What people send to a gateway changes records, so it has them open.
fn is_gateway(policy: &Policy, identity: &Identity) -> bool {
    let me = policy.member(&identity.keys().device());
    me.is_some_and(|member| member.role == Role::Gateway)
}

/// The policy by the items of the store, and by those that are kept beside it where its log is
/// damaged; and whether it is by any of those.
fn policy_of(
    store: &Store,
    home: &Home,
    identity: &Identity,
    contents: &mut Contents,
    damage: &[String],
) -> Result<(Policy, bool), Error> {
    let Contents { items, unreadable, .. } = contents;
    // By these nothing is missing.
    unreadable.retain(|bad| !matches!(bad.damage, Damage::Stray | Damage::Index));
    let is_damaged = !unreadable.is_empty() || store.report().past_is_uncertain();
    let is_brought_back = is_damaged && bring_back(store, home, identity.tenant, items);
    let policy = Policy::evaluate(identity.tenant, items.values());
    if policy.authority().is_none() {
        return Err(not_begun(home, unreadable, damage));
    }
    // On a full disk the home opens all the same; the next open tries again.
    let kept = home.keep_founding(&policy, identity.keys().device(), items.values());
    if let Err(error) = kept {
        tracing::warn!(error = with_causes(&error), "the second copy of the policy is not written");
    }
    Ok((policy, is_brought_back))
}

/// Writes once more what a damaged log has lost of the policy and the home has a second copy of;
/// says whether there was anything.
///
/// That what was signed before counts no more goes first: a process that ends in between opens as
/// this one did, and once the items are there nothing tells what else was lost with them.
///
/// On a full disk the home opens all the same; the next open tries again.
fn bring_back(
    store: &Store,
    home: &Home,
    tenant: TenantId,
    items: &mut BTreeMap<Place, Item>,
) -> bool {
    let mut lacking = home.founding();
    let here: BTreeSet<ItemId> = items.values().map(Item::id).collect();
    lacking.retain(|item| !here.contains(&item.id()));
    let policy = Policy::evaluate(tenant, items.values().chain(&lacking));
    lacking.retain(|item| policy.holds(&item.id()));
    if lacking.is_empty() {
        return false;
    }
    tracing::warn!(items = lacking.len(), "policy items that the log has lost are written again");
    let void = [Fact::Epoch(u64::from_be_bytes(clock::random())), Fact::Restores(after(0))];
    let void = void.map(|fact| Entry::Fact(fact).encode()).to_vec();
    let items_again = lacking.iter().map(|item| Entry::Item(item.encode().to_vec()).encode());
    let written = store.append(void).and_then(|_| store.append(items_again.collect()));
    let places = written.unwrap_or_else(|error| {
        tracing::warn!(%error, "policy items could not be written again");
        // They count until this home is closed, and lie nowhere.
        (0..lacking.len() as u64).rev().map(|behind| Place(u64::MAX - behind)).collect()
    });
    items.extend(places.into_iter().zip(lacking));
    true
}

/// A home's store begins with its tenant; one without has lost that, is another one, or none.
fn not_begun(home: &Home, unreadable: &[BadFrame], damage: &[String]) -> Error {
    let folder = home.store_folder();
    let what = match (unreadable, damage) {
        ([bad, ..], _) => format!(
            "{} is damaged at byte {}, and what its tenant began with can be read nowhere else",
            folder.join(bad.file()).display(),
            bad.offset
        ),
        ([], [line, ..]) => format!(
            "{} is damaged: {line}; what its tenant began with can be read nowhere else",
            folder.display()
        ),
        ([], []) => format!(
            "{} is missing, empty or of another home: it lacks what its tenant began with",
            folder.display()
        ),
    };
    Error::Store {
        reason: format!(
            "{what}; put it back from a copy, or make a new home of a backup with `restore`, or \
             join again with a new invitation, which brings back whatever this device had handed \
             over"
        ),
    }
}

/// Has the view count those batches that the replica counts.
///
/// On a full disk the home opens all the same; the next open tries again.
fn reconcile(store: &Store, projector: &Projector, replica: &Replica) -> Result<(), Error> {
    let facts = contents::differences(replica, store.view())?;
    if facts.is_empty() {
        return Ok(());
    }
    let entries = facts.into_iter().map(|fact| Entry::Fact(fact).encode()).collect();
    match store.append(entries) {
        Ok(places) => places.last().map_or(Ok(()), |place| projector.wait_noted(*place)),
        Err(error) => {
            tracing::warn!(%error, "which batches count could not be written");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_a_home_that_is_damaged() {
        let open = |kind: io::ErrorKind| OpenError::Io { doing: "reading", source: kind.into() };
        assert!(lacks_space(&open(io::ErrorKind::StorageFull)));
        assert!(lacks_space(&open(io::ErrorKind::QuotaExceeded)));
        assert!(!lacks_space(&open(io::ErrorKind::PermissionDenied)));
        // Also where it is the cause of a cause.
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(lacks_space(&OpenError::Log(fieldmesh_store::ReadError::Io {
            segment: 1,
            source: full
        })));
    }
}
