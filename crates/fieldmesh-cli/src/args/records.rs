//! Arguments of the commands on records.

use clap::Args;
use fieldmesh_model::Moment;

use super::times;

const VALUES: &str = "\
Values:
  field=82.3  field=true  field=text    set a value
  field=                                clear it
  list+=x  list-=x                      add to or take from a list
  number+=5  number-=5                  add to or take from a number
  field:=JSON                           set any JSON value";

/// `record …`
#[derive(Debug, Args)]
#[command(after_help = RECORD_EXAMPLES)]
pub(crate) struct RecordArgs {
    /// The collection, `field_entry` or `well` for example.
    pub(crate) collection: String,
    /// Values, like `oilVolume=82.3`.
    #[arg(value_name = "FIELD=VALUE", required_unless_present = "from")]
    pub(crate) values: Vec<String>,
    /// The time the record is about: RFC 3339, `08:30`, `yesterday 17:00`, `today`
    /// [default: now].
    #[arg(long, value_name = "TIME", value_parser = times::when)]
    pub(crate) at: Option<Moment>,
    /// Take the fields from a file of JSON objects, or `-` for standard input; each becomes a
    /// record.
    #[arg(long, value_name = "-|FILE")]
    pub(crate) from: Option<String>,
}

const RECORD_EXAMPLES: &str = "\
Values:
  field=82.3  field=true  field=text    set a value
  field=                                clear it
  list+=x                               add to a list
  field:=JSON                           set any JSON value

Examples:
  fieldmesh record field_entry wellId=42-227-30001 entryType=PRODUCTION oilVolume=82.3 runtime=24
  fieldmesh record field_entry wellId=\"State 12-4\" entryType=INSPECTION --at 08:30
  echo '{\"wellId\":\"State 12-4\",\"entryType\":\"MAINTENANCE\",\"data\":{\"cost\":120}}' |
    fieldmesh record field_entry --from -

The id is printed once the record is on disk.";

/// `edit …`
#[derive(Debug, Args)]
#[command(after_help = VALUES)]
pub(crate) struct EditArgs {
    /// The record: its id, an ending of it, or a unique name.
    pub(crate) id: String,
    /// Values, like `notes=checked`.
    #[arg(value_name = "FIELD=VALUE", required = true)]
    pub(crate) values: Vec<String>,
}

/// `delete …`, `restore-record …`, `show …`, `history …`
#[derive(Debug, Args)]
pub(crate) struct IdArgs {
    /// The record: its id, an ending of it, or a unique name.
    pub(crate) id: String,
}

/// `list …`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fieldmesh list field_entry --where wellId=\"State 12-4\" --since yesterday
  fieldmesh list field_entry --where entryType=PRODUCTION --limit 20
  fieldmesh list field_entry --unsafe
  fieldmesh list well --json | jq -r .fields.name")]
pub(crate) struct ListArgs {
    /// The collection, `field_entry` or `well` for example.
    pub(crate) collection: String,
    /// Only records with this value; all conditions must hold.
    #[arg(long = "where", value_name = "FIELD=VALUE")]
    pub(crate) filters: Vec<String>,
    /// Only records about this time or later.
    #[arg(long, value_name = "TIME", value_parser = times::when)]
    pub(crate) since: Option<Moment>,
    /// Only records about a time before this.
    #[arg(long, value_name = "TIME", value_parser = times::when)]
    pub(crate) until: Option<Moment>,
    /// At most so many.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// Deleted records instead of the others.
    #[arg(long)]
    pub(crate) deleted: bool,
    /// Only records that are not safe so far: no relay has signed for them, or where the tenant
    /// has no relay, no other device has.
    #[arg(long = "unsafe")]
    pub(crate) not_safe: bool,
}
