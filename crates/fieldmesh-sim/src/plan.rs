//! What kind of day a crew has.

mod named;
pub(crate) mod setting;

pub use setting::SettingError;

/// The rules of a run; the seed decides the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Its name, as the command line writes it.
    pub name: &'static str,
    /// Tenants that know nothing of each other; relays serve all of them.
    pub tenants: i64,
    /// Devices of a tenant that write, at least 2.
    pub devices: (i64, i64),
    /// Relays, which do not write.
    pub relays: i64,
    /// Members of a tenant that break the protocol.
    pub hostiles: i64,
    /// Members of a tenant that sign two batches for one place of their chains.
    pub forkers: i64,
    /// Devices of a tenant, the first ones, that are administrators.
    pub admins: i64,
    /// Devices of a tenant, the last ones, that hold a part of the data only.
    pub partials: i64,
    /// Relays, the first ones, that hold a part of the data only.
    pub partial_relays: i64,
    /// Devices of a tenant, the last ones, that speak the first version of the protocol only.
    pub old: i64,
    /// Devices of a tenant that are certified only during the day.
    pub newcomers: i64,
    /// Who can reach whom.
    pub shape: Shape,
    /// What connections are like.
    pub links: Links,
    /// What is in the batches.
    pub content: Content,
    /// How long work and faults last, in milliseconds.
    pub day_millis: i64,
    /// How long a network without faults may need until all sets are equal, in milliseconds; where
    /// it can, less than the replicas' idle check, so that nothing is left to that.
    pub calm_millis: i64,
    /// Batches a device writes in a day.
    pub batches: (i64, i64),
    /// One batch of so many is large.
    pub large_once_in: i64,
    /// One batch of so many is critical; 0 if none is.
    pub critical_once_in: i64,
    /// Old batches that only the first device holds at the beginning.
    pub backfill: i64,
    /// Batches that all hold at the beginning.
    pub common: i64,
    /// How often a device meets another one in a day, where there is no fixed network.
    pub meetings: i64,
    /// The longest time that a write to a slow disk takes, in milliseconds; 0 if no disk is slow.
    pub slow_disk: i64,
    /// Whether the first connection breaks at a certain byte.
    pub first_break: FirstBreak,
    /// What goes wrong.
    pub faults: Faults,
    /// What is checked beside that which always holds.
    pub checks: Checks,
}

/// Who can reach whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Everybody everybody.
    Mesh,
    /// Each its neighbours; the relays stand at the end.
    Line,
    /// All devices all relays.
    Star,
    /// Each device one relay, and the first device all of them.
    Stars,
    /// The first device one face of a relay and the other devices the other one, which knows
    /// nothing of what the first one signed for; the devices meet late in the day.
    Faces,
    /// Nobody for long: two devices that happen to meet.
    Meetings,
}

/// What connections are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// Each has a class of its own.
    Any,
    /// 64 kbit/s both ways.
    Slow,
    /// Fast one way and slow the other.
    Lopsided,
    /// A round trip of 600 ms and more.
    Satellite,
}

/// What is in the batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Bytes that say nothing.
    Opaque,
    /// Changes of records.
    Records,
}

/// Whether the first connection breaks at a certain byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstBreak {
    /// It does not.
    Never,
    /// After as many bytes as the seed says; all else is the same with every seed.
    AtSeed,
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
    /// One node does not reach another one for a while, but hears it.
    pub one_ways: i64,
    /// Recorded messages are played into a new connection.
    pub replays: i64,
    /// A clock is set anew, up to ten years off.
    pub jumps: i64,
    /// A disk refuses what it is given for a while.
    pub full_disks: i64,
    /// A node is connected with one of another tenant.
    pub strangers: i64,
    /// The disk of each relay is put back from a copy of some time before.
    pub put_backs: i64,
    /// A disk cannot give a batch any more that was durable and that another one holds.
    pub spoils: i64,
    /// An administrator revokes a device, or leaves it with a smaller role.
    pub revocations: i64,
    /// An administrator accepts what it knows of the work of a revoked device.
    pub adoptions: i64,
    /// An administrator purges a document of which it holds something.
    pub purges: i64,
    /// A device lets go what is old and safe, or wants it back.
    pub evictions: i64,
}

/// What is checked beside that which always holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checks {
    /// P5: nothing is sent to a peer that has it. Holds only between two replicas.
    pub exactness: bool,
    /// P3: the cost of cuts. Holds only between two replicas that do not crash.
    pub retransmission: bool,
    /// P11: who is linked with a relay learns that it holds everything. Needs connections that stay.
    pub safety: bool,
    /// P2: the cost of recent differences.
    pub recent_cost: bool,
    /// P2: the cost of nothing new. Needs connections that stay.
    pub idle_cost: bool,
}

impl Plan {
    /// Every plan.
    pub fn all() -> Vec<Self> {
        named::all()
    }

    /// The plan with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|plan| plan.name == name)
    }
}
