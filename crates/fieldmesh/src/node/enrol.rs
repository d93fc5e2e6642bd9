//! Membership: making a tenant, inviting, joining, and serving those who join.

use fieldmesh_identity::{
    Admission, Authority, Certificate, DeviceKeys, Grant, Granted, Invitation, InvitationBook,
    Item, JoinAnswer, JoinRefusal, JoinRequest, JoinSecret, Permit, Policy, RecoveryKey, Seed,
    admit,
};
use fieldmesh_model::{Role, UserId};
use fieldmesh_net::{Endpoint, JoinConnection, JoinError, address};
use fieldmesh_store::Options;

use crate::api::{InvitationReport, InviteOptions, JoinReport, TenantReport};
use crate::clock;
use crate::entry::{Entry, Fact};
use crate::error::{Error, with_causes};
use crate::home::{Home, Identity};
use crate::ledger::{Ledger, dialled_relays};

use super::builder::Kind;
use super::{Builder, Node, TenantOptions, open};

/// How often a waiting inviter looks whether its invitations are used up.
const JOIN_POLL: std::time::Duration = std::time::Duration::from_millis(200);

/// Makes a tenant whose authority this device holds.
pub(super) async fn create_tenant(
    builder: Builder,
    options: TenantOptions,
) -> Result<(Node, TenantReport), Error> {
    let name = options.name.trim().to_owned();
    if name.is_empty() {
        return Err(Error::Usage { reason: "a tenant needs a name".into() });
    }
    if crate::home::exists(&builder.home) {
        return Err(Error::HomeExists { folder: builder.home });
    }
    let role = match builder.kind {
        Kind::Device => Role::Admin,
        Kind::Relay => Role::Relay,
        Kind::Gateway => Role::Gateway,
    };
    let (path, unlock) = (builder.home.clone(), builder.unlock.clone());
    let make = move || {
        let founding = found(&name, &options, role)?;
        let home = Home::create(&path, &unlock)?;
        write_home(&home, &founding.identity, &founding.items)
    };
    tokio::task::spawn_blocking(make).await.map_err(|_| Error::ShuttingDown)??;
    let node = open::open(builder).await?;
    let report = node.tenant();
    Ok((node, report))
}

/// Joins the tenant of an invitation.
pub(super) async fn join(
    builder: Builder,
    invitation: &str,
    device: Option<String>,
) -> Result<(Node, JoinReport), Error> {
    if crate::home::exists(&builder.home) {
        return Err(Error::HomeExists { folder: builder.home });
    }
    let invitation: Invitation = invitation.parse().map_err(|error| invitation_error(&error))?;
    if invitation.expires <= clock::now() {
        tracing::warn!("the invitation has expired by this device's clock; asking all the same");
    }
    let (path, unlock, id) =
        (builder.home.clone(), builder.unlock.clone(), *invitation.id().as_bytes());
    let (home, seed) =
        tokio::task::spawn_blocking(move || Home::create_joining(&path, &unlock, &id))
            .await
            .map_err(|_| Error::ShuttingDown)??;
    let keys = DeviceKeys::from_seed(&Seed::from_bytes(seed));
    let device = device.unwrap_or_else(host_name);
    let (granted, address) = match ask(&invitation, &keys, &device).await {
        Ok(answer) => answer,
        Err(refused) => {
            // Where the request may have arrived, the key stays for another try.
            if refused.is_final {
                home.abandon_joining();
            }
            return Err(refused.error);
        }
    };
    let is_device = matches!(builder.kind, Kind::Device);
    let (node, role) = become_member(builder, home, &invitation, &granted, seed, device).await?;
    // A relay is dialled by the others, and none of them says where it is to dial.
    let others = granted.addresses.iter().filter(|_| is_device);
    for other in others.chain([&address]) {
        node.inner.contacts.heard(None, other);
    }
    let inner = std::sync::Arc::clone(&node.inner);
    node.blocking(move |ledger| inner.contacts.save(ledger)).await?;
    let tenant = node.tenant();
    Ok((node, JoinReport { tenant, role }))
}

