//! Whether a relay is taken in by its claim whatever breaks off on the way, and by nothing else.
//!
//! Real nodes in one process over loopback; the relay's side decides by a book in memory.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use fieldmesh_identity::{ClaimBook, ClaimDesk, ClaimSecret, Taken};
use fieldmesh_model::{Moment, TenantId};

use super::*;
use crate::api::{Class, RelayOptions};
use crate::{Listener, TenantOptions};

/// Where the relay breaks off.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Break {
    Never,
    /// Before it has joined.
    Early,
    /// After the other side has taken it in, before its home is made.
    InTheMiddle,
    /// After its home is made, before it says so.
    Late,
}

/// A relay that serves claims.
struct Stand {
    folder: tempfile::TempDir,
    listener: Listener,
    book: Arc<Mutex<ClaimBook>>,
    /// What it has joined.
    nodes: Arc<Mutex<Vec<Node>>>,
}

impl Stand {
    /// One whose first calls break off as said, one after the other.
    async fn new(breaks: &'static [Break]) -> Self {
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let book = Arc::new(Mutex::new(ClaimBook::new(&Seed::from_bytes([9; 32]))));
        let stand =
            Self { folder: tempfile::tempdir().unwrap(), listener, book, nodes: Arc::default() };
        let (book, nodes) = (Arc::clone(&stand.book), Arc::clone(&stand.nodes));
        let (home, calls) = (stand.folder.path().to_owned(), Arc::new(AtomicUsize::new(0)));
        let handler = move |call: ClaimCall| {
            let number = calls.fetch_add(1, Ordering::Relaxed);
            let broken = breaks.get(number).copied().unwrap_or(Break::Never);
            let (book, nodes) = (Arc::clone(&book), Arc::clone(&nodes));
            let home = home.join(number.to_string());
            let work = async move { answer(call, broken, &book, &nodes, home).await };
            Box::pin(work) as Pin<Box<dyn Future<Output = ()> + Send>>
        };
        let desk = ClaimDesk::new(&stand.book.lock().unwrap().key()).unwrap();
        stand.listener.serve_claims(&desk, Arc::new(handler)).unwrap();
        stand
    }

    fn claim(&self, byte: u8) -> Claim {
        self.claim_for(byte, Role::Relay)
    }

    fn claim_for(&self, byte: u8, role: Role) -> Claim {
        let mut book = self.book.lock().unwrap();
        let secret = ClaimSecret::from_bytes([byte; 16]);
        let expires = clock::now().plus_millis(OFFER_MILLIS);
        book.issue(&secret, role, clock::now(), expires).unwrap();
        let relay = ClaimDesk::new(&book.key()).unwrap().authority;
        let addresses = vec![self.listener.local_addr().unwrap().to_string()];
        Claim { relay, secret, expires, addresses, role }
    }

    async fn end(self) {
        let nodes: Vec<Node> = self.nodes.lock().unwrap().drain(..).collect();
        for node in nodes {
            node.shutdown().await.unwrap();
        }
        self.listener.close().await;
    }
}

async fn answer(
    mut call: ClaimCall,
    broken: Break,
    book: &Mutex<ClaimBook>,
    nodes: &Mutex<Vec<Node>>,
    home: std::path::PathBuf,
) {
    let offer = call.offer().await.unwrap();
    let invitation: Invitation = offer.invitation.parse().unwrap();
    let tenant: TenantId = invitation.tenant;
    let fresh = Seed::from_bytes(clock::random());
    let taken = book.lock().unwrap().take(clock::now(), &offer.secret, tenant, fresh);
    let known = || {
        let nodes = nodes.lock().unwrap();
        nodes.iter().find(|node| node.tenant().tenant == tenant).map(|node| node.tenant().device)
    };
    let seed = match taken {
        Err(refusal) => return call.finish(ClaimReply::Refused(refusal)).await,
        Ok(Taken::Again) => return call.finish(ClaimReply::Member(known().unwrap())).await,
        Ok(Taken::Join(seed)) => seed,
    };
    if broken == Break::Early {
        return;
    }
    if let Some(device) = known() {
        assert_eq!(device, DeviceKeys::from_seed(&seed).device());
        return call.finish(ClaimReply::Member(device)).await;
    }
    if broken == Break::InTheMiddle {
        // A home in the way is found out only when the grant is there.
        std::fs::write(&home, "in the way").unwrap();
    }
    let builder = Node::builder(home).passphrase("one").forward_only();
    let Ok(node) = call.join(builder, &invitation, &seed).await else {
        assert!(broken == Break::InTheMiddle);
        return;
    };
    let device = node.tenant().device;
    nodes.lock().unwrap().push(node);
    if broken == Break::Late {
        return;
    }
    book.lock().unwrap().used(&offer.secret.id(), tenant);
    call.finish(ClaimReply::Member(device)).await;
}

