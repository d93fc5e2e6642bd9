//! One socket for any number of nodes: whoever connects is handed to the node of its tenant.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, RwLock};

use fieldmesh_model::TenantId;
use fieldmesh_net::{Endpoint, Incoming, TenantIdentity};
use tokio::task::JoinSet;

use crate::error::Error;

use super::Node;

/// Connections that are being handed to their node at the same time.
const TALKS_STARTING_MAX: usize = 256;
/// Joins that are served at the same time.
const JOINS_MAX: usize = 16;

/// One socket for any number of nodes; clones are handles on the same one.
#[derive(Clone)]
pub struct Listener {
    pub(super) endpoint: Endpoint,
    nodes: Nodes,
    _acceptor: Arc<JoinSet<()>>,
}

type Nodes = Arc<RwLock<BTreeMap<TenantId, std::sync::Weak<super::Inner>>>>;

impl Listener {
    /// Opens a socket; port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// The address is in use or not this device's.
    pub async fn bind(address: SocketAddr) -> Result<Self, Error> {
        let endpoint = Endpoint::bind(address)
            .map_err(|error| Error::Listen { reason: crate::error::with_causes(&error) })?;
        let nodes = Nodes::default();
        let mut acceptor = JoinSet::new();
        acceptor.spawn(accept(endpoint.clone(), Arc::clone(&nodes)));
        Ok(Self { endpoint, nodes, _acceptor: Arc::new(acceptor) })
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

    /// Ends every connection.
    pub async fn close(&self) {
        self.endpoint.close().await;
    }

    /// Serves the tenant of `node` too.
    pub(super) fn add(&self, node: &Node) -> Result<(), Error> {
        let identity = &node.inner.ledger.identity;
        let refused = |error: fieldmesh_net::IdentityError| Error::NotAllowed {
            reason: crate::error::with_causes(&error),
        };
        self.endpoint
            .add_identity(TenantIdentity {
                tenant: identity.tenant,
                authority: identity.authority,
                chain: identity.certificates.clone(),
                keys: identity.keys(),
            })
            .map_err(refused)?;
        let mut nodes = self.nodes.write().expect("no holder of this lock panics");
        nodes.insert(identity.tenant, Arc::downgrade(&node.inner));
        Ok(())
    }

    /// Stops serving a tenant.
    pub(super) fn remove(&self, tenant: &TenantId) {
        self.endpoint.remove_identity(tenant);
        self.nodes.write().expect("no holder of this lock panics").remove(tenant);
    }
}

async fn accept(endpoint: Endpoint, nodes: Nodes) {
    let (mut joins, mut talks) = (JoinSet::new(), JoinSet::new());
    while let Some(incoming) = endpoint.accept().await {
        while joins.try_join_next().is_some() || talks.try_join_next().is_some() {}
        let tenant = match &incoming {
            Incoming::Peer(connection) => connection.tenant(),
            Incoming::Join(join) => join.tenant(),
        };
        let found = {
            let nodes = nodes.read().expect("no holder of this lock panics");
            nodes.get(&tenant).and_then(std::sync::Weak::upgrade)
        };
        let Some(inner) = found else { continue };
        let node = Node { inner };
        match incoming {
            // Dropping the connection ends it.
            Incoming::Peer(_) if node.inner.watch.is_closed() => {}
            Incoming::Peer(connection) if talks.len() < TALKS_STARTING_MAX => {
                // Beside the others: one busy tenant must not keep the rest waiting at the door.
                talks.spawn(async move {
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
                joins.spawn(async move { node.serve_join(join).await });
            }
            Incoming::Join(_) => tracing::warn!(limit = JOINS_MAX, "too many joins at a time"),
        }
    }
}
