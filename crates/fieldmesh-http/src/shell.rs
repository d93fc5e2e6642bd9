//! One server: brings requests to the dialects and their answers back.

mod answer;
mod coding;
mod passing;
mod request;
mod written;

use std::collections::HashMap;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use fieldmesh_dialect::outcome::Session;
use fieldmesh_dialect::{
    Access, Ask, Bucket, Caller, Command, Dialect, Outcome, Refusal, Request, Route, WEIGHT_MAX,
    tenancy,
};
use fieldmesh_model::Moment;
use futures::FutureExt as _;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

pub(crate) use self::answer::{cors, finish};
pub(crate) use self::coding::compressed;
use self::passing::Passing;
use self::request::Head;
pub(crate) use self::request::{Live, now};
use crate::body::{self, BodyError};
use crate::budget::{Budget, Excess, Held, Taker};
use crate::busy::{Busy, Told};
use crate::counts::Counts;
use crate::host::{Executes, Host, Origin, Proof};
use crate::live;
use crate::peer::counted;
use crate::rates::Windows;
use crate::settings::Settings;

/// From how many bytes on an answer counts until it is written.
const LARGE_ANSWER: usize = 64 * 1_024;
/// From how many bytes on a request is read beside the threads that serve sockets.
const LARGE: usize = 64 * 1_024;
/// After how many seconds to come again where nothing executes commands.
const NOT_SERVED_RETRY: u32 = 60;
/// After how many seconds to come again where a tenant is busy or a command takes long.
const BUSY_RETRY: u32 = 5;
/// How much of the end of a tenant's id the log shows.
const TENANT_SHOWN: usize = 8;
/// After how many seconds to come again where too many streams are open.
const STREAM_RETRY: u32 = 30;

/// One server, without a port; clones are handles on the same one.
#[derive(Clone)]
pub struct Shell {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) settings: Settings,
    pub(crate) counts: Counts,
    pub(crate) stop: CancellationToken,
    bodies: Budget,
    understood: Budget,
    answers: Budget,
    streams: Budget,
    begun: Instant,
    windows: Mutex<Rates>,
    /// How many requests of each tenant may be executed besides those that are.
    executing: Mutex<HashMap<String, Arc<Semaphore>>>,
    busy: Mutex<Busy>,
}

/// Who came when.
struct Rates {
    address: Windows<IpAddr>,
    sync: Windows<(String, String)>,
    step: Windows<(String, String)>,
    tenant: Windows<String>,
}

impl Shell {
    /// A server of what `host` owns; cancelling `stop` ends its live streams.
    pub fn new(host: Arc<dyn Host>, settings: Settings, stop: CancellationToken) -> Self {
        let rates = Rates {
            address: Windows::new(settings.address_rate),
            sync: Windows::new(settings.sync_rate),
            step: Windows::new(settings.step_rate),
            tenant: Windows::new(settings.tenant_rate),
        };
        let inner = Inner {
            host,
            counts: Counts::default(),
            stop,
            bodies: Budget::new(settings.bodies),
            understood: Budget::new(settings.understood),
            answers: Budget::new(settings.answers),
            streams: Budget::new(settings.streams),
            begun: Instant::now(),
            windows: Mutex::new(rates),
            executing: Mutex::default(),
            busy: Mutex::default(),
            settings,
        };
        Self { inner: Arc::new(inner) }
    }

    /// What it has counted.
    pub fn counts(&self) -> &Counts {
        &self.inner.counts
    }

    /// Counts a request for a route beside the dialects.
    ///
    /// # Errors
    ///
    /// Its address came too often; after how many seconds it may come again.
    pub fn count_beside(&self, request: &axum::extract::Request) -> Result<(), u32> {
        let address = request::address(request, &self.inner.settings.proxies);
        let taken = self.inner.rates().address.take(counted(address), self.inner.millis());
        taken.inspect_err(|_| self.inner.counts.refused_by_rate())
    }

    /// Routes that send every path to the dialects; further ones may be added.
    pub fn router(&self) -> Router {
        let router = Router::new().fallback(handle).with_state(self.clone());
        compressed(router).layer(cors(&self.inner.settings.origins))
    }
}

async fn handle(State(shell): State<Shell>, request: axum::extract::Request) -> Response {
    let id = request::id(request.headers());
    let span = tracing::info_span!("http", request = %id);
    let begun = Instant::now();
    let answering = async {
        let mut response = shell.inner.answer(request).await;
        let (status, millis) = (response.status().as_u16(), begun.elapsed().as_millis());
        shell.inner.counts.answered(status);
        tracing::debug!(status, millis, "answered");
        finish(&mut response, &shell.inner.settings);
        answer::name(&mut response, &id);
        response
    };
    answering.instrument(span).await
}

