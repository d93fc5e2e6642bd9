//! The names of the sorted maps in a view.

/// A named sorted map in the view. The codes are part of the disk format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Tree {
    /// Settings, counters and marks of the caller.
    Meta = 1,
    /// Record id to what is known of its document.
    Document = 2,
    /// The keys of the set that is compared with peers.
    Leaf = 3,
    /// Rows by collection, by site and time, by uniqueness key.
    Index = 4,
    /// What arrived, in order of arrival.
    Feed = 5,
    /// What waits for a person's decision.
    Inbox = 6,
    /// Facts about peers.
    Peer = 7,
    /// References to files named by their content.
    Blob = 8,
    /// Policy items.
    Item = 9,
    /// Heads of the chains of batches.
    Chain = 10,
    /// What cannot be applied, kept aside.
    Quarantine = 11,
}

impl Tree {
    /// The name for messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Document => "document",
            Self::Leaf => "leaf",
            Self::Index => "index",
            Self::Feed => "feed",
            Self::Inbox => "inbox",
            Self::Peer => "peer",
            Self::Blob => "blob",
            Self::Item => "item",
            Self::Chain => "chain",
            Self::Quarantine => "quarantine",
        }
    }
}
