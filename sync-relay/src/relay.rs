//! A relay: the tenants of one data folder on one port.
//!
//! It is served by `run`, and while it waits for joins by `invite`; the other commands open one
//! without a port where no relay is running.

mod answers;
mod backup;
mod claims;
mod damage;
mod directory;
mod executor;
mod fleet;
mod people;
mod pool;
mod quota;
mod removal;
mod roster;
mod slot;
mod tenants;
mod upkeep;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fieldmesh::api::{
    Class, DeviceReport, InvitationReport, InviteOptions, Problem, RevokeOptions, RevokeReport,
};
use fieldmesh::{Listener, Node};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accounts::{self, Accounts};
use crate::claims::ClaimsFile;
use crate::data::DataFolder;
use crate::metrics::{Measures, TenantMeasures};
use crate::problem;
use crate::wire::{BrokenTenant, NewTenant, TenantList, TenantSummary};

pub(crate) use self::answers::ANSWERS;
use self::claims::Claims;
pub(crate) use self::directory::{Directory, Known};
pub(crate) use self::people::Login;
use self::pool::Pool;
pub(crate) use self::pool::{OPEN_TENANTS_MAX_DEFAULT, Room};
pub(crate) use self::quota::Quotas;
use self::slot::{Slot, Standing};

/// How long a tenant that is being made, or a backup, may delay the end.
const LAST_ADMISSION_MAX: Duration = Duration::from_secs(10);

/// Where devices reach a relay.
pub(crate) struct Port {
    /// The socket of all tenants.
    pub(crate) listener: Listener,
    /// What invitations say.
    pub(crate) advertised: Vec<String>,
}

/// A relay; clones are handles on the same one.
#[derive(Clone)]
pub(crate) struct Relay {
    inner: Arc<Inner>,
}

struct Inner {
    data: DataFolder,
    port: Option<Port>,
    tenants: Pool,
    /// What the operator says of tenants, by slug or by the end of the id.
    known: BTreeMap<String, Known>,
    accounts: Arc<Accounts>,
    claims: Claims,
    broken: Vec<BrokenTenant>,
    /// One backup is written at a time.
    backing_up: tokio::sync::Mutex<()>,
    /// One tenant is made at a time.
    admission: tokio::sync::Mutex<()>,
    /// Tenants are made to the end, whether or not who asked for them still waits.
    work: TaskTracker,
    /// Ends what nobody waits for.
    stop: CancellationToken,
    started: Instant,
}

impl Relay {
    /// Knows every tenant of a data folder, and serves them where there is a port: as many as may
    /// be open are opened at once, the others as soon as somebody asks for them. `known` is what the
    /// operator says of them, `quotas` how much of the disk each may take.
    ///
    /// # Errors
    ///
    /// None of the tenants can be served. If others can, they are, and what is broken is reported by
    /// [`Relay::faults`] and [`Relay::list`]; so it is without a port, where nobody is served.
    pub(crate) async fn open(
        data: DataFolder,
        port: Option<Port>,
        open_max: usize,
        known: BTreeMap<String, Known>,
        quotas: Quotas,
    ) -> Result<Self, Problem> {
        let listener = port.as_ref().map(|port| port.listener.clone());
        let tenants = Pool::new(data.key_file(), listener, open_max, quotas);
        let mut broken = Vec::new();
        let mut first_problem = None;
        for (home, problem) in tenants.add_all(data.homes()?).await {
            let folder = folder_name(&home);
            tracing::error!(folder, reason = problem.detail, "tenant not served");
            broken.push(BrokenTenant { folder, reason: problem.detail.clone() });
            first_problem.get_or_insert(problem);
        }
        for folder in data.homeless()? {
            let problem = problem::store(format!(
                "the people who log in are in accounts/{folder}, and tenants/{folder} is missing; \
                 put it back from a backup, or remove accounts/{folder} as well"
            ));
            tracing::error!(folder, reason = problem.detail, "tenant not served");
            broken.push(BrokenTenant { folder, reason: problem.detail.clone() });
            first_problem.get_or_insert(problem);
        }
        let serves_nobody = port.is_some() && tenants.slots().is_empty();
        if let Some(problem) = first_problem.filter(|_| serves_nobody) {
            return Err(problem);
        }
        let accounts = Arc::new(Accounts::new(data.accounts(), data.key_file()));
        let claims = Claims::open(ClaimsFile::new(data.claims(), data.key_file()));
        let inner = Inner {
            claims,
            data,
            port,
            tenants,
            known,
            accounts,
            broken,
            backing_up: tokio::sync::Mutex::new(()),
            admission: tokio::sync::Mutex::new(()),
            work: TaskTracker::new(),
            stop: CancellationToken::new(),
            started: Instant::now(),
        };
        let relay = Self { inner: Arc::new(inner) };
        if relay.inner.port.is_some() {
            relay.look_around().await?;
            relay.serve_claims()?;
        }
        Ok(relay)
    }

