//! A relay: the tenants of one data folder on one port.
//!
//! It is served by `run`, and while it waits for joins by `invite`; the other commands open one
//! without a port where no relay is running.

mod tenants;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use fieldmesh::api::{
    DeviceReport, InvitationReport, InviteOptions, Problem, RevokeOptions, RevokeReport, Vitals,
};
use fieldmesh::{Builder, Listener, Node, RunOptions};
use fieldmesh_model::TenantId;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use crate::data::{DataFolder, size_on_disk};
use crate::metrics::{Measures, TenantMeasures};
use crate::problem;
use crate::wire::{BrokenTenant, NewTenant, TenantList, TenantSummary};

/// How long a node may take to say how it fares.
const VITALS_PATIENCE: Duration = Duration::from_secs(5);
/// How long a tenant that is being made may delay the end.
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
    tenants: RwLock<BTreeMap<TenantId, Served>>,
    broken: Vec<BrokenTenant>,
    /// One tenant is made at a time.
    admission: tokio::sync::Mutex<()>,
    /// Tenants are made to the end, whether or not who asked for them still waits.
    work: TaskTracker,
    started: Instant,
}

/// A tenant that is open.
#[derive(Clone)]
struct Served {
    node: Node,
    home: PathBuf,
}

impl Relay {
    /// Opens every tenant of a data folder, and serves them where there is a port.
    ///
    /// # Errors
    ///
    /// None of the tenants can be opened. If others can, they are served, and what is broken is
    /// reported by [`Relay::faults`] and [`Relay::list`].
    pub(crate) async fn open(data: DataFolder, port: Option<Port>) -> Result<Self, Problem> {
        let mut tenants = BTreeMap::new();
        let mut broken = Vec::new();
        let mut first_problem = None;
        for home in data.homes()? {
            match serve(&data, port.as_ref(), &home).await {
                Ok(node) => {
                    let tenant = node.tenant().tenant;
                    if tenants.contains_key(&tenant) {
                        return Err(doubled(&home, tenant));
                    }
                    tenants.insert(tenant, Served { node, home });
                }
                Err(problem) => {
                    let folder = folder_name(&home);
                    tracing::error!(folder, reason = problem.detail, "tenant not served");
                    broken.push(BrokenTenant { folder, reason: problem.detail.clone() });
                    first_problem.get_or_insert(problem);
                }
            }
        }
        if let Some(problem) = first_problem.filter(|_| tenants.is_empty()) {
            return Err(problem);
        }
        let inner = Inner {
            data,
            port,
            tenants: RwLock::new(tenants),
            broken,
            admission: tokio::sync::Mutex::new(()),
            work: TaskTracker::new(),
            started: Instant::now(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The folder it works on.
    pub(crate) fn data(&self) -> &Path {
        self.inner.data.path()
    }

    /// How many tenants it serves.
    pub(crate) fn tenant_count(&self) -> usize {
        self.nodes().len()
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
        let data = &self.inner.data;
        let home = data.new_home();
        let node = match tenants::make(self, builder(data, &home), new).await {
            Ok(node) => node,
            Err(problem) => {
                data.discard(&home);
                return Err(problem);
            }
        };
        // The home gets the name of its tenant, which is known only after it was made.
        let tenant = node.tenant().tenant;
        node.shutdown().await.map_err(|error| error.problem())?;
        let home = data.settle(&home, tenant)?;
        let node = serve(data, self.inner.port.as_ref(), &home).await?;
        tracing::info!(tenant = tenant.short(), "tenant added");
        self.inner
            .tenants
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(tenant, Served { node: node.clone(), home });
        Ok(summary(&node).await)
    }

    /// Every tenant.
    pub(crate) async fn list(&self) -> TenantList {
        let mut list = TenantList { tenants: Vec::new(), broken: self.inner.broken.clone() };
        for node in self.nodes() {
            list.tenants.push(summary(&node).await);
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
        let node = self.find(name)?;
        let Some(port) = &self.inner.port else {
            return Err(problem::failed("this relay does not listen, so it cannot serve a join"));
        };
        let invited = node.invite_at(options, port.advertised.clone()).await;
        invited.map_err(|error| error.problem())
    }

    /// Waits until invitations into a tenant are used up or have expired.
    pub(crate) async fn wait_for_joins(
        &self,
        name: &str,
        invitations: &[InvitationReport],
    ) -> Result<(), Problem> {
        let node = self.find(name)?;
        node.wait_for_joins(invitations).await.map_err(|error| error.problem())
    }

    /// The devices of a tenant.
    ///
    /// # Errors
    ///
    /// There is no such tenant, or its store cannot be read.
    pub(crate) async fn devices(&self, name: &str) -> Result<Vec<DeviceReport>, Problem> {
        self.find(name)?.devices().await.map_err(|error| error.problem())
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
        let node = self.find(tenant)?;
        node.revoke(device, options).await.map_err(|error| error.problem())
    }

    /// Everything that does not work, a line each; nothing where all is well.
    pub(crate) async fn faults(&self) -> Vec<String> {
        let broken = self.inner.broken.iter();
        let mut faults: Vec<String> =
            broken.map(|broken| format!("tenant {}: {}", broken.folder, broken.reason)).collect();
        for node in self.nodes() {
            if let Err(fault) = vitals(&node).await {
                faults.push(format!("tenant {}: {fault}", node.tenant().tenant.short()));
            }
        }
        faults
    }

    /// What is measured.
    pub(crate) async fn measures(&self) -> Measures {
        let mut tenants = Vec::new();
        for Served { node, home } in self.served() {
            let vitals = timeout(VITALS_PATIENCE, node.vitals()).await;
            let Ok(Ok(vitals)) = vitals else { continue };
            let size = tokio::task::spawn_blocking(move || size_on_disk(&home)).await;
            tenants.push(TenantMeasures {
                tenant: node.tenant().tenant.short(),
                stored_bytes: size.unwrap_or_default(),
                vitals,
            });
        }
        Measures { uptime: self.inner.started.elapsed(), broken: self.inner.broken.len(), tenants }
    }

    /// Says goodbye to every device and closes every store.
    ///
    /// # Errors
    ///
    /// A store was not closed in order; nothing that was acknowledged is lost.
    pub(crate) async fn shutdown(self) -> Result<(), Problem> {
        self.inner.work.close();
        if timeout(LAST_ADMISSION_MAX, self.inner.work.wait()).await.is_err() {
            tracing::warn!("a tenant is still being made; what is half made is removed later");
        }
        if let Some(port) = &self.inner.port {
            port.listener.close().await;
        }
        let mut closing = JoinSet::new();
        for node in self.nodes() {
            let tenant = node.tenant().tenant.short();
            closing.spawn(async move { (tenant, node.shutdown().await) });
        }
        let mut result = Ok(());
        while let Some(closed) = closing.join_next().await {
            if let Ok((tenant, Err(error))) = closed {
                tracing::error!(tenant, %error, "tenant not closed in order");
                result = Err(error.problem());
            }
        }
        result
    }

    fn served(&self) -> Vec<Served> {
        let tenants = self.inner.tenants.read().unwrap_or_else(PoisonError::into_inner);
        tenants.values().cloned().collect()
    }

    fn nodes(&self) -> Vec<Node> {
        self.served().into_iter().map(|served| served.node).collect()
    }

    fn find(&self, name: &str) -> Result<Node, Problem> {
        tenants::find(&self.nodes(), name)
    }
}

/// How the home of a tenant is opened.
fn builder(data: &DataFolder, home: &Path) -> Builder {
    Node::builder(home).key_file(data.key_file()).forward_only()
}

/// Opens a home and, where there is a port, serves it.
async fn serve(data: &DataFolder, port: Option<&Port>, home: &Path) -> Result<Node, Problem> {
    let builder = builder(data, home);
    let Some(port) = port else {
        return builder.open().await.map_err(|error| error.problem());
    };
    let node = builder.listener(port.listener.clone()).open().await;
    let node = node.map_err(|error| error.problem())?;
    let options = RunOptions { mdns: false, ..RunOptions::default() };
    node.run(options).await.map_err(|error| error.problem())?;
    Ok(node)
}

/// How a node fares, or why it does not.
async fn vitals(node: &Node) -> Result<Vitals, String> {
    match timeout(VITALS_PATIENCE, node.vitals()).await {
        Ok(Ok(Vitals { fault: Some(fault), .. })) => Err(fault),
        Ok(Ok(vitals)) => Ok(vitals),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", VITALS_PATIENCE.as_secs())),
    }
}

async fn summary(node: &Node) -> TenantSummary {
    let tenant = node.tenant();
    let (vitals, fault) = match vitals(node).await {
        Ok(vitals) => (vitals, None),
        Err(fault) => (Vitals::default(), Some(fault)),
    };
    TenantSummary {
        short: tenant.tenant.short(),
        tenant,
        can_invite: node.can_invite(),
        connections: vitals.connections,
        batches: vitals.batches,
        fault,
    }
}

fn folder_name(home: &Path) -> String {
    home.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn doubled(home: &Path, tenant: TenantId) -> Problem {
    problem::store(format!(
        "{} holds tenant {}, and so does another folder beside it; take one of them away",
        home.display(),
        tenant.short()
    ))
}
