//! Who may have a document erased everywhere, and what purges add up to.

use super::*;
use crate::{LEAVES_PER_ITEM_MAX, Purge, REASON_LENGTH_MAX};

const DOCUMENT: DocumentId = DocumentId::from_bytes([6; 16]);

fn purge(leaves: &[u8], at: i64, reason: &str) -> Statement {
    Statement::Purge(Box::new(Purge {
        document: DOCUMENT,
        leaves: leaves.iter().map(|byte| [*byte; 32]).collect(),
        at: Moment::from_millis(at),
        reason: reason.into(),
    }))
}

fn reason(policy: &Policy) -> Option<&str> {
    policy.purged(&DOCUMENT).map(|purged| purged.reason.as_str())
}

fn assert_same_in_every_order(crew: &Crew) {
    let expected = crew.policy();
    for seed in 1..=100_u64 {
        let mut items = crew.items.clone();
        let mut state = seed;
        for at in (1..items.len()).rev() {
            items.swap(at, draw(&mut state) % (at + 1));
        }
        assert_eq!(Policy::evaluate(crew.tenant, &items), expected, "seed {seed}");
    }
}

#[test]
fn only_an_administrator_has_a_record_erased() {
    let mut crew = Crew::new();
    let authority = crew.authority.clone();
    let [admin, lead, operator, stranger] = [10, 11, 12, 13].map(device);
    crew.authorise(&admin, Role::Admin);
    crew.say(&authority, &issuer(&lead));
    crew.certify(&admin, &operator, Role::Operator);
    for signer in [&lead, &operator, &stranger] {
        let item = crew.say(signer, &purge(&[1], 5, ""));
        let policy = crew.policy();
        assert!(!policy.counts(&item), "{signer:?}");
        assert!(!policy.is_purged(&DOCUMENT) && !policy.is_purged_leaf(&[1; 32]));
    }
    let item = crew.say(&admin, &purge(&[2], 5, "asked for"));
    let policy = crew.policy();
    assert!(policy.counts(&item) && policy.is_purged(&DOCUMENT));
    assert!(policy.is_purged_leaf(&[2; 32]) && !policy.is_purged_leaf(&[1; 32]));
    assert!(!policy.is_purged(&DocumentId::from_bytes([7; 16])));
    let purged = policy.purged(&DOCUMENT).unwrap();
    assert_eq!((purged.by, purged.at), (admin.public_key(), Moment::from_millis(5)));
    assert_eq!(purged.reason, "asked for");
    assert!(policy.purged_documents().eq([DOCUMENT]));
}

#[test]
fn a_purge_signed_after_its_signer_was_revoked_erases_nothing() {
    let mut crew = Crew::new();
    let authority = crew.authority.clone();
    let admin = device(10);
    crew.authorise(&admin, Role::Admin);
    crew.say(&admin, &purge(&[1], 5, "within"));
    let revocation = Revocation {
        device: admin.device(),
        version: 1,
        heads: BTreeSet::new(),
        items: crew.policy().head(&admin.public_key()),
        remaining: None,
        wipe: false,
        reason: String::new(),
    };
    crew.say(&authority, &Statement::Revocation(Box::new(revocation)));
    crew.say(&admin, &purge(&[2], 4, "beyond"));
    let policy = crew.policy();
    assert!(policy.is_purged_leaf(&[1; 32]) && !policy.is_purged_leaf(&[2; 32]));
    assert_eq!(reason(&policy), Some("within"));
    // Whoever hears of the revocation before the purges, or after them, comes to the same.
    assert_same_in_every_order(&crew);
    // An administrator in force who repeats it makes lawful what others may have erased already.
    crew.say(&authority, &purge(&[2], 9, "repeated"));
    assert!(crew.policy().is_purged_leaf(&[2; 32]));
}

#[test]
fn purges_of_one_record_add_up_in_every_order() {
    let mut crew = Crew::new();
    let authority = crew.authority.clone();
    let [one, two] = [10, 11].map(device);
    crew.authorise(&one, Role::Admin);
    crew.authorise(&two, Role::Admin);
    crew.say(&one, &purge(&[1, 2], 9, "later"));
    crew.say(&two, &purge(&[3], 5, "first"));
    crew.say(&one, &purge(&[4], 7, "between"));
    let expected = crew.policy();
    assert!((1..=4).all(|byte| expected.is_purged_leaf(&[byte; 32])));
    assert_eq!(reason(&expected), Some("first"));
    assert_same_in_every_order(&crew);
    crew.say(&authority, &purge(&[], 99, "the authority's word"));
    assert_eq!(reason(&crew.policy()), Some("the authority's word"));
}

#[test]
fn the_bytes_of_a_purge_never_change() {
    let statement = purge(&[8, 7], 300, "lost");
    let (document, leaves) = ("06".repeat(16), ["07".repeat(32), "08".repeat(32)].concat());
    // 300 in zigzag, then the length of the reason.
    let expected = format!("10{document}02{leaves}d804046c6f7374");
    assert_eq!(statement.kind(), 7);
    assert_eq!(data_encoding::HEXLOWER.encode(&statement.body()), expected);
    assert_eq!(Statement::read(7, &statement.body()), statement);
}

#[test]
fn a_purge_at_its_limits_can_be_signed_and_beyond_them_not() {
    let admin = device(10);
    let sign = |leaves: usize, letters: usize| {
        let leaf = |number: usize| {
            let mut leaf = [0xff; 32];
            leaf[..8].copy_from_slice(&number.to_be_bytes());
            leaf
        };
        let statement = Statement::Purge(Box::new(Purge {
            document: DOCUMENT,
            leaves: (0..leaves).map(leaf).collect(),
            at: Moment::from_millis(i64::MAX),
            reason: "\u{1f6e2}".repeat(letters),
        }));
        Item::sign(&admin, TenantId::default(), ItemPlace::FIRST, &statement)
    };
    let item = sign(LEAVES_PER_ITEM_MAX, REASON_LENGTH_MAX).unwrap();
    assert!(matches!(Item::decode(item.encode()).unwrap().statement(), Statement::Purge(_)));
    assert!(sign(LEAVES_PER_ITEM_MAX + 1, 0).is_err());
    assert!(sign(0, REASON_LENGTH_MAX + 1).is_err());
}
