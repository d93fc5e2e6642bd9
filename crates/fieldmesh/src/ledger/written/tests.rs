//! What is taken within a quota is a whole request, or nothing of it.

use fieldmesh_model::{DocumentId, Edit, Value};

use crate::api::NewRecord;
use crate::gateway::Access;
use crate::{Error, Node, TenantOptions, clock};

/// An edit with so much text, which no compression makes small.
fn telling(length: usize) -> Vec<Edit> {
    let mut state: u32 = 7;
    let mut letter = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'a' + u8::try_from((state >> 24) % 26).unwrap_or(0))
    };
    let text = (0..length).map(|_| letter()).collect();
    vec![Edit::Set { key: "operator".into(), value: Value::Text(text) }]
}

/// Two edits of one record in one request, of which the second builds on the first.
fn edit_twice(access: &Access, well: DocumentId) -> Result<(), Error> {
    let mut write = access.write()?;
    write.edit(well, None, &telling(60_000), clock::now(), "ann")?;
    write.edit(well, None, &telling(3), clock::now(), "ann")?;
    write.finish().map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_taken_whole_or_not_at_all_whatever_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
    let builder = Node::builder(folder.path().join("office")).passphrase("one");
    let (node, _) = builder.create_tenant(options).await.unwrap();
    let assignments = ["name=Alder 1", "apiNumber=42-227-30001", "status=ACTIVE"];
    let assignments = assignments.iter().map(|text| (*text).to_owned()).collect();
    let new = NewRecord { collection: "well".into(), assignments, ..NewRecord::default() };
    let well = node.record(new).await.unwrap().id;
    tokio::task::block_in_place(|| {
        let access = Access::new(&node);
        let quota = node.ledger().store.quota();
        // The first edit has no room, the second would have it.
        quota.measured(0);
        quota.grant(Some(1_000));
        edit_twice(&access, well).unwrap();
        let version = || access.write().unwrap().held(well).unwrap().unwrap().version;
        assert_eq!(version(), 3);

        let refused = edit_twice(&access, well).unwrap_err();
        assert!(matches!(refused, Error::Full { .. }), "{refused:?}");
        let mut write = access.write().unwrap();
        write.note(b"what people write".to_vec(), Some(vec![1]));
        assert!(matches!(write.finish(), Err(Error::Full { .. })));
        let mut write = access.write().unwrap();
        write.note_standing(b"who reads".to_vec(), vec![1]);
        write.note(b"what people wrote".to_vec(), None);
        write.mark();
        assert!(write.finish().unwrap().is_some());

        quota.grant(None);
        edit_twice(&access, well).unwrap();
        assert_eq!(version(), 5);
    });
}
