//! The plans that have a name.

use super::{Checks, Content, Faults, FirstBreak, Links, Plan, Shape};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// Every plan, the cheap ones first.
pub(super) fn all() -> Vec<Plan> {
    vec![
        pair(),
        bulk(),
        recent(),
        offsets(),
        crew(),
        relay(),
        line(),
        newcomers(),
        latecomers(),
        replay(),
        clocks(),
        full_disk(),
        slow_disk(),
        slow_link(),
        lopsided(),
        satellite(),
        one_way(),
        relays(),
        tenants(),
        hostile(),
        records(),
        partial(),
        partial_relays(),
        old(),
        forks(),
        policies(),
        purges(),
        everything(),
        faces(),
        put_back(),
        spoiled(),
        evicting(),
        urgent(),
        fifty(),
    ]
}

/// Two devices whose connection is cut again and again.
fn pair() -> Plan {
    Plan {
        name: "pair",
        tenants: 1,
        devices: (2, 2),
        relays: 0,
        hostiles: 0,
        forkers: 0,
        admins: 0,
        partials: 0,
        partial_relays: 0,
        old: 0,
        newcomers: 0,
        shape: Shape::Mesh,
        links: Links::Any,
        content: Content::Opaque,
        day_millis: 2 * MINUTE,
        calm_millis: 50_000,
        batches: (5, 40),
        large_once_in: 30,
        critical_once_in: 10,
        backfill: 0,
        common: 50,
        meetings: 0,
        slow_disk: 0,
        first_break: FirstBreak::Never,
        faults: Faults { cuts: 30, ..Faults::default() },
        checks: Checks {
            exactness: true,
            retransmission: true,
            safety: false,
            recent_cost: false,
            idle_cost: true,
        },
    }
}

/// Two devices that move more than fits a window at once.
fn bulk() -> Plan {
    Plan {
        name: "bulk",
        batches: (30, 90),
        large_once_in: 2,
        common: 0,
        // The slowest connection carries 8 kB a second.
        calm_millis: 10 * MINUTE,
        faults: Faults { cuts: 15, ..Faults::default() },
        ..pair()
    }
}

/// Two devices with much in common that meet after working apart.
fn recent() -> Plan {
    Plan {
        name: "recent",
        batches: (1, 100),
        common: 1_000,
        faults: Faults::default(),
        checks: Checks { recent_cost: true, ..pair().checks },
        ..pair()
    }
}

/// Two devices that met before, whose first connection breaks after as many bytes as the seed says.
fn offsets() -> Plan {
    Plan {
        name: "offsets",
        day_millis: 20_000,
        batches: (12, 12),
        common: 300,
        first_break: FirstBreak::AtSeed,
        faults: Faults::default(),
        checks: Checks { idle_cost: false, recent_cost: false, ..recent().checks },
        ..pair()
    }
}

/// A crew in which everything goes wrong.
fn crew() -> Plan {
    Plan {
        name: "crew",
        devices: (3, 6),
        day_millis: 5 * MINUTE,
        batches: (3, 25),
        faults: Faults { cuts: 25, sleeps: 5, crashes: 5, partitions: 4, ..Faults::default() },
        checks: Checks { idle_cost: true, ..Checks::default() },
        ..pair()
    }
}

/// Devices that meet only at a relay, which is away at times.
fn relay() -> Plan {
    Plan {
        name: "relay",
        checks: Checks { safety: true, ..crew().checks },
        devices: (2, 7),
        relays: 1,
        shape: Shape::Star,
        faults: Faults { cuts: 20, sleeps: 8, crashes: 3, ..Faults::default() },
        ..crew()
    }
}

/// Devices in a line, whose middle is away at times, with a relay at the end.
fn line() -> Plan {
    Plan {
        name: "line",
        devices: (2, 7),
        relays: 1,
        shape: Shape::Line,
        faults: Faults { cuts: 10, sleeps: 10, crashes: 2, ..Faults::default() },
        ..crew()
    }
}

/// A crew that some devices join during the day.
fn newcomers() -> Plan {
    Plan {
        name: "newcomers",
        devices: (3, 5),
        newcomers: 2,
        faults: Faults { cuts: 15, sleeps: 3, crashes: 2, partitions: 3, ..Faults::default() },
        ..crew()
    }
}

/// A crew that some join over connections that last, so that what was refused is not forgotten.
fn latecomers() -> Plan {
    Plan { name: "latecomers", faults: Faults::default(), ..newcomers() }
}

/// A crew into whose connections recorded messages are played.
fn replay() -> Plan {
    Plan {
        name: "replay",
        devices: (2, 4),
        faults: Faults { cuts: 10, replays: 30, ..Faults::default() },
        ..crew()
    }
}

