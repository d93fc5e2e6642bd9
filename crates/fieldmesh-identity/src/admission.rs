//! How a device that may join becomes a member: the issuer's side of enrolment.

use fieldmesh_model::TenantId;

use crate::enrol::{GrantContents, Granted, JoinRequest, Permit, Usage};
use crate::founding::EnrolError;
use crate::{Authority, Certificate, Item, Policy, Statement, x509};

/// How many bytes of policy items a grant carries; the rest comes with the first synchronisation.
pub const GRANTED_ITEMS_SIZE_MAX: usize = 512 * 1024;

/// A device that was admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// The certificate made for it, to be stored before answering; `None` if it had one already,
    /// as when its last answer was lost.
    pub certificate: Option<Item>,
    /// What to answer.
    pub granted: Granted,
}

/// Admits the device of `request`, which `permit` allows, to the tenant that `items` make.
///
/// # Errors
///
/// [`EnrolError::Item`] names a name that cannot be used.
pub fn admit(
    authority: &Authority,
    tenant: TenantId,
    items: &[Item],
    permit: &Permit<'_>,
    channel: &[u8; 32],
    request: &JoinRequest,
    addresses: Vec<String>,
) -> Result<Admission, EnrolError> {
    let policy = Policy::evaluate(tenant, items);
    let genesis = items
        .iter()
        .find(|item| policy.counts(&item.id()) && matches!(item.statement(), Statement::Genesis(_)))
        .ok_or(EnrolError::NoGenesis)?;
    let wanted = permit.issued.grant.certificate(request);
    let held = held_certificate(&policy, items, request);
    let (own, made) = match held {
        // An old invitation must not bring back what was taken from the device since.
        Some((item, held)) if permit.usage == Usage::Again || is_same(held, &wanted) => {
            (item.clone(), None)
        }
        _ => {
            let version = held.map_or(1, |(_, held)| held.version.saturating_add(1));
            let statement = Statement::Certificate(Box::new(Certificate { version, ..wanted }));
            let place = policy.next_place(&authority.public_key());
            let item = Item::sign(authority, tenant, place, &statement)?;
            (item.clone(), Some(item))
        }
    };
    let contents = GrantContents {
        items: choose(genesis, &own, items),
        chain: vec![x509::device_certificate(authority, tenant, &request.public_key)?],
        tenant_name: policy.tenant_name().into(),
        addresses,
    };
    let granted = Granted::new(permit.issued, channel, request, contents);
    Ok(Admission { certificate: made, granted })
}

fn held_certificate<'a>(
    policy: &Policy,
    items: &'a [Item],
    request: &JoinRequest,
) -> Option<(&'a Item, &'a Certificate)> {
    let member = policy.member(&request.device())?;
    items.iter().find_map(|item| match item.statement() {
        Statement::Certificate(certificate) if item.id() == member.certificate => {
            Some((item, certificate.as_ref()))
        }
        _ => None,
    })
}

fn is_same(held: &Certificate, wanted: &Certificate) -> bool {
    *held == Certificate { version: held.version, ..wanted.clone() }
}

