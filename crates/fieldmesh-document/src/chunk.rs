//! Reads the outside of a change chunk without Automerge: enough to index it, and to refuse one
//! that would make Automerge work without bound.
//!
//! Layout: magic 4, checksum 4, kind 1, length, then dependencies, actor, sequence, first
//! operation, time, message, other actors, columns, extra bytes. Numbers are LEB128.

use fieldmesh_model::limits::{CHANGE_DEPENDENCIES_MAX, CHANGE_OPERATIONS_MAX, CHANGE_SIZE_MAX};
use sha2::{Digest, Sha256};

mod columns;
pub(crate) mod operations;
mod reader;
pub(crate) mod write;

use reader::{Reader, Total};

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
const KIND_CHANGE: u8 = 1;

/// The longest actor: Automerge's concurrent form of ours has 21 bytes.
const ACTOR_SIZE_MAX: usize = 32;
/// The most other actors that one change names.
const OTHER_ACTORS_MAX: usize = 1_024;
/// The most columns; version 0.12 writes 15.
const COLUMNS_MAX: usize = 32;
/// The longest message; ours are empty.
const MESSAGE_SIZE_MAX: usize = 1_024;

/// The specification of the column that holds one number for each operation: its action.
const ACTION_COLUMN: u32 = (4 << 4) | 2;
/// The bits of a specification that say how a column is encoded.
const COLUMN_KIND: u32 = 7;
const GROUP_KIND: u32 = 0;
const ACTOR_KIND: u32 = 1;
const INTEGER_KIND: u32 = 2;
const DELTA_KIND: u32 = 3;
const BOOLEAN_KIND: u32 = 4;
const STRING_KIND: u32 = 5;
const VALUE_LENGTH_KIND: u32 = 6;
/// The bit that marks a deflated column.
const DEFLATED_COLUMN: u32 = 8;

/// Bytes that are no single, plain, bounded change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// The change is too large.
    #[error("change has {size} bytes, limit is {CHANGE_SIZE_MAX}")]
    TooLarge {
        /// Its bytes.
        size: usize,
    },
    /// It is a document, a bundle, a compressed change or nothing of Automerge at all.
    #[error("bytes are no plain change")]
    NotAChange,
    /// The bytes end early, go on behind the change, or hold a number in an odd form.
    #[error("change is malformed")]
    Malformed,
    /// The checksum does not fit the bytes.
    #[error("checksum of the change does not match")]
    BadChecksum,
    /// The change names too many dependencies.
    #[error("change has {count} dependencies, limit is {CHANGE_DEPENDENCIES_MAX}")]
    TooManyDependencies {
        /// How many.
        count: usize,
    },
    /// The change holds too many operations or predecessors.
    #[error("change has more than {CHANGE_OPERATIONS_MAX} operations")]
    TooManyOperations,
    /// Something else in it is larger than any honest writer makes it.
    #[error("change exceeds a limit of its form")]
    OverLimit,
}

/// The outside of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peeked {
    /// Its hash.
    pub hash: [u8; 32],
    /// The hashes of the changes that it builds on.
    pub deps: Vec<[u8; 32]>,
    /// Its actor.
    pub actor: Vec<u8>,
    /// Its number among the actor's changes, from 1.
    pub seq: u64,
    /// The number of its first operation.
    pub start_op: u64,
    /// How many operations it has.
    pub operations: usize,
    /// When it was made, by its author's clock.
    pub at: fieldmesh_model::Moment,
}

/// Reads the outside of a change.
///
/// # Errors
///
/// The bytes are no single, plain change within the limits; nothing may be done with them.
pub fn peek(bytes: &[u8]) -> Result<Peeked, ChunkError> {
    if bytes.len() > CHANGE_SIZE_MAX {
        return Err(ChunkError::TooLarge { size: bytes.len() });
    }
    let mut outer = Reader::new(bytes);
    if outer.array::<4>()? != MAGIC {
        return Err(ChunkError::NotAChange);
    }
    let checksum = outer.array::<4>()?;
    if outer.byte()? != KIND_CHANGE {
        return Err(ChunkError::NotAChange);
    }
    let length_start = outer.position();
    let length = outer.size()?;
    let length_bytes = &bytes[length_start..outer.position()];
    let body = outer.rest();
    if body.len() != length {
        return Err(ChunkError::Malformed);
    }
    let hash: [u8; 32] = Sha256::new()
        .chain_update([KIND_CHANGE])
        .chain_update(length_bytes)
        .chain_update(body)
        .finalize()
        .into();
    if hash[..4] != checksum {
        return Err(ChunkError::BadChecksum);
    }
    read_body(hash, Reader::new(body))
}

