//! Packing as its users see it. Goal: what is packed comes back byte for byte, whatever it was, and
//! hostile bytes give an error within the limits of a batch. Method: honest entries of a device
//! and what becomes of them when any byte is another, generated leaves, a fixture.

use ed25519_dalek::SigningKey;
use fieldmesh_batch::{
    Batch, Draft, HEADER_LENGTH, Leaf, Priority, SIGNATURE_LENGTH, UnpackError, pack, unpack,
};
use fieldmesh_model::limits::BATCH_RAW_MAX;
use fieldmesh_model::{BatchId, DeviceId, DocumentId, Epoch, Moment, Scope, TenantId};
use proptest::collection::vec;
use proptest::prelude::*;

/// Ten first changes of entries, some of them with texts beyond ASCII and odd floats, and an edit.
const MORNING: &[u8] = include_bytes!("morning.batch");
/// What [`MORNING`] is packed into.
const MORNING_PACKED: &[u8] = include_bytes!("morning.packed");
/// Where the leaves of a signed batch begin.
const LEAVES: usize = HEADER_LENGTH + SIGNATURE_LENGTH + 17;

fn sealed(leaves: Vec<Leaf>) -> Batch {
    let key = SigningKey::from_bytes(&[7; 32]);
    let draft = Draft {
        tenant: TenantId::from_bytes([1; 32]),
        scope: Scope::default(),
        author: DeviceId::of_key(key.verifying_key().as_bytes()),
        epoch: Epoch(1),
        sequence: 1,
        previous: BatchId::default(),
        priority: Priority::NORMAL,
        first: Moment::ZERO,
        last: Moment::ZERO,
        leaves,
    };
    Batch::seal(draft, &key, [9; 16]).expect("the draft keeps all rules")
}

/// Two entries and the edit: a batch that is soon gone through.
fn few() -> Vec<u8> {
    let morning = Batch::decode(MORNING).expect("the fixture is a batch");
    sealed(morning.leaves()[8..].to_vec()).encode()
}

/// Whether the bytes are packed; if they are, the same come back.
fn comes_back(bytes: &[u8]) -> bool {
    let packed = pack(bytes);
    if let Some(packed) = &packed {
        assert!(packed.len() < bytes.len());
        assert_eq!(unpack(packed).as_deref(), Ok(bytes));
    }
    packed.is_some()
}

/// What is packed of `count` changes of `length` bytes in all, followed by `leaves`.
fn forged(count: u16, length: u32, leaves: &[u8]) -> Vec<u8> {
    let mut packed = vec![0];
    packed.extend(&MORNING[..HEADER_LENGTH + SIGNATURE_LENGTH]);
    packed[1 + 134..1 + 136].copy_from_slice(&count.to_be_bytes());
    packed[1 + 136..1 + 140].copy_from_slice(&length.to_be_bytes());
    packed.extend([0; 16]);
    packed.extend(leaves);
    packed
}

#[test]
fn the_packed_form_is_pinned() {
    assert!(Batch::decode(MORNING).is_ok());
    assert_eq!(unpack(MORNING_PACKED).as_deref(), Ok(MORNING));
    assert_eq!(pack(MORNING).as_deref(), Some(MORNING_PACKED));
}

#[test]
fn a_batch_without_its_signature_comes_back() {
    let unsigned = Batch::decode(MORNING).unwrap().encode_unsigned();
    assert!(comes_back(&unsigned));
}

#[test]
fn a_few_changes_travel_without_their_root() {
    let mut leaves = Batch::decode(MORNING).unwrap().leaves().to_vec();
    leaves.truncate(2);
    let mut bytes = sealed(leaves).encode();
    let honest = pack(&bytes).unwrap();
    assert!(comes_back(&bytes));
    bytes[HEADER_LENGTH - 1] ^= 1;
    let other = pack(&bytes).unwrap();
    assert!(comes_back(&bytes));
    assert_eq!(other.len(), honest.len() + 32);
}

#[test]
fn a_batch_with_an_erased_change_is_not_packed() {
    let erased = Batch::decode(MORNING).unwrap().erase(3).unwrap();
    assert_eq!(pack(&erased.encode()), None);
}

