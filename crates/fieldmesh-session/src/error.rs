//! How a conversation goes wrong, and how it ends.

use fieldmesh_batch::UnpackError;
use fieldmesh_model::FilterError;
use fieldmesh_trie::DecodeError;

use crate::limits::{
    CONTROL_UNWRITTEN_MAX, DATA_FRAME_MAX, EXCLUDED_MAX, INGEST_WINDOW_MIN, ROUNDS_MAX,
    SILENCE_MAX_MILLIS, VERSION_MAX, VERSION_MIN,
};

/// Bytes of a peer that are no part of the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// A frame is longer than allowed.
    #[error("frame of {length} bytes, limit is {limit}")]
    FrameTooLong {
        /// The length it claims, or a lower bound of it.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// A length that does not end.
    #[error("frame length does not end")]
    Length,
    /// A control message that cannot be read.
    #[error("unreadable control message")]
    Message,
    /// Bytes behind a control message.
    #[error("{length} bytes behind a control message")]
    Rest {
        /// How many.
        length: usize,
    },
    /// A filter with too many or too long prefixes.
    #[error("filter of {prefixes} prefixes is too large")]
    Filter {
        /// How many prefixes it has.
        prefixes: usize,
    },
    /// A filter that cannot be read.
    #[error("peer wants an unreadable part")]
    Region(#[from] FilterError),
    /// A part of a batch that follows no part before it.
    #[error("part at {offset} of a batch of {total} bytes out of order")]
    Part {
        /// Where it claims to begin.
        offset: u32,
        /// How long the batch claims to be.
        total: u32,
    },
    /// A data stream of an unknown priority.
    #[error("data stream of unknown priority {priority}")]
    Priority {
        /// Its first byte.
        priority: u8,
    },
    /// A frame of an unknown kind.
    #[error("data frame of unknown kind {kind}")]
    FrameKind {
        /// Its first byte.
        kind: u8,
    },
    /// The data stream cannot be compressed or decompressed.
    #[error("data stream is not intact")]
    Compression,
    /// The data stream expands too much.
    #[error("data stream expands to {length} bytes, limit is {limit}")]
    Expansion {
        /// Decompressed bytes.
        length: u64,
        /// The most that its compressed bytes allow.
        limit: u64,
    },
    /// A batch that no honest peer packs so.
    #[error("frame holds no batch")]
    Packed(#[from] UnpackError),
}

/// A fault that ends a conversation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The peer sends what is no part of the protocol.
    #[error("peer breaks the wire format")]
    Wire(#[from] WireError),
    /// The peer describes impossible nodes or wants.
    #[error("peer describes impossible nodes")]
    Nodes(#[from] DecodeError),
    /// No common version.
    #[error("peer speaks versions {min} to {max}, this program {VERSION_MIN} to {VERSION_MAX}")]
    Version {
        /// The peer's oldest version.
        min: u16,
        /// The peer's newest version.
        max: u16,
    },
    /// The peer speaks for another tenant.
    #[error("peer belongs to another tenant")]
    Tenant,
    /// The peer is no member by the policy that both sides hold.
    #[error("peer is not a member of the tenant")]
    NotMember,
    /// The peer announces an ingest window that could not take a large batch.
    #[error("peer takes {window} bytes at a time, at least {INGEST_WINDOW_MIN} are needed")]
    Window {
        /// The announced window.
        window: u32,
    },
    /// A message that has no place where it came.
    #[error("message {name} out of turn")]
    OutOfTurn {
        /// The kind of the message.
        name: &'static str,
    },
    /// An exchange that does not end.
    #[error("exchange takes more than {ROUNDS_MAX} turns")]
    TooManyRounds,
    /// The peer sends beyond the window.
    #[error("peer has {bytes} bytes waiting to be stored, limit is {limit}")]
    Flood {
        /// Bytes that are not yet stored.
        bytes: u64,
        /// The window, and room for one frame.
        limit: u64,
    },
    /// The peer asks and does not read the answers.
    #[error("peer leaves {bytes} bytes unread, limit is {CONTROL_UNWRITTEN_MAX}")]
    Unread {
        /// Control bytes that wait to be written.
        bytes: usize,
    },
    /// The peer compares what is set aside again and again.
    #[error("peer compares what is set aside {millis} ms after the last time")]
    TooOften {
        /// The time since it was compared.
        millis: i64,
    },
    /// The peer acknowledges more than was sent.
    #[error("peer acknowledges more than was sent")]
    Credit,
    /// The peer offers mostly what is refused.
    #[error("peer sent more than {EXCLUDED_MAX} refused batches")]
    TooManyRefused,
    /// A frame of the peer holds no batch or no policy item.
    #[error("peer sent an unreadable batch or policy item")]
    Content,
    /// This side cannot store what the peer sent.
    #[error("what the peer sent cannot be stored here")]
    NotStored,
    /// This side may store no more for the tenant.
    #[error("what the peer sent is more than this tenant may store here")]
    NotGranted,
    /// A batch of this side is too large to be sent.
    #[error("batch of {length} bytes, limit is {DATA_FRAME_MAX}")]
    BatchTooLarge {
        /// Its encoded length.
        length: usize,
    },
    /// This side serves too many peers of which each may see another part.
    #[error("{limit} different parts of the sets are shown to other peers already")]
    TooManyGrants {
        /// How many it serves at a time.
        limit: usize,
    },
    /// The peer owes an answer.
    #[error("peer is silent for {SILENCE_MAX_MILLIS} ms")]
    Silent,
    /// The peer ended the conversation because of a fault.
    #[error("peer reports fault {code}: {text}")]
    Reported {
        /// Its code, see [`CloseReason::code`].
        code: u16,
        /// Its words, shortened to printable characters.
        text: String,
    },
}

/// Why a link is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// Another link to the same peer is kept instead; no fault.
    #[error("another link to the same peer is kept")]
    Duplicate,
    /// The peer said goodbye; no fault.
    #[error("peer said goodbye")]
    Bye,
    /// A fault.
    #[error(transparent)]
    Fault(#[from] SessionError),
}

impl CloseReason {
    /// Whether it is a fault; where not, the shell neither reports nor delays anything.
    pub const fn is_fault(&self) -> bool {
        matches!(self, Self::Fault(_))
    }

    /// The meaning of a goodbye of the peer.
    pub(crate) const fn goodbye(code: u16) -> Self {
        if code == Self::Duplicate.code() { Self::Duplicate } else { Self::Bye }
    }

    /// A number for the peer: 0 goodbye, 1 duplicate, larger ones are faults.
    pub const fn code(&self) -> u16 {
        match self {
            Self::Bye => 0,
            Self::Duplicate => 1,
            Self::Fault(fault) => match fault {
                SessionError::Wire(_) => 2,
                SessionError::Nodes(_) => 3,
                SessionError::Version { .. } => 4,
                SessionError::Tenant => 5,
                SessionError::NotMember => 6,
                SessionError::Window { .. } => 7,
                SessionError::OutOfTurn { .. } => 8,
                SessionError::TooManyRounds => 9,
                SessionError::Flood { .. } => 10,
                SessionError::Credit => 11,
                SessionError::TooManyRefused => 12,
                SessionError::Content => 13,
                SessionError::BatchTooLarge { .. } => 14,
                SessionError::Silent => 15,
                SessionError::Reported { .. } => 16,
                SessionError::NotStored => 17,
                SessionError::Unread { .. } => 18,
                SessionError::TooOften { .. } => 19,
                SessionError::TooManyGrants { .. } => 20,
                SessionError::NotGranted => 21,
            },
        }
    }
}
