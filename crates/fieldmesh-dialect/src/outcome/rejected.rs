//! What devices sent and nobody could store, for whoever looks after the tenant.

use fieldmesh_model::{Fields, Moment};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::command::Action;
use crate::name::Name;
use crate::payload::{plain, unpack};

/// An operation that failed, or a part of a request that is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rejected {
    /// What tells it from others; by that of an operation it can be tried again.
    pub id: String,
    /// The contract over which it came.
    pub contract: Option<String>,
    /// Who sent it.
    pub user: Option<String>,
    /// With which device, where he said so.
    pub device: Option<String>,
    /// When it came.
    pub at: Option<Moment>,
    /// Why it is not stored, for people.
    pub reason: String,
    /// What it is.
    pub what: RejectedContent,
}

/// What was sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum RejectedContent {
    /// An operation that can be tried again.
    Operation {
        /// What was to be done.
        action: Action,
        /// With a record of this type.
        collection: String,
        /// With this record, where it has a name.
        name: Option<Name>,
        /// When that was done, by the clock of the device.
        done_at: Moment,
        /// The fields that were sent.
        #[serde(with = "plain")]
        fields: Fields,
        /// How often it was tried in vain since.
        retries: u32,
    },
    /// A part of a request that is no operation.
    Part {
        /// Its JSON, or the start of that where it was long.
        text: String,
    },
}

/// A page of it: parts of requests, then operations, both person by person and oldest first.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RejectedPage {
    /// What was sent.
    pub rejected: Vec<Rejected>,
    /// Where to go on, if there is more.
    pub next: Option<String>,
    /// How many parts of requests made room for newer ones, so that they are listed no more. One that
    /// comes again after that counts again.
    pub dropped: u64,
}

impl Rejected {
    /// The same as the endpoint gives it out.
    pub fn to_json(&self) -> Json {
        let mut shown = json!({
            "id": self.id, "contract": self.contract, "userId": self.user,
            "deviceId": self.device, "receivedAt": self.at, "reason": self.reason,
        });
        match &self.what {
            RejectedContent::Operation { action, collection, name, done_at, fields, retries } => {
                shown["operation"] = action.as_str().into();
                shown["type"] = collection.as_str().into();
                shown["entityId"] = name.as_ref().map_or(Json::Null, Name::to_json);
                shown["timestamp"] = json!(done_at);
                shown["content"] = Json::Object(unpack(fields));
                shown["retryCount"] = (*retries).into();
            }
            // What was cut off in the middle is no JSON any more.
            RejectedContent::Part { text } => {
                shown["content"] =
                    serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into());
            }
        }
        shown
    }
}
