//! Link classes: which way a place is, and what may travel on it without being asked for.

use std::net::{IpAddr, SocketAddr};

use crate::api::{Freight, LinkClass, SyncSettings};

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