/// Makes `home` that of the member which `granted` says the device with `seed` is; opens its node.
pub(super) async fn become_member(
    builder: Builder,
    home: Home,
    invitation: &Invitation,
    granted: &Granted,
    seed: [u8; 32],
    device: String,
) -> Result<(Node, Role), Error> {
    let keys = DeviceKeys::from_seed(&Seed::from_bytes(seed));
    let items: Result<Vec<Item>, _> =
        granted.items.iter().map(|bytes| Item::decode(bytes)).collect();
    let items = items.map_err(|error| invitation_error(&error))?;
    let policy = Policy::evaluate(invitation.tenant, &items);
    let member = policy.member(&keys.device()).ok_or_else(|| Error::Invitation {
        reason: "the answer does not make this device a member".into(),
    })?;
    let role = member.role;
    let identity = Identity {
        device_seed: seed,
        authority_seed: None,
        recovery_seed: None,
        tenant: invitation.tenant,
        authority: invitation.authority,
        tenant_name: granted.tenant_name.clone(),
        device_name: device,
        user: member.user,
        certificates: granted.chain.clone(),
    };
    let make = move || {
        write_home(&home, &identity, &items)?;
        home.finish_joining();
        Ok(())
    };
    tokio::task::spawn_blocking(make).await.map_err(|_| Error::ShuttingDown)??;
    let node = open::open(builder).await?;
    Ok((node, role))
}

/// Asks every address of an invitation in turn; gives the one that answered too.
async fn ask(
    invitation: &Invitation,
    keys: &DeviceKeys,
    device: &str,
) -> Result<(Granted, String), Refused> {
    let endpoint = Endpoint::bind((std::net::Ipv6Addr::UNSPECIFIED, 0).into())
        .map_err(|error| Error::Unreachable { reason: with_causes(&error) })
        .map_err(|error| Refused { error, is_final: true })?;
    let answer = ask_from(&endpoint, invitation, keys, device).await;
    // Whatever came of it: those who were asked hear the end.
    endpoint.close().await;
    answer
}

/// The same from an endpoint.
async fn ask_from(
    endpoint: &Endpoint,
    invitation: &Invitation,
    keys: &DeviceKeys,
    device: &str,
) -> Result<(Granted, String), Refused> {
    let (mut failures, mut is_final) = (Vec::new(), true);
    for text in &invitation.addresses {
        let resolved = match address::resolve(text).await {
            Ok(resolved) => resolved,
            Err(error) => {
                failures.push(with_causes(&error));
                continue;
            }
        };
        for address in resolved {
            match endpoint.join(address, invitation, keys, device).await {
                Ok(granted) => return Ok((granted, text.clone())),
                Err(JoinError::Refused(refusal)) => {
                    let error = Error::Invitation { reason: refusal.to_string() };
                    return Err(Refused { error, is_final: true });
                }
                Err(error) => {
                    is_final &= matches!(error, JoinError::Dial(_));
                    failures.push(with_causes(&error));
                }
            }
        }
    }
    let reason = format!(
        "nobody serves this invitation; start `invite` or the daemon on the device that made it \
         ({})",
        failures.join("; ")
    );
    Err(Refused { error: Error::Unreachable { reason }, is_final })
}

/// A join that did not come about.
struct Refused {
    error: Error,
    /// Whether nobody can have taken the device in.
    is_final: bool,
}

/// What a new tenant begins with.
struct Founding {
    identity: Identity,
    items: Vec<Item>,
}

fn found(name: &str, options: &TenantOptions, role: Role) -> Result<Founding, Error> {
    let seeds: [[u8; 32]; 3] = [clock::random(), clock::random(), clock::random()];
    let [device_seed, authority_seed, recovery_seed] = seeds;
    let keys = DeviceKeys::from_seed(&Seed::from_bytes(device_seed));
    let authority = Authority::from_seed(&Seed::from_bytes(authority_seed));
    let recovery = RecoveryKey::from_seed(&Seed::from_bytes(recovery_seed));
    let device = options.device.clone().unwrap_or_else(host_name);
    let user = new_user();
    let mut founder = Certificate::new(keys.public_key(), &device, user, role);
    founder.email = options.user.clone().unwrap_or_default();
    let founded = fieldmesh_identity::found(&authority, recovery.public_key(), name, &founder)
        .map_err(|error| Error::Usage { reason: with_causes(&error) })?;
    let identity = Identity {
        device_seed,
        authority_seed: Some(authority_seed),
        recovery_seed: Some(recovery_seed),
        tenant: founded.tenant,
        authority: authority.public_key(),
        tenant_name: name.to_owned(),
        device_name: device,
        user,
        certificates: founded.chain,
    };
    Ok(Founding { identity, items: founded.items })
}

