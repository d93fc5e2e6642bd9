//! The routes, as one table from which the router and the document are made.

mod changes;
mod collections;
mod conflicts;
mod home;
mod live;
mod notices;
mod records;

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, any, delete, get, patch, post};

use crate::openapi;
use crate::refusal::{Kind, Refusal};
use crate::server::Shared;

/// The one path that needs no token: it holds nothing of anybody.
pub(crate) const DOCUMENT_PATH: &str = "/v1/openapi.json";

/// What an endpoint answers when all is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// JSON of this schema.
    One(&'static str),
    /// The same, of something that was made.
    Made(&'static str),
    /// A list of them.
    Many(&'static str),
    /// A stream of events, whose data is one of this schema.
    Events(&'static str),
    /// JSON of any form.
    Any,
}

/// One endpoint.
pub(crate) struct Endpoint {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    /// Its name in generated clients.
    pub(crate) id: &'static str,
    pub(crate) summary: &'static str,
    /// The names of its parameters; each stands for one in the document.
    pub(crate) parameters: &'static [&'static str],
    /// The schema of its body.
    pub(crate) body: Option<&'static str>,
    pub(crate) answer: Answer,
    /// The kinds of refusal that it has beside those of every endpoint.
    pub(crate) refusals: &'static [Kind],
    route: fn() -> MethodRouter<Shared>,
}

/// What a query of many records may say.
const QUERY: &[&str] = &[
    "collection",
    "where",
    "since",
    "until",
    "site",
    "author",
    "device",
    "deleted",
    "unsafe",
    "conflict",
    "duplicates",
    "awaiting",
    "sort",
];
const PAGE: &[&str] = &[
    "collection",
    "where",
    "since",
    "until",
    "site",
    "author",
    "device",
    "deleted",
    "unsafe",
    "conflict",
    "duplicates",
    "awaiting",
    "sort",
    "limit",
    "cursor",
];
const LIVE: &[&str] = &[
    "collection",
    "where",
    "since",
    "until",
    "site",
    "author",
    "device",
    "deleted",
    "conflict",
    "awaiting",
    "sort",
    "Last-Event-ID",
];

/// Every endpoint.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    [about(), many(), one(), inbox(), notices()].into_iter().flatten().collect()
}

fn endpoint(
    (method, path): (&'static str, &'static str),
    id: &'static str,
    summary: &'static str,
    answer: Answer,
    route: fn() -> MethodRouter<Shared>,
) -> Endpoint {
    let (parameters, refusals): (&[&str], &[Kind]) = (&[], &[]);
    Endpoint { method, path, id, summary, parameters, body: None, answer, refusals, route }
}

impl Endpoint {
    const fn taking(mut self, parameters: &'static [&'static str]) -> Self {
        self.parameters = parameters;
        self
    }

    const fn sent(mut self, body: &'static str) -> Self {
        self.body = Some(body);
        self
    }

    const fn refusing(mut self, refusals: &'static [Kind]) -> Self {
        self.refusals = refusals;
        self
    }
}

fn about() -> Vec<Endpoint> {
    use Answer::{Any, Many, One};
    vec![
        endpoint(("get", DOCUMENT_PATH), "document", "This document", Any, || get(document)),
        endpoint(("get", "/v1/status"), "status", "The state of the device", One("Status"), || {
            get(home::status)
        }),
        endpoint(
            ("get", "/v1/peers"),
            "peers",
            "Other devices and relays as this one reaches them",
            Many("Peer"),
            || get(home::peers),
        ),
        endpoint(
            ("post", "/v1/sync"),
            "sync",
            "Comes into step with everyone reachable, or with those named",
            One("SyncReport"),
            || post(home::sync),
        )
        .sent("SyncRequest")
        .refusing(&[Kind::Unreachable]),
        endpoint(
            ("get", "/v1/collections"),
            "collections",
            "The collections that there are",
            Many("CollectionName"),
            || get(collections::list),
        ),
        endpoint(
            ("get", "/v1/collections/{name}"),
            "collection",
            "A collection: its fields, keys and rules",
            One("Collection"),
            || get(collections::show),
        )
        .taking(&["name"])
        .refusing(&[Kind::NotFound]),
    ]
}

fn many() -> Vec<Endpoint> {
    use Answer::{Events, Made, One};
    vec![
        endpoint(("get", "/v1/records"), "list", "A page of records", One("Page"), || {
            get(records::list)
        })
        .taking(PAGE)
        .refusing(&[Kind::NotFound]),
        endpoint(("get", "/v1/count"), "count", "How many records there are", One("Count"), || {
            get(records::count)
        })
        .taking(QUERY)
        .refusing(&[Kind::NotFound]),
        endpoint(
            ("get", "/v1/changes"),
            "changes",
            "What has changed since a cursor, in the order of arrival, each record once",
            One("ChangesPage"),
            || get(changes::list),
        )
        .taking(&["after", "collection?", "limit"])
        .refusing(&[Kind::NotFound]),
        endpoint(
            ("get", "/v1/live"),
            "live",
            "The answer to a query, then what changes of it",
            Events("LiveEvent"),
            || get(live::follow),
        )
        .taking(LIVE)
        .refusing(&[Kind::NotFound]),
        endpoint(
            ("post", "/v1/records"),
            "create",
            "Makes a record; it is on disk when this answers",
            Made("Record"),
            || post(records::create),
        )
        .sent("NewRecord")
        .refusing(&[Kind::Refused, Kind::NotFound, Kind::Taken, Kind::Gone, Kind::Invalid]),
    ]
}

