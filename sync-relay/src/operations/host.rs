//! By which names the operator may ask.
//!
//! A page of another site can have its own name mean this machine or a network that a browser is in,
//! and then reads whatever is answered to that name. The name shows in `Host`.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::header::HOST;
use axum::http::uri::Authority;

use crate::settings::{Settings, TlsSettings};

/// The names of the relay that were set, in small letters.
pub(super) fn names(settings: &Settings) -> Vec<String> {
    let domains: Vec<&String> = match &settings.http.tls {
        Some(TlsSettings::Acme(acme)) => acme.domains.iter().collect(),
        Some(TlsSettings::Files { .. }) | None => Vec::new(),
    };
    let own = settings.public_addresses.iter().chain(&settings.http.operations_names);
    let said = own.chain(&settings.http.shell.domain).chain(domains);
    said.map(|text| normal(&host(text.trim()).unwrap_or_default())).collect()
}

/// Whether a request names an address or this machine itself, which no other site is called.
pub(super) fn is_this_machine(request: &Request) -> bool {
    all(request, |name| name == "localhost" || name.parse::<IpAddr>().is_ok())
}

/// Whether a request to the port of operations names that, a name that was set, or one that only a
/// network of one's own knows.
pub(super) fn is_ours(request: &Request, names: &[String]) -> bool {
    let is_ours = |name: &str| !name.contains('.') || names.iter().any(|known| known == name);
    is_this_machine(request) || all(request, is_ours)
}

/// Whether every host that a request names, and it names one, is as wanted.
fn all(request: &Request, is_wanted: impl Fn(&str) -> bool) -> bool {
    let mut said = request.headers().get_all(HOST).iter();
    let (Some(first), None) = (said.next(), said.next()) else { return false };
    let first = first.to_str().ok().and_then(host);
    let in_line = request.uri().host().map(bare);
    let is_wanted = |name: &str| is_wanted(&normal(name));
    first.as_deref().is_some_and(is_wanted) && in_line.is_none_or(is_wanted)
}

/// A name as it is compared: in small letters, and without the dot that says that it is whole.
fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_lowercase()
}

/// The host of a text that may have a port.
fn host(text: &str) -> Option<String> {
    let authority: Authority = text.parse().ok()?;
    Some(bare(authority.host()).to_owned())
}

/// An address without the brackets of IPv6.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn asked(host: &str) -> Request {
        Request::builder().uri("/metrics").header(HOST, host).body(Body::empty()).unwrap()
    }

    #[test]
    fn addresses_and_names_of_this_machine_are_ours_and_a_foreign_name_is_not() {
        let names = ["relay.example.org".to_owned()];
        for host in ["127.0.0.1:7880", "localhost:9", "LOCALHOST", "[::1]:7880", "10.0.0.7"] {
            assert!(is_this_machine(&asked(host)) && is_ours(&asked(host), &[]), "{host}");
        }
        for host in
            ["relay.example.org:7881", "Relay.Example.Org", "relay.example.org.", "sync-relay:7881"]
        {
            assert!(!is_this_machine(&asked(host)) && is_ours(&asked(host), &names), "{host}");
        }
        for host in
            ["evil.example:7880", "127.0.0.1.evil.example", "localhost.evil.example", "", "a b"]
        {
            assert!(!is_this_machine(&asked(host)) && !is_ours(&asked(host), &names), "{host}");
        }
        let nameless = Request::builder().uri("/metrics").body(Body::empty()).unwrap();
        assert!(!is_ours(&nameless, &names));
        let mut twice = asked("localhost");
        twice.headers_mut().append(HOST, "evil.example".parse().unwrap());
        assert!(!is_ours(&twice, &names));
        let mut two_ways = asked("localhost");
        *two_ways.uri_mut() = "http://evil.example/metrics".parse().unwrap();
        assert!(!is_ours(&two_ways, &names));
    }
}
