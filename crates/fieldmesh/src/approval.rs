//! Who may approve the records of a collection, and what that comes to for one of them.
//!
//! What people say of a record stands in its row whoever says it; who may say it is looked up when
//! the row is read. So nothing is made anew when somebody gets another role, and all devices that
//! hold the same records and the same policy come to the same answer.

use std::collections::BTreeMap;

use fieldmesh_document::{Document, Rulings, Standing};
use fieldmesh_identity::Policy;
use fieldmesh_model::schema::{Collection, Who};
use fieldmesh_model::{DeviceId, Role, UserId};

use crate::changes::Closure;
use crate::error::Error;
use crate::rows::{DocumentRow, RecordRow};

/// What was said of a record, where its collection asks for that.
pub(crate) fn rulings_of(
    document: &Document,
    closure: &Closure,
    schema: &Collection,
) -> Result<Option<Rulings>, Error> {
    if !schema.asks_for_approval() {
        return Ok(None);
    }
    document.rulings(&closure.authors()).map(Some).map_err(|error| Error::store(&error))
}

/// A device that may be asked.
#[derive(Debug, Clone, Copy)]
struct Asked {
    user: UserId,
    /// Whether it may approve whatever anybody created.
    is_allowed: bool,
}

/// Who may approve the records of a collection.
#[derive(Debug, Clone)]
pub(crate) struct Approvers {
    devices: BTreeMap<DeviceId, Asked>,
    /// Whether whoever created a record may approve what others write in it.
    has_authors: bool,
}

impl Approvers {
    /// The people of a collection, by their roles; none where its records need no approval.
    pub(crate) fn of(policy: &Policy, schema: &Collection) -> Option<Self> {
        if !schema.asks_for_approval() {
            return None;
        }
        let asked = |role| schema.approve_by.iter().any(|who| is_approver(*who, role));
        let devices = policy.everybody().map(|member| {
            let is_allowed = asked(member.role);
            (member.device, Asked { user: member.user, is_allowed })
        });
        let has_authors = schema.approve_by.contains(&Who::Author);
        Some(Self { devices: devices.collect(), has_authors })
    }

    /// Whether a device may approve what `created_by` has created.
    pub(crate) fn may(&self, device: &DeviceId, created_by: UserId) -> bool {
        self.devices
            .get(device)
            .is_some_and(|asked| asked.is_allowed || (self.has_authors && asked.user == created_by))
    }

    /// Where a record stands; what was never looked at waits.
    pub(crate) fn standing<'a>(&self, row: &'a DocumentRow, record: &RecordRow) -> Standing<'a> {
        let may = |device: &DeviceId| self.may(device, record.created_by);
        row.rulings.as_ref().map_or(Standing::Awaiting, |rulings| rulings.standing(may))
    }

    /// Whether a record counts.
    pub(crate) fn counts(&self, row: &DocumentRow, record: &RecordRow) -> bool {
        match self.standing(row, record) {
            Standing::Own | Standing::Approved(_) => true,
            Standing::Awaiting | Standing::Refused(_) => false,
        }
    }
}

// A gateway writes for others and never approves: nobody could tell whose word it is.
fn is_approver(who: Who, role: Role) -> bool {
    match who {
        Who::Crew => !matches!(role, Role::Client | Role::Relay | Role::Gateway),
        Who::Manager => matches!(role, Role::Manager | Role::Admin),
        Who::Admin => role == Role::Admin,
        _ => false,
    }
}
