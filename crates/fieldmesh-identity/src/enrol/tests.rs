//! Who may join, with which invitation, and how often.

use super::*;
use crate::{Authority, Genesis, ItemPlace, RecoveryKey, Seed, Statement};

const NOW: Moment = Moment::from_millis(1_000_000);
const LATER: Moment = Moment::from_millis(2_000_000);
const CHANNEL: [u8; 32] = [42; 32];

struct Desk {
    authority: Authority,
    genesis: Item,
    book: InvitationBook,
    invitation: Invitation,
}

impl Desk {
    fn new(uses: u32) -> Self {
        let authority = Authority::from_seed(&Seed::from_bytes([1; 32]));
        let recovery = RecoveryKey::from_seed(&Seed::from_bytes([2; 32])).public_key();
        let genesis =
            Genesis { authority: authority.public_key(), recovery, name: "Gulf Crew".into() };
        let statement = Statement::Genesis(genesis);
        let genesis =
            Item::sign(&authority, TenantId::default(), ItemPlace::FIRST, &statement).unwrap();
        let secret = JoinSecret::from_bytes([3; 16]);
        let mut book = InvitationBook::default();
        let grant = Grant::new(UserId::from_bytes([4; 16]), Role::Operator);
        book.issue(secret.clone(), grant, LATER, uses).unwrap();
        let invitation = Invitation {
            tenant: genesis.tenant(),
            authority: authority.public_key(),
            secret,
            expires: LATER,
            role: Role::Operator,
            tenant_name: "Gulf Crew".into(),
            email: String::new(),
            addresses: Vec::new(),
        };
        Self { authority, genesis, book, invitation }
    }

    fn decide(&mut self, now: Moment, request: &JoinRequest) -> Result<Issued, JoinRefusal> {
        self.book
            .decide(now, self.invitation.tenant, &CHANNEL, request)
            .map(|permit| permit.issued.clone())
    }

    fn grant(&mut self, request: &JoinRequest) -> Granted {
        let issued = self.decide(NOW, request).unwrap();
        let statement = Statement::Certificate(Box::new(issued.grant.certificate(request)));
        let place = ItemPlace { sequence: 1, previous: Some(self.genesis.id()) };
        let certificate =
            Item::sign(&self.authority, self.invitation.tenant, place, &statement).unwrap();
        let contents = GrantContents {
            items: vec![self.genesis.encode().to_vec(), certificate.encode().to_vec()],
            chain: vec![vec![1, 2, 3]],
            tenant_name: "Gulf Crew".into(),
            addresses: vec!["192.0.2.1:7843".into()],
        };
        Granted::new(&issued, &CHANNEL, request, contents)
    }
}

fn device(seed: u8) -> DeviceKeys {
    DeviceKeys::from_seed(&Seed::from_bytes([seed; 32]))
}

#[test]
fn a_device_with_the_secret_becomes_a_member_and_knows_who_answered() {
    let mut desk = Desk::new(1);
    let keys = device(10);
    let request = JoinRequest::new(&desk.invitation, &CHANNEL, &keys, " tablet ");
    let request = JoinRequest::decode(&request.encode()).unwrap();
    let answer = JoinAnswer::Granted(desk.grant(&request));
    let Some(JoinAnswer::Granted(granted)) = JoinAnswer::decode(&answer.encode()) else {
        panic!("a grant was refused")
    };
    let items = granted.check(&desk.invitation, &CHANNEL, &keys).unwrap();
    let policy = Policy::evaluate(desk.invitation.tenant, &items);
    assert_eq!(policy.member(&keys.device()).unwrap().name, "tablet");
}

#[test]
fn an_answer_from_someone_without_the_secret_is_not_believed() {
    let mut desk = Desk::new(1);
    let keys = device(10);
    let request = JoinRequest::new(&desk.invitation, &CHANNEL, &keys, "tablet");
    let granted = desk.grant(&request);
    assert_eq!(granted.check(&desk.invitation, &[43; 32], &keys), Err(GrantError::Proof));
    let mut changed = granted.clone();
    changed.addresses.push("198.51.100.1:1".into());
    assert_eq!(changed.check(&desk.invitation, &CHANNEL, &keys), Err(GrantError::Proof));
    let mut other = desk.invitation.clone();
    other.secret = JoinSecret::from_bytes([9; 16]);
    assert_eq!(granted.check(&other, &CHANNEL, &keys), Err(GrantError::Proof));
}

#[test]
fn a_used_invitation_admits_no_second_device_but_the_first_one_again() {
    let mut desk = Desk::new(1);
    let first = JoinRequest::new(&desk.invitation, &CHANNEL, &device(10), "tablet");
    let second = JoinRequest::new(&desk.invitation, &CHANNEL, &device(11), "tablet");
    assert!(desk.decide(NOW, &first).is_ok());
    assert_eq!(desk.decide(NOW, &second), Err(JoinRefusal::Used));
    assert!(desk.decide(NOW, &first).is_ok(), "its answer may have been lost");
    assert_eq!(desk.decide(LATER, &first), Err(JoinRefusal::Expired));
}

