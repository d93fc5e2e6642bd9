//! Who may approve the records of a collection.
//!
//! Where a record stands is part of its row, so whoever follows records hears of it. It follows
//! from the record's changes and from who may approve, which is part of what rows are read by: they
//! are read anew where that changes for what may be in them.

use fieldmesh_document::{Approval, Document};
use fieldmesh_identity::Policy;
use fieldmesh_model::schema::{Collection, Who};
use fieldmesh_model::{DeviceId, Role, UserId};

use crate::changes::Closure;
use crate::error::Error;

/// Where a record stands, if its collection asks for approval.
pub(crate) fn approval_of(
    document: &Document,
    closure: &Closure,
    (policy, schema): (&Policy, &Collection),
    created_by: UserId,
) -> Result<Option<Approval>, Error> {
    if !schema.asks_for_approval() {
        return Ok(None);
    }
    let may = |device: &DeviceId| may_approve(policy, schema, device, created_by);
    let approval = document.approval(&closure.authors(), may);
    approval.map(Some).map_err(|error| Error::store(&error))
}

/// Whether what a device says of a record that `created_by` has created counts.
///
/// As with every other right, what somebody was ever allowed stays right: nothing that was approved
/// waits again because the role of whoever approved it has changed since, or because he has left.
pub(crate) fn may_approve(
    policy: &Policy,
    schema: &Collection,
    device: &DeviceId,
    created_by: UserId,
) -> bool {
    let is_creator = policy.known(device).is_some_and(|member| member.user == created_by);
    may(policy, schema, device, is_creator)
}

fn may(policy: &Policy, schema: &Collection, device: &DeviceId, is_creator: bool) -> bool {
    let asked = |who: &Who| policy.roles_held(device).any(|role| is_asked(*who, role, is_creator));
    schema.approve_by.iter().any(asked)
}

// A gateway writes for others and never approves: nobody could tell whose word it is.
fn is_asked(who: Who, role: Role, is_creator: bool) -> bool {
    let is_crew = !matches!(role, Role::Client | Role::Relay | Role::Gateway);
    match who {
        Who::Crew => is_crew,
        Who::Author => is_crew && is_creator,
        Who::Manager => matches!(role, Role::Manager | Role::Admin),
        Who::Admin => role == Role::Admin,
        _ => false,
    }
}

/// What rows are read by: the definition, and who may approve. Where that changes, by a role or by a
/// certificate that counts no longer or does after all, rows are read anew.
pub(crate) fn reading_of(policy: &Policy, schema: &Collection, reading: [u8; 32]) -> [u8; 32] {
    if !schema.asks_for_approval() {
        return reading;
    }
    let mut hasher = blake3::Hasher::new_derive_key("fieldmesh/approvers/1");
    hasher.update(&reading);
    for member in policy.everybody() {
        let by = |is_creator| may(policy, schema, &member.device, is_creator);
        let (of_others, of_own) = (by(false), by(true));
        if of_own {
            hasher.update(member.device.as_bytes()).update(&[u8::from(of_others)]);
            hasher.update(member.user.as_bytes());
        }
    }
    *hasher.finalize().as_bytes()
}