    /// Finds out which homes cannot be opened, before their devices do.
    async fn look_around(&self) -> Result<(), Problem> {
        let (tenants, stop) = (self.inner.tenants.clone(), self.inner.stop.clone());
        tenants.open_some().await?;
        self.inner.work.spawn(async move {
            stop.run_until_cancelled(tenants.look_at_the_rest()).await;
        });
        let (relay, stop) = (self.clone(), self.inner.stop.clone());
        self.inner.work.spawn(async move {
            stop.run_until_cancelled(relay.check_everybody()).await;
        });
        let (tenants, stop) = (self.inner.tenants.clone(), self.inner.stop.clone());
        self.inner.work.spawn(async move {
            stop.run_until_cancelled(tenants.keep_books()).await;
        });
        Ok(())
    }

    /// The folder it works on.
    pub(crate) fn data(&self) -> &Path {
        self.inner.data.path()
    }

    /// How many tenants it serves, open or not.
    pub(crate) fn tenant_count(&self) -> usize {
        self.inner.tenants.slots().len()
    }

    /// Makes or joins a tenant and serves it at once.
    ///
    /// # Errors
    ///
    /// What the library says; nothing is left behind then.
    pub(crate) async fn admit(&self, new: NewTenant) -> Result<TenantSummary, Problem> {
        let relay = self.clone();
        let work = self.inner.work.spawn(async move { Box::pin(relay.make(new)).await });
        work.await.map_err(|error| problem::failed(format!("the tenant was not made: {error}")))?
    }

    async fn make(&self, new: NewTenant) -> Result<TenantSummary, Problem> {
        let _turn = self.inner.admission.lock().await;
        let (data, tenants) = (&self.inner.data, &self.inner.tenants);
        let home = data.new_home();
        let node = match tenants::make(tenants, tenants.builder(&home), new).await {
            Ok(node) => node,
            Err(problem) => {
                data.discard(&home);
                return Err(problem);
            }
        };
        Ok(self.install(&home, node).await?.summary().await)
    }

    /// Serves the tenant whose home was just made.
    async fn install(&self, home: &Path, node: Node) -> Result<Arc<Slot>, Problem> {
        let (data, tenants) = (&self.inner.data, &self.inner.tenants);
        // The home gets the name of its tenant, which is known only after it was made.
        let tenant = node.tenant().tenant;
        node.shutdown().await.map_err(|error| error.problem())?;
        let home = data.settle(home, tenant)?;
        self.inner.accounts.welcome(tenant);
        let slot = tenants.add_home(home).await?;
        let _node = tenants.node(&slot).await?;
        tracing::info!(tenant = tenant.short(), "tenant added");
        Ok(slot)
    }

    /// Every tenant.
    pub(crate) async fn list(&self) -> TenantList {
        let mut list = TenantList { tenants: Vec::new(), broken: self.inner.broken.clone() };
        for slot in self.inner.tenants.slots() {
            if self.inner.port.is_none() {
                // Nobody has looked at it; why it cannot be opened is in its summary.
                let _ = self.inner.tenants.node(&slot).await;
                self.check_people(&slot).await;
            }
            let mut summary = slot.summary().await;
            summary.stored_bytes = quota::size(&slot).await;
            summary.stored_bytes_max = self.inner.tenants.bytes_max(&slot);
            summary.damaged += self.damaged_people(&slot);
            list.tenants.push(summary);
        }
        list.tenants.sort_by(|a, b| a.tenant.slug.cmp(&b.tenant.slug).then(a.short.cmp(&b.short)));
        list
    }

    /// Invites devices into a tenant.
    ///
    /// # Errors
    ///
    /// There is no such tenant, or its authority is elsewhere.
    pub(crate) async fn invite(
        &self,
        name: &str,
        options: InviteOptions,
    ) -> Result<Vec<InvitationReport>, Problem> {
        let node = self.find(name).await?;
        let Some(port) = &self.inner.port else {
            return Err(problem::failed("this relay does not listen, so it cannot serve a join"));
        };
        let addresses = port.advertised.clone();
        let invited = match self.account_of(&node, options.user.as_deref()).await? {
            Some(person) => node.invite_person_at(person, options, addresses).await,
            None => node.invite_at(options, addresses).await,
        };
        invited.map_err(|error| error.problem())
    }

