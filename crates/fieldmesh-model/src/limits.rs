//! The ceilings of the protocol and of records; a tenant's policy may lower them, never raise.

/// The largest number of changes in one batch.
pub const BATCH_CHANGES_MAX: usize = 64;
/// The largest sum of change bytes in one batch of more than one change.
pub const BATCH_RAW_MAX: usize = 64 * 1024;
/// The largest single change.
pub const CHANGE_SIZE_MAX: usize = 512 * 1024;
/// The largest number of dependencies of a change.
pub const CHANGE_DEPENDENCIES_MAX: usize = 1_024;
/// The largest number of operations in a change.
pub const CHANGE_OPERATIONS_MAX: usize = 16_384;
/// The largest record without its photos, as canonical JSON bytes.
pub const RECORD_SIZE_MAX: usize = 256 * 1024;
/// The largest control message of a conversation.
pub const CONTROL_MESSAGE_MAX: usize = 64 * 1024;
/// The deepest nesting of a record's input.
pub const NESTING_DEPTH_MAX: usize = 16;
/// The most regions of a filter.
pub const FILTER_REGIONS_MAX: usize = 256;
