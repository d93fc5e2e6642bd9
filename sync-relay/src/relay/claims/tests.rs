//! What becomes of a tenant that was joined by a claim when something comes between.

use std::fs;
use std::path::PathBuf;

use fieldmesh::TenantOptions;
use fieldmesh::api::InviteOptions;

use super::*;
use crate::data::DataFolder;
use crate::relay::Quotas;

/// A relay without a port, and the device that made a tenant.
struct Stand {
    folder: tempfile::TempDir,
    relay: Relay,
    office: Node,
}

impl Stand {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = DataFolder::take(&folder.path().join("data")).unwrap();
        let relay = Relay::open(data, None, 1, BTreeMap::new(), Quotas::default()).await.unwrap();
        let options = TenantOptions { name: "Gulf Crew".into(), ..TenantOptions::default() };
        let builder = Node::builder(folder.path().join("office")).passphrase("one");
        let (office, _) = builder.create_tenant(options).await.unwrap();
        office.listen(Some(([127, 0, 0, 1], 0).into())).await.unwrap();
        Self { folder, relay, office }
    }

    /// What is in the folder of the tenants.
    fn homes(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.path().join("data/tenants")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// A claim that the tenant has begun with.
    fn begun(&self, byte: u8) -> (ClaimId, Seed) {
        let secret = ClaimSecret::from_bytes([byte; 16]);
        let (now, tenant) = (accounts::now(), self.office.tenant().tenant);
        let begin = |book: &mut ClaimBook| {
            book.issue(&secret, Role::Relay, now, now.plus_millis(600_000)).unwrap();
            book.take(now, &secret, tenant, Seed::from_bytes([byte; 32])).unwrap()
        };
        match self.relay.inner.claims.change(begin).unwrap() {
            Taken::Join(seed) => (secret.id(), seed),
            Taken::Again => panic!("it is a new claim"),
        }
    }

    /// Joins with `role` and takes the tenant in by a claim for a relay that only forwards; gives
    /// what is told where that is refused.
    async fn take_in(&self, role: Role, claim: &ClaimId, seed: &Seed) -> Result<(), String> {
        let valid = Duration::from_secs(600);
        let options = InviteOptions { role, user: None, valid, count: 1 };
        let invitation = self.office.invite(options).await.unwrap().remove(0).invitation;
        let home = self.relay.inner.data.new_home();
        let builder = self.relay.inner.tenants.builder(&home);
        let (node, _) = Box::pin(builder.join(&invitation, None)).await.unwrap();
        let taken_in = self.relay.take_in(&home, node, (claim, Role::Relay), seed).await;
        taken_in.map_err(|failure| match failure {
            Failure::Refused(refusal) => refusal.to_string(),
            Failure::Broken(problem) => problem.detail,
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_taken_in_whole_or_nothing_of_it_is_left() {
    let stand = Stand::new().await;
    let (claim, seed) = stand.begun(5);
    let gateway = stand.take_in(Role::Gateway, &claim, &seed).await.unwrap_err();
    assert!(gateway.contains("cannot use what this device offers"), "{gateway}");
    assert_eq!(stand.homes(), Vec::<PathBuf>::new());

    let (revoked, its_seed) = stand.begun(6);
    let told = stand.relay.revoke_claim(&revoked.to_string()).await.unwrap();
    assert_eq!((told.state.as_str(), told.is_served), ("begun", false));
    let refused = stand.take_in(Role::Relay, &revoked, &its_seed).await.unwrap_err();
    assert!(refused.contains("no such claim"), "{refused}");
    assert_eq!(stand.homes(), Vec::<PathBuf>::new());

    let place = stand.folder.path().join("data/tenants").join(stand.office.tenant().tenant.short());
    fs::write(&place, "in the way").unwrap();
    let broken = stand.take_in(Role::Relay, &claim, &seed).await.unwrap_err();
    assert!(broken.contains("is in the way"), "{broken}");
    assert_eq!(stand.homes(), std::slice::from_ref(&place));
    fs::remove_file(&place).unwrap();

    stand.take_in(Role::Relay, &claim, &seed).await.unwrap();
    assert_eq!(stand.homes(), [place]);
    assert!(stand.relay.inner.tenants.contains(&stand.office.tenant().tenant));
    stand.relay.shutdown().await.unwrap();
    stand.office.shutdown().await.unwrap();
}
