//! Access tokens: JSON web tokens of one algorithm, HS256, under keys that change.
//!
//! A token says who it is for; whether that still holds is looked up with every request. The
//! algorithm in its head decides nothing: any other than ours makes it no token.

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use fieldmesh_model::{Moment, UserId};
use ring::hmac;
use serde::{Deserialize, Serialize};

use super::random;
use super::session::SessionId;

/// How long a token is good: an hour.
pub(crate) const TOKEN_SECONDS: u32 = 3_600;
/// How old a key is when another takes its place: 30 days.
const KEY_MILLIS: i64 = 30 * 24 * 3_600 * 1_000;
/// The longest token that is looked at.
const TOKEN_LENGTH_MAX: usize = 4_096;
/// The only algorithm.
const ALGORITHM: &str = "HS256";

/// A key that signs tokens; part of the format on disk.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SigningKey {
    pub(crate) id: [u8; 8],
    secret: [u8; 32],
    made: Moment,
    /// Until when it proves what it signed, once another has taken its place.
    pub(crate) ends: Option<Moment>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    alg: String,
    typ: Option<String>,
    kid: Option<String>,
    /// Extensions that must be understood; none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crit: Option<serde_json::Value>,
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Claims {
    pub(crate) sub: UserId,
    pub(crate) tenant_id: String,
    pub(crate) role: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) practice_ids: Vec<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) device_id: Option<String>,
    pub(crate) iat: i64,
    pub(crate) exp: i64,
    pub(crate) jti: String,
    /// The session.
    pub(crate) sid: String,
}

impl Claims {
    /// The session that the token belongs to.
    pub(crate) fn session(&self) -> Option<SessionId> {
        HEXLOWER.decode(self.sid.as_bytes()).ok()?.try_into().ok()
    }

    /// A new id of a token, and how it names its session.
    pub(crate) fn ids(session: &SessionId) -> (String, String) {
        (HEXLOWER.encode(&random::<16>()), HEXLOWER.encode(session))
    }
}

impl SigningKey {
    pub(crate) fn new(at: Moment) -> Self {
        Self { id: random(), secret: random(), made: at, ends: None }
    }

    /// Whether another one should take its place.
    pub(crate) fn is_old(&self, at: Moment) -> bool {
        self.made.plus_millis(KEY_MILLIS) <= at
    }

    /// Whether it proves anything at `at`.
    pub(crate) fn is_good(&self, at: Moment) -> bool {
        self.ends.is_none_or(|ends| at < ends)
    }

    /// The same key, ending when the last token that it signed does.
    pub(crate) fn retired(&self, at: Moment) -> Self {
        Self { ends: Some(at.plus_millis(i64::from(TOKEN_SECONDS) * 1_000)), ..self.clone() }
    }

    /// The same key, proving nothing from `at` on.
    pub(crate) fn ended(&self, at: Moment) -> Self {
        Self { ends: Some(at), ..self.clone() }
    }

    /// The token that says `claims`.
    pub(crate) fn sign(&self, claims: &Claims) -> String {
        let head = Head {
            alg: ALGORITHM.to_owned(),
            typ: Some("JWT".to_owned()),
            kid: Some(HEXLOWER.encode(&self.id)),
            crit: None,
        };
        let signed = format!("{}.{}", encode(&head), encode(claims));
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.secret);
        let tag = hmac::sign(&key, signed.as_bytes());
        format!("{signed}.{}", BASE64URL_NOPAD.encode(tag.as_ref()))
    }
}

/// The tenant that a token says it is for, before anything of it is believed.
pub(crate) fn tenant(token: &str) -> Option<String> {
    if token.len() > TOKEN_LENGTH_MAX {
        return None;
    }
    let claims: Claims = decode(token.split('.').nth(1)?)?;
    Some(claims.tenant_id)
}

