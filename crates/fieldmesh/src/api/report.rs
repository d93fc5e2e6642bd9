//! What a node answers.

use fieldmesh_model::validate::Fault;
use fieldmesh_model::{BatchId, DeviceId, DocumentId, Moment, Role, StoreId, TenantId, UserId};
use fieldmesh_net::Transport;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::{
    ApprovalReport, CommentReport, DiscardReport, DiskReport, DuplicateReport, EndReport,
    KeptReport, Remaking, Safety, SafetyCounts, SightReport,
};

/// One record as people and programs see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The record's id.
    pub id: DocumentId,
    /// The collection's name.
    pub collection: String,
    /// The fields, nested as they were given.
    pub fields: Map<String, Json>,
    /// Names of the records that fields refer to, by field: `wellId` to the well's name.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub names: Map<String, Json>,
    /// The user who made the record.
    pub created_by: UserId,
    /// When, by the clock of the device that made it.
    pub created_at: Moment,
    /// When it was last changed, by the clock of the device that did.
    pub updated_at: Moment,
    /// The device that made it.
    pub device_id: DeviceId,
    /// Whether it is deleted.
    pub deleted: bool,
    /// Where all of it is, as signed receipts prove it; exports leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safe: Option<Safety>,
    /// What it was read as: equal on devices that have the same changes of it. Exports leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Ids of its open conflicts.
    pub conflicts: Vec<String>,
    /// Records that were made for the same thing; while nobody has decided about them, lists and
    /// counts have one of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub duplicates: Vec<DocumentId>,
    /// The record that was kept instead where this one was deleted for it; only of a record that is
    /// shown by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<DocumentId>,
    /// Records that were deleted for this one; only of a record that is shown by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<DocumentId>,
    /// Whether it counts, where its collection asks for approval; exports have only what does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalReport>,
    /// Where records are being made anew from the log, how far that has come: this one may be as
    /// it was once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaking: Option<Remaking>,
}

/// What an import did; the counts add up to `rows`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportReport {
    /// Rows that made a record.
    pub imported: u64,
    /// Rows that edited the record that was there already.
    #[serde(default)]
    pub updated: u64,
    /// Rows whose record was there already with equal contents.
    pub unchanged: u64,
    /// Rows refused.
    pub refused: u64,
    /// Rows read.
    pub rows: u64,
    /// Records made besides the rows' own, such as the wells that rows name.
    #[serde(default)]
    pub created: u64,
}

/// One refused row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedRow {
    /// The row, counted from 1 without the header.
    pub row: u64,
    /// Everything that is wrong with it: field and message.
    pub faults: Vec<Fault>,
}

/// Something that is going on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "progress", rename_all = "camelCase")]
pub enum Progress {
    /// Rows of an import, with the bytes of the file read so far.
    #[serde(rename_all = "camelCase")]
    Import {
        /// Rows done.
        rows: u64,
        /// Bytes of the file consumed.
        bytes: u64,
    },
    /// A row that was refused.
    Refused(RefusedRow),
    /// Batches moved by a sync.
    #[serde(rename_all = "camelCase")]
    Sync {
        /// Batches received.
        received: u64,
        /// Batches sent.
        sent: u64,
    },
    /// Entries written to a backup or read from one.
    #[serde(rename_all = "camelCase")]
    Backup {
        /// Entries done.
        entries: u64,
    },
    /// Parts of the log that were looked at to make it smaller.
    #[serde(rename_all = "camelCase")]
    Compact {
        /// How many so far.
        done: u64,
        /// How many there are.
        of: u64,
    },
    /// Words for people.
    Note {
        /// One line.
        text: String,
    },
}

/// How a sync ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyncResult {
    /// In step with every peer that was tried.
    Ok,
    /// In step with some.
    Partial,
    /// In step with none.
    Failed,
}

