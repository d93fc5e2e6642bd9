//! Where this device can be reached, and what an address in text means.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use fieldmesh_identity::invitation::ADDRESS_LENGTH_MAX;
use tokio::net::lookup_host;
use tokio::time::timeout;

/// The port of UDP that relays and devices listen on unless told otherwise, and relays of TCP too.
pub const PORT_DEFAULT: u16 = 7843;
/// How long looking up a name may take.
pub const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest number of addresses that are taken from one name.
pub const ADDRESSES_PER_NAME_MAX: usize = 8;

/// A text that leads to no address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The text is neither an address nor a host name.
    #[error("{text:?} is no address; write it like 192.0.2.7:{PORT_DEFAULT} or relay.example.org")]
    Malformed {
        /// What was given.
        text: String,
    },
    /// The text is an address at which nobody can be reached from elsewhere.
    #[error("{text:?} leads to nobody; name a host or an address with the port it listens on")]
    Nobody {
        /// What was given.
        text: String,
    },
    /// The name leads nowhere.
    #[error("cannot find {text:?}")]
    NotFound {
        /// What was given.
        text: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// Nobody answered in time.
    #[error("looking up {text:?} took more than {} s", LOOKUP_TIMEOUT.as_secs())]
    TimedOut {
        /// What was given.
        text: String,
    },
}

/// The addresses behind `text`: an address or a host name, with or without a port.
///
/// # Errors
///
/// The [`AddressError`] says whether the text or the name service is at fault.
pub async fn resolve(text: &str) -> Result<Vec<SocketAddr>, AddressError> {
    let text = text.trim();
    let (host, port) = match read(text)? {
        Place::Address(address) => return Ok(vec![address]),
        Place::Host(host, port) => (host, port),
    };
    match timeout(LOOKUP_TIMEOUT, lookup_host((host, port))).await {
        Err(_) => Err(AddressError::TimedOut { text: text.into() }),
        Ok(Err(source)) => Err(AddressError::NotFound { text: text.into(), source }),
        Ok(Ok(found)) => Ok(found.take(ADDRESSES_PER_NAME_MAX).collect()),
    }
}

/// The one way to write an address that others are to use: in lower case, with its port.
///
/// # Errors
///
/// The text is no address, or one that means nobody in particular, or another one on each device.
pub fn normal(text: &str) -> Result<String, AddressError> {
    let text = text.trim();
    let malformed = || AddressError::Malformed { text: text.into() };
    let (normal, port) = match read(text)? {
        Place::Address(address) if !means_somebody(&address) => {
            return Err(AddressError::Nobody { text: text.into() });
        }
        Place::Address(address) => {
            let address = SocketAddr::new(address.ip().to_canonical(), address.port());
            (address.to_string(), address.port())
        }
        Place::Host(host, port) => {
            let host = host.strip_suffix('.').unwrap_or(host).to_lowercase();
            if !is_name(&host) {
                return Err(malformed());
            }
            (format!("{host}:{port}"), port)
        }
    };
    if port == 0 {
        return Err(AddressError::Nobody { text: text.into() });
    }
    if normal.len() > ADDRESS_LENGTH_MAX {
        return Err(malformed());
    }
    Ok(normal)
}

/// Whether `text` is written in the one way of [`normal`].
pub fn is_normal(text: &str) -> bool {
    normal(text).is_ok_and(|normal| normal == text)
}

/// By what one text is told from another that leads elsewhere: its normal form if it has one.
pub fn comparable(text: &str) -> String {
    normal(text).unwrap_or_else(|_| text.trim().to_owned())
}

/// Whether an address means the same device wherever it is read.
fn means_somebody(address: &SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    let is_scoped = matches!(address, SocketAddr::V6(address) if address.scope_id() != 0);
    let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    let is_shared = ip.is_unspecified() || ip.is_multicast() || is_broadcast;
    !is_scoped && !is_shared && !is_link_local(&ip)
}

/// Whether a host is a name; the resolver takes one that ends in a number for an address.
fn is_name(host: &str) -> bool {
    let is_number = |label: &str| {
        let digits = label.strip_prefix("0x").unwrap_or(label);
        let is_hex = digits.len() < label.len() && digits.chars().all(|c| c.is_ascii_hexdigit());
        is_hex || label.chars().all(|c| c.is_ascii_digit())
    };
    host.split('.').all(|label| !label.is_empty())
        && !host.rsplit('.').next().is_some_and(is_number)
}

/// What an address in text names.
enum Place<'a> {
    Address(SocketAddr),
    Host(&'a str, u16),
}

fn read(text: &str) -> Result<Place<'_>, AddressError> {
    if let Some(address) = literal(text) {
        return Ok(Place::Address(address));
    }
    let malformed = || AddressError::Malformed { text: text.into() };
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_| malformed())?),
        None => (text, PORT_DEFAULT),
    };
    let plausible = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if host.is_empty() || !host.chars().all(plausible) {
        return Err(malformed());
    }
    Ok(Place::Host(host, port))
}

