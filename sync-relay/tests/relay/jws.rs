//! What a client signed for an authority: read, and checked against its key (RFC 7515, RFC 8555).

use data_encoding::BASE64URL_NOPAD;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::Value as Json;

/// A request whose signature is still to be checked.
pub(crate) struct Signed {
    /// What the client says of it.
    pub(crate) header: Json,
    /// What it says; nothing where it only asks.
    pub(crate) payload: Option<Json>,
    signed: String,
    signature: Vec<u8>,
}

/// The key of an account.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct AccountKey {
    x: String,
    y: String,
}

impl Signed {
    /// Reads a body.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let body: Json = serde_json::from_slice(body).ok()?;
        let part = |name: &str| body[name].as_str();
        let decode = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).ok();
        let (protected, payload) = (part("protected")?, part("payload")?);
        Some(Self {
            header: serde_json::from_slice(&decode(protected)?).ok()?,
            payload: match payload {
                "" => None,
                text => Some(serde_json::from_slice(&decode(text)?).ok()?),
            },
            signed: format!("{protected}.{payload}"),
            signature: decode(part("signature")?)?,
        })
    }

    /// Whether this key signed it.
    pub(crate) fn is_by(&self, key: &AccountKey) -> bool {
        let Some(point) = key.point() else { return false };
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        self.header["alg"] == "ES256" && key.verify(self.signed.as_bytes(), &self.signature).is_ok()
    }
}

impl AccountKey {
    /// The key that a header shows.
    pub(crate) fn of(header: &Json) -> Option<Self> {
        let key = &header["jwk"];
        let part = |name: &str| key[name].as_str().map(str::to_owned);
        let is_known = key["kty"] == "EC" && key["crv"] == "P-256";
        is_known.then_some(())?;
        Some(Self { x: part("x")?, y: part("y")? })
    }

    /// What a challenge is answered with: its token, and the digest of this key (RFC 7638).
    pub(crate) fn authorization(&self, token: &str) -> String {
        let Self { x, y } = self;
        let text = format!("{{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"{x}\",\"y\":\"{y}\"}}");
        let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        format!("{token}.{}", BASE64URL_NOPAD.encode(digest.as_ref()))
    }

    fn point(&self) -> Option<Vec<u8>> {
        let decode = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).ok();
        Some([&[4][..], &decode(&self.x)?, &decode(&self.y)?].concat())
    }
}