fn read_body(hash: [u8; 32], mut body: Reader<'_>) -> Result<Peeked, ChunkError> {
    let count = body.size()?;
    if count > CHANGE_DEPENDENCIES_MAX {
        return Err(ChunkError::TooManyDependencies { count });
    }
    let deps = (0..count).map(|_| body.array::<32>()).collect::<Result<Vec<_>, _>>()?;
    let actor = body.sized(ACTOR_SIZE_MAX)?.to_vec();
    let seq = body.number()?;
    let start_op = body.number()?;
    let at = fieldmesh_model::Moment::from_millis(body.signed()?);
    body.sized(MESSAGE_SIZE_MAX)?;
    let others = body.size()?;
    if others > OTHER_ACTORS_MAX {
        return Err(ChunkError::OverLimit);
    }
    for _ in 0..others {
        body.sized(ACTOR_SIZE_MAX)?;
    }
    // The actor itself is the first of them.
    let operations = count_operations(&mut body, others as u64 + 1)?;
    // Automerge would read an author from extra bytes; ours have none.
    if !body.rest().is_empty() {
        return Err(ChunkError::Malformed);
    }
    Ok(Peeked { hash, deps, actor, seq, start_op, operations, at })
}

// Runs in columns are a value and a count, so a few bytes can stand for 2^60 operations, and
// Automerge walks them one by one. Nor does it check that the actors it is referred to are there.
fn count_operations(body: &mut Reader<'_>, actors: u64) -> Result<usize, ChunkError> {
    let count = body.size()?;
    if count > COLUMNS_MAX {
        return Err(ChunkError::OverLimit);
    }
    let mut columns = Vec::with_capacity(count);
    for _ in 0..count {
        let specification = u32::try_from(body.number()?).map_err(|_| ChunkError::Malformed)?;
        if specification & DEFLATED_COLUMN != 0 {
            return Err(ChunkError::NotAChange);
        }
        columns.push((specification, body.size()?));
    }
    let mut operations = 0;
    for (specification, length) in columns {
        let total = sum_column(specification, Reader::new(body.take(length)?), actors)?;
        if specification == ACTION_COLUMN {
            operations = total.items;
        }
    }
    Ok(operations)
}

fn sum_column(
    specification: u32,
    mut column: Reader<'_>,
    actors: u64,
) -> Result<Total, ChunkError> {
    match specification & COLUMN_KIND {
        // Only the predecessors come in groups.
        GROUP_KIND => column.sum_of_runs(|column| {
            usize::try_from(column.number()?).map_err(|_| ChunkError::OverLimit)
        }),
        ACTOR_KIND => column.sum_of_runs(|column| {
            if column.number()? < actors { Ok(0) } else { Err(ChunkError::Malformed) }
        }),
        INTEGER_KIND | VALUE_LENGTH_KIND => column.sum_of_runs(|column| column.number().map(|_| 0)),
        DELTA_KIND => column.sum_of_runs(|column| column.signed().map(|_| 0)),
        BOOLEAN_KIND => column.sum_of_booleans(),
        STRING_KIND => column.sum_of_runs(|column| column.sized(CHANGE_SIZE_MAX).map(|_| 0)),
        // The bytes of values, which stand for nothing but themselves.
        _ => Ok(Total::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_outsides_are_refused() {
        assert_eq!(peek(&[]), Err(ChunkError::Malformed));
        assert_eq!(peek(&[0; 64]), Err(ChunkError::NotAChange));
        let large = vec![0; CHANGE_SIZE_MAX + 1];
        assert_eq!(peek(&large), Err(ChunkError::TooLarge { size: large.len() }));
        let compressed = [&MAGIC[..], &[0; 4], &[2], &[0]].concat();
        assert_eq!(peek(&compressed), Err(ChunkError::NotAChange));
    }

    #[test]
    fn a_run_of_2_to_the_60_operations_is_counted_without_walking_it() {
        let mut run = vec![0x80; 8];
        run.extend([0x10, 1]);
        assert_eq!(
            Reader::new(&run).sum_of_runs(|run| run.number().map(|_| 0)),
            Err(ChunkError::TooManyOperations)
        );
        let zeros = [0x80, 0x80, 1, 0].repeat(2);
        let sum = Reader::new(&zeros).sum_of_runs(|run| run.number().map(|_| 0));
        assert_eq!(sum, Err(ChunkError::TooManyOperations));
        let mut booleans = vec![0x80; 8];
        booleans.push(0x10);
        assert_eq!(Reader::new(&booleans).sum_of_booleans(), Err(ChunkError::TooManyOperations));
        let mut nulls = vec![0];
        nulls.extend([0x80; 8]);
        nulls.push(0x10);
        assert_eq!(
            Reader::new(&nulls).sum_of_runs(|run| run.number().map(|_| 0)),
            Err(ChunkError::TooManyOperations)
        );
    }
}
