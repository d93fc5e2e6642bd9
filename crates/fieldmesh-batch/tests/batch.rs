//! A batch as its users see it. Goal: what is sealed comes back, what anybody changes is refused,
//! and the bytes on disk and wire never change. Method: round trips, flipped bits, a fixture.

use ed25519_dalek::SigningKey;
use fieldmesh_batch::{
    Batch, Chain, Chains, DecodeError, Draft, HEADER_LENGTH, HeaderError, Leaf, Link, Priority,
    SIGNATURE_LENGTH, SealError, SignatureError,
};
use fieldmesh_model::limits::{BATCH_CHANGES_MAX, BATCH_RAW_MAX, CHANGE_SIZE_MAX};
use fieldmesh_model::{BatchId, DeviceId, DocumentId, Epoch, Moment, Scope, TenantId};

const SALT_SEED: [u8; 16] = [9; 16];

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn author(key: &SigningKey) -> DeviceId {
    DeviceId::of_key(key.verifying_key().as_bytes())
}

fn leaf(byte: u8, length: usize) -> Leaf {
    Leaf { document: DocumentId::from_bytes([byte; 16]), change: vec![byte; length] }
}

fn draft(leaves: Vec<Leaf>) -> Draft {
    Draft {
        tenant: TenantId::from_bytes([1; 32]),
        scope: Scope { collection: 3, partition: 0x0405, month: 24_303 },
        author: author(&key(7)),
        epoch: Epoch(0x1122_3344_5566_7788),
        sequence: 2,
        previous: BatchId::from_bytes([2; 32]),
        priority: Priority::CRITICAL,
        first: Moment::from_millis(1_700_000_000_000),
        last: Moment::from_millis(1_700_000_000_500),
        leaves,
    }
}

fn sealed(leaves: Vec<Leaf>) -> Batch {
    Batch::seal(draft(leaves), &key(7), SALT_SEED).expect("the draft keeps all rules")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_sealed_batch_comes_back_from_its_bytes_and_verifies() {
    let batch = sealed((1..=5).map(|byte| leaf(byte, 100)).collect());
    let decoded = Batch::decode(&batch.encode()).unwrap();
    assert_eq!(decoded, batch);
    assert_eq!(decoded.verify(&key(7).verifying_key()), Ok(()));
    assert_eq!(decoded.leaves()[4], leaf(5, 100));
    assert_eq!((decoded.header().change_count, decoded.header().raw_length), (5, 500));
    assert!(decoded.header().priority.is_critical());
    let key_bytes = decoded.key_bytes();
    assert_eq!(key_bytes[..8], decoded.header().scope.to_bytes());
    assert_eq!(key_bytes[8..14], 1_700_000_000_500_u64.to_be_bytes()[2..]);
    assert_eq!(key_bytes[14..], decoded.id().as_bytes()[..]);
}

#[test]
fn the_bytes_of_a_batch_are_pinned() {
    let batch = sealed(vec![leaf(0xaa, 2), leaf(0xbb, 3), leaf(0xcc, 1)]);
    let bytes = batch.encode();
    assert_eq!(bytes.len(), HEADER_LENGTH + SIGNATURE_LENGTH + 17 + 3 * 20 + 6);
    assert_eq!(
        batch.id().to_string(),
        "dc1b69424de27041908c684a4fb56ec41f90f2adc1eac307d56ad6ace71c9189"
    );
    assert_eq!(hex(&bytes), include_str!("batch-1.hex").replace('\n', ""));
}

#[test]
fn a_batch_without_its_signature_is_the_same_batch_and_proves_nothing() {
    let batch = sealed(vec![leaf(0xaa, 2), leaf(0xbb, 3)]);
    let bytes = batch.encode_unsigned();
    assert_eq!(bytes.len(), batch.encode().len() - SIGNATURE_LENGTH);
    assert_eq!(
        (bytes[0], bytes[1..HEADER_LENGTH].to_vec()),
        (0x81, batch.encode()[1..HEADER_LENGTH].to_vec())
    );
    let read = Batch::decode(&bytes).unwrap();
    assert_eq!((read.id(), read.leaves()), (batch.id(), batch.leaves()));
    assert!(batch.is_signed() && !read.is_signed());
    assert_eq!(read.verify(&key(7).verifying_key()), Err(SignatureError::Missing));
    assert_eq!(read.encode(), bytes, "what came without a signature stays without");
    for bit in 0..8 * bytes.len() {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let same = Batch::decode(&flipped).is_ok_and(|read| read.id() == batch.id());
        assert!(!same, "bit {bit}");
    }
}

#[test]
fn any_flipped_bit_is_refused() {
    let verifying_key = key(7).verifying_key();
    let whole = sealed(vec![leaf(1, 4), leaf(2, 9)]);
    for batch in [whole.erase(0).unwrap(), whole] {
        let bytes = batch.encode();
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let accepted =
                Batch::decode(&flipped).is_ok_and(|batch| batch.verify(&verifying_key).is_ok());
            assert!(!accepted, "bit {bit}");
        }
    }
}

