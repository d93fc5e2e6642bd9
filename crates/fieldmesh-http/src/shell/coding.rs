//! How answers are compressed, also for clients that take nothing which is offered.

use axum::Router;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::ACCEPT_ENCODING;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, Predicate as _, SizeAbove};

/// The smallest answer that is compressed.
const COMPRESSED_MIN: u64 = 1_024;
/// The codings that answers are compressed in.
const CODINGS: [&str; 2] = ["gzip", "zstd"];

/// Has the answers of `router` compressed that are worth it; streams of events are none.
pub(crate) fn compressed(router: Router) -> Router {
    let large = DefaultPredicate::new().and(SizeAbove::new(COMPRESSED_MIN));
    let layer = CompressionLayer::new().gzip(true).zstd(true).compress_when(large);
    router.layer(layer).layer(axum::middleware::map_request(answerable))
}

/// Whoever says that he takes no coding there is, is answered plainly. The layer would write 406
/// over the status of an answer that stands: a push that is stored would be told as refused.
async fn answerable(mut request: Request) -> Request {
    if !is_answerable(request.headers()) {
        request.headers_mut().remove(ACCEPT_ENCODING);
    }
    request
}

/// Whether any coding of an answer is acceptable to who sent these headers.
fn is_answerable(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let named: Vec<(String, bool)> = values.flat_map(|value| value.split(',')).map(one).collect();
    let wanted = |coding: &str| named.iter().find(|(name, _)| name == coding).map(|it| it.1);
    let others = wanted("*");
    let is_plain = wanted("identity").or(others).unwrap_or(true);
    is_plain || CODINGS.iter().any(|coding| wanted(coding).or(others).unwrap_or(false))
}

/// The name of one coding in the list, and whether it is acceptable: `gzip;q=0` is not.
fn one(text: &str) -> (String, bool) {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default().to_ascii_lowercase();
    let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
    let is_zero = weight.and_then(|weight| weight.parse::<f32>().ok()).is_some_and(|it| it <= 0.0);
    (name, !is_zero)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::http::header::CONTENT_ENCODING;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    const TEXT: &str = "a well, a well, a well, a well, a well, a well, a well, a well, a well; ";

    /// Status, coding and size of an answer to a push from an app that says what it accepts.
    async fn pushed(accepted: &str) -> (StatusCode, Option<String>, usize) {
        let stored = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&stored);
        let push = async move || {
            counted.fetch_add(1, Ordering::Relaxed);
            TEXT.repeat(40)
        };
        let router = compressed(Router::new().fallback(push));
        let request = Request::post("/sync/push").header(ACCEPT_ENCODING, accepted);
        let answer = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(stored.load(Ordering::Relaxed), 1);
        let coding = answer.headers().get(CONTENT_ENCODING);
        let coding = coding.map(|coding| coding.to_str().unwrap().to_owned());
        let status = answer.status();
        let size = answer.into_body().collect().await.unwrap().to_bytes().len();
        (status, coding, size)
    }

    #[tokio::test]
    async fn a_push_that_was_stored_is_not_told_as_refused_for_the_codings_an_app_accepts() {
        let plain = (StatusCode::OK, None, TEXT.len() * 40);
        for accepted in [
            "identity;q=0",
            "*;q=0",
            "br, identity;q=0",
            "identity; q=0.000, *;q=0",
            "gzip;Q=0,zstd;q=0,identity;q=0",
            "",
            "br",
        ] {
            assert_eq!(pushed(accepted).await, plain, "{accepted}");
        }
    }

    #[tokio::test]
    async fn who_accepts_a_coding_gets_it() {
        for (accepted, wanted) in [
            ("gzip", "gzip"),
            ("identity;q=0, gzip;q=0.5", "gzip"),
            ("ZSTD, identity;q=0", "zstd"),
            ("identity;q=0, *", "zstd"),
            ("*;q=0, gzip", "gzip"),
        ] {
            let (status, coding, size) = pushed(accepted).await;
            assert_eq!((status, coding.as_deref()), (StatusCode::OK, Some(wanted)), "{accepted}");
            assert!(size < TEXT.len() * 40, "{accepted}");
        }
    }
}