/// How a request that has no answer of a dialect ends.
enum Ended {
    Refused(Refusal),
    /// The body did not come in time.
    Slow,
    /// The answer is there already.
    Answered(Box<Response>),
}

impl From<Refusal> for Ended {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Inner {
    async fn answer(self: &Arc<Self>, request: axum::extract::Request) -> Response {
        let Head { request, body, live, address } =
            request::split(request, &self.settings.proxies).await;
        let counted = self.rates().address.take(counted(address), self.millis());
        let route = match Route::find(&request) {
            Ok(route) => route,
            Err(response) => return answer::whole(response),
        };
        if let Err(retry_after) = counted {
            self.counts.refused_by_rate();
            return answer::whole(route.refuse(&request, &Refusal::TooMany { retry_after }));
        }
        let mut passing = Passing::begin(&route);
        let come = Head { request: request.clone(), body, live, address };
        let serving = AssertUnwindSafe(self.serve(&route, come, &mut passing));
        let answer = match serving.catch_unwind().await {
            Ok(Ok(response)) => response,
            Ok(Err(Ended::Answered(response))) => *response,
            Ok(Err(Ended::Slow)) => answer::slow(),
            Ok(Err(Ended::Refused(refusal))) => answer::whole(route.refuse(&request, &refusal)),
            Err(_) => {
                self.defect(&route);
                answer::whole(route.refuse(&request, &Refusal::Failed))
            }
        };
        if let Some(tenant) = passing.tenant() {
            self.counts.answered_to(tenant, answer.status().as_u16());
        }
        passing.tell(self.host.as_ref(), &answer);
        answer
    }

    /// A panic is a mistake of ours: it is told to the operator and counted.
    fn defect(&self, route: &Route) {
        self.counts.defect();
        tracing::error!(endpoint = route.endpoint.id, "a handler panicked");
    }

    async fn serve(
        self: &Arc<Self>,
        route: &Route,
        come: Head,
        passing: &mut Passing,
    ) -> Result<Response, Ended> {
        let Head { request, body, live, address } = come;
        let admitted = self.admit(route, &request, live.as_ref(), address, passing).await;
        let (proof, caller) = match admitted {
            Ok(admitted) => admitted,
            Err(refusal) => {
                body::drain(body).await;
                return Err(refusal.into());
            }
        };
        let taker = Taker::of(caller.as_ref(), address);
        let received = self.receive(route, request, body, self.bodies.hold(taker.clone())).await?;
        passing.receive(&received.0.body);
        let origin = proof.origin.clone();
        let executor = match &caller {
            None => None,
            Some(caller) => Some(self.executor(caller).await?),
        };
        let caller = caller.map(|caller| Caller {
            feed: executor.as_ref().map_or(caller.feed, |executor| executor.feed()),
            ..caller
        });
        let at = received.0.at;
        let memory = self.understood.hold(taker.clone());
        let (mut ask, memory) =
            understand(route.clone(), received, caller.clone(), memory, passing).await?;
        let command = std::mem::replace(&mut ask.command, Command::Health);
        let outcome = match (command, caller, executor) {
            (Command::Health, ..) => Outcome::Healthy { at, version: self.host.version() },
            (Command::Login(login), ..) => opened(self.host.login(login, origin, at).await),
            (Command::Refresh(refresh), ..) => opened(self.host.refresh(refresh, origin, at).await),
            (Command::ResetPassword(reset), ..) => {
                opened(self.host.reset_password(reset, origin, at).await)
            }
            (Command::ChangePassword(change), Some(caller), _) => {
                opened(self.host.change_password(&caller, change, origin, at).await)
            }
            (Command::MakeResetCode(order), Some(caller), _) => {
                let made = self.host.reset_code(&caller, order, origin, at).await;
                made.map_or_else(Outcome::Refused, |(code, until)| Outcome::ResetCode {
                    code,
                    until,
                })
            }
            (Command::Follow(pull), Some(caller), Some(executor)) => {
                let held = self.stream(taker)?;
                let pages = executor.follow(caller.clone(), ask.dialect, pull);
                let watch = live::Watch { inner: Arc::clone(self), proof, caller };
                return Ok(live::open(live, ask, pages, watch, held));
            }
            (command, Some(caller), Some(executor)) => {
                let (dialect, held) = (ask.dialect, (memory, self.answers.hold(taker)));
                let done = self.execute(executor, (caller, dialect, command), held, at).await?;
                let (outcome, room) = done;
                return give(ask.answer(outcome), room).map_err(Ended::from);
            }
            (_, _, _) => return Err(Refusal::Unauthenticated.into()),
        };
        give(ask.answer(outcome), self.answers.hold(taker)).map_err(Ended::from)
    }

