//! The tenant's authority: it certifies devices.

use fieldmesh_identity::{
    Access, Authority, Certificate, DeviceKeys, Genesis, Item, ItemError, ItemPlace, Policy, Seed,
    Statement,
};
use fieldmesh_model::{Role, TenantId, UserId};

use crate::author::Author;
use crate::random::Random;

/// The authority and all policy items made so far.
pub(crate) struct Office {
    authority: Authority,
    tenant: TenantId,
    items: Vec<Item>,
    policy: Policy,
}

impl Office {
    pub(crate) fn open(random: &mut Random) -> Result<Self, ItemError> {
        let authority = Authority::from_seed(&Seed::from_bytes(random.array()));
        let genesis = Statement::Genesis(Genesis {
            authority: authority.public_key(),
            recovery: random.array(),
            name: "Simulated crew".into(),
        });
        let item = Item::sign(&authority, TenantId::default(), ItemPlace::FIRST, &genesis)?;
        let policy = Policy::evaluate(item.tenant(), [&item]);
        Ok(Self { authority, tenant: item.tenant(), items: vec![item], policy })
    }

    /// An item that an administrator made.
    pub(crate) fn file(&mut self, item: Item) {
        self.items.push(item);
        self.policy = Policy::evaluate(self.tenant, &self.items);
    }

    /// What all items amount to.
    pub(crate) const fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(crate) const fn tenant(&self) -> TenantId {
        self.tenant
    }

    pub(crate) fn items(&self) -> &[Item] {
        &self.items
    }

    pub(crate) fn certify(
        &mut self,
        keys: &DeviceKeys,
        role: Role,
        read: Access,
    ) -> Result<Item, ItemError> {
        let mut certificate = Certificate::new(keys.public_key(), "Tablet", user(keys), role);
        certificate.read = read;
        let place = self.policy.next_place(&self.authority.public_key());
        let statement = Statement::Certificate(Box::new(certificate));
        let item = Item::sign(&self.authority, self.tenant, place, &statement)?;
        self.file(item.clone());
        Ok(item)
    }
}

/// The person whose device an author is.
pub(crate) fn user_of(author: &Author) -> UserId {
    user(author.keys())
}

fn user(keys: &DeviceKeys) -> UserId {
    let mut user = [0; 16];
    user.copy_from_slice(&keys.public_key()[..16]);
    UserId::from_bytes(user)
}
