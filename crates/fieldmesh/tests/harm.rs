//! What goes wrong in a day, and what must not be lost by it.
//!
//! Each test is named after what somebody would have lost.
#![allow(clippy::unwrap_used, reason = "a test that cannot set up its scene has failed")]

use std::io::Write as _;
use std::time::Duration;

use fieldmesh::api::{Class, Finding, ImportOptions, InviteOptions, SyncOptions};
use fieldmesh::{Node, TenantOptions};
use fieldmesh_model::Role;

async fn tenant(home: std::path::PathBuf) -> Node {
    let options = TenantOptions { name: "Gulf Crew".into(), ..TenantOptions::default() };
    Node::builder(home).passphrase("one").create_tenant(options).await.unwrap().0
}

async fn join(invitation: &str, home: std::path::PathBuf) -> Node {
    Node::builder(home).passphrase("two").join(invitation, None).await.unwrap().0
}

fn invite(count: u32) -> InviteOptions {
    let valid = Duration::from_secs(600);
    InviteOptions { role: Role::Operator, user: None, valid, count }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_before_the_damage_of_an_import_file_reach_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let lead = tenant(folder.path().join("lead")).await;
    let address = lead.listen(Some(([127, 0, 0, 1], 0).into())).await.unwrap().to_string();
    let invited = lead.invite(invite(1)).await.unwrap();
    let hand = join(&invited[0].invitation, folder.path().join("hand")).await;

    let mut file = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writeln!(file, "name,apiNumber,status").unwrap();
    for number in 0..3_000 {
        writeln!(file, "Alder {number},42-227-{number:05},ACTIVE").unwrap();
    }
    let mut bytes = file.finish().unwrap();
    bytes.truncate(bytes.len() * 2 / 3);
    let options = ImportOptions { collection: Some("well".into()), ..ImportOptions::default() };
    let failed = lead.import(std::io::Cursor::new(bytes), options, |_| {}).await.unwrap_err();
    assert_eq!(failed.problem().class, Class::Invalid);

    let wells = lead.status().await.unwrap().records["well"];
    assert!(wells > 500, "only {wells} rows came before the damage");
    let with = vec![address];
    let options = SyncOptions { with, mdns: false, ..SyncOptions::default() };
    hand.sync(options, |_| {}).await.unwrap();
    assert_eq!(hand.status().await.unwrap().records["well"], wells);
    hand.shutdown().await.unwrap();
    lead.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_invited_at_once_do_not_become_one() {
    let folder = tempfile::tempdir().unwrap();
    let lead = tenant(folder.path().join("lead")).await;
    lead.listen(Some(([127, 0, 0, 1], 0).into())).await.unwrap();
    let invited = lead.invite(invite(2)).await.unwrap();
    assert_eq!(invited.len(), 2);
    let mut users = Vec::new();
    for (name, invitation) in ["ana", "ben"].into_iter().zip(&invited) {
        let node = join(&invitation.invitation, folder.path().join(name)).await;
        users.push(node.user());
        node.shutdown().await.unwrap();
    }
    assert_ne!(users[0], users[1]);
    lead.shutdown().await.unwrap();
}

/// Removes a file of a home and its second copy.
fn remove_both(home: &std::path::Path, name: &str) {
    std::fs::remove_file(home.join(name)).unwrap();
    std::fs::remove_file(home.join(format!("{name}.copy"))).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_whose_profile_or_identity_is_damaged_or_lost_stays_who_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("lead");
    tenant(home.clone()).await.shutdown().await.unwrap();
    for name in ["profile", "identity", "profile.copy", "identity.copy"] {
        let path = home.join(name);
        let before = std::fs::read(&path).unwrap();
        for at in [Some(0), Some(4), Some(before.len() / 2), Some(before.len() - 1), None] {
            match at {
                Some(at) => {
                    let mut damaged = before.clone();
                    damaged[at] ^= 4;
                    std::fs::write(&path, damaged).unwrap();
                }
                None => std::fs::remove_file(&path).unwrap(),
            }
            assert!(fieldmesh::home::exists(&home));
            let node = Node::builder(&home).passphrase("one").open().await.unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), before, "{name} byte {at:?}");
            let report = node.doctor().await.unwrap();
            // What earlier runs have mended is told beside it.
            let is_new = |it: &&Finding| it.kind == "home-file" && !it.what.contains("found at");
            let told = report.findings.iter().filter(is_new).count();
            // Who never had a copy is told nothing.
            let is_copy = name.ends_with(".copy");
            assert_eq!(told, usize::from(at.is_some() || !is_copy), "{name} byte {at:?}");
            assert!(!report.open, "{report:?}");
            node.shutdown().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_an_older_program_left_behind_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("lead");
    tenant(home.clone()).await.shutdown().await.unwrap();
    let copy = home.join("profile.copy");
    let before = std::fs::read(&copy).unwrap();
    let new = fieldmesh::home::NewSecret::Passphrase("two".into());
    Node::builder(&home).passphrase("one").change_secret(&new).unwrap();
    let after = std::fs::read(&copy).unwrap();
    assert_ne!(before, after, "what the passphrase before opens is gone");
    std::fs::write(&copy, &before).unwrap();
    let refused = Node::builder(&home).passphrase("one").open().await.err().unwrap();
    assert!(matches!(refused, fieldmesh::Error::Locked { .. }), "{refused}");
    Node::builder(&home).passphrase("two").open().await.unwrap().shutdown().await.unwrap();
    assert_eq!(std::fs::read(&copy).unwrap(), after);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_whose_identity_file_is_lost_keeps_its_key_and_its_store() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("lead");
    tenant(home.clone()).await.shutdown().await.unwrap();
    remove_both(&home, "identity");
    let refused = Node::builder(&home).passphrase("one").open().await.err().unwrap();
    assert_eq!(refused.problem().class, Class::Store);
    assert!(refused.to_string().contains("identity"), "{refused}");

    tenant(home.clone()).await.shutdown().await.unwrap();
    let aside = std::fs::read_dir(&home)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap().to_string_lossy().starts_with("unfinished-"))
        .unwrap();
    assert!(aside.join("profile").is_file() && aside.join("store").is_dir());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_whose_profile_is_lost_is_not_taken_for_none() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("lead");
    tenant(home.clone()).await.shutdown().await.unwrap();
    let (profile, kept) = (home.join("profile"), folder.path().join("profile"));
    std::fs::rename(&profile, &kept).unwrap();
    std::fs::remove_file(home.join("profile.copy")).unwrap();
    let assert_told = |refused: fieldmesh::Error| {
        assert_eq!(refused.class(), Class::Store);
        let words = refused.to_string();
        assert!(
            words.contains("`profile` is missing") && words.contains("restore FILE"),
            "{words}"
        );
    };
    assert_told(Node::builder(&home).passphrase("one").open().await.err().unwrap());
    assert_told(fieldmesh::home::needs_passphrase(&home).unwrap_err());
    // What would open again with that file does not go out of sight.
    let options = TenantOptions { name: "Other".into(), ..TenantOptions::default() };
    let made = Node::builder(&home).passphrase("one").create_tenant(options).await;
    assert_told(made.err().unwrap());
    std::fs::rename(&kept, &profile).unwrap();
    Node::builder(&home).passphrase("one").open().await.unwrap().shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_with_a_damaged_policy_item_still_opens_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("lead");
    let lead = tenant(home.clone()).await;
    lead.listen(Some(([127, 0, 0, 1], 0).into())).await.unwrap();
    lead.shutdown().await.unwrap();
    let log = home.join("store").join("log");
    let mut segments: Vec<_> =
        std::fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.sort();
    let mut bytes = std::fs::read(&segments[0]).unwrap();
    // The first entry is the item that the tenant begins with.
    let first = 4_176 + 60;
    bytes[first] ^= 1;
    std::fs::write(&segments[0], bytes).unwrap();
    let node = Node::builder(&home).passphrase("one").open().await.unwrap();
    node.verify().await.unwrap();
    let report = node.doctor().await.unwrap();
    assert!(!report.findings.is_empty());
    node.shutdown().await.unwrap();
}
