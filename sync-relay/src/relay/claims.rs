//! The claims by which tenants take this relay in: made, listed, revoked, and used.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fieldmesh::api::Problem;
use fieldmesh::{ClaimCall, Listener};
use fieldmesh_http::{Rate, Windows, counted};
use fieldmesh_identity::{
    Claim, ClaimBook, ClaimDesk, ClaimId, ClaimOffer, ClaimRefusal, ClaimReply, ClaimSecret,
    ClaimState, DeviceKeys, Invitation, Seed, Taken,
};
use fieldmesh_model::{DeviceId, Moment, TenantId};

use super::Relay;
use crate::accounts;
use crate::claims::ClaimsFile;
use crate::problem;
use crate::wire::{ClaimReport, ClaimSummary, NewClaim};

/// How often somebody may try a claim from one address.
const TRIES: Rate = Rate::a_minute(10);

/// The claims of a relay.
pub(super) struct Claims {
    file: ClaimsFile,
    /// What is on the disk; nothing where no claim was ever made.
    book: Mutex<Option<ClaimBook>>,
    /// Why nobody knows what is on the disk.
    fault: Option<Problem>,
    tries: Mutex<Windows<IpAddr>>,
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
        Self { file, book: Mutex::new(book), fault, tries: Mutex::new(Windows::new(TRIES)) }
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

    fn may_try(&self, address: IpAddr, now: Duration) -> bool {
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        tries.take(counted(address), millis).is_ok()
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
        let key = blocking(move || {
            relay.inner.claims.change(|book| {
                book.issue(&issuing, made, expires)
                    .map(|_| book.key())
                    .map_err(|full| problem::usage(full.to_string()))
            })
        });
        let desk = desk(&key.await??)?;
        let claim =
            Claim { relay: desk.authority, secret, expires, addresses: port.advertised.clone() };
        self.serve_desk(&port.listener, &desk)?;
        let id = claim.secret.id().to_string();
        Ok(ClaimReport { claim: claim.to_text(), id, expires_at: expires })
    }

    /// The claims that are remembered, the newest first.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub(crate) fn claims(&self) -> Result<Vec<ClaimSummary>, Problem> {
        self.inner.claims.check()?;
        let book = self.inner.claims.book();
        let claims = book.iter().flat_map(ClaimBook::claims);
        let mut claims: Vec<ClaimSummary> = claims
            .map(|(id, claim)| {
                let (state, tenant) = match claim.state() {
                    ClaimState::Open if claim.expires <= accounts::now() => ("expired", None),
                    ClaimState::Open => ("open", None),
                    ClaimState::Begun(tenant) => ("begun", Some(tenant)),
                    ClaimState::Used(tenant) => ("used", Some(tenant)),
                };
                ClaimSummary {
                    id: id.to_string(),
                    state: state.into(),
                    tenant: tenant.map(|tenant: TenantId| tenant.short()),
                    made_at: claim.made,
                    expires_at: claim.expires,
                }
            })
            .collect();
        claims.sort_by(|a, b| b.made_at.cmp(&a.made_at).then(a.id.cmp(&b.id)));
        Ok(claims)
    }

    /// Forgets the claim that `name` means; gives its id. A tenant that was joined by it stays.
    ///
    /// # Errors
    ///
    /// There is no such claim, or the disk fails.
    pub(crate) async fn revoke_claim(&self, name: &str) -> Result<String, Problem> {
        self.inner.claims.check()?;
        let found: Vec<ClaimId> = {
            let book = self.inner.claims.book();
            let claims = book.iter().flat_map(ClaimBook::claims);
            let is_meant = |id: &ClaimId| id.to_string() == name.trim().to_lowercase();
            claims.map(|(id, _)| *id).filter(is_meant).collect()
        };
        let Some(id) = found.first().copied() else {
            return Err(problem::not_found(format!("there is no claim {name:?}")));
        };
        let relay = self.clone();
        blocking(move || relay.inner.claims.change(|book| book.revoke(&id))).await?;
        Ok(id.to_string())
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
        let offer = match call.offer().await {
            Ok(offer) => offer,
            Err(error) => {
                tracing::info!(%address, %error, "a claim ended before it was offered");
                return;
            }
        };
        if !self.inner.claims.may_try(address.ip(), self.inner.started.elapsed()) {
            tracing::warn!(%address, "claims are tried too often");
            return call.finish(ClaimReply::Refused(ClaimRefusal::Busy)).await;
        }
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
        if !invitation.role.is_relay() {
            return Err(ClaimRefusal::Invitation.into());
        }
        // Whoever knows no secret waits for nobody and makes nobody wait.
        if !self.inner.claims.book().as_ref().is_some_and(|book| book.knows(&offer.secret)) {
            return Err(ClaimRefusal::Unknown.into());
        }
        let _turn = self.inner.admission.lock().await;
        let tenant = invitation.tenant;
        let taken = self.take_claim(offer.secret.clone(), tenant, accounts::now()).await??;
        let served = self.inner.tenants.slot(&tenant).map(|slot| slot.tenant.device);
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
                self.inner.data.discard(&home);
                return Err(Failure::Broken(error.problem()));
            }
        };
        self.install(&home, node).await?;
        Ok(self.note_used(&offer.secret, tenant, &seed).await?)
    }

    async fn take_claim(
        &self,
        secret: ClaimSecret,
        tenant: TenantId,
        now: Moment,
    ) -> Result<Result<Taken, ClaimRefusal>, Problem> {
        let relay = self.clone();
        blocking(move || {
            let seed = Seed::from_bytes(accounts::random());
            relay.inner.claims.change(|book| book.take(now, &secret, tenant, seed))
        })
        .await
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

fn desk(key: &Seed) -> Result<ClaimDesk, Problem> {
    ClaimDesk::new(key).map_err(|error| problem::failed(error.to_string()))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| problem::failed(format!("the claims are not kept: {error}")))?
}
