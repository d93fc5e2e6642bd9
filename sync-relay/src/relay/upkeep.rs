//! Checks of a relay's stores, and making them smaller.

use std::sync::Arc;

use fieldmesh::Node;
use fieldmesh::api::{Problem, VerifyReport};
use fieldmesh_gateway::Gateway;

use super::Relay;
use super::slot::Slot;
use crate::wire::{Chosen, Compacted, Teller, Tended, Verified, told_of};

impl Relay {
    /// Checks everything of one tenant or of all: log, view, photos and people.
    ///
    /// # Errors
    ///
    /// There is no such tenant. What is wrong with one is in its report.
    pub(crate) async fn verify(
        &self,
        chosen: &Chosen,
        tell: &Teller,
    ) -> Result<Vec<Verified>, Problem> {
        let mut all = self.broken_of(chosen);
        for slot in self.chosen(chosen)? {
            let (short, name) = (slot.tenant.tenant.short(), slot.tenant.name.clone());
            let mut told = told_of(tell, &short);
            told(fieldmesh::api::Progress::Note { text: "checking".into() });
            let mut faults = self.check_people(&slot).await;
            let report = match self.inner.tenants.node(&slot).await {
                Ok(node) => match verify_store(&node, &mut faults).await {
                    Ok(report) => Some(report),
                    Err(error) => {
                        faults.push(error.problem().detail);
                        None
                    }
                },
                Err(problem) => {
                    faults.push(problem.detail);
                    None
                }
            };
            all.push(Tended { short, name, report, faults });
        }
        Ok(all)
    }

    /// Makes the stores of one tenant or of all as small as they can be.
    ///
    /// # Errors
    ///
    /// There is no such tenant. What is wrong with one is in its report.
    pub(crate) async fn compact(
        &self,
        chosen: &Chosen,
        tell: &Teller,
    ) -> Result<Vec<Compacted>, Problem> {
        let mut all = self.broken_of(chosen);
        for slot in self.chosen(chosen)? {
            let (short, name) = (slot.tenant.tenant.short(), slot.tenant.name.clone());
            let compacted = match self.inner.tenants.node(&slot).await {
                Ok(node) => {
                    let told = told_of(tell, &short);
                    let compacted = node.compact(told).await.map_err(|error| error.problem());
                    self.inner.tenants.grant(&slot, &node).await;
                    compacted
                }
                Err(problem) => Err(problem),
            };
            all.push(match compacted {
                Ok(report) => Tended { short, name, report: Some(report), faults: Vec::new() },
                Err(problem) => Tended::broken(short, name, problem.detail),
            });
        }
        Ok(all)
    }

    /// The tenants that are meant.
    pub(super) fn chosen(&self, chosen: &Chosen) -> Result<Vec<Arc<Slot>>, Problem> {
        match &chosen.tenant {
            Some(name) => Ok(vec![self.named(name)?]),
            None => Ok(self.inner.tenants.slots()),
        }
    }

    /// The homes that nobody can open, where all tenants are meant.
    fn broken_of<T>(&self, chosen: &Chosen) -> Vec<Tended<T>> {
        if chosen.tenant.is_some() {
            return Vec::new();
        }
        let broken = self.inner.broken.iter();
        broken
            .map(|broken| {
                Tended::broken(broken.folder.clone(), String::new(), broken.reason.clone())
            })
            .collect()
    }
}

async fn verify_store(
    node: &Arc<Node>,
    faults: &mut Vec<String>,
) -> Result<VerifyReport, fieldmesh::Error> {
    let report = node.verify().await?;
    if node.is_gateway() {
        let checked = async { Gateway::open(Node::clone(node)).await?.check_photos().await };
        match checked.await {
            Ok(found) => faults.extend(found),
            Err(error) => faults.push(format!("photos: {}", error.problem().detail)),
        }
    }
    Ok(report)
}
