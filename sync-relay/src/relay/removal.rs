//! Tenants that a relay serves no more.

use fieldmesh::api::{Problem, one_line};

use super::Relay;
use super::slot::Slot;
use crate::data::Remains;
use crate::problem;
use crate::wire::{RemoveOptions, RemovedTenant};

impl Relay {
    /// Serves a tenant no more and moves its files aside, or erases them.
    ///
    /// Nobody is asked whether devices have something unsent: whatever that is stays on them, and no
    /// relay knows of it. What only this relay has is another matter, so nothing of that is erased
    /// unless `force` is said.
    ///
    /// # Errors
    ///
    /// There is no such tenant, it is not said that it is to be done, or the disk fails; the tenant
    /// is served as before then, unless the problem says that it is removed.
    pub(crate) async fn remove(
        &self,
        name: &str,
        options: RemoveOptions,
    ) -> Result<RemovedTenant, Problem> {
        let (relay, name) = (self.clone(), name.to_owned());
        let removing = async move { Box::pin(relay.take_out(&name, options)).await };
        let work = self.inner.work.spawn(removing);
        work.await.map_err(|error| problem::failed(format!("it was not removed: {error}")))?
    }

    async fn take_out(&self, name: &str, options: RemoveOptions) -> Result<RemovedTenant, Problem> {
        let _turn = self.inner.admission.lock().await;
        // A backup that goes on would miss it without a word.
        let Ok(_backup) = self.inner.backing_up.try_lock() else {
            return Err(problem::later("a backup is being written; remove the tenant after that"));
        };
        let slot = self.named(name)?;
        let id = slot.tenant.tenant;
        let only_here = self.only_here(&slot).await;
        if !options.yes {
            return Err(problem::usage(question(&slot, options, &only_here)));
        }
        if options.erase && !options.force && !only_here.is_empty() {
            return Err(problem::refused(format!(
                "nothing was done. What is only here would be gone for ever: {}. Leave out --erase, \
                 then everything is kept aside, or add --force",
                only_here.join("; ")
            )));
        }
        self.inner.tenants.remove(&slot).await;
        self.inner.accounts.dismiss(id);
        let (relay, home) = (self.clone(), slot.home.clone());
        let remains = if options.erase { Remains::Erased } else { Remains::Kept };
        let move_aside = move || relay.inner.data.set_aside(&home, id, remains);
        let moved = tokio::task::spawn_blocking(move_aside).await;
        let moved = moved.unwrap_or_else(|error| Err(problem::failed(error.to_string())));
        match moved {
            Ok(folder) => {
                tracing::info!(tenant = id.short(), erased = options.erase, "tenant removed");
                Ok(RemovedTenant {
                    short: id.short(),
                    name: slot.tenant.name.clone(),
                    slug: slot.tenant.slug.clone(),
                    folder: (!options.erase).then_some(folder),
                })
            }
            Err(problem) => Err(self.after_failure(&slot, problem).await),
        }
    }

    /// Serves the tenant on if its home is where it was.
    async fn after_failure(&self, slot: &Slot, problem: Problem) -> Problem {
        let short = slot.tenant.tenant.short();
        // Where that cannot be told it is served on: whoever opens it then says what is wrong.
        if matches!(slot.home.try_exists(), Ok(false)) {
            let detail = format!(
                "{}; tenant {short} is removed, and the rest is done at the next start",
                problem.detail
            );
            return Problem { detail, ..problem };
        }
        self.inner.accounts.welcome(slot.tenant.tenant);
        if let Err(error) = self.inner.tenants.add_home(slot.home.clone()).await {
            tracing::error!(tenant = short, reason = error.detail, "tenant not served any more");
        }
        problem
    }

    /// What of a tenant is nowhere but here, or may be: which months devices let go no relay knows.
    async fn only_here(&self, slot: &Slot) -> Vec<&'static str> {
        let has_people = self.inner.accounts.has(slot.tenant.tenant);
        let authority = "the tenant's authority, without which nobody can be invited";
        let people = "the people who log in, their photos and what their apps sent last";
        let authority = slot.can_invite.then_some(authority);
        let vitals = slot.standing().await.vitals;
        let has_records = vitals.is_none_or(|vitals| vitals.batches > 0);
        let records = "perhaps records that its devices let go";
        let parts = [authority, has_people.then_some(people), has_records.then_some(records)];
        parts.into_iter().flatten().collect()
    }
}

/// What would be done.
fn question(slot: &Slot, options: RemoveOptions, only_here: &[&str]) -> String {
    let name = one_line(&slot.tenant.name);
    let short = slot.tenant.tenant.short();
    let files = match options.erase {
        true => "Its files would be erased".to_owned(),
        false => "Its files would be moved aside, into the folder removed".to_owned(),
    };
    let only_here = match only_here {
        [] => String::new(),
        list => format!(". Only here: {}", list.join("; ")),
    };
    format!(
        "nothing was done so far. {name} ({short}) would not be served here any more: its devices \
         are told so, keep what they have and go on exchanging with each other, and its people are \
         logged out of their apps. {files}{only_here}. Add --yes to go on"
    )
}

impl super::pool::Pool {
    /// Serves a tenant no more; nobody opens it from here on.
    pub(super) async fn remove(&self, slot: &Slot) {
        slot.dismiss();
        self.forget(&slot.tenant.tenant);
        // Whoever is opening it is waited for.
        let Some(node) = slot.node.lock().await.take() else { return };
        self.closed(slot, &node).await;
    }
}
