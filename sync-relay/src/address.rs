//! The addresses at which devices reach this relay, as invitations carry them.

use std::net::{IpAddr, SocketAddr};

use fieldmesh::api::Problem;
use fieldmesh_net::address::own_addresses;

use crate::problem;
use crate::settings::PUBLIC_ADDRESSES_MAX;

/// The longest host name that there is.
const HOST_LENGTH_MAX: usize = 253;

/// Refuses a text that is neither an address nor a host name, with or without a port.
pub(crate) fn check(text: &str) -> Result<(), Problem> {
    let (host, port) = match split(text) {
        Split::Address(_) => return Ok(()),
        Split::Host { host, port } => (host, port),
    };
    let plausible = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let is_host = (1..=HOST_LENGTH_MAX).contains(&host.len()) && host.chars().all(plausible);
    if is_host && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0)) {
        return Ok(());
    }
    Err(problem::usage(format!(
        "{text:?} is no address; write it like relay.example.org, relay.example.org:7843 or \
         192.0.2.7:7843"
    )))
}

/// What goes into invitations: what is configured, else what this machine knows of itself.
pub(crate) fn advertised(configured: &[String], bound: SocketAddr) -> Vec<String> {
    if !configured.is_empty() {
        return configured.iter().map(|text| with_port(text, bound.port())).collect();
    }
    if !bound.ip().is_unspecified() {
        return vec![bound.to_string()];
    }
    own_addresses(bound.port())
        .into_iter()
        .filter(|address| bound.is_ipv6() || address.is_ipv4())
        .map(|address| address.to_string())
        .take(PUBLIC_ADDRESSES_MAX)
        .collect()
}

enum Split<'a> {
    Address(Literal),
    Host { host: &'a str, port: Option<&'a str> },
}

enum Literal {
    WithPort(SocketAddr),
    Bare(IpAddr),
}

fn split(text: &str) -> Split<'_> {
    let text = text.trim();
    if let Ok(address) = text.parse() {
        return Split::Address(Literal::WithPort(address));
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse() {
        return Split::Address(Literal::Bare(address));
    }
    match text.rsplit_once(':') {
        Some((host, port)) => Split::Host { host, port: Some(port) },
        None => Split::Host { host: text, port: None },
    }
}

/// An address with a port: its own, or this one.
pub(crate) fn with_port(text: &str, port: u16) -> String {
    match split(text) {
        Split::Address(Literal::WithPort(address)) => address.to_string(),
        Split::Address(Literal::Bare(address)) => SocketAddr::new(address, port).to_string(),
        Split::Host { host, port: Some(port) } => format!("{host}:{port}"),
        Split::Host { host, port: None } => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_port_gets_the_one_that_is_listened_on() {
        let configured: Vec<String> = [
            "relay.example.org",
            " relay.example.org:443 ",
            "192.0.2.7",
            "2001:db8::1",
            "[2001:db8::1]",
            "[2001:db8::1]:9",
        ]
        .map(String::from)
        .to_vec();
        for text in &configured {
            check(text).unwrap();
        }
        let bound = "[::]:7900".parse().unwrap();
        assert_eq!(
            advertised(&configured, bound),
            [
                "relay.example.org:7900",
                "relay.example.org:443",
                "192.0.2.7:7900",
                "[2001:db8::1]:7900",
                "[2001:db8::1]:7900",
                "[2001:db8::1]:9",
            ]
        );
    }

    #[test]
    fn without_configured_ones_the_relay_names_addresses_it_listens_on() {
        let bound: SocketAddr = "127.0.0.1:7".parse().unwrap();
        assert_eq!(advertised(&[], bound), ["127.0.0.1:7"]);
        let any = advertised(&[], "0.0.0.0:7".parse().unwrap());
        assert!(any.iter().all(|text| text.parse::<SocketAddr>().unwrap().is_ipv4()), "{any:?}");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", ":99", "relay:port", "relay:0", "relay:70000", "https://relay/", "a b"] {
            assert!(check(text).is_err(), "{text:?}");
        }
    }
}
