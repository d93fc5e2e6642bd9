//! What replicas ask for is done; what they say is checked.

use fieldmesh_model::BatchId;
use fieldmesh_replica::{CloseReason, Event, LinkId, Output, SessionError};

use super::{Happening, World};
use crate::cable::{End, Stream};
use crate::check;
use crate::disk::Write;
use crate::violation::Violation;

impl World {
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
            Output::Data { link, bytes } => self.send(End { node, link }, Stream::Data, &bytes),
            Output::StoreBatches { batches, .. } => self.write(node, Write::Batches(batches)),
            Output::StoreItems { items, .. } => self.write(node, Write::Items(items)),
            Output::Load { link, ids } => self.load(node, link, &ids),
            Output::Close { link, reason } => self.closed(End { node, link }, &reason),
            Output::Event(event) => self.heard(node, &event),
        }
    }

    fn load(&mut self, node: usize, link: LinkId, ids: &[BatchId]) {
        if !self.cable_of.contains_key(&(node, link)) {
            return;
        }
        self.sent += ids.len() as u64;
        let sent = self.nodes[node].sent.entry(link).or_default();
        let again = ids.iter().copied().find(|id| !sent.insert(*id));
        if let Some(batch) = again {
            self.violate(Violation::SentTwice { node, batch });
        }
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
        self.trace.happened(self.now, "closed", end.node);
        let is_real = self.cable_of.contains_key(&(end.node, end.link));
        let is_silence = matches!(reason, CloseReason::Fault(SessionError::Silent));
        if is_real && reason.is_fault() && !is_silence {
            let reason = reason.to_string();
            self.violate(Violation::Accused { node: end.node, reason });
        }
        self.close(end);
    }

    fn heard(&mut self, node: usize, event: &Event) {
        match event {
            Event::InStep { link, stats } => {
                self.trace.happened(self.now, "in step", node);
                self.in_steps += 1;
                self.repeated.insert((node, *link), stats.repeated);
                if let Err(violation) = check::in_step(self, End { node, link: *link }) {
                    self.violate(violation);
                }
            }
            // An author whose certificate is still on its way may be refused for a while.
            Event::Refused { batch, .. } if self.plan.newcomers == 0 => {
                self.violate(Violation::Refused { node, batch: *batch });
            }
            _ => {}
        }
    }
}
