//! How values, streams and failures become HTTP answers.

use axum::body::Body;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use fieldmesh::api::{Class, Problem};
use serde::Serialize;

use crate::problem;
use crate::wire::{JSON_LINES, PROBLEM};

/// How soon whoever has to come again is told to.
const RETRY_SECONDS: &str = "5";

/// A failure as an answer.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) Problem);

/// The members of RFC 9457 and ours beside them.
#[derive(Serialize)]
struct Details<'a> {
    title: &'static str,
    status: u16,
    #[serde(flatten)]
    problem: &'a Problem,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.class.http_status())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        with_status(status, &self.0)
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<JsonRejection> for Refusal {
    fn from(rejection: JsonRejection) -> Self {
        Self(problem::usage(rejection.body_text()))
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        Self(problem::usage(rejection.body_text()))
    }
}

fn with_status(status: StatusCode, problem: &Problem) -> Response {
    let details = Details { title: title(problem.class), status: status.as_u16(), problem };
    let body = serde_json::to_vec(&details).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
    if problem.class == Class::Later {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_SECONDS));
    }
    response
}

const fn title(class: Class) -> &'static str {
    match class {
        Class::Failed => "Failed",
        Class::Usage => "Wrong usage",
        Class::Refused => "Refused",
        Class::NotFound => "Not found",
        Class::Unreachable => "Unreachable",
        Class::Invalid => "Not valid",
        Class::Store => "Store damaged or locked",
        Class::Later => "Not so far, ask again later",
    }
}

/// There is no such route.
pub(super) async fn no_route() -> Response {
    Refusal(problem::not_found("there is no such route")).into_response()
}

/// There is such a route, but not with this method.
pub(super) async fn no_method() -> Response {
    let problem = problem::usage("the route does not know this method");
    with_status(StatusCode::METHOD_NOT_ALLOWED, &problem)
}

/// An answer of JSON lines.
pub(super) fn lines(body: Body) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static(JSON_LINES))], body).into_response()
}
