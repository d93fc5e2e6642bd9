//! Sessions: what a refresh token is, and how one follows another.
//!
//! A client may lose the answer that holds its next token, so a token stays good until its
//! successor was used, and every use of it gives the same successor. A token that was good once and
//! is no more can only come from a copy: then the session ends, for whoever holds it.
//!
//! ```text
//! token = <tenant>.<base64url of session id 16, secret 32>
//! ```
//!
//! The secret of a successor follows from that of its predecessor under a key of the tenant. Only
//! hashes are kept, and from those and the key no token can be made.

use data_encoding::BASE64URL_NOPAD;
use fieldmesh_model::{Moment, UserId};
use ring::{digest, hmac};
use serde::{Deserialize, Serialize};

use super::random;

/// How long a session lasts after it was opened or renewed: 30 days.
pub(crate) const SESSION_MILLIS: i64 = 30 * 24 * 3_600 * 1_000;
/// The most open sessions of one person; a further one ends that which was used least lately.
pub(crate) const SESSIONS_PER_USER_MAX: usize = 64;
/// The longest name of a device.
pub(crate) const DEVICE_LENGTH_MAX: usize = 256;

/// The id of a session.
pub(crate) type SessionId = [u8; 16];

/// An open session; part of the format on disk.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) user: UserId,
    /// The device that alone may use it, once one was named.
    pub(crate) device: Option<String>,
    /// The hash of the token whose successor was not used so far.
    current: [u8; 32],
    /// The hash of its successor, once that was given out.
    next: Option<[u8; 32]>,
    /// When it was opened or renewed last.
    pub(crate) used: Moment,
}

/// A refresh token, taken apart.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RefreshToken {
    /// The tenant as the token names it.
    pub(crate) tenant: String,
    pub(crate) session: SessionId,
    secret: [u8; 32],
}

/// What a token is to its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It renews the session.
    Good,
    /// It did so once, or never.
    Spent,
}

impl RefreshToken {
    fn new(tenant: &str, session: SessionId) -> Self {
        Self { tenant: tenant.to_owned(), session, secret: random() }
    }

    /// The token that follows this one, the same every time.
    fn successor(&self, key: &[u8; 32]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let mut context = hmac::Context::with_key(&key);
        context.update(&self.session);
        context.update(&self.secret);
        let mut secret = [0; 32];
        secret.copy_from_slice(context.sign().as_ref());
        Self { secret, ..self.clone() }
    }

    fn hash(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, &self.secret).as_ref());
        hash
    }

    /// The token as clients hold it.
    pub(crate) fn to_text(&self) -> String {
        let bytes = [&self.session[..], &self.secret[..]].concat();
        format!("{}.{}", self.tenant, BASE64URL_NOPAD.encode(&bytes))
    }

    /// The token in a text, if it is one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (tenant, rest) = text.trim().split_once('.')?;
        let bytes = BASE64URL_NOPAD.decode(rest.as_bytes()).ok()?;
        let (session, secret) = bytes.split_first_chunk::<16>()?;
        let secret = secret.try_into().ok()?;
        Some(Self { tenant: tenant.to_owned(), session: *session, secret })
    }
}

impl Session {
    /// A session of `user`, and the token that renews it.
    pub(crate) fn open(
        tenant: &str,
        user: UserId,
        device: Option<String>,
        at: Moment,
    ) -> (Self, RefreshToken) {
        let token = RefreshToken::new(tenant, random());
        let current = token.hash();
        (Self { id: token.session, user, device, current, next: None, used: at }, token)
    }

    /// Whether it has ended by itself at `at`.
    pub(crate) fn is_over(&self, at: Moment) -> bool {
        self.used.plus_millis(SESSION_MILLIS) <= at
    }

    /// What `token` is to this session.
    pub(crate) fn standing(&self, token: &RefreshToken) -> Standing {
        let hash = token.hash();
        match hash == self.current || self.next == Some(hash) {
            true => Standing::Good,
            false => Standing::Spent,
        }
    }

    /// The session after a good `token` was used, and the token that follows it.
    pub(crate) fn renew(
        &self,
        token: &RefreshToken,
        key: &[u8; 32],
        device: Option<&str>,
        at: Moment,
    ) -> (Self, RefreshToken) {
        let successor = token.successor(key);
        let renewed = Self {
            device: self.device.clone().or_else(|| device.map(str::to_owned)),
            current: token.hash(),
            next: Some(successor.hash()),
            used: at,
            ..self.clone()
        };
        (renewed, successor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [9; 32];

    fn opened() -> (Session, RefreshToken) {
        Session::open("0a0a0a0a", UserId::from_bytes([1; 16]), None, Moment::from_millis(5))
    }

    #[test]
    fn a_token_is_good_until_its_successor_was_used_and_always_has_the_same() {
        let (session, first) = opened();
        let at = Moment::from_millis(6);
        let (session, second) = session.renew(&first, &KEY, None, at);
        // The answer was lost: the client uses the first again.
        assert_eq!(session.standing(&first), Standing::Good);
        let (session, again) = session.renew(&first, &KEY, None, at);
        assert!(again == second);
        let (session, third) = session.renew(&second, &KEY, None, at);
        assert_eq!(session.standing(&first), Standing::Spent);
        assert_eq!(session.standing(&second), Standing::Good);
        assert_eq!(session.standing(&third), Standing::Good);
    }

    #[test]
    fn a_token_survives_its_text_and_nothing_else_is_one() {
        let (_, token) = opened();
        let text = token.to_text();
        assert!(RefreshToken::parse(&text) == Some(token));
        for text in ["", "0a0a0a0a", "0a0a0a0a.", "0a0a0a0a.AAAA", &text[..text.len() - 4]] {
            assert!(RefreshToken::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_session_ends_30_days_after_its_last_use_and_keeps_its_device() {
        let (session, token) = opened();
        let days = |days: i64| Moment::from_millis(5 + days * 86_400_000);
        assert!(!session.is_over(days(29)) && session.is_over(days(30)));
        let (session, next) = session.renew(&token, &KEY, Some("T1"), days(29));
        assert!(!session.is_over(days(58)));
        let (session, _) = session.renew(&next, &KEY, Some("T2"), days(30));
        assert_eq!(session.device.as_deref(), Some("T1"));
    }
}
