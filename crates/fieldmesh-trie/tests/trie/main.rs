//! The trie as its users see it. Goal: the root is a function of the set, an exchange finds every
//! difference within its bounds of bytes and round trips, and no peer can do harm.

mod crew;
mod difference;
mod history;
mod hostile;
