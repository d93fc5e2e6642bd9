//! Goal: reports stay readable and aligned, and no record can move a terminal's cursor.
//! Method: whole texts, in UTC and without colours.

use fieldmesh::api::{
    DeviceReport, DoctorReport, Finding, Record, RefusedRow, RevokedReport, SchemaReport,
    SchemaState, SchemaStep, VerifyReport,
};
use fieldmesh_model::validate::Fault;
use serde_json::json;

use super::*;

mod conflicts;

pub(super) fn style() -> Style {
    Style { width: 100, paint: Paint::None, zone: TimeZone::UTC }
}

#[test]
fn a_record_in_full() {
    assert_eq!(
        record(&samples::record(), &style()),
        "\
field_entry 11111111-1111-1111-1111-111111111111
  wellId      State 12-4
  entryType   PRODUCTION
  recordedAt  2026-03-01 08:30
  latitude    —
  notes       valve checked
  oilVolume   82.3
  photos      a.jpg, b.jpg
  runtime     24
created    2026-03-01 08:30 by user …33333333 on device …aaaaaaaa
updated    2026-03-01 08:31
where      on 2 devices
conflicts  7c21a9f0 (see `fieldmesh conflicts`)
"
    );
}

#[test]
fn records_in_columns_that_fit() {
    let records = [samples::record(), samples::other_record()];
    assert_eq!(
        super::records(&records, &Style { width: 72, ..style() }),
        "\
id        conflicts  where         wellId      entryType
11111111  1 open     on 2 devices  State 12-4  PRODUCTION
12121212             safe          State 12-4  INSPECTION
"
    );
    let [decided, _] = records.map(|it| Record { conflicts: Vec::new(), ..it });
    let table = super::records(std::slice::from_ref(&decided), &Style { width: 72, ..style() });
    assert!(!table.contains("conflicts"), "{table}");
    let alike = Record {
        conflicts: vec!["77".into(), "78".into()],
        duplicates: vec![samples::other_record().id],
        ..decided
    };
    let table = super::records(&[alike], &Style { width: 72, ..style() });
    assert!(table.contains("2 open, 1 alike"), "{table}");
    assert_eq!(super::records(&[], &style()), "");
}

#[test]
fn a_change_of_many() {
    assert_eq!(
        bulk(&samples::bulk_report(), &style()),
        "\
id        name        field      before  after
11111111  State 12-4  oilVolume  82.3    81

id        refused
12121212  only its author may
"
    );
    let report = samples::bulk_report();
    assert_eq!(
        bulk_summary(&report),
        "1 record would change, 1 record cannot. Nothing was written."
    );
    let report = fieldmesh::api::BulkReport { refused: Vec::new(), ..report };
    assert_eq!(
        bulk_summary(&report),
        "1 record would change, 2 have these values already. Nothing was written."
    );
    let report = fieldmesh::api::BulkReport { written: true, ..report };
    assert_eq!(bulk_summary(&report), "Changed 1 record, 2 have these values already.");
}

#[test]
fn a_change_of_many_that_met_others() {
    let report = samples::bulk_report();
    let skipped = report.refused.clone();
    let report = fieldmesh::api::BulkReport {
        refused: Vec::new(),
        skipped,
        unchanged: 0,
        written: true,
        ..report
    };
    assert_eq!(bulk_summary(&report), "Changed 1 record; 1 record was left as it is, look again.");
    assert!(bulk(&report, &style()).contains("12121212  only its author may"));
    assert_eq!(
        bulk_question(&report, &style()),
        "\
id        name        field      before  after
11111111  State 12-4  oilVolume  82.3    81
This changes 1 record."
    );
}

#[test]
fn what_others_did_with_ones_work() {
    let taken = samples::notice();
    let left = fieldmesh::api::Notice {
        field: "_deletedAt".into(),
        wrote: serde_json::Value::Null,
        by: None,
        ..taken.clone()
    };
    let excluded = fieldmesh::api::Notice {
        kind: fieldmesh::api::NoticeKind::Excluded,
        at: None,
        reason: Some("its device was revoked".into()),
        ..taken.clone()
    };
    assert_eq!(
        notices(&[taken, left, excluded], &style()),
        "\
id        when              record      what
4be02d17  2026-03-01 08:30  State 12-4  oilVolume: Ana took 82.3 instead of your 80
4be02d17  2026-03-01 08:30  State 12-4  somebody left it deleted, with what you had changed
4be02d17  -                 State 12-4  a batch of yours does not count: its device was revoked
"
    );
}

#[test]
fn a_history() {
    assert_eq!(
        history(&samples::revisions(), &style()),
        "\
2026-03-01 08:30  Ana on office
  oilVolume: 82.3
2026-03-01 08:31  Ana on office
  oilVolume: 82.3 → 81
  notes: checked → —
"
    );
}