/// What a token says, if one of `keys` signed it and it is not over at `at`.
pub(crate) fn verify(token: &str, keys: &[SigningKey], at: Moment) -> Option<Claims> {
    if token.len() > TOKEN_LENGTH_MAX {
        return None;
    }
    let (signed, tag) = token.rsplit_once('.')?;
    let (head, claims) = signed.split_once('.')?;
    let head: Head = decode(head)?;
    if head.alg != ALGORITHM || head.crit.is_some() {
        return None;
    }
    let id = HEXLOWER.decode(head.kid?.as_bytes()).ok()?;
    let key = keys.iter().find(|key| key.id[..] == id[..] && key.is_good(at))?;
    let tag = BASE64URL_NOPAD.decode(tag.as_bytes()).ok()?;
    let secret = hmac::Key::new(hmac::HMAC_SHA256, &key.secret);
    hmac::verify(&secret, signed.as_bytes(), &tag).ok()?;
    let claims: Claims = decode(claims)?;
    (at.as_millis() < claims.exp.saturating_mul(1_000)).then_some(claims)
}

fn encode(value: &impl Serialize) -> String {
    let json = serde_json::to_vec(value).expect("invariant: texts and numbers are JSON");
    BASE64URL_NOPAD.encode(&json)
}

fn decode<T: serde::de::DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&BASE64URL_NOPAD.decode(part.as_bytes()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims() -> Claims {
        let (_, sid) = Claims::ids(&[7; 16]);
        Claims {
            sub: UserId::from_bytes([1; 16]),
            tenant_id: "acme".into(),
            role: "OPERATOR".into(),
            practice_ids: Vec::new(),
            device_id: None,
            iat: 1_000,
            exp: 4_600,
            jti: "1".into(),
            sid,
        }
    }

    fn at(second: i64) -> Moment {
        Moment::from_millis(second * 1_000)
    }

    #[test]
    fn a_token_proves_itself_until_it_ends() {
        let key = SigningKey::new(at(0));
        let token = key.sign(&claims());
        let keys = [SigningKey::new(at(0)), key];
        assert_eq!(verify(&token, &keys, at(4_599)), Some(claims()));
        assert_eq!(tenant(&token).as_deref(), Some("acme"));
        assert_eq!(verify(&token, &keys, at(4_600)), None);
        assert_eq!(verify(&token, &keys[..1], at(2_000)), None);
        assert_eq!(verify(&token, &[keys[1].ended(at(2_000))], at(2_000)), None);
        assert!(verify(&token, &[keys[1].retired(at(2_000))], at(2_001)).is_some());
    }

    #[test]
    fn a_forged_token_is_none_whatever_algorithm_it_names() {
        let key = SigningKey::new(at(0));
        let token = key.sign(&claims());
        let kid = HEXLOWER.encode(&key.id);
        let keys = [key.clone()];
        let body = token.split('.').nth(1).unwrap();
        let tag = token.rsplit('.').next().unwrap();
        for alg in ["none", "None", "HS384", "HS512", "RS256", "EdDSA", "hs256", ""] {
            let head = encode(&json!({ "alg": alg, "typ": "JWT", "kid": kid }));
            let signed = format!("{head}.{body}");
            let secret = hmac::Key::new(hmac::HMAC_SHA256, &key.secret);
            let own = BASE64URL_NOPAD.encode(hmac::sign(&secret, signed.as_bytes()).as_ref());
            for tag in ["", tag, &own] {
                assert_eq!(verify(&format!("{signed}.{tag}"), &keys, at(2_000)), None, "{alg}");
            }
        }
        let other = Claims { role: "ADMIN".into(), ..claims() };
        let head = token.split('.').next().unwrap();
        for forged in [
            format!("{head}.{}.{tag}", encode(&other)),
            format!("{head}.{body}."),
            format!("{head}.{body}"),
            format!("{token}."),
            format!("{token}A"),
            format!("{head}.{body}.{tag}.{tag}"),
            "x".repeat(TOKEN_LENGTH_MAX + 1),
            String::new(),
        ] {
            assert_eq!(verify(&forged, &keys, at(2_000)), None, "{forged}");
        }
        let extended = json!({ "alg": "HS256", "kid": kid, "crit": ["exp"], "exp": 1 });
        let signed = format!("{}.{body}", encode(&extended));
        let secret = hmac::Key::new(hmac::HMAC_SHA256, &key.secret);
        let own = BASE64URL_NOPAD.encode(hmac::sign(&secret, signed.as_bytes()).as_ref());
        assert_eq!(verify(&format!("{signed}.{own}"), &keys, at(2_000)), None);
    }

    #[test]
    fn a_key_gives_way_after_30_days() {
        let key = SigningKey::new(at(0));
        assert!(!key.is_old(at(30 * 86_400 - 1)) && key.is_old(at(30 * 86_400)));
    }
}