#[test]
fn whatever_byte_of_an_honest_batch_is_another_it_comes_back() {
    let (few, mut packed) = (few(), 0);
    for place in 0..few.len() {
        for flip in [1, 0x80, 0xff] {
            let mut bytes = few.clone();
            bytes[place] ^= flip;
            packed += usize::from(comes_back(&bytes));
        }
    }
    // Only what makes the batch contradict itself is not packed.
    assert!(packed > 3 * few.len() * 8 / 10, "{packed} of {}", 3 * few.len());
    (0..few.len()).for_each(|length| assert!(!comes_back(&few[..length])));
}

#[test]
fn a_change_with_a_wrong_checksum_or_an_odd_number_comes_back() {
    // The checksum, then the length, of the first change.
    for place in [LEAVES + 20 + 4, LEAVES + 20 + 9] {
        let mut bytes = MORNING.to_vec();
        bytes[place] ^= 1;
        assert!(comes_back(&bytes));
    }
}

#[test]
fn whatever_byte_of_a_packed_batch_is_another_the_limits_hold() {
    let honest = pack(&few()).unwrap();
    for place in 0..honest.len() {
        for flip in [1, 2, 0x10, 0x40, 0x80, 0xff] {
            let mut packed = honest.clone();
            packed[place] ^= flip;
            let Ok(bytes) = unpack(&packed) else { continue };
            let count = usize::from(u16::from_be_bytes([bytes[134], bytes[135]]));
            assert!(bytes.len() <= LEAVES + count * 20 + BATCH_RAW_MAX);
            comes_back(&bytes);
        }
    }
    for length in 0..honest.len() {
        assert_eq!(unpack(&honest[..length]), Err(UnpackError));
    }
    assert_eq!(unpack(&[&honest[..], &[0]].concat()), Err(UnpackError));
}

#[test]
fn a_form_that_64_changes_share_does_not_outgrow_the_batch() {
    // All have form 1, which has 60,000 bytes.
    let mut leaves = vec![2, 1, 0, 0xe0, 0xd4, 0x03];
    leaves.extend([0; 60_000]);
    leaves.extend([0; 5_000]);
    assert_eq!(unpack(&forged(64, 65_536, &leaves)), Err(UnpackError));
}

#[test]
fn a_value_that_16_000_places_share_does_not_outgrow_the_batch() {
    // One change of the emptiest form: no dependency, an actor of no bytes, no columns.
    let mut leaves = vec![2, 1, 0, 7, 0, 0, 1, 1, 0, 0, 0];
    // One shape of 16,000 values of plain bytes, and an id that follows from nothing.
    leaves.extend([2, 0, 0, 0x80, 0x7d]);
    leaves.extend([0x47; 16_000]);
    leaves.push(0);
    leaves.extend([5; 16]);
    // Actors all the same, the time 0.
    leaves.extend([1, 0, 2, 0, 0]);
    // 63 columns of one empty value, then one for all the rest: 60,000 bytes, all the same.
    leaves.extend([1, 0].repeat(63));
    leaves.extend([1, 0xe0, 0xd4, 0x03]);
    leaves.extend([0; 60_000]);
    assert_eq!(unpack(&forged(1, 65_536, &leaves)), Err(UnpackError));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_come_back(bytes in vec(any::<u8>(), 0..600)) {
        comes_back(&bytes);
        let _ = unpack(&bytes);
        let _ = unpack(&forged(3, 1_000, &bytes));
    }

    #[test]
    fn changes_of_any_bytes_come_back(changes in vec(vec(any::<u8>(), 1..200), 1..64)) {
        let leaf = |change| Leaf { document: DocumentId::from_bytes([3; 16]), change };
        comes_back(&sealed(changes.into_iter().map(leaf).collect()).encode());
    }

    #[test]
    fn honest_changes_in_any_order_come_back(places in vec(0..11_usize, 1..64)) {
        let leaves = Batch::decode(MORNING).unwrap().leaves().to_vec();
        let leaves = places.into_iter().map(|place| leaves[place].clone()).collect();
        prop_assert!(comes_back(&sealed(leaves).encode()));
    }
}