    /// One more stream of somebody.
    fn stream(&self, taker: Taker) -> Result<Held, Refusal> {
        let mut held = self.streams.hold(taker);
        match held.grow(1) {
            Ok(()) => Ok(held),
            Err(Excess::Own) => {
                self.counts.refused_by_rate();
                Err(Refusal::TooMany { retry_after: STREAM_RETRY })
            }
            Err(Excess::Others) => Err(Refusal::Unavailable { retry_after: STREAM_RETRY }),
        }
    }

    /// Finds out who sends a request and counts it, before anything of its body is read.
    async fn admit(
        &self,
        route: &Route,
        request: &Request,
        live: Option<&Live>,
        address: IpAddr,
        passing: &mut Passing,
    ) -> Result<(Proof, Option<Caller>), Refusal> {
        if self.stop.is_cancelled() {
            return Err(Refusal::Unavailable { retry_after: BUSY_RETRY });
        }
        let tenant = match tenancy::named(request, self.settings.domain.as_deref()) {
            Ok(name) => name,
            Err(two) if self.host.is_one_tenant(&two.header, &two.host) => Some(two.header),
            Err(_) => {
                let why = "Header and host name two tenants".to_owned();
                return Err(Refusal::Forbidden { why });
            }
        };
        let device = request.header("x-device-id").filter(|id| !id.is_empty()).map(str::to_owned);
        let origin = Origin { address, tenant, device };
        let mut proof = Proof { token: String::new(), origin };
        if route.endpoint.access == Access::Public {
            return Ok((proof, None));
        }
        let token = request::token(request).or_else(|| live.and_then(Live::token));
        proof.token = token.ok_or(Refusal::Unauthenticated)?;
        let caller = self.host.caller(&proof, request.at).await?;
        passing.prove(&caller, &proof, route, request);
        self.count(route.endpoint.bucket, &caller).map_err(|retry_after| {
            self.counts.refused_by_rate();
            Refusal::TooMany { retry_after }
        })?;
        Ok((proof, Some(caller)))
    }

    /// Counts a request of `caller`, whatever token, device or address he sends it with.
    fn count(&self, bucket: Bucket, caller: &Caller) -> Result<(), u32> {
        let (now, mut rates) = (self.millis(), self.rates());
        let user = || (caller.tenant.clone(), caller.user.clone());
        match bucket {
            Bucket::Address => Ok(()),
            Bucket::Sync => rates.sync.take(user(), now),
            Bucket::Step => rates.step.take(user(), now),
        }?;
        rates.tenant.take(caller.tenant.clone(), now)
    }

    async fn receive(
        &self,
        route: &Route,
        mut request: Request,
        body: Body,
        held: Held,
    ) -> Result<(Request, Held), Ended> {
        let bytes_max = route.endpoint.body_max;
        let length = request.header("content-length").and_then(|text| text.parse::<u64>().ok());
        if length.is_some_and(|length| length > bytes_max as u64) {
            body::drain(body).await;
            return Err(Refusal::TooLarge { bytes_max }.into());
        }
        let coding = request.header("content-encoding");
        let patience = self.settings.body_patience;
        let (bytes, held) = body::read(body, coding, bytes_max, held, patience).await.map_err(
            |error| match error {
                BodyError::Refused(refusal) => Ended::Refused(refusal),
                BodyError::Slow | BodyError::Gone => Ended::Slow,
            },
        )?;
        request.body = bytes;
        Ok((request, held))
    }

    async fn executor(&self, caller: &Caller) -> Result<Arc<dyn Executes>, Refusal> {
        let executor = self.host.executor(caller).await;
        executor.ok_or(Refusal::Unavailable { retry_after: NOT_SERVED_RETRY })
    }

