//! From which address a request comes, also behind a proxy.
//!
//! Anybody can write a header, so `X-Forwarded-For` counts only as far as addresses that were
//! named as proxies have written it.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// The address at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// An address, or all that begin alike: `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// A text that is no address and no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no address; write it like 127.0.0.1 or 10.0.0.0/8")]
pub struct NetworkError {
    /// What was given.
    pub text: String,
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let error = || NetworkError { text: text.to_owned() };
        let (address, prefix) = text.trim().split_once('/').unwrap_or((text.trim(), ""));
        let address: IpAddr = address.parse().map_err(|_| error())?;
        let prefix_max = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            "" => prefix_max,
            text => text.parse().ok().filter(|prefix| *prefix <= prefix_max).ok_or_else(error)?,
        };
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Network {
    /// Whether `address` belongs to it.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = 32 - u32::from(self.prefix);
                own.to_bits().checked_shr(shift) == other.to_bits().checked_shr(shift)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let shift = 128 - u32::from(self.prefix);
                own.to_bits().checked_shr(shift) == other.to_bits().checked_shr(shift)
            }
            _ => false,
        }
    }
}

/// The address of whoever sent a request over `peer`, as far as that can be believed.
pub(crate) fn client(peer: IpAddr, forwarded: Option<&str>, proxies: &[Network]) -> IpAddr {
    let is_proxy = |address: IpAddr| proxies.iter().any(|proxy| proxy.contains(address));
    let mut client = peer.to_canonical();
    let mut hops = forwarded.unwrap_or_default().rsplit(',').map(str::trim);
    while is_proxy(client) {
        let Some(hop) = hops.next().and_then(address) else { break };
        client = hop.to_canonical();
    }
    client
}

/// An address with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(with_port)
}

/// What a limit by address counts: of IPv6 the network, which one household or host has whole.
pub fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_forwarded_address_counts_only_from_a_proxy_that_was_named() {
        let proxies: Vec<Network> =
            ["127.0.0.1", "10.0.0.0/8"].map(|text| text.parse().unwrap()).into();
        let said = Some("1.1.1.1, 203.0.113.9, 10.2.3.4");
        assert_eq!(client(ip("127.0.0.1"), said, &[]), ip("127.0.0.1"));
        assert_eq!(client(ip("127.0.0.1"), said, &proxies), ip("203.0.113.9"));
        assert_eq!(client(ip("198.51.100.1"), said, &proxies), ip("198.51.100.1"));
        assert_eq!(
            client(ip("::ffff:127.0.0.1"), Some("2001:db8::1"), &proxies),
            ip("2001:db8::1")
        );
        for nonsense in [None, Some(""), Some("unknown")] {
            assert_eq!(client(ip("127.0.0.1"), nonsense, &proxies), ip("127.0.0.1"));
        }
    }

    #[test]
    fn networks_are_read_and_hold_what_begins_alike() {
        let network: Network = "2001:db8::/32".parse().unwrap();
        assert!(network.contains(ip("2001:db8:ffff::1")) && !network.contains(ip("2001:db9::1")));
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains(ip("255.1.2.3")) && !all.contains(ip("::1")));
        for text in ["", "10.0.0.0/33", "relay.example", "10.0.0.0/x", "::/129"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_host_with_a_whole_network_counts_once() {
        assert_eq!(counted(ip("2001:db8::1:2:3:4")), counted(ip("2001:db8::9")));
        assert_ne!(counted(ip("2001:db8:0:1::")), counted(ip("2001:db8:0:2::")));
        assert_eq!(counted(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
    }
}
