//! A server with two tenants.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use fieldmesh_dialect::command::{Pull, Push};
use fieldmesh_dialect::outcome::Page;
use fieldmesh_dialect::{Caller, Command, Dialect, Dialects, FeedId, Outcome};
use fieldmesh_http::{Certificates, Executes, Passed, Settings, Shell, serve};
use fieldmesh_model::{Moment, Role, TenantId};
use fieldmesh_store::KeyFile;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _, stream};
use serde_json::{Value as Json, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::client::Ask;
use super::executor::Executor as _;
use super::memory::Memory;
use crate::accounts::{self, Accounts, NewUser};
use crate::gateway::{Gateway, Tenant, Tenants};

pub(super) const WELL: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";
pub(super) const PASSWORD: &str = "tumbleweed 7";
/// A device whose requests make the executor panic.
pub(super) const PANIC: &str = "PANIC";

/// How large each photo is.
pub(super) const PHOTO_SIZE: usize = 1 << 20;

/// Photos on their way from a disk.
pub(super) struct Photos {
    /// One for each that is being read.
    pub(super) begun: Semaphore,
    /// As many as may come to their end.
    pub(super) may_end: Semaphore,
}

/// An executor in memory behind the seam.
struct Executor {
    memory: Mutex<Memory>,
    photos: Arc<Photos>,
}

impl Executor {
    fn new(user: &str, photos: &Arc<Photos>) -> Self {
        let mut memory = Memory::new(user);
        let place = [("latitude", 31.5.into()), ("longitude", (-102.5).into())];
        let fields = [("status", "ACTIVE".into())].into_iter().chain(place);
        let fields = fields.map(|(key, value)| (key.to_owned(), value)).collect();
        memory.put("well", WELL.into(), fields);
        Self { memory: Mutex::new(memory), photos: Arc::clone(photos) }
    }
}

impl Executes for Executor {
    fn feed(&self) -> FeedId {
        FeedId(*b"acme/one")
    }

    fn execute<'a>(
        &'a self,
        caller: &'a Caller,
        dialect: Option<Dialect>,
        command: Command,
        _at: Moment,
    ) -> BoxFuture<'a, Outcome> {
        if let Command::Push(Push { device: Some(device), .. }) = &command {
            assert_ne!(device.id, PANIC);
        }
        async move {
            if matches!(command, Command::LoadPhoto { .. }) {
                self.photos.begun.add_permits(1);
                self.photos.may_end.acquire().await.unwrap().forget();
                let (content_type, bytes) = ("image/jpeg".to_owned(), vec![7; PHOTO_SIZE]);
                return Outcome::Photo { content_type, bytes };
            }
            self.memory.lock().unwrap().execute(caller, dialect, command)
        }
        .boxed()
    }

    fn photo_size<'a>(&'a self, _id: &'a str) -> BoxFuture<'a, Option<usize>> {
        async { Some(PHOTO_SIZE) }.boxed()
    }

    fn follow(
        &self,
        caller: Caller,
        dialect: Option<Dialect>,
        mut pull: Pull,
    ) -> BoxStream<'static, Page> {
        pull.since = fieldmesh_dialect::Since::Start;
        let outcome = self.memory.lock().unwrap().execute(&caller, dialect, Command::Pull(pull));
        let Outcome::Page(page) = outcome else { panic!("a pull gives a page") };
        stream::iter([page]).chain(stream::pending()).boxed()
    }
}

type Told = Arc<Mutex<Vec<(String, Passed)>>>;

/// Two tenants that share nothing.
struct Two {
    executors: [Arc<Executor>; 2],
    told: Told,
}

pub(super) fn tenant(number: u8) -> TenantId {
    TenantId::from_bytes([0xa0 + number; 32])
}

fn slug(number: u8) -> &'static str {
    ["acme", "other"][usize::from(number)]
}

impl Two {
    fn tenant(number: u8) -> Tenant {
        let aliases = [slug(number).to_owned(), tenant(number).short()];
        Tenant { id: tenant(number), aliases: BTreeSet::from(aliases), dialects: Dialects::all() }
    }
}

impl Tenants for Two {
    fn named(&self, name: &str) -> Option<Tenant> {
        let tenants = [0, 1].map(Self::tenant);
        tenants.into_iter().find(|one| one.id.to_string() == name || one.aliases.contains(name))
    }

