//! What is purged, and what was.

use fieldmesh::api::{PurgeReport, PurgedRecord};

use super::table::{Side, Table};
use super::{Style, Tone, counted, one_line};

/// What somebody should know before records are purged.
pub(crate) fn purge_question(records: &[PurgeReport]) -> String {
    let (them, they) = if records.len() == 1 { ("it", "it is") } else { ("them", "they are") };
    let mut text = format!(
        "Purging erases {} for good, on every device and relay of the tenant:\n",
        counted(count(records), "record", "records")
    );
    text.push_str(&lines(records));
    text.push_str(&format!(
        "Contents and history go; salted hashes stay, so that signatures still verify.\n\
         Other devices erase {them} as soon as they hear of it, at their next sync.\n\
         What cannot be recalled: backups made before, exports, printouts, and devices that never \
         come back.\n\
         Nobody can bring {them} back once {they} purged."
    ));
    text
}

/// What a purge came to, or would come to.
pub(crate) fn purged(records: &[PurgeReport], style: &Style) -> String {
    if records.iter().any(|record| !record.purged) {
        let records = format!("{}\n", purge_question(records));
        return format!("{records}Nothing was done: this was a dry run.\n");
    }
    let count = counted(count(records), "record is", "records are");
    let head = style.paint(Tone::Good, &format!("Done: {count} purged."));
    let here = match records.iter().all(|record| record.erased) {
        true => "Nothing of it is left in what this home can read.",
        false => "This home goes on erasing; `fieldmesh purge --list` says when it is done.",
    };
    format!(
        "{head} {here}\n{}Others erase it as soon as they hear of it. Backups and exports made \
         before still have it: delete them where you must.\n",
        lines(records)
    )
}

/// What was purged so far.
pub(crate) fn purges(records: &[PurgedRecord], style: &Style) -> String {
    let mut table = Table::new([
        ("record", Side::Left),
        ("purged", Side::Left),
        ("by", Side::Left),
        ("here", Side::Left),
        ("why", Side::Left),
    ]);
    for record in records {
        let (here, tone) = match record.erased {
            true => ("erased", Tone::Good),
            false => ("not yet erased", Tone::Doubtful),
        };
        table.toned_row([
            (record.id.short(), Tone::Plain),
            (style.time(record.at), Tone::Plain),
            (one_line(&record.by), Tone::Plain),
            (here.into(), tone),
            (one_line(&record.reason), Tone::Plain),
        ]);
    }
    table.print(style)
}

fn count(records: &[PurgeReport]) -> u64 {
    u64::try_from(records.len()).unwrap_or(u64::MAX)
}

fn lines(records: &[PurgeReport]) -> String {
    let line = |record: &PurgeReport| {
        let (collection, name) = (one_line(&record.collection), one_line(&record.name));
        // What has no name of its own is called after its collection and what it belongs to.
        let name = name.strip_prefix(&format!("{collection} ")).unwrap_or(&name);
        let name = if name.is_empty() { String::new() } else { format!(" ({name})") };
        let changes = counted(record.changes, "change", "changes");
        format!("  {collection} {}{name}: {changes}\n", record.id)
    };
    records.iter().map(line).collect()
}
