//! Arguments of `conflicts`.

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use fieldmesh::api::{CONFLICTS_MAX, Choice, Verdict};

/// `conflicts …`
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  fieldmesh conflicts
  fieldmesh conflicts show 7c21a9f0
  fieldmesh conflicts comment 7c21a9f0 \"the gauge was replaced at nine\"
  fieldmesh conflicts resolve 7c21a9f0 --take B
  fieldmesh conflicts resolve 7c21a9f0 --set oilVolume=81
  fieldmesh conflicts resolve 5d30e1aa --take both
  fieldmesh conflicts resolve 4be02d17 --discard
  fieldmesh conflicts resolve --all --take latest --dry-run
  fieldmesh conflicts resolve --all --take latest --expect 12
  fieldmesh conflicts resolve --all --kind duplicate --take latest

With --all it shows what would come of it and asks; only what was shown is settled."
)]
pub(crate) struct ConflictsArgs {
    #[command(subcommand)]
    pub(crate) command: Option<ConflictCommand>,
    /// Only conflicts of this kind.
    #[arg(long, value_enum, value_name = "KIND")]
    pub(crate) kind: Option<Kind>,
    /// Also those that were settled or overwritten, and what merged by itself.
    #[arg(long)]
    pub(crate) closed: bool,
    /// At most so many; never more than 1,000 at once.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=CONFLICTS_MAX))]
    pub(crate) limit: Option<u64>,
    /// Only those behind the one with this id: the last one of the page before.
    #[arg(long, value_name = "ID")]
    pub(crate) after: Option<String>,
}

/// What can be done with conflicts.
#[derive(Debug, Subcommand)]
pub(crate) enum ConflictCommand {
    /// Show one conflict with all its values.
    Show {
        /// The conflict: its id or an ending of it.
        id: String,
    },
    /// Say something about a conflict, for everybody.
    Comment {
        /// The conflict: its id or an ending of it.
        id: String,
        /// The words, at most 2,000 characters.
        text: String,
    },
    /// Settle a conflict.
    Resolve(ResolveArgs),
}

impl ResolveArgs {
    /// What is to become of an item that has no sides to take.
    pub(crate) const fn verdict(&self) -> Option<Verdict> {
        match (self.adopt, self.discard, self.reopen) {
            (true, _, _) => Some(Verdict::Adopt),
            (_, true, _) => Some(Verdict::Discard),
            (_, _, true) => Some(Verdict::Reopen),
            (false, false, false) => None,
        }
    }
}

/// The kinds of conflicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Several values of one field.
    Field,
    /// Records that were made for one thing.
    Duplicate,
    /// A record deleted by one and edited by another.
    DeletedAndEdited,
    /// A record that breaks rules of its collection.
    Rule,
    /// Edits made at the same time that merged by themselves.
    Parallel,
    /// A change that could not be applied.
    Quarantine,
}

impl Kind {
    /// The kind as reports write it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Field => "field",
            Self::Duplicate => "duplicate",
            Self::DeletedAndEdited => "deleted-and-edited",
            Self::Rule => "rule",
            Self::Parallel => "parallel",
            Self::Quarantine => "quarantine",
        }
    }
}

/// `conflicts resolve …`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("how").required(true).args([
    "take", "set", "adopt", "discard", "reopen",
]))]
pub(crate) struct ResolveArgs {
    /// The conflict: its id or an ending of it.
    #[arg(required_unless_present = "all")]
    pub(crate) id: Option<String>,
    /// Settle every open conflict alike; records that are alike only with `--kind duplicate`, and
    /// those that were deleted and edited only with `--kind deleted-and-edited`. What cannot be
    /// settled so is told and left.
    #[arg(long, conflicts_with_all = ["id", "set", "adopt", "discard", "reopen"])]
    pub(crate) all: bool,
    /// With --all: only conflicts of this kind.
    #[arg(long, value_enum, value_name = "KIND", conflicts_with = "id")]
    pub(crate) kind: Option<Kind>,
    /// With --all: show what would come of it and write nothing.
    #[arg(long, conflicts_with_all = ["id", "yes", "expect"])]
    pub(crate) dry_run: bool,
    /// With --all: do not ask.
    #[arg(long, short, conflicts_with = "id")]
    pub(crate) yes: bool,
    /// With --all: do not ask if exactly so many conflicts are settled, otherwise settle none.
    #[arg(long, value_name = "N", conflicts_with = "id")]
    pub(crate) expect: Option<u64>,
    /// The value to take, or the record to keep: its letter, `client` (this device's own), `server`
    /// (the others'), or `latest`; of records that are both meant, `both`.
    #[arg(long, value_name = "A|B|C…|client|server|latest|both", value_parser = choice)]
    pub(crate) take: Option<Choice>,
    /// Set values by hand instead; of records that are alike the first one is kept, with them.
    #[arg(long, value_name = "FIELD=VALUE", num_args = 1..)]
    pub(crate) set: Vec<String>,
    /// Bring back what was deleted while somebody edited it, or let a batch that is quarantined
    /// count, with all before it: on every device.
    #[arg(long)]
    pub(crate) adopt: bool,
    /// Leave deleted what was deleted while somebody edited it, on every device; or list what is
    /// quarantined no more, on this device alone: it is kept, and --reopen lists it again.
    #[arg(long)]
    pub(crate) discard: bool,
    /// List what was discarded on this device again; `conflicts --closed` has it.
    #[arg(long)]
    pub(crate) reopen: bool,
}

fn choice(text: &str) -> Result<Choice, String> {
    match text.to_ascii_lowercase().as_str() {
        "client" => Ok(Choice::Client),
        "server" => Ok(Choice::Server),
        "latest" => Ok(Choice::Latest),
        "both" => Ok(Choice::Both),
        letters if !letters.is_empty() && letters.bytes().all(|byte| byte.is_ascii_lowercase()) => {
            match letters.len() {
                1 | 2 => Ok(Choice::Label(letters.to_ascii_uppercase())),
                _ => Err(CHOICES.into()),
            }
        }
        _ => Err(CHOICES.into()),
    }
}

const CHOICES: &str =
    "take a value by its letter (A, B, C…), or one of client, server, latest, both";
