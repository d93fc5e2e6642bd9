//! Reports for tests.

use fieldmesh::api::{
    AdoptReport, AsideBatch, BackupReport, BulkChange, BulkRefusal, BulkReport, CompactReport,
    ConflictReport, ConflictValue, DeviceReport, DiskReport, EvictReport, FieldChange, HeldMonth,
    ImportReport, KeptReport, PeerReport, PeerSync, PurgeReport, PurgedRecord, Record, RekeyReport,
    Revision, RevokeReport, Safety, SafetyCounts, StatusReport, SyncNow, SyncReport, SyncResult,
    TenantReport, Transport,
};
use fieldmesh::api::{Draft, RelayReport, RelayState, SchemaReport, SchemaShown, SchemaState};
use fieldmesh::api::{DuplicateReport, LeftItem, ResolveAllReport, SettledItem, SettledRecord};
use fieldmesh::api::{Notice, NoticeKind};
use fieldmesh_model::validate::Fault;
use fieldmesh_model::{BatchId, DeviceId, DocumentId, Moment, Role, StoreId, TenantId, UserId};
use serde_json::{Map, Value as Json, json};

/// 2026-03-01 08:30 in UTC.
pub(crate) fn at() -> Moment {
    "2026-03-01T08:30:00Z".parse().unwrap()
}

fn device_id(byte: u8) -> DeviceId {
    DeviceId::from_bytes([byte; 32])
}

fn map(value: Json) -> Map<String, Json> {
    match value {
        Json::Object(map) => map,
        _ => panic!("no object"),
    }
}

/// A field entry with a reference, a time, a list and a conflict.
pub(crate) fn record() -> Record {
    Record {
        id: DocumentId::from_bytes([0x11; 16]),
        collection: "field_entry".into(),
        fields: map(json!({
            "wellId": "22222222-2222-2222-2222-222222222222",
            "entryType": "PRODUCTION",
            "recordedAt": "2026-03-01T08:30:00.000Z",
            "data": { "oilVolume": 82.3, "runtime": 24 },
            "notes": "valve\nchecked",
            "photos": ["a.jpg", "b.jpg"],
            "latitude": null,
        })),
        names: map(json!({ "wellId": "State 12-4" })),
        created_by: UserId::from_bytes([0x33; 16]),
        created_at: at(),
        updated_at: at().plus_millis(60_000),
        device_id: device_id(0xaa),
        deleted: false,
        version: None,
        safe: Some(Safety::Devices(2)),
        conflicts: vec!["77777777-7777-7777-7777-77777c21a9f0".into()],
        duplicates: Vec::new(),
        approval: None,
        superseded_by: None,
        replaces: Vec::new(),
        remaking: None,
    }
}

/// A second entry, deleted and with other fields.
pub(crate) fn other_record() -> Record {
    Record {
        id: DocumentId::from_bytes([0x12; 16]),
        fields: map(json!({
            "wellId": "22222222-2222-2222-2222-222222222222",
            "entryType": "INSPECTION",
            "recordedAt": "2026-03-01T09:00:00.000Z",
            "data": { "leaksDetected": true },
        })),
        conflicts: Vec::new(),
        deleted: true,
        version: None,
        safe: Some(Safety::Relay),
        ..record()
    }
}

/// Two changes of one record.
pub(crate) fn revisions() -> Vec<Revision> {
    let change = |field: &str, before, after| FieldChange { field: field.into(), before, after };
    let revision = |fields, at| Revision {
        id: record().id,
        change: "ab".repeat(32),
        at,
        device: Some(device_id(0xaa)),
        device_name: Some("office".into()),
        user: Some("Ana".into()),
        made_for: None,
        fields,
        settled: Vec::new(),
        overwritten: Vec::new(),
        superseded_by: None,
        replaces: Vec::new(),
        apart_from: Vec::new(),
        adopted_by: None,
        ruling: None,
    };
    vec![
        revision(vec![change("data.oilVolume", Json::Null, json!(82.3))], at()),
        revision(
            vec![
                change("data.oilVolume", json!(82.3), json!(81)),
                change("notes", json!("checked"), Json::Null),
            ],
            at().plus_millis(60_000),
        ),
    ]
}