fn literal(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let with_port = || Some(SocketAddr::new(bare.parse::<IpAddr>().ok()?, PORT_DEFAULT));
    text.parse().ok().or_else(with_port)
}

/// The addresses at which others on the network may reach `port` of this device: loopback only
/// where there is nothing else, link-local ones never.
pub fn own_addresses(port: u16) -> Vec<SocketAddr> {
    let found = if_addrs::get_if_addrs().unwrap_or_default();
    reachable(found.iter().map(if_addrs::Interface::ip), port)
}

fn reachable(found: impl Iterator<Item = IpAddr>, port: u16) -> Vec<SocketAddr> {
    let mut addresses: Vec<IpAddr> = found.filter(|ip| !is_link_local(ip)).collect();
    if addresses.iter().any(|ip| !ip.is_loopback()) {
        addresses.retain(|ip| !ip.is_loopback());
    }
    // IPv4 first: it is what people recognise and what most crews' networks have.
    addresses.sort();
    addresses.dedup();
    addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
}

fn is_link_local(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_are_read_with_and_without_a_port() {
        for (text, expected) in [
            ("192.0.2.7", "192.0.2.7:7843"),
            (" 192.0.2.7:99 ", "192.0.2.7:99"),
            ("2001:db8::1", "[2001:db8::1]:7843"),
            ("[2001:db8::1]", "[2001:db8::1]:7843"),
            ("[2001:db8::1]:99", "[2001:db8::1]:99"),
            ("[fe80::1%3]:99", "[fe80::1%3]:99"),
        ] {
            assert_eq!(resolve(text).await.unwrap(), [expected.parse().unwrap()], "{text}");
        }
        assert!(resolve("localhost:99").await.unwrap().iter().all(|a| a.port() == 99));
    }

    #[tokio::test]
    async fn what_is_no_address_is_told_apart_from_what_is_not_found() {
        for text in ["", ":99", "relay:port", "relay:70000", "https://relay/", "a b"] {
            let error = resolve(text).await.unwrap_err();
            assert!(matches!(error, AddressError::Malformed { .. }), "{text:?} {error}");
        }
    }

    #[test]
    fn an_address_for_others_is_written_in_one_way_and_means_somebody() {
        for (text, expected) in [
            (" Relay.Example.ORG ", "relay.example.org:7843"),
            ("relay.example.org:99", "relay.example.org:99"),
            ("192.0.2.7", "192.0.2.7:7843"),
            ("2001:DB8:0::1", "[2001:db8::1]:7843"),
            ("[2001:db8::1]:99", "[2001:db8::1]:99"),
            ("[::ffff:192.0.2.7]:99", "192.0.2.7:99"),
            ("relay.example.org.", "relay.example.org:7843"),
            ("7.example.org.:99", "7.example.org:99"),
        ] {
            assert_eq!(normal(text).unwrap(), expected, "{text}");
            assert_eq!(comparable(text), expected, "{text}");
            assert!(is_normal(expected), "{text}");
        }
        for text in [
            "0.0.0.0:7843",
            "[::]",
            "[::ffff:0.0.0.0]:99",
            "224.0.0.1:7843",
            "[ff02::1]:99",
            "[::ffff:224.0.0.1]:99",
            "255.255.255.255:99",
            "169.254.1.1:99",
            "[::ffff:169.254.1.1]:99",
            "fe80::1",
            "[fe80::1%3]:99",
            "[2001:db8::1%3]:99",
            "192.0.2.7:0",
            "relay:0",
        ] {
            assert!(matches!(normal(text), Err(AddressError::Nobody { .. })), "{text:?}");
        }
        let long = "x".repeat(300);
        for text in ["", ".", "a..b", ":99", "relay:70000", "https://relay/", "a b", &long] {
            assert!(matches!(normal(text), Err(AddressError::Malformed { .. })), "{text:?}");
        }
        // What a resolver takes for an address, one of this very device among them.
        for text in ["127.1:99", "2130706433", "0x7f000001:99", "relay.0x1", "192.0.2.7.:99"] {
            assert!(matches!(normal(text), Err(AddressError::Malformed { .. })), "{text:?}");
        }
        assert_eq!(comparable(" [fe80::1%3]:99"), "[fe80::1%3]:99");
    }

    #[test]
    fn loopback_is_named_only_where_there_is_nothing_else() {
        let ips = |texts: &[&str]| -> Vec<IpAddr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let all = ips(&["2001:db8::1", "127.0.0.1", "fe80::1", "192.0.2.7", "169.254.1.1"]);
        let named = reachable(all.into_iter(), 99);
        assert_eq!(
            named.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["192.0.2.7:99", "[2001:db8::1]:99"]
        );
        assert_eq!(reachable(ips(&["127.0.0.1"]).into_iter(), 99).len(), 1);
    }
}
