//! Which tenant a name means, and how a new one comes to be.

use std::collections::BTreeSet;
use std::sync::Arc;

use fieldmesh::api::{Problem, TenantReport};
use fieldmesh::{Builder, Node, TenantOptions};
use fieldmesh_identity::Invitation;
use fieldmesh_model::TenantId;

use super::pool::Pool;
use super::slot::Slot;
use crate::problem;
use crate::wire::NewTenant;

/// The fewest digits of an id that name a tenant.
const SUFFIX_LENGTH_MIN: usize = 4;

/// Makes the home of a new tenant; gives its node, which nobody can reach so far.
pub(super) async fn make(pool: &Pool, builder: Builder, new: NewTenant) -> Result<Node, Problem> {
    match new {
        NewTenant::Create { name, device, gateway } => {
            let builder = if gateway { builder.gateway() } else { builder };
            let options = TenantOptions { name, user: None, device };
            let made = builder.create_tenant(options).await;
            made.map(|(node, _)| node).map_err(|error| error.problem())
        }
        NewTenant::Join { invitation, device } => {
            // A text that is no invitation is explained by the library.
            if let Ok(invitation) = invitation.parse::<Invitation>() {
                check(pool, &invitation)?;
            }
            let joined = Box::pin(builder.join(&invitation, device)).await;
            joined.map(|(node, _)| node).map_err(|error| error.problem())
        }
    }
}

/// Refuses an invitation before it is used up for nothing.
fn check(pool: &Pool, invitation: &Invitation) -> Result<(), Problem> {
    if pool.contains(&invitation.tenant) {
        return Err(problem::usage(format!(
            "this relay serves tenant {} already",
            invitation.tenant.short()
        )));
    }
    if !invitation.role.is_relay() {
        return Err(problem::usage(format!(
            "the invitation is for a device with role {}; ask for one with `invite --role relay`",
            invitation.role
        )));
    }
    Ok(())
}

/// The tenant that `name` means: its slug, its name, its id or the end of that.
pub(super) fn find(slots: &[Arc<Slot>], name: &str) -> Result<Arc<Slot>, Problem> {
    let tenants: Vec<TenantReport> = slots.iter().map(|slot| slot.tenant.clone()).collect();
    let index = find_among(&tenants, name)?;
    Ok(Arc::clone(&slots[index]))
}

/// How a tenant is called.
pub(super) struct Called {
    id: TenantId,
    names: BTreeSet<String>,
}

impl Called {
    /// As `names` says, whatever its letters' case.
    pub(super) fn new<'a>(id: TenantId, names: impl IntoIterator<Item = &'a str>) -> Self {
        let names = names.into_iter().map(|name| name.trim().to_lowercase());
        Self { id, names: names.chain([id.short()]).collect() }
    }

    pub(super) fn of(tenant: &TenantReport) -> Self {
        Self::new(tenant.tenant, [tenant.slug.as_str(), &tenant.name])
    }

    /// The same, with what the operator calls it besides.
    pub(super) fn with(mut self, aliases: &BTreeSet<String>) -> Self {
        self.names.extend(aliases.iter().cloned());
        self
    }

    fn is_meant(&self, wanted: &str) -> bool {
        let is_end = wanted.len() >= SUFFIX_LENGTH_MIN && self.id.to_string().ends_with(wanted);
        is_end || self.names.contains(wanted)
    }

    /// Whether a name of one of the two means the other one as well.
    pub(super) fn can_be_taken_for(&self, other: &Self) -> bool {
        self.names.iter().any(|name| other.is_meant(name))
            || other.names.iter().any(|name| self.is_meant(name))
    }
}

fn find_among(tenants: &[TenantReport], name: &str) -> Result<usize, Problem> {
    let wanted = name.trim().to_lowercase();
    let is_meant = |index: &usize| Called::of(&tenants[*index]).is_meant(&wanted);
    let found: Vec<usize> = (0..tenants.len()).filter(is_meant).collect();
    match found.as_slice() {
        [index] => Ok(*index),
        [] => Err(problem::not_found(format!(
            "there is no tenant {name:?} on this relay; `sync-relay tenant list` shows them"
        ))),
        several => {
            let ids: Vec<String> =
                several.iter().map(|index| tenants[*index].tenant.short()).collect();
            Err(problem::invalid(format!(
                "{name:?} names several tenants; give one of their ids: {}",
                ids.join(", ")
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use fieldmesh::api::Class;
    use fieldmesh_model::DeviceId;

    use super::*;

    fn tenant(byte: u8, name: &str, slug: &str) -> TenantReport {
        TenantReport {
            tenant: TenantId::from_bytes([byte; 32]),
            name: name.into(),
            slug: slug.into(),
            fingerprint: String::new(),
            device: DeviceId::from_bytes([0; 32]),
            device_name: String::new(),
        }
    }

    #[test]
    fn who_is_called_like_another_tenant_in_any_way_is_noticed() {
        let aliases = BTreeSet::from(["acme".to_owned()]);
        let here = Called::of(&tenant(0xa1, "Gulf Crew", "gulf-crew")).with(&aliases);
        for (name, slug) in [
            ("Gulf crew!", "gulf-crew"),
            ("gulf CREW", "g"),
            ("Acme", "acme"),
            ("A1A1A1A1", "a1a1a1a1"),
            ("a1a1", "a1a1"),
        ] {
            let other = Called::of(&tenant(0xb2, name, slug));
            assert!(here.can_be_taken_for(&other) && other.can_be_taken_for(&here), "{name}");
        }
        let beef = Called::of(&tenant(0xb2, "B2B2", "b2b2"));
        assert!(beef.can_be_taken_for(&Called::new(TenantId::from_bytes([0xb2; 32]), [])));
        assert!(!here.can_be_taken_for(&Called::of(&tenant(0xb2, "Gulf Two", "gulf-two"))));
    }

    #[test]
    fn a_tenant_is_found_by_each_of_its_names_and_never_by_a_doubtful_one() {
        let tenants = [
            tenant(0xa1, "Gulf Crew", "gulf-crew"),
            tenant(0xb2, "Permian West", "permian-west"),
            tenant(0xc3, "Gulf crew!", "gulf-crew"),
        ];
        let full = TenantId::from_bytes([0xb2; 32]).to_string();
        for name in ["permian-west", " PERMIAN West ", "b2b2b2b2", "b2b2", &full] {
            assert_eq!(find_among(&tenants, name), Ok(1), "{name}");
        }
        assert_eq!(find_among(&tenants, "gulf crew!"), Ok(2));
        let problem = find_among(&tenants, "gulf-crew").unwrap_err();
        assert_eq!(problem.class, Class::Invalid);
        assert!(problem.detail.contains("a1a1a1a1, c3c3c3c3"), "{}", problem.detail);
        for name in ["", "b2", "permian"] {
            assert_eq!(find_among(&tenants, name).unwrap_err().class, Class::NotFound, "{name}");
        }
    }
}
