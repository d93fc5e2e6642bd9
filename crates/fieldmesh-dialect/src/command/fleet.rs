//! Which devices of the tenant to list, for whoever watches over them.

use fieldmesh_model::Moment;
use serde::Serialize;

use crate::outcome::FleetDevice;

/// Which devices to list; all that fit every condition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FleetQuery {
    /// Those that were heard, and not for so many hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent_hours: Option<u32>,
    /// Those of whose recent attempts too many failed.
    pub failing: bool,
    /// Those that have something unsent.
    pub backlog: bool,
    /// Those behind this place of the list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The most devices of the page; all where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub devices_max: Option<usize>,
}

impl FleetQuery {
    /// Whether `device` fits the conditions, paging aside.
    pub fn admits(&self, device: &FleetDevice, now: Moment) -> bool {
        let is_silent = |hours: u32| {
            let millis = i64::from(hours) * 3_600_000;
            device.last_contact.is_some_and(|heard| now.millis_since(heard) > millis)
        };
        self.silent_hours.is_none_or(is_silent)
            && (!self.failing || device.failing)
            && (!self.backlog || device.unsent.is_some_and(|unsent| unsent > 0))
    }
}
