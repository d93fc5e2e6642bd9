//! A small authority that issues certificates by ACME: it checks what clients sign, dials whom it
//! certifies, and can be made to misbehave.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path as Part, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use data_encoding::BASE64URL_NOPAD;
use fieldmesh_http::{Certificates, Settings, serve};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair,
    SanType, date_time_ymd,
};
use serde_json::{Value as Json, json};
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::challenge;
use crate::jws::{AccountKey, Signed};

/// What an authority does of which it should do something else.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Conduct {
    /// As it should.
    Good,
    /// Issues certificates that expire in two days, after a long life.
    Old,
    /// Issues certificates for another name.
    OtherName,
    /// Issues something that is no certificate.
    NoCertificate,
    /// Expects another answer to its challenge than that of the protocol.
    OtherAnswer,
    /// Asks about a name that was not ordered.
    OtherQuestion,
    /// Offers no challenge that a port can answer.
    NoChallenge,
    /// As it should, but says of everything that it be asked again at the end of time.
    Later,
    /// Answers everything with this.
    Says(StatusCode, Vec<u8>),
}

/// An authority before it can be reached; whoever dials it is refused.
pub(crate) struct Closed {
    socket: TcpSocket,
    pub(crate) directory: String,
    pub(crate) roots: PathBuf,
    own: (PathBuf, PathBuf),
    state: Arc<Inner>,
}

/// An authority that serves until it is dropped.
pub(crate) struct Authority {
    pub(crate) directory: String,
    pub(crate) roots: PathBuf,
    state: Arc<Inner>,
    _stop: DropGuard,
}

struct Inner {
    base: String,
    root: Issuer<'static, KeyPair>,
    books: Mutex<Books>,
    /// Where the domains are.
    place: watch::Sender<Option<SocketAddr>>,
}

struct Books {
    conduct: Conduct,
    nonces: BTreeSet<String>,
    nonces_made: u64,
    accounts: Vec<Account>,
    orders: Vec<Order>,
}

struct Account {
    key: AccountKey,
    said: Json,
    is_forgotten: bool,
}

#[derive(Clone)]
struct Order {
    account: usize,
    domains: Vec<String>,
    /// What became of each.
    proven: Vec<Option<Result<(), String>>>,
    chain: Option<String>,
}

impl Closed {
    /// An authority whose files are in `folder`.
    pub(crate) fn new(folder: &Path) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let base = format!("https://{}", socket.local_addr().unwrap());
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let roots = folder.join("roots.pem");
        std::fs::write(&roots, params.self_signed(&key).unwrap().pem()).unwrap();
        let root = Issuer::new(params, key);
        let own = (folder.join("authority.pem"), folder.join("authority.key"));
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(&own.0, params.signed_by(&key, &root).unwrap().pem()).unwrap();
        std::fs::write(&own.1, key.serialize_pem()).unwrap();
        let books = Books {
            conduct: Conduct::Good,
            nonces: BTreeSet::new(),
            nonces_made: 0,
            accounts: Vec::new(),
            orders: Vec::new(),
        };
        let (place, books) = (watch::Sender::new(None), Mutex::new(books));
        let directory = format!("{base}/directory");
        let state = Arc::new(Inner { base, root, books, place });
        Self { socket, directory, roots, own, state }
    }

    /// Lets it be reached.
    pub(crate) fn open(self) -> Authority {
        let Self { socket, directory, roots, own, state } = self;
        let listener = socket.listen(64).unwrap();
        let router = Router::new()
            .route("/directory", get(list))
            .route("/nonce", get(nonce))
            .route("/{what}", post(change))
            .route("/{what}/{order}", post(look))
            .route("/{what}/{order}/{domain}", post(look_closer))
            .with_state(Arc::clone(&state));
        let certificates = Certificates::read(own.0, own.1).unwrap();
        let stop = CancellationToken::new();
        let end = stop.clone().drop_guard();
        tokio::spawn(async move {
            serve(listener, router, &Settings::default(), Some(certificates), stop).await;
        });
        Authority { directory, roots, state, _stop: end }
    }
}

