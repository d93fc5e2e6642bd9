//! Joins over the network, honest and not.

use super::*;
use crate::{ClosedReason, DialError, JoinConnection, JoinError};
use fieldmesh_identity::{
    Grant, Granted, Invitation, InvitationBook, JoinAnswer, JoinRefusal, JoinSecret, Policy, admit,
};
use fieldmesh_model::Moment;

const NOW: Moment = Moment::from_millis(1_000);
const LATER: Moment = Moment::from_millis(2_000);

/// A device that issues invitations.
struct Desk {
    tenant: Tenant,
    items: Vec<Item>,
    endpoint: Endpoint,
    book: InvitationBook,
    invitation: Invitation,
}

impl Desk {
    fn new() -> Self {
        let tenant = Tenant::new(1);
        let endpoint = endpoint([tenant.identity(&device(10))]);
        let secret = JoinSecret::from_bytes([3; 16]);
        let mut book = InvitationBook::default();
        book.issue(secret.clone(), Grant::new(user(), Role::Operator), LATER, 1).unwrap();
        let invitation = Invitation {
            tenant: tenant.id(),
            authority: tenant.authority.public_key(),
            secret,
            expires: LATER,
            role: Role::Operator,
            tenant_name: "Crew 1".into(),
            email: String::new(),
            addresses: vec![endpoint.local_addr().unwrap().to_string()],
        };
        let items = vec![tenant.genesis.clone()];
        Self { tenant, items, endpoint, book, invitation }
    }

    async fn connection(&self) -> JoinConnection {
        match self.endpoint.accept().await {
            Some(Incoming::Join(join)) => join,
            other => panic!("expected a join, got {other:?}"),
        }
    }

    /// Serves one join at `now`.
    async fn serve(&mut self, now: Moment) {
        let mut join = self.connection().await;
        let request = join.request().await.unwrap();
        let answer = match self.book.decide(now, self.tenant.id(), join.channel(), &request) {
            Err(refusal) => JoinAnswer::Refused(refusal),
            Ok(permit) => {
                let (authority, channel) = (&self.tenant.authority, join.channel());
                let (tenant, items) = (self.tenant.id(), &self.items);
                let admission =
                    admit(authority, tenant, items, &permit, channel, &request, Vec::new());
                let admission = admission.unwrap();
                self.items.extend(admission.certificate);
                JoinAnswer::Granted(admission.granted)
            }
        };
        join.answer(&answer).await.unwrap();
    }

    async fn join(
        &mut self,
        now: Moment,
        keys: &DeviceKeys,
        invitation: &Invitation,
    ) -> Result<Granted, JoinError> {
        let joiner = Endpoint::bind(loopback()).unwrap();
        let address = self.endpoint.local_addr().unwrap();
        let (joined, ()) =
            tokio::join!(joiner.join(address, invitation, keys, "tablet"), self.serve(now));
        joined
    }
}

#[tokio::test]
async fn a_joined_device_connects_as_a_member() {
    let mut desk = Desk::new();
    let keys = device(20);
    let invitation = desk.invitation.clone();
    let granted = desk.join(NOW, &keys, &invitation).await.unwrap();
    let items: Vec<Item> = granted.items.iter().map(|b| Item::decode(b).unwrap()).collect();
    let policy = Policy::evaluate(invitation.tenant, &items);
    assert_eq!(policy.member(&keys.device()).unwrap().role, Role::Operator);
    let identity = TenantIdentity {
        tenant: invitation.tenant,
        authority: invitation.authority,
        chain: granted.chain,
        keys: keys.clone(),
    };
    let client = endpoint([identity]);
    let (accepted, dialled) = connect(&desk.endpoint, &client, invitation.tenant).await;
    assert_eq!(accepted.peer(), keys.device());
    converse(&accepted, &dialled).await;
}

#[tokio::test]
async fn an_invitation_serves_one_device_which_may_ask_again() {
    let mut desk = Desk::new();
    let invitation = desk.invitation.clone();
    let first = desk.join(NOW, &device(20), &invitation).await.unwrap();
    let second = desk.join(NOW, &device(21), &invitation).await;
    assert_eq!(second, Err(JoinError::Refused(JoinRefusal::Used)));
    let again = desk.join(NOW, &device(20), &invitation).await.unwrap();
    assert_eq!((again.items, again.chain), (first.items, first.chain));
}

#[tokio::test]
async fn a_wrong_secret_and_an_expired_invitation_are_refused_by_name() {
    let mut desk = Desk::new();
    let invitation = desk.invitation.clone();
    let mut guessed = invitation.clone();
    guessed.secret = JoinSecret::from_bytes([4; 16]);
    let refused = desk.join(NOW, &device(20), &guessed).await;
    assert_eq!(refused, Err(JoinError::Refused(JoinRefusal::UnknownInvitation)));
    let refused = desk.join(LATER, &device(20), &invitation).await;
    assert_eq!(refused, Err(JoinError::Refused(JoinRefusal::Expired)));
}

#[tokio::test]
async fn a_request_replayed_on_another_channel_is_refused() {
    let mut desk = Desk::new();
    let address = desk.endpoint.local_addr().unwrap();
    let keys = device(20);
    let joiner = Endpoint::bind(loopback()).unwrap();
    let invitation = desk.invitation.clone();
    let overheard = async {
        let mut join = desk.connection().await;
        join.request().await.unwrap()
    };
    let (lost, request) =
        tokio::join!(joiner.join(address, &invitation, &keys, "tablet"), overheard);
    assert!(matches!(lost, Err(JoinError::Stream(_) | JoinError::Closed(_))), "{lost:?}");
    // Whoever replays has a channel of its own.
    let (replayer, other_keys) = (Endpoint::bind(loopback()).unwrap(), device(21));
    let other_channel = async { *desk.connection().await.channel() };
    let (_, channel) =
        tokio::join!(replayer.join(address, &invitation, &other_keys, "tablet"), other_channel);
    let decision = desk.book.decide(NOW, desk.tenant.id(), &channel, &request);
    assert_eq!(decision, Err(JoinRefusal::WrongSecret));
}

#[tokio::test]
async fn a_joiner_sends_nothing_to_an_impostor_or_to_another_tenant() {
    let desk = Desk::new();
    let address = desk.endpoint.local_addr().unwrap();
    let joiner = Endpoint::bind(loopback()).unwrap();
    let mut other_authority = desk.invitation.clone();
    other_authority.authority = device(50).public_key();
    let refused = joiner.join(address, &other_authority, &device(20), "tablet").await;
    let expected = DialError::Refused { address, reason: ClosedReason::Impostor };
    assert_eq!(refused, Err(JoinError::Dial(expected)));
    let mut other_tenant = desk.invitation.clone();
    other_tenant.tenant = TenantId::from_bytes([8; 32]);
    let refused = joiner.join(address, &other_tenant, &device(20), "tablet").await;
    let expected = DialError::Refused { address, reason: ClosedReason::TenantNotServed };
    assert_eq!(refused, Err(JoinError::Dial(expected)));
}
