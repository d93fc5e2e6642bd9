//! How much of one thing is taken at a time: by everybody, by one tenant, and by one person.
//!
//! What everybody shares nobody gets whole: who takes as much as he may leaves room for others.
//! Nothing here knows what the thing is; it may be bytes of memory, or streams.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fieldmesh_dialect::Caller;

use crate::peer::counted;

/// The most that may be taken at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// By everybody together.
    pub all: usize,
    /// By the people of one tenant.
    pub tenant: usize,
    /// By one person; by one address where nobody knows yet who it is.
    pub person: usize,
}

impl Shares {
    /// Where there is but one person.
    pub const fn whole(all: usize) -> Self {
        Self { all, tenant: all, person: all }
    }
}

/// Who takes something.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Taker {
    Person { tenant: String, user: String },
    Address(IpAddr),
}

impl Taker {
    /// Whoever sends a request from `address`, as `caller` where that is known.
    pub(crate) fn of(caller: Option<&Caller>, address: IpAddr) -> Self {
        match caller {
            None => Self::Address(counted(address)),
            Some(caller) => {
                Self::Person { tenant: caller.tenant.clone(), user: caller.user.clone() }
            }
        }
    }

    /// The only one there is.
    pub(crate) const fn only() -> Self {
        Self::Address(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    fn tenant(&self) -> &str {
        match self {
            Self::Person { tenant, .. } => tenant,
            Self::Address(_) => "",
        }
    }
}

/// Why nothing more can be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Excess {
    /// Whoever takes has his share.
    Own,
    /// His tenant has its share, or everything is taken.
    Others,
}

/// How much is taken of one thing; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    shares: Shares,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    tenants: HashMap<String, usize>,
    takers: HashMap<Taker, usize>,
}

/// What somebody has taken; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Held {
    budget: Budget,
    taker: Taker,
    amount: usize,
}

impl Budget {
    pub(crate) fn new(shares: Shares) -> Self {
        Self { shares, taken: Arc::default() }
    }