/// The id of a person nobody knows so far.
fn new_user() -> UserId {
    UserId::from_uuid(uuid::Builder::from_random_bytes(clock::random()).into_uuid())
}

/// Writes the first policy items and then the identity, which makes the folder a home.
fn write_home(home: &Home, identity: &Identity, items: &[Item]) -> Result<(), Error> {
    let options = Options { reserve_bytes: 0, ..Options::default() };
    let store = open::open_store(home, &options)?;
    let entries = items.iter().map(|item| Entry::Item(item.encode().to_vec()).encode()).collect();
    store.append(entries).map_err(|error| Error::store(&error))?;
    store.close().map_err(|error| Error::store(&error))?;
    home.write_identity(identity)
}

impl Node {
    /// The tenant and this device.
    pub fn tenant(&self) -> TenantReport {
        tenant_of(&self.inner.ledger.identity)
    }

    /// Whether this device writes for people who have no device of their own; see [`Role::Gateway`].
    pub fn is_gateway(&self) -> bool {
        self.inner.ledger.me().is_ok_and(|member| member.role == Role::Gateway)
    }

    /// The person whose device this is.
    pub fn user(&self) -> UserId {
        self.inner.ledger.user()
    }

    /// Issues invitations; whoever holds one joins through this device while it listens.
    ///
    /// # Errors
    ///
    /// [`Error::NotAllowed`] on a device that does not hold the tenant's authority.
    pub async fn invite(&self, options: InviteOptions) -> Result<Vec<InvitationReport>, Error> {
        let listening = self.listen(None).await?;
        let mut addresses: Vec<String> = address::own_addresses(listening.port())
            .into_iter()
            .map(|address| address.to_string())
            .collect();
        if !listening.ip().is_unspecified() {
            addresses = vec![listening.to_string()];
        }
        addresses.truncate(8);
        self.invite_at(options, addresses).await
    }

    /// As [`Node::invite`], for a device that others reach at `addresses` of the caller's choice:
    /// host names, or what a router forwards.
    ///
    /// # Errors
    ///
    /// [`Error::NotAllowed`] on a device that does not hold the tenant's authority.
    pub async fn invite_at(
        &self,
        options: InviteOptions,
        addresses: Vec<String>,
    ) -> Result<Vec<InvitationReport>, Error> {
        self.listen(None).await?;
        self.blocking(move |ledger| issue(ledger, &options, None, &addresses)).await
    }

    /// As [`Node::invite_at`], for a person who has an account: the certificates carry its id.
    ///
    /// # Errors
    ///
    /// [`Error::NotAllowed`] on a device that does not hold the tenant's authority.
    pub async fn invite_person_at(
        &self,
        person: UserId,
        options: InviteOptions,
        addresses: Vec<String>,
    ) -> Result<Vec<InvitationReport>, Error> {
        self.listen(None).await?;
        self.blocking(move |ledger| issue(ledger, &options, Some(person), &addresses)).await
    }

