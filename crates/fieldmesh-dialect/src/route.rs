//! Which endpoint a method and a path mean, and what it asks of the server around it.

use fieldmesh_model::Role;

use crate::caller::Dialect;
use crate::refusal::Refusal;
use crate::request::{Method, decode};
use crate::response::{ErrorForm, Response};
use crate::{Request, asset, batch, health, service, vet, weight, wellpulse};

/// The most bytes of a body, decompressed, where the contract states nothing else.
pub const BODY_MAX: usize = 16 * 1024 * 1024;
/// The most bytes of a batch of events: its client sends its whole queue at once, and a refusal
/// would hold the queue up for ever.
pub const EVENTS_BODY_MAX: usize = 64 * 1024 * 1024;
/// The most bytes of a photo.
pub const PHOTO_SIZE_MAX: usize = 20 * 1024 * 1024;
/// The most bytes of a request for a session.
pub const SESSION_BODY_MAX: usize = 64 * 1024;

/// Who may use an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everyone, without a token.
    Public,
    /// Every user of the tenant.
    Anyone,
    /// Users with one of these roles.
    Roles(&'static [Role]),
}

/// Which limit counts a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bucket {
    /// Only that of the address: 10 a second.
    Address,
    /// That of syncing as well: 30 a minute for each user.
    Sync,
    /// That of single operations as well: 600 a minute for each user.
    Step,
}

/// One endpoint of a contract.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint {
    /// The id in the requirements.
    pub id: &'static str,
    /// The dialect; `None` for what all of them share.
    pub dialect: Option<Dialect>,
    /// The method.
    pub method: Method,
    /// The canonical path; a part in braces stands for any text.
    pub path: &'static str,
    /// Who may use it.
    pub access: Access,
    /// Which limit counts it.
    pub bucket: Bucket,
    /// The most bytes of a body.
    pub body_max: usize,
    pub(crate) reads: Reads,
}

impl Endpoint {
    /// Whether devices sync by it; asking how they fared is no sync.
    pub fn is_sync(&self) -> bool {
        self.dialect.is_some()
            && self.bucket != Bucket::Address
            && !matches!(self.reads, Reads::Wellpulse(wellpulse::Endpoint::Analytics))
    }
}

/// How an endpoint reads a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reads {
    Service(service::Endpoint),
    Wellpulse(wellpulse::Endpoint),
    Batch(batch::Endpoint),
    Asset(asset::Endpoint),
    Vet(vet::Endpoint),
    Health(health::Endpoint),
}

/// An endpoint that a request means.
#[derive(Debug, Clone)]
pub struct Route {
    /// The endpoint.
    pub endpoint: &'static Endpoint,
    /// The part of the path that stands in braces, decoded.
    pub(crate) part: String,
}

/// Every endpoint of every dialect.
pub fn endpoints() -> impl Iterator<Item = &'static Endpoint> {
    tables().into_iter().flatten()
}

fn tables() -> [&'static [Endpoint]; 6] {
    [
        service::ENDPOINTS,
        wellpulse::ENDPOINTS,
        batch::ENDPOINTS,
        asset::ENDPOINTS,
        vet::ENDPOINTS,
        health::ENDPOINTS,
    ]
}

impl Route {
    /// The endpoint that `request` means, by its canonical path or below `/dialect/<name>`.
    ///
    /// # Errors
    ///
    /// The 404 or 405 to answer.
    pub fn find(request: &Request) -> Result<Self, Response> {
        let (dialect, path) = unprefixed(&request.path);
        let is_meant = |endpoint: &&'static Endpoint| {
            dialect.is_none() || endpoint.dialect.is_none() || endpoint.dialect == dialect
        };
        let routes = || {
            let route = |endpoint: &'static Endpoint| {
                matched(endpoint.path, path).map(|part| Self { endpoint, part })
            };
            endpoints().filter(is_meant).filter_map(route)
        };
        let Some(first) = routes().next() else {
            let form = dialect.map_or(ErrorForm::Json, |dialect| form_of(Some(dialect), request));
            return Err(Refusal::missing("Path").render(form));
        };
        let of_path = || routes().filter(|route| route.endpoint.path == first.endpoint.path);
        of_path().find(|route| route.endpoint.method == request.method).ok_or_else(|| {
            let methods = of_path().map(|route| route.endpoint.method.as_str());
            let allowed = methods.collect::<Vec<_>>().join(", ");
            first.refuse(request, &Refusal::WrongMethod { allowed })
        })
    }

    /// How many bytes of memory the body of `request` takes once it is understood: an estimate, rather
    /// too large than too small. One that takes more than [`crate::WEIGHT_MAX`] is refused.
    pub fn weight(&self, request: &Request) -> usize {
        match self.endpoint.reads {
            Reads::Service(service::Endpoint::KeepPhoto) => request.body.len(),
            _ => weight::weight(&request.body),
        }
    }

    /// The answer to a request for this endpoint that is refused before or instead of its command.
    pub fn refuse(&self, request: &Request, refusal: &Refusal) -> Response {
        refusal.render(form_of(self.endpoint.dialect, request))
    }
}