    /// Nothing yet, of `taker`.
    pub(crate) fn hold(&self, taker: Taker) -> Held {
        Held { budget: self.clone(), taker, amount: 0 }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Takes so much more.
    ///
    /// # Errors
    ///
    /// There is not so much; nothing is taken then.
    pub(crate) fn grow(&mut self, amount: usize) -> Result<(), Excess> {
        self.take(amount, |before, most| before.saturating_add(amount) <= most)
    }

    /// As [`Held::grow`], but of whom nothing is held can take more than his share: what is larger
    /// than that could never be had otherwise.
    pub(crate) fn grow_at_first(&mut self, amount: usize) -> Result<(), Excess> {
        self.take(amount, |before, most| before == 0 || before.saturating_add(amount) <= most)
    }

    /// Takes what is missing to hold so much in all, as [`Held::grow_at_first`] does.
    pub(crate) fn reach(&mut self, amount: usize) -> Result<(), Excess> {
        self.grow_at_first(amount.saturating_sub(self.amount))
    }

    /// Whether there is so much more at present; nothing is taken.
    ///
    /// # Errors
    ///
    /// There is not so much.
    pub(crate) fn has_room(&self, amount: usize) -> Result<(), Excess> {
        let fits = |before: usize, most| before.saturating_add(amount) <= most;
        self.check(&self.budget.taken(), fits)
    }

    /// Gives so much of it back.
    pub(crate) fn shrink(&mut self, amount: usize) {
        let amount = amount.min(self.amount);
        self.amount -= amount;
        // As one that held as much does when it is dropped.
        drop(Self { budget: self.budget.clone(), taker: self.taker.clone(), amount });
    }

    fn take(&mut self, amount: usize, fits: impl Fn(usize, usize) -> bool) -> Result<(), Excess> {
        if amount == 0 {
            return Ok(());
        }
        let mut taken = self.budget.taken();
        self.check(&taken, fits)?;
        taken.all += amount;
        *taken.takers.entry(self.taker.clone()).or_default() += amount;
        *taken.tenants.entry(self.taker.tenant().to_owned()).or_default() += amount;
        self.amount += amount;
        Ok(())
    }

    /// Whether something more fits what is taken by its taker, by the tenant and by everybody.
    fn check(&self, taken: &Taken, fits: impl Fn(usize, usize) -> bool) -> Result<(), Excess> {
        let Shares { all, tenant, person } = self.budget.shares;
        if !fits(taken.takers.get(&self.taker).copied().unwrap_or_default(), person) {
            return Err(Excess::Own);
        }
        let of_tenant = taken.tenants.get(self.taker.tenant()).copied().unwrap_or_default();
        if !fits(of_tenant, tenant) || !fits(taken.all, all) {
            return Err(Excess::Others);
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.amount == 0 {
            return;
        }
        let mut taken = self.budget.taken();
        taken.all -= self.amount;
        give_back(&mut taken.takers, &self.taker, self.amount);
        give_back(&mut taken.tenants, self.taker.tenant(), self.amount);
    }
}

fn give_back<K, Q>(taken: &mut HashMap<K, usize>, key: &Q, amount: usize)
where
    K: Hash + Eq + std::borrow::Borrow<Q>,
    Q: Hash + Eq + ?Sized,
{
    if let Some(rest) = taken.get_mut(key) {
        *rest -= amount;
        if *rest == 0 {
            taken.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(tenant: &str, user: &str) -> Taker {
        Taker::Person { tenant: tenant.into(), user: user.into() }
    }

    #[test]
    fn one_person_or_tenant_leaves_room_for_others() {
        let budget = Budget::new(Shares { all: 100, tenant: 60, person: 40 });
        let held = |taker: Taker, amount| {
            let mut held = budget.hold(taker);
            held.grow(amount).map(|()| held)
        };
        let ann = held(person("acme", "ann"), 40).unwrap();
        assert_eq!(held(person("acme", "ann"), 1).err(), Some(Excess::Own));
        let _ben = held(person("acme", "ben"), 20).unwrap();
        assert_eq!(held(person("acme", "ben"), 1).err(), Some(Excess::Others));
        let _other = held(person("other", "ann"), 40).unwrap();
        assert_eq!(held(person("third", "eve"), 1).err(), Some(Excess::Others));
        drop(ann);
        assert!(held(person("acme", "ben"), 20).is_ok());
        assert!(held(person("third", "eve"), 40).is_ok());
    }

    #[test]
    fn what_is_given_back_is_remembered_of_nobody() {
        let budget = Budget::new(Shares::whole(10));
        let address = |text: &str| Taker::of(None, text.parse().unwrap());
        let mut held = budget.hold(address("2001:db8::1"));
        held.grow(10).unwrap();
        assert_eq!(budget.hold(address("2001:db8::2")).grow(1), Err(Excess::Own));
        budget.hold(address("2001:db8:1::")).grow(0).unwrap();
        drop(held);
        let taken = budget.taken();
        assert!(taken.all == 0 && taken.takers.is_empty() && taken.tenants.is_empty());
    }

    #[test]
    fn who_asks_whether_there_is_room_takes_none_from_others() {
        let budget = Budget::new(Shares { all: 100, tenant: 60, person: 40 });
        let mut held = budget.hold(person("acme", "ann"));
        held.grow(30).unwrap();
        // Under the lock under which all is counted: nothing can be taken for a moment either.
        let taken = budget.taken();
        let fits = |amount| move |before: usize, most| before + amount <= most;
        assert_eq!(held.check(&taken, fits(10)), Ok(()));
        assert_eq!(held.check(&taken, fits(11)), Err(Excess::Own));
        drop(taken);
        assert_eq!(held.has_room(10), Ok(()));
        assert_eq!(held.has_room(11), Err(Excess::Own));
        assert_eq!(budget.hold(person("acme", "ben")).has_room(31), Err(Excess::Others));
        assert_eq!(budget.hold(person("other", "eve")).has_room(0), Ok(()));
        assert_eq!(budget.taken().all, 30);
    }

    #[test]
    fn who_holds_nothing_can_have_what_is_larger_than_a_share() {
        let budget = Budget::new(Shares { all: 100, tenant: 60, person: 40 });
        let mut large = budget.hold(person("acme", "ann"));
        large.grow_at_first(1_000).unwrap();
        assert_eq!(budget.hold(person("acme", "ann")).grow_at_first(1), Err(Excess::Own));
        assert_eq!(budget.hold(person("other", "ben")).grow_at_first(1), Err(Excess::Others));
        drop(large);
        let mut small = budget.hold(person("acme", "ann"));
        small.grow_at_first(30).unwrap();
        assert_eq!(small.grow_at_first(11), Err(Excess::Own));
        assert_eq!((small.reach(20), small.reach(40)), (Ok(()), Ok(())));
        assert_eq!((small.reach(41), small.amount), (Err(Excess::Own), 40));
    }
}
