//! Takes a request apart into what the dialects read and what the shell needs.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::FromRequestParts as _;
use axum::extract::ws::WebSocketUpgrade;
use axum::http::HeaderMap;
use axum::http::header::{HOST, SEC_WEBSOCKET_PROTOCOL};
use axum::http::request::Parts;
use fieldmesh_dialect::{Method, Request};
use fieldmesh_model::Moment;

use crate::live::PROTOCOL;
use crate::peer::{Network, Peer, client};
use crate::serve::Seat;

/// The longest id of a request that is taken over from a client.
const ID_LENGTH_MAX: usize = 128;
/// What the id of a request is called.
pub(super) const ID_HEADER: &str = "x-request-id";
/// The largest message that somebody who only listens may send.
const MESSAGE_SIZE_MAX: usize = 64 * 1_024;

/// A request, taken apart.
pub(super) struct Head {
    /// What the dialects read, so far without a body.
    pub(super) request: Request,
    pub(super) body: Body,
    pub(super) live: Option<Live>,
    /// Whose limits count it.
    pub(super) address: IpAddr,
}

/// A client that wants a WebSocket.
pub(crate) struct Live {
    pub(crate) upgrade: WebSocketUpgrade,
    /// The place of the connection, which becomes that of the WebSocket.
    pub(crate) seat: Option<Seat>,
    token: Option<String>,
}

impl Live {
    /// The token among the protocols that the client offers: a browser can send no other header.
    pub(super) fn token(&self) -> Option<String> {
        self.token.clone()
    }
}

pub(super) async fn split(request: axum::extract::Request, proxies: &[Network]) -> Head {
    let address = address(&request, proxies);
    let (mut parts, body) = request.into_parts();
    let live = live(&mut parts).await;
    Head { request: read(&parts), body, live, address }
}

/// Where a request comes from, as far as that can be believed.
pub(super) fn address(request: &axum::extract::Request, proxies: &[Network]) -> IpAddr {
    let forwarded = joined(request.headers(), "x-forwarded-for");
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
    let peer = peer.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
    client(peer, forwarded.as_deref(), proxies)
}

fn read(parts: &Parts) -> Request {
    let mut request = Request::new(Method::named(parts.method.as_str()), "", now());
    request.path = parts.uri.path().to_owned();
    request.query = parts.uri.query().unwrap_or_default().to_owned();
    for (name, value) in &parts.headers {
        request = request.with_header(name.as_str(), &String::from_utf8_lossy(value.as_bytes()));
    }
    // A request line may name the host instead of the header.
    if let Some(host) = parts.uri.host() {
        request = request.with_header(HOST.as_str(), host);
    }
    // Several of one name are no choice that a proxy and we might make differently.
    for name in ["x-tenant-subdomain", "host", "authorization", "x-device-id"] {
        if parts.headers.get_all(name).iter().count() > 1 {
            request = request.with_header(name, "given twice");
        }
    }
    request
}

async fn live(parts: &mut Parts) -> Option<Live> {
    let upgrade = WebSocketUpgrade::from_request_parts(parts, &()).await.ok()?;
    let token = joined(&parts.headers, SEC_WEBSOCKET_PROTOCOL.as_str()).and_then(|offered| {
        let (first, rest) = offered.split_once(',')?;
        (first.trim() == PROTOCOL).then(|| rest.trim().to_owned())
    });
    let upgrade = upgrade
        .protocols([PROTOCOL])
        .max_message_size(MESSAGE_SIZE_MAX)
        .max_frame_size(MESSAGE_SIZE_MAX);
    Some(Live { upgrade, seat: parts.extensions.get::<Seat>().cloned(), token })
}

fn joined(headers: &HeaderMap, name: &str) -> Option<String> {
    let values: Vec<&str> =
        headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// The token in the header of a request.
pub(super) fn token(request: &Request) -> Option<String> {
    let (scheme, token) = request.header("authorization")?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty())
        .then(|| token.trim().to_owned())
}

/// The id that a client gives a request, or a new one.
pub(super) fn id(headers: &HeaderMap) -> String {
    let given = headers.get(ID_HEADER).and_then(|id| id.to_str().ok());
    let is_plain = |id: &&str| {
        (1..=ID_LENGTH_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
    };
    given.filter(is_plain).map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned)
}

/// The time by this machine's clock.
pub(crate) fn now() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
