//! Policy items of a member that says more than it may, and of strangers.

use fieldmesh_identity::{Certificate, DeviceKeys, Item, ItemPlace, Revocation, Seed, Statement};
use fieldmesh_model::{DeviceId, Role, UserId};

use super::data::put_item;
use crate::author::Author;
use crate::random::Random;

/// So many items a member signs: more than any honest replica keeps of it, and yet an end.
const ITEMS: usize = 200;
/// How many it sends at a time.
const ITEMS_AT_ONCE: usize = 12;

/// Frames with some of its items.
pub(super) fn pour(author: &Author, random: &mut Random) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..ITEMS_AT_ONCE {
        let number = random.index(ITEMS);
        let stranger = DeviceKeys::from_seed(&Seed::from_bytes(random.array()));
        let signer = if random.once_in(4) { &stranger } else { author.keys() };
        let place = ItemPlace { sequence: number as u64, previous: None };
        let statement = statement(author, number);
        if let Ok(item) = Item::sign(signer, author.tenant(), place, &statement) {
            put_item(item.encode(), &mut out);
        }
    }
    out
}

/// What the item with this number says; a plain member may say none of it.
fn statement(author: &Author, number: usize) -> Statement {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&number.to_be_bytes());
    match number % 4 {
        0 => Statement::Revocation(Box::new(Revocation {
            device: DeviceId::of_key(&key),
            version: 1,
            heads: [].into(),
            items: None,
            remaining: None,
            wipe: true,
            reason: "not mine".into(),
        })),
        1 => {
            let user = UserId::from_bytes([1; 16]);
            let keys = author.keys().public_key();
            let key = if number % 8 == 1 { keys } else { key };
            let certificate = Certificate::new(key, "Tablet", user, Role::Admin);
            Statement::Certificate(Box::new(certificate))
        }
        _ => Statement::Unknown { kind: 99, body: key.to_vec() },
    }
}
