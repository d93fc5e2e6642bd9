//! What could not be stored, as people read it.

use fieldmesh::api::one_line;
use fieldmesh_dialect::outcome::{Rejected, RejectedContent};

use super::{minutes, table};

/// The most characters of what was sent in a line.
const CONTENT_MAX: usize = 60;

/// What was sent, by whom and why it is not stored, a line each.
pub(crate) fn rejected(rejected: &[Rejected]) -> String {
    let said = |text: &Option<String>| text.as_deref().map_or_else(|| "—".into(), one_line);
    let rows = rejected.iter().map(|one| {
        [
            one.at.map_or_else(|| "—".into(), minutes),
            said(&one.user),
            said(&one.device),
            said(&one.contract),
            what(one),
            one_line(&one.reason),
            content(one),
        ]
    });
    table(["came", "user", "device", "contract", "what", "why", "content"], rows)
}

fn what(one: &Rejected) -> String {
    match &one.what {
        RejectedContent::Operation { action, collection, name, .. } => {
            let name = name.as_ref().map(ToString::to_string).unwrap_or_default();
            one_line(format!("{} {collection} {name}", action.as_str()).trim_end())
        }
        RejectedContent::Part { .. } => "part of a request".into(),
    }
}

fn content(one: &Rejected) -> String {
    let whole = one_line(&one.to_json()["content"].to_string());
    match whole.char_indices().nth(CONTENT_MAX) {
        Some((end, _)) => format!("{}…", &whole[..end]),
        None => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_content_is_cut_and_hostile_text_stays_in_its_line() {
        let one = Rejected {
            id: "0".into(),
            contract: Some("asset".into()),
            user: Some("ann\nbob".into()),
            device: None,
            at: None,
            reason: "timestamp: no\u{1b}[2J time".into(),
            what: RejectedContent::Part { text: "ü".repeat(500) },
        };
        let text = rejected(&[one]);
        assert_eq!(text.trim_end().lines().count(), 2, "{text}");
        assert!(text.contains('…') && !text.contains('\u{1b}'), "{text}");
    }
}
