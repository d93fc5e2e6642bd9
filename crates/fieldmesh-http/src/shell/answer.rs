//! Makes responses of what the dialects answer.

use axum::body::Body;
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use super::request::ID_HEADER;
use super::written::Written;
use crate::budget::Held;
use crate::settings::{Origins, Settings};

/// What every answer says to browsers: it is data, for whoever asked, and for nobody to frame.
const SAFE: [(HeaderName, &str); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
];
/// What a port with TLS says besides.
const SECURE: &str = "max-age=31536000";

/// The response of a dialect, as a whole.
pub(super) fn whole(answer: fieldmesh_dialect::Response) -> Response {
    response(answer.status, answer.headers, Body::from(answer.body))
}

/// The same of one that holds what it takes of memory until it is written.
pub(super) fn large(answer: fieldmesh_dialect::Response, held: Held) -> Response {
    let body = Body::new(Written::new(answer.body, held));
    response(answer.status, answer.headers, body)
}

fn response(status: u16, headers: Vec<(&'static str, String)>, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// What is said to somebody whose body did not come in time; nothing that reads as an answer.
pub(super) fn slow() -> Response {
    let mut response = Response::new(Body::from("The request did not come in time\n"));
    *response.status_mut() = StatusCode::REQUEST_TIMEOUT;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Adds what every answer carries.
pub(crate) fn finish(response: &mut Response, settings: &Settings) {
    let headers = response.headers_mut();
    for (name, value) in SAFE {
        // A page that people read says itself what it may load.
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if settings.is_secure {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(SECURE));
    }
}

/// Adds the id of the request.
pub(super) fn name(response: &mut Response, id: &str) {
    if let Ok(id) = HeaderValue::from_str(id) {
        response.headers_mut().insert(ID_HEADER, id);
    }
}

/// What pages of other origins may do. There are no cookies, so no page acts for another one.
pub(crate) fn cors(origins: &Origins) -> CorsLayer {
    let allowed = match origins {
        Origins::Any => AllowOrigin::any(),
        Origins::Only(list) => {
            AllowOrigin::list(list.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
        }
    };
    let exposed =
        [header::RETRY_AFTER, header::ALLOW, header::ETAG, HeaderName::from_static(ID_HEADER)];
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(exposed)
        .max_age(std::time::Duration::from_secs(3_600))
}
