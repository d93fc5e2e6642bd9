//! Drives the machine of [`crate::connectivity`]: performs its probes and syncs, writes its log
//! lines, tells its events, and keeps what is set.

mod driver;
mod parts;
mod watch;

use fieldmesh_net::address;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use tokio::sync::broadcast::error::RecvError;

use crate::api::{
    ConflictReport, ConnectivityEvent, ConnectivityReport, SyncNow, SyncOptions, SyncResult,
    SyncSettingsChange,
};
use crate::connectivity::{Asked, Input, Outcome, Token};
use crate::error::{Error, with_causes};
use crate::mesh::{Call, Carried, LinkState, Parting};

use super::Node;
use super::sync::Passed;

use self::parts::Errand;
pub(super) use self::parts::REOPENED;
pub(super) use self::watch::Watch;

/// Why links end when the user pauses.
const PAUSED: &str = "sync is paused";
/// The most items of the inbox that a sync tells of.
const NEWS_MAX: usize = 256;

impl Node {
    /// Whether a relay answers, as far as is known; false unless the node runs.
    pub fn is_online(&self) -> bool {
        self.inner.watch.machine().is_online()
    }

    /// The state of the network and of automatic sync.
    pub fn connectivity(&self) -> ConnectivityReport {
        self.inner.watch.report()
    }

    /// Changes of that state from here on; whoever reads too slowly misses the oldest.
    pub fn connectivity_events(&self) -> BoxStream<'static, ConnectivityEvent> {
        let events = stream::unfold(self.inner.watch.events(), |mut events| async {
            loop {
                match events.recv().await {
                    Ok(event) => return Some((event, events)),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        });
        events.boxed()
    }

    /// Syncs with the relays and everyone connected, unless a sync is under way, the device is
    /// offline or there is nothing to do; the answer says which. Works while sync is paused, and
    /// holds nothing back on this side over links of any class; the peer may.
    pub async fn sync_now(&self) -> SyncNow {
        self.look().await;
        let asked = self.inner.watch.ask();
        match asked {
            Asked::Answer(answer) => answer,
            Asked::Start(token) => self.sync_under(token, Errand::Asked).await,
        }
    }

    /// Puts everything off that would start by itself, and ends connections.
    ///
    /// # Errors
    ///
    /// The settings cannot be kept; they hold until the program ends.
    pub async fn pause_sync(&self) -> Result<ConnectivityReport, Error> {
        let change = SyncSettingsChange { paused: Some(true), ..SyncSettingsChange::default() };
        self.configure_sync(change).await
    }

    /// Takes [`Node::pause_sync`] back.
    ///
    /// # Errors
    ///
    /// The settings cannot be kept; they hold until the program ends.
    pub async fn resume_sync(&self) -> Result<ConnectivityReport, Error> {
        let change = SyncSettingsChange { paused: Some(false), ..SyncSettingsChange::default() };
        self.configure_sync(change).await
    }

    /// Changes what is set about automatic sync. Links whose class is another one by that are
    /// opened anew by a node that runs.
    ///
    /// # Errors
    ///
    /// The settings cannot be kept; they hold until the program ends.
    pub async fn configure_sync(
        &self,
        change: SyncSettingsChange,
    ) -> Result<ConnectivityReport, Error> {
        self.inner.watch.configure(change);
        if self.inner.watch.machine().settings().paused
            && let Some(snapshot) = self.inner.mesh.snapshot().await
        {
            for link in snapshot.links {
                let reason = PAUSED.to_owned();
                self.inner.mesh.urgent(Call::Ended {
                    link: link.id,
                    reason,
                    parting: Parting::Broken,
                });
            }
        }
        let node = self.clone();
        self.blocking(move |_| node.inner.watch.save(&node.inner.home)).await?;
        Ok(self.connectivity())
    }

    /// Starts the machine; it ends with the node's tasks.
    pub(super) async fn watch_network(&self, relays: &[String], port: u16) {
        self.inner.watch.name_relays(relays);
        self.look().await;
        // Addresses of its own are what the platform says of a network.
        let is_online = !address::own_addresses(port).is_empty();
        self.inner.watch.feed(Input::Started { is_online });
        let driver = driver::Driver::new(self);
        let mut tasks = self.inner.tasks.lock().expect("no holder of this lock panics");
        tasks.spawn(driver.run());
    }

    /// The sync that `token` allows, with the relays that may be reached and everyone connected.
    async fn sync_under(&self, token: Token, errand: Errand) -> SyncNow {
        let mut under = Under::new(self.clone(), Some(token));
        let _one = self.inner.syncing.lock().await;
        let _whole = match errand {
            Errand::Asked => Some(self.inner.watch.lift()),
            Errand::ByItself => None,
        };
        let with = self.sync_targets().await;
        let result = if with.is_empty() {
            let reason = "no relay is known and nobody is connected".to_owned();
            Err(Error::Unreachable { reason })
        } else {
            let options = SyncOptions { with, mdns: false, ..SyncOptions::default() };
            under.begin().await;
            self.pass(options, |_| {}).await
        };
        under.end(&result).await
    }

    /// Names of devices and addresses to sync with.
    async fn sync_targets(&self) -> Vec<String> {
        let linked = self.inner.mesh.snapshot().await.map_or_else(Vec::new, |one| one.links);
        let mut targets: Vec<String> = linked.iter().map(|link| link.device.to_string()).collect();
        let policy = self.inner.mesh.policy();
        for relay in self.relays() {
            let is_linked = |link: &LinkState| relay.is_at(&policy, &link.address, link.device);
            let name = relay.device.map_or(relay.address.clone(), |device| device.to_string());
            if !linked.iter().any(is_linked) {
                targets.push(name);
            }
        }
        targets.sort();
        targets.dedup();
        targets
    }
}

/// A sync under way; however it ends, the machine learns of it.
pub(super) struct Under {
    node: Node,
    token: Option<Token>,
    /// Ids of the conflicts that were open before, if they were known.
    open: Option<Vec<String>>,
}

impl Under {
    pub(super) fn new(node: Node, token: Option<Token>) -> Self {
        Self { node, token, open: None }
    }

