//! Opening a node: in a home that exists, as a new tenant, or by an invitation.

use std::path::PathBuf;

use fieldmesh_model::Filter;

use crate::api::{JoinReport, TenantReport};
use crate::error::Error;
use crate::home::{self, NewSecret, Unlock};

use super::{Listener, Node, enrol, open};

/// How to open a node.
pub struct Builder {
    pub(super) home: PathBuf,
    pub(super) unlock: Unlock,
    pub(super) kind: Kind,
    pub(super) listener: Option<Listener>,
    pub(super) only: Filter,
}

/// A tenant to create.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TenantOptions {
    /// The organisation's name.
    pub name: String,
    /// The e-mail address of the person whose device this is.
    pub user: Option<String>,
    /// The device's name; the host's name where absent.
    pub device: Option<String>,
}

/// What a node is to its tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Device,
    Relay,
    Gateway,
}

impl Builder {
    pub(super) fn new(home: PathBuf) -> Self {
        Self {
            home,
            unlock: Unlock::default(),
            kind: Kind::Device,
            listener: None,
            only: Filter::default(),
        }
    }

    /// Locks or unlocks the home with a passphrase.
    #[must_use]
    pub fn passphrase(mut self, passphrase: impl Into<String>) -> Self {
        self.unlock = Unlock::Passphrase(passphrase.into());
        self
    }

    /// Locks or unlocks the home with a key file, which is made if it does not exist.
    ///
    /// With neither a passphrase nor this, a key file is kept in the user's configuration folder.
    #[must_use]
    pub fn key_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.unlock = Unlock::KeyFile(path.into());
        self
    }

    /// Unlocks the home by the system's keyring, which has been told to remember it.
    #[must_use]
    pub fn remembered(mut self) -> Self {
        self.unlock = Unlock::Remembered;
        self
    }

    /// Stores and forwards without opening documents, as a relay does.
    #[must_use]
    pub fn forward_only(mut self) -> Self {
        self.kind = Kind::Relay;
        self
    }

    /// As [`Builder::forward_only`]; a tenant that is made gives this device the role
    /// [`fieldmesh_model::Role::Gateway`], in which it opens documents to write what people send.
    #[must_use]
    pub fn gateway(mut self) -> Self {
        self.kind = Kind::Gateway;
        self
    }

    /// Shares a socket with other nodes.
    #[must_use]
    pub fn listener(mut self, listener: Listener) -> Self {
        self.listener = Some(listener);
        self
    }

    /// Exchanges only the part of the tenant's records that `only` names, see
    /// [`crate::filter::parse`]. What was recorded here outside of it stays here.
    #[must_use]
    pub fn only(mut self, only: Filter) -> Self {
        self.only = only;
        self
    }

    /// Opens the node of a home that exists.
    ///
    /// # Errors
    ///
    /// [`Error::NoHome`], [`Error::Locked`], [`Error::InUse`], or the store's own.
    pub async fn open(self) -> Result<Node, Error> {
        open::open(self).await
    }

    /// Whether what was given to this builder opens the home; changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] where it does not.
    pub fn check_secret(&self) -> Result<(), Error> {
        home::check(&self.home, &self.unlock)
    }

    /// Lets `new` open the home in place of what was given to this builder. No data is written
    /// anew, and until this is done the old secret opens the home.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] where the old secret is wrong, [`Error::InUse`] while the home is open.
    pub fn change_secret(&self, new: &NewSecret) -> Result<(), Error> {
        home::change(&self.home, &self.unlock, new)
    }

    /// Lets the system's keyring open the home as well, until it forgets.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] where the secret is wrong or there is no keyring, [`Error::InUse`] while
    /// the home is open.
    pub fn remember_secret(&self) -> Result<(), Error> {
        home::remember(&self.home, &self.unlock)
    }

    /// Takes back what [`Builder::remember_secret`] did; needs no secret.
    ///
    /// # Errors
    ///
    /// As [`Builder::remember_secret`].
    pub fn forget_secret(&self) -> Result<(), Error> {
        home::forget(&self.home)
    }

    /// Makes a tenant whose authority this device holds. Needs no network.
    ///
    /// # Errors
    ///
    /// [`Error::HomeExists`], or the folder cannot be written.
    pub async fn create_tenant(
        self,
        options: TenantOptions,
    ) -> Result<(Node, TenantReport), Error> {
        enrol::create_tenant(self, options).await
    }

    /// Joins the tenant of an invitation, through whoever serves it.
    ///
    /// # Errors
    ///
    /// [`Error::Invitation`] where it is of no use, [`Error::Unreachable`] where nobody serves it.
    pub async fn join(
        self,
        invitation: &str,
        device: Option<String>,
    ) -> Result<(Node, JoinReport), Error> {
        enrol::join(self, invitation, device).await
    }
}
