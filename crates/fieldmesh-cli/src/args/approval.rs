//! Arguments of `approve`.

use clap::Args;
use fieldmesh_model::Moment;

use super::times;

/// `approve …`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fieldmesh list pump_round --awaiting        what waits or was refused
  fieldmesh approve 7c21a9f0
  fieldmesh approve 7c21a9f0 5be1d203 --yes
  fieldmesh approve 7c21a9f0 --refuse \"the pressure is that of pump 4\"
  fieldmesh approve --all pump_round --where pumpTag=P-4

It shows the records and asks. What is approved is what was shown: where somebody changes a record
before he knows of it, the record waits again. A collection asks for approval with a line like
approve = [\"manager\"] in its schema; until then its records count at once.")]
pub(crate) struct ApproveArgs {
    /// The records: ids, endings of them, or unique names.
    #[arg(value_name = "ID", required_unless_present = "all")]
    pub(crate) ids: Vec<String>,
    /// All records of this collection that wait for you and fulfil the conditions, but for those
    /// whose deletion waits.
    #[arg(long, value_name = "COLLECTION", conflicts_with = "ids")]
    pub(crate) all: Option<String>,
    /// With --all: only records that fulfil this, as of `list`.
    #[arg(long = "where", value_name = "FIELD=VALUE", requires = "all")]
    pub(crate) filters: Vec<String>,
    /// With --all: only records about this time or later.
    #[arg(long, value_name = "TIME", value_parser = times::when, requires = "all")]
    pub(crate) since: Option<Moment>,
    /// With --all: only records about a time before this.
    #[arg(long, value_name = "TIME", value_parser = times::when, requires = "all")]
    pub(crate) until: Option<Moment>,
    /// Refuse them for this reason, which their authors are told.
    #[arg(long, value_name = "REASON")]
    pub(crate) refuse: Option<String>,
    /// Do not ask: whatever they read as now is meant.
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Do not ask if the record still reads as this version, which `show --json` tells; otherwise
    /// write nothing. For one record.
    #[arg(long, value_name = "VERSION", conflicts_with_all = ["yes", "all"])]
    pub(crate) expect: Option<String>,
}