#[test]
fn a_device_is_revoked_knowingly() {
    let device = samples::devices().remove(1);
    assert_eq!(
        revoked(&samples::revoked(), &style()),
        "\
Done: truck-7 is revoked, and erases itself when it learns of it. 1,234 batches of it count.
Others learn of it when they meet this device or one that knows.
"
    );
    assert_eq!(
        adopted(&samples::adopted(), &style()),
        "Done: 3 batches of truck-7 count again. 1 still do not.\n"
    );
    let gone = RevokedReport { reason: "stolen".into(), wipe: true, by: None };
    let shown = devices(&[DeviceReport { revoked: Some(gone), ..device }], &style());
    assert!(shown.contains("revoked"), "{shown}");
}

#[test]
fn devices_and_peers() {
    assert_eq!(
        devices(&samples::devices(), &style()),
        "\
device    name     person                 role      batches  last change       last contact
aaaaaaaa  office   Ana <ana@example.com>  admin       1,234  2026-03-01 08:30  this device
bbbbbbbb  truck-7  Ana <ana@example.com>  operator    1,234  2026-03-01 08:30  never
"
    );
    assert_eq!(
        peers(&samples::peers(), &style()),
        "\
device   state        address        over  found by  in step           why not
truck-7  in-step      10.0.0.7:7843  tcp   mdns      2026-03-01 08:30
?        unreachable  10.0.0.7:7843        mdns      never             no answer within 5 s
"
    );
}

#[test]
fn where_relays_are() {
    assert_eq!(
        relays(&samples::relays(), &Style { width: 160, ..style() }),
        "\
address                 relay  state        in step           signed by                 since             why not
relay.example.org:7843  relay  connected    2026-03-01 08:30  office (ana@example.com)  2026-03-01 08:30
192.0.2.7:7843          relay  unreachable  never             office (ana@example.com)  2026-03-01 08:30  no answer within 5 s
"
    );
    assert_eq!(
        relays_added(&samples::relays()[..1], &style()),
        "Done: relay is at relay.example.org:7843. Every other device learns it at its next sync \
         and dials it by itself.\n"
    );
    assert_eq!(
        relay_removed("relay.example.org:7843", "the address of relay", &style()),
        "Done: relay.example.org:7843 was the address of relay, and is no more. Other devices \
         leave it alone from their next sync on.\n"
    );
}

#[test]
fn a_purge_is_said_knowingly_and_listed() {
    let mut planned = samples::purged();
    planned[0].purged = false;
    assert_eq!(
        purged(&planned, &style()),
        "\
Purging erases 1 record for good, on every device and relay of the tenant:
  field_entry 11111111-1111-1111-1111-111111111111 (of State 12-4): 3 changes
Contents and history go; salted hashes stay, so that signatures still verify.
Other devices erase it as soon as they hear of it, at their next sync.
What cannot be recalled: backups made before, exports, printouts, and devices that never come back.
Nobody can bring it back once it is purged.
Nothing was done: this was a dry run.
"
    );
    assert_eq!(
        purged(&samples::purged(), &style()),
        "\
Done: 1 record is purged. Nothing of it is left in what this home can read.
  field_entry 11111111-1111-1111-1111-111111111111 (of State 12-4): 3 changes
Others erase it as soon as they hear of it. Backups and exports made before still have it: delete \
         them where you must.
"
    );
    assert_eq!(
        purges(&samples::purges(), &Style { width: 120, ..style() }),
        "\
record    purged            by            here            why
11111111  2026-03-01 08:30  office (Ana)  erased          asked for
12121212  2026-03-01 08:30  office (Ana)  not yet erased
"
    );
}

#[test]
fn a_sync() {
    assert_eq!(
        synced(&samples::sync(), &style()),
        "\
truck-7 (10.0.0.7:7843): 1 batch received, 12,036 sent; 900 B in, 5.0 MiB out; 2 rounds
10.0.0.7:7843: no answer within 5 s
In step with some; the others could not be reached. 1 conflict is open; see `fieldmesh conflicts`.
"
    );
}

#[test]
fn a_status() {
    assert_eq!(
        status(&samples::status(), &style()),
        format!(
            "\
state        online
tenant       Permian West (permian-west)
fingerprint  ab12 cd34 ef56
device       office (Ana, admin)
device id    {}
listening    10.0.0.1:7843
peers        1 connected
in step      never so far
records      field_entry 152,064, well 12
where        3 only here, 1,200 on other devices, 150,873 safe
batches      152,076, root 0123456789abcdef
on the way   1 change
conflicts    2 open
only         well, field_entry@2026-03
not sent     5 records made here outside of what is exchanged
protocol     version 2 with 3 peers, version 1 with 1 peer
disk         log 38.1 MiB, view 36.2 MiB, reserve 16.0 MiB, 18.6 GiB free
note         this device's clock is 10 years behind 3 peers
damage       segment 3 has a torn tail
",
            "aa".repeat(32)
        )
    );
}