/// What a sync did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SyncReport {
    /// How it ended.
    pub result: SyncResult,
    /// Peer by peer.
    pub peers: Vec<PeerSync>,
    /// Open conflicts afterwards; while records are made anew, of those that are made.
    pub conflicts: u64,
    /// How far the records had come, while they are made anew from the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaking: Option<Remaking>,
    /// The part that was asked for, in words; nothing where it was everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// What somebody should know of clocks, copies, peers and this device, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Whether this device was revoked; nobody is in step with it any more.
    #[serde(default, skip_serializing_if = "is_false")]
    pub revoked: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// What a sync did with one peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerSync {
    /// The peer, once it has proved who it is.
    pub device: Option<DeviceId>,
    /// Its name, where known.
    pub name: Option<String>,
    /// The address.
    pub address: String,
    /// Batches received.
    pub received: u64,
    /// Batches sent.
    pub sent: u64,
    /// Bytes received in the conversation.
    pub bytes_in: u64,
    /// Bytes sent in the conversation.
    pub bytes_out: u64,
    /// Round trips spent on finding the difference.
    pub rounds: u64,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The tenant a home belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantReport {
    /// The tenant.
    pub tenant: TenantId,
    /// Its name.
    pub name: String,
    /// Its short name for addresses.
    pub slug: String,
    /// The fingerprint of its authority's key, in hex groups.
    pub fingerprint: String,
    /// This device.
    pub device: DeviceId,
    /// This device's name.
    pub device_name: String,
}

/// A home's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusReport {
    /// One word: `ready`, `online`, `syncing`, `remaking`, `revoked`, `damaged`.
    pub state: String,
    /// How far the records have come that are made anew from the log; until then the numbers of
    /// records, places and conflicts are those of what is made so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaking: Option<Remaking>,
    /// Entries of the log, of up to 64 changes each, that have come and are on the disk but not in
    /// lists and numbers so far; more than none only for a moment, or behind a large sync.
    #[serde(default)]
    pub behind: u64,
    /// The tenant.
    pub tenant: TenantReport,
    /// This device's role.
    pub role: Role,
    /// The person, where known.
    pub user: Option<String>,
    /// The store.
    pub store: StoreId,
    /// Records that are not deleted, by collection.
    pub records: std::collections::BTreeMap<String, u64>,
    /// Batches in the set.
    pub batches: u64,
    /// The root of the set, in hex; equal on replicas that are in step.
    pub root: String,
    /// Changes not sealed into a batch so far; durable, not yet offered.
    pub unsealed: u64,
    /// Open conflicts.
    pub conflicts: u64,
    /// Changes that could not be applied, and batches that do not count.
    pub quarantined: u64,
    /// What became of this person's work by the hand of others and was not marked as seen here;
    /// nothing while records are made anew.
    #[serde(default)]
    pub notices: Option<u64>,
    /// Records that wait for this person's approval; nothing while records are made anew.
    #[serde(default)]
    pub awaiting: Option<u64>,
    /// How many records are where, deleted ones too.
    #[serde(default)]
    pub places: SafetyCounts,
    /// The part of the tenant's records that is exchanged; everything where empty.
    #[serde(default)]
    pub only: Vec<String>,
    /// From which month on this device holds records that go by time.
    #[serde(default)]
    pub kept: KeptReport,
    /// Records made here that lie outside of it and are not sent.
    #[serde(default)]
    pub not_sent: u64,
    /// How many peers that this device has met speak which version of the protocol with it.
    #[serde(default)]
    pub protocols: std::collections::BTreeMap<u16, u64>,
    /// What a person should know of clocks, copies and peers, in words.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What the home takes of the disk.
    #[serde(default)]
    pub disk: DiskReport,
    /// How far a rekey has come, while one is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rekey: Option<super::RekeyReport>,
    /// Damage found in the store that no `verify` has reported since, in words.
    pub damage: Vec<String>,
    /// The addresses this device listens on.
    pub addresses: Vec<String>,
    /// Peers connected.
    pub connected: u64,
    /// When a peer was last in step.
    pub last_sync: Option<Moment>,
}

