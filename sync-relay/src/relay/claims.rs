//! The claims by which tenants take this relay in: made, listed, revoked, and used.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fieldmesh::api::Problem;
use fieldmesh::{ClaimCall, Listener, Node, Role};
use fieldmesh_http::{Rate, Windows, counted};
use fieldmesh_identity::claim::IssuedClaim;
use fieldmesh_identity::{
    Claim, ClaimBook, ClaimDesk, ClaimId, ClaimOffer, ClaimRefusal, ClaimReply, ClaimSecret,
    ClaimState, DeviceKeys, Invitation, Seed, Taken,
};
use fieldmesh_model::{DeviceId, TenantId};

use super::Relay;
use super::tenants::Called;
use crate::accounts;
use crate::claims::ClaimsFile;
use crate::problem;
use crate::wire::{ClaimReport, ClaimSummary, NewClaim, RevokedClaim};

/// How often somebody may try a claim from one address.
const TRIES: Rate = Rate::a_minute(10);
/// How many of those who are answered at the same time may be at one address.
const SEATS_MAX: usize = 2;
/// How often it is logged that somebody was turned away.
const TOLD: Rate = Rate::a_minute(2);

/// The claims of a relay.
pub(super) struct Claims {
    file: ClaimsFile,
    /// What is on the disk; nothing where no claim was ever made.
    book: Mutex<Option<ClaimBook>>,
    /// Why nobody knows what is on the disk.
    fault: Option<Problem>,
    tries: Mutex<Windows<IpAddr>>,
    told: Mutex<Windows<()>>,
    /// One handle is here, and one with each that is answered.
    seats: Mutex<BTreeMap<IpAddr, Arc<()>>>,
}

impl Claims {
    /// Reads the claims; where they are damaged the tenants are served all the same.
    pub(super) fn open(file: ClaimsFile) -> Self {
        let (book, fault) = match file.read() {
            Ok(book) => (book, None),
            Err(problem) => {
                tracing::error!(reason = problem.detail, "claims not served");
                (None, Some(problem))
            }
        };
        Self {
            file,
            book: Mutex::new(book),
            fault,
            tries: Mutex::new(Windows::new(TRIES)),
            told: Mutex::new(Windows::new(TOLD)),
            seats: Mutex::default(),
        }
    }

    fn check(&self) -> Result<(), Problem> {
        self.fault.clone().map_or(Ok(()), Err)
    }

    fn book(&self) -> MutexGuard<'_, Option<ClaimBook>> {
        // A change is put in place whole, so one that panicked leaves nothing half done behind it.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the book, on the disk first.
    fn change<T>(&self, change: impl FnOnce(&mut ClaimBook) -> T) -> Result<T, Problem> {
        self.check()?;
        let mut known = self.book();
        let mut book = match &*known {
            Some(book) => book.clone(),
            None => ClaimBook::new(&Seed::from_bytes(accounts::random())),
        };
        let value = change(&mut book);
        if known.as_ref() != Some(&book) {
            self.file.write(&book)?;
            *known = Some(book);
        }
        Ok(value)
    }

    /// A seat for somebody who dials at `now` since the start, until it is dropped; nothing where
    /// too many come from his address, at a time or one after the other.
    fn seat(&self, address: IpAddr, now: Duration) -> Option<Arc<()>> {
        let address = counted(address);
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.retain(|_, seat| Arc::strong_count(seat) > 1);
        let seat = Arc::clone(seats.entry(address).or_default());
        // One handle is in the map.
        let is_free = Arc::strong_count(&seat) <= 1 + SEATS_MAX;
        (is_free && may_come(&self.tries, address, now)).then_some(seat)
    }

    /// As what the relay is taken in by the claim with this secret, if there is one.
    fn role(&self, secret: &ClaimSecret) -> Option<Role> {
        let book = self.book();
        book.as_ref().filter(|book| book.knows(secret)).map(|book| book.role(&secret.id()))
    }

    /// Whether nobody ended the claim while the relay joined by it.
    fn is_begun(&self, id: &ClaimId, tenant: TenantId, seed: &Seed) -> bool {
        self.book().as_ref().is_some_and(|book| book.is_begun(id, tenant, seed))
    }
}

