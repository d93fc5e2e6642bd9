//! Which part of the records a link carries, and when it is opened anew to carry another one.

use fieldmesh_model::Filter;

use crate::api::{HeldBack, LinkClass};
use crate::connectivity::part;
use crate::mesh::{Call, LinkState, Parting, Snapshot};
use crate::{clock, filter};

use super::super::Node;

/// Why a link ends that is to carry another part.
pub(in super::super) const REOPENED: &str = "it is opened anew because it is to carry another part";

/// On whose behalf a sync is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Errand {
    /// Somebody asked: links carry everything.
    Asked,
    /// Nobody did: links carry what their class allows.
    ByItself,
}

impl Node {
    /// The part that a link to `address` is to carry from here on; none for everything.
    pub(in super::super) async fn part_towards(&self, address: &str) -> Option<Filter> {
        let snapshot = self.inner.mesh.snapshot().await?;
        self.part_of(address, &snapshot)
    }

    fn part_of(&self, address: &str, snapshot: &Snapshot) -> Option<Filter> {
        if self.inner.watch.is_lifted() {
            return None;
        }
        part(self.class_towards(address), clock::now(), &snapshot.critical)
    }

    fn class_towards(&self, address: &str) -> LinkClass {
        let is_near = self.inner.contacts.nearby().iter().any(|near| near == address);
        let otherwise = if is_near { LinkClass::Nearby } else { LinkClass::default() };
        self.inner.watch.class(address, otherwise)
    }

    /// Ends the links that carry another part than they are to; who dialled them does so again.
    pub(in super::super) fn reopen_links(&self, snapshot: &Snapshot) {
        if self.inner.watch.is_lifted() {
            return;
        }
        for link in &snapshot.links {
            let part = self.part_of(&link.address, snapshot);
            // A class that the user set holds at once; a critical entry that has arrived, or a new
            // month, waits until what is under way has ended.
            let is_due = part.is_some() != link.part.is_some() || link.in_step;
            if part != link.part && is_due {
                self.reopen(link);
            }
        }
    }

    /// Ends a link that is to carry another part.
    pub(in super::super) fn reopen(&self, link: &LinkState) {
        let reason = REOPENED.to_owned();
        self.inner.mesh.urgent(Call::Ended { link: link.id, reason, parting: Parting::Broken });
        if link.is_dialled {
            self.inner.watch.urge(link.address.clone());
        }
    }

    /// Notes what links of dear classes leave out.
    pub(super) fn note_parts(&self, links: &[LinkState]) {
        let nothing = Filter::nothing();
        let held_back = links.iter().filter_map(|link| {
            let part = link.part.as_ref()?;
            Some(HeldBack {
                address: link.address.clone(),
                class: self.class_towards(&link.address),
                carries: if *part == nothing { Vec::new() } else { filter::words(part) },
                waiting: link.held_back,
            })
        });
        self.inner.watch.set_held_back(held_back.collect());
    }
}
