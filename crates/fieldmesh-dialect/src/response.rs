//! An HTTP response as a dialect states it; compression and request ids are added outside.

use fieldmesh_model::Fault;
use serde::Serialize;
use serde_json::{Value as Json, json};

/// The most faults that one answer lists.
pub const FAULTS_MAX: usize = 1_000;

/// A whole response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers in the order in which they are sent.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// A response without a body.
    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// A response with a JSON body.
    pub fn json(status: u16, body: &impl Serialize) -> Self {
        // What `to_string` writes passes through a formatter first.
        let body = serde_json::to_vec(body).expect("invariant: JSON is written as JSON");
        Self { status, headers: vec![("content-type", "application/json".to_owned())], body }
    }

    /// A response with plain text.
    pub fn text(status: u16, text: &str) -> Self {
        let kind = "text/plain; charset=utf-8".to_owned();
        Self { status, headers: vec![("content-type", kind)], body: text.as_bytes().to_vec() }
    }

    /// Messages as server-sent events, for clients without a WebSocket.
    pub(crate) fn events(messages: &[String]) -> Self {
        let events: String =
            messages.iter().map(|message| format!("data: {message}\n\n")).collect();
        let kind = "text/event-stream".to_owned();
        let body = events.into_bytes();
        Self { status: 200, headers: vec![("content-type", kind)], body }
            .with_header("cache-control", "no-store")
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// How errors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorForm {
    /// `{statusCode, message, errors?}`.
    Json,
    /// Text that a client which reads every body as JSON cannot take for an answer.
    Text,
}

/// An error in its form; the fields with faults are listed where there are any.
pub(crate) fn problem(form: ErrorForm, status: u16, message: &str, faults: &[Fault]) -> Response {
    let shown = faults.iter().take(FAULTS_MAX);
    match form {
        ErrorForm::Json => {
            let mut body = json!({ "statusCode": status, "message": message });
            if !faults.is_empty() {
                let errors = shown
                    .map(|fault| json!({ "field": fault.field, "message": fault.message }))
                    .collect();
                body["errors"] = Json::Array(errors);
            }
            Response::json(status, &body)
        }
        ErrorForm::Text => {
            let mut text = format!("{message}\n");
            for fault in shown {
                text.push_str(&format!("{fault}\n"));
            }
            Response::text(status, &text)
        }
    }
}