/// A change of two records that is refused for one of them.
pub(crate) fn bulk_report() -> BulkReport {
    BulkReport {
        changed: vec![BulkChange {
            id: record().id,
            name: Some("State 12-4".into()),
            version: "5ea1".into(),
            fields: vec![FieldChange {
                field: "data.oilVolume".into(),
                before: json!(82.3),
                after: json!(81),
            }],
        }],
        unchanged: 2,
        refused: vec![BulkRefusal { id: other_record().id, reason: "only its author may".into() }],
        skipped: Vec::new(),
        written: false,
    }
}

/// Two conflicts of which one cannot be settled like the other.
pub(crate) fn settled() -> ResolveAllReport {
    ResolveAllReport {
        settled: vec![SettledItem {
            id: "0d3c-7c21a9f0".into(),
            kind: "field".into(),
            record: record().id,
            name: "State 12-4".into(),
            field: "data.oilVolume".into(),
            before: json!(82.3),
            taken: "B".into(),
            after: json!(81),
            alike: Vec::new(),
            more: 0,
        }],
        left: vec![LeftItem {
            id: "0d3c-5d30e1aa".into(),
            kind: "field".into(),
            record: other_record().id,
            name: "Alder 1".into(),
            field: "data.gasVolume".into(),
            reason: "only a manager may".into(),
        }],
        ended: Vec::new(),
        written: true,
        stopped: None,
    }
}

/// Two entries that are alike, of which the second is kept.
pub(crate) fn settled_alike() -> ResolveAllReport {
    let one = |label: &str, record, kept, volume: i64| SettledRecord {
        label: label.into(),
        record,
        kept,
        deleted: false,
        values: map(json!({ "data.oilVolume": volume, "deviceId": label })),
    };
    let item = SettledItem {
        id: conflict().id,
        kind: "duplicate".into(),
        record: other_record().id,
        field: String::new(),
        before: Json::Null,
        after: Json::Null,
        alike: vec![one("A", record().id, false, 100), one("B", other_record().id, true, 101)],
        ..settled().settled.remove(0)
    };
    ResolveAllReport { settled: vec![item], left: Vec::new(), ..settled() }
}

/// The same two before anybody has decided.
pub(crate) fn alike() -> ConflictReport {
    let mut alike = ConflictReport {
        kind: "duplicate".into(),
        field: String::new(),
        duplicate: Some(DuplicateReport {
            records: vec![record(), other_record()],
            differ: vec!["deviceId".into(), "data.oilVolume".into()],
            more: 0,
        }),
        ..conflict()
    };
    for (value, volume) in alike.values.iter_mut().zip([100, 101]) {
        value.value = json!({ "data.oilVolume": volume, "deviceId": "tablet" });
    }
    alike
}

/// A record that one deleted and another, who did not know, restored.
pub(crate) fn restored() -> ConflictReport {
    let mut restored = ConflictReport {
        kind: "deleted-and-edited".into(),
        field: "_deletedAt".into(),
        ..conflict()
    };
    restored.values[0].value = json!(at());
    restored.values[1].value = Json::Null;
    restored.values[1].fields = map(json!({ "_deletedAt": null }));
    restored
}

