//! Taking a relay into a tenant over the network: the join of enrolment, on a line that the issuer
//! has opened.
//!
//! Two exchanges, each on a stream of its own: the offer and the request to join, then the grant
//! and what became of it.

use std::net::SocketAddr;

use fieldmesh_identity::claim::{
    CLAIM_OFFER_MAX, CLAIM_REPLY_MAX, Claim, ClaimOffer, ClaimRefusal, ClaimReply,
};
use fieldmesh_identity::enrol::JOIN_ANSWER_MAX;
use fieldmesh_identity::{DeviceKeys, Granted, Invitation, JoinAnswer, JoinRequest};
use fieldmesh_model::TenantId;
use tokio::time::timeout;

use crate::closed::{CloseCode, ClosedReason};
use crate::dial::DialError;
use crate::endpoint::Endpoint;
use crate::join::{self, ANSWER_TIMEOUT, ARRIVAL_TIMEOUT, JoinError, REQUEST_TIMEOUT};
use crate::stream::{Sender, StreamError};
use crate::tcp::Channel;
use crate::tls::{self, Anchor};
use crate::wire::Wire;

/// A line to a relay that has proven the key of a claim.
#[derive(Debug)]
pub struct ClaimLine {
    wire: Wire,
    channel: [u8; 32],
}

/// Somebody who dialled with a claim, on the relay's side.
#[derive(Debug)]
pub struct ClaimConnection {
    wire: Wire,
    desk: TenantId,
    channel: [u8; 32],
    reply: Option<Sender>,
}

impl Endpoint {
    /// Dials the relay of a `claim`; whoever answers has proven the key that the claim names.
    ///
    /// # Errors
    ///
    /// The [`DialError`] says whether to try another address.
    pub async fn claim(&self, address: SocketAddr, claim: &Claim) -> Result<ClaimLine, DialError> {
        let anchor = Anchor::new(claim.desk(), &claim.relay);
        let config = tls::claim_config(anchor)
            .map_err(|error| DialError::Tls { detail: error.to_string() })?;
        let wire = self.connect(address, config, &tls::server_name(&claim.desk().tag())).await?;
        let lost = || DialError::Refused { address, reason: ClosedReason::Here };
        let channel = wire.key(Channel::Join).ok_or_else(lost)?;
        Ok(ClaimLine { wire, channel })
    }
}

impl ClaimLine {
    /// The exported key of this channel, as [`JoinRequest`]s over it are bound to.
    pub const fn channel(&self) -> &[u8; 32] {
        &self.channel
    }

    /// Says the claim's secret and offers an invitation.
    ///
    /// # Errors
    ///
    /// The line broke, or what came is malformed; the same offer may be made again.
    pub async fn offer(&self, offer: &ClaimOffer) -> Result<ClaimReply, JoinError> {
        self.exchange(&offer.encode()).await
    }

    /// Answers the relay's request to join, and waits until it serves the tenant.
    ///
    /// # Errors
    ///
    /// The relay may or may not have joined: make the same offer again on another line.
    pub async fn answer(self, answer: &JoinAnswer) -> Result<ClaimReply, JoinError> {
        let bytes = answer.encode();
        if bytes.len() > JOIN_ANSWER_MAX {
            return Err(JoinError::Malformed { limit: JOIN_ANSWER_MAX });
        }
        let reply = self.exchange(&bytes).await?;
        self.wire.close(CloseCode::Done, "");
        Ok(reply)
    }

    fn closed(&self) -> Option<ClosedReason> {
        self.wire.close_reason()
    }

    async fn exchange(&self, bytes: &[u8]) -> Result<ClaimReply, JoinError> {
        let exchange = async {
            let (mut sender, mut receiver) = self.wire.open_control().await?;
            sender.write(bytes).await?;
            sender.finish()?;
            let reply = receiver.read_all(CLAIM_REPLY_MAX).await?;
            reply
                .and_then(|bytes| ClaimReply::decode(&bytes))
                .ok_or(JoinError::Malformed { limit: CLAIM_REPLY_MAX })
        };
        let limit = timeout(ANSWER_TIMEOUT, exchange).await;
        if let Some(ClosedReason::There { code: CloseCode::Busy, .. }) = self.closed() {
            return Ok(ClaimReply::Refused(ClaimRefusal::Busy));
        }
        limit.map_err(|_| JoinError::TimedOut { after: ANSWER_TIMEOUT })?
    }
}

