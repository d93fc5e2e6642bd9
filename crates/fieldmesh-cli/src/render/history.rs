//! The history of a record.

use fieldmesh::api::Revision;

use super::approval::ruled;
use super::record::short_id;
use super::{Style, Tone, one_line, short_field};

/// Every change, the oldest first as it is given.
pub(crate) fn history(revisions: &[Revision], style: &Style) -> String {
    let mut text = String::new();
    for revision in revisions {
        let author = match (&revision.user, &revision.device_name, &revision.device) {
            (Some(user), Some(device), _) => format!("{user} on {device}"),
            (Some(user), None, Some(device)) => format!("{user} on device …{}", device.short()),
            (Some(user), None, None) => user.clone(),
            (None, Some(device), _) => device.clone(),
            (None, None, Some(device)) => format!("device …{}", device.short()),
            (None, None, None) => "unknown".into(),
        };
        let heading = style.paint(Tone::Heading, &style.time(revision.at));
        text.push_str(&format!("{heading}  {}\n", one_line(&author)));
        for change in &revision.fields {
            let field = one_line(short_field(&change.field));
            let after = style.value(&change.after);
            if change.before == change.after {
                text.push_str(&format!("  {field}: {after} (kept)\n"));
            } else if change.before.is_null() {
                text.push_str(&format!("  {field}: {after}\n"));
            } else {
                let before = style.value(&change.before);
                text.push_str(&format!("  {field}: {before} → {after}\n"));
            }
        }
        if let Some(ruling) = &revision.ruling {
            text.push_str(&format!("  {}\n", ruled(ruling)));
        }
        for id in &revision.settled {
            text.push_str(&format!("  settled conflict {}\n", short_id(id)));
        }
        for id in &revision.overwritten {
            let id = short_id(id);
            text.push_str(&format!("  overwrote conflict {id} without settling it\n"));
        }
    }
    text
}