/// A crew whose clocks are set anew while it works, some ten years off.
fn clocks() -> Plan {
    Plan {
        name: "clocks",
        devices: (2, 5),
        faults: Faults { cuts: 10, sleeps: 3, crashes: 6, jumps: 20, ..Faults::default() },
        ..crew()
    }
}

/// A crew whose disks refuse writes at times and lose power at others.
fn full_disk() -> Plan {
    Plan {
        name: "full-disk",
        devices: (2, 5),
        large_once_in: 6,
        calm_millis: 3 * MINUTE,
        faults: Faults { cuts: 5, crashes: 10, full_disks: 10, ..Faults::default() },
        ..crew()
    }
}

/// Devices that exchange much while their disks take seconds for each write.
fn slow_disk() -> Plan {
    Plan {
        name: "slow-disk",
        devices: (2, 3),
        day_millis: MINUTE,
        batches: (60, 90),
        large_once_in: 1,
        critical_once_in: 0,
        // More than the window of a device, at once.
        backfill: 90,
        slow_disk: 8_000,
        calm_millis: 20 * MINUTE,
        faults: Faults { cuts: 5, ..Faults::default() },
        ..crew()
    }
}

/// A crew whose connections carry 64 kbit/s.
fn slow_link() -> Plan {
    Plan {
        name: "slow-link",
        devices: (2, 4),
        links: Links::Slow,
        calm_millis: 5 * MINUTE,
        faults: Faults { cuts: 15, sleeps: 3, crashes: 2, ..Faults::default() },
        ..crew()
    }
}

/// A crew whose connections are fast one way and slow the other.
fn lopsided() -> Plan {
    Plan { name: "lopsided", links: Links::Lopsided, ..slow_link() }
}

/// Devices behind a satellite, with a relay on the ground.
fn satellite() -> Plan {
    Plan {
        name: "satellite",
        links: Links::Satellite,
        relays: 1,
        shape: Shape::Star,
        ..slow_link()
    }
}

/// A crew in which some hear others that do not hear them.
fn one_way() -> Plan {
    Plan {
        name: "one-way",
        devices: (2, 5),
        calm_millis: 2 * MINUTE,
        faults: Faults { cuts: 5, sleeps: 2, one_ways: 12, partitions: 2, ..Faults::default() },
        ..crew()
    }
}

/// Relays that know different devices, joined by the one that knows all of them.
fn relays() -> Plan {
    Plan {
        name: "relays",
        checks: Checks { safety: true, ..crew().checks },
        devices: (3, 6),
        relays: 3,
        shape: Shape::Stars,
        faults: Faults { cuts: 15, sleeps: 6, crashes: 4, ..Faults::default() },
        ..crew()
    }
}

/// Three tenants on the same relays, whose nodes are connected with each other by mistake.
fn tenants() -> Plan {
    Plan {
        name: "tenants",
        tenants: 3,
        devices: (2, 3),
        relays: 2,
        shape: Shape::Star,
        batches: (3, 12),
        faults: Faults { cuts: 10, sleeps: 4, crashes: 3, strangers: 25, ..Faults::default() },
        ..crew()
    }
}

/// A crew with a member that breaks the protocol in every way.
fn hostile() -> Plan {
    Plan {
        name: "hostile",
        devices: (2, 4),
        hostiles: 1,
        day_millis: 3 * MINUTE,
        batches: (3, 12),
        calm_millis: 5 * MINUTE,
        faults: Faults { cuts: 5, sleeps: 2, crashes: 2, ..Faults::default() },
        checks: Checks::default(),
        ..crew()
    }
}

/// A crew that edits the same records, with contents that are merged and compared.
fn records() -> Plan {
    Plan {
        name: "records",
        devices: (2, 5),
        batches: (3, 15),
        content: Content::Records,
        common: 0,
        faults: Faults {
            cuts: 10,
            sleeps: 5,
            crashes: 4,
            partitions: 3,
            jumps: 4,
            ..Faults::default()
        },
        ..crew()
    }
}

/// A crew of which some hold or may read a part only.
fn partial() -> Plan {
    Plan {
        name: "partial",
        devices: (3, 6),
        partials: 2,
        relays: 1,
        faults: Faults { cuts: 15, sleeps: 4, crashes: 4, partitions: 2, ..Faults::default() },
        ..crew()
    }
}

/// Devices that meet at two relays, each of which holds another part.
fn partial_relays() -> Plan {
    Plan {
        name: "partial-relays",
        devices: (2, 5),
        relays: 2,
        partials: 0,
        partial_relays: 2,
        shape: Shape::Star,
        faults: Faults { cuts: 15, sleeps: 4, crashes: 4, ..Faults::default() },
        ..crew()
    }
}

