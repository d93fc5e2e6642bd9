//! Arguments of `drafts` and `submit`.

use clap::{Args, Subcommand};

/// `drafts …`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fieldmesh record field_entry wellId=\"State 12-4\" --draft    prints the id of the draft
  fieldmesh drafts                                            what is not finished
  fieldmesh drafts edit 5be1 oilVolume=82.3
  fieldmesh submit 5be1                                       records it

A draft is on this device alone, and nothing counts it. The record is about the time at which the
draft was begun, where its values say no other.")]
pub(crate) struct DraftsArgs {
    #[command(subcommand)]
    pub(crate) command: Option<DraftsCommand>,
}

/// What can be done with drafts; they are listed where nothing is said.
#[derive(Debug, Subcommand)]
pub(crate) enum DraftsCommand {
    /// Show one with all values, and what is missing.
    Show(DraftId),
    /// Change values of one.
    Edit {
        /// Its id, or the beginning of it.
        id: String,
        /// Values, like `oilVolume=82.3`.
        #[arg(value_name = "FIELD=VALUE", required = true)]
        values: Vec<String>,
    },
    /// Throw one away, for good.
    Discard(DraftId),
}

/// A draft.
#[derive(Debug, Args)]
pub(crate) struct DraftId {
    /// Its id, or the beginning of it.
    pub(crate) id: String,
}