    /// What is open in the inbox; no sync waits for records that are made anew.
    async fn open_ids(&self) -> Option<Vec<String>> {
        if self.node.inner.ledger.remaking().is_some() {
            return None;
        }
        self.node.blocking(|ledger| ledger.open_ids()).await.ok()
    }

    /// The items that were not open when the sync began.
    async fn news(&self) -> Vec<ConflictReport> {
        // Where it was not known what was open, none of them is news.
        let Some(before) = &self.open else { return Vec::new() };
        let mut news = self.open_ids().await.unwrap_or_default();
        news.retain(|id| before.binary_search(id).is_err());
        let mut items = Vec::new();
        for id in news.iter().take(NEWS_MAX) {
            items.extend(self.node.conflict(id).await);
        }
        items
    }

    /// Notes what is there before the sync.
    pub(super) async fn begin(&mut self) {
        if self.token.is_some() {
            self.open = self.open_ids().await;
        }
    }

    /// Tells the machine what came of it.
    pub(super) async fn end(mut self, result: &Result<Passed, Error>) -> SyncNow {
        let Some(token) = self.token else { return SyncNow::default() };
        let mut outcome = outcome(result);
        outcome.answer.conflicts = self.news().await;
        self.node.look().await;
        outcome.held_back = self.node.inner.watch.held_back();
        let answer = outcome.answer.clone();
        self.token = None;
        self.node.inner.watch.feed(Input::Ended { token, outcome });
        answer
    }
}

impl Drop for Under {
    fn drop(&mut self) {
        if let Some(token) = self.token.take() {
            let errors = vec!["the sync was given up".to_owned()];
            let answer = SyncNow { errors, ..SyncNow::default() };
            let outcome = Outcome { answer, ..Outcome::default() };
            self.node.inner.watch.feed(Input::Ended { token, outcome });
        }
    }
}

fn outcome(result: &Result<Passed, Error>) -> Outcome {
    let Passed { report, carried, is_part } = match result {
        Ok(passed) => passed,
        Err(error) => {
            let answer = SyncNow { errors: vec![with_causes(error)], ..SyncNow::default() };
            return Outcome { answer, ..Outcome::default() };
        }
    };
    let Carried { sent, received } = *carried;
    let error = |peer: &crate::api::PeerSync| {
        let text = peer.error.as_ref()?;
        Some(format!("{}: {text}", peer.address))
    };
    let answer = SyncNow {
        success: report.result == SyncResult::Ok,
        synced_count: sent,
        conflicts: Vec::new(),
        errors: report.peers.iter().filter_map(error).collect(),
    };
    Outcome { sent, received, is_part: *is_part, answer, ..Outcome::default() }
}
