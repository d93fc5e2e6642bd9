//! What is kept of what devices sent and nobody could store.

use serde::Serialize;

/// Which of it to list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RejectedQuery {
    /// That behind this place of the list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The most of one page.
    pub count_max: usize,
}