    /// The id of the person with an e-mail address, as certificates and invitations carry it.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn person(&self, email: &str) -> Result<Option<UserId>, Error> {
        let email = email.to_owned();
        self.blocking(move |ledger| {
            let _enrolment = ledger.enrolment();
            Ok(person_with(&ledger.policy(), &read_book(ledger)?, &email))
        })
        .await
    }

    /// Waits until the invitations are used up or have expired.
    ///
    /// # Errors
    ///
    /// The store fails.
    pub async fn wait_for_joins(&self, invitations: &[InvitationReport]) -> Result<(), Error> {
        let ids: Vec<_> = invitations
            .iter()
            .filter_map(|report| report.invitation.parse::<Invitation>().ok())
            .map(|invitation| invitation.id())
            .collect();
        loop {
            let ids = ids.clone();
            let open = self
                .blocking(move |ledger| {
                    let book = read_book(ledger)?;
                    let now = clock::now();
                    let open = book.issued().any(|(id, issued)| {
                        ids.contains(id) && issued.uses_left > 0 && issued.expires > now
                    });
                    Ok(open)
                })
                .await?;
            if !open {
                return Ok(());
            }
            tokio::time::sleep(JOIN_POLL).await;
        }
    }

    /// Serves one device that wants to join.
    pub(super) async fn serve_join(&self, mut join: JoinConnection) {
        let address = join.remote_address();
        let request = match join.request().await {
            Ok(request) => request,
            Err(error) => {
                tracing::info!(%address, %error, "a join ended before it was asked for");
                return;
            }
        };
        let decided = self.decide_join(*join.channel(), request).await;
        let answer = match decided {
            Ok(Decision::Granted(admission)) => JoinAnswer::Granted(admission.granted),
            Ok(Decision::Refused(refusal)) => {
                tracing::info!(%address, %refusal, "a device may not join");
                JoinAnswer::Refused(refusal)
            }
            Err(error) => {
                tracing::error!(%error, "a join could not be decided");
                return;
            }
        };
        if let Err(error) = join.answer(&answer).await {
            tracing::info!(%address, %error, "the answer to a join did not arrive");
        }
    }

    /// Decides whether somebody joins; those who do are members for everybody.
    pub(super) async fn decide_join(
        &self,
        channel: [u8; 32],
        request: JoinRequest,
    ) -> Result<Decision, Error> {
        self.blocking(move |ledger| decide(ledger, &channel, &request)).await
    }
}

/// What became of a request to join.
pub(super) enum Decision {
    Granted(Box<Admission>),
    Refused(JoinRefusal),
}

fn issue(
    ledger: &Ledger,
    options: &InviteOptions,
    account: Option<UserId>,
    addresses: &[String],
) -> Result<Vec<InvitationReport>, Error> {
    check_authority(ledger, "invite")?;
    let _enrolment = ledger.enrolment();
    let mut book = read_book(ledger)?;
    book.forget_expired(clock::now());
    let policy = ledger.policy();
    let email = options.user.as_deref().unwrap_or_default();
    // One person has one user id on all devices; without an address it is somebody new.
    let known = person_with(&policy, &book, email)
        .or(account)
        .or_else(|| (!email.is_empty()).then(new_user));
    let mut reports = Vec::new();
    // An invitation each: whoever joins without an e-mail address is a person of their own.
    for _ in 0..options.count.max(1) {
        reports.push(add_invitation(ledger, &mut book, options, known, addresses)?);
    }
    write_book(ledger, &book)?;
    Ok(reports)
}

/// Fails where somebody else holds the tenant's authority, and names from whom to do `what`.
pub(super) fn check_authority(ledger: &Ledger, what: &str) -> Result<(), Error> {
    if ledger.identity.authority().is_some() {
        return Ok(());
    }
    let whence = ledger.whence()?;
    let reason = format!("this device does not hold the tenant's authority; {what} {whence}");
    Err(Error::NotAllowed { reason })
}

/// The person with an address, by the certificates of the tenant or else by open invitations.
fn person_with(policy: &Policy, book: &InvitationBook, email: &str) -> Option<UserId> {
    let is_meant = |other: &str| !email.is_empty() && other.eq_ignore_ascii_case(email);
    let member = policy.members().find(|member| is_meant(&member.email));
    let invited = || book.issued().find(|(_, issued)| is_meant(&issued.grant.email));
    member.map(|member| member.user).or_else(|| invited().map(|(_, issued)| issued.grant.user))
}