/// A crew of which some speak the first version of the protocol only.
fn old() -> Plan {
    Plan {
        name: "old",
        devices: (3, 5),
        old: 2,
        calm_millis: 3 * MINUTE,
        faults: Faults { cuts: 15, sleeps: 3, crashes: 4, partitions: 2, ..Faults::default() },
        ..crew()
    }
}

/// A crew with members that sign two batches for one place, one of whom is revoked.
fn forks() -> Plan {
    Plan {
        name: "forks",
        devices: (3, 5),
        forkers: 2,
        admins: 1,
        calm_millis: 5 * MINUTE,
        faults: Faults {
            cuts: 15,
            sleeps: 3,
            crashes: 4,
            partitions: 3,
            revocations: 2,
            adoptions: 2,
            ..Faults::default()
        },
        checks: Checks::default(),
        ..crew()
    }
}

/// A crew whose administrators revoke devices and adopt work at any time, apart from each other.
fn policies() -> Plan {
    Plan {
        name: "policies",
        devices: (4, 7),
        forkers: 0,
        admins: 2,
        faults: Faults { revocations: 4, adoptions: 4, partitions: 5, ..forks().faults },
        ..forks()
    }
}

/// A crew whose administrators purge documents at any time, apart from each other.
fn purges() -> Plan {
    Plan {
        name: "purges",
        faults: Faults { purges: 12, revocations: 1, adoptions: 1, ..policies().faults },
        ..policies()
    }
}

/// A crew with everything that may go wrong, and some of everything.
fn everything() -> Plan {
    Plan {
        name: "everything",
        devices: (4, 7),
        relays: 1,
        newcomers: 1,
        partials: 1,
        faults: Faults { jumps: 5, replays: 5, full_disks: 3, one_ways: 2, ..policies().faults },
        ..policies()
    }
}

/// A relay that hides from some what it signed for to others.
fn faces() -> Plan {
    Plan {
        name: "faces",
        devices: (2, 3),
        relays: 1,
        shape: Shape::Faces,
        common: 20,
        faults: Faults { cuts: 6, crashes: 2, ..Faults::default() },
        checks: Checks::default(),
        ..crew()
    }
}

/// Relays whose disks are put back from older copies by somebody who tells nobody.
fn put_back() -> Plan {
    Plan {
        name: "put-back",
        devices: (2, 4),
        relays: 1,
        shape: Shape::Mesh,
        common: 20,
        faults: Faults { put_backs: 2, cuts: 10, sleeps: 4, crashes: 3, ..Faults::default() },
        checks: Checks { safety: true, idle_cost: true, ..Checks::default() },
        ..crew()
    }
}

/// Disks that lose, in the middle of the day, what was durable.
fn spoiled() -> Plan {
    Plan {
        name: "spoiled",
        devices: (2, 5),
        relays: 1,
        common: 40,
        faults: Faults { spoils: 60, cuts: 10, sleeps: 4, crashes: 4, ..Faults::default() },
        checks: Checks { safety: true, idle_cost: true, ..Checks::default() },
        ..crew()
    }
}

/// Devices that let old months go by themselves while they sync, and want them back at times.
fn evicting() -> Plan {
    Plan {
        name: "evicting",
        devices: (3, 5),
        relays: 1,
        common: 40,
        backfill: 60,
        large_once_in: 20,
        faults: Faults { evictions: 20, cuts: 10, sleeps: 4, crashes: 4, ..Faults::default() },
        checks: Checks::default(),
        ..crew()
    }
}

/// Critical batches while a slow connection is busy with old ones, and with large new ones.
fn urgent() -> Plan {
    Plan {
        name: "urgent",
        devices: (2, 3),
        links: Links::Slow,
        backfill: 300,
        large_once_in: 5,
        critical_once_in: 3,
        common: 0,
        batches: (20, 30),
        calm_millis: 20 * MINUTE,
        faults: Faults::default(),
        checks: Checks::default(),
        ..crew()
    }
}

/// Fifty devices without any relay that meet by chance, two at a time, during eight hours.
fn fifty() -> Plan {
    Plan {
        name: "fifty",
        devices: (50, 50),
        shape: Shape::Meetings,
        day_millis: 8 * HOUR,
        calm_millis: 6 * HOUR,
        batches: (0, 4),
        common: 20,
        meetings: 30,
        faults: Faults { cuts: 40, sleeps: 40, crashes: 20, jumps: 20, ..Faults::default() },
        checks: Checks::default(),
        ..crew()
    }
}
