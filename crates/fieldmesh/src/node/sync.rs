//! One pass of synchronisation with everyone reachable.
//!
//! The pass dials every address it knows, listens meanwhile, looks around by mDNS, and ends when
//! everybody it reached is in step, so that two devices that both sync find each other.

mod attempt;
mod follow;
mod outcome;
mod pass;

use std::net::SocketAddr;
use std::sync::Arc;

use fieldmesh_model::DeviceId;
use fieldmesh_net::{Connection, address};
use fieldmesh_replica::LinkId;

use crate::api::{Progress, SyncOptions, SyncReport};
use crate::ending;
use crate::error::{Error, with_causes};
use crate::filter;

pub(super) use self::outcome::Passed;
use self::pass::Pass;
use super::Node;
use super::connectivity::Under;

impl Node {
    /// Seals what was recorded and comes into step with everyone reachable, or with those named.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] where there was nobody to try. A peer that failed is in the report.
    pub async fn sync(
        &self,
        options: SyncOptions,
        progress: impl FnMut(Progress) + Send + 'static,
    ) -> Result<SyncReport, Error> {
        self.check_part(&options.only)?;
        let _one = self.inner.syncing.lock().await;
        let _whole = self.inner.watch.lift();
        let mut under = Under::new(self.clone(), self.inner.watch.join());
        under.begin().await;
        let result = self.pass(options, progress).await;
        under.end(&result).await;
        result.map(|passed| passed.report)
    }

    /// The pass; one at a time.
    pub(super) async fn pass(
        &self,
        options: SyncOptions,
        mut progress: impl FnMut(Progress) + Send + 'static,
    ) -> Result<Passed, Error> {
        self.blocking(|ledger| {
            ledger.want_what_is_defined();
            ledger.seal(None)
        })
        .await?;
        let port = self.listen(None).await?.port();
        let mut events = self.events();
        let mut pass = Pass::new(self, &options);
        pass.begin(&options).await?;
        let (mdns, sightings) = pass.look_around(port);
        pass.run(&options, &mut events, sightings, &mut progress).await;
        pass.finish_links().await;
        self.obey_policy().await;
        self.heed_copies().await;
        if let Some(mdns) = mdns {
            mdns.stop().await;
        }
        let report = pass.report().await?;
        let (carried, is_part) = (pass.carried(), pass.is_part());
        pass.part();
        let inner = Arc::clone(&self.inner);
        if let Err(error) = self.blocking(move |ledger| inner.contacts.save(ledger)).await {
            tracing::warn!(%error, "addresses of peers could not be written");
        }
        match report {
            Some(report) => Ok(Passed { report, carried, is_part }),
            None => Err(Error::Unreachable {
                reason: "nobody to sync with: no address is known and nobody is nearby; give \
                         one with --with ADDRESS"
                    .into(),
            }),
        }
    }

    /// Fails where a sync asks for another part of the records than this node exchanges.
    fn check_part(&self, only: &[String]) -> Result<(), Error> {
        let asked = filter::parse(only)?;
        let held = &self.inner.ledger.only;
        if only.is_empty() || asked == *held {
            return Ok(());
        }
        let held = match filter::words(held) {
            words if words.is_empty() => "everything".to_owned(),
            words => words.join(", "),
        };
        Err(Error::Usage {
            reason: format!(
                "what runs on this home exchanges {held}; stop it first, or start it with --only"
            ),
        })
    }

    /// Resolves an address and dials until one of its meanings answers.
    pub(super) async fn dial(&self, text: &str) -> Result<(LinkId, DeviceId), String> {
        let connection = self.reach(text).await?;
        let device = connection.peer();
        let part = self.part_towards(text).await;
        let link = self.inner.mesh.attach(connection, text.to_owned(), part).await;
        link.map(|link| (link, device)).ok_or_else(|| "the node is shutting down".into())
    }

    /// Connects without starting a conversation; the peer has proved who it is.
    pub(super) async fn reach(&self, text: &str) -> Result<Connection, String> {
        let resolved = address::resolve(text).await.map_err(|error| with_causes(&error))?;
        let mut failure = format!("{text:?} leads nowhere");
        for address in resolved {
            match self.connect(address).await {
                Ok(connection) => return Ok(connection),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    async fn connect(&self, address: SocketAddr) -> Result<Connection, String> {
        let endpoint = match &*self.inner.listener.lock().await {
            Some(listener) => listener.endpoint.clone(),
            None => return Err("this device does not listen".into()),
        };
        let tenant = self.inner.ledger.identity.tenant;
        let connection =
            endpoint.dial(address, tenant).await.map_err(|error| ending::of_dial(&error))?;
        if connection.peer() == self.inner.ledger.device() {
            return Err("this is the device itself".into());
        }
        Ok(connection)
    }
}
