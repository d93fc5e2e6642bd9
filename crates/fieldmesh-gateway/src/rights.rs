//! Which records a caller may read and change, beyond what his role lets him do at all.

use fieldmesh::gateway::Held;
use fieldmesh_dialect::Dialect;
use fieldmesh_model::schema::Who;
use fieldmesh_model::{Role, Value};

use crate::entity::Entity;
use crate::free::field;
use crate::names::Showing;
use crate::{Failure, Task};

/// The fields that say whose a record is, for a client of a practice.
const OWNERS: [&str; 2] = ["ownerId", "clientId"];

impl Task<'_> {
    /// Why the caller may not change the record, if so.
    pub(crate) fn may_not_touch(&self, entity: &Entity, held: &Held) -> Option<String> {
        if let Some(why) = self.may_not_answer(entity, held) {
            return Some(why);
        }
        let is_manager = matches!(self.caller.role, Role::Manager | Role::Admin);
        if entity.is_own() && !self.is_among(&entity.schema.edit_by, || self.is_author(held)) {
            return Some(format!("your role is not allowed to change this {}", entity.noun()));
        }
        // The other contracts let everybody who may write change what others made.
        let is_closed = self.dialect == Some(Dialect::Wellpulse)
            && entity.schema.edit_by.contains(&Who::Author);
        (is_closed && !is_manager && !self.is_author(held))
            .then(|| format!("only its author or a manager may change this {}", entity.noun()))
    }

    /// Why nothing of the record may be told to somebody who writes, if so.
    pub(crate) fn may_not_answer(&self, entity: &Entity, held: &Held) -> Option<String> {
        let why = || format!("this {} belongs to another practice", entity.noun());
        (!self.is_of_practice(held)).then(why)
    }

    /// Whether the caller is one of those whom a collection names.
    pub(crate) fn is_among(&self, people: &[Who], is_author: impl Fn() -> bool) -> bool {
        let role = self.caller.role;
        people.iter().any(|who| match who {
            Who::Crew => !matches!(role, Role::Client | Role::Relay | Role::Gateway),
            Who::Manager => matches!(role, Role::Manager | Role::Admin),
            Who::Admin => role == Role::Admin,
            Who::Author => is_author(),
            _ => false,
        })
    }

    /// Whether the caller may read the record.
    pub(crate) fn may_see(&self, held: &Held, showing: &mut Showing<'_>) -> Result<bool, Failure> {
        if !self.is_of_practice(held) {
            return Ok(false);
        }
        // A client of a practice reads what is his own.
        if self.caller.role != Role::Client || self.is_author(held) {
            return Ok(true);
        }
        let shown = showing.fields(held.collection, &held.fields, None)?;
        let mut owners = OWNERS.iter().filter_map(|key| shown.get(*key));
        Ok(owners.any(|owner| self.caller.is(&owner.to_cell())))
    }

    pub(crate) fn is_author(&self, held: &Held) -> bool {
        match &held.made_for {
            Some(user) => self.caller.is(user),
            None => self.caller.is(&held.created_by.to_string()),
        }
    }

    fn is_of_practice(&self, held: &Held) -> bool {
        match field(held, "practiceId") {
            None | Some(Value::Null) => true,
            // What no practice can be read from is for whoever is bound to none.
            Some(value) => match practice(value) {
                Some(practice) => self.caller.belongs_to(practice),
                None => self.caller.practices.is_empty() || self.caller.is_admin(),
            },
        }
    }
}

/// The practice that a field names: a whole number, in whichever form an app sends it.
pub(crate) fn practice(value: &Value) -> Option<i64> {
    match value {
        Value::Int(practice) => Some(*practice),
        Value::Text(text) => text.trim().parse().ok(),
        // What has no fraction is written without one.
        Value::Float(number) => number.to_string().parse().ok(),
        _ => None,
    }
}
