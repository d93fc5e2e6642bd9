//! Codes by which people who forgot their password choose another one.
//!
//! An admin has one made and tells it to the person. It is kept in memory alone: it is good for an
//! hour, once, and until the relay is stopped or the password is changed by other means.

use std::collections::BTreeMap;

use data_encoding::BASE32_NOPAD;
use fieldmesh_model::{Moment, UserId};
use ring::digest;

use super::random;

/// How long a code is good.
const CODE_MILLIS: i64 = 3_600 * 1_000;
/// The most codes of a tenant that may be open; a further one ends the oldest.
const CODES_MAX: usize = 1_000;
/// How many characters stand together in a code.
const GROUP: usize = 4;

/// The open codes of one tenant, by the person.
#[derive(Default)]
pub(super) struct Resets(BTreeMap<UserId, Reset>);

#[derive(Clone, Copy, PartialEq, Eq)]
struct Reset {
    /// Of the code as it is compared.
    hash: [u8; 32],
    until: Moment,
}

/// A code, as the admin is shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Code {
    pub(crate) text: String,
    pub(crate) until: Moment,
}

impl Resets {
    /// Makes the one code that is good for a person.
    pub(super) fn make(&mut self, user: UserId, at: Moment) -> Code {
        self.0.retain(|_, reset| reset.until > at);
        if self.0.len() >= CODES_MAX {
            let oldest = self.0.iter().min_by_key(|(_, reset)| reset.until).map(|(user, _)| *user);
            oldest.map(|user| self.0.remove(&user));
        }
        let secret: [u8; 10] = random();
        let text = BASE32_NOPAD.encode(&secret);
        let groups: Vec<&str> =
            (0..text.len()).step_by(GROUP).map(|start| &text[start..start + GROUP]).collect();
        let until = at.plus_millis(CODE_MILLIS);
        self.0.insert(user, Reset { hash: hash(&text), until });
        Code { text: groups.join("-"), until }
    }

    /// Whether `code` is good for a person. Nobody here is compared like somebody without a code.
    pub(super) fn is_good(&self, user: Option<UserId>, code: &str, at: Moment) -> bool {
        // How long the comparison takes tells of a hash that nobody can choose.
        let given = hash(code);
        let reset = user.and_then(|user| self.0.get(&user));
        reset.is_some_and(|reset| reset.hash == given && reset.until > at)
    }

    /// Ends the code of a person.
    pub(super) fn end(&mut self, user: UserId) {
        self.0.remove(&user);
    }
}

/// The hash of a code however it was typed.
fn hash(code: &str) -> [u8; 32] {
    let plain: String = code
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|it| it.to_ascii_uppercase())
        .collect();
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, plain.as_bytes()).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: UserId = UserId::from_bytes([1; 16]);
    const BEN: UserId = UserId::from_bytes([2; 16]);

    #[test]
    fn a_code_is_good_for_its_person_for_an_hour_however_it_is_typed() {
        let mut resets = Resets::default();
        let at = Moment::from_millis(5);
        let code = resets.make(ANN, at);
        assert_eq!(code.text.len(), 19);
        let typed = code.text.to_lowercase().replace('-', " ");
        let last = at.plus_millis(CODE_MILLIS - 1);
        assert!(resets.is_good(Some(ANN), &typed, last));
        assert!(!resets.is_good(Some(ANN), &typed, at.plus_millis(CODE_MILLIS)));
        assert!(!resets.is_good(Some(BEN), &typed, at) && !resets.is_good(None, &typed, at));
        assert!(!resets.is_good(Some(ANN), "", at) && !resets.is_good(Some(BEN), "", at));
        let second = resets.make(ANN, at);
        assert!(!resets.is_good(Some(ANN), &typed, at));
        assert!(resets.is_good(Some(ANN), &second.text, at));
        resets.end(ANN);
        assert!(!resets.is_good(Some(ANN), &second.text, at));
    }
}
