//! A home whose node is not open: who it is, without its store.

use std::pin::Pin;
use std::sync::Arc;

use crate::api::TenantReport;
use crate::error::Error;
use crate::home::{Home, Identity};

use super::{Builder, Node, enrol};

/// Opens a node that somebody asks for, or gives the one that is open; nothing where it cannot be
/// opened. As long as the handle is held, the node must not be shut down.
pub type Wake =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Option<Arc<Node>>> + Send>> + Send + Sync>;

/// A home whose node is not open; holds its keys, so that it can be served on demand, see
/// [`super::Listener::add_dormant`].
pub struct Dormant {
    pub(super) identity: Identity,
}

impl Dormant {
    /// The tenant and this device.
    pub fn tenant(&self) -> TenantReport {
        enrol::tenant_of(&self.identity)
    }

    /// Whether the home holds the tenant's authority, so that [`Node::invite`] works there.
    pub fn can_invite(&self) -> bool {
        self.identity.authority_seed.is_some()
    }
}

impl Builder {
    /// Looks who a home is without opening its store.
    ///
    /// # Errors
    ///
    /// [`Error::NoHome`], [`Error::Locked`], or its identity is damaged.
    pub async fn look(self) -> Result<Dormant, Error> {
        let look = move || {
            let home = Home::open(&self.home, &self.unlock)?;
            Ok(Dormant { identity: home.read_identity()? })
        };
        tokio::task::spawn_blocking(look).await.map_err(|_| Error::ShuttingDown)?
    }
}
