//! What replicas ask for is done; what they say is checked.

use fieldmesh_model::BatchId;
use fieldmesh_replica::{CloseReason, Doubt, Event, LinkId, Output};

use super::{Happening, World};
use crate::cable::{End, Stream};
use crate::check;
use crate::disk::Write;
use crate::violation::Violation;

impl World<'_> {
    pub(super) fn perform(&mut self, node: usize) {
        while let Some(output) = self.nodes[node].replica.poll() {
            self.perform_one(node, output);
        }
    }

    pub(super) fn perform_one(&mut self, node: usize, output: Output) {
        match output {
            Output::Control { link, bytes } => {
                self.send(End { node, link }, Stream::Control, &bytes);
            }
            Output::Data { link, lane, bytes } => {
                self.send(End { node, link }, Stream::Data(lane), &bytes);
            }
            Output::StoreBatches { link, batches, .. } => {
                self.check(|world| check::priority::arrives(world, (node, link), &batches));
                self.check(|world| check::purges::stores(world, node, &batches));
                self.write(node, Write::Batches(batches));
            }
            Output::StoreItems { items, .. } => self.write(node, Write::Items(items)),
            Output::Load { link, ids } => self.load(node, link, &ids),
            Output::Sign { link, receipt } => self.sign(node, link, &receipt),
            Output::RaiseEpoch { epoch } => self.raise_epoch(node, epoch),
            Output::Close { link, reason } => self.closed(End { node, link }, &reason),
            Output::Event(event) => self.heard(node, &event),
        }
    }

    fn load(&mut self, node: usize, link: LinkId, ids: &[BatchId]) {
        if !self.cable_of.contains_key(&(node, link)) {
            return;
        }
        self.sent += ids.len() as u64;
        self.say(node, || format!("loads {ids:?} for link {}", link.0));
        self.check(|world| check::exactness::sends(world, End { node, link }, ids));
        self.check(|world| check::partial::sends(world, End { node, link }, ids));
        let disk = &self.nodes[node].disk;
        let batches: Vec<_> = ids.iter().filter_map(|id| disk.batch(id).cloned()).collect();
        if batches.len() < ids.len() {
            // Something was offered before it was durable.
            self.violate(Violation::NotDurable { node });
        }
        let at = self.now + self.random.between(0, 10);
        self.schedule(at, Happening::Loaded { node, link, batches });
    }

    fn closed(&mut self, end: End, reason: &CloseReason) {
        self.note("closes", end.node);
        self.say(end.node, || format!("closes link {}: {reason}", end.link.0));
        self.check(|world| check::hostile::accuses(world, end, reason));
        self.close(end);
    }

    fn heard(&mut self, node: usize, event: &Event) {
        self.say(node, || format!("{event:?}"));
        match event {
            Event::InStep { link, stats } => {
                let end = End { node, link: *link };
                self.note("in step", node);
                self.in_steps += 1;
                self.repeated.insert((node, *link), stats.repeated);
                self.check(|world| check::durability::in_step(world, end));
                check::withholding::in_step(self, end);
                self.check(|world| check::receipts::held(world, node));
            }
            Event::Greeted { link, skew_millis, .. } => {
                let end = End { node, link: *link };
                let skew = *skew_millis;
                self.check(|world| check::clocks::skew(world, end, skew));
                check::withholding::greeted(self, end);
            }
            // What was refused may be sent again.
            Event::Refused { batch, link: Some(link), .. } if self.has_changing_policy() => {
                check::exactness::refuses(self, End { node, link: *link }, *batch);
            }
            // An author whose certificate is still on its way may be refused for a while.
            Event::Refused { batch, link, .. } if !self.has_changing_policy() => {
                let peer = link.and_then(|link| self.peer_of(End { node, link }));
                let is_honest = peer.is_none_or(|peer| self.nodes[peer].is_honest());
                if is_honest && self.nodes[node].is_honest() {
                    self.violate(Violation::Refused { node, batch: *batch });
                }
            }
            Event::Withheld { relay, batch } => {
                let (relay, batch) = (*relay, *batch);
                self.note("reports a relay", node);
                self.check(|world| check::withholding::says(world, node, relay, batch));
            }
            Event::Received { link, batches } => {
                check::exactness::gets(self, End { node, link: *link }, batches);
            }
            Event::Quarantined { link, batches } => {
                let ids: Vec<BatchId> = batches.iter().map(|(id, _)| *id).collect();
                check::exactness::gets(self, End { node, link: *link }, &ids);
                check::exactness::sets_aside(self, node, &ids);
            }
            Event::SetAside { batches } => check::exactness::sets_aside(self, node, batches),
            Event::StoreDoubted { doubt, .. } => self.keep_doubt(node, *doubt),
            Event::StoreRestored { device, store, epoch } => {
                let (device, store, epoch) = (*device, *store, *epoch);
                self.keep_doubt(node, Doubt { device, store, epoch, until: None });
            }
            Event::Receipt(receipt) => self.keep_receipt(node, receipt),
            Event::PolicyChanged => self.plan_sweep(node),
            Event::Refused { .. }
            | Event::Stalled { .. }
            | Event::ChainGap { .. }
            | Event::Fork { .. }
            | Event::OwnBatchUnknown { .. }
            | Event::Readmitted { .. } => {}
        }
    }

    /// Whether what is allowed changes during the day.
    pub(crate) const fn has_changing_policy(&self) -> bool {
        let faults = &self.plan.faults;
        self.plan.newcomers > 0 || faults.revocations > 0 || faults.purges > 0
    }

    /// Takes note of what a checker says.
    pub(super) fn check(&mut self, checker: impl FnOnce(&mut Self) -> Result<(), Violation>) {
        if let Err(violation) = checker(self) {
            self.violate(violation);
        }
    }
}
