//! A long batch over links that break: what has come is not sent again.

use super::crew::{Crew, noise};

#[test]
fn a_long_batch_that_is_cut_again_and_again_goes_on_where_it_stopped() {
    let (mut crew, _) = Crew::new(2);
    let change = noise(fieldmesh_model::limits::CHANGE_SIZE_MAX);
    crew.seal(0, &change);
    crew.chunk = 1_000;
    let mut cuts = 0;
    loop {
        let (link, _) = crew.connect(0, 1);
        let is_over = crew.run_for(200);
        if is_over && crew.nodes[1].replica.len() == 1 {
            break;
        }
        crew.cut(0, link);
        cuts += 1;
        assert!(cuts < 20, "it does not end");
    }
    assert!(cuts >= 2);
    let sent = crew.delivered[1];
    assert!(sent <= change.len() + cuts * 64 * 1024 + 8_192, "{sent} bytes after {cuts} cuts");
}
