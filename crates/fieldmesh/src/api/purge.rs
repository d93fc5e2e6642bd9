//! What a purge came to.

use fieldmesh_model::DocumentId;
use serde::{Deserialize, Serialize};

/// What a purge came to on the device where it was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgeReport {
    /// The record.
    pub id: DocumentId,
    /// How many changes of it were here.
    pub changes: u64,
    /// Whether they are erased here; otherwise the device goes on with it by itself.
    pub swept: bool,
}