/// What may become of a change of one record.
const CHANGING: &[Kind] =
    &[Kind::Refused, Kind::NotFound, Kind::Ambiguous, Kind::Gone, Kind::Stale, Kind::Invalid];
/// The same where it has to say what it is based on.
const CONDITIONAL: &[Kind] = &[
    Kind::Refused,
    Kind::NotFound,
    Kind::Ambiguous,
    Kind::Gone,
    Kind::Stale,
    Kind::Invalid,
    Kind::Unconditional,
];
const READING: &[Kind] = &[Kind::NotFound, Kind::Ambiguous, Kind::Gone];

fn one() -> Vec<Endpoint> {
    use Answer::{Many, One};
    const PATH: &str = "/v1/records/{id}";
    vec![
        endpoint(("get", PATH), "show", "One record, as it is or as it was", One("Record"), || {
            get(records::show)
        })
        .taking(&["id", "at"])
        .refusing(READING),
        endpoint(
            ("patch", PATH),
            "edit",
            "Changes fields of a record, if it is what was read",
            One("Record"),
            || patch(records::edit),
        )
        .taking(&["id", "If-Match"])
        .sent("Edits")
        .refusing(CONDITIONAL),
        endpoint(
            ("delete", PATH),
            "remove",
            "Deletes a record, if it is what was read; it stays in the history",
            One("Record"),
            || delete(records::delete),
        )
        .taking(&["id", "If-Match"])
        .refusing(CONDITIONAL),
        endpoint(
            ("post", "/v1/records/{id}/restore"),
            "restore",
            "Takes a deletion back",
            One("Record"),
            || post(records::restore),
        )
        .taking(&["id", "If-Match?"])
        .refusing(CHANGING),
        endpoint(
            ("post", "/v1/records/{id}/approval"),
            "approve",
            "Approves a record as it was read, or refuses it",
            One("Record"),
            || post(records::approve),
        )
        .taking(&["id", "If-Match"])
        .sent("NewRuling")
        .refusing(CONDITIONAL),
        endpoint(
            ("get", "/v1/records/{id}/history"),
            "history",
            "Every change of a record, oldest first",
            Many("Revision"),
            || get(records::history),
        )
        .taking(&["id"])
        .refusing(READING),
    ]
}

fn inbox() -> Vec<Endpoint> {
    use Answer::{Many, One};
    vec![
        endpoint(
            ("get", "/v1/conflicts"),
            "conflicts",
            "The conflict inbox",
            Many("Conflict"),
            || get(conflicts::list),
        )
        .taking(&["kind", "closed", "limit", "after"]),
        endpoint(
            ("get", "/v1/conflicts/{id}"),
            "conflict",
            "One item of the inbox",
            One("Conflict"),
            || get(conflicts::show),
        )
        .taking(&["id"])
        .refusing(&[Kind::NotFound, Kind::Ambiguous]),
        endpoint(
            ("post", "/v1/conflicts/{id}/comments"),
            "comment",
            "Says something about one item of the inbox, for every device",
            One("Conflict"),
            || post(conflicts::comment),
        )
        .taking(&["id"])
        .sent("NewComment")
        .refusing(&[Kind::Refused, Kind::NotFound, Kind::Ambiguous, Kind::Invalid]),
        endpoint(
            ("post", "/v1/conflicts/{id}/resolve"),
            "resolve",
            "Settles one item of the inbox",
            One("Record"),
            || post(conflicts::resolve),
        )
        .taking(&["id"])
        .sent("Resolution")
        .refusing(&[Kind::Refused, Kind::NotFound, Kind::Ambiguous, Kind::Invalid]),
        endpoint(
            ("post", "/v1/conflicts/{id}/verdict"),
            "decide",
            "Adopts or discards what is quarantined or was deleted and edited, or lists it again",
            One("Conflict"),
            || post(conflicts::decide),
        )
        .taking(&["id"])
        .sent("NewVerdict")
        .refusing(&[Kind::Refused, Kind::NotFound, Kind::Ambiguous, Kind::Invalid]),
    ]
}

fn notices() -> Vec<Endpoint> {
    use Answer::Many;
    vec![
        endpoint(
            ("get", "/v1/notices"),
            "notices",
            "What others did with the work of the person of this device, the newest first",
            Many("Notice"),
            || get(notices::list),
        )
        .taking(&["all"]),
        endpoint(
            ("post", "/v1/notices/seen"),
            "see",
            "Marks notices as seen, on this device",
            Many("Notice"),
            || post(notices::see),
        )
        .sent("SeenNotices")
        .refusing(&[Kind::NotFound, Kind::Ambiguous]),
    ]
}

/// Every route.
pub(crate) fn router() -> Router<Shared> {
    let routed = endpoints()
        .into_iter()
        .fold(Router::new(), |router, endpoint| router.route(endpoint.path, (endpoint.route)()));
    // Other paths may be those of apps.
    let routed = routed.route("/v1/{*rest}", any(no_route)).route("/v1", any(no_route));
    routed.fallback(no_route).method_not_allowed_fallback(no_method)
}

async fn document() -> Response {
    axum::Json(openapi::document()).into_response()
}

async fn no_route() -> Refusal {
    Refusal::new(Kind::NotFound, format!("there is no such route; {DOCUMENT_PATH} has all"))
}

async fn no_method() -> Refusal {
    Refusal::new(Kind::Method, "the route does not know this method")
}
