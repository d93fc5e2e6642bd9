//! What kind of day a crew has.

/// The rules of a run; the seed decides the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Its name, as the command line writes it.
    pub name: &'static str,
    /// Devices that write, at least 2.
    pub devices: (i64, i64),
    /// Whether a relay, which does not write, stands in the middle.
    pub has_relay: bool,
    /// Who can reach whom.
    pub shape: Shape,
    /// How long work and faults last, in milliseconds.
    pub day_millis: i64,
    /// How long a network without faults may need until all sets are equal, in milliseconds; less
    /// than the replicas' idle check, so that nothing is left to that.
    pub calm_millis: i64,
    /// Batches a device writes in a day.
    pub batches: (i64, i64),
    /// One batch of so many is large.
    pub large_once_in: u64,
    /// Batches that all hold at the beginning.
    pub common: usize,
    /// Devices that are certified only during the day.
    pub newcomers: usize,
    /// What goes wrong.
    pub faults: Faults,
    /// What is checked beside convergence.
    pub checks: Checks,
}

/// Who can reach whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Everybody everybody.
    Mesh,
    /// Each its neighbours.
    Line,
    /// All the last one.
    Star,
}

/// What goes wrong, as the mean number of times a day; 0 is never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// A connection is cut, at any byte.
    pub cuts: i64,
    /// A node is switched off for a while.
    pub sleeps: i64,
    /// A node loses what is not durable and starts again.
    pub crashes: i64,
    /// The network falls apart for a while.
    pub partitions: i64,
    /// Recorded messages are played into a new connection.
    pub replays: i64,
}

/// What is checked beside convergence, durability and the cost of nothing new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checks {
    /// P5: nothing is sent to a peer that has it. Holds only between two replicas.
    pub exactness: bool,
    /// P3: the cost of cuts. Holds only between two replicas that do not crash.
    pub retransmission: bool,
    /// P2: the cost of recent differences.
    pub recent_cost: bool,
}

impl Plan {
    /// Every plan.
    pub fn all() -> Vec<Self> {
        vec![
            Self::pair(),
            Self::bulk(),
            Self::recent(),
            Self::crew(),
            Self::relay(),
            Self::line(),
            Self::newcomers(),
            Self::replay(),
        ]
    }

    /// The plan with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|plan| plan.name == name)
    }

    /// Two devices whose connection is cut again and again.
    pub fn pair() -> Self {
        Self {
            name: "pair",
            devices: (2, 2),
            has_relay: false,
            shape: Shape::Mesh,
            day_millis: 120_000,
            calm_millis: 50_000,
            batches: (5, 40),
            large_once_in: 30,
            common: 50,
            newcomers: 0,
            faults: Faults { cuts: 30, ..Faults::default() },
            checks: Checks { exactness: true, retransmission: true, recent_cost: false },
        }
    }

    /// Two devices that move more than fits a window at once.
    pub fn bulk() -> Self {
        Self {
            name: "bulk",
            batches: (30, 90),
            large_once_in: 2,
            common: 0,
            // The slowest connection carries 8 kB a second.
            calm_millis: 600_000,
            faults: Faults { cuts: 15, ..Faults::default() },
            ..Self::pair()
        }
    }

    /// Two devices with much in common that meet after working apart.
    pub fn recent() -> Self {
        Self {
            name: "recent",
            batches: (1, 100),
            common: 1_000,
            faults: Faults::default(),
            checks: Checks { exactness: true, retransmission: true, recent_cost: true },
            ..Self::pair()
        }
    }

    /// A crew in which everything goes wrong.
    pub fn crew() -> Self {
        Self {
            name: "crew",
            devices: (3, 6),
            day_millis: 300_000,
            batches: (3, 25),
            faults: Faults { cuts: 25, sleeps: 5, crashes: 5, partitions: 4, replays: 0 },
            checks: Checks::default(),
            ..Self::pair()
        }
    }

    /// Devices that meet only at a relay, which is away at times.
    pub fn relay() -> Self {
        Self {
            name: "relay",
            devices: (2, 7),
            has_relay: true,
            shape: Shape::Star,
            faults: Faults { cuts: 20, sleeps: 8, crashes: 3, ..Faults::default() },
            ..Self::crew()
        }
    }

    /// Devices in a line, whose middle is away at times, with a relay at the end.
    pub fn line() -> Self {
        Self {
            name: "line",
            devices: (2, 7),
            has_relay: true,
            shape: Shape::Line,
            faults: Faults { cuts: 10, sleeps: 10, crashes: 2, ..Faults::default() },
            ..Self::crew()
        }
    }

    /// A crew that some devices join during the day.
    pub fn newcomers() -> Self {
        Self {
            name: "newcomers",
            devices: (3, 5),
            newcomers: 2,
            faults: Faults { cuts: 15, sleeps: 3, crashes: 2, partitions: 3, replays: 0 },
            ..Self::crew()
        }
    }

    /// A crew into whose connections recorded messages are played.
    pub fn replay() -> Self {
        Self {
            name: "replay",
            devices: (2, 4),
            faults: Faults { cuts: 10, replays: 30, ..Faults::default() },
            ..Self::crew()
        }
    }
}