impl Relay {
    /// Makes a claim that the running relay serves.
    ///
    /// # Errors
    ///
    /// This relay does not listen, too many claims are remembered, or the disk fails.
    pub(crate) async fn claim(&self, new: NewClaim) -> Result<ClaimReport, Problem> {
        let Some(port) = &self.inner.port else {
            return Err(problem::failed(
                "no relay runs on this data folder, so nobody could use a claim; start \
                 `sync-relay run` first",
            ));
        };
        let secret = ClaimSecret::from_bytes(accounts::random());
        let made = accounts::now();
        let valid = i64::try_from(new.valid_seconds).unwrap_or(i64::MAX).saturating_mul(1_000);
        let expires = made.plus_millis(valid);
        let (relay, issuing) = (self.clone(), secret.clone());
        let role = if new.gateway { Role::Gateway } else { Role::Relay };
        let key = blocking(move || {
            relay.inner.claims.change(|book| {
                book.issue(&issuing, role, made, expires)
                    .map(|_| book.key())
                    .map_err(|full| problem::usage(full.to_string()))
            })
        });
        let desk = desk(&key.await??)?;
        let addresses = port.advertised.clone();
        let claim = Claim { relay: desk.authority, secret, expires, addresses, role };
        self.serve_desk(&port.listener, &desk)?;
        let id = claim.secret.id().to_string();
        Ok(ClaimReport { claim: claim.to_text(), id, role, expires_at: expires })
    }

