//! What stands for a key: a value, where the pieces of a large value are, or that it is deleted.
//!
//! ```text
//! 0 | value              1 | value id 16 | count of pieces u16              2
//! ```

const WHOLE: u8 = 0;
const PIECES: u8 = 1;
const DELETED: u8 = 2;

/// The content of one key, decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content<'a> {
    Whole(&'a [u8]),
    Pieces {
        id: [u8; 16],
        count: u16,
    },
    /// Only in what was written last: it hides what the pages have.
    Deleted,
}

impl<'a> Content<'a> {
    /// `None` if it is damaged.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        match bytes.split_first()? {
            (&WHOLE, value) => Some(Self::Whole(value)),
            (&PIECES, rest) => {
                let (id, count) = rest.split_first_chunk()?;
                Some(Self::Pieces { id: *id, count: u16::from_be_bytes(count.try_into().ok()?) })
            }
            (&DELETED, []) => Some(Self::Deleted),
            _ => None,
        }
    }

    pub(crate) fn encode(self) -> Vec<u8> {
        match self {
            Self::Whole(value) => [&[WHOLE], value].concat(),
            Self::Pieces { id, count } => [&[PIECES], &id[..], &count.to_be_bytes()].concat(),
            Self::Deleted => vec![DELETED],
        }
    }
}

/// Whether content says that its key is deleted.
pub(crate) fn is_deleted(bytes: &[u8]) -> bool {
    bytes == [DELETED]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_read_as_it_was_written_and_nothing_else_is() {
        let pieces = Content::Pieces { id: [7; 16], count: 300 };
        for content in [Content::Whole(b""), Content::Whole(b"x"), pieces, Content::Deleted] {
            assert_eq!(Content::decode(&content.encode()), Some(content));
        }
        for damaged in [&b""[..], &[1, 2, 3], &[2, 0], &[3]] {
            assert_eq!(Content::decode(damaged), None);
        }
    }
}
