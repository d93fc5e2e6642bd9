//! What a node tells and is told, as values that serialise to the documented JSON.
//!
//! The command line prints these, the daemon's socket carries them, and a program that embeds a
//! node reads them; no other shape of the same thing exists.

mod approval;
mod ask;
mod backup;
mod bulk;
mod change;
mod conflict;
mod connectivity;
mod dealing;
mod device;
mod disk;
mod doctor;
mod draft;
mod duplicate;
mod evict;
mod notice;
mod problem;
mod purge;
mod query;
mod rekey;
mod relay;
mod remaking;
mod report;
mod revision;
mod safety;
mod schema;

pub use approval::{ApprovalReport, ApprovalState, NewRuling, Ruled, RulingReport};
pub use ask::{
    CONFLICTS_MAX, Choice, ConflictQuery, Edits, ExportFormat, ExportQuery, ImportOptions,
    InviteOptions, NewRecord, Resolution, RevokeOptions, SyncOptions,
};
pub use backup::{BackupCheck, BackupOptions, BackupReport, RestoreReport};
pub use bulk::{BulkChange, BulkEdit, BulkRefusal, BulkReport, BulkSeen};
pub use change::{ChangeKind, ChangeReport, ChangesPage, ChangesQuery};
pub use conflict::{
    CommentReport, DiscardReport, EndReport, LeftItem, NewComment, NewVerdict, ResolveAll,
    ResolveAllReport, SettledItem, SettledRecord, SightReport, Verdict,
};
pub use connectivity::{
    Cause, ConnectivityEvent, ConnectivityReport, Decision, Failing, Freight, Grade, HeldBack,
    LinkClass, SyncNow, SyncProgress, SyncSettings, SyncSettingsChange,
};
pub use dealing::{DELAY_BOUNDS, DURATION_BOUNDS_MILLIS, Dealing, Dealings};
pub(crate) use device::meant;
pub use device::one_line;
pub use disk::{CompactReport, DiskReport};
pub use doctor::{DoctorReport, Finding};
pub use draft::{Draft, DraftChange};
pub use duplicate::DuplicateReport;
pub use evict::{Evict, EvictOptions, EvictReport, HeldMonth, KeptReport};
pub use fieldmesh_net::Transport;
pub use notice::{Notice, NoticeKind, SeenNotices};
pub use problem::{Class, Problem};
pub use purge::{PurgeOptions, PurgeReport, PurgedRecord};
pub use query::{ListQuery, LiveEvent, Page};
pub use rekey::{RekeyOptions, RekeyReport};
pub use relay::{RelayOptions, RelayReport, RelayState};
pub use remaking::Remaking;
pub use report::{
    AdoptReport, AsideBatch, ConflictReport, ConflictValue, DeviceReport, ImportReport,
    InvitationReport, JoinReport, PeerReport, PeerSync, Progress, Record, RefusedRow, RevokeReport,
    RevokedReport, StatusReport, SyncReport, SyncResult, TenantReport, Traffic, VerifyReport,
    Vitals,
};
pub use revision::{FieldChange, Revision};
pub use safety::{Safety, SafetyCounts};
pub use schema::{SchemaOptions, SchemaReport, SchemaShown, SchemaState, SchemaStep, Unreadable};
