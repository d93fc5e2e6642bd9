//! Link classes: which way a place is, and what may travel on it without being asked for.
//!
//! What may not travel by itself is not asked for and not shown: a link of a dear class gets a
//! filter of its own when it is opened, which the peer heeds as it heeds that of any replica which
//! holds a part. Both compare that part only, so they come to rest, and nothing has to be known of
//! classes on the other side. The price is that a filter knows months and no more:
//!
//! - *Recent* is what is recorded for this month or the one before. A change of an older record
//!   belongs to the month of the record, so it waits with it, even where it is critical.
//! - A critical entry on satellite takes its neighbours along: its collection and partition from
//!   its month on. A finer cut would tear its chain, and no receipt could say that it is safe. As
//!   soon as a relay has signed for it, the link is opened anew without them.
//!
//! Whoever asks for a sync gets everything: the narrow links are opened anew for it.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use fieldmesh_model::{Filter, Moment, Region, Scope};

use crate::api::{Freight, LinkClass, SyncSettings};

/// Months that are recent, the one that is now included.
const RECENT_MONTHS: u32 = 2;
/// Scopes with critical entries that one link asks for.
const CRITICAL_SCOPES_MAX: usize = 32;

/// Whether something may travel on links of a class without being asked for.
pub(crate) const fn carries(class: LinkClass, freight: Freight) -> bool {
    match (class, freight) {
        (_, Freight::Critical)
        | (LinkClass::Unmetered | LinkClass::Nearby, _)
        | (LinkClass::Metered, Freight::Recent) => true,
        (LinkClass::Metered, Freight::Backfill | Freight::Blobs)
        | (LinkClass::Satellite, Freight::Recent | Freight::Backfill | Freight::Blobs) => false,
    }
}

/// The part of the records that may travel on links of a class without being asked for; none where
/// everything may. `critical` is where entries lie that nothing is to hold up.
pub(crate) fn part(class: LinkClass, now: Moment, critical: &BTreeSet<Scope>) -> Option<Filter> {
    if carries(class, Freight::Backfill) {
        return None;
    }
    let since = now.month().saturating_sub(RECENT_MONTHS - 1);
    let mut regions = Vec::new();
    if carries(class, Freight::Recent) {
        regions.push(Region { since, ..Region::default() });
    } else {
        let urgent = critical.iter().filter(|scope| scope.month >= since);
        regions.extend(urgent.take(CRITICAL_SCOPES_MAX).map(|scope| Region {
            collection: Some(scope.collection),
            partition: Some(scope.partition),
            since: scope.month,
        }));
    }
    if regions.is_empty() {
        return Some(Filter::nothing());
    }
    // What no filter can name lies in no collection of a schema; it waits.
    Some(Filter::new(regions).unwrap_or_else(|_| Filter::nothing()))
}

/// The class of the way to `address`: what the user set for the address, its host or the interface
/// that leads there, in this order; else that of a place nearby or of any other.
pub(crate) fn class_of(
    settings: &SyncSettings,
    address: &str,
    interface: Option<IpAddr>,
    otherwise: LinkClass,
) -> LinkClass {
    let set = |place: &str| settings.classes.get(place).copied();
    set(address)
        .or_else(|| set(host(address)))
        .or_else(|| interface.and_then(|interface| set(&interface.to_string())))
        .unwrap_or(otherwise)
}

/// The host of an address with a port, without the brackets of version 6.
fn host(address: &str) -> &str {
    if address.parse::<IpAddr>().is_ok() {
        return address;
    }
    let is_socket = address.parse::<SocketAddr>().is_ok();
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    if is_socket { host.trim_start_matches('[').trim_end_matches(']') } else { host }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASSES: [LinkClass; 4] =
        [LinkClass::Unmetered, LinkClass::Metered, LinkClass::Satellite, LinkClass::Nearby];

    #[test]
    fn a_critical_entry_travels_on_every_class() {
        assert!(CLASSES.iter().all(|class| carries(*class, Freight::Critical)));
    }

    #[test]
    fn a_paid_link_is_not_filled_with_old_entries() {
        use Freight::{Backfill, Blobs, Recent};
        let table = CLASSES.map(|class| [Recent, Backfill, Blobs].map(|f| carries(class, f)));
        let expected =
            [[true, true, true], [true, false, false], [false, false, false], [true, true, true]];
        assert_eq!(table, expected);
    }

    #[test]
    fn a_metered_link_gets_two_months_and_a_satellite_only_where_something_is_critical() {
        let now = Moment::from_millis(1_700_000_000_000);
        let scope = |collection, month| Scope { collection, partition: 0, month };
        let (fresh, before, old) = (now.month(), now.month() - 1, now.month() - 2);
        let critical: BTreeSet<Scope> = [scope(3, fresh), scope(4, old)].into();
        let admits = |class, critical: &BTreeSet<Scope>| {
            let part = part(class, now, critical);
            [scope(3, fresh), scope(4, fresh), scope(4, before), scope(4, old)]
                .map(|scope| part.as_ref().is_none_or(|part| part.admits(&scope)))
        };
        for class in [LinkClass::Unmetered, LinkClass::Nearby] {
            assert_eq!(part(class, now, &critical), None);
        }
        assert_eq!(admits(LinkClass::Metered, &critical), [true, true, true, false]);
        assert_eq!(admits(LinkClass::Satellite, &critical), [true, false, false, false]);
        assert_eq!(admits(LinkClass::Satellite, &BTreeSet::new()), [false; 4]);
    }

    #[test]
    fn the_nearest_word_of_the_user_about_a_place_holds() {
        let mut settings = SyncSettings::default();
        let class = |settings: &SyncSettings, address: &str, interface: Option<[u8; 4]>| {
            class_of(settings, address, interface.map(IpAddr::from), LinkClass::Nearby)
        };
        assert_eq!(class(&settings, "10.0.0.7:7843", None), LinkClass::Nearby);
        settings.classes.insert("192.168.7.2".into(), LinkClass::Satellite);
        let interface = Some([192, 168, 7, 2]);
        assert_eq!(class(&settings, "10.0.0.7:7843", interface), LinkClass::Satellite);
        settings.classes.insert("10.0.0.7".into(), LinkClass::Metered);
        assert_eq!(class(&settings, "10.0.0.7:7843", interface), LinkClass::Metered);
        settings.classes.insert("10.0.0.7:7843".into(), LinkClass::Unmetered);
        assert_eq!(class(&settings, "10.0.0.7:7843", interface), LinkClass::Unmetered);
    }

    #[test]
    fn hosts_are_found_in_names_and_in_both_kinds_of_addresses() {
        for (address, expected) in [
            ("relay.example.org:7843", "relay.example.org"),
            ("relay.example.org", "relay.example.org"),
            ("10.0.0.7:1", "10.0.0.7"),
            ("[fd00::7]:7843", "fd00::7"),
            ("fd00::7", "fd00::7"),
        ] {
            assert_eq!(host(address), expected);
        }
    }
}
