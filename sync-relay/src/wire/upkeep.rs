//! What is asked of a relay's stores, and what came of it.

use std::path::PathBuf;
use std::sync::Arc;

use fieldmesh::api::{CompactReport, Problem, Progress, VerifyReport};
use fieldmesh_model::Moment;
use serde::{Deserialize, Serialize};

/// Hears what is going on; what it is told may be left out.
pub(crate) type Teller = Arc<dyn Fn(Step) + Send + Sync>;

/// Something that is going on in a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Step {
    /// The last digits of its id.
    pub(crate) tenant: String,
    /// What it is.
    #[serde(flatten)]
    pub(crate) progress: Progress,
}

/// One line of an answer that takes a while.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Line<T> {
    /// Something is going on.
    Step(Step),
    /// It failed; the last line.
    Problem(Problem),
    /// It is done; the last line.
    Report(T),
}

/// Whose stores are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Chosen {
    /// One tenant; all of them without.
    #[serde(default)]
    pub(crate) tenant: Option<String>,
}

/// Where a backup is to be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ArchiveOptions {
    /// The file, which must not exist.
    pub(crate) file: PathBuf,
    /// An earlier backup of this relay: only what came after it is written.
    #[serde(default)]
    pub(crate) since: Option<PathBuf>,
    /// Of whom.
    #[serde(flatten)]
    pub(crate) chosen: Chosen,
}

/// A backup that was written and read back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ArchiveSummary {
    /// Where it is.
    pub(crate) file: PathBuf,
    /// When it was begun.
    pub(crate) at: Moment,
    /// Its size in bytes.
    pub(crate) bytes: u64,
    /// Whether it needs no other backup before it.
    #[serde(rename = "whole")]
    pub(crate) is_whole: bool,
    /// What is in it.
    pub(crate) tenants: Vec<ArchivedTenant>,
    /// What should be in it and is not.
    pub(crate) missing: Vec<Omission>,
}

/// Something that should be in a backup and is not; part of the format of backups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Omission {
    /// The last digits of the id of the tenant, or the folder of a home that cannot be opened.
    pub(crate) tenant: String,
    /// What it is, or why.
    pub(crate) reason: String,
}

/// A tenant in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ArchivedTenant {
    /// The last digits of its id.
    pub(crate) short: String,
    /// Its name.
    pub(crate) name: String,
    /// The entries of its log in this backup.
    pub(crate) entries: u64,
    /// Entries that could not be read and are in no backup.
    pub(crate) unreadable: u64,
    /// Photos in this backup.
    pub(crate) photos: u64,
    /// Whether people log in to it; they are in the backup then.
    pub(crate) people: bool,
    /// Whether nothing of an earlier backup is needed for it.
    #[serde(rename = "whole")]
    pub(crate) is_whole: bool,
}

/// A backup that was read to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ArchiveCheck {
    /// The file.
    pub(crate) file: PathBuf,
    /// When it was begun.
    pub(crate) at: Moment,
    /// Its size in bytes.
    pub(crate) bytes: u64,
    /// Whether it needs no other backup before it.
    #[serde(rename = "whole")]
    pub(crate) is_whole: bool,
    /// The last digits of the ids of the tenants in it.
    pub(crate) tenants: Vec<String>,
    /// Photos in it.
    pub(crate) photos: u64,
    /// What should be in it and is not.
    pub(crate) missing: Vec<Omission>,
}

/// What a data folder was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RestoreSummary {
    /// Each tenant.
    pub(crate) tenants: Vec<RestoredTenant>,
    /// What the backups miss; of a tenant that is here after all, earlier ones were taken.
    pub(crate) missing: Vec<Omission>,
}

/// A tenant that was made of backups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RestoredTenant {
    /// The last digits of its id.
    pub(crate) short: String,
    /// Its name.
    pub(crate) name: String,
    /// What its devices call the relay.
    pub(crate) device: String,
    /// When its last backup was written.
    pub(crate) at: Moment,
    /// The entries of the log that were read.
    pub(crate) entries: u64,
    /// Photos.
    pub(crate) photos: u64,
    /// Whether people can log in to it.
    pub(crate) people: bool,
}

/// What became of one tenant of several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tended<T> {
    /// The last digits of its id, or the folder of a home that cannot be opened.
    pub(crate) short: String,
    /// Its name; empty where it is not known.
    pub(crate) name: String,
    /// What came of it.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub(crate) report: Option<T>,
    /// What is wrong beside that.
    pub(crate) faults: Vec<String>,
}

/// A check of a tenant.
pub(crate) type Verified = Tended<VerifyReport>;
/// A tenant that was made smaller.
pub(crate) type Compacted = Tended<CompactReport>;

impl<T> Tended<T> {
    /// A tenant about which nothing can be said but why.
    pub(crate) fn broken(short: String, name: String, reason: String) -> Self {
        Self { short, name, report: None, faults: vec![reason] }
    }
}

/// Hears of the progress in one tenant for `tell`.
pub(crate) fn told_of(
    tell: &Teller,
    tenant: &str,
) -> impl FnMut(Progress) + Send + 'static + use<> {
    let (tell, tenant) = (Arc::clone(tell), tenant.to_owned());
    move |progress| tell(Step { tenant: tenant.clone(), progress })
}
