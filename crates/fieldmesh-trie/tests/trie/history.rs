//! The root depends on the set alone. Method: random histories against a plain sorted set.

use std::collections::BTreeSet;

use fieldmesh_trie::{Key, Prefix, Trie};

use crate::crew::{Seeded, Year};

/// Keys that collide in long prefixes, so that every shape of tree occurs.
fn crowded(seeded: &mut Seeded) -> Key {
    let mut bytes = [0; 46];
    for place in [0, 7, 13, 14, 45] {
        bytes[place] = [0, 1, 0x10, 0x11][seeded.below(4)];
    }
    bytes[20] = [0, 1, 2][seeded.below(3)];
    Key::from_bytes(bytes)
}

fn rebuilt(keys: &BTreeSet<Key>) -> Trie {
    keys.iter().copied().collect()
}

#[test]
fn the_root_is_that_of_a_trie_built_afresh_whatever_the_history() {
    for seed in 0..20 {
        let mut seeded = Seeded(seed);
        let (mut trie, mut model) = (Trie::new(), BTreeSet::new());
        for step in 0..1_500 {
            let key = crowded(&mut seeded);
            let grows = if step < 900 { 3 } else { 1 };
            if seeded.below(4) < grows {
                assert_eq!(trie.insert(key), model.insert(key));
            } else {
                assert_eq!(trie.remove(&key), model.remove(&key));
            }
            if step % 50 == 0 {
                assert_eq!(trie.root(), rebuilt(&model).root(), "seed {seed}, step {step}");
            }
        }
        assert_eq!(trie.len(), model.len());
        assert!(trie.iter().eq(model.iter()));
        assert_eq!(trie.root(), rebuilt(&model).root());
    }
}

#[test]
fn inserting_and_removing_returns_to_the_old_root() {
    let mut seeded = Seeded(5);
    let mut trie = Trie::new();
    let mut roots = Vec::new();
    let keys: Vec<Key> = Year::new(3, 4).work(1_000);
    for key in &keys {
        roots.push(trie.root());
        trie.insert(*key);
    }
    assert!(!trie.insert(keys[0]) && !trie.remove(&crowded(&mut seeded)));
    for (key, root) in keys.iter().zip(roots).rev() {
        assert!(trie.remove(key));
        assert_eq!(trie.root(), root);
    }
    assert!(trie.is_empty());
}

#[test]
fn hashes_that_are_out_of_date_are_read_correctly() {
    let keys = Year::new(1, 1).work(500);
    let mut fresh: Trie = keys.iter().copied().collect();
    let stale: Trie = keys.iter().rev().copied().collect();
    assert_eq!(stale.digest(&Prefix::ALL), fresh.root());
}

#[test]
fn a_region_has_the_hash_of_its_keys_alone() {
    let keys = Year::new(8, 3).work(2_000);
    let whole: Trie = keys.iter().copied().collect();
    for length in 0..=92 {
        let region = Prefix::of(&keys[700], length);
        let inside: Trie = keys.iter().filter(|key| region.contains(key)).copied().collect();
        assert_eq!(whole.digest(&region), inside.digest(&Prefix::ALL));
    }
}

#[test]
fn keys_under_a_prefix_are_those_of_the_sorted_set() {
    let mut seeded = Seeded(9);
    let model: BTreeSet<Key> = (0..700).map(|_| crowded(&mut seeded)).collect();
    let trie = rebuilt(&model);
    for _ in 0..300 {
        let key = crowded(&mut seeded);
        let prefix = &key.as_bytes()[..seeded.below(47)];
        let expected = model.iter().filter(|key| key.as_bytes().starts_with(prefix));
        assert!(trie.iter_prefix(prefix).eq(expected));
        assert_eq!(trie.contains(&key), model.contains(&key));
    }
}

#[test]
fn arrivals_are_the_last_inserted_keys_that_are_still_there() {
    let keys = Year::new(2, 1).work(100);
    let mut trie: Trie = keys.iter().copied().collect();
    trie.remove(&keys[99]);
    let arrivals: Vec<Key> = trie.arrivals().copied().collect();
    let expected: Vec<Key> = keys[36..99].iter().rev().copied().collect();
    assert_eq!(arrivals, expected);
}

#[test]
fn a_key_gives_back_its_parts() {
    let key = Key::new([1; 8], 1_700_000_000_123, [2; 32]);
    assert_eq!((key.scope(), key.millis(), key.id()), ([1; 8], 1_700_000_000_123, [2; 32]));
    assert_eq!(Key::from_bytes(*key.as_bytes()), key);
    assert_eq!(Key::new([1; 8], u64::MAX, [2; 32]).millis(), (1 << 48) - 1);
}
