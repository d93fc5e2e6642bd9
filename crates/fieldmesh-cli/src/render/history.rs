//! The history of a record.

use fieldmesh::api::Revision;
use fieldmesh_model::DocumentId;

use super::approval::ruled;
use super::record::short_id;
use super::{Style, Tone, one_line, short_field};

/// Every change, the oldest first as it is given.
pub(crate) fn history(revisions: &[Revision], style: &Style) -> String {
    let mut text = String::new();
    for revision in revisions {
        let heading = style.paint(Tone::Heading, &style.time(revision.at));
        text.push_str(&format!("{heading}  {}\n", one_line(&author(revision))));
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
        for line in decided(revision) {
            text.push_str(&format!("  {line}\n"));
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

/// What a change has decided about the record and others that are alike.
fn decided(revision: &Revision) -> Vec<String> {
    let short = |ids: &[DocumentId]| {
        let ids: Vec<String> = ids.iter().map(|id| format!("…{}", id.short())).collect();
        ids.join(", ")
    };
    let mut lines = Vec::new();
    lines.extend(revision.superseded_by.map(|kept| format!("given up for {}", short(&[kept]))));
    lines.extend(revision.adopted_by.iter().map(|by| format!("adopted by {}", one_line(by))));
    let several = [("kept instead of", &revision.replaces), ("meant beside", &revision.apart_from)];
    let several = several.into_iter().filter(|(_, ids)| !ids.is_empty());
    lines.extend(several.map(|(word, ids)| format!("{word} {}", short(ids))));
    lines
}

/// Who made a change, and where.
fn author(revision: &Revision) -> String {
    let device = match (&revision.device_name, &revision.device) {
        (Some(device), _) => Some(device.clone()),
        (None, device) => device.map(|device| format!("device …{}", device.short())),
    };
    // Whom a gateway names without anybody here knowing the name.
    let unnamed = revision.made_for.as_deref().map(|id| format!("user …{}", ending(id)));
    let word = if revision.made_for.is_some() { "over" } else { "on" };
    match (revision.user.clone().or(unnamed), device) {
        (Some(user), Some(device)) => format!("{user} {word} {device}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "unknown".into(),
    }
}

/// The last letters of an id, as many as of any that is shown.
pub(super) fn ending(id: &str) -> &str {
    id.char_indices().rev().nth(7).map_or(id, |(at, _)| &id[at..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::samples;

    #[test]
    fn whoever_has_no_device_is_named_before_the_relay_that_wrote_for_him() {
        let id = "1bd31f67-0000-0000-0000-00000ba53322".to_owned();
        let by = |revision: &Revision| author(revision);
        let own = samples::revisions().remove(0);
        assert_eq!(by(&own), "Ana on office");
        let named = Revision { made_for: Some(id), device_name: Some("relay".into()), ..own };
        assert_eq!(by(&named), "Ana over relay");
        let unnamed = Revision { user: None, ..named.clone() };
        assert_eq!(by(&unnamed), "user …0ba53322 over relay");
        assert_eq!(
            by(&Revision { made_for: Some("bob".into()), ..unnamed }),
            "user …bob over relay"
        );
        let far = Revision { device: None, device_name: None, ..named };
        assert_eq!(by(&far), "Ana");
    }
}
