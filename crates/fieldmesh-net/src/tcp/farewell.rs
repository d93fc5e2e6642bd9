//! What the two sides say to each other about the connection itself.

use crate::closed::CloseCode;

/// The longest reason that is sent, in bytes.
const TEXT_SIZE_MAX: usize = 800;

const PING: u8 = 0;
const PONG: u8 = 1;
const CLOSE: u8 = 2;

/// A word about the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// This side lives; the number comes back.
    Ping(u32),
    /// The number that came.
    Pong(u32),
    /// This side ends the connection.
    Close(CloseCode, Vec<u8>),
}

/// Something that no version says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gibberish;

impl Word {
    /// A farewell; what is too long of its reason is left out.
    pub(super) fn close(code: CloseCode, text: &str) -> Self {
        let size = text.len().min(TEXT_SIZE_MAX);
        Self::Close(code, text.as_bytes()[..size].to_vec())
    }

    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Ping(number) => {
                bytes.push(PING);
                bytes.extend(number.to_be_bytes());
            }
            Self::Pong(number) => {
                bytes.push(PONG);
                bytes.extend(number.to_be_bytes());
            }
            Self::Close(code, text) => {
                bytes.push(CLOSE);
                bytes.extend(code.number().to_be_bytes());
                let size = u16::try_from(text.len().min(TEXT_SIZE_MAX)).unwrap_or(0);
                bytes.extend(size.to_be_bytes());
                bytes.extend(&text[..usize::from(size)]);
            }
        }
    }

    /// Takes the first word out of `bytes`; `None` where it has not arrived to its end.
    pub(super) fn take(bytes: &mut Vec<u8>) -> Result<Option<Self>, Gibberish> {
        let Some((kind, rest)) = bytes.split_first() else { return Ok(None) };
        let Some((number, rest)) = rest.split_first_chunk() else {
            return if *kind <= CLOSE { Ok(None) } else { Err(Gibberish) };
        };
        let number = u32::from_be_bytes(*number);
        let (word, rest) = match *kind {
            PING => (Self::Ping(number), rest),
            PONG => (Self::Pong(number), rest),
            CLOSE => {
                let Some((size, rest)) = rest.split_first_chunk() else { return Ok(None) };
                let size = usize::from(u16::from_be_bytes(*size));
                if size > TEXT_SIZE_MAX {
                    return Err(Gibberish);
                }
                let Some((text, rest)) = rest.split_at_checked(size) else { return Ok(None) };
                (Self::Close(CloseCode::from_number(number.into()), text.to_vec()), rest)
            }
            _ => return Err(Gibberish),
        };
        *bytes = rest.to_vec();
        Ok(Some(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_arrive_whole_whatever_the_pieces() {
        let words =
            [Word::Ping(7), Word::Pong(u32::MAX), Word::close(CloseCode::NotAMember, "revoked")];
        let mut bytes = Vec::new();
        words.iter().for_each(|word| word.write(&mut bytes));
        let (mut arrived, mut taken) = (Vec::new(), Vec::new());
        for byte in bytes {
            arrived.push(byte);
            taken.extend(Word::take(&mut arrived).unwrap());
        }
        assert_eq!((taken.as_slice(), arrived.len()), (&words[..], 0));
    }

    #[test]
    fn what_no_version_says_is_found_and_long_reasons_are_cut() {
        assert_eq!(Word::take(&mut vec![3]), Err(Gibberish));
        assert_eq!(Word::take(&mut vec![CLOSE, 0, 0, 0, 0, 0xff, 0xff]), Err(Gibberish));
        let mut bytes = Vec::new();
        Word::close(CloseCode::Done, &"x".repeat(70_000)).write(&mut bytes);
        assert_eq!(bytes.len(), 7 + TEXT_SIZE_MAX);
        assert!(matches!(Word::take(&mut bytes), Ok(Some(Word::Close(..)))));
    }
}
