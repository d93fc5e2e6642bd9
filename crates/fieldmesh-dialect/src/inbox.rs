//! Lists of open conflicts, which three of the dialects give out alike.

use crate::command::ConflictQuery;
use crate::cursor::{Cursor, FeedId};
use crate::outcome::ConflictPage;
use crate::refusal::Refusal;
use crate::request::Request;

/// The most conflicts of one answer.
const CONFLICTS_MAX: usize = 1_000;

/// What a cursor in the list of conflicts was given for.
const CONFLICTS: &str = "conflicts";

/// Which conflicts a request wants to see: of a collection, from a cursor, so many.
pub(crate) fn query(
    request: &Request,
    feed: FeedId,
    collection: Option<String>,
) -> Result<ConflictQuery, Refusal> {
    let after = match request.parameter("cursor") {
        Some(text) => match Cursor::parse(&text, feed) {
            Ok(cursor) if cursor.question == CONFLICTS => Some(cursor.place),
            Ok(_) => return Err(Refusal::fault("cursor", "cursor is of another list")),
            Err(error) => {
                return Err(Refusal::fault("cursor", &format!("cursor {}", error.message())));
            }
        },
        None => None,
    };
    let conflicts_max = match request.parameter("limit") {
        None => CONFLICTS_MAX,
        Some(text) => {
            let limit = text.parse().ok().filter(|limit| (1..=CONFLICTS_MAX).contains(limit));
            let message = format!("limit must be between 1 and {CONFLICTS_MAX}");
            limit.ok_or_else(|| Refusal::fault("limit", &message))?
        }
    };
    Ok(ConflictQuery { collection, after, conflicts_max })
}

/// The cursor behind `page`, if there is more.
pub(crate) fn next(page: &ConflictPage, feed: FeedId) -> Option<String> {
    let cursor = |place| Cursor { feed, place, question: CONFLICTS.to_owned() };
    page.next.map(|place| cursor(place).to_text())
}
