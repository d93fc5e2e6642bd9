//! Who may ask: nothing that a page of another site can make a browser send gets past this.
//!
//! A name of another site that is made to mean 127.0.0.1 shows in `Host`, a page of another site in
//! `Origin`, and neither knows the token.

use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use std::net::SocketAddr;

use crate::refusal::{Kind, Refusal};
use crate::token::Access;

/// Who may ask.
#[derive(Debug)]
pub(crate) struct Guard {
    access: Access,
    /// What `Host` may be.
    hosts: Vec<String>,
    /// The origins of pages that may ask.
    origins: Vec<String>,
}

impl Guard {
    /// `localhost` is only a name for where we listen: an app that uses it may reach another program
    /// at the other kind of address, which is why `loopback.json` has the address itself.
    pub(crate) fn new(access: Access, address: SocketAddr, origins: Vec<String>) -> Self {
        let mut hosts = vec![address.to_string(), format!("localhost:{}", address.port())];
        if address.port() == 80 {
            // Nobody writes the port that is meant anyhow.
            hosts.extend([address.ip().to_string(), "localhost".to_owned()]);
        }
        Self { access, hosts, origins }
    }

    /// Whether the request is meant for this server and comes from no page that may not ask.
    pub(crate) fn check_site(&self, parts: &Parts) -> Result<(), Refusal> {
        let host = one(&parts.headers, &HOST)?;
        let authority = parts.uri.authority().map(axum::http::uri::Authority::as_str);
        let is_ours = |name: &str| self.hosts.iter().any(|host| host.eq_ignore_ascii_case(name));
        if !host.is_some_and(is_ours) || !authority.is_none_or(is_ours) {
            let hosts = self.hosts.join(", ");
            return Err(Refusal::new(
                Kind::Foreign,
                format!("this is not the host; it is {hosts}"),
            ));
        }
        match one(&parts.headers, &ORIGIN)? {
            Some(origin) if !self.origins.iter().any(|known| known == origin) => {
                let detail = "pages of this origin may not ask; `run --http-origin` names who may";
                Err(Refusal::new(Kind::Foreign, detail))
            }
            _ => Ok(()),
        }
    }

    /// Whether the request brings the token.
    pub(crate) fn check_token(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let (scheme, token) =
            one(headers, &AUTHORIZATION)?.and_then(|text| text.split_once(' ')).unwrap_or_default();
        if scheme.eq_ignore_ascii_case("bearer") && self.access.admits(token.trim()) {
            return Ok(());
        }
        let detail = "bring the token of loopback.json in the home as Authorization: Bearer";
        Err(Refusal::new(Kind::Unauthenticated, detail))
    }
}

/// The value of a header that may be given once.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    let text = first.map(|value| value.to_str()).transpose();
    match (text, values.next()) {
        (Ok(text), None) => Ok(text),
        _ => Err(Refusal::new(Kind::Foreign, format!("{name} is given twice or is no text"))),
    }
}
