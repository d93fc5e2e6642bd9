//! Membership that ends: revoking a device, and adopting what it did.

use fieldmesh_model::{DeviceId, ItemId};

use crate::api::{AdoptReport, RevokeOptions, RevokeReport, meant};
use crate::error::Error;
use crate::ledger::Ledger;

use super::Node;

impl Node {
    /// Shuts the device that `name` means out of the tenant, for good and without a network.
    ///
    /// What this device knows of its work goes on counting; what arrives later is kept and does
    /// not count until [`Node::adopt`].
    ///
    /// # Errors
    ///
    /// [`Error::NotAllowed`] says who may; [`Error::NotFound`] where there is no such device.
    pub async fn revoke(&self, name: &str, options: RevokeOptions) -> Result<RevokeReport, Error> {
        let device = self.device_ever(name)?;
        // What is connected may be about to bring more of it; what is here counts.
        let revoke = move |ledger: &Ledger| ledger.revoke(device, &options, None);
        self.blocking(revoke).await
    }

    /// Like [`Node::revoke`], where the key of a device that certifies others was in wrong hands: of
    /// what it said of others counts only what leads to the policy item `last`, and that has room
    /// before all else that the key signed. A device that is revoked already is revoked once more,
    /// up to that item.
    ///
    /// # Errors
    ///
    /// Those of [`Node::revoke`]; [`Error::NotFound`] also where the item is not here or not of the
    /// device.
    pub async fn revoke_up_to(
        &self,
        name: &str,
        last: ItemId,
        options: RevokeOptions,
    ) -> Result<RevokeReport, Error> {
        let device = self.device_ever(name)?;
        let revoke = move |ledger: &Ledger| ledger.revoke(device, &options, Some(last));
        self.blocking(revoke).await
    }

    /// Lets batches of the revoked device that `name` means count, each with all before it; all
    /// that are here where `batches` is empty.
    ///
    /// # Errors
    ///
    /// [`Error::NotAllowed`] says who may; [`Error::NotFound`] where nothing waits.
    pub async fn adopt(&self, name: &str, batches: Vec<String>) -> Result<AdoptReport, Error> {
        let device = self.device_ever(name)?;
        self.blocking(move |ledger| ledger.adopt(device, &batches)).await
    }

    /// The device that `name` means, whether it still belongs to the tenant or not.
    fn device_ever(&self, name: &str) -> Result<DeviceId, Error> {
        let policy = self.inner.mesh.policy();
        let everybody: Vec<_> = policy.everybody().collect();
        let known = everybody.iter().map(|known| (known.device.to_string(), known.name.as_str()));
        let found: Vec<DeviceId> =
            meant(known, name.trim()).into_iter().map(|index| everybody[index].device).collect();
        match found.as_slice() {
            [device] => Ok(*device),
            [] => Err(Error::NotFound { kind: "device", name: name.into() }),
            several => Err(Error::Ambiguous {
                name: name.into(),
                candidates: several.iter().map(ToString::to_string).collect(),
            }),
        }
    }
}