async fn office(folder: &std::path::Path, name: &str) -> Node {
    let options = TenantOptions { name: name.into(), ..TenantOptions::default() };
    let builder = Node::builder(folder.join(name)).passphrase("one");
    let node = builder.create_tenant(options).await.unwrap().0;
    node.listen(Some(([127, 0, 0, 1], 0).into())).await.unwrap();
    node
}

fn relays(node: &Node) -> Vec<DeviceId> {
    let policy = node.inner.ledger.policy();
    let relays = policy.members().filter(|member| member.role.is_relay());
    relays.map(|member| member.device).collect()
}

/// Of each invitation, how many uses are left and how many devices have used it.
async fn invitations(node: &Node) -> Vec<(u32, usize)> {
    let book = node.blocking(enrol::read_book).await.unwrap();
    book.issued().map(|(_, issued)| (issued.uses_left, issued.used_by.len())).collect()
}

#[track_caller]
fn assert_fails<T: std::fmt::Debug>(result: Result<T, Error>, class: Class, words: &str) {
    let problem = result.unwrap_err().problem();
    assert_eq!(problem.class, class, "{problem:?}");
    assert!(problem.detail.contains(words), "{problem:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_breaks_off_anywhere_goes_on_to_one_relay() {
    const BREAKS: &[Break] = &[Break::Early, Break::InTheMiddle, Break::InTheMiddle, Break::Late];
    let folder = tempfile::tempdir().unwrap();
    let stand = Stand::new(BREAKS).await;
    let office = office(folder.path(), "Gulf").await;
    let claim = stand.claim(7);
    for _ in BREAKS {
        let broken = office.claim_relay(&claim.to_text()).await;
        assert_fails(broken, Class::Unreachable, "again with the same claim");
        assert!(office.relay_addresses().await.unwrap().is_empty());
    }
    let options = RelayOptions { address: claim.to_text(), ..RelayOptions::default() };
    let taken = office.add_relay(options).await.unwrap();
    let address = stand.listener.local_addr().unwrap().to_string();
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].address, address);
    assert_eq!(relays(&office), [taken[0].device]);
    assert_eq!(stand.nodes.lock().unwrap().len(), 1);
    // Said once more it changes nothing.
    assert_eq!(office.claim_relay(&claim.to_text()).await.unwrap(), taken);
    // However often it is said, the use of its invitation is gone, to that relay.
    assert_eq!(invitations(&office).await, [(0, 1)]);
    let certificates = office.blocking(|ledger| ledger.policy_items()).await.unwrap();
    let is_certificate = |item: &&fieldmesh_identity::Item| {
        matches!(item.statement(), fieldmesh_identity::Statement::Certificate(_))
    };
    assert_eq!(certificates.iter().filter(is_certificate).count(), 2, "the office and one relay");
    stand.end().await;
    office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_claim_itself_and_only_its_relay_will_do() {
    let folder = tempfile::tempdir().unwrap();
    let stand = Stand::new(&[]).await;
    let (gulf, basin) = (office(folder.path(), "Gulf").await, office(folder.path(), "Basin").await);
    let claim = stand.claim(7);
    let guessed = Claim { secret: ClaimSecret::from_bytes([8; 16]), ..claim.clone() };
    assert_fails(gulf.claim_relay(&guessed.to_text()).await, Class::Refused, "no such claim");
    // Whoever answers must have the key that the claim names.
    let other = ClaimDesk::new(&Seed::from_bytes([1; 32])).unwrap().authority;
    let foreign = Claim { relay: other, ..claim.clone() };
    assert_fails(
        gulf.claim_relay(&foreign.to_text()).await,
        Class::Unreachable,
        "takes this claim",
    );
    let away = Claim { addresses: vec!["127.0.0.1:9".into()], ..claim.clone() };
    assert_fails(gulf.claim_relay(&away.to_text()).await, Class::Unreachable, "sync-relay run");
    let garbled = Claim { addresses: vec!["https://relay".into()], ..claim.clone() };
    assert_fails(gulf.claim_relay(&garbled.to_text()).await, Class::Usage, "is no address");
    let cut = &claim.to_text()[..80];
    assert_fails(gulf.claim_relay(cut).await, Class::Refused, "damaged");
    assert!(relays(&gulf).is_empty());
    gulf.claim_relay(&claim.to_text()).await.unwrap();
    assert_fails(basin.claim_relay(&claim.to_text()).await, Class::Refused, "used already");
    assert_eq!(invitations(&basin).await, []);
    assert!(relays(&basin).is_empty());
    let revoked = stand.claim(5);
    stand.book.lock().unwrap().revoke(&revoked.secret.id());
    assert_fails(basin.claim_relay(&revoked.to_text()).await, Class::Refused, "no such claim");
    let mut late = stand.claim(6);
    let secret = late.secret.clone();
    stand.book.lock().unwrap().revoke(&secret.id());
    let past = Moment::from_millis(1);
    stand.book.lock().unwrap().issue(&secret, Role::Relay, past, clock::now()).unwrap();
    late.expires = past;
    assert_fails(basin.claim_relay(&late.to_text()).await, Class::Refused, "has expired");
    stand.end().await;
    for node in [gulf, basin] {
        node.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_is_taken_in_where_somebody_says_so_and_nothing_else_becomes_one() {
    let folder = tempfile::tempdir().unwrap();
    let stand = Stand::new(&[]).await;
    let office = office(folder.path(), "Gulf").await;
    let (claim, plain) = (stand.claim_for(7, Role::Gateway), stand.claim(5));
    let with = |claim: &Claim, gateway| {
        let options = RelayOptions { address: claim.to_text(), ..RelayOptions::default() };
        RelayOptions { gateway, ..options }
    };
    assert!(with(&claim, false).asks_for_gateway() && !with(&plain, true).asks_for_gateway());
    let unsaid = office.claim_relay(&claim.to_text()).await;
    assert_fails(unsaid, Class::Usage, "reads every record of the tenant");
    let too_much = office.add_relay(with(&plain, true)).await;
    assert_fails(too_much, Class::Usage, "stores and forwards");
    let address = RelayOptions { address: "127.0.0.1:9".into(), ..with(&claim, true) };
    assert_fails(office.add_relay(address).await, Class::Usage, "leave out --gateway");
    assert!(invitations(&office).await.is_empty() && relays(&office).is_empty());
    let taken = office.add_relay(with(&claim, true)).await.unwrap();
    let policy = office.inner.ledger.policy();
    assert_eq!(policy.member(&taken[0].device).unwrap().role, Role::Gateway);
    assert!(stand.nodes.lock().unwrap()[0].is_gateway());
    assert_eq!(office.add_relay(with(&claim, true)).await.unwrap(), taken, "said once more");
    stand.end().await;
    office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_without_the_authority_says_who_has_it_and_dials_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let office = office(folder.path(), "Gulf").await;
    let valid = std::time::Duration::from_secs(600);
    let options = crate::api::InviteOptions { role: Role::Admin, user: None, valid, count: 1 };
    let invitation = office.invite(options).await.unwrap().remove(0).invitation;
    let builder = Node::builder(folder.path().join("second")).passphrase("one");
    let (second, _) = builder.join(&invitation, Some("second".into())).await.unwrap();
    let stand = Stand::new(&[]).await;
    let claim = stand.claim(7);
    let refused = second.claim_relay(&claim.to_text()).await;
    assert_fails(refused, Class::Refused, "does not hold the tenant's authority");
    assert!(stand.nodes.lock().unwrap().is_empty());
    stand.end().await;
    for node in [second, office] {
        node.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_takes_no_address_from_a_relay_in_use_and_names_no_other_relay() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (Stand::new(&[]).await, Stand::new(&[]).await);
    let office = office(folder.path(), "Gulf").await;
    let claim = first.claim(7);
    office.claim_relay(&claim.to_text()).await.unwrap();
    let taken = Claim { addresses: claim.addresses.clone(), ..second.claim(5) };
    let refused = office.claim_relay(&taken.to_text()).await;
    assert_fails(refused, Class::Usage, "fieldmesh relay remove");
    let room = (0..16).map(|port| format!("10.0.0.1:{}", port + 1)).collect();
    let crowded = Claim { addresses: room, ..second.claim(6) };
    assert_fails(office.claim_relay(&crowded.to_text()).await, Class::Usage, "more than 16");
    assert!(second.nodes.lock().unwrap().is_empty(), "nobody was dialled");
    // One that says it is the first relay.
    let other = second.claim(4);
    second.book.lock().unwrap().used(&other.secret.id(), office.tenant().tenant);
    let lent = first.nodes.lock().unwrap().drain(..).collect::<Vec<_>>();
    second.nodes.lock().unwrap().extend(lent);
    let lied = office.claim_relay(&other.to_text()).await;
    assert_fails(lied, Class::Refused, "no relay that was taken in by this claim");
    assert_eq!(office.relay_addresses().await.unwrap().len(), 1);
    // It has the first one's node, whose home goes with the first.
    second.end().await;
    first.end().await;
    office.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_relay_that_was_offered_more_by_an_earlier_line_gets_what_was_said_last() {
    let folder = tempfile::tempdir().unwrap();
    let office = office(folder.path(), "office").await;
    let stand = Stand::new(&[]).await;
    let gateway = stand.claim_for(1, Role::Gateway);
    let relay = Claim { role: Role::Relay, ..gateway.clone() };
    let mut offered = Vec::new();
    for claim in [gateway, relay] {
        let offer = office.blocking(move |ledger| invite_relay(ledger, &claim)).await.unwrap();
        offered.push(offer.secret.invitation());
        let book = office.blocking(enrol::read_book).await.unwrap();
        let open: Vec<_> = book.issued().map(|(id, _)| *id).collect();
        assert_eq!(open, [*offered.last().unwrap()]);
    }
    assert_ne!(offered[0], offered[1]);
    office.shutdown().await.unwrap();
    stand.end().await;
}
