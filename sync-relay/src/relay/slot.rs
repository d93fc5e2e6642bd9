//! One tenant of a relay, whether or not its node is open.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fieldmesh::api::{Problem, TenantReport, Vitals};
use fieldmesh::{Dormant, Node, Role};
use tokio::time::{Instant, timeout};

use super::answers::Answers;
use crate::fleet::{Fleet, Patterns};
use crate::problem;
use crate::wire::TenantSummary;

/// How long a node may take to say how it fares.
const VITALS_PATIENCE: Duration = Duration::from_secs(5);
/// How long a home that could not be opened is left alone, whoever asks for it.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// One tenant.
pub(super) struct Slot {
    pub(super) tenant: TenantReport,
    pub(super) can_invite: bool,
    pub(super) home: PathBuf,
    /// Held while the node is opened or closed.
    pub(super) node: tokio::sync::Mutex<Option<Arc<Node>>>,
    /// When it was used last, in the pool's own count.
    pub(super) used: AtomicU64,
    /// Of its apps.
    pub(super) answers: Answers,
    fleet: Mutex<Fleet>,
    patterns: Mutex<Patterns>,
    known: Mutex<Known>,
    /// Whether nobody opens it any more.
    is_dismissed: AtomicBool,
}

/// What is known of a tenant whose node is closed.
#[derive(Default)]
struct Known {
    /// The last that the nodes before this one told, with what they carried in all.
    vitals: Option<Vitals>,
    /// What this relay was in it when it was opened last.
    role: Option<Role>,
    /// Why it could not be opened, and when that was found out.
    failure: Option<(Problem, Instant)>,
}

/// How a tenant fares.
pub(super) struct Standing {
    /// Nothing where nobody has looked so far.
    pub(super) vitals: Option<Vitals>,
    pub(super) fault: Option<String>,
    pub(super) is_open: bool,
}

impl Slot {
    pub(super) fn new(home: PathBuf, dormant: &Dormant, fleet: Fleet) -> Self {
        Self {
            tenant: dormant.tenant(),
            can_invite: dormant.can_invite(),
            home,
            node: tokio::sync::Mutex::new(None),
            used: AtomicU64::new(0),
            answers: Answers::default(),
            fleet: Mutex::new(fleet),
            patterns: Mutex::default(),
            known: Mutex::default(),
            is_dismissed: AtomicBool::new(false),
        }
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Lets nobody open it from here on.
    pub(super) fn dismiss(&self) {
        self.is_dismissed.store(true, Ordering::SeqCst);
    }

    /// Fails for a while after an attempt to open it failed, and for ever once it was removed.
    pub(super) fn check(&self) -> Result<(), Problem> {
        if self.is_dismissed.load(Ordering::SeqCst) {
            return Err(problem::not_found("the tenant was removed from this relay"));
        }
        match &self.known().failure {
            Some((problem, at)) if at.elapsed() < RETRY_AFTER => Err(problem.clone()),
            _ => Ok(()),
        }
    }

    /// Notes how an attempt to open it went.
    pub(super) fn note(&self, opened: Result<&Node, &Problem>) {
        let mut known = self.known();
        known.failure = None;
        match opened {
            Ok(node) if node.is_gateway() => known.role = Some(Role::Gateway),
            Ok(_) => known.role = Some(Role::Relay),
            Err(problem) => {
                let tenant = self.tenant.tenant.short();
                tracing::error!(tenant, reason = problem.detail, "tenant not served");
                known.failure = Some((problem.clone(), Instant::now()));
            }
        }
    }

    /// Keeps what an open node tells, because it is about to be closed.
    pub(super) fn remember(&self, vitals: &Vitals) {
        let mut known = self.known();
        let vitals = after(known.vitals.as_ref(), vitals);
        known.vitals = Some(Vitals { connections: 0, connections_over_tcp: 0, ..vitals });
    }

    /// How it fares; opens nothing.
    pub(super) async fn standing(&self) -> Standing {
        // While it is opened or closed the last that is known will do.
        let node = self.node.try_lock().ok().and_then(|node| node.clone());
        let asked = match &node {
            Some(node) => Some(vitals(node).await),
            None => None,
        };
        let known = self.known();
        let (now, fault) = match asked {
            Some(Ok(vitals)) => (Some(after(known.vitals.as_ref(), &vitals)), vitals.fault),
            Some(Err(fault)) => (known.vitals.clone(), Some(fault)),
            None => (known.vitals.clone(), None),
        };
        let failure = known.failure.as_ref().map(|(problem, _)| problem.detail.clone());
        Standing { vitals: now, fault: fault.or(failure), is_open: node.is_some() }
    }

    pub(super) async fn summary(&self) -> TenantSummary {
        let Standing { vitals, fault, is_open } = self.standing().await;
        TenantSummary {
            damaged: vitals.as_ref().map_or(0, |vitals| vitals.damaged),
            is_quota_used_up: vitals.as_ref().is_some_and(|vitals| vitals.is_quota_used_up),
            stored_bytes: 0,
            stored_bytes_max: None,
            short: self.tenant.tenant.short(),
            tenant: self.tenant.clone(),
            can_invite: self.can_invite,
            role: self.known().role,
            connections: vitals.as_ref().map_or(0, |vitals| vitals.connections),
            batches: vitals.map(|vitals| vitals.batches),
            is_open,
            fault,
        }
    }

    /// What was noticed of its apps.
    pub(super) fn patterns(&self) -> MutexGuard<'_, Patterns> {
        self.patterns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of its devices.
    pub(super) fn fleet(&self) -> MutexGuard<'_, Fleet> {
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a node tells on top of what those before it had carried.
fn after(before: Option<&Vitals>, now: &Vitals) -> Vitals {
    let Some(before) = before else { return now.clone() };
    Vitals {
        bytes_received: before.bytes_received + now.bytes_received,
        bytes_sent: before.bytes_sent + now.bytes_sent,
        append_failures: before.append_failures + now.append_failures,
        quota_refusals: before.quota_refusals + now.quota_refusals,
        ..now.clone()
    }
}

/// How a node fares, or why it does not say.
pub(super) async fn vitals(node: &Node) -> Result<Vitals, String> {
    match timeout(VITALS_PATIENCE, node.vitals()).await {
        Ok(Ok(vitals)) => Ok(vitals),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", VITALS_PATIENCE.as_secs())),
    }
}

/// The one of `tenants` that another home holds too.
pub(super) fn doubled(slot: &Slot, other: &Slot) -> Problem {
    problem::store(format!(
        "{} holds tenant {}, and so does {}, which is served; move one of them out of the data \
         folder",
        slot.home.display(),
        slot.tenant.tenant.short(),
        other.home.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_go_on_when_a_tenant_is_opened_again() {
        let first = Vitals { bytes_received: 10, bytes_sent: 3, batches: 5, ..Vitals::default() };
        let second = Vitals { bytes_received: 1, batches: 6, connections: 2, ..Vitals::default() };
        let both = after(Some(&first), &second);
        assert_eq!((both.bytes_received, both.bytes_sent), (11, 3));
        assert_eq!((both.batches, both.connections), (6, 2));
    }
}