    /// The claims that are remembered, the newest first.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub(crate) fn claims(&self) -> Result<Vec<ClaimSummary>, Problem> {
        self.inner.claims.check()?;
        let book = self.inner.claims.book();
        let claims = book.iter().flat_map(|book| book.claims().map(move |claim| (book, claim)));
        let mut claims: Vec<ClaimSummary> = claims
            .map(|(book, (id, claim))| {
                let (state, tenant) = state_of(claim);
                let slot = tenant.and_then(|tenant| self.inner.tenants.slot(&tenant));
                ClaimSummary {
                    id: id.to_string(),
                    role: book.role(id),
                    state: state.into(),
                    tenant: tenant.map(|tenant| tenant.short()),
                    tenant_name: slot.map(|slot| slot.tenant.name.clone()),
                    made_at: claim.made,
                    expires_at: claim.expires,
                }
            })
            .collect();
        claims.sort_by(|a, b| b.made_at.cmp(&a.made_at).then(a.id.cmp(&b.id)));
        Ok(claims)
    }

    /// Forgets the claim that `name` means; says what it had come to by then. A tenant that was
    /// joined by it stays.
    ///
    /// # Errors
    ///
    /// There is no such claim, or the disk fails.
    pub(crate) async fn revoke_claim(&self, name: &str) -> Result<RevokedClaim, Problem> {
        self.inner.claims.check()?;
        let found: Vec<ClaimId> = {
            let book = self.inner.claims.book();
            let claims = book.iter().flat_map(ClaimBook::claims);
            let is_meant = |id: &ClaimId| id.to_string() == name.trim().to_lowercase();
            claims.map(|(id, _)| *id).filter(is_meant).collect()
        };
        let unknown = || problem::not_found(format!("there is no claim {name:?}"));
        let id = found.first().copied().ok_or_else(unknown)?;
        let relay = self.clone();
        let revoke = move |book: &mut ClaimBook| {
            let claim = book.claims().find(|(known, _)| **known == id);
            let state = claim.map(|(_, claim)| state_of(claim));
            book.revoke(&id);
            state
        };
        let ended = blocking(move || relay.inner.claims.change(revoke)).await?;
        let (state, tenant) = ended.ok_or_else(unknown)?;
        Ok(RevokedClaim {
            id: id.to_string(),
            revoked: true,
            state: state.into(),
            tenant: tenant.map(|tenant| tenant.short()),
            is_served: tenant.is_some_and(|tenant| self.inner.tenants.contains(&tenant)),
        })
    }

    /// Answers those who dial with a claim, if there is one that they could have.
    pub(super) fn serve_claims(&self) -> Result<(), Problem> {
        let Some(port) = &self.inner.port else { return Ok(()) };
        let wanted = self
            .inner
            .claims
            .book()
            .as_ref()
            .and_then(|book| book.is_wanted(accounts::now()).then(|| book.key()));
        match wanted {
            Some(key) => self.serve_desk(&port.listener, &desk(&key)?),
            None => Ok(()),
        }
    }

    fn serve_desk(&self, listener: &Listener, desk: &ClaimDesk) -> Result<(), Problem> {
        let inner = Arc::downgrade(&self.inner);
        let handler = move |call: ClaimCall| {
            let inner = inner.clone();
            let work = async move {
                let Some(inner) = inner.upgrade() else { return };
                let relay = Self { inner };
                let work = relay.inner.work.clone();
                // It goes on to its end, so that no tenant is left half made when the line breaks.
                let answered = work.spawn(async move { Box::pin(relay.answer_claim(call)).await });
                if let Err(error) = answered.await {
                    tracing::error!(%error, "a claim was not answered");
                }
            };
            Box::pin(work) as std::pin::Pin<Box<dyn Future<Output = ()> + Send>>
        };
        listener.serve_claims(desk, Arc::new(handler)).map_err(|error| error.problem())
    }

    async fn answer_claim(&self, mut call: ClaimCall) {
        let address = call.address();
        // Before anything is read: whoever says nothing is to hold no more than his seats.
        let since = self.inner.started.elapsed();
        let Some(_seat) = self.inner.claims.seat(address.ip(), since) else {
            if may_come(&self.inner.claims.told, (), since) {
                tracing::warn!(%address, "claims are tried too often from one address");
            }
            return call.turn_away();
        };
        let offer = match call.offer().await {
            Ok(offer) => offer,
            Err(error) => {
                tracing::info!(%address, %error, "a claim ended before it was offered");
                return;
            }
        };
        let reply = match self.take_offer(&mut call, &offer).await {
            Ok(device) => ClaimReply::Member(device),
            Err(Failure::Refused(refusal)) => {
                tracing::info!(%address, %refusal, "a claim is refused");
                ClaimReply::Refused(refusal)
            }
            Err(Failure::Broken(problem)) => {
                tracing::error!(%address, reason = problem.detail, "a claim came to nothing");
                ClaimReply::Refused(ClaimRefusal::Failed)
            }
        };
        call.finish(reply).await;
    }

    /// Joins the tenant that is offered, or finds that this was done before; gives the device.
    async fn take_offer(
        &self,
        call: &mut ClaimCall,
        offer: &ClaimOffer,
    ) -> Result<DeviceId, Failure> {
        let invitation: Invitation =
            offer.invitation.parse().map_err(|_| ClaimRefusal::Invitation)?;
        // Whoever knows no secret waits for nobody and makes nobody wait.
        let role = self.inner.claims.role(&offer.secret).ok_or(ClaimRefusal::Unknown)?;
        if invitation.role != role {
            return Err(ClaimRefusal::Invitation.into());
        }
        let _turn = self.inner.admission.lock().await;
        let tenant = invitation.tenant;
        let served = self.inner.tenants.slot(&tenant).map(|slot| slot.tenant.device);
        let room = served.map_or_else(|| self.check_room(&invitation), |_| Ok(()));
        let taken = self.take_claim(offer.secret.clone(), tenant, room).await??;
        let seed = match (taken, served) {
            (Taken::Again, Some(device)) => return Ok(device),
            // Its home is gone since; a device that was lost takes another claim.
            (Taken::Again, None) => return Err(ClaimRefusal::Used.into()),
            (Taken::Join(seed), served) => {
                match served.map(|device| device == DeviceKeys::from_seed(&seed).device()) {
                    None => seed,
                    // It was made before that could be noted.
                    Some(true) => return Ok(self.note_used(&offer.secret, tenant, &seed).await?),
                    Some(false) => return Err(ClaimRefusal::Served.into()),
                }
            }
        };
        let home = self.inner.data.new_home();
        let builder = self.inner.tenants.builder(&home);
        let node = match call.join(builder, &invitation, &seed).await {
            Ok(node) => node,
            Err(error) => {
                self.inner.data.take_back(&home, tenant);
                return Err(Failure::Broken(error.problem()));
            }
        };
        self.take_in(&home, node, (&offer.secret.id(), role), &seed).await?;
        Ok(self.note_used(&offer.secret, tenant, &seed).await?)
    }

    /// Serves the tenant that was joined by a claim, in its role, as the device with `seed`, or
    /// leaves nothing of it: the seed is in the book, so that the next try makes the same home again.
    async fn take_in(
        &self,
        home: &Path,
        node: Node,
        (claim, role): (&ClaimId, Role),
        seed: &Seed,
    ) -> Result<(), Failure> {
        let tenant = node.tenant().tenant;
        let taken_in = match self.check_joined(&node, role).await {
            Err(failure) => {
                // It is removed whether or not it is closed in order.
                let _ = node.shutdown().await;
                Err(failure)
            }
            Ok(()) if !self.inner.claims.is_begun(claim, tenant, seed) => {
                let _ = node.shutdown().await;
                Err(ClaimRefusal::Unknown.into())
            }
            Ok(()) => self.install(home, node).await.map(drop).map_err(Failure::from),
        };
        if taken_in.is_err() && !self.inner.tenants.contains(&tenant) {
            self.inner.data.take_back(home, tenant);
        }
        taken_in
    }

    /// Whether the tenant of an invitation can be served beside those that are here.
    fn check_room(&self, invitation: &Invitation) -> Result<(), ClaimRefusal> {
        let tenant = invitation.tenant;
        if let Err(problem) = self.inner.data.check_place(tenant) {
            tracing::error!(tenant = tenant.short(), reason = problem.detail, "no claim is served");
            return Err(ClaimRefusal::Failed);
        }
        self.check_names(&Called::new(tenant, [invitation.tenant_name.as_str()]))
    }

    /// Whether what was granted is what was offered.
    async fn check_joined(&self, node: &Node, role: Role) -> Result<(), Failure> {
        let devices = node.devices().await.map_err(|error| Failure::Broken(error.problem()))?;
        if !devices.iter().any(|device| device.this && device.role == role) {
            return Err(ClaimRefusal::Invitation.into());
        }
        Ok(self.check_names(&Called::of(&node.tenant()))?)
    }

    /// Fails where requests that mean a tenant here would mean the `newcomer` too.
    fn check_names(&self, newcomer: &Called) -> Result<(), ClaimRefusal> {
        for slot in self.inner.tenants.slots() {
            let called = Called::of(&slot.tenant);
            let called = match self.said_of(&slot) {
                Some(said) => called.with(&said.aliases),
                None => called,
            };
            if newcomer.can_be_taken_for(&called) {
                let (short, slug) = (slot.tenant.tenant.short(), &slot.tenant.slug);
                tracing::warn!(tenant = short, slug, "a claim came from a tenant called alike");
                return Err(ClaimRefusal::Named);
            }
        }
        Ok(())
    }

    /// Asks the book; where there is no room for the tenant nothing is begun.
    async fn take_claim(
        &self,
        secret: ClaimSecret,
        tenant: TenantId,
        room: Result<(), ClaimRefusal>,
    ) -> Result<Result<Taken, ClaimRefusal>, Problem> {
        let relay = self.clone();
        let take = move |book: &mut ClaimBook| {
            let (before, seed) = (book.clone(), Seed::from_bytes(accounts::random()));
            let taken = book.take(accounts::now(), &secret, tenant, seed)?;
            if let Err(refusal) = room {
                *book = before;
                return Err(refusal);
            }
            Ok(taken)
        };
        blocking(move || relay.inner.claims.change(take)).await
    }

    async fn note_used(
        &self,
        secret: &ClaimSecret,
        tenant: TenantId,
        seed: &Seed,
    ) -> Result<DeviceId, Problem> {
        let (relay, id) = (self.clone(), secret.id());
        blocking(move || relay.inner.claims.change(|book| book.used(&id, tenant))).await?;
        Ok(DeviceKeys::from_seed(seed).device())
    }
}

