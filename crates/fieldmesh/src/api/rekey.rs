//! Writing a home anew with another data key: what it takes and how far it has come.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What opens the home; its usual key file where nothing is named.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RekeyOptions {
    /// Its passphrase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<String>,
    /// Its key file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
}

impl fmt::Debug for RekeyOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let passphrase = self.passphrase.as_ref().map(|_| "..");
        f.debug_struct("RekeyOptions")
            .field("passphrase", &passphrase)
            .field("key_file", &self.key_file)
            .finish()
    }
}

/// How far a rekey has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RekeyReport {
    /// The parts of the home that are written with the new key.
    pub parts_done: u64,
    /// All its parts.
    pub parts_total: u64,
    /// Why it does not go on at the moment, in words; it tries again by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}
