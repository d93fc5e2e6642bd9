//! Receipts that were verified: one that the view does not keep any more is dead.
//!
//! The view keeps so many of each signer and drops the one that says least when another comes.
//! Without the dropped ones there is nothing to choose, and the same ones stay. As long as segments
//! differ in which of them are gone, a view that is built anew may choose others among the crowded
//! ones of a signer, as many, and never loses the oldest and the newest.

use fieldmesh_batch::Receipt;
use fieldmesh_store::{Tree, View};

use crate::error::Error;
use crate::rows;

/// Whether the view has no row of a receipt that it has seen.
pub(super) fn is_void(view: &View, bytes: &[u8]) -> Result<bool, Error> {
    let Ok(receipt) = Receipt::decode(bytes) else { return Ok(false) };
    let key = rows::receipt_key(receipt.signer, receipt.at, bytes);
    let row = view.get(Tree::Meta, &key).map_err(|error| Error::store(&error))?;
    Ok(row.is_none())
}
