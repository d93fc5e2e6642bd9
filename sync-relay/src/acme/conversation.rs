//! One conversation with an authority, from the account to the certificate (RFC 8555).

use std::time::Duration;

use fieldmesh::api::Problem;
use fieldmesh_http::{Answering, Certificates, CertificatesError, Outward, Pair};
use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Error, Identifier, KeyAuthorization, NewAccount,
    NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};

use super::authority::Authority;
use super::folder::{AcmeFolder, KeptAccount, KeptCertificate};
use crate::settings::AcmeSettings;

/// How an authority says that it does not know an account, for instance because it forgot it.
const ACCOUNT_UNKNOWN: &str = "urn:ietf:params:acme:error:accountDoesNotExist";
/// How long it may take to look at the names, and to issue the certificate.
const PATIENCE: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(180));

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum AcmeError {
    /// The authority refused, or cannot be spoken to.
    #[error(transparent)]
    Authority(#[from] Error),
    /// It found something else at a name.
    #[error("it could not find this relay at {domain}: {reason}")]
    NotFound { domain: String, reason: String },
    /// The order came to nothing, and it does not say why.
    #[error("it ended the order without a reason")]
    Ended,
    /// It does not take the one proof that this relay has.
    #[error("it offers no tls-alpn-01 for {domain}, which is the one proof that a relay has")]
    NoProof { domain: String },
    /// It asks about something that was not ordered.
    #[error("it asks about {name}, which was not ordered")]
    NotOrdered { name: String },
    /// What it issued cannot be used.
    #[error("what it issued cannot be used")]
    Unusable(#[source] CertificatesError),
    /// What it issued is for other names, or for no time.
    #[error("what it issued is not good for {domain}")]
    NotFor { domain: String },
    /// What it issued has to be renewed already.
    #[error("what it issued is to be renewed at once; is the clock of this machine right?")]
    Due,
    /// A request or a proof could not be written.
    #[error("a request could not be made")]
    Request(#[from] rcgen::Error),
    /// The disk does not take what belongs to it.
    #[error("{}", .0.detail)]
    File(Problem),
}

/// What a conversation needs.
pub(super) struct Conversation<'a> {
    pub(super) settings: &'a AcmeSettings,
    pub(super) folder: &'a AcmeFolder,
    pub(super) outward: &'a Outward,
    /// What answers the authority when it asks.
    pub(super) certificates: &'a Certificates,
}

impl Conversation<'_> {
    /// Obtains a certificate.
    pub(super) async fn obtain(&self) -> Result<(KeptCertificate, Pair), AcmeError> {
        self.folder.try_disk().map_err(AcmeError::File)?;
        let mut order = self.order().await?;
        if order.state().status == OrderStatus::Pending {
            self.prove(&mut order).await?;
        }
        let names: Vec<String> = self.settings.domains.iter().cloned().collect();
        let mut request = CertificateParams::new(names)?;
        request.distinguished_name = DistinguishedName::new();
        let key = KeyPair::generate()?;
        order.finalize_csr(request.serialize_request(&key)?.der()).await?;
        let chain = order.poll_certificate(&PATIENCE).await?;
        let key = key.serialize_pem();
        let pair = Pair::parse(&chain, &key).map_err(AcmeError::Unusable)?;
        let mut domains = self.settings.domains.iter();
        if let Some(domain) = domains.find(|domain| !pair.covers(domain)) {
            return Err(AcmeError::NotFor { domain: domain.clone() });
        }
        Ok((KeptCertificate::new(self.settings, chain, key), pair))
    }

    /// An order of the account that is kept, or of a new one where the authority forgot that.
    async fn order(&self) -> Result<Order, AcmeError> {
        let names = self.settings.domains.iter().cloned();
        let identifiers: Vec<Identifier> = names.map(Identifier::Dns).collect();
        let order = NewOrder::new(&identifiers);
        if let Some(account) = self.kept_account().await? {
            match account.new_order(&order).await {
                Err(error) if is_forgotten(&error) => {}
                order => return Ok(order?),
            }
        }
        Ok(self.new_account().await?.new_order(&order).await?)
    }

    async fn kept_account(&self) -> Result<Option<Account>, AcmeError> {
        let mut kept = match self.folder.account() {
            Ok(Some(kept)) if kept.directory == self.settings.directory => kept,
            Ok(_) => return Ok(None),
            Err(problem) => {
                let reason = problem.detail;
                tracing::warn!(reason, "account with the authority lost; making another one");
                return Ok(None);
            }
        };
        let bytes = serde_json::to_vec(&kept.credentials).map_err(Error::from)?;
        let credentials = serde_json::from_slice(&bytes).map_err(Error::from)?;
        let builder = Account::builder_with_http(Box::new(Authority(self.outward.clone())));
        let account = match builder.from_credentials(credentials).await {
            Err(Error::KeyRejected | Error::Crypto) => {
                tracing::warn!("key of the account with the authority damaged; making another one");
                return Ok(None);
            }
            account => account?,
        };
        if kept.contact != self.settings.contact {
            let contacts = self.contacts();
            let contacts: Vec<&str> = contacts.iter().map(String::as_str).collect();
            match account.update_contacts(&contacts).await {
                Err(error) if is_forgotten(&error) => return Ok(None),
                updated => updated?,
            }
            kept.contact.clone_from(&self.settings.contact);
            self.folder.keep_account(&kept).map_err(AcmeError::File)?;
        }
        Ok(Some(account))
    }

    async fn new_account(&self) -> Result<Account, AcmeError> {
        let contacts = self.contacts();
        let contacts: Vec<&str> = contacts.iter().map(String::as_str).collect();
        // Settings without the operator's agreement are not accepted.
        let new = NewAccount {
            contact: &contacts,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let builder = Account::builder_with_http(Box::new(Authority(self.outward.clone())));
        let directory = self.settings.directory.clone();
        let (account, credentials) = builder.create(&new, directory, None).await?;
        let kept = KeptAccount::new(self.settings, credentials);
        self.folder.keep_account(&kept).map_err(AcmeError::File)?;
        Ok(account)
    }

    fn contacts(&self) -> Vec<String> {
        self.settings.contact.iter().map(|contact| format!("mailto:{contact}")).collect()
    }

    /// Proves every name of the order.
    async fn prove(&self, order: &mut Order) -> Result<(), AcmeError> {
        // Held until the authority has looked at all of them.
        let mut answering = Vec::new();
        let mut asked = order.authorizations();
        while let Some(authorization) = asked.next().await {
            let mut authorization = authorization?;
            let domain = self.ordered(&authorization.identifier().to_string())?;
            match authorization.status {
                AuthorizationStatus::Pending => {}
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Invalid
                | AuthorizationStatus::Revoked
                | AuthorizationStatus::Expired
                | AuthorizationStatus::Deactivated => return Err(AcmeError::Ended),
            }
            let Some(mut challenge) = authorization.challenge(ChallengeType::TlsAlpn01) else {
                return Err(AcmeError::NoProof { domain });
            };
            answering.push(self.answer(&domain, &challenge.key_authorization())?);
            challenge.set_ready().await?;
        }
        match order.poll_ready(&PATIENCE).await {
            Ok(OrderStatus::Ready) => Ok(()),
            Ok(_) => Err(self.refusal(order).await.unwrap_or(AcmeError::Ended)),
            Err(error) => Err(self.refusal(order).await.unwrap_or(AcmeError::Authority(error))),
        }
    }

    /// Shows the authority the proof for a name (RFC 8737).
    fn answer(&self, domain: &str, proof: &KeyAuthorization) -> Result<Answering, AcmeError> {
        let mut params = CertificateParams::new([domain.to_owned()])?;
        let digest = proof.digest();
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest.as_ref())];
        let key = KeyPair::generate()?;
        let chain = params.self_signed(&key)?.pem();
        let answering = self.certificates.answer(domain, &chain, &key.serialize_pem());
        answering.map_err(AcmeError::Unusable)
    }

    /// What the authority found where it looked for the relay; nothing where it does not say.
    async fn refusal(&self, order: &mut Order) -> Option<AcmeError> {
        let mut asked = order.authorizations();
        while let Some(authorization) = asked.next().await {
            let mut authorization = authorization.ok()?;
            let state = authorization.refresh().await.ok()?;
            let error = state.challenges.iter().find_map(|challenge| challenge.error.as_ref());
            if let Some(error) = error {
                let domain = state.identifier().to_string();
                let reason = error.detail.clone().unwrap_or_else(|| error.to_string());
                return Some(AcmeError::NotFound { domain, reason });
            }
        }
        None
    }

    fn ordered(&self, name: &str) -> Result<String, AcmeError> {
        let domain = self.settings.domains.get(&name.to_lowercase()).cloned();
        domain.ok_or_else(|| AcmeError::NotOrdered { name: name.to_owned() })
    }
}

/// Whether the authority does not know the account.
fn is_forgotten(error: &Error) -> bool {
    let Error::Api(problem) = error else { return false };
    let is_forgotten = problem.r#type.as_deref() == Some(ACCOUNT_UNKNOWN);
    if is_forgotten {
        tracing::warn!("the authority does not know the account; making another one");
    }
    is_forgotten
}