    fn only(&self) -> Option<Tenant> {
        None
    }

    fn passed(&self, _: TenantId, device: &str, passed: &Passed) {
        self.told.lock().unwrap().push((device.to_owned(), *passed));
    }

    fn executor(&self, id: TenantId) -> BoxFuture<'_, Option<Arc<dyn Executes>>> {
        let number = usize::from(id == tenant(1));
        let executor: Arc<dyn Executes> = self.executors[number].clone();
        async { Some(executor) }.boxed()
    }
}

/// The server, and what lies behind it.
pub(super) struct Scene {
    pub(super) address: SocketAddr,
    pub(super) accounts: Arc<Accounts>,
    pub(super) shell: Shell,
    /// What was counted, by device.
    pub(super) told: Told,
    pub(super) photos: Arc<Photos>,
    pub(super) folder: tempfile::TempDir,
    /// Stops it.
    pub(super) stop: CancellationToken,
    /// Ends when it has stopped.
    pub(super) serving: AbortOnDropHandle<()>,
}

impl Scene {
    /// Settings under which anybody may come as often as he likes.
    pub(super) fn generous() -> Settings {
        let often = fieldmesh_http::Rate::a_second(1_000_000);
        let domain = Some("relay.example".into());
        let (address_rate, sync_rate, tenant_rate) = (often, often, often);
        Settings { domain, address_rate, sync_rate, tenant_rate, ..Settings::default() }
    }

    /// With limits that no test reaches by chance.
    pub(super) async fn new() -> Self {
        let settings = Settings {
            domain: Some("relay.example".into()),
            address_rate: fieldmesh_http::Rate::a_second(10_000),
            ..Settings::default()
        };
        Self::with(settings).await
    }

    pub(super) async fn with(settings: Settings) -> Self {
        Self::over(settings, None).await
    }

    pub(super) async fn over(settings: Settings, certificates: Option<Certificates>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("relay.key");
        KeyFile::create(&key).unwrap();
        let accounts = Arc::new(Accounts::new(folder.path().join("accounts"), key));
        let (begun, may_end) = (Semaphore::new(0), Semaphore::new(0));
        let photos = Arc::new(Photos { begun, may_end });
        let executors = ["ann", "ann"].map(|user| Arc::new(Executor::new(user, &photos)));
        let told = Told::default();
        let two = Two { executors, told: Arc::clone(&told) };
        let gateway = Gateway::new(two, Arc::clone(&accounts));
        let stop = CancellationToken::new();
        let shell = Shell::new(Arc::new(gateway), settings.clone(), stop.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (router, stopping) = (shell.router(), stop.clone());
        let serving = tokio::spawn(async move {
            serve(listener, router, &settings, certificates, stopping).await;
        });
        let serving = AbortOnDropHandle::new(serving);
        Self { address, accounts, shell, told, photos, folder, stop, serving }
    }

    /// Adds a person to a tenant, with [`PASSWORD`].
    pub(super) fn add(&self, number: u8, email: &str, role: Role) {
        let new = NewUser {
            email: email.into(),
            name: Some("Ann".into()),
            role,
            password: PASSWORD.into(),
            practices: BTreeSet::new(),
            aliases: BTreeSet::new(),
        };
        let account = accounts::new_account(&new, accounts::new_user(), accounts::now()).unwrap();
        self.accounts.of(tenant(number)).unwrap().add(account, accounts::now()).unwrap();
    }

    /// What a login answers.
    pub(super) async fn log_in(&self, number: u8, email: &str) -> Json {
        let body = json!({ "email": email, "password": PASSWORD });
        let ask = Ask::post("/auth/login", &body).with("x-tenant-subdomain", slug(number));
        let answer = ask.send(self.address).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// A person with a token.
    pub(super) async fn token(&self, number: u8, email: &str, role: Role) -> String {
        self.add(number, email, role);
        self.log_in(number, email).await["accessToken"].as_str().unwrap().to_owned()
    }
}

/// An entry as wellpulse pushes it.
pub(super) fn entry(minute: usize) -> Json {
    json!({
        "wellId": WELL, "entryType": "PRODUCTION", "data": { "oilVolume": minute },
        "recordedAt": format!("2025-10-25T09:{minute:02}:00.000Z"),
    })
}
