//! Who sends a request, as the owner of the tokens has found out.

use std::collections::BTreeSet;

use fieldmesh_model::Role;
use serde::{Deserialize, Serialize};

use crate::cursor::FeedId;

/// One HTTP contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Dialect {
    /// Field entries at oil wells; dialect 0.
    Wellpulse,
    /// Events of a shift in one batch; dialect 1.
    Batch,
    /// Assets, tasks and schedules of a web app; dialect 2.
    Asset,
    /// Veterinary practices; dialect 3.
    Vet,
    /// Rural health; dialect 4.
    Health,
}

/// The dialects that a tenant uses; the others answer 404.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialects(BTreeSet<Dialect>);

/// Who sends a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Caller {
    /// The tenant as the token names it.
    pub tenant: String,
    /// Other names of the tenant: its slug, and ids that clients of a dialect know it by.
    pub tenant_aliases: BTreeSet<String>,
    /// The user as the token names him.
    pub user: String,
    /// Other names of the user: ids that clients of a dialect know him by.
    pub aliases: BTreeSet<String>,
    /// What he may do.
    pub role: Role,
    /// The practices that he belongs to; none where his token names none, which restricts nothing.
    pub practices: BTreeSet<i64>,
    /// The device to which the token is bound.
    pub device: Option<String>,
    /// The dialects of the tenant.
    pub dialects: Dialects,
    /// The feed that cursors of the tenant point into.
    pub feed: FeedId,
}

impl Dialect {
    /// Every dialect, by number.
    pub const ALL: [Self; 5] = [Self::Wellpulse, Self::Batch, Self::Asset, Self::Vet, Self::Health];

    /// The name in an alias path and in settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wellpulse => "wellpulse",
            Self::Batch => "batch",
            Self::Asset => "asset",
            Self::Vet => "vet",
            Self::Health => "health",
        }
    }

    /// The dialect called `name`.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dialect| dialect.as_str() == name)
    }
}

impl Dialects {
    /// All of them.
    pub fn all() -> Self {
        Self(Dialect::ALL.into())
    }

    /// All but `dialect`.
    #[must_use]
    pub fn without(mut self, dialect: Dialect) -> Self {
        self.0.remove(&dialect);
        self
    }

    /// Whether the tenant uses `dialect`.
    pub fn contains(&self, dialect: Dialect) -> bool {
        self.0.contains(&dialect)
    }
}

impl Caller {
    /// Whether `user` is the caller under any of his names.
    pub fn is(&self, user: &str) -> bool {
        self.user == user || self.aliases.contains(user)
    }

    /// Whether `tenant` is the caller's under any of its names.
    pub fn is_of(&self, tenant: &str) -> bool {
        self.tenant == tenant || self.tenant_aliases.contains(tenant)
    }

    /// Whether the caller belongs to `practice`, as far as his token restricts that.
    pub fn belongs_to(&self, practice: i64) -> bool {
        self.practices.is_empty() || self.practices.contains(&practice) || self.is_admin()
    }

    /// Whether the caller administers the tenant.
    pub fn is_admin(&self) -> bool {
        self.role == Role::Admin
    }
}