    /// Waits until invitations into a tenant are used up or have expired.
    pub(crate) async fn wait_for_joins(
        &self,
        name: &str,
        invitations: &[InvitationReport],
    ) -> Result<(), Problem> {
        let node = self.find(name).await?;
        node.wait_for_joins(invitations).await.map_err(|error| error.problem())
    }

    /// The devices of a tenant.
    ///
    /// # Errors
    ///
    /// There is no such tenant, or its store cannot be read.
    pub(crate) async fn devices(&self, name: &str) -> Result<Vec<DeviceReport>, Problem> {
        self.find(name).await?.devices().await.map_err(|error| error.problem())
    }

    /// Shuts a device out of a tenant.
    ///
    /// # Errors
    ///
    /// There is no such tenant or device, or the tenant's authority is elsewhere.
    pub(crate) async fn revoke(
        &self,
        tenant: &str,
        device: &str,
        options: RevokeOptions,
    ) -> Result<RevokeReport, Problem> {
        let node = self.find(tenant).await?;
        node.revoke(device, options).await.map_err(|error| error.problem())
    }

    /// Everything that does not work, a line each; nothing where all is well.
    pub(crate) async fn faults(&self) -> Vec<String> {
        let broken = self.inner.broken.iter();
        let mut faults: Vec<String> =
            broken.map(|broken| format!("tenant {}: {}", broken.folder, broken.reason)).collect();
        for slot in self.inner.tenants.slots() {
            if let Some(fault) = slot.standing().await.fault {
                faults.push(format!("tenant {}: {fault}", slot.tenant.tenant.short()));
            }
        }
        faults
    }

    /// What is measured.
    pub(crate) async fn measures(&self) -> Measures {
        let mut measures = Measures {
            uptime: self.inner.started.elapsed(),
            broken: self.inner.broken.len(),
            served: 0,
            open: 0,
            tenants: Vec::new(),
        };
        for slot in self.inner.tenants.slots() {
            let Standing { vitals, fault, is_open } = slot.standing().await;
            measures.served += 1;
            measures.open += usize::from(is_open);
            let people = self.damaged_people(&slot);
            let entries = vitals.as_ref().map(|vitals| vitals.damaged);
            measures.tenants.push(TenantMeasures {
                damaged: entries.map(|entries| entries + people).or((people > 0).then_some(people)),
                tenant: slot.tenant.tenant.short(),
                stored_bytes: quota::size(&slot).await,
                stored_bytes_max: self.inner.tenants.bytes_max(&slot),
                vitals,
                is_up: fault.is_none(),
                answers: slot.answers.counted(),
                tokens_reused: self.inner.accounts.reused(slot.tenant.tenant),
                noticed: slot.patterns().noticed(),
                fleet: slot.fleet().figures(accounts::now()),
            });
        }
        measures
    }

    /// Says goodbye to every device and closes every store.
    ///
    /// # Errors
    ///
    /// A store was not closed in order; nothing that was acknowledged is lost.
    pub(crate) async fn shutdown(self) -> Result<(), Problem> {
        self.inner.stop.cancel();
        self.inner.work.close();
        if timeout(LAST_ADMISSION_MAX, self.inner.work.wait()).await.is_err() {
            tracing::warn!(
                "a tenant is still being made or a backup written; what is half made is removed \
                 later"
            );
        }
        if let Some(port) = &self.inner.port {
            port.listener.close().await;
        }
        self.inner.tenants.shutdown().await
    }

    /// The node of the tenant that `name` means; it stays open while the handle is held.
    async fn find(&self, name: &str) -> Result<Arc<Node>, Problem> {
        self.inner.tenants.node(&self.named(name)?).await
    }

    /// The tenant that `name` means; opens nothing.
    fn named(&self, name: &str) -> Result<Arc<Slot>, Problem> {
        let found = tenants::find(&self.inner.tenants.slots(), name);
        found.map_err(|problem| match self.inner.broken.len() {
            count if count > 0 && problem.class == Class::NotFound => Problem {
                detail: format!(
                    "{} and why {count} of its folders cannot be served",
                    problem.detail
                ),
                ..problem
            },
            _ => problem,
        })
    }
}

fn folder_name(home: &Path) -> String {
    home.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
