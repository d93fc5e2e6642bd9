//! Arguments of `notices`.

use clap::Args;

/// `notices …`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fieldmesh notices                  what others did with your work since you looked last
  fieldmesh notices --seen 7c21a9f0
  fieldmesh notices --seen all
  fieldmesh notices --all            also what you have seen

You are told where another value was taken than yours, where a change of yours could not be applied,
where a batch of yours does not count, and where a record of yours was not approved; never of what
you did yourself. Your other devices tell it too: to be seen is for this one.")]
pub(crate) struct NoticesArgs {
    /// Also those that were marked as seen.
    #[arg(long, conflicts_with = "seen")]
    pub(crate) all: bool,
    /// Mark one as seen, by its id or an ending of it, or all of them.
    #[arg(long, value_name = "ID|all")]
    pub(crate) seen: Vec<String>,
}
