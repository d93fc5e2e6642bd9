//! Sessions of people, photos, and figures of traffic.

use std::fmt;

use fieldmesh_model::Moment;
use serde::{Serialize, Serializer};

/// Opens a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Login {
    /// The address, in lower case.
    pub email: String,
    /// The password.
    pub password: Secret,
}

/// Renews a session. The token stays valid until its successor was used, because an answer can get
/// lost on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refresh {
    /// The refresh token.
    pub token: Secret,
    /// The device that uses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

/// Gives the caller another password, and ends every session of his but a new one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PasswordChange {
    /// The password that he has.
    pub current: Secret,
    /// The one that he wants.
    pub new: Secret,
}

/// Gives a person another password who proves himself by a code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PasswordReset {
    /// The address, in lower case.
    pub email: String,
    /// The code.
    pub code: Secret,
    /// The password that he wants.
    pub new: Secret,
}

/// Makes a code by which somebody who forgot his password chooses another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResetCodeOrder {
    /// The address of that person, in lower case.
    pub email: String,
    /// The password of the caller.
    pub current: Secret,
}

/// A text that no log and no transcript shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// A photo, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PhotoUpload {
    /// Its type.
    pub content_type: String,
    /// The bytes.
    #[serde(serialize_with = "length")]
    pub bytes: Vec<u8>,
    /// The SHA-256 in hex that they are said to have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Where the bytes lie in the whole: the first of them, and the size of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<(u64, u64)>,
}

/// Of which time to tell how much went in and out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficQuery {
    /// From when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Moment>,
    /// Until when, itself left out: the day that begins with it is not meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Moment>,
}

impl Secret {
    /// Hides `text`.
    pub(crate) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str("..")
    }
}

fn length<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&format!("{} bytes", bytes.len()))
}