/// How a node fares: counts since it was opened, for monitoring.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vitals {
    /// Peers connected.
    pub connections: u64,
    /// Those of them that travel over TCP, because UDP does not get through.
    pub connections_over_tcp: u64,
    /// Batches in the set.
    pub batches: u64,
    /// Bytes of conversations received.
    pub bytes_received: u64,
    /// Bytes of conversations sent.
    pub bytes_sent: u64,
    /// How often the store did not take what a peer sent.
    pub append_failures: u64,
    /// How often something was not taken because all is taken that is granted.
    #[serde(default)]
    pub quota_refusals: u64,
    /// Whether what was refused last for that reason would be refused again.
    #[serde(default)]
    pub is_quota_used_up: bool,
    /// Why the store does not work at the moment.
    pub fault: Option<String>,
    /// Entries of the store that are known to be damaged, and are neither healed nor given up.
    #[serde(default)]
    pub damaged: u64,
}

/// A peer that is known, nearby or connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerReport {
    /// The device, once known.
    pub device: Option<DeviceId>,
    /// Its name.
    pub name: Option<String>,
    /// One word: `in-step`, `in-part` where the class of the link holds the rest back, `syncing`,
    /// `connected`, `nearby`, `unreachable`, `refused` where the last conversation ended by a fault
    /// that lasts, `remembered`.
    pub state: String,
    /// Where it was reached last, or is said to be.
    pub addresses: Vec<String>,
    /// How it became known: `mdns`, `remembered`, `invitation`, `given`, `incoming`.
    pub found_by: String,
    /// What the connection travels over, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// What they were last in step over, where there is no connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transport: Option<Transport>,
    /// When it was last in step.
    pub last_in_step: Option<Moment>,
    /// Why it cannot be reached, or what the last conversation ended with unless it is in step.
    pub error: Option<String>,
    /// The version of the protocol that both speak, once they have met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<u16>,
    /// How far its clock is ahead of this device's, in milliseconds, once they have met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_ahead: Option<i64>,
    /// What has passed between the two, where they are connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Traffic>,
}

/// What has passed between two devices since this one was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Traffic {
    /// Batches received.
    pub received: u64,
    /// Batches sent.
    pub sent: u64,
    /// Bytes received in conversations.
    pub bytes_in: u64,
    /// Bytes sent in conversations.
    pub bytes_out: u64,
    /// Round trips spent on finding differences.
    pub rounds: u64,
}

/// A device of the tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceReport {
    /// The device.
    pub device: DeviceId,
    /// Its name.
    pub name: String,
    /// The person's name.
    pub user: String,
    /// The person's e-mail address.
    pub email: Option<String>,
    /// Its role.
    pub role: Role,
    /// Whether it is this device.
    pub this: bool,
    /// Batches of its own in the set.
    pub batches: u64,
    /// The newest change time among them.
    pub last_change: Option<Moment>,
    /// When this device last spoke with it.
    pub last_contact: Option<Moment>,
    /// Its batches that do not count.
    #[serde(default)]
    pub aside: u64,
    /// Whether the tenant was made with it, so that it holds the tenant's authority.
    #[serde(default)]
    pub founder: bool,
    /// What has passed between it and this device since this one was opened, whoever dialled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Traffic>,
    /// Where it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<RevokedReport>,
}

/// That a device was revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevokedReport {
    /// Why, as whoever did it has put it; may be empty.
    pub reason: String,
    /// Whether the device erases itself when it learns of it.
    pub wipe: bool,
    /// Who did it, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// A device that has just been revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevokeReport {
    /// The device.
    pub device: DeviceId,
    /// Its name.
    pub name: String,
    /// Batches of it that this device knows; they go on counting.
    pub kept: u64,
    /// Whether it erases itself when it learns of it.
    pub wipe: bool,
}

