//! What a person should know of clocks, copies and peers, in words.

use std::collections::BTreeMap;

use fieldmesh_identity::Policy;
use fieldmesh_model::DeviceId;

use crate::mesh::{Snapshot, Watch};

/// A clock that is off by less is right enough.
const TOLERANCE_MILLIS: u64 = 2 * 60 * 1_000;
/// Devices that one kind of note names.
const NAMED_MAX: usize = 10;

/// Everything that `snapshot` has to say.
pub(super) fn notes(snapshot: &Snapshot, policy: &Policy) -> Vec<String> {
    let name = |device: &DeviceId| match policy.known(device) {
        Some(known) => known.name.clone(),
        None => format!("…{}", device.short()),
    };
    let mut notes = clocks(&snapshot.watch, &name);
    notes.extend(forks(snapshot, &name));
    notes.extend(gaps(snapshot, &name));
    for (relay, (count, _)) in snapshot.watch.withheld.iter().take(NAMED_MAX) {
        notes.push(format!(
            "the relay {} acknowledged {} and did not pass {} on; another device brought {}",
            name(relay),
            counted(*count, "batch", "batches"),
            if *count == 1 { "it" } else { "them" },
            if *count == 1 { "it" } else { "them" },
        ));
    }
    let doubted = snapshot.watch.doubted.iter();
    for device in doubted.filter(|it| !snapshot.watch.withheld.contains_key(it)).take(NAMED_MAX) {
        notes.push(format!(
            "{} lacked what it had acknowledged, as if its store was put back from an older copy; \
             what it signed before is not believed",
            name(device),
        ));
    }
    notes
}

/// Whose clock is off: that of this device where most peers say so, else that of each peer.
fn clocks(watch: &Watch, name: &dyn Fn(&DeviceId) -> String) -> Vec<String> {
    let skews: BTreeMap<&DeviceId, i64> =
        watch.greetings.iter().map(|(device, greeted)| (device, greeted.skew_millis)).collect();
    for (word, is_off) in [
        ("behind", (|skew: i64| skew > 0) as fn(i64) -> bool),
        ("ahead of", (|skew: i64| skew < 0) as fn(i64) -> bool),
    ] {
        let mut off: Vec<(u64, &DeviceId)> = skews
            .iter()
            .filter(|(_, skew)| is_off(**skew) && skew.unsigned_abs() > TOLERANCE_MILLIS)
            .map(|(device, skew)| (skew.unsigned_abs(), *device))
            .collect();
        off.sort_unstable();
        if off.is_empty() || off.len() * 2 <= skews.len() {
            continue;
        }
        let (middle, device) = off[off.len() / 2];
        let whom = match off.len() {
            1 => name(device),
            count => format!("{count} peers"),
        };
        return vec![format!("this device's clock is {} {word} {whom}", span(middle))];
    }
    let mut notes = Vec::new();
    for (device, skew) in skews {
        if skew.unsigned_abs() > TOLERANCE_MILLIS && notes.len() < NAMED_MAX {
            let word = if skew > 0 { "ahead" } else { "behind" };
            let span = span(skew.unsigned_abs());
            notes.push(format!("the clock of {} is {span} {word}", name(device)));
        }
    }
    notes
}

fn forks(snapshot: &Snapshot, name: &dyn Fn(&DeviceId) -> String) -> Vec<String> {
    let mut places: BTreeMap<DeviceId, u64> = BTreeMap::new();
    for fork in &snapshot.forks {
        *places.entry(fork.chain.author).or_default() += 1;
    }
    let note = |(device, count): (DeviceId, u64)| {
        let where_it_did = match count {
            1 => "for one place".to_owned(),
            count => format!("for one place, {count} times"),
        };
        format!(
            "device {} signed two different batches {where_it_did}: it was copied or its key is \
             used twice",
            name(&device)
        )
    };
    places.into_iter().take(NAMED_MAX).map(note).collect()
}

fn gaps(snapshot: &Snapshot, name: &dyn Fn(&DeviceId) -> String) -> Vec<String> {
    let mut missing: BTreeMap<DeviceId, u64> = BTreeMap::new();
    for (chain, gap) in &snapshot.gaps {
        let count = gap.last.saturating_sub(gap.first).saturating_add(1);
        let sum = missing.entry(chain.author).or_default();
        *sum = sum.saturating_add(count);
    }
    let note = |(device, count): (DeviceId, u64)| {
        format!(
            "{} of {} {} missing here; whoever met it has what it wrote in between",
            counted(count, "batch", "batches"),
            name(&device),
            if count == 1 { "is" } else { "are" },
        )
    };
    missing.into_iter().take(NAMED_MAX).map(note).collect()
}

/// A span of time in its largest unit.
fn span(millis: u64) -> String {
    const MINUTE: u64 = 60 * 1_000;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    const YEAR: u64 = 365 * DAY;
    for (unit, word) in [(YEAR, "year"), (DAY, "day"), (HOUR, "hour")] {
        if millis >= unit {
            return counted(millis / unit, word, &format!("{word}s"));
        }
    }
    counted(millis / MINUTE, "minute", "minutes")
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use fieldmesh_model::BatchId;

    use super::*;
    use crate::mesh::Greeted;

    const YEAR: i64 = 365 * 24 * 3_600 * 1_000;

    fn watch(skews: &[i64]) -> Watch {
        let greeted = |(index, skew): (usize, &i64)| {
            let byte = u8::try_from(index).unwrap();
            (DeviceId::from_bytes([byte; 32]), Greeted { skew_millis: *skew, version: 2 })
        };
        Watch { greetings: skews.iter().enumerate().map(greeted).collect(), ..Watch::default() }
    }

    fn said(skews: &[i64]) -> Vec<String> {
        clocks(&watch(skews), &|device| format!("d{}", device.as_bytes()[0]))
    }

    #[test]
    fn a_person_learns_whose_clock_is_wrong() {
        assert!(said(&[0, 90_000, -90_000]).is_empty());
        assert_eq!(
            said(&[10 * YEAR, 10 * YEAR + 5, 10 * YEAR - 7]),
            ["this device's clock is 10 years behind 3 peers"]
        );
        assert_eq!(said(&[-3 * 3_600_000]), ["this device's clock is 3 hours ahead of d0"]);
        assert_eq!(said(&[0, 0, 5 * 60_000]), ["the clock of d2 is 5 minutes ahead"]);
        assert_eq!(said(&[0, 0, -2 * 24 * 3_600_000]), ["the clock of d2 is 2 days behind"]);
    }

    #[test]
    fn a_relay_that_withholds_is_named() {
        let mut watch = Watch::default();
        watch.withheld.insert(DeviceId::from_bytes([7; 32]), (2, BatchId::default()));
        let snapshot = Snapshot { watch, ..Snapshot::default() };
        let policy = Policy::evaluate(fieldmesh_model::TenantId::default(), []);
        let notes = notes(&snapshot, &policy);
        assert_eq!(notes.len(), 1);
        assert!(notes[0].contains("07070707 acknowledged 2 batches"), "{notes:?}");
    }
}
