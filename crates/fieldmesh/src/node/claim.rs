//! Taking a relay into the tenant by its claim, and how a relay is taken in.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use fieldmesh_identity::{
    Claim, ClaimOffer, ClaimRefusal, ClaimReply, DeviceKeys, Grant, Invitation, InvitationBook,
    InvitationId, JoinAnswer, JoinSecret, Seed,
};
use fieldmesh_model::{DeviceId, Role, UserId};
use fieldmesh_net::{ClaimConnection, ClaimLine, JoinError, address};

use crate::api::{RelayOptions, RelayReport};
use crate::clock;
use crate::error::{Error, with_causes};
use crate::home::Home;
use crate::ledger::Ledger;

use super::enrol::{self, Decision};
use super::{Builder, Node};

/// How long the invitation is good for that a claimed relay is offered.
const OFFER_MILLIS: i64 = 3_600_000;
/// What only a device with the tenant's authority can do.
const ADDING: &str = "add relays by their claims";

/// Decides about somebody who dialled with a claim.
pub type ClaimHandler =
    Arc<dyn Fn(ClaimCall) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Somebody who dialled this relay with a claim.
pub struct ClaimCall {
    connection: ClaimConnection,
}

impl std::fmt::Debug for ClaimCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClaimCall").finish_non_exhaustive()
    }
}

impl ClaimCall {
    pub(super) const fn new(connection: ClaimConnection) -> Self {
        Self { connection }
    }

    /// Where the other side is.
    pub fn address(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    /// What is offered; whether the secret is one of a claim is for the caller to say.
    ///
    /// # Errors
    ///
    /// Nothing came that can be read: there is nobody to answer.
    pub async fn offer(&mut self) -> Result<ClaimOffer, Error> {
        self.connection.offer().await.map_err(|error| unreachable_by(&error))
    }

    /// Joins the tenant of the invitation that was offered, as the device with `seed`; opens the
    /// node of its home.
    ///
    /// # Errors
    ///
    /// The home does not exist then, but the other side may have taken the device in: try again
    /// with the same seed when the claim is offered once more.
    pub async fn join(
        &mut self,
        builder: Builder,
        invitation: &Invitation,
        seed: &Seed,
    ) -> Result<Node, Error> {
        let keys = DeviceKeys::from_seed(seed);
        let device = enrol::host_name();
        let joined = self.connection.join(invitation, &keys, &device).await;
        let granted = joined.map_err(|error| match error {
            JoinError::Refused(refusal) => Error::Invitation { reason: refusal.to_string() },
            error => unreachable_by(&error),
        })?;
        let (path, unlock) = (builder.home.clone(), builder.unlock.clone());
        let home = tokio::task::spawn_blocking(move || Home::create(&path, &unlock))
            .await
            .map_err(|_| Error::ShuttingDown)??;
        let seed = *seed.expose();
        enrol::become_member(builder, home, invitation, &granted, seed, device)
            .await
            .map(|(node, _)| node)
    }

    /// Says that there is too much to do, to somebody who may have said nothing so far.
    pub fn turn_away(self) {
        self.connection.turn_away();
    }

    /// Says what became of it.
    pub async fn finish(self, reply: ClaimReply) {
        let address = self.address();
        if let Err(error) = self.connection.finish(&reply).await {
            tracing::info!(%address, %error, "the answer to a claim did not arrive");
        }
    }
}

impl Node {
    /// Takes the relay that printed `claim` into the tenant and says at which addresses it is, so
    /// that every device dials it. What was cut short can be done again.
    ///
    /// # Errors
    ///
    /// [`Error::NotAllowed`] on a device that does not hold the tenant's authority,
    /// [`Error::Unreachable`] where the relay does not answer or proves another key, and
    /// [`Error::Invitation`] where the claim is of no use.
    pub async fn claim_relay(&self, claim: &str) -> Result<Vec<RelayReport>, Error> {
        let options = RelayOptions { address: claim.into(), ..RelayOptions::default() };
        self.take_relay_in(&options).await
    }

    /// As [`Node::claim_relay`], as a gateway where that is asked for and allowed.
    pub(super) async fn take_relay_in(
        &self,
        options: &RelayOptions,
    ) -> Result<Vec<RelayReport>, Error> {
        let claim: Claim = options
            .address
            .parse()
            .map_err(|error| Error::Invitation { reason: with_causes(&error) })?;
        check_role(&claim, options)?;
        let mut places = Vec::new();
        for text in &claim.addresses {
            let normal = address::normal(text);
            places.push(normal.map_err(|error| Error::Usage { reason: with_causes(&error) })?);
        }
        let (wanted, meant) = (places.clone(), claim.clone());
        self.blocking(move |ledger| check_places(ledger, &meant, &wanted)).await?;
        let line = self.dial_claim(&claim).await?;
        let (secret, meant) = (claim.secret.clone(), claim.clone());
        let invitation = self.blocking(move |ledger| invite_relay(ledger, &meant)).await?;
        let offer = ClaimOffer { secret, invitation: invitation.to_text() };
        let relay = self.offer(line, &offer).await?;
        self.blocking(move |ledger| check_is_relay(ledger, &claim, relay)).await?;
        for place in places.clone() {
            let named = self.blocking(move |ledger| {
                let known = ledger.policy();
                let known = known.relay_address(&place).and_then(|said| said.relay);
                if known == Some(relay) { Ok(()) } else { ledger.name_relay(&place, relay) }
            });
            named.await?;
        }
        let mut relays = self.relay_addresses().await?;
        relays.retain(|report| report.device == relay && places.contains(&report.address));
        Ok(relays)
    }

