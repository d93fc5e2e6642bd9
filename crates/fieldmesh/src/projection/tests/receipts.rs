//! Which receipts stay when their store is not believed any more.

use fieldmesh_batch::Receipt;
use fieldmesh_model::StoreId;

use super::*;

#[test]
fn what_a_doubted_relay_signed_stays_to_convict_it_after_a_restart() {
    let crew = Crew::new();
    let (device, store) = (crew.keys[1].device(), StoreId::from_bytes([3; 16]));
    let receipt = |epoch: u64, step: usize| {
        let receipt = Receipt::new(crew.tenant, device, (store, epoch), at(step), [[7; 46]]);
        receipt.signed(crew.keys[1].signing_key())
    };
    let fact = |receipt: &Receipt| Entry::Fact(Fact::Receipt(receipt.encode()));
    let stage = Stage::new();
    let until = at(2);
    let doubted = Fact::Doubted { device, store, epoch: 2, until };
    let receipts = [receipt(1, 0), receipt(2, 1), receipt(2, 3)];
    stage.project(&crew, &receipts.each_ref().map(fact));
    stage.project(&crew, &[Entry::Fact(doubted)]);
    let range = KeyRange::prefix(rows::RECEIPT_PREFIX);
    let rows = rows::scan(stage.store.view(), Tree::Meta, range, Direction::Ascending);
    let kept: Vec<Receipt> = rows.map(|row| Receipt::decode(&row.unwrap().1).unwrap()).collect();
    assert_eq!(kept, receipts[1..], "only what an earlier epoch said is dropped");
}