/// A conflict over one field.
pub(crate) fn conflict() -> ConflictReport {
    let value = |label: &str, value, user: Option<&str>, device| ConflictValue {
        label: label.into(),
        value,
        user: user.map(Into::into),
        made_for: None,
        device: Some(device_id(device)),
        at: at(),
        fields: Map::new(),
        saw: None,
    };
    ConflictReport {
        id: "77777777-7777-7777-7777-77777c21a9f0".into(),
        kind: "field".into(),
        record: record().id,
        collection: "field_entry".into(),
        name: "State 12-4 PRODUCTION".into(),
        field: "data.oilVolume".into(),
        open: true,
        values: vec![value("A", json!(82.3), Some("Ana"), 0xaa), value("B", json!(80), None, 0xbb)],
        faults: Vec::new(),
        ended: Vec::new(),
        comments: Vec::new(),
        reason: None,
        batch: None,
        discarded: None,
        adopted_by: None,
        duplicate: None,
    }
}

/// An entry with a value that no rule allows.
pub(crate) fn breach() -> ConflictReport {
    let message = "Oil volume cannot be negative";
    let mut breach = ConflictReport {
        kind: "rule".into(),
        faults: vec![Fault::new("data.oilVolume", message)],
        ..conflict()
    };
    breach.values.truncate(1);
    breach
}

/// A value that Ana did not take.
pub(crate) fn notice() -> Notice {
    Notice {
        id: "0d3c-4be02d17".into(),
        kind: NoticeKind::Overwritten,
        record: record().id,
        collection: "field_entry".into(),
        name: "State 12-4".into(),
        field: "data.oilVolume".into(),
        item: conflict().id,
        by: Some("Ana".into()),
        at: Some(at()),
        wrote: json!(80),
        left: json!(82.3),
        reason: None,
        seen: false,
    }
}

/// A batch of a revoked truck.
pub(crate) fn batch_aside() -> ConflictReport {
    ConflictReport {
        id: "ab".repeat(32),
        kind: "quarantine".into(),
        field: String::new(),
        values: Vec::new(),
        reason: Some("its device was revoked (stolen) before this was known".into()),
        batch: Some(AsideBatch {
            batch: BatchId::from_bytes([0xab; 32]),
            device: device_id(0xbb),
            device_name: Some("truck-7".into()),
            at: at(),
            changes: 12,
            advice: "an admin can let it count again: fieldmesh devices adopt truck-7 abababab"
                .into(),
        }),
        ..conflict()
    }
}

/// A truck that was just revoked.
pub(crate) fn revoked() -> RevokeReport {
    RevokeReport { device: device_id(0xbb), name: "truck-7".into(), kept: 1_234, wipe: true }
}

/// Work of the truck that counts again.
pub(crate) fn adopted() -> AdoptReport {
    AdoptReport { device: device_id(0xbb), name: "truck-7".into(), batches: 3, left: 1 }
}

/// A sync on request that was told to wait.
pub(crate) fn sync_now() -> SyncNow {
    let errors = vec!["Sync already in progress".to_owned()];
    SyncNow { errors, ..SyncNow::default() }
}

/// A record that was just purged.
pub(crate) fn purged() -> Vec<PurgeReport> {
    vec![PurgeReport {
        id: record().id,
        collection: "field_entry".into(),
        name: "field_entry of State 12-4".into(),
        changes: 3,
        purged: true,
        erased: true,
    }]
}

/// One purge that is done here and one that is not.
pub(crate) fn purges() -> Vec<PurgedRecord> {
    let purge = |record: Record, reason: &str, erased| PurgedRecord {
        id: record.id,
        by: "office (Ana)".into(),
        at: at(),
        reason: reason.into(),
        erased,
    };
    vec![purge(record(), "asked\nfor", true), purge(other_record(), "", false)]
}

/// A relay that is connected, and one that moved away.
pub(crate) fn relays() -> Vec<RelayReport> {
    let relay = |address: &str, state, error: Option<&str>| RelayReport {
        address: address.into(),
        device: device_id(0xcc),
        name: "relay".into(),
        state,
        by: "office (ana@example.com)".into(),
        since: at(),
        last_in_step: (state == RelayState::Connected).then(at),
        error: error.map(Into::into),
        was: None,
    };
    vec![
        relay("relay.example.org:7843", RelayState::Connected, None),
        relay("192.0.2.7:7843", RelayState::Unreachable, Some("no answer\nwithin 5 s")),
    ]
}

