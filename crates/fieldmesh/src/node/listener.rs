//! One socket for any number of nodes, and at will one of TCP beside it: whoever connects is
//! handed to the node of its tenant.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use fieldmesh_identity::ClaimDesk;
use fieldmesh_model::TenantId;
use fieldmesh_net::{BindError, Endpoint, Incoming, TcpPort, TenantIdentity};
use tokio::task::JoinSet;

use crate::error::Error;
use crate::home::Identity;

use super::{ClaimCall, ClaimHandler, Dormant, Node, Wake};

/// Connections that are being handed to their node at the same time.
const TALKS_STARTING_MAX: usize = 256;
/// Joins that are served at the same time.
const JOINS_MAX: usize = 16;
/// Claims that are served at the same time.
const CLAIMS_MAX: usize = 8;
/// How often it is logged that claims are turned away.
const TOLD_EVERY: Duration = Duration::from_secs(30);

/// One socket for any number of nodes; clones are handles on the same one.
#[derive(Clone)]
pub struct Listener {
    pub(super) endpoint: Endpoint,
    nodes: Nodes,
    desk: Desk,
    _acceptor: Arc<JoinSet<()>>,
}

/// Under which name this relay is dialled with a claim, and who decides then.
type Desk = Arc<RwLock<Option<(TenantId, ClaimHandler)>>>;

type Nodes = Arc<RwLock<BTreeMap<TenantId, Served>>>;

/// Who answers for a tenant.
#[derive(Clone)]
enum Served {
    /// A node that is open.
    Open(std::sync::Weak<super::Inner>),
    /// One that is opened whenever somebody asks for it.
    OnDemand(Wake),
}

impl Served {
    async fn node(&self) -> Option<Arc<Node>> {
        match self {
            Self::Open(inner) => inner.upgrade().map(|inner| Arc::new(Node { inner })),
            Self::OnDemand(wake) => wake().await,
        }
    }
}

impl Listener {
    /// Opens a socket; port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// The address is in use or not this device's.
    pub async fn bind(address: SocketAddr) -> Result<Self, Error> {
        Self::bind_with(address, TcpPort::Off).await
    }

    /// The same with a socket for TCP, for devices in networks that let no UDP through.
    ///
    /// # Errors
    ///
    /// One of the addresses is in use or not this device's.
    pub async fn bind_with(address: SocketAddr, tcp: TcpPort) -> Result<Self, Error> {
        let endpoint = Endpoint::bind_with(address, tcp).map_err(|error| {
            let reason = crate::error::with_causes(&error);
            match error {
                BindError::Tcp { .. } => Error::ListenTcp { reason },
                _ => Error::Listen { reason },
            }
        })?;
        let nodes = Nodes::default();
        let desk = Desk::default();
        let mut acceptor = JoinSet::new();
        acceptor.spawn(accept(endpoint.clone(), Arc::clone(&nodes), Arc::clone(&desk)));
        Ok(Self { endpoint, nodes, desk, _acceptor: Arc::new(acceptor) })
    }