    /// Executes a command to its end, whether or not the client waits for that; gives the room of
    /// its answer as well, as far as that was known before there was one.
    async fn execute(
        self: &Arc<Self>,
        executor: Arc<dyn Executes>,
        (caller, dialect, command): (Caller, Option<Dialect>, Command),
        (memory, mut room): (Held, Held),
        at: Moment,
    ) -> Result<(Outcome, Held), Refusal> {
        let busy = Refusal::Unavailable { retry_after: BUSY_RETRY };
        let slot = self.slots(&caller.tenant).try_acquire_owned().map_err(|_| {
            self.tell_busy(&caller.tenant);
            busy.clone()
        })?;
        let executing = tokio::spawn(
            async move {
                let reached = reach(executor.as_ref(), &command, &mut room).await;
                let outcome = match reached {
                    Ok(()) => Ok(executor.execute(&caller, dialect, command, at).await),
                    Err(refusal) => Err(refusal),
                };
                // What nobody waits for any more takes its memory still.
                drop((slot, memory));
                outcome.map(|outcome| (outcome, room))
            }
            .in_current_span(),
        );
        match tokio::time::timeout(self.settings.patience, executing).await {
            Ok(Ok(done)) => done,
            Ok(Err(broken)) => match broken.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(busy),
            },
            Err(_) => Err(busy),
        }
    }

    fn slots(&self, tenant: &str) -> Arc<Semaphore> {
        let mut executing = self.executing.lock().unwrap_or_else(PoisonError::into_inner);
        let slots = executing
            .entry(tenant.to_owned())
            .or_insert_with(|| Arc::new(Semaphore::new(self.settings.executing_max)));
        Arc::clone(slots)
    }

    /// Says to the operator that a tenant has as much under way as it may, not with each request.
    fn tell_busy(&self, tenant: &str) {
        let now = self.millis();
        let refused = self.busy.lock().unwrap_or_else(PoisonError::into_inner).refuse(tenant, now);
        let Some(Told { refused, seconds }) = refused else { return };
        let under_way = self.settings.executing_max;
        let tenant = tenant.get(tenant.len().saturating_sub(TENANT_SHOWN)..).unwrap_or(tenant);
        tracing::warn!(
            tenant,
            under_way,
            refused,
            seconds,
            "a tenant is busy; further requests are to wait"
        );
    }

    fn rates(&self) -> MutexGuard<'_, Rates> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time by a steady clock that begins with the server.
    fn millis(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Takes the room for the answer to a command, where it is known to be large.
async fn reach(executor: &dyn Executes, command: &Command, room: &mut Held) -> Result<(), Refusal> {
    let Command::LoadPhoto { id } = command else { return Ok(()) };
    match executor.photo_size(id).await.filter(|size| *size >= LARGE_ANSWER) {
        Some(size) => {
            room.reach(size).map_err(|_| Refusal::Unavailable { retry_after: BUSY_RETRY })
        }
        None => Ok(()),
    }
}

/// An answer, where there is room for one that is large.
fn give(answer: fieldmesh_dialect::Response, mut room: Held) -> Result<Response, Refusal> {
    if answer.body.len() < LARGE_ANSWER {
        return Ok(answer::whole(answer));
    }
    match room.reach(answer.body.len()) {
        Ok(()) => Ok(answer::large(answer, room)),
        Err(_) => Err(Refusal::Unavailable { retry_after: BUSY_RETRY }),
    }
}

/// The outcome of what opens a session.
fn opened(session: Result<Session, Refusal>) -> Outcome {
    session.map_or_else(Outcome::Refused, Outcome::Session)
}

/// What a request means, and the memory that this takes; a large one is read where it delays nobody
/// else.
async fn understand(
    route: Route,
    (request, held): (Request, Held),
    caller: Option<Caller>,
    mut memory: Held,
    passing: &mut Passing,
) -> Result<(Ask, Held), Ended> {
    let (is_large, is_nameless) = (request.body.len() > LARGE, passing.is_nameless());
    let read = move || {
        let device = if is_nameless { route.device_in_body(&request) } else { None };
        // One that is heavier is refused as such.
        let grown = memory.grow(route.weight(&request).min(WEIGHT_MAX));
        let ask = match grown {
            Ok(()) => route.understand(&request, caller.as_ref()),
            Err(_) => {
                Err(route.refuse(&request, &Refusal::Unavailable { retry_after: BUSY_RETRY }))
            }
        };
        drop((request, held));
        (device, ask.map(|ask| (ask, memory)))
    };
    let read = match is_large {
        false => Ok(read()),
        true => tokio::task::spawn_blocking(read).await,
    };
    match read {
        Ok((device, ask)) => {
            passing.name(device);
            ask.map_err(|response| Ended::Answered(Box::new(answer::whole(response))))
        }
        Err(broken) => match broken.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Refusal::Failed.into()),
        },
    }
}
