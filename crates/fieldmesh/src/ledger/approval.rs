//! Approving records, refusing them, and what people are told of it.

use fieldmesh_document::{Answer, REASON_MAX, Ruling, Standing};
use fieldmesh_identity::{Policy, SignedSchema};
use fieldmesh_model::schema::Collection;
use fieldmesh_model::{DeviceId, DocumentId};
use fieldmesh_store::{Direction, KeyRange, Tree};

use crate::api::{ApprovalReport, ApprovalState, NewRuling, Record, RulingReport};
use crate::approval::Approvers;
use crate::changes::version as read_as;
use crate::error::Error;
use crate::rows::{self, DocumentRow, RecordRow};
use crate::schema;

use super::Ledger;
use super::record::{Target, hex, person};

impl Ledger {
    /// Approves a record as it is here, or refuses it; gives it as it is then.
    pub(crate) fn rule(&self, id: DocumentId, new: &NewRuling) -> Result<Record, Error> {
        let view = self.projector.view_number();
        let answer = answer_of(new)?;
        self.settle()?;
        let policy = self.policy();
        let row = self.row_by(&policy, id)?.ok_or_else(|| self.no_record(id))?;
        let record = row.record.as_ref().ok_or_else(|| self.no_record(id))?;
        let schema = schema::known(&policy, row.scope.collection)?;
        // Whoever has read something else learns that first, whatever else is wrong.
        let version = read_as(&row.changes);
        let target = Target { id, view, version: Some(new.version.as_ref().unwrap_or(&version)) };
        self.check_target(target)?;
        self.check_rule(&policy, &schema, &row, &answer)?;
        if record.deleted {
            let name = format!("{id} (it is deleted; `restore-record` brings it back)");
            return Err(Error::NotFound { kind: "record", name });
        }
        self.change(target, &schema, |document, actor, at| document.rule(actor, at, &answer))
    }

    /// Fails where there is nothing to decide, or this person may not.
    fn check_rule(
        &self,
        policy: &Policy,
        schema: &Collection,
        row: &DocumentRow,
        answer: &Answer,
    ) -> Result<(), Error> {
        let Some(record) = &row.record else { return Ok(()) };
        let Some(approvers) = Approvers::of(policy, schema) else {
            let reason = format!(
                "{} records count without approval; a collection asks for it with approve = \
                 [\"manager\"] in its schema",
                schema.name
            );
            return Err(Error::Usage { reason });
        };
        self.check(&schema.approve_by, record.created_by, "approve", schema)?;
        if !approvers.may(&self.device(), record.created_by) {
            let reason = "a gateway writes for others and approves nothing; approve it on a device";
            return Err(Error::NotAllowed { reason: reason.into() });
        }
        let is_done = match approvers.standing(row, record) {
            Standing::Own | Standing::Approved(_) => *answer == Answer::Approved,
            Standing::Refused(ruling) => ruling.answer == *answer,
            Standing::Awaiting => false,
        };
        if is_done {
            let (name, id) = (&schema.name, read_as(&row.changes));
            let reason = match answer {
                Answer::Approved => format!("this {name} awaits no approval: it counts as it is"),
                Answer::Refused(_) => format!("this {name} was refused for this reason already"),
            };
            tracing::debug!(version = %id, "nothing to decide");
            return Err(Error::Usage { reason });
        }
        Ok(())
    }

    /// How many records wait for the approval of this person.
    pub(crate) fn awaiting_count(&self) -> Result<u64, Error> {
        let (policy, me, mut count) = (self.policy(), self.device(), 0);
        self.each_asked(&policy, |_, _, approvers, row, record| {
            let is_mine = approvers.may(&me, record.created_by);
            let waits = matches!(approvers.standing(row, record), Standing::Awaiting);
            count += u64::from(is_mine && waits);
        })?;
        Ok(count)
    }

    /// Hands every record that is not deleted, of the collections that ask for approval, to `look`.
    pub(super) fn each_asked(
        &self,
        policy: &Policy,
        mut look: impl FnMut(DocumentId, &Collection, &Approvers, &DocumentRow, &RecordRow),
    ) -> Result<(), Error> {
        for number in policy.schemas().map(SignedSchema::number) {
            let schema = schema::numbered(policy, number);
            let Some(approvers) = Approvers::of(policy, &schema) else { continue };
            let range = KeyRange::prefix(&rows::own_prefix(number));
            for key in rows::keys(self.view(), Tree::Meta, range, Direction::Ascending) {
                let Some(id) = rows::indexed_id(&key?) else { continue };
                let Some(mut row) = self.row(id)? else { continue };
                let Some(record) = row.record.take() else { continue };
                if !record.deleted && row.scope.collection == number && !policy.is_purged(&id) {
                    look(id, &schema, &approvers, &row, &record);
                }
            }
        }
        Ok(())
    }

    /// Where a record stands, as people see it; nothing where its collection does not ask.
    pub(super) fn approval(
        &self,
        policy: &Policy,
        approvers: Option<&Approvers>,
        row: &DocumentRow,
        record: &RecordRow,
    ) -> Option<ApprovalReport> {
        let approvers = approvers?;
        let may = |device: &DeviceId| approvers.may(device, record.created_by);
        let (state, ruling) = match approvers.standing(row, record) {
            Standing::Own => (ApprovalState::Approved, None),
            Standing::Awaiting => (ApprovalState::Awaiting, None),
            Standing::Approved(ruling) => (ApprovalState::Approved, Some(ruling)),
            Standing::Refused(ruling) => (ApprovalState::Refused, Some(ruling)),
        };
        let uncounted = row.rulings.iter().flat_map(|rulings| rulings.uncounted(may));
        Some(ApprovalReport {
            state,
            mine: may(&self.device()),
            ruling: ruling.map(|ruling| report(policy, ruling)),
            uncounted: uncounted.map(|ruling| report(policy, ruling)).collect(),
        })
    }
}

fn report(policy: &Policy, ruling: &Ruling) -> RulingReport {
    let reason = match &ruling.answer {
        Answer::Approved => None,
        Answer::Refused(reason) => Some(reason.clone()),
    };
    RulingReport {
        change: hex(&ruling.hash),
        user: policy.known(&ruling.author).map(person),
        device: ruling.author,
        at: ruling.at,
        approved: reason.is_none(),
        reason,
    }
}

/// What is to be written.
fn answer_of(new: &NewRuling) -> Result<Answer, Error> {
    let Some(reason) = &new.refuse else { return Ok(Answer::Approved) };
    let reason = reason.trim();
    let length = reason.chars().count();
    if !(1..=REASON_MAX).contains(&length) {
        let wanted = format!("a reason has 1 to {REASON_MAX} characters, this one {length}");
        return Err(Error::fault("refuse", wanted));
    }
    if reason.chars().any(|letter| letter.is_control() && letter != '\n') {
        let wanted = "a reason is plain text that its reader can make out; leave control \
                      characters out";
        return Err(Error::fault("refuse", wanted));
    }
    Ok(Answer::Refused(reason.to_owned()))
}

#[cfg(test)]
mod tests;