/// Work of a revoked device that counts again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdoptReport {
    /// The device.
    pub device: DeviceId,
    /// Its name.
    pub name: String,
    /// Batches that count again.
    pub batches: u64,
    /// Batches of it that still do not count.
    pub left: u64,
}

/// An item of the conflict inbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConflictReport {
    /// The item's id, the same on every replica.
    pub id: String,
    /// `field`, `duplicate`, `deleted-and-edited`, `rule`, `parallel` or `quarantine`.
    pub kind: String,
    /// The record; of a batch that does not count, the first one it is about.
    pub record: DocumentId,
    /// The record's collection.
    pub collection: String,
    /// What people call the record.
    pub name: String,
    /// The field's flat key.
    pub field: String,
    /// Whether somebody has to decide.
    pub open: bool,
    /// The competing values, two or more; where rules are broken what stands in the field, if
    /// anything does, for each who put it there: with his own part in `fields` where several did,
    /// and with no value where he wrote another field that the rule looks at.
    pub values: Vec<ConflictValue>,
    /// The rules that are broken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// How it ended: who settled it or only wrote over it. Two people may have done so apart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<EndReport>,
    /// What was said about it, by time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub comments: Vec<CommentReport>,
    /// Why, for what is quarantined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who discarded what is quarantined, on this device alone; it is kept all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discarded: Option<DiscardReport>,
    /// Who had what was quarantined count again, on every device. The statement says no time.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "adoptedBy")]
    pub adopted_by: Option<String>,
    /// A whole batch that does not count, or did not until it was adopted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<AsideBatch>,
    /// Records that were made for the same thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<DuplicateReport>,
}

/// A batch that is kept and does not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AsideBatch {
    /// The batch.
    pub batch: BatchId,
    /// Who signed it.
    pub device: DeviceId,
    /// That device's name, where known.
    pub device_name: Option<String>,
    /// The newest change time in it, by that device's clock.
    pub at: Moment,
    /// How many changes it holds.
    pub changes: u64,
    /// What can be done, as a command; nothing once it was adopted.
    pub advice: String,
}

/// One side of a conflict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConflictValue {
    /// A, B, C… in the same order on every replica.
    pub label: String,
    /// The value.
    pub value: Json,
    /// Who wrote it: what a gateway wrote for somebody, that one.
    pub user: Option<String>,
    /// The id of the person for whom a gateway wrote it.
    #[serde(default, rename = "madeFor", skip_serializing_if = "Option::is_none")]
    pub made_for: Option<String>,
    /// On which device.
    pub device: Option<DeviceId>,
    /// When, by that device's clock.
    pub at: Moment,
    /// What was written, where it is not one value: by an edit of a deleted record, or beside
    /// edits of other fields.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Json>,
    /// What its author had seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saw: Option<SightReport>,
}

/// An issued invitation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvitationReport {
    /// The invitation: one line to pass on.
    pub invitation: String,
    /// Until when it is good.
    pub expires_at: Moment,
}

/// A finished enrolment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinReport {
    /// The tenant joined.
    #[serde(flatten)]
    pub tenant: TenantReport,
    /// The role given.
    pub role: Role,
}

/// What a check of the whole home found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyReport {
    /// Whether nothing is wrong.
    pub clean: bool,
    /// Frames of the log read.
    pub frames: u64,
    /// Batches whose signature, author and contents were checked.
    pub batches: u64,
    /// Changes in them.
    pub changes: u64,
    /// Policy items checked.
    pub items: u64,
    /// Records rebuilt from the log and compared.
    pub records: u64,
    /// Old records that this device let go when they were safe elsewhere; nothing is wrong there.
    #[serde(default)]
    pub let_go: u64,
    /// The first month of those that are here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Changes that are erased because their records were purged; their hashes are signed still.
    #[serde(default)]
    pub purged: u64,
    /// Everything found wrong, in words.
    pub faults: Vec<String>,
}
