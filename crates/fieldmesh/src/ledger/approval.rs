//! Approving records, refusing them, and what people are told of it.

use fieldmesh_document::{Answer, REASON_MAX, Ruling, Standing};
use fieldmesh_identity::Policy;
use fieldmesh_model::DocumentId;
use fieldmesh_model::schema::Collection;
use fieldmesh_store::{Direction, KeyRange, Tree};

use crate::api::{ApprovalReport, ApprovalState, NewRuling, Record, Ruled, RulingReport};
use crate::approval::may_approve;
use crate::changes::version as read_as;
use crate::error::Error;
use crate::projection::waiting_prefix;
use crate::rows::{self, RecordRow};
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
        self.check_rule((&policy, &schema), record, &answer)?;
        if record.deleted && !record.waits() {
            let name = format!("{id} (it is deleted; `restore-record` brings it back)");
            return Err(Error::NotFound { kind: "record", name });
        }
        self.change(target, &schema, |document, actor, at| document.rule(actor, at, &answer))
    }

    /// Fails where there is nothing to decide, or this person may not.
    fn check_rule(
        &self,
        (policy, schema): (&Policy, &Collection),
        record: &RecordRow,
        answer: &Answer,
    ) -> Result<(), Error> {
        let name = &schema.name;
        let Some(approval) = record.approval.as_ref().filter(|_| schema.asks_for_approval()) else {
            let reason = format!(
                "{name} records count without approval; a collection asks for it with approve = \
                 [\"manager\"] in its schema"
            );
            return Err(Error::Usage { reason });
        };
        self.check_approve(policy, schema, record)?;
        let is_same = approval.last.as_ref().is_some_and(|last| last.answer == *answer);
        let reason = match (answer, approval.standing) {
            (Answer::Refused(_), _) if record.deleted => format!(
                "this {name} is deleted, and stays so when that is refused; `restore-record` \
                 brings it back, then approve it"
            ),
            (Answer::Approved, Standing::Own | Standing::Approved) => {
                format!("this {name} awaits no approval: it counts as it is")
            }
            (Answer::Refused(_), Standing::Refused) if is_same => {
                format!("this {name} was refused for this reason already")
            }
            _ => return Ok(()),
        };
        Err(Error::Usage { reason })
    }

    /// Fails where this person may not approve a record, by his role of now and by what counts.
    pub(super) fn check_approve(
        &self,
        policy: &Policy,
        schema: &Collection,
        record: &RecordRow,
    ) -> Result<(), Error> {
        self.check(&schema.approve_by, record.created_by, "approve", schema)?;
        match may_approve(policy, schema, &self.device(), record.created_by) {
            true => Ok(()),
            false => Err(Error::NotAllowed {
                reason: "a gateway writes for others and approves nothing; approve it on a device"
                    .into(),
            }),
        }
    }

    /// How many records wait for the approval of this person.
    pub(crate) fn awaiting_count(&self) -> Result<u64, Error> {
        let (policy, mut count) = (self.policy(), 0);
        self.each_waiting(&policy, |_, schema, row| {
            let is_asked =
                row.approval.as_ref().is_some_and(|it| it.standing == Standing::Awaiting);
            count += u64::from(is_asked && self.check_approve(&policy, schema, row).is_ok());
        })?;
        Ok(count)
    }

    /// Hands every record to `look` that does not count and waits for somebody.
    pub(super) fn each_waiting(
        &self,
        policy: &Policy,
        mut look: impl FnMut(DocumentId, &Collection, &RecordRow),
    ) -> Result<(), Error> {
        for schema in schema::defined(policy).filter(|schema| schema.asks_for_approval()) {
            let range = KeyRange::prefix(&waiting_prefix(&self.store, schema.number));
            for key in rows::keys(self.view(), Tree::Index, range, Direction::Ascending) {
                let Some(id) = rows::indexed_id(&key?) else { continue };
                let record = self.row(id)?.and_then(|row| row.record);
                let Some(record) = record.filter(RecordRow::waits) else { continue };
                if !policy.is_purged(&id) {
                    look(id, &schema, &record);
                }
            }
        }
        Ok(())
    }

    /// Where a record stands, as people see it; nothing where its collection does not ask.
    pub(super) fn approval_report(
        &self,
        schema: &Collection,
        record: &RecordRow,
    ) -> Option<ApprovalReport> {
        let approval = record.approval.as_ref()?;
        let policy = self.policy();
        let state = match approval.standing {
            Standing::Own | Standing::Approved => ApprovalState::Approved,
            Standing::Awaiting => ApprovalState::Awaiting,
            Standing::Refused => ApprovalState::Refused,
        };
        Some(ApprovalReport {
            state,
            mine: self.check_approve(&policy, schema, record).is_ok(),
            ruling: approval.last.as_ref().map(|ruling| report(&policy, ruling)),
        })
    }
}

fn report(policy: &Policy, ruling: &Ruling) -> RulingReport {
    let Ruled { approved, reason, .. } = Ruled::new(&ruling.answer, true);
    RulingReport {
        change: hex(&ruling.hash),
        user: policy.known(&ruling.author).map(person),
        device: ruling.author,
        at: ruling.at,
        approved,
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