impl Authority {
    /// Says where the domains are; until then it goes on looking for them.
    pub(crate) fn place(&self, address: SocketAddr) {
        self.state.place.send_replace(Some(address));
    }

    pub(crate) fn behave(&self, conduct: Conduct) {
        self.state.books.lock().unwrap().conduct = conduct;
    }

    pub(crate) fn orders(&self) -> usize {
        self.state.books.lock().unwrap().orders.len()
    }

    /// What its accounts said of themselves.
    pub(crate) fn accounts(&self) -> Vec<Json> {
        let books = self.state.books.lock().unwrap();
        books.accounts.iter().map(|account| account.said.clone()).collect()
    }

    /// Forgets every account, as one that is for trying things out does.
    pub(crate) fn forget(&self) {
        let mut books = self.state.books.lock().unwrap();
        books.accounts.iter_mut().for_each(|account| account.is_forgotten = true);
    }
}

type Served = State<Arc<Inner>>;
type Refused = (StatusCode, String);

async fn list(State(inner): Served) -> Response {
    let at = |path: &str| format!("{}/{path}", inner.base);
    let text =
        json!({"newNonce": at("nonce"), "newAccount": at("account"), "newOrder": at("order")});
    inner.answer(StatusCode::OK, None, &text.to_string())
}

async fn nonce(State(inner): Served) -> Response {
    inner.answer(StatusCode::OK, None, "")
}

async fn change(State(inner): Served, Part(what): Part<String>, body: Bytes) -> Response {
    let said = match inner.check(&what, &body) {
        Ok(said) => said,
        Err(refused) => return inner.refuse(&refused),
    };
    let payload = said.payload.unwrap_or_default();
    let mut books = inner.books.lock().unwrap();
    let (at, state) = match what.as_str() {
        "account" => {
            let Some(key) = AccountKey::of(&said.header) else {
                drop(books);
                return inner.refuse(&malformed("no key"));
            };
            books.accounts.push(Account { key, said: payload, is_forgotten: false });
            let at = format!("{}/account/{}", inner.base, books.accounts.len() - 1);
            (at, json!({"status": "valid"}))
        }
        _ => {
            let names = payload["identifiers"].as_array().cloned().unwrap_or_default();
            let name = |it: &Json| it["value"].as_str().unwrap_or_default().to_owned();
            let domains: Vec<String> = names.iter().map(name).collect();
            let proven = vec![None; domains.len()];
            books.orders.push(Order { account: said.account, domains, proven, chain: None });
            let number = books.orders.len() - 1;
            let state = inner.order(&books.orders[number], number);
            (format!("{}/order/{number}", inner.base), state)
        }
    };
    drop(books);
    inner.answer(StatusCode::CREATED, Some(&at), &state.to_string())
}

async fn look(
    State(inner): Served,
    Part((what, number)): Part<(String, usize)>,
    body: Bytes,
) -> Response {
    let said = match inner.check(&format!("{what}/{number}"), &body) {
        Ok(said) => said,
        Err(refused) => return inner.refuse(&refused),
    };
    if what == "account" {
        inner.books.lock().unwrap().accounts[number].said = said.payload.unwrap_or_default();
        return inner.answer(StatusCode::OK, None, "{\"status\":\"valid\"}");
    }
    if what == "finalize" {
        let chain = inner.issue(number, &said.payload.unwrap_or_default());
        inner.books.lock().unwrap().orders[number].chain = Some(chain);
    }
    let order = inner.books.lock().unwrap().orders[number].clone();
    assert_eq!(order.account, said.account, "an order of somebody else was asked for");
    match what.as_str() {
        "certificate" => inner.answer(StatusCode::OK, None, &order.chain.unwrap_or_default()),
        _ => inner.answer(StatusCode::OK, None, &inner.order(&order, number).to_string()),
    }
}

