//! What passes between a command and the daemon besides the plain values of the api: streams of
//! JSON lines and query strings. Both ends live here, so that they cannot differ.

pub(crate) mod lines;
pub(crate) mod query;

/// The media type of streams of JSON lines.
pub(crate) const JSON_LINES: &str = "application/x-ndjson";

/// The media type of failures.
pub(crate) const PROBLEM: &str = "application/problem+json";

/// The longest JSON line that is read: a record is at most 256 KiB, a mapping or a report may be
/// longer.
pub(crate) const LINE_SIZE_MAX: usize = 16 << 20;