#[test]
fn an_expired_unknown_or_foreign_invitation_is_refused_by_name() {
    let mut desk = Desk::new(1);
    let request = JoinRequest::new(&desk.invitation, &CHANNEL, &device(10), "tablet");
    assert_eq!(desk.decide(LATER, &request), Err(JoinRefusal::Expired));
    let mut foreign = desk.invitation.clone();
    foreign.tenant = TenantId::from_bytes([9; 32]);
    let request = JoinRequest::new(&foreign, &CHANNEL, &device(10), "tablet");
    assert_eq!(desk.decide(NOW, &request), Err(JoinRefusal::OtherTenant));
    let mut unknown = desk.invitation.clone();
    unknown.secret = JoinSecret::from_bytes([9; 16]);
    let request = JoinRequest::new(&unknown, &CHANNEL, &device(10), "tablet");
    assert_eq!(desk.decide(NOW, &request), Err(JoinRefusal::UnknownInvitation));
}

#[test]
fn a_request_is_good_for_one_channel_one_key_and_one_name() {
    let mut desk = Desk::new(9);
    let request = JoinRequest::new(&desk.invitation, &CHANNEL, &device(10), "tablet");
    let replayed = desk.book.decide(NOW, desk.invitation.tenant, &[43; 32], &request);
    assert_eq!(replayed, Err(JoinRefusal::WrongSecret));
    let mut other_key = request.clone();
    other_key.public_key = device(11).public_key();
    assert_eq!(desk.decide(NOW, &other_key), Err(JoinRefusal::WrongSecret));
    let mut other_name = request.clone();
    other_name.device_name = "phone".into();
    assert_eq!(desk.decide(NOW, &other_name), Err(JoinRefusal::WrongSecret));
    let mut unsigned = request;
    unsigned.signature = [0; 64];
    assert_eq!(desk.decide(NOW, &unsigned), Err(JoinRefusal::WrongSecret));
}

#[test]
fn a_wrong_secret_under_a_known_name_is_refused_and_uses_nothing() {
    let mut desk = Desk::new(1);
    let mut guess = desk.invitation.clone();
    guess.secret = JoinSecret::from_bytes([9; 16]);
    let mut request = JoinRequest::new(&guess, &CHANNEL, &device(10), "tablet");
    request.invitation = desk.invitation.id();
    assert_eq!(desk.decide(NOW, &request), Err(JoinRefusal::WrongSecret));
    let honest = JoinRequest::new(&desk.invitation, &CHANNEL, &device(11), "tablet");
    assert!(desk.decide(NOW, &honest).is_ok());
}

#[test]
fn a_book_survives_its_bytes() {
    let mut desk = Desk::new(2);
    let request = JoinRequest::new(&desk.invitation, &CHANNEL, &device(10), "tablet");
    desk.decide(NOW, &request).unwrap();
    let bytes = postcard::to_stdvec(&desk.book).unwrap();
    assert_eq!(postcard::from_bytes::<InvitationBook>(&bytes), Ok(desk.book));
}

#[test]
fn a_book_has_bounds_and_forgets_what_expired() {
    let grant = || Grant::new(UserId::from_bytes([4; 16]), Role::Operator);
    let secret = |number: usize| {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        JoinSecret::from_bytes(bytes)
    };
    let mut book = InvitationBook::default();
    for number in 0..INVITATIONS_MAX {
        book.issue(secret(number), grant(), LATER, 1).unwrap();
    }
    let one_more = secret(INVITATIONS_MAX);
    assert_eq!(book.issue(one_more.clone(), grant(), LATER, 1), Err(IssueError::BookFull));
    assert_eq!(book.forget_expired(NOW), 0);
    assert_eq!(book.forget_expired(LATER), INVITATIONS_MAX);
    assert_eq!(book.issue(one_more.clone(), grant(), LATER, 0), Err(IssueError::Uses { uses: 0 }));
    let id = book.issue(one_more, grant(), LATER, 1).unwrap();
    assert!(book.withdraw(&id) && !book.withdraw(&id));
}

#[test]
fn hostile_bytes_never_panic_and_never_pass() {
    let mut desk = Desk::new(9);
    let keys = device(10);
    let request = JoinRequest::new(&desk.invitation, &CHANNEL, &keys, "tablet");
    let answer = JoinAnswer::Granted(desk.grant(&request)).encode();
    let request = request.encode();
    for at in 0..request.len() {
        let mut changed = request.clone();
        changed[at] ^= 1 << (at % 8);
        if let Some(changed) = JoinRequest::decode(&changed) {
            assert!(desk.decide(NOW, &changed).is_err(), "bit in byte {at}");
        }
        assert_eq!(JoinRequest::decode(&request[..at]), None);
    }
    for at in 0..answer.len() {
        let mut changed = answer.clone();
        changed[at] ^= 1 << (at % 8);
        if let Some(JoinAnswer::Granted(changed)) = JoinAnswer::decode(&changed) {
            assert!(changed.check(&desk.invitation, &CHANNEL, &keys).is_err(), "bit in byte {at}");
        }
    }
    assert_eq!(JoinRequest::decode(&[0xff; JOIN_REQUEST_MAX]), None);
    assert_eq!(JoinAnswer::decode(&[0xff; 1_000]), None);
}