async fn look_closer(
    State(inner): Served,
    Part((what, number, domain)): Part<(String, usize, usize)>,
    body: Bytes,
) -> Response {
    let said = match inner.check(&format!("{what}/{number}/{domain}"), &body) {
        Ok(said) => said,
        Err(refused) => return inner.refuse(&refused),
    };
    let (order, conduct, key) = {
        let books = inner.books.lock().unwrap();
        let key = books.accounts[said.account].key.clone();
        (books.orders[number].clone(), books.conduct.clone(), key)
    };
    let token = format!("token-{number}-{domain}");
    if what == "challenge" {
        let token = if conduct == Conduct::OtherAnswer { "other" } else { token.as_str() };
        let mut place = inner.place.subscribe();
        let place = place.wait_for(Option::is_some).await.unwrap().unwrap();
        let expected = key.authorization(token);
        let found = challenge::prove(place, &order.domains[domain], &expected).await;
        inner.books.lock().unwrap().orders[number].proven[domain] = Some(found);
    }
    let proven = inner.books.lock().unwrap().orders[number].proven[domain].clone();
    let at = format!("{}/challenge/{number}/{domain}", inner.base);
    let mut challenge = json!({"type": "tls-alpn-01", "url": at, "token": token});
    let status = match proven {
        None => "pending",
        Some(Ok(())) => "valid",
        Some(Err(reason)) => {
            challenge["error"] = json!({"type": "urn:x", "detail": reason});
            "invalid"
        }
    };
    challenge["status"] = status.into();
    if what == "challenge" {
        // Whether it is good is told by the authorization.
        challenge["error"] = Json::Null;
        return inner.answer(StatusCode::OK, None, &challenge.to_string());
    }
    let name = match conduct {
        Conduct::OtherQuestion => "bank.example",
        _ => order.domains[domain].as_str(),
    };
    let offered = if conduct == Conduct::NoChallenge { json!([]) } else { json!([challenge]) };
    let identifier = json!({"type": "dns", "value": name});
    let state = json!({"identifier": identifier, "status": status, "challenges": offered});
    inner.answer(StatusCode::OK, None, &state.to_string())
}

/// A request whose signature is good.
struct Checked {
    header: Json,
    payload: Option<Json>,
    account: usize,
}

impl Inner {
    /// Reads a request for `path`: its nonce, its address and its signature.
    fn check(&self, path: &str, body: &[u8]) -> Result<Checked, Refused> {
        let said = Signed::read(body).ok_or_else(|| malformed("no signature"))?;
        let mut books = self.books.lock().unwrap();
        let nonce = said.header["nonce"].as_str().unwrap_or_default();
        if !books.nonces.remove(nonce) {
            return Err((StatusCode::BAD_REQUEST, "badNonce".into()));
        }
        if said.header["url"] != format!("{}/{path}", self.base) {
            return Err(malformed("signed for another address"));
        }
        let (account, key) = if path == "account" {
            let key = AccountKey::of(&said.header).ok_or_else(|| malformed("no key"))?;
            (books.accounts.len(), key)
        } else {
            let name = said.header["kid"].as_str().unwrap_or_default();
            let number = name.strip_prefix(&format!("{}/account/", self.base));
            let number: usize = number.and_then(|it| it.parse().ok()).unwrap_or(usize::MAX);
            let account = books.accounts.get(number).filter(|account| !account.is_forgotten);
            let unknown = || (StatusCode::BAD_REQUEST, "accountDoesNotExist".into());
            (number, account.ok_or_else(unknown)?.key.clone())
        };
        match said.is_by(&key) {
            true => Ok(Checked { header: said.header, payload: said.payload, account }),
            false => Err(malformed("the signature is not good")),
        }
    }

