//! Where something is, as signed receipts prove it: here, on other devices, or safe.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Where something is, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Safety {
    /// On this device, and nowhere else as far as is proven.
    #[default]
    Here,
    /// On so many other devices too.
    Devices(usize),
    /// At a relay.
    Relay,
}

/// A text that is no safety.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is none of `here`, `devices:N` and `relay`")]
pub struct SafetyError {
    /// What was given.
    pub text: String,
}

/// How many records are where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SafetyCounts {
    /// On this device only, as far as is proven.
    pub here: u64,
    /// On other devices too, and at no relay.
    pub on_devices: u64,
    /// At a relay.
    pub safe: u64,
}

impl SafetyCounts {
    /// Counts one more.
    pub fn count(&mut self, safety: Safety) {
        match safety {
            Safety::Here => self.here += 1,
            Safety::Devices(_) => self.on_devices += 1,
            Safety::Relay => self.safe += 1,
        }
    }
}

impl fmt::Display for Safety {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here => f.write_str("here"),
            Self::Devices(count) => write!(f, "devices:{count}"),
            Self::Relay => f.write_str("relay"),
        }
    }
}

impl FromStr for Safety {
    type Err = SafetyError;

    fn from_str(text: &str) -> Result<Self, SafetyError> {
        match (text, text.strip_prefix("devices:").map(str::parse)) {
            ("here", _) => Ok(Self::Here),
            ("relay", _) => Ok(Self::Relay),
            (_, Some(Ok(count))) => Ok(Self::Devices(count)),
            _ => Err(SafetyError { text: text.into() }),
        }
    }
}

impl Serialize for Safety {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Safety {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_as_safe_as_the_least_safe_of_its_changes() {
        let all = [Safety::Relay, Safety::Devices(3), Safety::Devices(1), Safety::Here];
        assert!(all.is_sorted_by(|more, less| more > less));
        for safety in all {
            assert_eq!(safety.to_string().parse(), Ok(safety));
        }
        assert!("devices:many".parse::<Safety>().is_err());
    }
}
