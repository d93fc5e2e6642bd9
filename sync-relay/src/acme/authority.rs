//! How an authority is spoken to: its answers are bounded, and what would break the library that
//! reads them is refused before it gets there.

use std::future::Future;
use std::pin::Pin;

use axum::body::Bytes;
use axum::http::header::RETRY_AFTER;
use axum::http::uri::Scheme;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Uri};
use fieldmesh_http::Outward;
use http_body_util::{BodyExt as _, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use serde::Deserialize;

/// The longest that an authority may have a conversation wait between two questions, in seconds.
const RETRY_AFTER_MAX: u64 = 60;

/// An authority, as the library speaks to it.
pub(super) struct Authority(pub(super) Outward);

/// What every authority says of itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Directory {
    new_nonce: String,
    new_account: String,
    new_order: String,
}

/// An authority whose directory makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("what answers there is no directory of an authority")]
struct NoDirectory;

impl HttpClient for Authority {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let outward = self.0.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            // The directory is all that is got without a signature.
            let is_directory = head.method == Method::GET;
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let answer = outward.ask(Request::from_parts(head, body)).await;
            let mut answer = answer.map_err(|error| Error::Other(Box::new(error)))?;
            if is_directory && !is_directory_of_authority(answer.body()) {
                return Err(Error::Other(Box::new(NoDirectory)));
            }
            tame(answer.headers_mut());
            Ok(BytesResponse::from(answer.map(Full::new)))
        })
    }
}

/// The library panics over addresses that are none.
fn is_directory_of_authority(bytes: &[u8]) -> bool {
    let is_secure = |address: String| {
        let uri: Option<Uri> = address.parse().ok();
        uri.is_some_and(|uri| uri.scheme() == Some(&Scheme::HTTPS))
    };
    serde_json::from_slice(bytes).is_ok_and(|directory: Directory| {
        [directory.new_nonce, directory.new_account, directory.new_order].into_iter().all(is_secure)
    })
}

/// The library panics over times that are too far away.
fn tame(headers: &mut HeaderMap) {
    let Some(value) = headers.remove(RETRY_AFTER) else { return };
    let seconds: Option<u64> = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    if let Some(seconds) = seconds {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds.min(RETRY_AFTER_MAX)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_names_three_addresses_of_https() {
        let directory = |nonce: &str| {
            format!(
                "{{\"newNonce\":\"{nonce}\",\"newAccount\":\"https://a/b\",\
                 \"newOrder\":\"https://a/c\",\"meta\":{{}}}}"
            )
        };
        assert!(is_directory_of_authority(directory("https://a/nonce").as_bytes()));
        for nonce in ["", "http://a/nonce", "https://a b", "\\u0000", "https://[", "/nonce"] {
            assert!(!is_directory_of_authority(directory(nonce).as_bytes()), "{nonce}");
        }
        for text in ["", "{}", "<html>", "[1]"] {
            assert!(!is_directory_of_authority(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn no_authority_has_anybody_wait_for_ever() {
        for (said, kept) in [
            ("3", Some("3")),
            ("18446744073709551615", Some("60")),
            ("99999999999999999999", None),
            ("-1", None),
            ("Fri, 31 Dec 9999 23:59:59 GMT", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(said));
            tame(&mut headers);
            let found = headers.get(RETRY_AFTER).map(|value| value.to_str().unwrap());
            assert_eq!(found, kept, "{said}");
        }
    }
}
