//! How much of the disk somebody may take, as it is written.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// The least that can be granted: an empty tenant takes more than a megabyte.
const BYTES_MIN: u64 = 4 << 20;
/// The units, the largest first, and the bytes of each.
const UNITS: [(&str, u64); 6] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
];

/// What is granted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub(crate) enum Grant {
    /// Whatever the disk has.
    #[default]
    Everything,
    /// So many bytes.
    Bytes(u64),
}

/// What stands in the file.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a size has to be bytes, a text like \"20 GiB\", or \"none\"")]
enum Written {
    Bytes(u64),
    Text(String),
}

/// A size that nobody can be granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GrantError {
    #[error("{text:?} is no size; write it like 20 GiB, or none for no limit")]
    Unreadable { text: String },
    #[error("{bytes} bytes are less than an empty tenant may grow to; give at least 4 MiB")]
    TooSmall { bytes: u64 },
}

impl Grant {
    /// The bytes; nothing where there is no limit.
    pub(crate) const fn bytes_max(self) -> Option<u64> {
        match self {
            Self::Everything => None,
            Self::Bytes(bytes) => Some(bytes),
        }
    }

    fn of_bytes(bytes: u64) -> Result<Self, GrantError> {
        if bytes < BYTES_MIN { Err(GrantError::TooSmall { bytes }) } else { Ok(Self::Bytes(bytes)) }
    }
}

impl FromStr for Grant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let text = text.trim();
        if text == "none" {
            return Ok(Self::Everything);
        }
        let unreadable = || GrantError::Unreadable { text: text.to_owned() };
        let unit =
            UNITS.into_iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, bytes)));
        let (number, bytes) = unit.unwrap_or((text, 1));
        let number: u64 = number.trim().parse().map_err(|_| unreadable())?;
        Self::of_bytes(number.checked_mul(bytes).ok_or_else(unreadable)?)
    }
}

impl TryFrom<Written> for Grant {
    type Error = GrantError;

    fn try_from(written: Written) -> Result<Self, GrantError> {
        match written {
            Written::Bytes(bytes) => Self::of_bytes(bytes),
            Written::Text(text) => text.parse(),
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Bytes(bytes) = self else { return f.write_str("none") };
        let exact = UNITS.iter().find(|(_, unit)| bytes % unit == 0);
        match exact {
            Some((name, unit)) => write!(f, "{} {name}", bytes / unit),
            None => write!(f, "{bytes} bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_as_people_write_it_and_shown_the_same() {
        for (text, bytes, shown) in [
            ("20 GiB", 20 << 30, "20 GiB"),
            ("512MiB", 512 << 20, "512 MiB"),
            ("5 GB", 5_000_000_000, "5 GB"),
            ("4194305", 4_194_305, "4194305 bytes"),
        ] {
            let grant: Grant = text.parse().unwrap();
            assert_eq!((grant, grant.to_string()), (Grant::Bytes(bytes), shown.to_owned()));
        }
        assert_eq!("none".parse(), Ok(Grant::Everything));
        for text in ["", "GiB", "-5 GiB", "1.5 GiB", "20 gib", "99999999999 TiB", "4 MB"] {
            assert!(text.parse::<Grant>().is_err(), "{text}");
        }
    }
}
