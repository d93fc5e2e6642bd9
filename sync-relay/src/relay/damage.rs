//! What is not well of a relay that serves all the same, for whoever watches over it.

use super::Relay;
use super::slot::Slot;

impl Relay {
    /// What is known to be damaged, or to have taken all that it may, a line each; nothing where all
    /// is well.
    pub(crate) async fn damages(&self) -> Vec<String> {
        let mut damages = Vec::new();
        for slot in self.inner.tenants.slots() {
            let vitals = slot.standing().await.vitals;
            if vitals.as_ref().is_some_and(|vitals| vitals.is_quota_used_up) {
                let tenant = slot.tenant.tenant.short();
                damages.push(format!(
                    "tenant {tenant} is read and takes nothing more: its quota is used up, raise \
                     stored_bytes_max and reload"
                ));
            }
            let entries = vitals.map_or(0, |vitals| vitals.damaged);
            if entries + self.damaged_people(&slot) > 0 {
                let tenant = slot.tenant.tenant.short();
                damages.push(format!(
                    "tenant {tenant} is served and damaged: sync-relay verify --tenant {tenant}"
                ));
            }
        }
        damages
    }

    /// Reads the people of every tenant once, so that damage is known before they log in.
    pub(super) async fn check_everybody(&self) {
        for slot in self.inner.tenants.slots() {
            self.check_people(&slot).await;
        }
    }

    /// Reads the people of a tenant; gives what is wrong with their file.
    pub(super) async fn check_people(&self, slot: &Slot) -> Vec<String> {
        let (accounts, tenant) = (self.accounts(), slot.tenant.tenant);
        let checked = tokio::task::spawn_blocking(move || accounts.check(tenant)).await;
        match checked {
            Ok(Ok(())) => Vec::new(),
            Ok(Err(problem)) => vec![problem.detail],
            Err(error) => vec![error.to_string()],
        }
    }

    /// Whether the file with the people of a tenant is known to be damaged: how many such files.
    pub(super) fn damaged_people(&self, slot: &Slot) -> u64 {
        u64::from(self.accounts().is_damaged(slot.tenant.tenant))
    }
}
