//! Enrolment over the network: one request and one answer on a connection of their own.

use std::net::SocketAddr;
use std::time::Duration;

use fieldmesh_identity::enrol::{JOIN_ANSWER_MAX, JOIN_REQUEST_MAX};
use fieldmesh_identity::{DeviceKeys, Granted, Invitation, JoinAnswer, JoinRefusal, JoinRequest};
use fieldmesh_model::TenantId;
use rustls::pki_types::CertificateDer;
use tokio::time::timeout;

use crate::closed::{CloseCode, ClosedReason};
use crate::dial::DialError;
use crate::endpoint::Endpoint;
use crate::stream::{Sender, StreamError};
use crate::tcp::Channel;
use crate::tls::{self, Anchor};
use crate::wire::Wire;

/// How long the issuer waits for the request.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the joiner waits for the answer, which the issuer must make durable first.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the issuer waits until its answer has arrived.
pub const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(10);

/// A join that did not come about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// Nobody of the tenant could be reached at the address.
    #[error("nobody who serves the invitation was reached")]
    Dial(#[from] DialError),
    /// The issuer refuses.
    #[error("refused: {0}")]
    Refused(JoinRefusal),
    /// The answer is none that the tenant can have given.
    #[error("the answer cannot be trusted")]
    Grant(#[from] fieldmesh_identity::enrol::GrantError),
    /// The certificate in the answer is not for this device and tenant.
    #[error("the certificate in the answer is not for this device and tenant")]
    Certificate,
    /// The message is malformed or too large.
    #[error("the message is malformed or larger than {limit} bytes")]
    Malformed {
        /// The largest message that is read.
        limit: usize,
    },
    /// Nothing came in time.
    #[error("no message came within {} s", after.as_secs())]
    TimedOut {
        /// How long was waited.
        after: Duration,
    },
    /// The connection broke.
    #[error("the connection ended before the join was complete")]
    Closed(#[from] ClosedReason),
    /// The stream broke.
    #[error("the stream ended before the join was complete")]
    Stream(#[from] StreamError),
}

/// A device that wants to join, on the issuer's side.
#[derive(Debug)]
pub struct JoinConnection {
    wire: Wire,
    tenant: TenantId,
    channel: [u8; 32],
    answer: Option<Sender>,
}

impl Endpoint {
    /// Joins the tenant of `invitation` through whoever serves it at `address`.
    ///
    /// The grant is checked: proof, items, membership, certificate. Trying again with the same
    /// keys after a lost answer gives the same grant.
    ///
    /// # Errors
    ///
    /// [`JoinError::Refused`] is final, [`JoinError::Dial`] is worth another address.
    pub async fn join(
        &self,
        address: SocketAddr,
        invitation: &Invitation,
        keys: &DeviceKeys,
        device_name: &str,
    ) -> Result<Granted, JoinError> {
        let anchor = Anchor::new(invitation.tenant, &invitation.authority);
        let config = tls::join_config(anchor)
            .map_err(|error| DialError::Tls { detail: error.to_string() })?;
        let server_name = tls::server_name(&invitation.tag());
        let wire = self.connect(address, config, &server_name).await?;
        let channel = wire.key(Channel::Join).ok_or(ClosedReason::Here)?;
        let request = JoinRequest::new(invitation, &channel, keys, device_name);
        let answer = timeout(ANSWER_TIMEOUT, ask(&wire, &request))
            .await
            .map_err(|_| JoinError::TimedOut { after: ANSWER_TIMEOUT })??;
        wire.close(CloseCode::Done, "");
        granted(answer, invitation, &channel, keys)
    }
}

/// What an answer grants, once it is checked: proof, items, membership, certificate.
pub(crate) fn granted(
    answer: JoinAnswer,
    invitation: &Invitation,
    channel: &[u8; 32],
    keys: &DeviceKeys,
) -> Result<Granted, JoinError> {
    let granted = match answer {
        JoinAnswer::Granted(granted) => granted,
        JoinAnswer::Refused(refusal) => return Err(JoinError::Refused(refusal)),
    };
    granted.check(invitation, channel, keys)?;
    let chain: Vec<CertificateDer<'_>> =
        granted.chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let (end_entity, intermediates) = chain.split_first().ok_or(JoinError::Certificate)?;
    let anchor = Anchor::new(invitation.tenant, &invitation.authority);
    match anchor.verify(end_entity, intermediates) {
        Ok(device) if device == keys.device() => Ok(granted),
        Ok(_) | Err(_) => Err(JoinError::Certificate),
    }
}

impl JoinConnection {
    pub(crate) fn new(wire: Wire, tenant: TenantId) -> Option<Self> {
        let channel = wire.key(Channel::Join)?;
        Some(Self { wire, tenant, channel, answer: None })
    }

    /// The tenant that the device wants to join.
    pub const fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// The exported key of this channel, for [`fieldmesh_identity::InvitationBook::decide`].
    pub const fn channel(&self) -> &[u8; 32] {
        &self.channel
    }

    /// Where the device is.
    pub fn remote_address(&self) -> SocketAddr {
        self.wire.remote_address()
    }

    /// The device's request; to be called once.
    ///
    /// # Errors
    ///
    /// Any error means that there is nobody to answer: drop the connection.
    pub async fn request(&mut self) -> Result<JoinRequest, JoinError> {
        let (sender, bytes) = timeout(REQUEST_TIMEOUT, read_request(&self.wire))
            .await
            .map_err(|_| JoinError::TimedOut { after: REQUEST_TIMEOUT })??;
        self.answer = Some(sender);
        bytes
            .and_then(|bytes| JoinRequest::decode(&bytes))
            .ok_or(JoinError::Malformed { limit: JOIN_REQUEST_MAX })
    }

    /// Answers the request and waits until the device has the answer.
    ///
    /// # Errors
    ///
    /// After any error the device may not know its answer; it will ask again.
    pub async fn answer(mut self, answer: &JoinAnswer) -> Result<(), JoinError> {
        let bytes = answer.encode();
        if bytes.len() > JOIN_ANSWER_MAX {
            return Err(JoinError::Malformed { limit: JOIN_ANSWER_MAX });
        }
        let Some(mut sender) = self.answer.take() else { return Err(StreamError::Finished.into()) };
        let arrived = async {
            sender.write(&bytes).await?;
            sender.finish()?;
            sender.received().await
        };
        match timeout(ARRIVAL_TIMEOUT, arrived).await {
            Err(_) => Err(JoinError::TimedOut { after: ARRIVAL_TIMEOUT }),
            // The joiner closes as soon as it has read the answer.
            Ok(Err(StreamError::Closed(ClosedReason::There { code: CloseCode::Done, .. }))) => {
                Ok(())
            }
            Ok(arrived) => Ok(arrived?),
        }
    }
}

async fn ask(wire: &Wire, request: &JoinRequest) -> Result<JoinAnswer, JoinError> {
    let (mut sender, mut receiver) = wire.open_control().await?;
    sender.write(&request.encode()).await?;
    sender.finish()?;
    let bytes = receiver.read_all(JOIN_ANSWER_MAX).await?;
    bytes
        .and_then(|bytes| JoinAnswer::decode(&bytes))
        .ok_or(JoinError::Malformed { limit: JOIN_ANSWER_MAX })
}

async fn read_request(wire: &Wire) -> Result<(Sender, Option<Vec<u8>>), JoinError> {
    let (sender, mut receiver) = wire.accept_control().await?;
    let bytes = receiver.read_all(JOIN_REQUEST_MAX).await?;
    Ok((sender, bytes))
}
