//! An HTTP request as it reaches a dialect: whole, decompressed, with the moment of its arrival.

use std::collections::BTreeMap;

use fieldmesh_model::Moment;

/// What a request wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// POST.
    Post,
    /// PATCH.
    Patch,
    /// DELETE.
    Delete,
    /// Any other; no endpoint takes it.
    Other,
}

/// A whole request.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path as sent, percent-encoded, without the query.
    pub path: String,
    /// What follows the question mark.
    pub query: String,
    /// The headers; see [`Request::header`].
    pub headers: BTreeMap<String, String>,
    /// The body, decompressed.
    pub body: Vec<u8>,
    /// When it arrived.
    pub at: Moment,
}

impl Method {
    /// The method named so in a request line.
    pub fn named(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            _ => Self::Other,
        }
    }

    /// The name in a request line; empty for one that no endpoint takes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Other => "",
        }
    }
}

impl Request {
    /// A request without headers and body that arrived at `at`.
    pub fn new(method: Method, target: &str, at: Moment) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Self {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers: BTreeMap::new(),
            body: Vec::new(),
            at,
        }
    }

    /// Adds a header; of several with one name the last counts.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_lowercase(), value.trim().to_owned());
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The header called `name`, which is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The first value of a query parameter; empty ones count as absent.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .find(|(key, _)| decode(&key.replace('+', " ")) == name)
            .map(|(_, value)| decode(&value.replace('+', " ")))
            .filter(|value| !value.is_empty())
    }

    /// Whether the client says that it understands JSON; `*/*` does not say so.
    pub fn asks_for_json(&self) -> bool {
        let accept = self.header("accept").unwrap_or_default();
        accept.contains("application/json") || accept.contains("+json")
    }
}

/// Undoes percent-encoding; what is not encoded well stays as it is.
pub(crate) fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match bytes.get(at + 1..at + 3).and_then(hex).filter(|_| *byte == b'%') {
            Some(value) => {
                decoded.push(value);
                at += 3;
            }
            None => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn hex(pair: &[u8]) -> Option<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let (high, low) = (digit(pair.first()?)?, digit(pair.get(1)?)?);
    u8::try_from(high * 16 + low).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_bad_encoding_is_kept() {
        let target = "/a%20b?x=1&deviceId=TAB%2F1+2&empty=&bad=%zz%4";
        let request = Request::new(Method::Get, target, Moment::ZERO);
        assert_eq!(request.parameter("deviceId").as_deref(), Some("TAB/1 2"));
        assert_eq!(request.parameter("bad").as_deref(), Some("%zz%4"));
        assert_eq!(request.parameter("empty"), None);
        assert_eq!(request.parameter("y"), None);
        assert_eq!(decode(&request.path), "/a b");
    }

    #[test]
    fn only_a_client_that_names_json_gets_errors_in_it_everywhere() {
        let request = Request::new(Method::Get, "/", Moment::ZERO);
        assert!(!request.clone().with_header("Accept", "*/*").asks_for_json());
        assert!(request.with_header("Accept", "application/json, */*").asks_for_json());
    }
}