/// What makes the device a member, then as much of the rest as fits.
fn choose(genesis: &Item, own: &Item, items: &[Item]) -> Vec<Vec<u8>> {
    let rest = items.iter().filter(|item| ![genesis.id(), own.id()].contains(&item.id()));
    let mut size = 0;
    [genesis, own]
        .into_iter()
        .chain(rest)
        .map(|item| item.encode().to_vec())
        .take_while(|bytes| {
            size += bytes.len();
            size <= GRANTED_ITEMS_SIZE_MAX
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DeviceKeys, Grant, Invitation, InvitationBook, JoinSecret, Seed, founding::found};
    use fieldmesh_model::{Moment, Role, UserId};

    const CHANNEL: [u8; 32] = [42; 32];
    const NOW: Moment = Moment::from_millis(1_000);
    const LATER: Moment = Moment::from_millis(2_000);

    struct Desk {
        authority: Authority,
        tenant: TenantId,
        items: Vec<Item>,
        book: InvitationBook,
    }

    impl Desk {
        fn new() -> Self {
            let authority = Authority::from_seed(&Seed::from_bytes([1; 32]));
            let founder = Certificate::new(device(9).public_key(), "office", user(), Role::Admin);
            let founding = found(&authority, [0; 32], " Gulf Crew ", &founder).unwrap();
            let book = InvitationBook::default();
            Self { authority, tenant: founding.tenant, items: founding.items, book }
        }

        fn invite(&mut self, secret: u8, role: Role) -> Invitation {
            let secret = JoinSecret::from_bytes([secret; 16]);
            self.book.issue(secret.clone(), Grant::new(user(), role), LATER, 1).unwrap();
            Invitation {
                tenant: self.tenant,
                authority: self.authority.public_key(),
                secret,
                expires: LATER,
                role,
                tenant_name: "Gulf Crew".into(),
                email: String::new(),
                addresses: Vec::new(),
            }
        }

        /// Admits `keys` and returns whether a certificate had to be made.
        fn admit(&mut self, invitation: &Invitation, keys: &DeviceKeys) -> bool {
            let request = JoinRequest::new(invitation, &CHANNEL, keys, "tablet");
            let permit = self.book.decide(NOW, self.tenant, &CHANNEL, &request).unwrap();
            let admission = admit(
                &self.authority,
                self.tenant,
                &self.items,
                &permit,
                &CHANNEL,
                &request,
                Vec::new(),
            )
            .unwrap();
            let items = admission.granted.check(invitation, &CHANNEL, keys).unwrap();
            assert!(items.len() >= self.items.len());
            let made = admission.certificate.is_some();
            self.items.extend(admission.certificate);
            made
        }
    }

    fn device(seed: u8) -> DeviceKeys {
        DeviceKeys::from_seed(&Seed::from_bytes([seed; 32]))
    }

    fn user() -> UserId {
        UserId::from_bytes([4; 16])
    }

    #[test]
    fn a_founder_is_the_first_administrator() {
        let desk = Desk::new();
        let policy = Policy::evaluate(desk.tenant, &desk.items);
        assert_eq!(policy.tenant_name(), "Gulf Crew");
        assert_eq!(policy.member(&device(9).device()).unwrap().role, Role::Admin);
    }

    #[test]
    fn a_device_that_asks_again_is_admitted_once() {
        let mut desk = Desk::new();
        let invitation = desk.invite(3, Role::Operator);
        assert!(desk.admit(&invitation, &device(20)));
        assert!(!desk.admit(&invitation, &device(20)));
        let policy = Policy::evaluate(desk.tenant, &desk.items);
        assert_eq!(policy.members().count(), 2);
    }

    #[test]
    fn a_member_with_a_new_invitation_gets_what_that_one_gives() {
        let mut desk = Desk::new();
        let first = desk.invite(3, Role::Operator);
        let second = desk.invite(4, Role::Manager);
        assert!(desk.admit(&first, &device(20)));
        assert!(desk.admit(&second, &device(20)));
        let policy = Policy::evaluate(desk.tenant, &desk.items);
        let member = policy.member(&device(20).device()).unwrap();
        assert_eq!((member.role, member.certificate_version), (Role::Manager, 2));
        assert!(!desk.admit(&first, &device(20)), "an old invitation brings nothing back");
    }

    #[test]
    fn a_large_policy_is_granted_in_part() {
        let mut desk = Desk::new();
        for number in 0..3_000_u32 {
            let body = [&number.to_be_bytes()[..], &[0; 200]].concat();
            let statement = Statement::Unknown { kind: 200, body };
            let place = crate::ItemPlace { sequence: u64::from(number) + 2, previous: None };
            let item = Item::sign(&desk.authority, desk.tenant, place, &statement).unwrap();
            desk.items.insert(0, item);
        }
        let invitation = desk.invite(3, Role::Operator);
        let request = JoinRequest::new(&invitation, &CHANNEL, &device(20), "tablet");
        let permit = desk.book.decide(NOW, desk.tenant, &CHANNEL, &request).unwrap();
        let admission =
            admit(&desk.authority, desk.tenant, &desk.items, &permit, &CHANNEL, &request, vec![])
                .unwrap();
        let size: usize = admission.granted.items.iter().map(Vec::len).sum();
        assert!(size <= GRANTED_ITEMS_SIZE_MAX && admission.granted.items.len() > 1_000);
        assert!(admission.granted.check(&invitation, &CHANNEL, &device(20)).is_ok());
    }
}
