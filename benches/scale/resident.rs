//! The memory of a process, as the system counts it.

use std::error::Error;
use std::fs;

/// What a process has in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resident {
    /// Its own and what it has of files, in bytes.
    pub(crate) now: u64,
    /// Its own, also where the system has moved it to a slower place.
    pub(crate) own: u64,
    /// The most that it ever had.
    pub(crate) peak: u64,
}

impl Resident {
    /// Of this process.
    pub(crate) fn here() -> Result<Self, Box<dyn Error>> {
        Self::of("self")
    }

    /// Of another one, by its number.
    pub(crate) fn of(process: &str) -> Result<Self, Box<dyn Error>> {
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let read = |name: &str| -> Result<u64, Box<dyn Error>> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kibibytes = line.ok_or("the system does not tell")?.trim().trim_end_matches(" kB");
            Ok(kibibytes.parse::<u64>()? * 1024)
        };
        Ok(Self {
            now: read("VmRSS:")?,
            own: read("RssAnon:")? + read("VmSwap:")?,
            peak: read("VmHWM:")?,
        })
    }
}

/// Bytes as megabytes.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}
