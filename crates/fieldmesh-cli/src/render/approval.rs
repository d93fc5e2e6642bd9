//! Whether records count, where their collection asks for approval.

use fieldmesh::api::{ApprovalReport, ApprovalState, Record, Ruled, RulingReport};

use super::{Style, Tone, counted, one_line, record, records};

/// So many records are shown in full to whoever decides; of more a table has what it can.
const SHOWN_WHOLE_MAX: usize = 8;

/// Where a record stands, in a word.
pub(super) fn state(approval: &ApprovalReport, is_deleted: bool) -> (&'static str, Tone) {
    match approval.state {
        ApprovalState::Awaiting if is_deleted => ("deletion", Tone::Doubtful),
        ApprovalState::Awaiting => ("awaiting", Tone::Doubtful),
        ApprovalState::Refused => ("refused", Tone::Doubtful),
        ApprovalState::Approved => ("approved", Tone::Good),
        // A word of a newer version.
        _ => ("?", Tone::Plain),
    }
}

/// What there is to say of one record, as a line of its description.
pub(super) fn line(
    approval: &ApprovalReport,
    is_deleted: bool,
    style: &Style,
) -> (&'static str, String) {
    let said = |ruling: &RulingReport| {
        let who = match &ruling.user {
            Some(user) => one_line(user),
            None => format!("device …{}", ruling.device.short()),
        };
        let (word, reason) = said(ruling.approved, ruling.reason.as_deref());
        format!("{word} by {who}, {}{reason}", style.time(ruling.at))
    };
    let text = match (&approval.ruling, approval.state) {
        (ruling, ApprovalState::Awaiting) => {
            let whose =
                if approval.mine { "awaiting yours (`fieldmesh approve`)" } else { "awaiting" };
            let since = ruling.as_ref().map(|it| format!("; changed since it was {}", said(it)));
            let what = if is_deleted { "the deletion is " } else { "" };
            format!("{what}{whose}; it does not count{}", since.unwrap_or_default())
        }
        (Some(ruling), ApprovalState::Refused) => format!("{}; it does not count", said(ruling)),
        (Some(ruling), _) => said(ruling),
        (None, _) => "not needed: only people who may approve it have written in it".to_owned(),
    };
    ("approval", style.paint(state(approval, is_deleted).1, &text))
}

/// What a change says of the record, in words.
pub(super) fn ruled(ruling: &Ruled) -> String {
    let (word, reason) = said(ruling.approved, ruling.reason.as_deref());
    let note = if ruling.counts { "" } else { " (whoever says so may not; it is not counted)" };
    format!("{word} the record{reason}{note}")
}

fn said(approved: bool, reason: Option<&str>) -> (&'static str, String) {
    let word = if approved { "approved" } else { "refused" };
    (word, reason.map(|reason| format!(": {}", one_line(reason))).unwrap_or_default())
}

/// What somebody is asked who approves or refuses.
pub(crate) fn approval_question(found: &[Record], is_refused: bool, style: &Style) -> String {
    let shown: String = match found {
        few if few.len() <= SHOWN_WHOLE_MAX => few.iter().map(|it| record(it, style)).collect(),
        many => records(many, style),
    };
    let what = if is_refused { "Refuse" } else { "Approve" };
    let count = counted(found.len() as u64, "record", "records");
    format!("{shown}{what} {count} as shown?")
}