/// Why an offer came to nothing.
enum Failure {
    Refused(ClaimRefusal),
    Broken(Problem),
}

impl From<ClaimRefusal> for Failure {
    fn from(refusal: ClaimRefusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Broken(problem)
    }
}

/// What became of a claim, and by whom.
fn state_of(claim: &IssuedClaim) -> (&'static str, Option<TenantId>) {
    let has_expired = claim.expires <= accounts::now();
    match claim.state() {
        ClaimState::Open if has_expired => ("expired", None),
        ClaimState::Open => ("open", None),
        ClaimState::Begun(tenant) if has_expired => ("expired", Some(tenant)),
        ClaimState::Begun(tenant) => ("begun", Some(tenant)),
        ClaimState::Used(tenant) => ("used", Some(tenant)),
    }
}

fn may_come<K: Eq + std::hash::Hash>(windows: &Mutex<Windows<K>>, who: K, since: Duration) -> bool {
    let mut windows = windows.lock().unwrap_or_else(PoisonError::into_inner);
    windows.take(who, u64::try_from(since.as_millis()).unwrap_or(u64::MAX)).is_ok()
}

fn desk(key: &Seed) -> Result<ClaimDesk, Problem> {
    ClaimDesk::new(key).map_err(|error| problem::failed(error.to_string()))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| problem::failed(format!("the claims are not kept: {error}")))?
}

#[cfg(test)]
mod tests;
