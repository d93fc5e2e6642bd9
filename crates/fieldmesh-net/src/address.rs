//! Where this device can be reached, and what an address in text means.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

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
    if let Some(address) = literal(text) {
        return Ok(vec![address]);
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
    match timeout(LOOKUP_TIMEOUT, lookup_host((host, port))).await {
        Err(_) => Err(AddressError::TimedOut { text: text.into() }),
        Ok(Err(source)) => Err(AddressError::NotFound { text: text.into(), source }),
        Ok(Ok(found)) => Ok(found.take(ADDRESSES_PER_NAME_MAX).collect()),
    }
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