#[test]
fn every_cut_and_every_extra_byte_is_refused() {
    let mut bytes = sealed(vec![leaf(1, 4), leaf(2, 9)]).encode();
    for length in 0..bytes.len() {
        assert_eq!(Batch::decode(&bytes[..length]), Err(DecodeError::Short));
    }
    bytes.push(0);
    assert_eq!(Batch::decode(&bytes), Err(DecodeError::Trailing { length: 1 }));
}

#[test]
fn a_length_that_is_not_there_is_refused_before_anything_is_reserved() {
    let mut bytes = sealed(vec![leaf(1, 4)]).encode();
    let length_at = HEADER_LENGTH + SIGNATURE_LENGTH + 17 + 16;
    bytes[length_at..length_at + 4].fill(0xff);
    assert_eq!(Batch::decode(&bytes), Err(DecodeError::Short));
}

#[test]
fn only_the_author_can_have_signed() {
    let batch = sealed(vec![leaf(1, 4)]);
    assert_eq!(batch.verify(&key(8).verifying_key()), Err(SignatureError::OtherKey));
    let mut bytes = batch.encode();
    bytes[HEADER_LENGTH + 3] ^= 1;
    let forged = Batch::decode(&bytes).unwrap();
    assert_eq!(forged.id(), batch.id(), "the signature is no part of the id");
    assert_eq!(forged.verify(&key(7).verifying_key()), Err(SignatureError::Wrong));
    let stolen = Batch::seal(draft(vec![leaf(1, 4)]), &key(8), SALT_SEED);
    assert_eq!(stolen, Err(SealError::OtherKey));
}

#[test]
fn an_erased_leaf_leaves_id_and_signature_standing() {
    let batch = sealed((1..=4).map(|byte| leaf(byte, 50)).collect());
    let erased = batch.erase(1).unwrap().erase(3).unwrap();
    let decoded = Batch::decode(&erased.encode()).unwrap();
    assert_eq!(decoded, erased);
    assert_eq!(decoded.id(), batch.id());
    assert_eq!(decoded.verify(&key(7).verifying_key()), Ok(()));
    assert!(decoded.has_erased_leaves() && !batch.has_erased_leaves());
    assert!(decoded.leaves()[1].is_erased() && decoded.leaves()[3].is_erased());
    assert_eq!(decoded.leaves()[2], batch.leaves()[2]);
    assert_eq!(batch.erase(4), None);
    assert_eq!(decoded.leaf_hashes(), batch.leaf_hashes(), "whoever lacks a leaf knows its hash");
    let gone = [batch.leaf_hashes()[1], batch.leaf_hashes()[3]];
    assert!(decoded.erased_hashes().eq(&gone) && batch.erased_hashes().next().is_none());

    let body = &decoded.encode()[HEADER_LENGTH + SIGNATURE_LENGTH..];
    assert!(!body.windows(8).any(|bytes| bytes == [2; 8]), "contents are gone");
    assert!(!body.windows(16).any(|seed| seed == SALT_SEED), "the seed gives every salt away");
}

