//! What passed between a node and the other devices, for whoever keeps books of a fleet.

use fieldmesh_model::{DeviceId, Moment};

/// The upper bounds of the buckets of delays, in seconds; a last bucket has no bound.
pub const DELAY_BOUNDS: [u64; 8] = [1, 10, 60, 600, 3_600, 21_600, 86_400, 259_200];

/// The upper bounds of the buckets of durations, in milliseconds; a last bucket has no bound.
pub const DURATION_BOUNDS_MILLIS: [u64; 7] = [50, 250, 1_000, 5_000, 30_000, 120_000, 600_000];

/// What passed since somebody asked last; whoever asks adds it to what he knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dealings {
    /// Device by device; those with which nothing passed are left out.
    pub devices: Vec<Dealing>,
    /// How many batches became durable here so long after their newest change, by
    /// [`DELAY_BOUNDS`].
    pub delays: [u64; DELAY_BOUNDS.len() + 1],
    /// The sum of these delays.
    pub delayed_seconds: u64,
    /// How many conversations took so long until both held the same for the first time, by
    /// [`DURATION_BOUNDS_MILLIS`].
    pub durations: [u64; DURATION_BOUNDS_MILLIS.len() + 1],
    /// The sum of these durations.
    pub duration_millis: u64,
}

/// What passed with one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dealing {
    /// The device.
    pub device: DeviceId,
    /// When it was last heard.
    pub last_contact: Option<Moment>,
    /// When both last held the same.
    pub last_in_step: Option<Moment>,
    /// Conversations in which both came to hold the same.
    pub agreed: u64,
    /// Conversations that ended before that.
    pub failed: u64,
    /// When and why the last one of these ended.
    pub failure: Option<(Moment, String)>,
    /// How often a batch came from it that is not stored, or does not count.
    pub refused: u64,
    /// Bytes received in conversations.
    pub bytes_in: u64,
    /// Bytes sent in conversations.
    pub bytes_out: u64,
    /// The version of the protocol that both speak.
    pub protocol: Option<u16>,
    /// How far its clock is ahead of this one's, in milliseconds.
    pub clock_ahead: Option<i64>,
    /// How long after its newest change the last batch that it wrote became durable here, whoever
    /// brought it; by its clock.
    pub last_delay_seconds: Option<u64>,
}

impl Dealing {
    /// Nothing has passed so far.
    pub const fn with(device: DeviceId) -> Self {
        Self {
            device,
            last_contact: None,
            last_in_step: None,
            agreed: 0,
            failed: 0,
            failure: None,
            refused: 0,
            bytes_in: 0,
            bytes_out: 0,
            protocol: None,
            clock_ahead: None,
            last_delay_seconds: None,
        }
    }
}