/// The office and a truck.
pub(crate) fn devices() -> Vec<DeviceReport> {
    let device = |byte, name: &str, role, this| DeviceReport {
        founder: false,
        traffic: None,
        device: device_id(byte),
        name: name.into(),
        user: "Ana".into(),
        email: Some("ana@example.com".into()),
        role,
        this,
        batches: 1_234,
        last_change: Some(at()),
        last_contact: None,
        aside: 0,
        revoked: None,
    };
    vec![device(0xaa, "office", Role::Admin, true), device(0xbb, "truck-7", Role::Operator, false)]
}

/// One peer in step and one that cannot be reached.
pub(crate) fn peers() -> Vec<PeerReport> {
    let peer = |name: Option<&str>, state: &str, error: Option<&str>| PeerReport {
        device: name.map(|_| device_id(0xbb)),
        name: name.map(Into::into),
        state: state.into(),
        addresses: vec!["10.0.0.7:7843".into()],
        found_by: "mdns".into(),
        transport: name.map(|_| Transport::Tcp),
        last_transport: None,
        last_in_step: name.map(|_| at()),
        error: error.map(Into::into),
        protocol: None,
        clock_ahead: None,
        traffic: None,
    };
    vec![
        peer(Some("truck-7"), "in-step", None),
        peer(None, "unreachable", Some("no answer within 5 s")),
    ]
}

/// A sync with one peer that answered and one that did not.
pub(crate) fn sync() -> SyncReport {
    let peer = |name: Option<&str>, error: Option<&str>| PeerSync {
        device: name.map(|_| device_id(0xbb)),
        name: name.map(Into::into),
        address: "10.0.0.7:7843".into(),
        received: 1,
        sent: 12_036,
        bytes_in: 900,
        bytes_out: 5 << 20,
        rounds: 2,
        error: error.map(Into::into),
    };
    SyncReport {
        result: SyncResult::Partial,
        peers: vec![peer(Some("truck-7"), None), peer(None, Some("no answer within 5 s"))],
        conflicts: 1,
        remaking: None,
        only: Vec::new(),
        notes: Vec::new(),
        revoked: false,
    }
}

/// The tenant of the office.
pub(crate) fn tenant() -> TenantReport {
    TenantReport {
        tenant: TenantId::from_bytes([0x44; 32]),
        name: "Permian West".into(),
        slug: "permian-west".into(),
        fingerprint: "ab12 cd34 ef56".into(),
        device: device_id(0xaa),
        device_name: "office".into(),
    }
}

/// The state of the office.
pub(crate) fn backup() -> BackupReport {
    BackupReport {
        file: "/media/stick/monday.backup".into(),
        at: Moment::from_millis(1_767_225_600_000),
        entries: 12_345,
        unreadable: 0,
        bytes: 1_234_567,
        is_whole: true,
    }
}

pub(crate) fn rekey() -> RekeyReport {
    RekeyReport { parts_done: 3, parts_total: 12, problem: None }
}

pub(crate) fn status() -> StatusReport {
    StatusReport {
        state: "online".into(),
        remaking: None,
        behind: 0,
        tenant: tenant(),
        role: Role::Admin,
        user: Some("Ana".into()),
        store: StoreId::from_bytes([0x55; 16]),
        records: [("field_entry".to_owned(), 152_064), ("well".to_owned(), 12)].into(),
        batches: 152_076,
        root: "0123456789abcdef".repeat(4),
        unsealed: 1,
        conflicts: 2,
        quarantined: 0,
        notices: Some(0),
        awaiting: Some(0),
        places: SafetyCounts { here: 3, on_devices: 1_200, safe: 150_873 },
        only: vec!["well".into(), "field_entry@2026-03".into()],
        kept: KeptReport::default(),
        not_sent: 5,
        protocols: [(1, 1), (2, 3)].into(),
        notes: vec!["this device's clock is 10 years behind 3 peers".into()],
        disk: disk(),
        rekey: None,
        damage: vec!["segment 3 has a torn tail".into()],
        addresses: vec!["10.0.0.1:7843".into()],
        connected: 1,
        last_sync: None,
    }
}

