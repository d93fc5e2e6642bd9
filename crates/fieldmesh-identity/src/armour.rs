//! Bytes as one line of text that survives mail, paper and hands.
//!
//! A prefix with a version, then base32 without padding in lower case: the bytes and a checksum.
//! Spaces and line breaks that a mail program or a hand puts in are ignored, as is the case of
//! letters.

use data_encoding::BASE32_NOPAD;
use zeroize::Zeroizing;

/// The longest text.
pub(crate) const TEXT_MAX: usize = 4_096;

const VERSION: &str = "1";
const CHECKSUM_SIZE: usize = 4;

/// One kind of such texts.
pub(crate) struct Armour {
    /// How each begins, before the version.
    pub(crate) prefix: &'static str,
    /// What its checksum is derived under.
    pub(crate) context: &'static str,
}

/// Why a text has no bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is of another kind.
    Other,
    /// Letters are missing or changed.
    Damaged,
    /// It is of another version.
    Newer,
}

impl Armour {
    /// The bytes as text.
    pub(crate) fn write(&self, bytes: Vec<u8>) -> String {
        let mut bytes = Zeroizing::new(bytes);
        let checksum = self.checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        format!("{}{VERSION}{}", self.prefix, BASE32_NOPAD.encode(&bytes).to_lowercase())
    }

    /// Whether a text means to be one of these, whole or not.
    pub(crate) fn is_meant(&self, text: &str) -> bool {
        letters(text).take(self.prefix.len()).eq(self.prefix.chars())
    }

    /// The bytes of a text.
    pub(crate) fn read(&self, text: &str) -> Result<Zeroizing<Vec<u8>>, Fault> {
        if text.len() > 2 * TEXT_MAX {
            return Err(Fault::Other);
        }
        let text: String = letters(text).collect();
        let rest = text.strip_prefix(self.prefix).ok_or(Fault::Other)?;
        let Some(payload) = rest.strip_prefix(VERSION) else {
            // Base32 has no digits 0, 1, 8 and 9, so a digit there is another version's number.
            return match rest.chars().next() {
                Some('2'..='9') => Err(Fault::Newer),
                Some(_) | None => Err(Fault::Other),
            };
        };
        let bytes =
            BASE32_NOPAD.decode(payload.to_uppercase().as_bytes()).map_err(|_| Fault::Damaged)?;
        let mut bytes = Zeroizing::new(bytes);
        let (body, sum) = bytes.split_last_chunk::<CHECKSUM_SIZE>().ok_or(Fault::Damaged)?;
        if self.checksum(body) != *sum {
            return Err(Fault::Damaged);
        }
        let length = body.len();
        bytes.truncate(length);
        Ok(bytes)
    }

    fn checksum(&self, bytes: &[u8]) -> [u8; CHECKSUM_SIZE] {
        let hash = blake3::derive_key(self.context, bytes);
        let mut sum = [0; CHECKSUM_SIZE];
        sum.copy_from_slice(&hash[..CHECKSUM_SIZE]);
        sum
    }
}

/// What counts of a text.
fn letters(text: &str) -> impl Iterator<Item = char> {
    text.chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '"' | '\'' | '<' | '>' | '\u{200b}'))
        .flat_map(char::to_lowercase)
}
