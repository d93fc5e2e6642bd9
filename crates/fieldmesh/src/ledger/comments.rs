//! What people say about items of the inbox: it travels with the record and changes no field of it.

use std::cell::Cell;

use fieldmesh_document::{COMMENT_MAX, COMMENTS_MAX};
use fieldmesh_identity::permission::may_write;
use uuid::Uuid;

use crate::api::ConflictReport;
use crate::error::Error;

use super::Ledger;
use super::record::Target;

impl Ledger {
    /// Says something about an item of the inbox, open or not; gives the item with it.
    pub(crate) fn comment(&self, id: &str, text: &str) -> Result<ConflictReport, Error> {
        let text = text.trim();
        let length = text.chars().count();
        if !(1..=COMMENT_MAX).contains(&length) {
            let wanted = format!("a comment has 1 to {COMMENT_MAX} characters, this one {length}");
            return Err(Error::fault("text", wanted));
        }
        let view = self.projector.view_number();
        let report = self.conflict(id)?;
        // What is quarantined is told by each device for itself.
        let Ok(item) = report.id.parse::<Uuid>() else {
            return Err(Error::Usage {
                reason: "what does not count takes no comment: no other device would show it"
                    .into(),
            });
        };
        let row = self.row(report.record)?.ok_or_else(|| self.no_record(report.record))?;
        let schema = self.schema(row.scope.collection);
        let role = self.me()?.role;
        if !may_write(role, schema.number) {
            let name = &schema.name;
            let reason = format!("a device with the role {role} may write nothing in {name}");
            return Err(Error::NotAllowed { reason });
        }
        let is_full = Cell::new(false);
        let target = Target { id: report.record, view, version: None };
        self.change(target, &schema, |document, actor, at| {
            if document.comments()?.len() >= COMMENTS_MAX {
                is_full.set(true);
                return Ok(None);
            }
            document.comment(actor, at, &item, text)
        })?;
        if is_full.get() {
            let reason = format!("the record has {COMMENTS_MAX} comments, which is the limit");
            return Err(Error::Usage { reason });
        }
        self.conflict(&report.id)
    }
}