#[test]
fn an_import_and_its_refused_rows() {
    assert_eq!(
        imported(&samples::import(), &style()),
        "136,818 rows: 136,000 imported, 805 unchanged, 13 refused; 12,036 records made besides"
    );
    let fault = |field: &str, message: &str| Fault { field: field.into(), message: message.into() };
    let row = RefusedRow {
        row: 17,
        faults: vec![
            fault("data.oilVolume", "Oil volume cannot be negative"),
            fault("", "too few cells"),
        ],
    };
    assert_eq!(
        refused_row(&row),
        "row 17 refused: oilVolume: Oil volume cannot be negative; too few cells"
    );
}

#[test]
fn a_check_of_the_home() {
    let report = VerifyReport { clean: true, frames: 1, batches: 2, ..VerifyReport::default() };
    assert_eq!(
        verify(&report, &style()),
        "clean: checked 1 frame, 2 batches, 0 changes, 0 policy items, 0 records\n"
    );
    let report = VerifyReport { faults: vec!["frame 7 is damaged".into()], ..report };
    let report = VerifyReport { clean: false, ..report };
    assert!(verify(&report, &style()).starts_with("1 fault: checked"));
    assert!(verify(&report, &style()).ends_with("\n  frame 7 is damaged\n"));
}

#[test]
fn a_tenant() {
    assert!(
        tenant(&samples::tenant(), &style()).starts_with("Permian West\nslug         permian-")
    );
}

#[test]
fn no_value_moves_the_cursor() {
    let hostile = json!("\u{1b}[2Jgone\r\nline");
    assert_eq!(style().value(&hostile), " [2Jgone  line");
    assert_eq!(style().value(&json!(["a\u{7}", 1])), "a , 1");
}

#[test]
fn colours_do_not_move_columns() {
    let colours = Style { paint: Paint::Colours, ..style() };
    let painted = peers(&samples::peers(), &colours);
    let mut plain = String::new();
    let mut rest = painted.as_str();
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    plain.push_str(rest);
    let trimmed = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.trim_end().to_owned()).collect()
    };
    assert_eq!(trimmed(&plain), trimmed(&peers(&samples::peers(), &style())));
    assert!(painted.contains("\u{1b}[32min-step"));
}

#[test]
fn numbers_are_readable() {
    let texts: Vec<String> = [0, 999, 1_000, 12_036, 1_234_567].map(thousands).into();
    assert_eq!(texts, ["0", "999", "1,000", "12,036", "1,234,567"]);
    let texts: Vec<String> = [0, 1_023, 1_024, 1_048_524, 1_048_576, 5 << 30].map(bytes).into();
    assert_eq!(texts, ["0 B", "1023 B", "1.0 KiB", "1023.9 KiB", "1.0 MiB", "5.0 GiB"]);
}

#[test]
fn an_invitation_fits_a_qr_code() {
    let code = qr(&format!("fieldmesh1{}", "a".repeat(400))).unwrap();
    assert!(code.lines().count() > 20);
    assert!(qr(&"a".repeat(4_000)).is_none());
}

#[test]
fn a_backup_says_what_it_holds_and_what_it_lacks() {
    let mut report = samples::backup();
    let text = backed_up(&report, &style());
    assert!(
        text.starts_with("/media/stick/monday.backup: whole backup, 12,345 entries, "),
        "{text}"
    );
    assert!(text.ends_with("read back and found whole\n"));
    report.unreadable = 1;
    let text = backed_up(&report, &style());
    assert!(!text.contains("found whole"), "{text}");
    assert!(
        text.ends_with("1 entry could not be read: not in this backup; see `fieldmesh doctor`\n")
    );
}

#[test]
fn a_rekey_under_way() {
    let report = samples::rekey();
    assert_eq!(rekey(&report), "3 of 12 parts of this home are under the new key");
    let status = fieldmesh::api::StatusReport { rekey: Some(report.clone()), ..samples::status() };
    assert!(super::status(&status, &style()).contains("\nrekey        3 of 12 parts"));
    let waits = fieldmesh::api::RekeyReport { problem: Some("disk full".into()), ..report };
    assert!(rekey(&waits).ends_with("under the new key; it waits: disk full"));
    assert_eq!(rekey(&fieldmesh::api::RekeyReport::default()), "it has just begun");
}