    /// Dials the addresses of a claim in turn.
    async fn dial_claim(&self, claim: &Claim) -> Result<ClaimLine, Error> {
        self.listen(None).await?;
        let endpoint = match &*self.inner.listener.lock().await {
            Some(listener) => listener.endpoint.clone(),
            None => return Err(Error::ShuttingDown),
        };
        let mut failures = Vec::new();
        for text in &claim.addresses {
            let resolved = match address::resolve(text).await {
                Ok(resolved) => resolved,
                Err(error) => {
                    failures.push(with_causes(&error));
                    continue;
                }
            };
            for address in resolved {
                match endpoint.claim(address, claim).await {
                    Ok(line) => return Ok(line),
                    Err(error) => failures.push(with_causes(&error)),
                }
            }
        }
        let reason = format!(
            "no relay takes this claim ({}); start `sync-relay run` on the relay that made it, and \
             see whether `sync-relay claim --list` there still has it",
            failures.join("; ")
        );
        Err(Error::Unreachable { reason })
    }

    /// Offers an invitation to a relay, takes it in if it asks, and gives the device that it is.
    async fn offer(&self, line: ClaimLine, offer: &ClaimOffer) -> Result<DeviceId, Error> {
        let request = match line.offer(offer).await.map_err(|error| cut_short(&error))? {
            ClaimReply::Member(device) => return Ok(device),
            ClaimReply::Refused(refusal) => {
                if let Ok(invitation) = offer.invitation.parse::<Invitation>() {
                    self.blocking(move |ledger| withdraw(ledger, invitation.id())).await?;
                }
                return Err(refused(refusal));
            }
            ClaimReply::Request(request) => *request,
        };
        let (device, channel) = (request.device(), *line.channel());
        let granted = match self.decide_join(channel, request).await? {
            Decision::Granted(admission) => admission.granted,
            Decision::Refused(refusal) => {
                return Err(Error::Invitation { reason: refusal.to_string() });
            }
        };
        let answer = JoinAnswer::Granted(granted);
        match line.answer(&answer).await.map_err(|error| cut_short(&error))? {
            ClaimReply::Member(member) if member == device => Ok(device),
            ClaimReply::Refused(refusal) => Err(refused(refusal)),
            ClaimReply::Member(_) | ClaimReply::Request(_) => Err(Error::Unreachable {
                reason: "the relay does not answer as it should; update the older of the two \
                         programs, and try the claim again"
                    .into(),
            }),
        }
    }
}

/// Fails where a relay asks for more than it is to have, or for less than is said.
fn check_role(claim: &Claim, options: &RelayOptions) -> Result<(), Error> {
    let reason = match (claim.role == Role::Gateway, options.gateway) {
        (true, true) | (false, false) => return Ok(()),
        (true, false) => {
            "the claim is that of a gateway: a relay that reads every record of the tenant, and \
             writes for the people who log in at it. Say --gateway if it may; else ask for a claim \
             that was made without"
        }
        (false, true) => {
            "the claim is that of a relay that stores and forwards; for a gateway ask for one that \
             was made by `sync-relay claim --gateway`, or leave out --gateway"
        }
    };
    Err(Error::Usage { reason: reason.into() })
}

/// The invitation that the relay of a claim is offered, the same person each time; remembered.
fn invite_relay(ledger: &Ledger, claim: &Claim) -> Result<Invitation, Error> {
    enrol::check_authority(ledger, ADDING)?;
    let secret = invitation_secret(ledger, claim, claim.role);
    let others = [Role::Relay, Role::Gateway].into_iter().filter(|role| *role != claim.role);
    let person = person(ledger, claim);
    let expires = clock::now().plus_millis(OFFER_MILLIS);
    let _enrolment = ledger.enrolment();
    let mut book: InvitationBook = enrol::read_book(ledger)?;
    // A relay that was cut short asks with the same key and gets the same certificate; however often
    // the claim is tried, no second device does.
    let is_known = book.prolong(&secret.invitation(), expires);
    book.forget_expired(clock::now());
    // What is said now counts: the relay was offered more, or less, by an earlier line of its own.
    for other in others {
        withdraw_unused(&mut book, invitation_secret(ledger, claim, other).invitation());
    }
    if !is_known {
        let grant = Grant::new(person, claim.role);
        book.issue(secret.clone(), grant, expires, 1)
            .map_err(|error| Error::Usage { reason: with_causes(&error) })?;
    }
    enrol::write_book(ledger, &book)?;
    Ok(Invitation {
        tenant: ledger.identity.tenant,
        authority: ledger.identity.authority,
        secret,
        expires,
        role: claim.role,
        tenant_name: ledger.identity.tenant_name.clone(),
        email: String::new(),
        addresses: Vec::new(),
    })
}

/// The secret of what the relay of a claim is offered in a role.
fn invitation_secret(ledger: &Ledger, claim: &Claim, role: Role) -> JoinSecret {
    let context = match role {
        Role::Gateway => "fieldmesh/claim-invitation-of-gateway/1",
        _ => "fieldmesh/claim-invitation/1",
    };
    let mut secret = [0; 16];
    secret.copy_from_slice(&derived(ledger, claim, context)[..16]);
    JoinSecret::from_bytes(secret)
}

/// Forgets an invitation that was refused, unless a device has used it: the use counts.
fn withdraw(ledger: &Ledger, invitation: InvitationId) -> Result<(), Error> {
    let _enrolment = ledger.enrolment();
    let mut book: InvitationBook = enrol::read_book(ledger)?;
    if withdraw_unused(&mut book, invitation) {
        enrol::write_book(ledger, &book)?;
    }
    Ok(())
}

fn withdraw_unused(book: &mut InvitationBook, invitation: InvitationId) -> bool {
    let is_unused = book.issued().any(|(id, known)| *id == invitation && known.used_by.is_empty());
    is_unused && book.withdraw(&invitation)
}

/// What this tenant makes of a claim, the same each time. Who knows the claim must not know the
/// invitation: with that one could join as the relay.
fn derived(ledger: &Ledger, claim: &Claim, context: &str) -> [u8; 32] {
    let authority = ledger.identity.authority_seed.unwrap_or_default();
    let known = [&authority[..], &claim.secret.expose()[..], &claim.relay[..]].concat();
    blake3::derive_key(context, &zeroize::Zeroizing::new(known))
}

/// As whom the relay of a claim is a member; nobody else ever is.
fn person(ledger: &Ledger, claim: &Claim) -> UserId {
    let mut person = [0; 16];
    person.copy_from_slice(&derived(ledger, claim, "fieldmesh/claim-person/1")[..16]);
    UserId::from_uuid(uuid::Builder::from_random_bytes(person).into_uuid())
}

/// Fails where the relay of a claim cannot have the addresses it names, before it is dialled.
fn check_places(ledger: &Ledger, claim: &Claim, places: &[String]) -> Result<(), Error> {
    enrol::check_authority(ledger, ADDING)?;
    let (policy, person) = (ledger.policy(), person(ledger, claim));
    for place in places {
        let Some((holder, words)) = ledger.holder(place) else { continue };
        if policy.member(&holder).is_none_or(|member| member.user != person) {
            let reason = format!(
                "the claim names {place}, which is {words}; take it back first: fieldmesh relay \
                 remove {place}"
            );
            return Err(Error::Usage { reason });
        }
    }
    ledger.check_room(places)
}

/// Fails where `relay` is not the one that this very claim took in, whatever the line says.
fn check_is_relay(ledger: &Ledger, claim: &Claim, relay: DeviceId) -> Result<(), Error> {
    let (policy, person) = (ledger.policy(), person(ledger, claim));
    let is_it = policy.known(&relay).is_some_and(|known| known.user == person);
    let role = policy.member(&relay).map(|member| member.role);
    if is_it && role == Some(claim.role) {
        return Ok(());
    }
    let reason = match (is_it, is_it && policy.is_revoked(&relay)) {
        (true, true) => {
            "the relay was taken in by this claim before and is revoked; ask for a new claim"
        }
        (true, false) => {
            "the relay was taken in by this claim before, in another role than the claim says now; \
             to change that revoke it and ask for a new claim"
        }
        (false, _) => {
            "what answers is no relay that was taken in by this claim; ask for a new claim"
        }
    };
    Err(Error::Invitation { reason: reason.into() })
}

fn refused(refusal: ClaimRefusal) -> Error {
    Error::Invitation { reason: refusal.to_string() }
}

fn unreachable_by(error: &JoinError) -> Error {
    Error::Unreachable { reason: with_causes(error) }
}

fn cut_short(error: &JoinError) -> Error {
    let reason = with_causes(error);
    Error::Unreachable {
        reason: format!("the line to the relay broke: {reason}. Try again with the same claim"),
    }
}

#[cfg(test)]
mod tests;
