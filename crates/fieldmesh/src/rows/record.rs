//! The record of a row: what a document reads as, and whether it counts.

use fieldmesh_document::{Approval, Document, Standing};
use fieldmesh_identity::Policy;
use fieldmesh_model::schema::Collection;
use fieldmesh_model::{DeviceId, Fields, Moment, UserId, Value};
use serde::{Deserialize, Serialize};

use crate::approval::approval_of;
use crate::changes::Closure;
use crate::error::Error;

use super::{fit, marks};

/// A record as it reads at the moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RecordRow {
    pub(crate) fields: Fields,
    pub(crate) created_by: UserId,
    pub(crate) created_at: Moment,
    pub(crate) updated_at: Moment,
    pub(crate) device: DeviceId,
    pub(crate) deleted: bool,
    /// Its items of the inbox: what somebody has to decide, what breaks a rule, what merged by
    /// itself, and what has ended.
    pub(crate) conflicts: Vec<ConflictMark>,
    /// What the client of a gateway calls it; null where none does.
    pub(crate) name: Value,
    /// The user in whose name a gateway created it.
    pub(crate) made_for: Option<String>,
    /// Whether it is approved; none where its collection does not ask for that.
    pub(crate) approval: Option<Approval>,
}

impl RecordRow {
    /// The record that `document` holds, without what is too long to show.
    pub(crate) fn of(document: &Document, schema: &Collection) -> Result<Self, Error> {
        let view = document.view(schema).map_err(|error| Error::store(&error))?;
        let conflicts =
            marks::marks(document, schema, &view).map_err(|error| Error::store(&error))?;
        let mut row = Self {
            fields: view.fields,
            created_by: view.created_by,
            created_at: view.created_at,
            updated_at: view.updated_at,
            device: view.device,
            deleted: view.deleted.is_some(),
            conflicts,
            name: view.name,
            made_for: view.made_for,
            approval: None,
        };
        fit::fit(&mut row);
        Ok(row)
    }

    /// The record that `document` holds, made of the changes in `closure`, with where it stands by
    /// the rulings of those who may approve it.
    pub(crate) fn judged(
        document: &Document,
        closure: &Closure,
        (policy, schema): (&Policy, &Collection),
    ) -> Result<Self, Error> {
        let row = Self::of(document, schema)?;
        let approval = approval_of(document, closure, (policy, schema), row.created_by)?;
        Ok(Self { approval, ..row })
    }

    /// Whether it is in lists and counts: neither deleted nor without an approval that it needs.
    pub(crate) fn is_live(&self) -> bool {
        !self.deleted && self.approval.as_ref().is_none_or(Approval::counts)
    }

    /// Whether it does not count and somebody has to do something about that: approve it, or put it
    /// right. What never counted and is deleted concerns nobody.
    pub(crate) fn waits(&self) -> bool {
        self.approval.as_ref().is_some_and(|approval| match approval.standing {
            Standing::Own | Standing::Approved => false,
            Standing::Awaiting => !self.deleted || approval.has_stood,
            Standing::Refused => !self.deleted,
        })
    }
}

/// That a record has a conflict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConflictMark {
    pub(crate) id: String,
    pub(crate) open: bool,
}
