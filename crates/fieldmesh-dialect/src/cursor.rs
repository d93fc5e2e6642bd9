//! A place in a tenant's feed as a token that clients keep and give back.
//!
//! A cursor says which feed it belongs to, so that one of another tenant, or of a store that was
//! made anew, is told apart from a place in this one. It is no secret and needs no signature: it
//! gives access to nothing.

use fieldmesh_model::Moment;

/// The largest text that is looked at.
pub const CURSOR_SIZE_MAX: usize = 4_096;

/// Which layout follows.
const VERSION: u8 = 1;
/// How many bytes of a hash stand at the end.
const CHECK_SIZE: usize = 4;
/// Version, feed and place.
const HEAD_SIZE: usize = 1 + 8 + 8;

/// One feed: a tenant in one store. A store that was put back from an older copy has another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FeedId(pub [u8; 8]);

/// A place in a feed, and what was asked for when it was given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The feed.
    pub feed: FeedId,
    /// How far the feed was read.
    pub place: u64,
    /// What the pages were asked for, in the words of the dialect.
    pub question: String,
}

/// A text that is no cursor of this feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CursorError {
    /// It is no cursor at all, or damaged.
    Unreadable,
    /// It was given out by a version that is not understood.
    UnknownVersion,
    /// It belongs to another tenant or store.
    Foreign,
}

impl CursorError {
    /// What to say of the field that held it.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Unreadable => "is not a cursor; leave it out to start anew",
            Self::UnknownVersion => "is a cursor of another version; leave it out to start anew",
            Self::Foreign => "belongs to another tenant or store; leave it out to start anew",
        }
    }
}

impl Cursor {
    /// The text that clients keep.
    pub fn to_text(&self) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.feed.0);
        bytes.extend_from_slice(&self.place.to_be_bytes());
        bytes.extend_from_slice(self.question.as_bytes());
        let check = check(&bytes);
        bytes.extend_from_slice(&check);
        data_encoding::BASE64URL_NOPAD.encode(&bytes)
    }

    /// The cursor in `text`, if it belongs to `feed`.
    ///
    /// # Errors
    ///
    /// Why it cannot be used; the client starts anew without it.
    pub fn parse(text: &str, feed: FeedId) -> Result<Self, CursorError> {
        if text.len() > CURSOR_SIZE_MAX {
            return Err(CursorError::Unreadable);
        }
        let bytes = data_encoding::BASE64URL_NOPAD
            .decode(text.as_bytes())
            .map_err(|_| CursorError::Unreadable)?;
        let (body, end) = bytes
            .len()
            .checked_sub(CHECK_SIZE)
            .and_then(|length| bytes.split_at_checked(length))
            .ok_or(CursorError::Unreadable)?;
        if end != check(body) {
            return Err(CursorError::Unreadable);
        }
        if body.first() != Some(&VERSION) {
            return Err(CursorError::UnknownVersion);
        }
        let (head, question) = body.split_at_checked(HEAD_SIZE).ok_or(CursorError::Unreadable)?;
        let number = |from: usize| {
            let bytes = head.get(from..from + 8)?;
            <[u8; 8]>::try_from(bytes).ok()
        };
        let found = number(1).map(FeedId).ok_or(CursorError::Unreadable)?;
        let place = number(9).map(u64::from_be_bytes).ok_or(CursorError::Unreadable)?;
        if found != feed {
            return Err(CursorError::Foreign);
        }
        let question = String::from_utf8(question.to_vec()).map_err(|_| CursorError::Unreadable)?;
        Ok(Self { feed, place, question })
    }
}

fn check(bytes: &[u8]) -> [u8; CHECK_SIZE] {
    let hash = blake3::derive_key("fieldmesh/dialect-cursor/1", bytes);
    let mut check = [0; CHECK_SIZE];
    check.copy_from_slice(&hash[..CHECK_SIZE]);
    check
}

/// From where a client wants to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Since {
    /// From the beginning: everything that there is.
    Start,
    /// From now on.
    Now,
    /// Behind a place, up to which the client says that it has everything.
    Place(u64),
    /// Behind what a stream sent last, of which the client has not said that it came.
    Sent(u64),
    /// Whatever arrived later.
    Arrival(Moment),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_was_and_only_to_its_feed() {
        let feed = FeedId(*b"tenant-1");
        let cursor = Cursor { feed, place: 77, question: "asset,task".to_owned() };
        let text = cursor.to_text();
        assert_eq!(Cursor::parse(&text, feed), Ok(cursor));
        assert_eq!(Cursor::parse(&text, FeedId(*b"tenant-2")), Err(CursorError::Foreign));
    }

    #[test]
    fn a_damaged_or_newer_cursor_is_told_apart() {
        let feed = FeedId(*b"tenant-1");
        let cursor = Cursor { feed, place: 77, question: String::new() };
        let mut text = cursor.to_text();
        text.replace_range(3..4, if &text[3..4] == "A" { "B" } else { "A" });
        for bad in ["", "A", "!!!!", "AAAAAAAAAAAAAAAA", text.as_str(), &"A".repeat(9_000)] {
            assert_eq!(Cursor::parse(bad, feed), Err(CursorError::Unreadable), "{bad}");
        }
        let mut newer = vec![VERSION + 1, 9, 9];
        newer.extend(check(&newer.clone()));
        let newer = data_encoding::BASE64URL_NOPAD.encode(&newer);
        assert_eq!(Cursor::parse(&newer, feed), Err(CursorError::UnknownVersion));
    }
}
