//! People who choose another password themselves.

use std::sync::{MutexGuard, PoisonError};

use fieldmesh_model::{Moment, Role, UserId};

use super::{Book, BookError, Entry, Names, Opened, Session, State, claims};
use crate::accounts::account::Account;
use crate::accounts::password::Password;
use crate::accounts::reset::{Code, Resets};

impl Book {
    /// Gives a person the password that he chose, who proved that his was `known`. Every session
    /// ends, and one is opened for the device that he holds.
    pub(crate) fn change_password(
        &self,
        names: &Names<'_>,
        email: &str,
        known: &Password,
        new: Password,
        device: Option<String>,
        at: Moment,
    ) -> Result<Opened, BookError> {
        let decide = |state: &State| {
            let account = state.able(email).ok_or(BookError::Unknown)?;
            // Somebody may have changed it while the new one was stretched.
            if account.password != *known {
                return Err(BookError::Unknown);
            }
            Ok(state.with_password(names, account, new, device, at))
        };
        self.change_then(at, decide, |opened| self.resets().end(opened.account.id))
    }

    /// The same for a person who holds a code; it is good once.
    pub(crate) fn reset_password(
        &self,
        names: &Names<'_>,
        email: &str,
        code: &str,
        new: Password,
        device: Option<String>,
        at: Moment,
    ) -> Result<Opened, BookError> {
        let decide = |state: &State| {
            let account = state.able(email);
            let user = account.map(|account| account.id);
            let is_good = self.resets().is_good(user, code, at);
            // Who became an admin since has a code of before.
            let account = account.filter(|account| is_good && account.role != Role::Admin);
            let account = account.ok_or(BookError::Unknown)?;
            Ok(state.with_password(names, account, new, device, at))
        };
        // Where the disk is full it is good for another try.
        self.change_then(at, decide, |opened| self.resets().end(opened.account.id))
    }

    /// Whether a code is good for whoever has an address; ends nothing.
    pub(crate) fn is_reset_code(&self, email: &str, code: &str, at: Moment) -> bool {
        let user = self.state().able(email).map(|account| account.id);
        self.resets().is_good(user, code, at)
    }

    /// Makes a code for a person, ordered by another one; an admin gets none.
    pub(crate) fn reset_code(
        &self,
        by: UserId,
        email: &str,
        at: Moment,
    ) -> Result<(Code, UserId), BookError> {
        let person = self.state().able(email).map(|account| (account.id, account.role));
        let (user, role) = person.ok_or(BookError::Unknown)?;
        if user == by || role == Role::Admin {
            return Err(BookError::NotGood);
        }
        Ok((self.resets().make(user, at), user))
    }

    pub(super) fn resets(&self) -> MutexGuard<'_, Resets> {
        self.resets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The person with an address who may log in.
    pub(super) fn able(&self, email: &str) -> Option<&Account> {
        self.find(email).filter(|account| !account.is_disabled)
    }

    fn with_password(
        &self,
        names: &Names<'_>,
        account: &Account,
        password: Password,
        device: Option<String>,
        at: Moment,
    ) -> (Vec<Entry>, Opened) {
        let account = Account { password, ..account.clone() };
        let mut entries: Vec<Entry> =
            self.sessions_of(account.id).map(|one| Entry::Ended(one.id)).collect();
        entries.push(Entry::Account(account.clone()));
        let (session, token) = Session::open(names.short, account.id, device, at);
        let key = self.key_to_sign(at, &mut entries);
        let access = key.sign(&claims(names, &account, &session, at));
        entries.push(Entry::Session(session));
        (entries, Opened { account, access, refresh: token.to_text() })
    }
}
