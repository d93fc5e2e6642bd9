//! Whether records count, where their collection asks for approval.

use fieldmesh::api::{ApprovalReport, ApprovalState, Record, RulingReport};

use super::{Style, Tone, counted, one_line, record, records};

/// Where a record stands, in a word.
pub(super) fn state(approval: &ApprovalReport) -> (&'static str, Tone) {
    match approval.state {
        ApprovalState::Awaiting => ("awaiting", Tone::Doubtful),
        ApprovalState::Refused => ("refused", Tone::Doubtful),
        ApprovalState::Approved => ("approved", Tone::Good),
        // A word of a newer version.
        _ => ("?", Tone::Plain),
    }
}

/// What there is to say of one record, as lines of its description.
pub(super) fn lines(approval: &ApprovalReport, style: &Style) -> Vec<(&'static str, String)> {
    let by = |ruling: &RulingReport| {
        let who = match &ruling.user {
            Some(user) => one_line(user),
            None => format!("device …{}", ruling.device.short()),
        };
        format!("{who}, {}", style.time(ruling.at))
    };
    let reason = |ruling: &RulingReport| {
        ruling.reason.as_ref().map(|reason| format!(": {}", one_line(reason))).unwrap_or_default()
    };
    let text = match (&approval.ruling, approval.state) {
        (_, ApprovalState::Awaiting) if approval.mine => {
            "awaiting yours; it does not count before that (`fieldmesh approve`)".to_owned()
        }
        (_, ApprovalState::Awaiting) => "awaiting; it does not count before that".to_owned(),
        (Some(ruling), ApprovalState::Refused) => {
            format!("refused by {}{}; it does not count", by(ruling), reason(ruling))
        }
        (Some(ruling), _) => format!("approved by {}", by(ruling)),
        (None, _) => "not needed: nobody else has written in it".to_owned(),
    };
    let mut lines = vec![("approval", style.paint(state(approval).1, &text))];
    for ruling in &approval.uncounted {
        let what = if ruling.approved { "approved" } else { "refused" };
        let text =
            format!("{what} by {}{}, who may not: it is not counted", by(ruling), reason(ruling));
        lines.push(("not allowed", style.paint(Tone::Doubtful, &text)));
    }
    lines
}

/// What somebody is asked who approves or refuses.
pub(crate) fn approval_question(found: &[Record], is_refused: bool, style: &Style) -> String {
    let shown = match found {
        [one] => record(one, style),
        several => records(several, style),
    };
    let what = if is_refused { "Refuse" } else { "Approve" };
    let count = counted(found.len() as u64, "record", "records");
    format!("{shown}{what} {count} as shown?")
}