#[test]
fn what_has_come_and_is_not_counted_is_told() {
    let status = fieldmesh::api::StatusReport { behind: 1_200, ..samples::status() };
    let text = super::status(&status, &style());
    assert!(text.contains("\narriving     1,200 entries of the log not in these"), "{text}");
    assert!(text.contains(" so far\nwhere"), "{text}");
    assert!(!super::status(&samples::status(), &style()).contains("arriving"));
}

#[test]
fn what_is_open_is_told_before_what_was_healed() {
    assert_eq!(doctor(&DoctorReport::default(), &style()), "Nothing is open.\n");
    let lost = Finding {
        kind: "lost-change".into(),
        open: true,
        what: "a change is lost".into(),
        means: "Nobody has it.".into(),
        done: "It is kept here.".into(),
        next: "Record it again.".into(),
        record: None,
    };
    let healed = Finding {
        what: "2 entries were damaged".into(),
        done: "Back.".into(),
        ..Finding::default()
    };
    let findings = vec![lost, healed];
    let report = DoctorReport { open: true, checking: Some(34), remaking: None, findings };
    assert_eq!(
        doctor(&report, &style()),
        "1 thing is open.\n\
         What is stored is being checked: 34 % done.\n\
         \n! a change is lost\n  Nobody has it.\n  It is kept here.\n  \
         What you can do: Record it again.\n\
         \n- 2 entries were damaged\n  Back.\n"
    );
}

#[test]
fn a_draft_says_what_it_lacks() {
    let mut sample = samples::draft();
    assert_eq!(
        drafts(std::slice::from_ref(&sample), &Style { width: 120, ..style() }),
        "\
draft     collection   begun             state    values
5be1a0c9  field_entry  2026-03-01 08:30  1 to do  wellId=State 12-4 entryType=PRODUCTION notes=a b
"
    );
    assert_eq!(
        draft(&sample, &style()),
        "\
draft of field_entry 5be1a0c9f00d5be1a0c9f00d5be1a0c9
  wellId     State 12-4
  entryType  PRODUCTION
  notes      a b
begun    2026-03-01 08:30
changed  2026-03-01 08:30
Before it can be submitted:
  oilVolume: Oil volume is required
"
    );
    assert!(draft_gone(&sample, &style()).starts_with("Thrown away:\ndraft of field_entry 5be1"));
    sample.faults.clear();
    assert!(draft(&sample, &style()).ends_with("Record it: fieldmesh submit 5be1a0c9\n"));
}

#[test]
fn what_another_admin_made_of_a_schema_stands_behind_it_as_comments() {
    let mut found = samples::schemas();
    found.truncate(1);
    let mut other = found[0].clone();
    found[0].text = Some("name = \"pump_round\"".into());
    (other.state, other.text) =
        (SchemaState::Apart, Some("[[field]]\nkey = \"mood\u{1b}\"\n".into()));
    found.push(other.clone());
    (other.state, other.text) = (SchemaState::Replaced, Some("old".into()));
    found.push(other.clone());
    let head = "version 2 by office (Ana), 2026-03-01 08:30";
    let expected = format!(
        "name = \"pump_round\"\n# made apart: {head}\n#   [[field]]\n#   key = \"mood\"\n\
         # replaced: {head}\n"
    );
    assert_eq!(schema_file(&found, &style()), expected);
    // A name whose number another one has.
    assert_eq!(schema_file(&[other], &style()), format!("# replaced: {head}\n#   old\n"));
}

#[test]
fn a_schema_says_what_it_changes_and_which_of_them_counts() {
    let applied = samples::schema();
    assert_eq!(
        schema(&applied, SchemaStep::Apply),
        "\
pump_round version 2, 11 fields, in place of version 1:
  field weather is new
Done. Other devices record by it as soon as they hear of it, at their next sync; records stay as \
         they are.
"
    );
    let new = SchemaReport { before: None, changes: Vec::new(), applied: false, ..applied.clone() };
    assert_eq!(
        schema(&new, SchemaStep::Check),
        "pump_round version 2, 11 fields: a new collection.\nNo mistakes. Nothing was applied.\n"
    );
    let same = SchemaReport { before: Some(2), changes: Vec::new(), ..applied };
    assert_eq!(
        schema(&same, SchemaStep::Apply),
        "pump_round version 2, 11 fields: this is in force already, and nothing changes.\n"
    );
    assert_eq!(
        schemas(&samples::schemas(), &Style { width: 120, ..style() }),
        "\
collection  version  state           fields  records  defined           by
pump_round        2  in force            11        7  2026-03-01 08:30  office (Ana)
tank_gauge        9  not understood       ?        7  2026-03-01 08:30  office (Ana)
pump_round        1  replaced            10        0  2026-03-01 08:30  office (Ana)
well              1  built in            14        7
"
    );
}