impl ClaimConnection {
    pub(crate) fn new(wire: Wire, desk: TenantId) -> Option<Self> {
        let channel = wire.key(Channel::Join)?;
        Some(Self { wire, desk, channel, reply: None })
    }

    /// Under which name the relay was dialled.
    pub const fn desk(&self) -> TenantId {
        self.desk
    }

    /// The exported key of this channel.
    pub const fn channel(&self) -> &[u8; 32] {
        &self.channel
    }

    /// Where the other side is.
    pub fn remote_address(&self) -> SocketAddr {
        self.wire.remote_address()
    }

    /// What is offered; to be called once.
    ///
    /// # Errors
    ///
    /// Any error means that there is nobody to answer: drop the connection.
    pub async fn offer(&mut self) -> Result<ClaimOffer, JoinError> {
        let offer = timeout(REQUEST_TIMEOUT, self.read(CLAIM_OFFER_MAX)).await;
        let offer = offer.map_err(|_| JoinError::TimedOut { after: REQUEST_TIMEOUT })??;
        ClaimOffer::decode(&offer).ok_or(JoinError::Malformed { limit: CLAIM_OFFER_MAX })
    }

    /// Joins the tenant of the `invitation` that was offered; the grant is checked.
    ///
    /// # Errors
    ///
    /// The line broke, or the answer is of no use; whoever offered may have taken the relay in all
    /// the same, and offers again.
    pub async fn join(
        &mut self,
        invitation: &Invitation,
        keys: &DeviceKeys,
        device_name: &str,
    ) -> Result<Granted, JoinError> {
        let request = JoinRequest::new(invitation, &self.channel, keys, device_name);
        self.write(&ClaimReply::Request(Box::new(request))).await?;
        let answer = timeout(ANSWER_TIMEOUT, self.read(JOIN_ANSWER_MAX)).await;
        let answer = answer.map_err(|_| JoinError::TimedOut { after: ANSWER_TIMEOUT })??;
        let answer =
            JoinAnswer::decode(&answer).ok_or(JoinError::Malformed { limit: JOIN_ANSWER_MAX })?;
        join::granted(answer, invitation, &self.channel, keys)
    }

    /// Ends the line, for there is too much to do.
    pub fn turn_away(self) {
        self.wire.close(CloseCode::Busy, "");
    }

    /// Says what became of it, and waits until that has arrived.
    ///
    /// # Errors
    ///
    /// The other side may not know; it will offer again.
    pub async fn finish(mut self, reply: &ClaimReply) -> Result<(), JoinError> {
        self.write(reply).await
    }

    async fn read(&mut self, limit: usize) -> Result<Vec<u8>, JoinError> {
        let (sender, mut receiver) = self.wire.accept_control().await?;
        self.reply = Some(sender);
        let bytes = receiver.read_all(limit).await?;
        bytes.ok_or(JoinError::Malformed { limit })
    }

    async fn write(&mut self, reply: &ClaimReply) -> Result<(), JoinError> {
        let Some(mut sender) = self.reply.take() else { return Err(StreamError::Finished.into()) };
        let arrived = async {
            sender.write(&reply.encode()).await?;
            sender.finish()?;
            sender.received().await
        };
        match timeout(ARRIVAL_TIMEOUT, arrived).await {
            Err(_) => Err(JoinError::TimedOut { after: ARRIVAL_TIMEOUT }),
            // The other side closes as soon as it has read the last reply.
            Ok(Err(StreamError::Closed(ClosedReason::There { code: CloseCode::Done, .. }))) => {
                Ok(())
            }
            Ok(arrived) => Ok(arrived?),
        }
    }
}
