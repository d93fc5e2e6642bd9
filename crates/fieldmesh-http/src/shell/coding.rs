//! How answers are compressed, also for clients that take nothing which is offered.

use axum::Router;
use axum::extract::Request;
use axum::http::header::ACCEPT_ENCODING;
use axum::http::{HeaderMap, HeaderValue};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, Predicate as _, SizeAbove};

/// The smallest answer that is compressed.
const COMPRESSED_MIN: u64 = 1_024;
/// The codings that answers are compressed in, the better one first.
const CODINGS: [&str; 2] = ["zstd", "gzip"];

/// Has the answers of `router` compressed that are worth it; streams of events are none.
pub(crate) fn compressed(router: Router) -> Router {
    let large = DefaultPredicate::new().and(SizeAbove::new(COMPRESSED_MIN));
    let layer = CompressionLayer::new().gzip(true).zstd(true).compress_when(large);
    router.layer(layer).layer(axum::middleware::map_request(answerable))
}

/// Whoever wants no plain answer is answered in a coding that he takes, and plainly all the same
/// where there is none. The layer would write 406 over the status of an answer that stands: a push
/// that is stored would be told as refused. It is given that one coding and not the list, which it
/// might read in another way.
async fn answerable(mut request: Request) -> Request {
    let headers = request.headers_mut();
    if let Some(instead) = instead_of_plain(headers) {
        headers.remove(ACCEPT_ENCODING);
        headers.extend(instead.map(|coding| (ACCEPT_ENCODING, HeaderValue::from_static(coding))));
    }
    request
}

/// What an answer is written in for who takes no plain one, if he takes anything else.
fn instead_of_plain(headers: &HeaderMap) -> Option<Option<&'static str>> {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let named: Vec<(String, bool)> =
        values.flat_map(|value| value.split(',')).filter_map(one).collect();
    let wanted = |coding: &str| named.iter().find(|(name, _)| name == coding).map(|it| it.1);
    let others = wanted("*");
    let takes_plain = wanted("identity").or(others).unwrap_or(true);
    let takes = |coding: &&str| wanted(coding).or(others).unwrap_or(false);
    (!takes_plain).then(|| CODINGS.into_iter().find(takes))
}

/// The name of one coding in the list, and whether it is acceptable: `gzip;q=0` is not. None where
/// its weight is none.
fn one(text: &str) -> Option<(String, bool)> {
    let (name, weight) = text.split_once(';').unwrap_or((text, "q=1"));
    let weight = weight.trim();
    let weight = weight.strip_prefix("q=").or(weight.strip_prefix("Q="))?;
    let is_weight = |it: &f32| (0.0..=1.0).contains(it);
    let weight = weight.parse::<f32>().ok().filter(is_weight)?;
    Some((name.trim().to_ascii_lowercase(), weight > 0.0))
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
            "identity;q=0, gzip;q=1.5",
            "identity;q=0, gzip;q = 0.5",
            "identity;q=0, gzip;level=1;q=1",
            "identity;q=0, *;q=",
            "identity;q=x, *;q=0",
            "identity;q=x, identity;q=0",
            "x-gzip;q=0, *;q=0",
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
            ("identity;q=0, gzip;q=0.0001", "gzip"),
            ("x-gzip;q=0, gzip, *;q=0", "gzip"),
        ] {
            let (status, coding, size) = pushed(accepted).await;
            assert_eq!((status, coding.as_deref()), (StatusCode::OK, Some(wanted)), "{accepted}");
            assert!(size < TEXT.len() * 40, "{accepted}");
        }
    }
}
