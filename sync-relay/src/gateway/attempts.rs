//! How often somebody may try passwords, whatever the limits of addresses let through.

use std::collections::HashMap;
use std::net::IpAddr;

use fieldmesh_http::{Rate, Windows, counted};
use fieldmesh_model::TenantId;
use ring::digest;

/// How often one address may try the passwords of one person.
const FROM_ADDRESS: Rate = Rate::a_minute(10);
/// How often all addresses together may: a person is not shut out by one of them.
const FROM_ALL: Rate = Rate::a_minute(100);
/// How long an address is known from which somebody gave the right password, in milliseconds.
const KNOWN_MILLIS: u64 = 30 * 24 * 60 * 60 * 1_000;
/// The most such addresses; nobody without a password can fill them.
const KNOWN_MAX: usize = 100_000;

/// A person at an address.
type At = ([u8; 32], IpAddr);

/// When passwords of whom were tried from where.
pub(super) struct Attempts {
    from_address: Windows<At>,
    from_all: Windows<[u8; 32]>,
    /// Tries from where the right password came lately: strangers who try as often as they may shut
    /// nobody out of where he usually is.
    from_known: Windows<At>,
    /// When the right password came last.
    known: HashMap<At, u64>,
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            from_address: Windows::new(FROM_ADDRESS),
            from_all: Windows::new(FROM_ALL),
            from_known: Windows::new(FROM_ADDRESS),
            known: HashMap::new(),
        }
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
        let at @ (who, _) = at(tenant, email, address);
        if self.known.get(&at).is_some_and(|last| last + KNOWN_MILLIS > now) {
            return self.from_known.take(at, now);
        }
        self.from_address.take(at, now)?;
        self.from_all.take(who, now)
    }

    /// Notes that the password was right.
    pub(super) fn was_right(&mut self, tenant: TenantId, email: &str, address: IpAddr, now: u64) {
        if self.known.len() >= KNOWN_MAX {
            self.known.retain(|_, last| *last + KNOWN_MILLIS > now);
        }
        if self.known.len() < KNOWN_MAX {
            self.known.insert(at(tenant, email, address), now);
        }
    }
}

/// A name of any length takes the same place.
fn at(tenant: TenantId, email: &str, address: IpAddr) -> At {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(tenant.as_bytes());
    context.update(email.as_bytes());
    let mut who = [0; 32];
    who.copy_from_slice(context.finish().as_ref());
    (who, counted(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: &str = "ann@example.org";

    fn take(attempts: &mut Attempts, email: &str, address: &str) -> Result<(), u32> {
        let tenant = TenantId::from_bytes([1; 32]);
        attempts.take(tenant, email, address.parse().unwrap(), 100_000)
    }

    #[test]
    fn passwords_are_tried_ten_times_a_minute_and_others_are_not_shut_out() {
        let attempts = &mut Attempts::default();
        for _ in 0..10 {
            assert_eq!(take(attempts, ANN, "192.0.2.1"), Ok(()));
        }
        assert_eq!(take(attempts, ANN, "192.0.2.1"), Err(60));
        assert_eq!(take(attempts, ANN, "192.0.2.2"), Ok(()));
        assert_eq!(take(attempts, "ben@example.org", "192.0.2.1"), Ok(()));
        for host in 3..=91 {
            assert_eq!(take(attempts, ANN, &format!("192.0.2.{host}")), Ok(()));
        }
        assert_eq!(take(attempts, ANN, "192.0.2.92"), Err(60));
    }

    #[test]
    fn strangers_who_try_from_everywhere_do_not_shut_out_who_logged_in_from_here_lately() {
        let attempts = &mut Attempts::default();
        let tenant = TenantId::from_bytes([1; 32]);
        attempts.was_right(tenant, ANN, "192.0.2.200".parse().unwrap(), 90_000);
        for host in 1..=100 {
            assert_eq!(take(attempts, ANN, &format!("192.0.2.{host}")), Ok(()));
        }
        assert_eq!(take(attempts, ANN, "192.0.2.101"), Err(60));
        for _ in 0..10 {
            assert_eq!(take(attempts, ANN, "192.0.2.200"), Ok(()));
        }
        // Whoever sits there too guesses no faster than anywhere else.
        assert_eq!(take(attempts, ANN, "192.0.2.200"), Err(60));
    }
}
