//! What a backup gives back, and what it does not do to the device that it is of.

use std::path::PathBuf;

use fieldmesh::api::{BackupOptions, BackupReport};
use fieldmesh::home::NewSecret;
use fieldmesh::{Error, Node};
use fieldmesh_model::Role;

use super::{Crew, count, entry, export, reopen, sync, well};

async fn backup(
    crew: &Crew,
    node: &Node,
    name: &str,
    since: Option<&str>,
) -> Result<BackupReport, Error> {
    let options =
        BackupOptions { file: crew.home(name), since: since.map(|since| crew.home(since)) };
    node.backup(options, |_| {}).await
}

async fn restore(crew: &Crew, home: &str, files: &[&str]) -> Result<(), Error> {
    let files: Vec<PathBuf> = files.iter().map(|file| crew.home(file)).collect();
    let builder = Node::builder(crew.home(home)).passphrase("two");
    builder.restore(files, |_| {}).await.map(drop)
}

async fn entries(node: &Node, hours: std::ops::Range<u32>) {
    for hour in hours {
        entry(node, "Alder 1", &format!("2026-03-01T{hour:02}:00:00Z")).await;
    }
}

async fn assert_whole(node: &Node) {
    let report = node.verify().await.unwrap();
    assert!(report.clean, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_tablet_is_made_again_from_its_backups() {
    let crew = Crew::new().await;
    well(&crew.lead, "Alder 1").await;
    let hand = crew.device("hand", Role::Operator).await;
    sync(&hand, &crew.address).await;
    entries(&hand, 0..3).await;
    let whole = backup(&crew, &hand, "whole", None).await.unwrap();
    assert!(whole.is_whole && whole.bytes > 0 && whole.unreadable == 0, "{whole:?}");
    entries(&hand, 3..5).await;
    let more = backup(&crew, &hand, "more", Some("whole")).await.unwrap();
    assert!(!more.is_whole && more.entries < whole.entries, "{more:?}");
    let nothing = backup(&crew, &hand, "nothing", Some("more")).await.unwrap();
    entries(&hand, 5..7).await;
    backup(&crew, &hand, "last", Some("nothing")).await.unwrap();
    assert!(nothing.entries <= 2, "{nothing:?}");
    let expected = (export(&hand, "well").await, export(&hand, "field_entry").await);
    hand.shutdown().await.unwrap();
    std::fs::remove_dir_all(crew.home("hand")).unwrap();

    restore(&crew, "hand", &["whole", "more", "nothing", "last"]).await.unwrap();
    let hand = reopen(&crew.home("hand")).await.unwrap();
    assert_eq!((export(&hand, "well").await, export(&hand, "field_entry").await), expected);
    assert_whole(&hand).await;
    let told = hand.doctor().await.unwrap();
    let told = told.findings.iter().find(|finding| finding.kind == "epochs").unwrap();
    assert_eq!(told.what, "this home was made of a backup, or of what was left of its log");
    // It is the same device: what it writes now is accepted, and nothing of it is refused.
    entries(&hand, 7..8).await;
    sync(&hand, &crew.address).await;
    assert_eq!(count(&crew.lead, "field_entry").await, 8);
    assert_eq!(export(&hand, "field_entry").await, export(&crew.lead, "field_entry").await);
    assert_whole(&crew.lead).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_not_made_a_home_among_other_files() {
    let crew = Crew::new().await;
    backup(&crew, &crew.lead, "whole", None).await.unwrap();
    let files = vec![crew.home("whole")];
    let restore = async |home: &str| {
        let builder = Node::builder(crew.home(home)).passphrase("one");
        builder.restore(files.clone(), |_| {}).await
    };
    std::fs::create_dir(crew.home("letters")).unwrap();
    std::fs::write(crew.home("letters/july.txt"), "Dear all").unwrap();
    let refused = restore("letters").await.unwrap_err().to_string();
    assert!(refused.contains("july.txt") && refused.contains("--home"), "{refused}");
    assert_eq!(std::fs::read_dir(crew.home("letters")).unwrap().count(), 1);
    // What an attempt has left that was broken off is in nobody's way.
    std::fs::create_dir_all(crew.home("empty/unfinished-00000000")).unwrap();
    std::fs::create_dir_all(crew.home("empty/store")).unwrap();
    restore("empty").await.unwrap();
    restore("new").await.unwrap();
    crew.lead.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_backup_beside_the_running_device_loses_nothing_of_either() {
    let crew = Crew::new().await;
    well(&crew.lead, "Alder 1").await;
    let hand = crew.device("hand", Role::Operator).await;
    sync(&hand, &crew.address).await;
    entries(&hand, 0..2).await;
    backup(&crew, &hand, "old", None).await.unwrap();
    entries(&hand, 2..4).await;
    sync(&hand, &crew.address).await;

    for home in ["again", "and again"] {
        restore(&crew, home, &["old"]).await.unwrap();
    }
    let again = reopen(&crew.home("again")).await.unwrap();
    let third = reopen(&crew.home("and again")).await.unwrap();
    entries(&again, 4..6).await;
    entries(&third, 6..8).await;
    entries(&hand, 8..10).await;
    for _ in 0..2 {
        for node in [&again, &hand, &third] {
            sync(node, &crew.address).await;
        }
    }
    assert_eq!(count(&crew.lead, "field_entry").await, 10);
    for node in [&again, &hand, &third] {
        assert_eq!(export(node, "field_entry").await, export(&crew.lead, "field_entry").await);
        assert_whole(node).await;
    }
    // Beside the one that it was made of a restored home has nothing to do.
    let found = again.doctor().await.unwrap().findings;
    let twice = found.iter().find(|it| it.kind == "runs-twice").unwrap();
    assert!(!twice.open && twice.next.is_empty(), "{twice:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_is_not_whole_makes_no_home() {
    let crew = Crew::new().await;
    let hand = crew.device("hand", Role::Operator).await;
    backup(&crew, &hand, "one", None).await.unwrap();
    backup(&crew, &hand, "two", Some("one")).await.unwrap();
    backup(&crew, &hand, "three", Some("two")).await.unwrap();
    backup(&crew, &crew.lead, "other", None).await.unwrap();
    let refused = async |files: &[&str]| {
        let error = restore(&crew, "new", files).await.unwrap_err().to_string();
        assert!(!crew.home("new").exists(), "{files:?}");
        error
    };
    assert!(refused(&["two"]).await.contains("goes on from another backup"));
    let gap = refused(&["one", "three"]).await;
    assert!(gap.contains("in the order they were made"), "{gap}");
    assert!(refused(&["one", "one"]).await.contains("whole by itself"));
    assert!(refused(&[]).await.contains("at least one"));
    let locked = refused(&["other"]).await;
    assert!(locked.contains("passphrase"), "{locked}");

    let bytes = std::fs::read(crew.home("one")).unwrap();
    std::fs::write(crew.home("cut"), &bytes[..bytes.len() / 2]).unwrap();
    assert!(refused(&["cut"]).await.contains("not whole"));
    let mut flipped = bytes.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    std::fs::write(crew.home("flipped"), flipped).unwrap();
    let damaged = refused(&["flipped"]).await;
    assert!(damaged.contains("damaged") && damaged.contains("another copy"), "{damaged}");

    let exists = backup(&crew, &hand, "one", None).await.unwrap_err().to_string();
    assert!(exists.contains("exists already"), "{exists}");
    assert_eq!(std::fs::read(crew.home("one")).unwrap(), bytes);
    let foreign = backup(&crew, &hand, "four", Some("other")).await.unwrap_err().to_string();
    assert!(foreign.contains("another key"), "{foreign}");
    assert!(!crew.home("four").exists() && !crew.home("four.part").exists());

    // One that was restored goes on from none of those before.
    hand.shutdown().await.unwrap();
    restore(&crew, "new", &["one", "two", "three"]).await.unwrap();
    let new = reopen(&crew.home("new")).await.unwrap();
    assert!(backup(&crew, &new, "four", Some("three")).await.is_err());
    backup(&crew, &new, "four", None).await.unwrap();
    let occupied = restore(&crew, "new", &["four"]).await.unwrap_err();
    assert!(matches!(occupied, Error::HomeExists { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_goes_on_over_a_change_of_passphrase_and_either_opens_all_of_it() {
    let crew = Crew::new().await;
    well(&crew.lead, "Alder 1").await;
    let hand = crew.device("hand", Role::Operator).await;
    sync(&hand, &crew.address).await;
    backup(&crew, &hand, "whole", None).await.unwrap();
    hand.shutdown().await.unwrap();
    let builder = Node::builder(crew.home("hand")).passphrase("two");
    builder.change_secret(&NewSecret::Passphrase("three".into())).unwrap();
    let hand = Node::builder(crew.home("hand")).passphrase("three").open().await.unwrap();
    entries(&hand, 0..2).await;
    backup(&crew, &hand, "more", Some("whole")).await.unwrap();

    for passphrase in ["two", "three"] {
        let home = crew.home(passphrase);
        let files = vec![crew.home("whole"), crew.home("more")];
        let builder = Node::builder(&home).passphrase(passphrase);
        builder.restore(files, |_| {}).await.unwrap();
        let restored = Node::builder(home).passphrase(passphrase).open().await.unwrap();
        assert_eq!(count(&restored, "field_entry").await, 2);
        restored.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_put_back_from_a_copy_goes_on_from_no_backup_of_what_it_was() {
    let crew = Crew::new().await;
    well(&crew.lead, "Alder 1").await;
    let hand = crew.device("hand", Role::Operator).await;
    sync(&hand, &crew.address).await;
    hand.shutdown().await.unwrap();
    let copy = |from: &str, to: &str| {
        let copied = std::process::Command::new("cp")
            .args(["-r".into(), crew.home(from), crew.home(to)])
            .status();
        assert!(copied.unwrap().success());
    };
    copy("hand", "copy");
    let hand = reopen(&crew.home("hand")).await.unwrap();
    entries(&hand, 0..3).await;
    backup(&crew, &hand, "base", None).await.unwrap();
    hand.shutdown().await.unwrap();
    std::fs::remove_dir_all(crew.home("hand")).unwrap();
    copy("copy", "hand");
    let hand = reopen(&crew.home("hand")).await.unwrap();
    entries(&hand, 3..10).await;
    let refused = backup(&crew, &hand, "more", Some("base")).await.unwrap_err().to_string();
    assert!(refused.contains("leave --since out"), "{refused}");
    backup(&crew, &hand, "more", None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_that_was_used_after_the_backup_lets_nobody_in_once_more() {
    let crew = Crew::new().await;
    let invitation = crew.invite(Role::Admin, None).await;
    backup(&crew, &crew.lead, "office backup", None).await.unwrap();
    let join = async |name: &str| {
        let builder = Node::builder(crew.home(name)).passphrase("two");
        builder.join(&invitation, Some(name.into())).await
    };
    join("hand").await.unwrap().0.shutdown().await.unwrap();
    crew.lead.clone().shutdown().await.unwrap();
    let again = || Node::builder(crew.home("again")).passphrase("one");
    again().restore(vec![crew.home("office backup")], |_| {}).await.unwrap();
    let again = again().open().await.unwrap();
    again.listen(Some(crew.address.parse().unwrap())).await.unwrap();
    assert!(join("whoever saw the code").await.is_err());
    again.shutdown().await.unwrap();
}