#[test]
fn a_draft_that_breaks_a_rule_cannot_be_sealed() {
    let refused = |change: &dyn Fn(&mut Draft)| {
        let mut draft = draft(vec![leaf(1, 4)]);
        change(&mut draft);
        Batch::seal(draft, &key(7), SALT_SEED).unwrap_err()
    };
    let header = SealError::Header;
    let (changes, limit) = (BATCH_CHANGES_MAX + 1, BATCH_RAW_MAX);
    let large = CHANGE_SIZE_MAX + 1;

    let none = refused(&|d| d.leaves.clear());
    assert_eq!(none, header(HeaderError::Changes { count: 0 }));
    let many = refused(&|d| d.leaves = vec![leaf(1, 1); changes]);
    assert_eq!(many, header(HeaderError::Changes { count: changes }));
    let long = refused(&|d| d.leaves = vec![leaf(1, limit), leaf(2, 1)]);
    assert_eq!(long, header(HeaderError::Length { length: limit + 1, limit }));
    let single = refused(&|d| d.leaves = vec![leaf(1, large)]);
    assert_eq!(single, SealError::ChangeTooLarge { index: 0, length: large });
    let empty = refused(&|d| d.leaves.push(leaf(1, 0)));
    assert_eq!(empty, SealError::EmptyChange { index: 1 });
    assert_eq!(refused(&|d| d.scope.partition = 1 << 24), SealError::Scope);
    assert_eq!(refused(&|d| d.first = d.last.plus_millis(1)), header(HeaderError::Times));
    assert_eq!(refused(&|d| d.sequence = 0), header(HeaderError::Chain { sequence: 0 }));
    assert_eq!(refused(&|d| d.sequence = 1), header(HeaderError::Chain { sequence: 1 }));
    let unlinked = refused(&|d| d.previous = BatchId::default());
    assert_eq!(unlinked, header(HeaderError::Chain { sequence: 2 }));
}

#[test]
fn one_large_change_travels_alone() {
    let batch = sealed(vec![leaf(1, CHANGE_SIZE_MAX)]);
    assert_eq!(Batch::decode(&batch.encode()), Ok(batch));
    let full = sealed(vec![leaf(1, BATCH_RAW_MAX / BATCH_CHANGES_MAX); BATCH_CHANGES_MAX]);
    assert_eq!(Batch::decode(&full.encode()), Ok(full));
}

#[test]
fn moments_before_1970_are_sealed_as_they_are_read_back() {
    let mut early = draft(vec![leaf(1, 4)]);
    early.first = Moment::from_millis(-5);
    let batch = Batch::seal(early, &key(7), SALT_SEED).unwrap();
    assert_eq!(batch.header().first, Moment::ZERO);
    assert_eq!(Batch::decode(&batch.encode()), Ok(batch));
}

#[test]
fn batches_sealed_one_after_another_form_a_chain() {
    let mut chains = Chains::new();
    let mut next = Draft { sequence: 1, previous: BatchId::default(), ..draft(vec![leaf(1, 4)]) };
    for _ in 0..3 {
        let batch = Batch::seal(next.clone(), &key(7), SALT_SEED).unwrap();
        assert_eq!(chains.observe(batch.header(), batch.id()), Link::Next);
        let head = chains.head(&Chain::of(batch.header())).unwrap();
        assert_eq!((head.sequence, head.id), (next.sequence, batch.id()));
        (next.sequence, next.previous) = (head.sequence + 1, head.id);
    }
    let other = Batch::seal(Draft { epoch: Epoch(5), ..next }, &key(7), SALT_SEED).unwrap();
    assert!(matches!(chains.observe(other.header(), other.id()), Link::Gap(_)));
    assert_eq!((chains.heads().count(), chains.gaps().count()), (1, 1));
}

#[test]
fn one_leaf_reads_as_it_does_among_all() {
    let whole = sealed((1..=4).map(|byte| leaf(byte, 50)).collect());
    for batch in [whole.clone(), whole.erase(1).expect("it has this leaf")] {
        for bytes in [batch.encode(), batch.encode_unsigned()] {
            for (index, expected) in batch.leaves().iter().enumerate() {
                let (header, id, leaf) = Batch::decode_leaf(&bytes, index).unwrap();
                assert_eq!((&header, id, &leaf), (batch.header(), batch.id(), expected));
            }
            assert_eq!(Batch::decode_leaf(&bytes, 4), Err(DecodeError::NoLeaf { index: 4 }));
            assert_eq!(Batch::decode_leaf(&bytes[..bytes.len() - 1], 3), Err(DecodeError::Short));
        }
    }
}