/// A home that was made smaller.
pub(crate) fn compaction() -> CompactReport {
    CompactReport {
        log_before: 2_487_758,
        log_after: 384_360,
        view_before: 3_670_169,
        view_after: 524_698,
        segments: 1,
        dropped: 2_001,
        faults: Vec::new(),
    }
}

/// What a device holds that lets old records go.
pub(crate) fn kept() -> KeptReport {
    KeptReport {
        since: Some("2026-03".into()),
        at: Some("2026-03-01T08:30:00Z".parse().unwrap()),
        collections: vec!["field_entry".into()],
        auto: Some(3),
    }
}

/// What a device has let go.
pub(crate) fn evicted() -> EvictReport {
    let reason = "12 records of 2026-03 are not safe yet: `fieldmesh list --unsafe`";
    EvictReport {
        kept: kept(),
        asked: Some("2026-04".into()),
        records: 1_204,
        batches: 31,
        held_back: vec![HeldMonth { month: "2026-03".into(), reason: reason.into() }],
        log_before: 2_487_758,
        log_after: 384_360,
        ..EvictReport::default()
    }
}

/// What a home takes of a disk that has room.
fn disk() -> DiskReport {
    DiskReport {
        log: 40_000_000,
        view: 38_000_000,
        quarantine: 0,
        reserve: 16_777_216,
        free: Some(20_000_000_000),
        low: false,
        full: false,
        may_free: false,
    }
}

/// An import with refused rows.
pub(crate) fn import() -> ImportReport {
    ImportReport {
        imported: 136_000,
        updated: 0,
        unchanged: 805,
        refused: 13,
        rows: 136_818,
        created: 12_036,
    }
}

/// A reading that lacks what was produced.
pub(crate) fn draft() -> Draft {
    let fields =
        json!({"wellId": "State 12-4", "entryType": "PRODUCTION", "data": {"notes": "a\nb"}});
    let Json::Object(fields) = fields else { unreachable!("it is an object") };
    Draft {
        id: "5be1a0c9f00d5be1a0c9f00d5be1a0c9".into(),
        collection: "field_entry".into(),
        fields,
        begun_at: at(),
        saved_at: at(),
        faults: vec![Fault::new("data.oilVolume", "Oil volume is required")],
    }
}

/// A second version that was applied.
pub(crate) fn schema() -> SchemaReport {
    SchemaReport {
        collection: "pump_round".into(),
        version: 2,
        fields: 11,
        before: Some(1),
        changes: vec!["field weather is new".into()],
        applied: true,
    }
}

/// One that counts, one that it goes before, one of a newer version and one that is built in.
pub(crate) fn schemas() -> Vec<SchemaShown> {
    let one = |name: &str, version, state, fields| SchemaShown {
        name: name.into(),
        number: 20_000,
        version,
        state,
        fields,
        records: if state == SchemaState::Replaced { 0 } else { 7 },
        by: (state != SchemaState::BuiltIn).then(|| "office\n(Ana)".into()),
        at: (state != SchemaState::BuiltIn).then(at),
        text: None,
        definition: None,
    };
    vec![
        one("pump_round", 2, SchemaState::InForce, Some(11)),
        one("tank_gauge", 9, SchemaState::NotUnderstood, None),
        one("pump_round", 1, SchemaState::Replaced, Some(10)),
        one("well", 1, SchemaState::BuiltIn, Some(14)),
    ]
}