fn add_invitation(
    ledger: &Ledger,
    book: &mut InvitationBook,
    options: &InviteOptions,
    known: Option<UserId>,
    addresses: &[String],
) -> Result<InvitationReport, Error> {
    let email = options.user.clone().unwrap_or_default();
    let mut grant = Grant::new(known.unwrap_or_else(new_user), options.role);
    grant.email.clone_from(&email);
    let valid = i64::try_from(options.valid.as_millis()).unwrap_or(i64::MAX);
    let expires = clock::now().plus_millis(valid);
    let secret = JoinSecret::from_bytes(clock::random());
    book.issue(secret.clone(), grant, expires, 1)
        .map_err(|error| Error::Usage { reason: with_causes(&error) })?;
    let invitation = Invitation {
        tenant: ledger.identity.tenant,
        authority: ledger.identity.authority,
        secret,
        expires,
        role: options.role,
        tenant_name: ledger.identity.tenant_name.clone(),
        email,
        addresses: addresses.to_vec(),
    };
    Ok(InvitationReport { invitation: invitation.to_text(), expires_at: expires })
}

/// Decides a request and makes everything that follows from it durable.
fn decide(ledger: &Ledger, channel: &[u8; 32], request: &JoinRequest) -> Result<Decision, Error> {
    let Some(authority) = ledger.identity.authority() else {
        return Ok(Decision::Refused(JoinRefusal::UnknownInvitation));
    };
    let _enrolment = ledger.enrolment();
    let tenant = ledger.identity.tenant;
    let mut book = read_book(ledger)?;
    let (issued, usage) = match book.decide(clock::now(), tenant, channel, request) {
        Ok(permit) => (permit.issued.clone(), permit.usage),
        Err(refusal) => return Ok(Decision::Refused(refusal)),
    };
    write_book(ledger, &book)?;
    let items = ledger.policy_items()?;
    let permit = Permit { issued: &issued, usage };
    let policy = ledger.policy();
    let relays = dialled_relays(&policy).map(|(address, _)| address.to_owned()).collect();
    let admission = admit(&authority, tenant, &items, &permit, channel, request, relays)
        .map_err(|error| Error::store(&error))?;
    if let Some(item) = &admission.certificate {
        ledger.add_item(item)?;
    }
    Ok(Decision::Granted(Box::new(admission)))
}

pub(super) fn read_book(ledger: &Ledger) -> Result<InvitationBook, Error> {
    match ledger.recall(&Fact::Invitations(Vec::new()))? {
        Some(Fact::Invitations(bytes)) => postcard::from_bytes(&bytes).map_err(|_| Error::Store {
            reason: "the book of invitations is damaged; issue new ones".into(),
        }),
        _ => Ok(InvitationBook::default()),
    }
}

pub(super) fn write_book(ledger: &Ledger, book: &InvitationBook) -> Result<(), Error> {
    let bytes = postcard::to_allocvec(book).expect("a book holds nothing unserialisable");
    ledger.remember(Fact::Invitations(bytes))
}

fn invitation_error(error: &dyn std::error::Error) -> Error {
    Error::Invitation { reason: with_causes(error) }
}

/// The host's name, for a device that was given none.
pub(super) fn host_name() -> String {
    let read = || std::fs::read_to_string("/etc/hostname").ok();
    let name = std::env::var("HOSTNAME").ok().or_else(read).unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "device".into() } else { name.chars().take(64).collect() }
}

/// The tenant and the device of an identity.
pub(super) fn tenant_of(identity: &Identity) -> TenantReport {
    TenantReport {
        tenant: identity.tenant,
        name: identity.tenant_name.clone(),
        slug: slug(&identity.tenant_name),
        fingerprint: fingerprint(&identity.authority),
        device: identity.keys().device(),
        device_name: identity.device_name.clone(),
    }
}

/// A name for addresses: lower-case letters, digits and dashes.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    for letter in name.chars().flat_map(char::to_lowercase) {
        if letter.is_ascii_alphanumeric() {
            slug.push(letter);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "tenant".into() } else { slug.chars().take(40).collect() }
}

/// The fingerprint of a key, in groups that can be read aloud.
fn fingerprint(key: &[u8; 32]) -> String {
    let hash = blake3::hash(key);
    let hex: Vec<String> = hash.as_bytes()[..16]
        .chunks(2)
        .map(|pair| format!("{:02x}{:02x}", pair[0], pair[1]))
        .collect();
    hex.join("-")
}
