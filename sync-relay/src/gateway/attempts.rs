//! How often somebody may try passwords, whatever the limits of addresses let through.

use std::net::IpAddr;

use fieldmesh_http::{Rate, Windows, counted};
use fieldmesh_model::TenantId;
use ring::digest;

/// How often one address may try the passwords of one person.
const FROM_ADDRESS: Rate = Rate::a_minute(10);
/// How often all addresses together may: a person is not shut out by one of them.
const FROM_ALL: Rate = Rate::a_minute(100);

/// When passwords of whom were tried from where.
pub(super) struct Attempts {
    from_address: Windows<([u8; 32], IpAddr)>,
    from_all: Windows<[u8; 32]>,
}

impl Default for Attempts {
    fn default() -> Self {
        Self { from_address: Windows::new(FROM_ADDRESS), from_all: Windows::new(FROM_ALL) }
    }
}

impl Attempts {
    /// Counts an attempt.
    ///
    /// # Errors
    ///
    /// The seconds after which another one may be made.
    pub(super) fn take(
        &mut self,
        tenant: TenantId,
        email: &str,
        address: IpAddr,
        now: u64,
    ) -> Result<(), u32> {
        // An address of any length takes the same place.
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(tenant.as_bytes());
        context.update(email.as_bytes());
        let mut who = [0; 32];
        who.copy_from_slice(context.finish().as_ref());
        self.from_address.take((who, counted(address)), now)?;
        self.from_all.take(who, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_tried_ten_times_a_minute_and_others_are_not_shut_out() {
        let mut attempts = Attempts::default();
        let tenant = TenantId::from_bytes([1; 32]);
        let mut take =
            |email, address: &str| attempts.take(tenant, email, address.parse().unwrap(), 100_000);
        for _ in 0..10 {
            assert_eq!(take("ann@example.org", "192.0.2.1"), Ok(()));
        }
        assert_eq!(take("ann@example.org", "192.0.2.1"), Err(60));
        assert_eq!(take("ann@example.org", "192.0.2.2"), Ok(()));
        assert_eq!(take("ben@example.org", "192.0.2.1"), Ok(()));
        for host in 3..=91 {
            assert_eq!(take("ann@example.org", &format!("192.0.2.{host}")), Ok(()));
        }
        assert_eq!(take("ann@example.org", "192.0.2.92"), Err(60));
    }
}
