//! Drafts: what is not finished, and what it lacks.

use fieldmesh::api::Draft;

use super::record::{flat_fields, in_order};
use super::table::{Side, Table, shortened};
use super::{Style, Tone, one_line, pairs, short_field};

/// How much of an id is shown; it is enough to type.
const ID_WIDTH: usize = 8;
/// How much of the values a list shows.
const VALUES_WIDTH: usize = 48;

/// The drafts of a device.
pub(crate) fn drafts(drafts: &[Draft], style: &Style) -> String {
    let mut table = Table::new([
        ("draft", Side::Left),
        ("collection", Side::Left),
        ("begun", Side::Left),
        ("state", Side::Left),
        ("values", Side::Left),
    ]);
    for draft in drafts {
        let (text, tone) = match draft.faults.len() {
            0 => ("ready".to_owned(), Tone::Good),
            count => (format!("{count} to do"), Tone::Doubtful),
        };
        let fields = flat_fields(&draft.fields, style);
        let values: Vec<String> =
            in_order(&fields).into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        table.toned_row([
            (draft.id.chars().take(ID_WIDTH).collect(), Tone::Plain),
            (one_line(&draft.collection), Tone::Plain),
            (style.time(draft.begun_at), Tone::Plain),
            (text, tone),
            (shortened(&values.join(" "), VALUES_WIDTH), Tone::Plain),
        ]);
    }
    table.print(style)
}

/// One in full, with what keeps it from being submitted.
pub(crate) fn draft(draft: &Draft, style: &Style) -> String {
    let mut text = values(draft, style);
    if draft.faults.is_empty() {
        let id: String = draft.id.chars().take(ID_WIDTH).collect();
        text.push_str(&format!("Record it: fieldmesh submit {id}\n"));
        return text;
    }
    text.push_str("Before it can be submitted:\n");
    for fault in &draft.faults {
        let message = one_line(&fault.message);
        text.push_str(&match short_field(&fault.field) {
            "" => format!("  {message}\n"),
            field => format!("  {field}: {message}\n"),
        });
    }
    text
}

/// One that was thrown away, so that it can be typed again.
pub(crate) fn draft_gone(draft: &Draft, style: &Style) -> String {
    format!("Thrown away:\n{}", values(draft, style))
}

fn values(draft: &Draft, style: &Style) -> String {
    let title = format!("draft of {} {}", one_line(&draft.collection), draft.id);
    let fields = flat_fields(&draft.fields, style);
    let about = [("begun", style.time(draft.begun_at)), ("changed", style.time(draft.saved_at))];
    let heading = style.paint(Tone::Heading, &title);
    format!("{heading}\n{}{}", pairs(&in_order(&fields), 2, style), pairs(&about, 0, style))
}