    /// The address of the socket.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn local_addr(&self) -> Result<SocketAddr, Error> {
        self.endpoint
            .local_addr()
            .map_err(|source| Error::File { what: "the socket has no address".into(), source })
    }

    /// The address at which it listens on TCP, if it does.
    pub fn tcp_addr(&self) -> Option<SocketAddr> {
        self.endpoint.tcp_addr()
    }

    /// Ends every connection.
    pub async fn close(&self) {
        self.endpoint.close().await;
    }

    /// Serves a tenant too whose node is opened by `wake` whenever somebody connects.
    ///
    /// The connection has proven by then to be of that tenant, or asks to join it. A node that is
    /// opened on this socket may be shut down while it has no connections; the next one wakes it
    /// again.
    ///
    /// # Errors
    ///
    /// The certificates of the home are of no use.
    pub fn add_dormant(&self, dormant: &Dormant, wake: Wake) -> Result<(), Error> {
        self.introduce(&dormant.identity)?;
        let mut nodes = self.nodes.write().expect("no holder of this lock panics");
        nodes.insert(dormant.identity.tenant, Served::OnDemand(wake));
        Ok(())
    }

    /// Serves a tenant no more, also one that is opened on demand: whoever dials it is told that
    /// nobody here serves it.
    pub fn forget(&self, tenant: &TenantId) {
        let mut nodes = self.nodes.write().expect("no holder of this lock panics");
        self.endpoint.remove_identity(tenant);
        nodes.remove(tenant);
    }

    /// Lets `handler` decide about whoever dials with a claim and knows the desk; takes the place of
    /// an earlier one.
    ///
    /// # Errors
    ///
    /// The certificate of the desk is of no use.
    pub fn serve_claims(&self, desk: &ClaimDesk, handler: ClaimHandler) -> Result<(), Error> {
        self.add_identity(TenantIdentity {
            tenant: desk.tenant,
            authority: desk.authority,
            chain: desk.chain.clone(),
            keys: desk.keys.clone(),
        })?;
        let mut slot = self.desk.write().expect("no holder of this lock panics");
        *slot = Some((desk.tenant, handler));
        Ok(())
    }

    /// Serves the tenant of `node` too.
    pub(super) fn add(&self, node: &Node) -> Result<(), Error> {
        let identity = &node.inner.ledger.identity;
        self.introduce(identity)?;
        let mut nodes = self.nodes.write().expect("no holder of this lock panics");
        nodes
            .entry(identity.tenant)
            .and_modify(|served| {
                if let Served::Open(inner) = served {
                    *inner = Arc::downgrade(&node.inner);
                }
            })
            .or_insert_with(|| Served::Open(Arc::downgrade(&node.inner)));
        Ok(())
    }

    fn introduce(&self, identity: &Identity) -> Result<(), Error> {
        self.add_identity(TenantIdentity {
            tenant: identity.tenant,
            authority: identity.authority,
            chain: identity.certificates.clone(),
            keys: identity.keys(),
        })
    }

    fn add_identity(&self, identity: TenantIdentity) -> Result<(), Error> {
        self.endpoint
            .add_identity(identity)
            .map_err(|error| Error::NotAllowed { reason: crate::error::with_causes(&error) })
    }

    /// Stops serving a tenant whose node ends, unless it is opened on demand.
    pub(super) fn remove(&self, tenant: &TenantId) {
        let mut nodes = self.nodes.write().expect("no holder of this lock panics");
        if matches!(nodes.get(tenant), Some(Served::OnDemand(_))) {
            return;
        }
        self.endpoint.remove_identity(tenant);
        nodes.remove(tenant);
    }
}

async fn accept(endpoint: Endpoint, nodes: Nodes, desk: Desk) {
    let (mut joins, mut talks, mut claims) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
    let mut told = None::<Instant>;
    while let Some(incoming) = endpoint.accept().await {
        while joins.try_join_next().is_some() || talks.try_join_next().is_some() {}
        let incoming = match incoming {
            Incoming::Claim(claim) => {
                while claims.try_join_next().is_some() {}
                let desk = desk.read().expect("no holder of this lock panics").clone();
                match desk.filter(|(tenant, _)| *tenant == claim.desk()) {
                    Some((_, handler)) if claims.len() < CLAIMS_MAX => {
                        claims.spawn(async move { handler(ClaimCall::new(claim)).await });
                    }
                    Some(_) => {
                        if told.is_none_or(|at| at.elapsed() >= TOLD_EVERY) {
                            told = Some(Instant::now());
                            tracing::warn!(limit = CLAIMS_MAX, "too many claims at a time");
                        }
                        ClaimCall::new(claim).turn_away();
                    }
                    None => {}
                }
                continue;
            }
            incoming => incoming,
        };
        let tenant = match &incoming {
            Incoming::Peer(connection) => connection.tenant(),
            Incoming::Join(join) => join.tenant(),
            Incoming::Claim(_) => continue,
        };
        let served = nodes.read().expect("no holder of this lock panics").get(&tenant).cloned();
        let Some(served) = served else { continue };
        match incoming {
            // Dropping the connection ends it.
            Incoming::Peer(connection) if talks.len() < TALKS_STARTING_MAX => {
                // Beside the others: one busy tenant must not keep the rest waiting at the door.
                talks.spawn(async move {
                    let Some(node) = served.node().await else { return };
                    if node.inner.watch.is_closed() {
                        return;
                    }
                    node.seal_before_talking().await;
                    let address = connection.remote_address().to_string();
                    let part = node.part_towards(&address).await;
                    node.inner.mesh.attach(connection, address, part).await;
                });
            }
            Incoming::Peer(_) => {
                tracing::warn!(limit = TALKS_STARTING_MAX, "too many connections at a time");
            }
            Incoming::Join(join) if joins.len() < JOINS_MAX => {
                joins.spawn(async move {
                    if let Some(node) = served.node().await {
                        node.serve_join(join).await;
                    }
                });
            }
            Incoming::Join(_) => tracing::warn!(limit = JOINS_MAX, "too many joins at a time"),
            Incoming::Claim(_) => {}
        }
    }
}
