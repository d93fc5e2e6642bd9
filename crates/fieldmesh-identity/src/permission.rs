//! The permission table: what each role may do.
//!
//! What is judged from a batch header alone, by every device, is in [`may_write`]; who may change
//! what of whom is asked where a change is made.

use fieldmesh_model::Role;
use fieldmesh_model::catalogue::wells::{USER, WELL};

/// Whose entry, conflict or device an action is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// The acting user's own.
    Own,
    /// Somebody else's.
    Other,
}

/// Something that a member may or may not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Pull, push and read the state of its own synchronisation.
    Synchronise,
    /// Create entries, events and records.
    Create,
    /// Edit, delete or restore an entry.
    Edit(Ownership),
    /// Settle a conflict; of its own entry only as far as the collection's policy lets it.
    ResolveConflict(Ownership),
    /// Settle a conflict for the client's value where that needs approval.
    ApproveClientWins,
    /// Read the statistics of all users.
    ReadStatistics,
    /// Take a device out of service.
    UnregisterDevice(Ownership),
    /// Change users, roles, wells and other reference data.
    Administer,
}

/// The numbers of the collections of reference data, which only administrators write: wells and
/// users.
pub const REFERENCE_COLLECTIONS: [u16; 2] = [WELL, USER];

/// Whether a member of `role` may do `action`.
pub const fn permits(role: Role, action: Action) -> bool {
    use Action as A;
    use Ownership::{Other, Own};
    match role {
        Role::Admin => true,
        Role::Manager => !matches!(
            action,
            A::ApproveClientWins | A::ReadStatistics | A::UnregisterDevice(Other) | A::Administer
        ),
        Role::Operator | Role::Practitioner | Role::HealthWorker | Role::Member => matches!(
            action,
            A::Synchronise
                | A::Create
                | A::Edit(Own)
                | A::ResolveConflict(Own)
                | A::UnregisterDevice(Own)
        ),
        Role::Client => matches!(action, A::Synchronise | A::UnregisterDevice(Own)),
        Role::Relay => matches!(action, A::Synchronise),
        // Whoever it writes for has been let in by it, and may be an administrator.
        Role::Gateway => !matches!(action, A::UnregisterDevice(_)),
    }
}

/// Whether a batch by a member of `role` in `collection` can be right, whoever owns its records.
pub fn may_write(role: Role, collection: u16) -> bool {
    if REFERENCE_COLLECTIONS.contains(&collection) {
        permits(role, Action::Administer)
    } else {
        permits(role, Action::Create)
    }
}

/// Whether `role` records like an operator: what a manager with an issuing right may certify.
pub const fn records_like_an_operator(role: Role) -> bool {
    matches!(role, Role::Operator | Role::Practitioner | Role::HealthWorker | Role::Member)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Ownership::{Other, Own};

    #[test]
    fn the_table_of_the_requirements_holds() {
        let columns =
            [Role::Operator, Role::Manager, Role::Admin, Role::Client, Role::Relay, Role::Gateway];
        let rows = [
            (Action::Synchronise, [true, true, true, true, true, true]),
            (Action::Create, [true, true, true, false, false, true]),
            (Action::Edit(Own), [true, true, true, false, false, true]),
            (Action::Edit(Other), [false, true, true, false, false, true]),
            (Action::ResolveConflict(Own), [true, true, true, false, false, true]),
            (Action::ResolveConflict(Other), [false, true, true, false, false, true]),
            (Action::ApproveClientWins, [false, false, true, false, false, true]),
            (Action::ReadStatistics, [false, false, true, false, false, true]),
            (Action::UnregisterDevice(Own), [true, true, true, true, false, false]),
            (Action::UnregisterDevice(Other), [false, false, true, false, false, false]),
            (Action::Administer, [false, false, true, false, false, true]),
        ];
        for (action, expected) in rows {
            assert_eq!(columns.map(|role| permits(role, action)), expected, "{action:?}");
        }
        for role in [Role::Practitioner, Role::HealthWorker, Role::Member] {
            for (action, expected) in rows {
                assert_eq!(permits(role, action), expected[0], "{role} {action:?}");
            }
        }
    }

    #[test]
    fn only_an_administrator_writes_reference_data() {
        for collection in REFERENCE_COLLECTIONS {
            assert!(may_write(Role::Admin, collection) && !may_write(Role::Manager, collection));
        }
        assert!(may_write(Role::Operator, 3) && !may_write(Role::Client, 3));
        assert!(!may_write(Role::Relay, 3) && may_write(Role::Gateway, WELL));
    }
}
