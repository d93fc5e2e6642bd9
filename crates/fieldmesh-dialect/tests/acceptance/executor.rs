//! What the conversations need of whoever executes commands.

use fieldmesh_dialect::{Caller, Command, Dialect, Name, Outcome};
use fieldmesh_model::Fields;

/// Executes commands, and shows what became of the records.
pub(crate) trait Executor {
    /// Does what `command` says.
    fn execute(&mut self, caller: &Caller, dialect: Option<Dialect>, command: Command) -> Outcome;

    /// Puts a record into the tenant, as an import or another device would.
    fn put(&mut self, collection: &str, name: Name, fields: Fields);

    /// How many records there are of `collection`.
    fn count(&self, collection: &str) -> usize;

    /// The fields of a record now.
    fn fields(&self, collection: &str, name: &str) -> Fields;

    /// How many milliseconds pass with each change from here on, where that can be chosen.
    fn set_pace(&mut self, millis: i64);
}