/// How errors of a dialect are written.
///
/// The documented clients of the last three read bodies as JSON without looking at the status, and
/// would take an error for an answer: its token or cursor would be lost. They are given text, which
/// their JSON reader refuses, so that everything stays pending. A client that names JSON in
/// `Accept` looks at the status, and is given the common form.
pub(crate) fn form_of(dialect: Option<Dialect>, request: &Request) -> ErrorForm {
    match dialect {
        None | Some(Dialect::Wellpulse | Dialect::Batch) => ErrorForm::Json,
        Some(Dialect::Asset | Dialect::Vet | Dialect::Health) if request.asks_for_json() => {
            ErrorForm::Json
        }
        Some(Dialect::Asset | Dialect::Vet | Dialect::Health) => ErrorForm::Text,
    }
}

fn unprefixed(path: &str) -> (Option<Dialect>, &str) {
    let prefixed = path.strip_prefix("/dialect/").and_then(|rest| {
        let end = rest.find('/')?;
        Some((Dialect::named(&rest[..end])?, &rest[end..]))
    });
    prefixed.map_or((None, path), |(dialect, path)| (Some(dialect), path))
}

/// The text that stands for the part in braces, if `path` has the form of `pattern`.
fn matched(pattern: &str, path: &str) -> Option<String> {
    let mut part = String::new();
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(part),
            (Some(wanted), Some(given)) if wanted.starts_with('{') && !given.is_empty() => {
                part = decode(given);
            }
            (Some(wanted), Some(given)) if wanted == given => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use fieldmesh_model::Moment;

    use super::*;

    fn find(method: Method, path: &str) -> Result<&'static str, u16> {
        let request = Request::new(method, path, Moment::ZERO);
        Route::find(&request).map(|route| route.endpoint.id).map_err(|response| response.status)
    }

    #[test]
    fn no_two_endpoints_share_a_method_and_a_path() {
        let mut seen = BTreeSet::new();
        for endpoint in endpoints() {
            let path = endpoint.path.replace("{", "").to_lowercase();
            assert!(seen.insert((endpoint.method.as_str(), path)), "{}", endpoint.id);
            assert_eq!(find(endpoint.method, endpoint.path), Ok(endpoint.id), "{}", endpoint.path);
        }
    }

    #[test]
    fn the_path_alone_decides_the_dialect() {
        assert_eq!(find(Method::Post, "/sync/push"), Ok("E0-2"));
        assert_eq!(find(Method::Post, "/api/sync/push"), Ok("E3-1"));
        assert_eq!(find(Method::Get, "/api/sync/status"), Ok("E2-3"));
        assert_eq!(find(Method::Delete, "/api/sync/devices/abc"), Ok("E2-5"));
        assert_eq!(find(Method::Post, "/api/sync/delta"), Ok("E2-2"));
    }

    #[test]
    fn an_alias_prefix_leads_to_its_own_dialect_only() {
        assert_eq!(find(Method::Get, "/dialect/wellpulse/sync/pull"), Ok("E0-1"));
        assert_eq!(find(Method::Get, "/dialect/vet/api/sync/pull"), Ok("E3-2"));
        assert_eq!(find(Method::Get, "/dialect/wellpulse/api/sync/pull"), Err(404));
        assert_eq!(find(Method::Post, "/dialect/vet/auth/login"), Ok("E0-4"));
        for path in ["/dialect/other/sync/pull", "/dialect/vet", "/sync/pull/", "/", ""] {
            assert_eq!(find(Method::Get, path), Err(404), "{path}");
        }
    }

    #[test]
    fn a_known_path_says_which_methods_it_takes() {
        let request = Request::new(Method::Other, "/api/sync/devices", Moment::ZERO);
        let response = Route::find(&request).map(|_| ()).unwrap_err();
        assert_eq!(response.status, 405);
        assert!(response.headers.contains(&("allow", "GET, POST".to_owned())));
    }
}