    fn order(&self, order: &Order, number: usize) -> Json {
        let at = |what: &str| format!("{}/{what}/{number}", self.base);
        let is_refused = order.proven.iter().flatten().any(Result::is_err);
        let is_proven = order.proven.iter().all(|it| matches!(it, Some(Ok(()))));
        let status = match (is_refused, is_proven, &order.chain) {
            (true, ..) => "invalid",
            (false, true, Some(_)) => "valid",
            (false, true, None) => "ready",
            (false, false, _) => "pending",
        };
        let numbers = 0..order.domains.len();
        let asked: Vec<String> =
            numbers.map(|domain| format!("{}/{domain}", at("authorization"))).collect();
        let finalize = at("finalize");
        let mut state = json!({"status": status, "authorizations": asked, "finalize": finalize});
        if order.chain.is_some() {
            state["certificate"] = at("certificate").into();
        }
        state
    }

    /// Signs what a client asks for.
    fn issue(&self, number: usize, payload: &Json) -> String {
        let (order, conduct) = {
            let books = self.books.lock().unwrap();
            (books.orders[number].clone(), books.conduct.clone())
        };
        let request = BASE64URL_NOPAD.decode(payload["csr"].as_str().unwrap().as_bytes()).unwrap();
        let mut request = CertificateSigningRequestParams::from_der(&request.into()).unwrap();
        let name = |it: &SanType| match it {
            SanType::DnsName(name) => name.as_str().to_owned(),
            other => panic!("{other:?}"),
        };
        let names: Vec<String> = request.params.subject_alt_names.iter().map(name).collect();
        assert_eq!(names, order.domains);
        assert!(order.proven.iter().all(|it| matches!(it, Some(Ok(())))));
        if conduct == Conduct::OtherName {
            let other = CertificateParams::new(["bank.example".to_owned()]).unwrap();
            request.params.subject_alt_names = other.subject_alt_names;
        }
        let (begins, ends) = if conduct == Conduct::Old { (-3_000, 2) } else { (-1, 90) };
        let (year, month, day) = date_in(begins);
        request.params.not_before = date_time_ymd(year, month, day);
        let (year, month, day) = date_in(ends);
        request.params.not_after = date_time_ymd(year, month, day);
        match conduct {
            Conduct::NoCertificate => "-----BEGIN CERTIFICATE-----\nAAAA\n".into(),
            _ => request.signed_by(&self.root).unwrap().pem(),
        }
    }

    fn answer(&self, status: StatusCode, at: Option<&str>, text: &str) -> Response {
        let mut books = self.books.lock().unwrap();
        books.nonces_made += 1;
        let nonce = format!("nonce-{}", books.nonces_made);
        books.nonces.insert(nonce.clone());
        let mut headers = HeaderMap::new();
        headers.insert("replay-nonce", nonce.parse().unwrap());
        if let Some(at) = at {
            headers.insert("location", at.parse().unwrap());
        }
        match &books.conduct {
            Conduct::Says(status, bytes) => (*status, headers, bytes.clone()).into_response(),
            Conduct::Later => {
                headers.insert("retry-after", "18446744073709551615".parse().unwrap());
                (status, headers, text.to_owned()).into_response()
            }
            _ => (status, headers, text.to_owned()).into_response(),
        }
    }

    fn refuse(&self, (status, kind): &Refused) -> Response {
        let kind = format!("urn:ietf:params:acme:error:{kind}");
        self.answer(*status, None, &json!({"type": kind, "detail": "refused"}).to_string())
    }
}

fn malformed(why: &str) -> Refused {
    (StatusCode::BAD_REQUEST, format!("malformed:{why}"))
}

/// The date so many days from today.
fn date_in(days: i64) -> (i32, u8, u8) {
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let day = today.checked_add(jiff::Span::new().days(days)).unwrap();
    (i32::from(day.year()), day.month().unsigned_abs(), day.day().unsigned_abs())
}
