//! Arguments of `import` and `export`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use fieldmesh_model::Moment;

use super::times;

/// `import …`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fieldmesh import wells.csv --collection well
  fieldmesh import production.csv.gz --map production.toml
  fieldmesh import entries.jsonl --collection field_entry --dry-run
  fieldmesh import wells.csv --collection well --update

Every refused row is reported with its number and everything that is wrong with it, the other rows
are imported, and the command then exits 6. A second import of the same file adds nothing. A row whose
record is there already, by its natural key or unique values, with other contents is refused; with
--update it edits that record, and what the row leaves blank stays. So is one that another device has
recorded, unless the row itself says on which device it was made. A table that `export --format csv`
wrote is read as well: its first seven columns are no fields, and a row is about the record it names,
where that is here.")]
pub(crate) struct ImportArgs {
    /// The file, or `-` for standard input.
    pub(crate) file: PathBuf,
    /// The collection of the rows, where no mapping says it.
    #[arg(long, value_name = "C", required_unless_present = "map")]
    pub(crate) collection: Option<String>,
    /// A mapping from columns to fields.
    #[arg(long, value_name = "MAP.toml")]
    pub(crate) map: Option<PathBuf>,
    /// Edit records that are there already with what the rows say otherwise.
    #[arg(long)]
    pub(crate) update: bool,
    /// Check every row, write nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// How an export is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A header and one line a record.
    Csv,
    /// One JSON record a line.
    Jsonl,
}

/// `export …`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fieldmesh export field_entry > entries.jsonl
  fieldmesh export well field_entry --history > all.jsonl
  fieldmesh export field_entry --format csv --since 2026-03-01 > march.csv

Records are written in order of id, so devices that are in step export equal bytes. Of csv the first
seven columns say which record it is, by whom and when, and in _conflicts and _duplicates what nobody
has decided about it; `import` reads such a table as well.")]
pub(crate) struct ExportArgs {
    /// The collection, `field_entry` or `well` for example.
    pub(crate) collection: String,
    /// Further collections as of the same moment; as JSON lines only.
    #[arg(value_name = "COLLECTION")]
    pub(crate) also: Vec<String>,
    /// How to write it.
    #[arg(long, value_enum, default_value = "jsonl")]
    pub(crate) format: Format,
    /// Every change of every record instead of its present state.
    #[arg(long)]
    pub(crate) history: bool,
    /// Only records with this value; all conditions must hold.
    #[arg(long = "where", value_name = "FIELD=VALUE")]
    pub(crate) filters: Vec<String>,
    /// Only records about this time or later.
    #[arg(long, value_name = "TIME", value_parser = times::when)]
    pub(crate) since: Option<Moment>,
    /// Only records about a time before this.
    #[arg(long, value_name = "TIME", value_parser = times::when)]
    pub(crate) until: Option<Moment>,
    /// Records that do not count, as nobody has approved them or somebody has refused them, instead
    /// of the others.
    #[arg(long)]
    pub(crate) awaiting: bool,
}
