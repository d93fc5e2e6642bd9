//! Arguments of the commands on records.

use clap::Args;
use fieldmesh_model::Moment;

use super::times;

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
    /// Keep it as a draft on this device, whatever is missing, and print the id of that; `submit`
    /// records it.
    #[arg(long, conflicts_with = "from")]
    pub(crate) draft: bool,
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

const EDIT_EXAMPLES: &str = "\
Values:
  field=82.3  field=true  field=text    set a value
  field=                                clear it
  list+=x  list-=x                      add to or take from a list
  number+=5  number-=5                  add to or take from a number
  field:=JSON                           set any JSON value

Examples:
  fieldmesh edit 7c21a9f0 notes=checked
  fieldmesh edit --all well --where operator=\"Cedar Oil\" operator=Alder --dry-run
  fieldmesh edit --all well --where operator=\"Cedar Oil\" operator=Alder --expect 12

With --all it shows what would change and asks. If one of these records cannot be changed, none is;
only one that somebody else changes while you look at it is left as it is, and named. They are written
together: after a crash or a power cut all of them are changed or none. One call changes at most 10,000
records, of 16 MiB with their changes; where there is more, narrow it with --where, --since or --until
and call again.";

/// `edit …`
#[derive(Debug, Args)]
#[command(
    after_help = EDIT_EXAMPLES,
    override_usage = "fieldmesh edit <ID> <FIELD=VALUE>...\n       \
        fieldmesh edit --all <COLLECTION> [--where <FIELD=VALUE>]... <FIELD=VALUE>...\n       \
        [--dry-run | --yes | --expect <N>]"
)]
pub(crate) struct EditArgs {
    /// The record: its id, an ending of it, or a unique name.
    pub(crate) id: String,
    /// Values, like `notes=checked`.
    #[arg(value_name = "FIELD=VALUE", required_unless_present = "all")]
    pub(crate) values: Vec<String>,
    /// All records of this collection that fulfil the conditions, instead of one.
    #[arg(long, value_name = "COLLECTION")]
    pub(crate) all: Option<String>,
    /// With --all: only records that fulfil this, as of `list`.
    #[arg(long = "where", value_name = "FIELD=VALUE", requires = "all")]
    pub(crate) filters: Vec<String>,
    /// With --all: only records about this well, asset, patient or pet.
    #[arg(long, value_name = "NAME", requires = "all")]
    pub(crate) site: Option<String>,
    /// With --all: only records about this time or later.
    #[arg(long, value_name = "TIME", value_parser = times::when, requires = "all")]
    pub(crate) since: Option<Moment>,
    /// With --all: only records about a time before this.
    #[arg(long, value_name = "TIME", value_parser = times::when, requires = "all")]
    pub(crate) until: Option<Moment>,
    /// With --all: show what would change and write nothing.
    #[arg(long, requires = "all", conflicts_with_all = ["yes", "expect"])]
    pub(crate) dry_run: bool,
    /// With --all: do not ask.
    #[arg(long, short, requires = "all")]
    pub(crate) yes: bool,
    /// With --all: do not ask if exactly so many records change, otherwise change none.
    #[arg(long, value_name = "N", requires = "all")]
    pub(crate) expect: Option<u64>,
}

/// `show …`
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The record: its id, an ending of it, or a unique name.
    pub(crate) id: String,
    /// As it was at this time, by the clocks of those who changed it: RFC 3339, `08:30`,
    /// `yesterday 17:00`, `today`.
    #[arg(long, value_name = "TIME", value_parser = times::when)]
    pub(crate) at: Option<Moment>,
}

/// `delete …`, `restore-record …`, `history …`
#[derive(Debug, Args)]
pub(crate) struct IdArgs {
    /// The record: its id, an ending of it, or a unique name.
    pub(crate) id: String,
}

/// `list …`
#[derive(Debug, Args)]
#[command(after_help = "\
Conditions:
  field=value  field!=value             is, is not; letters of texts count alike
  field>80  field>=80  field<80         more, at least, less; also of times and texts
  field=                                has no value
  field:=[\"a\",\"b\"]                    is one of these

Examples:
  fieldmesh list field_entry --where wellId=\"State 12-4\" --since yesterday
  fieldmesh list field_entry --site \"State 12-4\" --where \"oilVolume>80\" --sort oilVolume:down
  fieldmesh list field_entry --where entryType=PRODUCTION --limit 20
  fieldmesh list field_entry --unsafe
  fieldmesh list well --json | jq -r .fields.name")]
pub(crate) struct ListArgs {
    /// The collection, `field_entry` or `well` for example.
    pub(crate) collection: String,
    /// Only records that fulfil this; all conditions must hold.
    #[arg(long = "where", value_name = "FIELD=VALUE")]
    pub(crate) filters: Vec<String>,
    /// Only records about this well, asset, patient or pet.
    #[arg(long, value_name = "NAME")]
    pub(crate) site: Option<String>,
    /// Only records about this time or later.
    #[arg(long, value_name = "TIME", value_parser = times::when)]
    pub(crate) since: Option<Moment>,
    /// Only records about a time before this.
    #[arg(long, value_name = "TIME", value_parser = times::when)]
    pub(crate) until: Option<Moment>,
    /// Only records that this person made: name, e-mail address or user id.
    #[arg(long, value_name = "PERSON")]
    pub(crate) author: Option<String>,
    /// Only records made on this device: name, id or an ending of it.
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Option<String>,
    /// `FIELD`, `FIELD:down`, `time`, `time:up`, `updated` [default: time:down].
    #[arg(long, value_name = "FIELD")]
    pub(crate) sort: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// Go on where an earlier list with --limit ended; it says how.
    #[arg(long, value_name = "CURSOR")]
    pub(crate) cursor: Option<String>,
    /// Only how many there are.
    #[arg(long, conflicts_with_all = ["limit", "cursor", "sort"])]
    pub(crate) count: bool,
    /// Only records that have an open conflict.
    #[arg(long)]
    pub(crate) conflict: bool,
    /// Also records that stand behind another one that was made for the same thing; otherwise the
    /// first of those that fit is listed.
    #[arg(long)]
    pub(crate) duplicates: bool,
    /// Records that do not count, as nobody has approved them or somebody has refused them, instead
    /// of the others.
    #[arg(long, conflicts_with = "deleted")]
    pub(crate) awaiting: bool,
    /// Deleted records instead of the others.
    #[arg(long)]
    pub(crate) deleted: bool,
    /// Only records that are not safe so far: no relay has signed for them, or where the tenant
    /// has no relay, no other device has.
    #[arg(long = "unsafe")]
    pub(crate) not_safe: bool,
}
