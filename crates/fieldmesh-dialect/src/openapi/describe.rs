//! One operation, described step by step.

use serde_json::{Value as Json, json};

use super::schema;
use crate::caller::Dialect;

pub(super) const JSON: &str = "application/json";
pub(super) const TEXT: &str = "text/plain; charset=utf-8";

/// What passes at an endpoint.
pub(super) struct Described {
    pub(super) summary: &'static str,
    /// Those of the query and the headers.
    pub(super) parameters: Vec<Json>,
    pub(super) body: Option<Json>,
    pub(super) answers: Vec<(u16, Json)>,
    /// Statuses of refusals that not every endpoint has.
    pub(super) refusals: Vec<u16>,
}

impl Described {
    pub(super) fn new(summary: &'static str) -> Self {
        let (parameters, answers, refusals) = (Vec::new(), Vec::new(), Vec::new());
        Self { summary, parameters, body: None, answers, refusals }
    }

    /// A parameter of the query; one with a question mark may be left out.
    pub(super) fn query(mut self, name: &str, schema: Json, about: &str) -> Self {
        self.parameters.push(parameter("query", name, schema, about));
        self
    }

    /// A header; one with a question mark may be left out.
    pub(super) fn header(mut self, name: &str, about: &str) -> Self {
        self.parameters.push(parameter("header", name, schema::filled(), about));
        self
    }

    /// A body of JSON.
    pub(super) fn takes(self, schema: Json) -> Self {
        self.takes_media(&[(JSON, schema)])
    }

    /// A body of JSON that may be left out.
    pub(super) fn may_take(self, schema: Json) -> Self {
        let mut described = self.takes(schema);
        if let Some(body) = &mut described.body {
            body["required"] = false.into();
        }
        described
    }

    /// A body of one of these types.
    pub(super) fn takes_media(mut self, media: &[(&str, Json)]) -> Self {
        let mut content = json!({});
        for (media, schema) in media {
            content[media] = json!({ "schema": schema });
        }
        self.body = Some(json!({ "required": true, "content": content }));
        self
    }

    /// An answer of JSON.
    pub(super) fn gives(self, status: u16, schema: Json) -> Self {
        self.gives_media(status, JSON, schema)
    }

    /// An answer of another type.
    pub(super) fn gives_media(self, status: u16, media: &str, schema: Json) -> Self {
        let mut answer = json!({ "description": meaning(status) });
        answer["content"][media]["schema"] = schema;
        self.answers(status, answer)
    }

    /// An answer without a body.
    pub(super) fn gives_nothing(self, status: u16) -> Self {
        self.answers(status, json!({ "description": meaning(status) }))
    }

    /// Events, as a stream or as messages of a WebSocket.
    pub(super) fn gives_events(self, schema: Json) -> Self {
        let upgraded = json!({ "description": "Messages of a WebSocket, one event each" });
        self.gives_media(200, "text/event-stream", schema).answers(101, upgraded)
    }

    /// A refusal that not every endpoint has.
    pub(super) fn refuses(mut self, status: u16) -> Self {
        self.refusals.push(status);
        self
    }

    fn answers(mut self, status: u16, answer: Json) -> Self {
        self.answers.push((status, answer));
        self
    }
}

pub(super) fn parameter(place: &str, name: &str, schema: Json, about: &str) -> Json {
    let mut parameter = json!({
        "name": name.trim_end_matches('?'), "in": place, "required": !name.ends_with('?'),
        "description": about,
    });
    parameter["schema"] = schema;
    parameter
}

/// The statuses of refusals.
const REFUSED: [u16; 12] = [400, 401, 403, 404, 408, 409, 413, 415, 429, 500, 503, 507];

/// How a refusal is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As JSON.
    Json,
    /// As text, or as JSON for who accepts that by name.
    Either,
}

impl Form {
    const fn of(dialect: Option<Dialect>) -> Self {
        match dialect {
            None | Some(Dialect::Wellpulse | Dialect::Batch) => Self::Json,
            Some(Dialect::Asset | Dialect::Vet | Dialect::Health) => Self::Either,
        }
    }

    fn name(self, status: u16) -> String {
        match self {
            Self::Json => format!("Refused{status}"),
            Self::Either => format!("Refused{status}AsText"),
        }
    }
}

/// A refusal as the dialect writes it.
pub(super) fn refused(status: u16, dialect: Option<Dialect>) -> Json {
    json!({ "$ref": format!("#/components/responses/{}", Form::of(dialect).name(status)) })
}

/// Every refusal that operations refer to.
pub(super) fn all_refused() -> Json {
    let mut all = json!({});
    for (status, form) in
        REFUSED.iter().flat_map(|status| [Form::Json, Form::Either].map(|form| (*status, form)))
    {
        let error = || json!({ "schema": schema::of("Error") });
        let text = || json!({ "schema": schema::text() });
        let content = match (status, form) {
            (408, _) => json!({ TEXT: text() }),
            (_, Form::Json) => json!({ JSON: error() }),
            (_, Form::Either) => json!({ JSON: error(), TEXT: text() }),
        };
        let mut refused = json!({ "description": meaning(status), "content": content });
        if matches!(status, 429 | 503 | 507) {
            let seconds = json!({ "schema": schema::count(), "description": "Seconds to wait" });
            refused["headers"] = json!({ "Retry-After": seconds });
        }
        all[form.name(status)] = refused;
    }
    all
}

/// What a status says.
pub(super) const fn meaning(status: u16) -> &'static str {
    match status {
        200 => "Done",
        201 => "Made",
        202 => "Taken so far",
        204 => "Done, and nothing to say",
        400 => "The request is not what it has to be",
        401 => "Who sends it is not proven",
        403 => "Who sends it may not",
        404 => "What is meant is not there",
        408 => "The body did not come in time",
        409 => "It contradicts what has happened since",
        413 => "The body is too large",
        415 => "The body is of another type",
        429 => "Too often; wait as long as Retry-After says",
        500 => "Something broke here",
        507 => "Nothing more can be stored; keep it, and send it again when Retry-After is over",
        503 => "Not at the moment; wait as long as Retry-After says",
        _ => "An answer",
    }
}
