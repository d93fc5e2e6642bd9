//! What became of somebody's work by the hand of others.

use fieldmesh::api::{Notice, NoticeKind};

use super::record::short_id;
use super::table::{Side, Table};
use super::{Style, Tone, one_line, short_field};

/// Notices as a table, a sentence each.
pub(crate) fn notices(notices: &[Notice], style: &Style) -> String {
    let titles = ["id", "when", "record", "what"];
    let mut table = Table::new(titles.map(|title| (title, Side::Left)));
    for notice in notices {
        let tone = if notice.seen { Tone::Quiet } else { Tone::Plain };
        table.toned_row([
            (short_id(&notice.id).to_owned(), tone),
            (notice.at.map_or_else(|| "-".to_owned(), |at| style.time(at)), tone),
            (one_line(&notice.name), tone),
            (sentence(notice, style), tone),
        ]);
    }
    table.print(style)
}

fn sentence(notice: &Notice, style: &Style) -> String {
    let reason = notice.reason.as_deref().map(one_line).unwrap_or_default();
    match notice.kind {
        NoticeKind::Overwritten if notice.field == DELETED => {
            let by = by(notice);
            match notice.left.is_null() {
                true => format!("{by} brought back what you had deleted"),
                false => format!("{by} left it deleted, with what you had changed"),
            }
        }
        NoticeKind::Overwritten if notice.field.is_empty() => {
            format!("{} kept another record of the same instead of yours", by(notice))
        }
        NoticeKind::Overwritten if notice.reason.is_some() => {
            let field = one_line(short_field(&notice.field));
            let wrote = style.value(&notice.wrote);
            format!("{field}: {} deleted the record, with your {wrote}", by(notice))
        }
        NoticeKind::Overwritten => {
            let field = one_line(short_field(&notice.field));
            let (wrote, left) = (style.value(&notice.wrote), style.value(&notice.left));
            format!("{field}: {} took {left} instead of your {wrote}", by(notice))
        }
        NoticeKind::Refused => format!("your change could not be applied: {reason}"),
        NoticeKind::Excluded => format!("a batch of yours does not count: {reason}"),
        NoticeKind::Declined => format!("{} did not approve it: {reason}", by(notice)),
        _ => reason,
    }
}

/// The field that says that a record is deleted.
const DELETED: &str = "_deletedAt";

fn by(notice: &Notice) -> String {
    notice.by.as_deref().map_or_else(|| "somebody".to_owned(), one_line)
}
